"""Runs of a small policy that sees, on the toy suite."""

import pytest

from tests.learned import checkpoint
from vla_bench import RunSpec, execute, plan_run

SEEING = {
    "inputs__images": ("head", "wrist"),
    "backbone__image_size": 32,
    "backbone__grid": 4,
    "backbone__layers": 2,
    "horizon": 4,
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A function that plays two episodes of `pick-red` and returns the run folder; read only."""
    folder = tmp_path_factory.mktemp("inspecting")
    weights, made = {}, {}

    def run(policy="anchorvla", changes=SEEING, **spec):
        key = str((policy, changes, spec))
        if key not in made:
            trained = str((policy, changes))
            if policy != "expert" and trained not in weights:
                out = folder / f"weights-{len(weights)}"
                weights[trained] = str(checkpoint(out, policy, **changes))
            settings = {"tasks": ("pick-red",), "episodes": 2, "trials": 1, **spec}
            out = folder / f"run-{len(made)}"
            plan = RunSpec(policy, "micro", weights=weights.get(trained), out=out, **settings)
            execute(plan_run(plan))
            made[key] = out
        return made[key]

    return run
