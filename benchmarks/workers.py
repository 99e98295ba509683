"""Episodes per hour of two workers over those of one: with start-up, and from first to last record.

Run: `python benchmarks/workers.py [policy] [suite] [episodes per task]`. The records must be the same.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from vla_bench import RunSpec, execute, plan_run
from vla_bench.execution.parallel import Parallel


def main(policy: str = "l1", suite: str = "ms-hab-mini", episodes: str = "10") -> None:
    spans, outcomes = [], []
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            ends: list[float] = []
            spec = RunSpec(
                policy,
                suite,
                episodes=int(episodes),
                trials=1,
                out=Path(folder) / "run",
                parallel=Parallel(workers),
            )
            run = plan_run(spec)
            start = time.perf_counter()
            records = execute(run, lambda _, ends=ends: ends.append(time.perf_counter()))  # type: ignore[misc]
            spans.append((time.perf_counter() - start, ends[-1] - ends[0]))
            outcomes.append({r.item: r.outcome() for r in records})
            print(f"{workers} workers: {len(ends)} episodes in {spans[-1][0]:.0f} s", flush=True)
    assert outcomes[0] == outcomes[1]
    (whole_1, steady_1), (whole_2, steady_2) = spans
    print(
        f"{policy} on {suite}, two workers over one: {whole_1 / whole_2:.2f} times the episodes an hour, "
        f"{steady_1 / steady_2:.2f} times between the first and the last record"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
