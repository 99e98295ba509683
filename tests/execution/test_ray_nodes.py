"""Two Ray nodes on one machine, one of which leaves."""

from ray.cluster_utils import Cluster

from tests.execution.spread import outcomes, spec
from vla_bench import execute, plan_run


def test_a_node_that_leaves_takes_nothing_along(tmp_path, inline, monkeypatch):
    monkeypatch.setenv("TOY_PAUSE", "0.2")
    two = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [two.add_node(num_cpus=1) for _ in range(2)]
    played = []

    def leave(record):
        played.append(record.item)
        if len(played) == len(inline) // 2:
            two.remove_node(nodes[0], allow_graceful=False)

    try:
        records = execute(plan_run(spec(tmp_path, address=two.address)), leave)
    finally:
        two.shutdown()
    assert outcomes(records) == inline
    assert sorted(played) == sorted(inline)
