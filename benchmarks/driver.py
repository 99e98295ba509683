"""What the driver costs per episode when the world costs nothing: CPU, memory, planning, resuming.

python benchmarks/driver.py [EPISODES] [WORKERS]       # 0 workers play in the driver's process
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from vla_bench import RunSpec, execute, plan_run
from vla_bench.execution.parallel import Parallel
from vla_bench.records import EpisodeRecord

TOY = Path(__file__).parents[1] / "tests" / "toy"
CARD = """
extends = "line"
adapter = "{toy}/toy.py:LineSuite"
description = "Does nothing, often"
episodes = {episodes}
trials = 1
max_steps = 1
"""


def main(episodes: int, workers: int) -> None:
    os.environ["VLA_BENCH_PATH"] = str(TOY)
    with tempfile.TemporaryDirectory() as folder:
        card = Path(folder) / "nothing.toml"
        card.write_text(CARD.format(toy=TOY, episodes=episodes // 2))
        parallel = Parallel(workers) if workers else None
        spec = RunSpec("walker", str(card), out=Path(folder) / "run", parallel=parallel)
        play(spec)
        plan_and_resume(spec)


def play(spec: RunSpec) -> None:
    run = plan_run(spec)
    memory = [0.0, 0.0]
    count = 0
    where = f"{spec.parallel.workers} workers" if spec.parallel else "one process"

    def on_record(record: EpisodeRecord) -> None:
        nonlocal count
        count += 1
        if count in (len(run.items) // 10, len(run.items)):
            memory[count == len(run.items)] = rss_mb()

    cpu, wall = time.process_time(), time.perf_counter()
    execute(run, on_record)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(
        f"{len(run.items)} episodes on {where}: driver "
        f"{1e3 * cpu / len(run.items):.2f} ms CPU an episode ({wall:.0f} s in all); memory "
        f"{memory[0]:.0f} MB after a tenth, {memory[1]:.0f} MB at the end"
    )


def plan_and_resume(spec: RunSpec) -> None:
    wall = time.perf_counter()
    run = plan_run(spec)
    planned = time.perf_counter() - wall
    execute(run)
    both = time.perf_counter() - wall
    print(f"{len(run.items)} items planned in {planned:.1f} s, planned and resumed in {both:.1f} s")


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main(*(int(n) for n in [*sys.argv[1:], *("10000", "2")[len(sys.argv) - 1 :]]))
