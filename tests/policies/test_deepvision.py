"""DeepVision-VLA: its plain head, other heads on its backbone, and what the expert is good for."""

import pytest
import torch

from tests.learned import context, demonstrations, draws, head, windows
from vla_bench.errors import UserError
from vla_bench.learning.training import train
from vla_bench.nn.backbones import TinyCoupledConfig, make_backbone
from vla_bench.nn.dit import ChunkSizes
from vla_bench.policies.anchorvla.head import AnchoredConfig
from vla_bench.policies.deepvision.head import OftConfig, OftSampling
from vla_bench.policies.deepvision.quoted import compare
from vla_bench.policies.l1.head import L1Config
from vla_bench.policies.learned.checkpoint import load_config, load_model
from vla_bench.policies.learned.heads import make_head
from vla_bench.policies.learned.quoted import Counted
from vla_bench.policies.learned.recipe import load_recipe
from vla_bench.profiling import Flops, Parameters

BATCH, LENGTH = 5, 5
BACKBONE = {
    "image_size": 16,
    "grid": 2,
    "width": 16,
    "layers": 3,
    "heads": 2,
    "agvp_layers": (0, 0),
    "expert_res": 16,
    "expert_patch": 4,
    "expert_width": 8,
    "expert_depth": 2,
    "expert_heads": 2,
}
SMALL = {
    f"backbone.{key}": str(list(v) if key == "agvp_layers" else v) for key, v in BACKBONE.items()
}
SMALL |= {
    "backbone.queries": "4",
    "chunk_length": "4",
    "horizon": "2",
    "training.updates": "6",
    "training.batch": "8",
    "training.every": "3",
    "training.validation": "0.25",
}


@pytest.mark.parametrize("state", ["tokens", "beside"])
def test_each_action_is_read_from_its_own_token(state):
    made, seen = head(OftConfig(state=state)), context(BATCH, queries=LENGTH)
    with torch.no_grad():
        planned = made.sample(seen, torch.empty(BATCH, 0), OftSampling())
        seen.queries[-1][:, 3] += draws(1, BATCH, 16)
        changed = made.sample(seen, torch.empty(BATCH, 0), OftSampling()) != planned
        seen.proprioception.add_(1.0)
        moved = made.sample(seen, torch.empty(BATCH, 0), OftSampling())
    assert planned.shape == (BATCH, LENGTH, 2)
    assert changed[:, 3].all()
    assert not changed[:, [0, 1, 2, 4]].any()
    assert (moved[:, 0] != planned[:, 0]).all() == (state == "beside")


def test_the_loss_is_the_mean_absolute_error_of_what_is_sampled():
    made, seen, drawn = head(OftConfig()), context(BATCH, queries=LENGTH), windows(BATCH)
    drawn.valid[1:, 2:] = False
    with torch.no_grad():
        planned = made.sample(seen, torch.empty(BATCH, 0), OftSampling())
        losses = made.loss(seen, drawn, torch.Generator())
    errors = (planned - drawn.chunks).abs()
    expected = torch.cat([errors[0].flatten(), errors[1:, :2].flatten()]).mean()
    torch.testing.assert_close(losses["total"], expected)
    assert made.noise_size() == ()


def test_other_numbers_of_action_tokens_are_refused():
    with pytest.raises(UserError, match=r"expected 5, the chunk length, found 3; use .*queries=5"):
        head(OftConfig()).sample(context(1, queries=3), torch.empty(1, 0), OftSampling())
    with pytest.raises(UserError, match=r"backbone\.queries 5: .* use --set backbone\.queries=8"):
        load_recipe("deepvision-vla-micro", {"backbone.queries": "5"})


@pytest.mark.parametrize(
    "config", [OftConfig(), L1Config(heads=2), AnchoredConfig(heads=2, anchors=4)]
)
def test_any_head_runs_on_the_coupled_backbone(config):
    torch.manual_seed(0)
    backbone = make_backbone(TinyCoupledConfig(**BACKBONE, queries=LENGTH), views=2, state_size=3)
    made = make_head(config, ChunkSizes(2, LENGTH, 16, 3, views=2, raw_width=16))
    drawn = windows(BATCH)
    made.fit(windows(40).chunks.numpy(), 0)
    images = (40 * draws(0, BATCH, 2, 3, 16, 16)).to(torch.uint8)
    seen = backbone(images, ["go"] * BATCH, draws(1, BATCH, 3))
    losses = made.loss(seen, drawn, torch.Generator().manual_seed(0))
    losses["total"].backward()
    assert torch.isfinite(losses["total"])
    planned = made.sample(seen, draws(2, BATCH, *made.noise_size()), config.sampling())
    assert planned.shape == (BATCH, LENGTH, 2)
    shown = made.attention(seen)
    if isinstance(config, OftConfig):
        assert set(shown) == {"pruning", "kept"}
        assert shown["kept"].shape == (BATCH, 2, 4, 4)
        assert (shown["kept"].sum((2, 3)) == 8).all(), "half of each view"


def striped(count, generator):
    """Images (count, 1, 3, 32, 32) with a patch of 8 px striped across or down, and which way it is.

    Averaged to 8 px, both ways are the same grey.
    """
    cells = torch.randint(4, (count, 2), generator=generator)
    way = torch.randint(2, (count,), generator=generator)
    noise = torch.randint(40, (count, 1, 3, 32, 32), generator=generator)
    images = (100 + noise).to(torch.uint8)
    across = torch.tensor([255, 0] * 4, dtype=torch.uint8).repeat(8, 1)
    for k, (row, column) in enumerate((8 * cells).tolist()):
        patch = across.T if way[k] else across
        images[k, 0, :, row : row + 8, column : column + 8] = patch
    return images, (2.0 * way - 1)[:, None, None]


def learned(updates=70, **changes):
    """Error of held-out answers to which way the stripes go; 1 is a guess."""
    torch.manual_seed(0)
    sizes = {"image_size": 8, "grid": 2, "width": 32, "layers": 3, "heads": 2, "queries": 1}
    expert = {"expert_res": 32, "expert_width": 32, "expert_depth": 2, "expert_heads": 2}
    config = TinyCoupledConfig(**sizes, **expert, **{"agvp_layers": (0, 0)} | changes)
    backbone = make_backbone(config, views=1, state_size=1)
    made = make_head(OftConfig(), ChunkSizes(1, 1, 32, 3))
    parameters = [*backbone.parameters(), *made.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.0)
    generator = torch.Generator().manual_seed(1)

    def error(count):
        images, answers = striped(count, generator)
        seen = backbone(images, ["look"] * count, torch.zeros(count, 1))
        return (made.sample(seen, torch.empty(count, 0), OftSampling()) - answers).abs().mean()

    for _ in range(updates):
        optimiser.zero_grad()
        error(32).backward()
        optimiser.step()
    with torch.no_grad():
        return float(error(200))


def test_a_target_finer_than_the_language_model_sees_is_learned_through_the_expert():
    assert learned(fusion="none") > 0.8
    assert learned(coupling_start="open", agvp=False) < 0.3


def recipe(name="deepvision-vla-micro", **changes):
    return load_recipe(name, SMALL | {key.replace("__", "."): v for key, v in changes.items()})


def test_a_seeing_policy_starts_from_a_blind_one(tmp_path):
    blind, seeing = recipe(inputs__images="[]"), recipe()
    start = train(blind, demonstrations(blind), tmp_path / "blind")
    out = train(seeing, demonstrations(seeing), tmp_path / "seeing", start=start)
    earlier, later = (load_model(f, load_config(f), "cpu") for f in (start, out))
    shared = set(earlier.state_dict())
    assert shared < set(later.state_dict())
    assert any("coupler" in name for name in set(later.state_dict()) - shared)
    assert load_config(out).state == load_config(start).state


def test_alignment_is_logged_and_learned_from(tmp_path):
    aligned = recipe(backbone__fusion="mid_align")
    losses = []
    train(aligned, demonstrations(aligned), tmp_path, lambda _, found: losses.append(found))
    assert all(found["total"] > found["alignment"] > 0 for found in losses)


def test_published_sizes_stand_beside_what_is_counted():
    parts = {"backbone.language": 4155, "backbone.vision": 444, "backbone.coupler.expert": 901}
    counted = {n: Parameters(total=int(m * 1e6), trainable=0) for n, m in parts.items()}
    flops = Flops(backbone=0, head=0, residual=0, max_steps=1, queries=1)
    found = compare(Counted(counted, flops, 8))
    assert [(c.quoted, c.ours) for c in found] == [(4000, 4155), (800, 901)]
    assert all(c.why and c.source and "\n" not in c.why for c in found)
    del counted["backbone.coupler.expert"]
    assert len(compare(Counted(counted, flops, 8))) == 1, "the base has no expert"
