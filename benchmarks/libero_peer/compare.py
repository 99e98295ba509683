"""CPU and wall time of vla-eval over those of vla-bench, on the same LIBERO episodes.

Run: `python benchmarks/libero_peer/compare.py PYTHON_OF_VLA_EVAL [--pairs 3]`; README.md says how to make
that environment. One simulator process each; start-up, set-up and results on disk are included.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
MAX_STEPS = 280
"""Control steps of an episode of libero_object, the settling not counted."""
TASKS = (
    "pick-up-the-alphabet-soup-and-place-it-in-the-basket",
    "pick-up-the-cream-cheese-and-place-it-in-the-basket",
)
PACKAGES = ("hf-libero", "robosuite", "mujoco", "numpy", "torch")
"""What the two environments must agree on."""
LOOK = f"""
import importlib.metadata as m, importlib.util as u, json
print(json.dumps([u.find_spec("libero").submodule_search_locations[0], m.version("vla-eval"),
                  {{p: m.version(p) for p in {PACKAGES}}}]))
"""


@dataclass(frozen=True)
class Cost:
    """What a run took."""

    cpu_s: float
    """User and system time of all its processes (s)."""
    wall_s: float
    """From the start of its first process to the end of its last useful one (s)."""


@dataclass(frozen=True)
class Work:
    """What both harnesses are to play."""

    tasks: Sequence[str]
    episodes: int
    """Episodes per task."""

    @property
    def total(self) -> int:
        """Episodes in all."""
        return len(self.tasks) * self.episodes


class Job:
    """A child process whose CPU time is read when it ends, that of its own children included."""

    def __init__(self, command: Sequence[str | Path], log: Path, **variables: str) -> None:
        self._log = log
        with log.open("w") as sink:
            self._child = subprocess.Popen(
                command,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> float:
        """Waits for the end of it; user and system time (s)."""
        _, status, usage = os.wait4(self._child.pid, 0)
        self._child.returncode = os.waitstatus_to_exitcode(status)
        if self._child.returncode not in (0, -signal.SIGTERM):
            sys.exit(f"exit {self._child.returncode}:\n{self._log.read_text()[-3000:]}")
        return usage.ru_utime + usage.ru_stime

    def stop(self) -> float:
        """Ends it; user and system time so far (s)."""
        os.kill(self._child.pid, signal.SIGTERM)  # send_signal() would reap a child that has ended
        return self.wait()

    def wait_for(self, url: str) -> None:
        """Returns once the address answers."""
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT  # leaves an ended child to wait()
        while os.waitid(os.P_PID, self._child.pid, look) is None:
            try:
                urllib.request.urlopen(url).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        sys.exit(f"nothing answers at {url}:\n{self._log.read_text()[-3000:]}")


class Ours:
    """vla-bench, inline: one process."""

    name = "vla-bench"

    def play(self, work: Work, out: Path) -> Cost:
        """Plays the work and checks that it was played."""
        card = HERE / "random-two-cameras.toml"
        command = [sys.executable, "-m", "vla_bench", "run", "--policy", str(card)]
        command += ["--suite", "libero-object", "--tasks", ",".join(work.tasks)]
        command += ["--episodes", str(work.episodes), "--horizon", "8", "--out", str(out)]
        start = time.perf_counter()
        cpu_s = Job(command, out.with_suffix(".log")).wait()
        cost = Cost(cpu_s, time.perf_counter() - start)
        lines = (out / "episodes.jsonl").read_text().splitlines()
        check(self.name, work, [json.loads(line)["steps"] for line in lines])
        return cost


class Theirs:
    """vla-eval without a container: a simulator process and a model server, both counted."""

    name = "vla-eval"

    def __init__(self, python: Path, folder: Path) -> None:
        self._python = python
        self._config = write_libero_config(python, folder)

    def play(self, work: Work, out: Path) -> Cost:
        """Plays the work and checks that it was played."""
        address = f"127.0.0.1:{free_port()}"
        serve: list[str | Path] = [self._python, HERE / "random_server.py", "--address", address]
        start = time.perf_counter()
        server = Job(serve, out.with_suffix(".server.log"))
        try:
            server.wait_for(f"http://{address}/health")
            client = Job(
                self._run(work, address, out),
                out.with_suffix(".log"),
                LIBERO_CONFIG_PATH=self._config,
            )
            client_s = client.wait()
            wall_s = time.perf_counter() - start
        finally:
            server_s = server.stop()
        [result] = out.glob("*_aggregate.json")
        tasks = json.loads(result.read_text())["tasks"]
        check(self.name, work, [episode["steps"] for task in tasks for episode in task["episodes"]])
        return Cost(client_s + server_s, wall_s)

    def _run(self, work: Work, address: str, out: Path) -> list[str | Path]:
        instructions = ", ".join(task.replace("-", " ") for task in work.tasks)
        return [
            *(self._python.with_name("vla-eval"), "run", "--no-docker"),
            *("--config", HERE / "vla-eval.yaml", "--output-dir", out),
            *("--server-url", f"ws://{address}"),
            *("--benchmark-field", f"tasks=[{instructions}]"),
            *("--benchmark-field", f"episodes_per_task={work.episodes}"),
        ]


def check(name: str, work: Work, steps: Sequence[int]) -> None:
    """Ends the comparison unless every episode was played over the full horizon."""
    if list(steps) != [MAX_STEPS] * work.total:
        sys.exit(f"{name}: expected {work.total} episodes of {MAX_STEPS} steps, found {steps}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_libero_config(python: Path, folder: Path) -> str:
    """Lets vla-eval find LIBERO without asking for it; refuses environments that differ.

    Returns:
        The folder that LIBERO is to read its configuration from.
    """
    found = subprocess.run([python, "-c", LOOK], capture_output=True, text=True)
    if found.returncode:
        sys.exit(f"{python} lacks a package; README.md says what it needs\n{found.stderr}")
    place, version, theirs = json.loads(found.stdout)
    ours = {package: metadata.version(package) for package in PACKAGES}
    if ours != theirs:
        sys.exit(f"the packages differ: {ours} here, {theirs} there")
    print(f"vla-eval {version}; " + ", ".join(f"{p} {v}" for p, v in ours.items()))
    root = Path(place) / "libero"
    assets, given = root / "assets", os.environ.get("VLA_BENCH_LIBERO_ASSETS", "")
    if not Path(given).is_absolute():
        sys.exit("VLA_BENCH_LIBERO_ASSETS: expected the absolute path of LIBERO's assets")
    if not assets.is_dir() or not assets.samefile(given):
        sys.exit(f'the assets differ; ln -sfn "$VLA_BENCH_LIBERO_ASSETS" {assets}')
    names = {"bddl_files": "bddl_files", "init_states": "init_files", "assets": "assets"}
    lines = [f"{key}: {root / name}\n" for key, name in names.items()]
    lines += [f"benchmark_root: {root}\n", f"datasets: {folder}\n"]
    (folder / "config.yaml").write_text("".join(lines))
    return str(folder)


def show(pair: str, name: str, work: Work, cost: Cost) -> None:
    rate = 3600 * work.total / cost.wall_s
    print(f"{pair:>4} {name:<10}{cost.cpu_s:>9.1f}{cost.wall_s:>9.1f}{rate:>12.1f}", flush=True)


def compare(ours: Ours, theirs: Theirs, work: Work, pairs: int, folder: Path) -> None:
    """Alternates the two, each first every other time, and prints what each run took."""
    warm_up = Work(work.tasks[:1], 1)  # bytecode and numba's cache, once per environment
    for one in (ours, theirs):
        one.play(warm_up, folder / f"warm-up-{one.name}")
    print(f"{work.total} episodes of {MAX_STEPS} steps each, {os.cpu_count()} cores")
    print("pair harness       CPU s   wall s  episodes/h")
    cpu, rate = [], []
    for pair in range(pairs):
        costs = {}
        for one in (ours, theirs) if pair % 2 else (theirs, ours):
            costs[one.name] = one.play(work, folder / f"{pair}-{one.name}")
            show(str(pair), one.name, work, costs[one.name])
        mine, other = costs[ours.name], costs[theirs.name]
        cpu.append(other.cpu_s / mine.cpu_s)
        rate.append(other.wall_s / mine.wall_s)
        print(f"     CPU, theirs/ours {cpu[-1]:.2f}; episodes/h, ours/theirs {rate[-1]:.2f}")
    print(f"median CPU ratio {statistics.median(cpu):.2f}, {min(cpu):.2f} to {max(cpu):.2f}")
    print(f"median rate ratio {statistics.median(rate):.2f}, {min(rate):.2f} to {max(rate):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", type=Path, help="python of the environment with vla-eval")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--tasks", type=int, choices=(1, 2), default=2)
    parser.add_argument("--episodes", type=int, default=10, help="episodes per task")
    arguments = parser.parse_args()
    os.environ |= {"MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "osmesa"}
    work = Work(TASKS[: arguments.tasks], arguments.episodes)
    with tempfile.TemporaryDirectory() as name:
        theirs = Theirs(arguments.python, Path(name))
        compare(Ours(), theirs, work, arguments.pairs, Path(name))


if __name__ == "__main__":
    main()
