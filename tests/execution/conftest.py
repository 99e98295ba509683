"""What one process records: what every other way to play the same items has to record."""

import os

import pytest
from ray.cluster_utils import Cluster

from tests.conftest import TOY
from tests.execution.spread import outcomes, spec
from vla_bench import execute, plan_run

# A token that some run has left on this machine would be asked of clusters that were started without.
os.environ["RAY_AUTH_MODE"] = "disabled"
# Ray gives way to all other processes by default, here to the tests beside it.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  Ray spells it so


@pytest.fixture(scope="module")
def inline(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLA_BENCH_PATH", str(TOY))
        return outcomes(execute(plan_run(spec(tmp_path_factory.mktemp("inline"), workers=0))))


@pytest.fixture(scope="module")
def cluster():
    """A cluster that is there before a run and after it: a head that plays nothing, and one node."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    made.add_node(num_cpus=4)
    yield made
    made.shutdown()
