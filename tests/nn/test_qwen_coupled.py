"""The full-size coupled backbone, in small: it computes what `transformers` does, and more if coupled."""

import pytest
import torch
from pydantic import ValidationError
from transformers import DINOv3ViTModel

from tests.learned import draws
from vla_bench.errors import UserError
from vla_bench.nn.backbone import Masked
from vla_bench.nn.backbones import QwenCoupledConfig, make_backbone
from vla_bench.nn.coupled import qwen_models
from vla_bench.nn.coupled.qwen import QwenCoupledBackbone
from vla_bench.nn.coupled.qwen_models import QwenSizes, make_expert, make_qwen
from vla_bench.nn.coupled.qwen_sequence import AFTER, BEFORE, CHAT, Layout, cells
from vla_bench.nn.coupled.qwen_vision import QwenVision
from vla_bench.nn.pixels import fitted, scaled
from vla_bench.nn.prismatic_text import stand_in_tokenizer
from vla_bench.nn.prismatic_vision import DINO_MEAN, DINO_STD, TowerSizes

SHORT, LONG = "open the fridge", "pick up the apple and place it on the kitchen counter"
TOWER = TowerSizes(width=32, layers=3, heads=4, feed_forward=48)
SIZES = QwenSizes(
    width=32,
    layers=4,
    heads=4,
    key_value_heads=2,
    head_width=8,
    feed_forward=48,
    vocabulary=200,
    rotary_parts=(2, 1, 1),
    vision=TOWER,
    vision_places=9,
    deep_stack=(0, 1),
    dino=TOWER,
    siglip=TOWER,
)
VIEWS, ACTIONS, STATE = 2, 3, 5
SMALL = {
    "pretrained": False,
    "lora_rank": 0,
    "queries": ACTIONS,
    "image_size": 64,
    "expert_res": 64,
    "coupled": 2,
    "agvp_layers": (1, 1),
}


def small(views=VIEWS, opened=False, **changes):
    torch.manual_seed(0)
    config = QwenCoupledConfig(**SMALL | changes)
    backbone = QwenCoupledBackbone(config, views=views, state_size=STATE, sizes=SIZES).eval()
    for name, parameter in backbone.named_parameters():
        if opened and name.endswith("gates"):
            torch.nn.init.constant_(parameter, 0.8)
        elif not any(part in name for part in ("norm", "lora", "gates")):
            scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
            seed = len(name) + sum(map(ord, name))
            parameter.data = scale * draws(seed, *parameter.shape)
    return backbone


def observed(batch=2, views=VIEWS, side=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (batch, views, 3, side, side), generator=generator)
    return images.to(torch.uint8), draws(1, batch, STATE)


@torch.no_grad()
def test_the_base_is_the_published_language_model():
    """The same sequence through `transformers`, with its own mask, positions and DeepStack."""
    backbone, (images, state) = small(coupled=0, action_attn="causal"), observed()
    context = backbone(images, [LONG, LONG], state)
    layout = Layout.of(
        backbone.tokenize,
        [LONG, LONG],
        views=VIEWS,
        side=2,
        actions=ACTIONS,
        device=torch.device("cpu"),
    )
    _, vision, deep = backbone._see(images)
    x = backbone._embedded(layout, vision, backbone.state(state)[:, None])
    seen = torch.zeros(x.shape[:2], dtype=torch.bool)
    seen[:, layout.vision] = True
    expected = backbone.language(
        inputs_embeds=x,
        position_ids=layout.positions(),
        visual_pos_masks=seen,
        deepstack_visual_embeds=[part.flatten(0, 1) for part in deep],
        use_cache=False,
    ).last_hidden_state
    torch.testing.assert_close(context.queries[-1], expected[:, -ACTIONS:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(context.vision[-1], expected[:, layout.vision], atol=1e-5, rtol=1e-4)
    both = small(coupled=0)(images, [LONG, LONG], state)
    assert not torch.allclose(both.queries[-1], context.queries[-1], atol=1e-3)
    torch.testing.assert_close(both.vision[-1], context.vision[-1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_tower_is_the_published_one():
    torch.manual_seed(0)
    tower = make_qwen(SIZES, download=False).visual.eval()
    torch.nn.init.normal_(tower.pos_embed.weight)
    vision, (images, _) = QwenVision(tower, 64), observed(batch=3, views=1)
    ours = vision(images.flatten(0, 1))
    patches = vision._patches(images.flatten(0, 1))
    grid = torch.tensor([[1, 4, 4]] * 3)
    theirs = tower(patches.flatten(0, 1), grid_thw=grid)
    assert patches.shape == (3, 16, 3 * 2 * 16 * 16)
    for one, other in [
        (ours.tokens, theirs.pooler_output),
        (ours.raw, theirs.last_hidden_state),
        *zip(ours.deep, theirs.deepstack_features, strict=True),
    ]:
        expected = other.reshape(one.shape)
        torch.testing.assert_close(one, expected, atol=1e-5, rtol=1e-4)


def test_a_cells_patches_are_its_pixels():
    """Cells in the order row, column; within each, its four patches."""
    vision = QwenVision(make_qwen(SIZES, download=False).visual, 64)
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    images[0, :, 20, 50] = 255  # row 1, column 3 of the patches: cell (0, 1), its lower right one
    patches = vision._patches(images)
    assert (patches != patches.min()).any(-1).nonzero().tolist() == [[0, 1 * 4 + 3]]


def test_positions_are_the_published_ones():
    tokenize = stand_in_tokenizer(200)
    layout = Layout.of(tokenize, [LONG], views=2, side=2, actions=3, device=torch.device("cpu"))
    before, after = len(tokenize(BEFORE)), len(tokenize(AFTER))
    kinds = [0] * len(tokenize(CHAT))
    for _ in range(2):
        kinds += [0] * before + [1] * 4 + [0] * after
    kinds = torch.tensor([kinds + [0] * (int(layout.lengths[0]) + 1 + 3)])
    model = make_qwen(SIZES, download=False)
    expected, _ = model.get_rope_index(
        torch.ones_like(kinds), kinds, image_grid_thw=torch.tensor([[1, 4, 4]] * 2)
    )
    assert torch.equal(layout.positions(), expected)
    assert torch.equal(layout.vision, kinds[0].nonzero()[:, 0])
    coarse = layout.finer(2, prefix=0)
    assert torch.equal(coarse.flatten(1), expected[:, 0, layout.vision].float())
    fine = layout.finer(4, prefix=3)
    assert fine.shape == (3, 2, 3 + 16)
    assert (fine[:, :, :3] == expected[0, 0, layout.vision[[0, 4]]].float()[:, None]).all()
    mean = fine[:, :, 3:].reshape(3, 2, 2, 2, 2, 2).mean((3, 5)).flatten(1)
    torch.testing.assert_close(mean, coarse.flatten(1))
    assert cells(2, 2, torch.device("cpu")).tolist() == [[0] * 4, [0, 0, 1, 1], [0, 1, 0, 1]]


@torch.no_grad()
@pytest.mark.parametrize("name", ["dinov3", "siglip"])
def test_an_expert_is_the_published_model(name):
    torch.manual_seed(0)
    made = []
    make = qwen_models._dino if name == "dinov3" else qwen_models._siglip
    model = make(TOWER, download=False).eval()
    kind = qwen_models.DinoExpert if name == "dinov3" else qwen_models.SiglipExpert
    images = observed(batch=3, views=1)[0].flatten(0, 1)
    mean, std = (DINO_MEAN, DINO_STD) if name == "dinov3" else ((0.5,) * 3, (0.5,) * 3)
    pixels = scaled(fitted(images, 64), mean, std)
    extra = {} if name == "dinov3" else {"interpolate_pos_encoding": True}
    expected = model(pixels, **extra).last_hidden_state
    expert = kind(model, 64, 3)
    made.append(expert.features(images))
    torch.testing.assert_close(made[0], expected[:, expert.prefix :], atol=1e-5, rtol=1e-4)
    assert expert.side == 4
    assert isinstance(model, DINOv3ViTModel) == (expert.prefix == 5)


@torch.no_grad()
@pytest.mark.parametrize("views", [0, 1, 2])
@pytest.mark.parametrize("expert", ["dinov3", "siglip"])
def test_the_context_keeps_the_contract(views, expert):
    images, state = observed(views=views)
    context = small(views, expert=expert)(images, [SHORT, LONG], state, need_attention=True)
    assert [tuple(v.shape) for v in context.vision] == [(2, 4 * views, 32)] * 5
    assert [tuple(q.shape) for q in context.queries] == [(2, ACTIONS, 32)] * 5
    assert [tuple(a.shape) for a in context.attention] == [(2, 4, ACTIONS, 4 * views)] * 4
    assert context.proprioception.shape == (2, 1, 32)
    assert context.raw_vision.shape == (2, 4 * views, 128)
    assert context.grid == context.raw_grid == (views, 2, 2)
    assert {k: tuple(m.shape) for k, m in context.maps.items()} == (
        {"pruning": (2, views, 4, 4), "kept": (2, views, 4, 4)} if views else {}
    )
    assert context.text.shape == (2, 32)


@torch.no_grad()
@pytest.mark.parametrize("expert_pos", ["learned2d", "mrope"])
def test_longer_neighbours_change_nothing(expert_pos):
    backbone, (images, state) = small(opened=True, expert_pos=expert_pos), observed()
    both = backbone(images, [SHORT, LONG], state)
    for k, text in enumerate([SHORT, LONG]):
        alone = backbone(images[k : k + 1], [text], state[k : k + 1])
        for name in ("vision", "queries"):
            for ours, theirs in zip(getattr(both, name), getattr(alone, name), strict=True):
                torch.testing.assert_close(ours[k : k + 1], theirs, atol=1e-5, rtol=1e-4)
        assert torch.equal(both.maps["kept"][k : k + 1], alone.maps["kept"])


@torch.no_grad()
@pytest.mark.parametrize("expert", ["dinov3", "siglip"])
@pytest.mark.parametrize("choice", ["last", "first", "uniform"])
def test_gated_coupling_starts_as_the_base(expert, choice):
    images, state = observed()
    ours = small(expert=expert, expert_layers=choice)(images, [SHORT, LONG], state)
    base = small(fusion="none")(images, [SHORT, LONG], state)
    for one, other in zip(
        [*ours.vision, *ours.queries], [*base.vision, *base.queries], strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


SWITCHES = [
    {"coupled": 1},
    {"fusion": "early"},
    {"fusion": "none"},
    {"expert": "siglip"},
    {"expert_layers": "first"},
    {"expert_layers": "uniform"},
    {"expert_res": 96},
    {"expert_sees_llm": False},
    {"expert_pos": "none"},
    {"expert_pos": "mrope"},
    {"coupling_start": "open"},
    {"agvp": False},
    {"agvp_source": "instruction"},
    {"agvp_source": "cls"},
    {"agvp_source": "random"},
    {"agvp_layers": (0, 0)},
    {"agvp_interp": "nearest"},
    {"topk_ratio": 0.25},
    {"topk_scope": "joint"},
    {"action_attn": "causal"},
    {"image_size": 96},
]


@torch.no_grad()
@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_every_switch_changes_what_is_computed(switch):
    images, state = observed(batch=4)
    queries = [
        small(opened=True, **changes)(images, [SHORT, LONG] * 2, state).queries[-1]
        for changes in ({}, switch)
    ]
    assert (queries[0] - queries[1]).abs().amax() > 1e-4


@torch.no_grad()
def test_attention_and_masks_belong_to_the_same_forward_pass():
    backbone, (images, state) = small(opened=True), observed()
    plain = backbone(images, [SHORT, LONG], state)
    seen = backbone(images, [SHORT, LONG], state, need_attention=True)
    torch.testing.assert_close(plain.queries[-1], seen.queries[-1])
    mean = seen.attention[1].mean((1, 2)).reshape(2, VIEWS, 2, 2)
    means = seen.maps["pruning"].reshape(2, VIEWS, 2, 2, 2, 2).mean((3, 5))
    assert torch.equal(mean.flatten(2).argmax(2), means.flatten(2).argmax(2))
    tokens = torch.zeros(2, 8, dtype=torch.bool)
    tokens[:, [1, 6]] = True
    masked = backbone(images, [SHORT, LONG], state, masked=Masked(2, tokens))
    assert (masked.vision[2][:, [1, 6]] == 0).all()
    torch.testing.assert_close(masked.vision[1], plain.vision[1])
    assert not torch.allclose(masked.queries[-1], plain.queries[-1], atol=1e-5)


@torch.no_grad()
def test_half_precision_gives_about_the_same():
    images, state = observed()
    backbone = small(opened=True, agvp_source="random")
    full = backbone(images, [SHORT, LONG], state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = backbone(images, [SHORT, LONG], state)
    half = backbone.to(torch.bfloat16)(images, [SHORT, LONG], state)
    assert half.queries[-1].dtype == torch.bfloat16
    for other in (mixed, half):
        error = (other.queries[-1].float() - full.queries[-1]).abs().mean()
        assert error < 0.1 * full.queries[-1].abs().mean()


def test_adapters_train_and_what_they_adapt_does_not():
    backbone = small(lora_rank=4, opened=True).train()
    images, state = observed()
    context = backbone(images, [SHORT, LONG], state)
    context.queries[-1].square().mean().backward()
    trained = {n for n, p in backbone.named_parameters() if p.requires_grad}
    parts = {".".join(n.split(".")[:2]) for n in trained if ".lora_" not in n}
    own = {"coupler.bridges", "coupler.place", "coupler.view_place", "queries"}
    assert parts == own | {"state.0", "state.2"}
    adapted = {n.split(".")[0] for n in trained if ".lora_" in n}
    assert adapted == {"language", "vision", "coupler"}
    assert backbone.coupler.bridges[0].value.weight.grad.abs().sum() > 0
    assert all(p.requires_grad for p in small(lora_rank=0).parameters())


def test_the_full_size_on_the_meta_device():
    config = QwenCoupledConfig(pretrained=False, lora_rank=0)
    with torch.device("meta"):
        backbone = make_backbone(config, views=2, state_size=8)
        images = torch.zeros(1, 2, 3, 128, 128, dtype=torch.uint8)
        context = backbone(images, [SHORT], torch.zeros(1, 8))
    assert context.vision[-1].shape == (1, 128, 2560)
    assert len(context.vision) == 37
    assert context.maps["kept"].shape == (1, 2, 32, 32)

    def count(module):
        return sum(p.numel() for p in module.parameters())

    # Published: Qwen3-4B has 4.02 B, DINOv3 ViT-H+ 840 M.
    assert count(backbone.language) == pytest.approx(4.02e9, rel=2e-3)
    assert count(backbone.coupler.expert) == pytest.approx(840e6, rel=2e-3)
    assert backbone.coupler.chosen == list(range(16, 32))
    # Sixteen bridges: queries and back at 32 heads of 128, keys and values at 8.
    assert count(backbone.coupler.bridges) == pytest.approx(
        16 * 1280 * 128 * (2 * 32 + 2 * 8), rel=1e-4
    )


def test_experts_are_no_larger_than_what_runs():
    first = make_expert("dinov3", TOWER, resolution=64, depth=2, download=False)
    assert len(first.branches()) == 2
    assert len(small(expert_layers="first").coupler.expert.branches()) == 2


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"coupled": 36}, r"coupled 36 is more .* 32 expert layers; use .*coupled=32"),
        (
            {"coupled": 16, "agvp_layers": (4, 20)},
            r"agvp_layers \[4, 20\].*0 to 19; use .*=\[4,19\]",
        ),
        ({"image_size": 250}, "image_size 250 and expert_res 64: expected multiples of 32 and 16"),
        (
            {"expert": "siglip", "agvp_source": "cls"},
            "SigLIP has no class token; use expert dinov3",
        ),
        ({"expert": "none"}, "'dinov3' or 'siglip'"),
    ],
)
def test_settings_that_cannot_be(change, pattern):
    with pytest.raises(ValidationError, match=pattern):
        QwenCoupledConfig(**SMALL | change)


DOWNLOADS = {
    "tokenizer": lambda: make_backbone(QwenCoupledConfig(), views=1, state_size=5),
    "model": lambda: make_qwen(SIZES, download=True),
    "expert": lambda: make_expert("dinov3", TOWER, resolution=64, depth=3, download=True),
}


@pytest.mark.parametrize("part", DOWNLOADS)
def test_a_failed_download_is_one_line(part, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="pretrained=false") as caught:
        DOWNLOADS[part]()
    assert "\n" not in str(caught.value)
