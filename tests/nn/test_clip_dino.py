"""PosA-VLA's full-size backbone at small sizes; at its own sizes only on the meta device."""

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("peft")

from vla_bench.errors import UserError
from vla_bench.nn.backbone import Masked
from vla_bench.nn.backbones import ClipDinoConfig, make_backbone
from vla_bench.nn.clip_dino import ClipDinoBackbone, ClipDinoSizes
from vla_bench.nn.prismatic_vision import TowerSizes

TOWER = TowerSizes(width=32, layers=2, heads=2, feed_forward=64)
SMALL = ClipDinoSizes(
    clip=TOWER, text=TOWER, dino=TOWER, width=24, image_size=56, clip_patch=8, vocabulary=997
)
CELLS, DENSE = 7 * 7, 4 * 4
SHORT, LONG = "open the fridge", "pick up the apple from the table and place it on the counter"


def small(**settings):
    torch.manual_seed(0)
    defaults = {"views": 2, "state_size": 5, "pretrained": False, "sizes": SMALL}
    return ClipDinoBackbone(**{**defaults, **settings}).eval()


def observations(batch=2, views=2):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (batch, views, 3, 40, 30), generator=generator)
    return images.to(torch.uint8), torch.randn(batch, 5, generator=generator)


@pytest.fixture(scope="module")
def backbone():
    return small()


@torch.no_grad()
def test_context_has_the_declared_sizes(backbone):
    images, state = observations()
    context = backbone(images, [SHORT, LONG], state)
    assert [tuple(v.shape) for v in context.vision] == [(2, 2 * CELLS, 24)] * (backbone.layers + 1)
    assert [tuple(q.shape) for q in context.queries] == [(2, 1, 24)] * (backbone.layers + 1)
    assert context.proprioception.shape == (2, 1, 24)
    assert context.raw_vision.shape == (2, 2 * DENSE, backbone.raw_width)
    assert (context.grid, context.raw_grid) == ((2, 7, 7), (2, 4, 4))
    assert context.text.shape == (2, backbone.text_width)
    assert context.phrases["gripper"].shape == (backbone.text_width,)
    assert context.pooled().shape == (2, 48)


@torch.no_grad()
def test_visual_tokens_are_zeroed_where_asked(backbone):
    images, state = observations()
    tokens = torch.arange(2 * CELLS).expand(2, -1) == 60
    plain = backbone(images, [SHORT, LONG], state)
    masked = backbone(images, [SHORT, LONG], state, masked=Masked(0, tokens))
    assert not masked.vision[0][:, 60].any()
    assert torch.equal(masked.vision[0][~tokens], plain.vision[0][~tokens])
    assert torch.equal(masked.raw_vision, plain.raw_vision)


@torch.no_grad()
def test_without_views_there_are_no_visual_tokens():
    images, state = observations(views=0)
    backbone = small(views=0)
    context = backbone(images, [SHORT, LONG], state)
    assert context.vision[0].shape == (2, 0, 24)
    assert context.raw_vision.shape == (2, 0, 32)
    assert not any("vision" in name or "dino" in name for name in backbone.state_dict())


@pytest.mark.parametrize(("part", "rows", "side"), [("vision", CELLS, 7), ("raw_vision", DENSE, 4)])
@torch.no_grad()
def test_cells_are_ordered_by_view_row_and_column(backbone, part, rows, side):
    """A patch of one view that is painted over changes its own cell more than any other."""
    images = torch.full((1, 2, 3, 56, 56), 90, dtype=torch.uint8)
    before = backbone(images, [SHORT], torch.zeros(1, 5))
    row, column, size = 2, 1, 56 // side
    images[0, 1, :, row * size : (row + 1) * size, column * size : (column + 1) * size] = 255
    after = backbone(images, [SHORT], torch.zeros(1, 5))
    before, after = (
        getattr(c, part)[0] if part == "vision" else c.raw_vision for c in (before, after)
    )
    change = (after - before)[0].norm(dim=-1)
    assert int(change.argmax()) == rows + row * side + column
    assert change[:rows].max() < 1e-5


@torch.no_grad()
def test_a_text_is_described_alike_beside_longer_ones(backbone):
    together = backbone.describe([SHORT, LONG])
    torch.testing.assert_close(together[:1], backbone.describe([SHORT]), atol=1e-5, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-3
    assert torch.isfinite(backbone.describe(["", "word " * 200])).all()


@pytest.mark.parametrize("train_vision", [False, True])
def test_the_text_tower_is_frozen_and_the_image_towers_on_request(train_vision):
    names = {n for n, p in small(train_vision=train_vision).named_parameters() if p.requires_grad}
    assert any(n.startswith("state.") for n in names)
    assert not any("text" in n for n in names)
    vision = [n for n in names if n.startswith(("clip.vision_model", "clip.visual", "dino"))]
    assert bool(vision) == train_vision


def test_full_size_on_the_meta_device():
    with torch.device("meta"):
        backbone = make_backbone(ClipDinoConfig(pretrained=False), views=2, state_size=20)
        images = torch.zeros(1, 2, 3, 128, 128, dtype=torch.uint8)
        context = backbone(images, [SHORT], torch.zeros(1, 20))
    assert context.vision[0].shape == (1, 2 * 14 * 14, 512)
    assert context.raw_vision.shape == (1, 2 * 16 * 16, 768)
    sizes = {n: sum(p.numel() for p in m.parameters()) for n, m in backbone.named_children()}
    assert sizes["clip"] == 149_620_736
    assert sizes["dino"] == pytest.approx(86.58e6, rel=1e-3)


def test_a_failed_download_is_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="pretrained=false") as caught:
        ClipDinoBackbone(views=1, state_size=5, sizes=SMALL)
    assert "\n" not in str(caught.value)
