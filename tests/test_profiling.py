import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from vla_bench import profiling
from vla_bench.errors import UserError
from vla_bench.policies.learned.profile import COMPARED, profile_policy
from vla_bench.policies.learned.quoted import Counted
from vla_bench.policies.learned.subject import ProfileSpec, find_subject
from vla_bench.profiling import (
    WARM_UP,
    Flops,
    Parameters,
    count_flops,
    measure_time,
)
from vla_bench.reports import costs


class Stack(nn.Module):
    """A linear layer, fused attention and a convolution."""

    def __init__(self):
        super().__init__()
        self.linear, self.convolution = nn.Linear(12, 36), nn.Conv2d(3, 5, 2, stride=2)

    def forward(self, x, image):
        q, k, v = self.linear(x).unflatten(-1, (3, 2, 6)).permute(2, 0, 3, 1, 4)
        return nn.functional.scaled_dot_product_attention(q, k, v), self.convolution(image)


def stack(device):
    with torch.device(device):
        model, x, image = Stack(), torch.zeros(4, 7, 12), torch.zeros(4, 3, 8, 8)
    return lambda: model(x, image)


LINEAR, CONVOLUTION = 2 * 4 * 7 * 12 * 36, 2 * 4 * (4 * 4) * 5 * (3 * 2 * 2)
ATTENTION = 4 * (4 * 2) * 7 * 7 * 6


def test_flops_equal_the_hand_count():
    assert count_flops(stack("meta")) == LINEAR + ATTENTION + CONVOLUTION


def test_fused_attention_is_not_counted_on_a_cpu():
    # Why models are counted on the meta device.
    assert count_flops(stack("cpu")) == LINEAR + CONVOLUTION


def test_parameters_count_shared_ones_once_and_frozen_ones_apart():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5, bias=False))
    model.append(model[0])
    model[1].requires_grad_(False)
    assert Parameters.of(model) == Parameters(total=16 + 20, trainable=16)
    assert Parameters.of(None) == Parameters(total=0, trainable=0)


def test_an_episode_is_its_queries_and_a_correction_at_every_step():
    flops = Flops(backbone=100, head=20, residual=3, max_steps=200, queries=40)
    assert (flops.query, flops.episode) == (120, 40 * 120 + 200 * 3)
    assert flops.model_dump()["episode"] == flops.episode


def test_both_rates_come_from_the_timed_calls_alone(monkeypatch):
    calls, now = [], 0.0

    def call():
        nonlocal now
        calls.append(None)
        now += 5.0 if len(calls) <= WARM_UP else 0.1 * (len(calls) - WARM_UP)

    monkeypatch.setattr(profiling.time, "perf_counter", lambda: now)
    timing = measure_time(call, calls=4, batch=2, horizon=8, like=torch.zeros(1))
    assert len(calls) == WARM_UP + 4
    assert timing.latency_p50_ms == pytest.approx(250)
    assert timing.latency_p95_ms == pytest.approx(385)
    assert timing.queries_per_s == pytest.approx(2 / 0.25)
    assert timing.actions_per_s == pytest.approx(8 * 2 / 0.25)
    assert (timing.horizon, timing.batch, timing.calls, timing.warm_up) == (8, 2, 4, WARM_UP)
    assert (timing.dtype, timing.device) == ("float32", "cpu")
    assert timing.threads == torch.get_num_threads()


def test_peak_memory_sees_what_was_held_and_let_go():
    """In a process of its own, the child of one that has had a larger peak."""
    program = (
        "import torch; from vla_bench.profiling import PeakMemory\n"
        "memory = PeakMemory(torch.device('cpu')); held = torch.ones(200, 1024, 1024); del held\n"
        "print(memory.bytes())"
    )
    larger = torch.ones(300, 1024, 1024)
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert larger.nbytes > 1.2e9
    assert 0.7e9 < int(found.stdout) < 1.5e9


def counted(policy="anchorvla", **settings):
    return profile_policy(ProfileSpec(policy, queries=0, settings=settings))


def test_denoising_steps_and_anchors_cost_what_they_multiply():
    one, two, three = (counted(steps=str(n)).flops for n in (1, 2, 3))
    assert one.backbone == two.backbone
    assert three.head - two.head == two.head - one.head > 0
    once = one.head - (two.head - one.head)
    few = [counted(steps=str(n), **{"head.anchors": "5"}).flops.head for n in (1, 2)]
    assert 2 * few[0] - few[1] == once, "the context is projected once, for any number of anchors"
    assert 3.5 < (two.head - one.head) / (few[1] - few[0]) <= 4


def test_flops_grow_with_the_parameters_that_are_read():
    found = counted("l1")
    blocks = found.parameters["backbone.blocks"].total
    # 32 patches, the state, 8 queries and a few words; the stem's convolutions are read more often.
    assert 1 < found.flops.backbone / (2 * blocks * (32 + 1 + 8)) < 4
    assert found.parameters["model"].total > blocks + found.parameters["head"].total


def test_without_the_residual_module_a_correction_is_free():
    found = counted(residual="false")
    assert found.flops.residual == 0
    assert "residual" not in found.parameters
    assert counted().flops.residual > 0


def test_a_measured_profile_holds_times_of_its_horizon():
    found = profile_policy(ProfileSpec("l1", queries=2, batch=3, settings={"horizon": "5"}))
    assert found.timing.batch == 3
    assert found.timing.actions_per_s == pytest.approx(5 * found.timing.queries_per_s)
    assert found.flops.queries == 40
    assert found.residual_ms > 0
    assert found.peak_memory >= 0
    assert found.weights == "random"
    assert found.quoted == []
    text = json.loads(found.model_dump_json())
    assert {"queries_per_s", "actions_per_s", "horizon", "dtype", "device"} <= set(text["timing"])
    assert text["flops"]["query"] == text["flops"]["backbone"] + text["flops"]["head"]
    shown = dict(costs.rows(found))
    assert "actions/s at H=5" in shown
    assert "batch 3" in costs.footnotes(found)[1]


def test_the_full_size_stands_beside_the_papers_figures():
    pytest.importorskip("transformers")
    pytest.importorskip("peft")
    found = profile_policy(
        ProfileSpec(
            "anchorvla", full_size=True, queries=0, settings={"steps": "10", "horizon": "5"}
        )
    )
    assert found.suite == "ms-hab"
    assert found.timing is None
    language = found.parameters["backbone.language"].total - 151_936 * 896
    towers = found.parameters["backbone.towers"].total
    projector = found.parameters["backbone.projector"].total
    # Text has about 40 tokens; two views of 256 patches, DINOv2 with a class token and four registers.
    expected = 2 * (language * (512 + 64 + 40) + (towers + projector) * 512)
    assert found.flops.backbone == pytest.approx(expected, rel=0.1)
    assert found.parameters["residual"].total == pytest.approx(57e3, rel=0.01)
    figures = {c.figure: c for c in found.quoted}
    query = figures["TFLOPs per query"]
    assert query.quoted == pytest.approx(3.207)
    assert query.ours == pytest.approx(found.flops.query / 1e12)
    assert 1 / 3 < query.ours / query.quoted < 3
    episode = figures["TFLOPs per episode of 200 steps, H=5"]
    assert episode.quoted == 128.3
    assert episode.ours == pytest.approx(found.flops.episode / 1e12)
    assert all("2604.01567" in c.source and c.why for c in found.quoted)


def test_the_full_size_is_of_the_suite_that_there_is_a_recipe_for():
    assert find_subject(ProfileSpec("focusvla", full_size=True)).suite.name == "libero-spatial"
    assert find_subject(ProfileSpec("act", full_size=True)).suite.name == "ms-hab"


def test_a_latency_is_compared_only_where_it_was_measured():
    flops = Flops(backbone=1, head=1, residual=0, max_steps=1, queries=1)
    assert COMPARED["posavla"](Counted({}, flops, 8)) == []
    (latency,) = COMPARED["posavla"](Counted({}, flops, 8, latency_ms=30.0))
    assert (latency.quoted, latency.ours) == (24.5, 30.0)
    assert "2512.03724" in latency.source


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"policy": "expert"}, "no model to profile"),
        ({"policy": "l1", "batch": 0}, "--batch 0"),
        ({"policy": "l1", "queries": -1}, "--queries -1"),
        ({"policy": "l1", "settings": {"hed": "3"}}, "did you mean 'head'"),
        ({"policy": "l1", "suite": "ms-hab-mini", "full_size": True}, "--suite ms-hab"),
        ({"policy": "l1", "weights": "nowhere"}, "nowhere"),
    ],
)
def test_a_mistake_is_one_line(spec, message):
    with pytest.raises(UserError) as caught:
        profile_policy(ProfileSpec(**spec))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_prints_a_table_and_writes_the_figures(vla_bench, tmp_path):
    done = vla_bench("profile", "--policy", "l1", "--queries", 2, "--json", tmp_path / "cost.json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "cost.json").read_text())
    assert figures["timing"]["actions_per_s"] == pytest.approx(
        figures["timing"]["horizon"] * figures["timing"]["queries_per_s"]
    )
    for words in ("queries/s", "actions/s at H=", "FLOPs per query", "1 multiply-accumulate = 2"):
        assert words in done.stdout
