"""The tiny coupled backbone: it starts as its base, every switch changes it, and nothing leaks."""

import pytest
import torch
from pydantic import ValidationError

from tests.learned import draws
from vla_bench.nn.backbone import Masked
from vla_bench.nn.backbones import TinyCoupledConfig, make_backbone
from vla_bench.nn.coupled.coupler import Coupler
from vla_bench.nn.coupled.settings import chosen_layers

INSTRUCTIONS = ["pick up the red ball", "go", "", "go round the post and pick up the red ball"]
BATCH, VIEWS, STATE, LAYERS, QUERIES, GRID = len(INSTRUCTIONS), 2, 5, 4, 3, 2
SMALL = {
    "image_size": 16,
    "grid": GRID,
    "width": 16,
    "layers": LAYERS,
    "heads": 2,
    "queries": QUERIES,
    "expert_res": 32,
    "expert_patch": 8,
    "expert_width": 8,
    "expert_depth": 3,
    "expert_heads": 2,
}


def build(views=VIEWS, seed=0, **changes):
    """A backbone whose shared weights depend on the seed alone, and whose gates are open a little."""
    torch.manual_seed(seed)
    made = make_backbone(TinyCoupledConfig(**SMALL | changes), views=views, state_size=STATE)
    for name, parameter in made.named_parameters():
        parameter.data = 0.3 * draws(len(name) + sum(map(ord, name)), *parameter.shape)
        if name.endswith("gates"):
            torch.nn.init.constant_(parameter, 0.8)
    made.words.weight.data[0] = 0.0  # padding
    return made.eval()


def images(side=32, views=VIEWS, seed=0, batch=BATCH):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (batch, views, 3, side, side), generator=generator).to(torch.uint8)


def parts(context):
    return [
        *context.vision,
        *context.queries,
        context.proprioception,
        context.raw_vision,
        *context.attention,
    ]


def seen(model, pixels=None, texts=INSTRUCTIONS, attention=False):
    pixels = images() if pixels is None else pixels
    with torch.no_grad():
        return model(pixels, texts, draws(1, BATCH, STATE), attention)


@pytest.mark.parametrize("views", [0, 1, 2])
@pytest.mark.parametrize("fusion", ["none", "early", "mid_align", "deep_mot"])
def test_the_context_keeps_the_contract(views, fusion):
    context = seen(build(views, fusion=fusion), images(views=views), attention=True)
    tokens = views * GRID * GRID
    assert [tuple(v.shape) for v in context.vision] == [(BATCH, tokens, 16)] * (LAYERS + 1)
    assert [tuple(q.shape) for q in context.queries] == [(BATCH, QUERIES, 16)] * (LAYERS + 1)
    assert [tuple(a.shape) for a in context.attention] == [(BATCH, 2, QUERIES, tokens)] * LAYERS
    assert context.proprioception.shape == (BATCH, 1, 16)
    assert context.raw_vision.shape == (BATCH, tokens, 16)
    assert context.grid == (views, GRID, GRID)
    shown = {"pruning", "kept"} if views and fusion == "deep_mot" else set()
    assert set(context.maps) == shown
    assert all(m.shape == (BATCH, views, 4, 4) for m in context.maps.values())
    assert all(torch.isfinite(p).all() for p in parts(context))


def test_a_batch_equals_its_samples_one_by_one():
    for source in ("action", "instruction", "cls", "random"):
        model, pixels, state = build(agvp_source=source), images(), draws(1, BATCH, STATE)
        together = model(pixels, INSTRUCTIONS, state, True)
        for i, text in enumerate(INSTRUCTIONS):
            alone = model(pixels[i : i + 1], [text], state[i : i + 1], True)
            for whole, one in zip(parts(together), parts(alone), strict=True):
                torch.testing.assert_close(whole[i : i + 1], one, rtol=1e-4, atol=1e-4)
            assert torch.equal(together.maps["kept"][i : i + 1], alone.maps["kept"])


def copied(model, source):
    """The model with all the weights that both have."""
    own = model.state_dict()
    model.load_state_dict({n: t for n, t in source.state_dict().items() if n in own}, strict=False)
    return model


@pytest.mark.parametrize("choice", ["last", "first", "uniform"])
def test_gated_coupling_starts_as_the_base(choice):
    coupled = build(expert_layers=choice)
    for name, parameter in coupled.named_parameters():
        if name.endswith("gates"):
            torch.nn.init.zeros_(parameter)
    base = copied(build(coupled=0, seed=1), coupled)
    ours, theirs = (seen(model, attention=True) for model in (coupled, base))
    for one, other in zip(parts(ours), parts(theirs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_early_fusion_starts_as_the_base():
    torch.manual_seed(0)
    early = make_backbone(
        TinyCoupledConfig(**SMALL, fusion="early"), views=VIEWS, state_size=STATE
    ).eval()
    base = copied(build(fusion="none"), early)
    for one, other in zip(parts(seen(early)), parts(seen(base)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_no_pairs_are_no_expert():
    none, zero = build(fusion="none"), build(coupled=0)
    assert set(none.state_dict()) == set(zero.state_dict())
    assert not any(isinstance(module, Coupler) for module in none.modules())
    assert torch.equal(seen(none).pooled(), seen(zero).pooled())


SWITCHES = [
    {"coupled": 1},
    {"fusion": "early"},
    {"fusion": "mid_align"},
    {"fusion": "none"},
    {"expert_layers": "first"},
    {"expert_layers": "uniform"},
    {"expert_res": 64},
    {"expert_patch": 4},
    {"expert_sees_llm": False},
    {"expert_pos": "none"},
    {"coupling_start": "open"},
    {"agvp": False},
    {"agvp_source": "instruction"},
    {"agvp_source": "cls"},
    {"agvp_source": "random"},
    {"agvp_layers": (0, 1)},
    {"agvp_layers": (0, 0)},
    {"agvp_interp": "nearest"},
    {"topk_ratio": 0.125},
    {"topk_ratio": 1.0},
    {"topk_scope": "joint"},
    {"action_attn": "causal"},
]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_every_switch_changes_what_is_computed(switch):
    plain, changed = seen(build()), seen(build(**switch))
    difference = (plain.queries[-1] - changed.queries[-1]).abs().amax()
    assert float(difference) > 1e-4


def test_keeping_all_tokens_is_not_pruning():
    kept, off = build(topk_ratio=1.0), build(agvp=False)
    torch.testing.assert_close(seen(kept).pooled(), seen(off).pooled(), rtol=1e-5, atol=1e-5)


def test_no_gradient_passes_the_map():
    model = build()
    context = model(images(), INSTRUCTIONS, draws(1, BATCH, STATE))
    assert not any(m.requires_grad for m in context.maps.values())
    context.pooled().sum().backward()
    dead = {n for n, p in model.coupler.named_parameters() if p.grad is None or not p.grad.any()}
    # Nothing reads what the expert's tokens see in the last pair; keys' biases do not change a softmax.
    last = ("expert.layers.2", "bridges.1.back", "bridges.1.query", "expert.norm")
    assert all(name.startswith(last) for name in dead), dead


@pytest.mark.parametrize(("view", "row", "column"), [(0, 0, 1), (1, 1, 0), (1, 0, 0)])
def test_a_planted_hot_cell_keeps_the_patches_of_its_pixels(view, row, column, monkeypatch):
    """Attention to one cell of the language model's grid keeps the expert's patches of that cell."""
    model = build(agvp_interp="nearest", topk_ratio=0.25, topk_scope="joint")
    guide = torch.zeros(BATCH, VIEWS, GRID, GRID)
    guide[:, view, row, column] = 1.0
    original = Coupler.couple
    monkeypatch.setattr(Coupler, "couple", lambda self, t, i, g: original(self, t, i, guide))
    before = seen(model)
    marked = before.maps["kept"][0] > 0
    assert marked[view, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].all()
    # Pixels of kept patches matter to the actions through the expert, others of its view do not.
    stem = model.stem[0].weight
    with torch.no_grad():
        stem.zero_()
    plain = seen(model).queries[-1]
    for r in range(4):
        for c in range(4):
            pixels = images()
            pixels[:, view, :, 8 * r : 8 * r + 8, 8 * c : 8 * c + 8] ^= 255
            moved = (seen(model, pixels).queries[-1] - plain).abs().amax() > 1e-6
            inside = (r // 2, c // 2) == (row, column)
            assert moved or not inside


def test_the_map_is_the_attention_of_the_action_tokens():
    model = build(agvp_layers=(0, 1), agvp_interp="nearest")
    context = seen(model, attention=True)
    mean = torch.stack(context.attention[:2]).mean((0, 2, 3)).view(BATCH, VIEWS, GRID, GRID)
    torch.testing.assert_close(context.maps["pruning"][..., ::2, ::2], mean)


def test_action_tokens_are_told_apart_from_the_prompt():
    """Without the expert as a detour, no prompt token learns of the action tokens."""
    for sees, same in [(False, True), (True, False)]:
        model = build(expert_sees_llm=sees, agvp=False)
        before = seen(model)
        with torch.no_grad():
            model.queries += 1.0
        after = seen(model)
        assert torch.equal(before.vision[-1], after.vision[-1]) == same


def test_every_input_is_read():
    model, state = build(), draws(1, BATCH, STATE)
    plain = model(images(), INSTRUCTIONS, state).queries[-1]
    changed = [
        model(images(seed=1), INSTRUCTIONS, state),
        model(images(), INSTRUCTIONS[::-1], state),
        model(images(), INSTRUCTIONS, state + 1),
    ]
    for other in changed:
        assert ((other.queries[-1] - plain).abs().amax((1, 2)) > 1e-3).all()


def test_alignment_trains_the_language_model_and_never_the_expert():
    model = build(fusion="mid_align").train()
    context = model(images(), INSTRUCTIONS, draws(1, BATCH, STATE))
    assert set(context.losses) == {"alignment"}
    context.losses["alignment"].backward()
    assert not any(p.requires_grad for p in model.coupler.expert.parameters())
    assert model.blocks[0].attention.query.weight.grad.abs().sum() > 0
    assert model.blocks[-1].attention.query.weight.grad is None, "behind the middle"
    assert seen(model.eval()).losses == {}


def test_a_blind_backbone_is_a_part_of_the_seeing_one():
    blind, seeing = build(views=0).state_dict(), build().state_dict()
    assert all(seeing[name].shape == tensor.shape for name, tensor in blind.items())
    assert {name.split(".")[0] for name in seeing.keys() - blind.keys()} == {
        "stem",
        "place",
        "coupler",
    }


def test_which_layers_are_coupled():
    assert chosen_layers(32, 16, "last") == list(range(16, 32))
    assert chosen_layers(32, 16, "first") == list(range(16))
    assert chosen_layers(32, 16, "uniform") == list(range(1, 32, 2))
    assert chosen_layers(3, 2, "uniform") == [0, 2]
    assert chosen_layers(3, 3, "uniform") == chosen_layers(3, 3, "last") == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"coupled": 4}, r"coupled 4 is more .* 3 expert layers; use .*coupled=3"),
        ({"agvp_layers": (1, 2)}, r"agvp_layers \[1, 2\].*0 to 1; use .*agvp_layers=\[1,1\]"),
        ({"agvp_layers": (1, 0)}, r"agvp_layers \[1, 0\]"),
        ({"layers": 2}, r"agvp_layers \[1, 1\].*use .*coupled=1"),
        ({"expert_pos": "mrope"}, r"no rotary positions; use learned2d"),
        ({"expert_res": 30}, r"expert_res 30 is no multiple of expert_patch 8"),
        ({"expert_heads": 3}, r"expert_width 8 is no multiple of expert_heads 3"),
        ({"topk_ratio": 0.0}, r"greater than 0"),
        ({"fusion": "late"}, r"'none', 'early', 'mid_align' or 'deep_mot'"),
    ],
)
def test_settings_that_cannot_be(change, pattern):
    with pytest.raises(ValidationError, match=pattern):
        TinyCoupledConfig(**SMALL | change)


@pytest.mark.parametrize("layer", range(LAYERS + 1))
def test_masked_tokens_are_zero_at_their_layer(layer):
    model, tokens = build(), torch.zeros(BATCH, VIEWS * GRID * GRID, dtype=torch.bool)
    tokens[:, [0, 5]] = True
    with torch.no_grad():
        plain = seen(model)
        masked = model(images(), INSTRUCTIONS, draws(1, BATCH, STATE), masked=Masked(layer, tokens))
    for number, (one, other) in enumerate(zip(plain.vision, masked.vision, strict=True)):
        assert torch.equal(one, other) == (number < layer)
        assert (other[:, [0, 5]] == 0).all() == (number == layer)
    assert torch.equal(plain.queries[-1], masked.queries[-1]) == (layer == LAYERS)
