"""Runs on several processes, as the tests of this folder plan them."""

from vla_bench import RunSpec
from vla_bench.execution.parallel import Parallel


def spec(out, workers=2, address=None, timeout=120.0, **changes):
    parallel = Parallel(workers, address, timeout) if workers else None
    command = {"policy": "drunkard", "suite": "line", "episodes": 6, "parallel": parallel}
    return RunSpec(**{**command, "out": out, **changes})


def outcomes(records):
    return {record.item: record.outcome() for record in records}
