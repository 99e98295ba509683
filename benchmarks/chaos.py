"""A run whose processes are killed all the time, against the same run left in peace.

Run: `python benchmarks/chaos.py [policy] [suite] [episodes per task] [seconds between kills]`. A worker
is killed (SIGKILL) every few seconds, the policy server at a third and at two thirds of the episodes, the
driver at half; the same command is run until it ends with status 0. Needs psutil.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from vla_bench import RunFolder


def main(
    policy: str = "expert", suite: str = "micro", episodes: str = "40", pause: str = "4"
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        peace, chaos = Path(folder) / "peace", Path(folder) / "chaos"
        asked = ["--policy", policy, "--suite", suite, "--episodes", episodes, "--trials", "1"]
        command = [
            sys.executable,
            "-m",
            "vla_bench",
            "run",
            *asked,
            "--video",
            "all",
            "--batch",
            "4",
        ]
        start = time.perf_counter()
        subprocess.run([*command, "--out", str(peace)], check=True, stdout=subprocess.DEVNULL)
        print(f"in peace, inline: {time.perf_counter() - start:.0f} s")
        command += ["--out", str(chaos), "--workers", "2", "--replicas", "1"]
        start = time.perf_counter()
        killed = disturbed(command, chaos, float(pause), len(RunFolder(peace).items()))
        print(f"in chaos: {time.perf_counter() - start:.0f} s, killed {dict(killed)}")
        compare(peace, chaos)


def disturbed(command: list[str], folder: Path, pause: float, total: int) -> Counter[str]:
    """Runs a command under fire until it ends with status 0; returns who was killed how often."""
    luck, killed, due = (
        random.Random(0),
        Counter[str](),
        {"PolicyServer": [total // 3, 2 * total // 3]},
    )
    due["driver"] = [total // 2]
    while True:
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while driver.poll() is None:
            time.sleep(pause)
            done = played(folder)
            for name in ("driver", "PolicyServer", "Worker"):
                waits = due.get(name, [done])
                if waits and done >= waits[0] and kill(name, driver.pid, luck):
                    killed[name] += 1
                    del waits[0]
        if driver.returncode == 0:
            return killed
        if driver.returncode > 0:
            killed[f"runs that ended with status {driver.returncode}"] += 1


def played(folder: Path) -> int:
    log = folder / "episodes.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


def kill(name: str, driver: int, luck: random.Random) -> bool:
    """Kills the driver, or one of its Ray processes of a kind; returns whether there was one."""
    try:
        children = psutil.Process(driver).children(recursive=True)
        victims = [c.pid for c in children if c.name().startswith(f"ray::{name}")]
        if name == "driver":
            victims = [driver]
        if victims:
            os.kill(luck.choice(victims), signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    return bool(victims)


def compare(peace: Path, chaos: Path) -> None:
    wanted, found = (
        {r.item: r.outcome() for r in RunFolder(path).records()} for path in (peace, chaos)
    )
    lines = played(chaos)
    same = sum(found.get(item) == outcome for item, outcome in wanted.items())
    rows = [path.joinpath("report.md").read_text().split("|", 1)[1] for path in (peace, chaos)]
    films = [
        {film.name: film.read_bytes() for film in (path / "videos").glob("*.mp4")}
        for path in (peace, chaos)
    ]
    print(
        f"{len(wanted)} items, {same} records equal, {len(wanted.keys() - found.keys())} lost, "
        f"{lines - len(found)} doubled; films {len(films[0])} and {len(films[1])}, "
        f"{sum(films[1].get(name) == film for name, film in films[0].items())} equal; "
        f"tables {'equal' if rows[0] == rows[1] else 'DIFFERENT'}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
