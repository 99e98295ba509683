"""The full-size backbone at small sizes; at its own sizes only on the meta device."""

import subprocess
import sys

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("peft")

from tests.learned import looks_at_its_mark
from vla_bench.errors import UserError
from vla_bench.nn.backbone import Masked
from vla_bench.nn.backbones import PrismaticConfig, make_backbone
from vla_bench.nn.prismatic import PrismaticBackbone, PrismaticSizes
from vla_bench.nn.prismatic_text import prompt, stand_in_tokenizer
from vla_bench.nn.prismatic_vision import TowerSizes
from vla_bench.nn.prismatic_weights import fill, rename, resample

SMALL = PrismaticSizes(
    dino=TowerSizes(width=32, layers=3, heads=2, feed_forward=64),
    siglip=TowerSizes(width=48, layers=3, heads=2, feed_forward=80),
    image_size=28,
    width=64,
    layers=2,
    heads=4,
    key_value_heads=2,
    feed_forward=96,
    vocabulary=997,
)
PATCHES = 4
SHORT, LONG = "open the fridge", "pick up the apple from the table and place it on the counter"


def small(**settings):
    torch.manual_seed(0)
    defaults = {"views": 2, "state_size": 5, "queries": 6, "pretrained": False, "sizes": SMALL}
    return PrismaticBackbone(**{**defaults, **settings}).eval()


def observations(batch=2, views=2):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(
        0, 256, (batch, views, 3, 40, 30), dtype=torch.uint8, generator=generator
    )
    return images, torch.randn(batch, 5, generator=generator)


@pytest.fixture(scope="module")
def backbone():
    return small()


@torch.no_grad()
def test_context_has_the_declared_sizes(backbone):
    images, state = observations()
    context = backbone(images, [SHORT, LONG], state)
    assert (backbone.width, backbone.layers) == (64, 2)
    assert [tuple(t.shape) for t in context.vision] == [(2, 2 * PATCHES, 64)] * 3
    assert [tuple(t.shape) for t in context.queries] == [(2, 6, 64)] * 3
    assert context.proprioception.shape == (2, 1, 64)
    assert context.raw_vision.shape == (2, 2 * PATCHES, 32 + 48)
    assert context.grid == (2, 2, 2)
    assert context.pooled().shape == (2, 128)
    assert context.attention == ()


@torch.no_grad()
def test_without_views_there_are_no_visual_tokens():
    images, state = observations(views=0)
    backbone = small(views=0)
    context = backbone(images, [SHORT, LONG], state)
    assert context.vision[-1].shape == (2, 0, 64)
    assert context.raw_vision.shape == (2, 0, 80)
    assert context.queries[-1].shape == (2, 6, 64)
    assert not any(name.startswith(("towers", "projector")) for name in backbone.state_dict())


@pytest.mark.parametrize("slot", [0, -1])
def test_a_head_finds_a_marked_patch_where_it_is(backbone, slot):
    looks_at_its_mark(backbone, "projector", slot)


@pytest.mark.parametrize("slot", [0, 2 * PATCHES - 1])
@torch.no_grad()
def test_visual_slots_are_exact(slot):
    # A marker at the projector's output must turn up at its slot of the language model's input, and
    # nowhere else, whatever the length of the text.
    backbone = small()
    marker = torch.full((64,), 7.0)

    def plant(module, inputs, output):
        output = output.clone()
        output[:, slot] = marker
        return output

    backbone.projector.register_forward_hook(plant)
    images, state = observations()
    vision = backbone(images, [SHORT, LONG], state).vision[0]
    assert [(v == marker).all(-1).nonzero().flatten().tolist() for v in vision] == [[slot]] * 2


@pytest.mark.parametrize("slot", [0, 5])
@torch.no_grad()
def test_action_query_slots_are_exact(slot):
    backbone = small()
    marker = torch.full((64,), 7.0)
    backbone.queries[slot] = marker
    images, state = observations()
    queries = backbone(images, [SHORT, LONG], state).queries[0]
    assert [(q == marker).all(-1).nonzero().flatten().tolist() for q in queries] == [[slot]] * 2
    others = [k for k in range(6) if k != slot]
    assert (queries[:, others] == 0).all(), "the other queries start at zero"


@torch.no_grad()
def test_token_order_is_first_text_token_patches_text_queries(backbone):
    vision = torch.full((1, 8, 64), 3.0)
    x, slots = backbone._sequence([SHORT], vision)
    ids = torch.tensor(backbone.tokenize(prompt(SHORT)))
    text = backbone.language.embed_tokens(ids)
    assert torch.equal(x[0], torch.cat([text[:1], vision[0], text[1:], backbone.queries]))
    assert slots.tolist() == [list(range(8 + len(ids), 8 + len(ids) + 6))]


@torch.no_grad()
def test_longer_neighbours_change_nothing(backbone):
    images, state = observations()
    both = backbone(images, [SHORT, LONG], state)
    for k, text in enumerate([SHORT, LONG]):
        alone = backbone(images[k : k + 1], [text], state[k : k + 1])
        for name in ("vision", "queries"):
            for ours, theirs in zip(getattr(both, name), getattr(alone, name), strict=True):
                torch.testing.assert_close(ours[k : k + 1], theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_instruction_and_every_view_reach_the_queries(backbone):
    images, state = observations(batch=1)
    before = backbone(images, [SHORT], state).queries[-1]
    assert not torch.allclose(before, backbone(images, [LONG], state).queries[-1], atol=1e-4)
    for view in range(2):
        changed = images.clone()
        changed[:, view] = 255 - changed[:, view]
        after = backbone(changed, [SHORT], state).queries[-1]
        assert not torch.allclose(before, after, atol=1e-4)


@torch.no_grad()
def test_text_behind_the_patches_does_not_reach_them(backbone):
    images, state = observations(batch=1)
    vision = [backbone(images, [text], state).vision[-1] for text in (SHORT, LONG)]
    torch.testing.assert_close(*vision, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_returned_attention_belongs_to_the_same_forward_pass(backbone):
    images, state = observations()
    plain = backbone(images, [SHORT, LONG], state)
    seen = backbone(images, [SHORT, LONG], state, need_attention=True)
    assert [tuple(a.shape) for a in seen.attention] == [(2, 4, 6, 8)] * 2
    torch.testing.assert_close(plain.queries[-1], seen.queries[-1], atol=1e-5, rtol=1e-5)
    mass = seen.attention[0].sum(-1)
    assert ((mass > 0) & (mass < 1)).all(), "the rest of a row is on text and on earlier queries"
    assert backbone(images, [SHORT, LONG], state).attention == ()


@torch.no_grad()
def test_adapters_start_as_the_base():
    images, state = observations()
    adapted, plain = small(lora_rank=4), small(lora_rank=0)
    weights = {n.replace(".base_layer", ""): t for n, t in adapted.state_dict().items()}
    plain.load_state_dict({n: t for n, t in weights.items() if ".lora_" not in n})
    ours, base = (b(images, [SHORT, LONG], state) for b in (adapted, plain))
    torch.testing.assert_close(ours.queries[-1], base.queries[-1], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("towers", [True, False])
def test_training_moves_adapters_queries_and_state_alone(towers):
    backbone = small(lora_rank=4, lora_vision=towers)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=1.0)
    images, state = observations()
    for _ in range(2):  # an adapter's first factor has no gradient while its second one is zero
        context = backbone(images, [SHORT, LONG], state)
        target = context.queries[-1].square().mean() + context.proprioception.square().mean()
        (target + context.vision[-1].square().mean()).backward()
        optimiser.step()
        optimiser.zero_grad()
    moved = {n for n, t in backbone.state_dict().items() if not torch.equal(t, before[n])}
    adapters = {n for n in before if ".lora_" in n}
    assert {n.split(".")[0] for n in moved - adapters} == {"queries", "state"}
    parts = {"language", "projector", "towers"} if towers else {"language", "projector"}
    assert {n.split(".")[0] for n in adapters} == parts
    assert len(moved & adapters) > 0.9 * len(adapters)
    linears = {n for n in before if n.endswith("base_layer.weight")}
    assert linears, "the base is there, and has not moved"
    assert not linears & moved


def test_rank_zero_trains_everything():
    assert all(p.requires_grad for p in small(lora_rank=0).parameters())


def test_full_size_on_the_meta_device():
    config = PrismaticConfig(pretrained=False)
    with torch.device("meta"):
        backbone = make_backbone(config, views=2, state_size=20)
        images = torch.zeros(1, 2, 3, 128, 128, dtype=torch.uint8)
        context = backbone(images, [SHORT], torch.zeros(1, 20))
    assert context.vision[-1].shape == (1, 512, 896)
    assert len(context.vision) == 25
    assert context.queries[-1].shape == (1, 64, 896)
    assert context.raw_vision.shape == (1, 512, 2176)
    sizes = {n: sum(p.numel() for p in m.parameters()) for n, m in backbone.named_children()}
    adapters = sum(p.numel() for n, p in backbone.named_parameters() if ".lora_" in n)
    # Qwen2.5-0.5B has 494.0 M, DINOv2-L 304.4 M and SigLIP-SO400M 412.4 M without its pooling head;
    # one block of each tower is not built.
    bare = sum(sizes.values()) - sizes["state"] - adapters
    assert bare == pytest.approx(
        494.03e6 + 304.37e6 - 12.60e6 + 412.44e6 - 15.24e6 + 27.55e6, rel=2e-3
    )
    assert adapters == pytest.approx(97.2e6, rel=1e-2)


@torch.no_grad()
def test_half_precision_gives_about_the_same():
    images, state = observations()
    backbone = small()
    full = backbone(images, [SHORT, LONG], state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = backbone(images, [SHORT, LONG], state)
    half = backbone.to(torch.bfloat16)(images, [SHORT, LONG], state)
    assert half.queries[-1].dtype == half.raw_vision.dtype == torch.bfloat16
    for other in (mixed, half):
        error = (other.queries[-1].float() - full.queries[-1]).abs().mean()
        assert error < 0.05 * full.queries[-1].abs().mean()


def test_a_missing_package_is_one_line(monkeypatch):
    for name in [n for n in sys.modules if n.startswith("vla_bench.nn.prismatic")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"vla-bench\[full-size\]"):
        make_backbone(PrismaticConfig(pretrained=False), views=1, state_size=5)


def test_the_tiny_backbone_needs_none_of_it():
    code = (
        "import sys; from vla_bench.nn.backbones import TinyConfig, make_backbone; "
        "make_backbone(TinyConfig(), views=1, state_size=5); "
        "assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def published(sizes):
    """A state dict with the published names, blocks behind the one that is read included."""
    torch.manual_seed(2)

    def tower(width, layers, feed_forward, patches, dino):
        weights = {
            "patch_embed.proj.weight": torch.randn(width, 3, 14, 14),
            "patch_embed.proj.bias": torch.randn(width),
            "pos_embed": torch.randn(1, patches, width),
            "norm.weight": torch.randn(width),
            "norm.bias": torch.randn(width),
        }
        if dino:
            weights |= {
                "cls_token": torch.randn(1, 1, width),
                "reg_token": torch.randn(1, 4, width),
            }
        else:
            weights |= {"attn_pool.q.weight": torch.randn(width, width)}
        for k in range(layers):
            shapes = {
                "norm1": width,
                "norm2": width,
                "attn.qkv": (3 * width, width),
                "attn.proj": (width, width),
                "mlp.fc1": (feed_forward, width),
                "mlp.fc2": (width, feed_forward),
            }
            for name, shape in shapes.items():
                size = (shape,) if isinstance(shape, int) else shape
                weights[f"blocks.{k}.{name}.weight"] = torch.randn(size)
                weights[f"blocks.{k}.{name}.bias"] = torch.randn(size[0])
            if dino:
                weights |= {f"blocks.{k}.ls{i}.gamma": torch.randn(width) for i in (1, 2)}
        return weights

    language = small(lora_rank=0).language.state_dict()
    vision = sizes.dino.width + sizes.siglip.width
    linears = {0: (4 * vision, vision), 2: (sizes.width, 4 * vision), 4: (sizes.width, sizes.width)}
    return {
        "llm_backbone": {
            **{f"llm.model.{n}": torch.randn_like(t) for n, t in language.items()},
            "llm.lm_head.weight": torch.randn(sizes.vocabulary, sizes.width),
        },
        "projector": {
            f"projector.{k}.{n}": torch.randn(s if n == "weight" else s[:1])
            for k, s in linears.items()
            for n in ("weight", "bias")
        },
        "vision_backbone": {
            f"{name}_featurizer.{n}": t
            for name, s, dino in (("dino", sizes.dino, True), ("siglip", sizes.siglip, False))
            for n, t in tower(s.width, s.layers, s.feed_forward, PATCHES, dino).items()
        },
    }


def bare():
    backbone = small(lora_rank=0)
    del backbone.queries, backbone.state
    return backbone


def test_published_names_fill_every_weight():
    backbone, checkpoint = bare(), published(SMALL)
    fill(backbone, rename(checkpoint))
    weights = backbone.state_dict()
    vision = checkpoint["vision_backbone"]
    fused = vision["dino_featurizer.blocks.1.attn.qkv.weight"]
    ours = [weights[f"towers.dino.encoder.layer.1.attention.{k}_proj.weight"] for k in "qkv"]
    assert torch.equal(torch.cat(ours), fused)
    table = weights["towers.dino.embeddings.position_embeddings"]
    assert torch.equal(table[:, 1:], vision["dino_featurizer.pos_embed"])
    assert (table[:, 0] == 0).all()
    assert torch.equal(
        weights["towers.siglip.encoder.layers.0.layer_norm2.bias"],
        vision["siglip_featurizer.blocks.0.norm2.bias"],
    )
    assert torch.equal(weights["projector.2.bias"], checkpoint["projector"]["projector.2.bias"])
    name = "layers.1.mlp.up_proj.weight"
    assert torch.equal(weights[f"language.{name}"], checkpoint["llm_backbone"][f"llm.model.{name}"])


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("llm_backbone", "llm.model.layers.1.mlp.up_proj.weight"),
        ("vision_backbone", "dino_featurizer.blocks.1.ls2.gamma"),
        ("projector", "projector.4.bias"),
    ],
)
def test_a_missing_weight_is_one_line(part, name):
    checkpoint = published(SMALL)
    del checkpoint[part][name]
    with pytest.raises(UserError, match="1 weights do not fit") as caught:
        fill(bare(), rename(checkpoint))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("projector", "projector.6.weight"),
        ("vision_backbone", "dino_featurizer.blocks.0.attn.q_norm.weight"),
    ],
)
def test_an_unknown_weight_is_refused(part, name):
    checkpoint = published(SMALL)
    checkpoint[part][name] = torch.zeros(3)
    with pytest.raises(UserError, match=r"1 weights do not fit"):
        fill(bare(), rename(checkpoint))


@torch.no_grad()
def test_a_tower_computes_what_timm_computes():
    # The published tower written out: pre-norm blocks with layer scale, fused projections, exact GELU,
    # positions on patches alone, registers behind the class token, no final norm, last block unread.
    backbone, checkpoint = bare(), published(SMALL)
    fill(backbone, rename(checkpoint))
    w = {
        n.removeprefix("dino_featurizer."): 0.1 * t
        for n, t in checkpoint["vision_backbone"].items()
        if n.startswith("dino")
    }
    for part in backbone.towers.dino.parameters():
        part *= 0.1
    pixels = torch.randn(1, 3, 28, 28)
    norm = torch.nn.functional.layer_norm
    patches = torch.nn.functional.conv2d(
        pixels, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=14
    )
    patches = patches.flatten(2).transpose(1, 2) + w["pos_embed"]
    x = torch.cat([w["cls_token"], w["reg_token"], patches], dim=1)
    for k in range(2):
        b = {
            n.removeprefix(f"blocks.{k}."): t for n, t in w.items() if n.startswith(f"blocks.{k}.")
        }
        normed = norm(x, (32,), b["norm1.weight"], b["norm1.bias"], 1e-6)
        qkv = (normed @ b["attn.qkv.weight"].T + b["attn.qkv.bias"]).view(1, -1, 3, 2, 16)
        q, key, v = qkv.permute(2, 0, 3, 1, 4)
        attended = torch.softmax(q @ key.transpose(-1, -2) / 4, -1) @ v
        attended = attended.transpose(1, 2).flatten(2)
        x = x + b["ls1.gamma"] * (attended @ b["attn.proj.weight"].T + b["attn.proj.bias"])
        normed = norm(x, (32,), b["norm2.weight"], b["norm2.bias"], 1e-6)
        hidden = torch.nn.functional.gelu(normed @ b["mlp.fc1.weight"].T + b["mlp.fc1.bias"])
        x = x + b["ls2.gamma"] * (hidden @ b["mlp.fc2.weight"].T + b["mlp.fc2.bias"])
    seen = backbone.towers.dino(pixel_values=pixels).last_hidden_state
    torch.testing.assert_close(seen, x, atol=1e-5, rtol=1e-4)


def test_position_tables_are_resampled_without_moving():
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
    table = torch.cat(
        [torch.full((1, 1, 2), 9.0), torch.stack([rows, columns], -1).view(1, 36, 2)], 1
    )
    smaller = resample(table, 3)
    assert smaller.shape == (1, 10, 2)
    assert (smaller[0, 0] == 9).all()
    grid = smaller[0, 1:].view(3, 3, 2)
    assert torch.allclose(grid[1, 1], torch.tensor([2.5, 2.5]), atol=1e-4)
    assert (grid[..., 0].diff(dim=0) > 1).all()
    assert (grid[..., 1].diff(dim=1) > 1).all()
    assert torch.allclose(resample(table, 6), table, atol=1e-5)


def test_a_failed_download_is_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="pretrained=false") as caught:
        PrismaticBackbone(views=1, state_size=5, sizes=SMALL)
    assert "\n" not in str(caught.value)


def test_the_stand_in_tokenizer_counts_like_the_published_one():
    # 48, 40 and 49 with Qwen2.5's tokenizer, which splits one more word: the name of the model.
    tokenize = stand_in_tokenizer(1000)
    texts = ["pick up the apple and place it on the kitchen counter", "Open the fridge ", LONG]
    counts = [len(tokenize(prompt(text))) for text in texts]
    assert counts[:2] == [47, 39]
    assert max(tokenize(prompt(LONG))) < 1000
    assert tokenize(prompt("open the fridge")) == tokenize(prompt("Open the fridge "))


@torch.no_grad()
@pytest.mark.parametrize("layer", range(SMALL.layers + 1))
def test_masked_tokens_are_zero_at_their_layer_alone(backbone, layer):
    images, state = observations()
    tokens = torch.zeros(2, 2 * PATCHES, dtype=torch.bool)
    tokens[0, 1:3] = True
    whole = backbone(images, [SHORT, LONG], state)
    seen = backbone(images, [SHORT, LONG], state, masked=Masked(layer, tokens))
    for number, (before, after) in enumerate(zip(whole.vision, seen.vision, strict=True)):
        if number == layer:
            assert not after[tokens].any()
        assert (number < layer) <= torch.equal(after, before)
    changed = [
        not torch.equal(a, b) for a, b in zip(seen.queries[-1], whole.queries[-1], strict=True)
    ]
    assert changed == [layer < SMALL.layers, False]
    again = backbone(images, [SHORT, LONG], state)
    assert torch.equal(again.queries[-1], whole.queries[-1])


@torch.no_grad()
def test_a_text_is_described_alike_beside_longer_ones(backbone):
    together = backbone.describe([SHORT, LONG, ""])
    assert together.shape == (3, backbone.text_width)
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together[0], backbone.describe([SHORT])[0])
    images, state = observations()
    context = backbone(images, [LONG, SHORT], state)
    torch.testing.assert_close(context.text, together[[1, 0]])
    assert context.phrases["gripper"].shape == (backbone.text_width,)
    assert context.raw_grid == context.grid
