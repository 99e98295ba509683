"""Time and memory of a report: `python benchmarks/report.py [--runs 50] [--episodes 6000]`.

Makes runs from the manifest, items and records of a committed run, each with other outcomes and another
horizon or option, and lets `vla-bench report RUN... --out DIR` write their report.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vla_bench.items import WorkItem
from vla_bench.records import RunFolder

SOURCE = Path(__file__).parents[1] / "results" / "runs" / "anchorvla-ms-hab-mini"


def make_runs(folder: Path, runs: int, episodes: int) -> list[Path]:
    """Writes runs of the same items."""
    source = RunFolder(SOURCE)
    items, lines = source.items(), [json.loads(line) for line in source.episodes.open()]
    made = [_item(items[n % len(items)], n, n // len(items)) for n in range(episodes)]
    text = "".join(item.model_dump_json() + "\n" for item in made)
    generator = np.random.default_rng(0)
    paths = []
    for number in range(runs):
        path = folder / f"run-{number:02d}"
        path.mkdir()
        manifest = json.loads((SOURCE / "manifest.json").read_text())
        manifest["horizon"] = 1 + number % 16
        manifest["policy"]["options"]["steps"] = 1 + number // 16
        (path / "manifest.json").write_text(json.dumps(manifest))
        (path / "items.jsonl").write_text(text)
        won = generator.random(episodes) < 0.4 + 0.4 * number / runs
        records = (
            json.dumps(_record(lines[n % len(lines)], item, bool(won[n])))
            for n, item in enumerate(made)
        )
        (path / "episodes.jsonl").write_text("\n".join(records) + "\n")
        paths.append(path)
    return paths


def _item(item: WorkItem, seed: int, block: int) -> WorkItem:
    return item.model_copy(update={"index": 1000 * block + item.index, "seed": seed})


def _record(record: dict[str, object], item: WorkItem, won: bool) -> dict[str, object]:
    outcome = {"success": won, "reason": "success" if won else "timeout"}
    first = {"first_success": 70 if won else None}
    return {
        **record,
        "item": item.digest,
        "index": item.index,
        "seed": item.seed,
        **outcome,
        **first,
    }


def main() -> None:
    """Makes the runs, has the report written, prints seconds and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--episodes", type=int, default=6000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = make_runs(Path(folder), chosen.runs, chosen.episodes)
        words = ["-m", "vla_bench", "report", *map(str, paths), "--out", f"{folder}/report"]
        start = time.monotonic()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        wall = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{chosen.runs} runs x {chosen.episodes} episodes: {wall:.1f} s, "
        f"{used.ru_utime + used.ru_stime:.1f} s of CPU time, {used.ru_maxrss / 1e6:.2f} GB at most"
    )


if __name__ == "__main__":
    main()
