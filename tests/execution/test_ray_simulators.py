"""The real simulators on Ray: the records of one process, whoever plays and whoever plans.

What one worker does is what two do; the toy suite is played on both.
"""

import pytest

from tests.execution.spread import outcomes, spec
from vla_bench import RunFolder, execute, plan_run

pytestmark = pytest.mark.long
MS_HAB = {"policy": "l1", "suite": "ms-hab-mini", "tasks": ["close-drawer"]}
LIBERO = {
    "policy": "l1",
    "suite": "libero-object",
    "tasks": ["pick-up-the-butter-and-place-it-in-the-basket"],
}


def runs(folder, of_suite, cluster):
    """The same few episodes inline, and on two workers with a policy server, broken off and run again."""
    few = {**of_suite, "trials": 1, "episodes": 2, "batch": 2}
    yield execute(plan_run(spec(folder / "inline", workers=0, **few)))

    def break_off(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(plan_run(spec(folder / "two", 2, cluster.address, replicas=1, **few)), break_off)
    assert len(RunFolder(folder / "two").records()) == 1
    yield execute(plan_run(spec(folder / "two", 2, cluster.address, replicas=1, **few)))


def differences(one, other):
    """Names of the fields that differ, by item."""
    assert one.keys() == other.keys()
    named = {k: [f for f in one[k] if one[k][f] != other[k][f]] for k in one}
    return {k: fields for k, fields in named.items() if fields}


def test_libero(tmp_path, libero_assets, cluster):
    inline, spread = map(outcomes, runs(tmp_path, LIBERO, cluster))
    assert len(inline) == 2
    assert differences(inline, spread) == {}


def test_ms_hab(tmp_path, cluster):
    inline, spread = map(outcomes, runs(tmp_path, MS_HAB, cluster))
    assert len(inline) == 2
    assert differences(inline, spread) == {}
