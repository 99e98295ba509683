"""FocusVLA: identities of its attention, top-K and gates; every switch matters; it learns to look."""

import pytest
import torch
from pydantic import ValidationError

from tests.learned import context, draws, head, looks_at_its_mark, windows
from vla_bench.errors import UserError
from vla_bench.nn.backbone import Context
from vla_bench.nn.dit import ChunkSizes
from vla_bench.nn.tiny import TinyBackbone
from vla_bench.policies.focusvla.block import FocusBlock, Seen, keep_top, tokens_kept
from vla_bench.policies.focusvla.config import FocusConfig, FocusSampling
from vla_bench.policies.focusvla.quoted import compare, published_adapters
from vla_bench.policies.learned.heads import make_head
from vla_bench.policies.learned.quoted import Counted
from vla_bench.profiling import Flops, Parameters

BATCH, WIDTH, HEADS, ROWS, TOKENS = 3, 8, 2, 4, 6
SCOPES = ["head_query", "query", "shared"]
PLAIN = {"topk": 1.0, "gate": "none"}


def block(seed=0, **settings):
    torch.manual_seed(seed)
    return FocusBlock(WIDTH, FocusConfig(heads=HEADS, **settings)).eval()


def latents():
    return 2 * draws(1, BATCH, ROWS, WIDTH)


def seen(tokens=TOKENS, **changes):
    parts = {
        "queries": draws(2, BATCH, 3, WIDTH),
        "keys": 3 * draws(3, BATCH, tokens, WIDTH),
        "values": draws(4, BATCH, tokens, WIDTH),
    }
    return Seen(**{**parts, **changes})


@torch.no_grad()
def parts(made, x, read):
    """The three attended streams that a cascaded block fuses, and the weights of vision."""
    caught = []
    handle = made.fuse.register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0]))
    weights = made(x, read)[1]
    handle.remove()
    return (*caught[0].chunk(3, dim=-1), weights)


def projected(made, read):
    """Visual keys and values by head, (B, heads, Nv, head width)."""
    both = made.vision_keys(read.keys), made.vision_values(read.values)
    return [x.reshape(BATCH, -1, HEADS, WIDTH // HEADS).transpose(1, 2) for x in both]


@torch.no_grad()
def test_all_tokens_kept_is_plain_attention():
    made, x, read = block(**PLAIN), latents(), seen()
    keys, values = projected(made, read)
    queries = made.query(x).reshape(BATCH, ROWS, HEADS, -1).transpose(1, 2)
    attended = torch.nn.functional.scaled_dot_product_attention(queries, keys, values)
    expected = attended.transpose(1, 2).reshape(BATCH, ROWS, WIDTH)
    for topk in (1.0, TOKENS):
        looked = parts(block(gate="none", topk=topk), x, read)[2]
        torch.testing.assert_close(looked, expected)


@torch.no_grad()
def test_one_token_kept_is_its_value():
    made, read = block(gate="none", topk=1), seen()
    _, _, looked, weights = parts(made, latents(), read)
    full = parts(block(**PLAIN), latents(), read)[3]
    assert torch.equal(weights.argmax(-1), full.argmax(-1)), "the best of all is kept"
    index = weights.argmax(-1)[..., None].expand(-1, -1, -1, WIDTH // HEADS)
    rows = projected(made, read)[1].gather(2, index)
    torch.testing.assert_close(looked, rows.transpose(1, 2).reshape(BATCH, ROWS, WIDTH))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("topk", "count"), [(2, 2), (0.5, 3), (0.01, 1), (5, 5)])
def test_exactly_the_best_are_kept(scope, topk, count):
    weights = parts(block(gate="none", topk=topk, topk_scope=scope), latents(), seen())[3]
    torch.testing.assert_close(weights.sum(-1), torch.ones(BATCH, HEADS, ROWS))
    assert ((weights > 0).sum(-1) == count).all()
    full = parts(block(**PLAIN), latents(), seen())[3]
    kept = torch.where(weights > 0, full, 0.0)
    torch.testing.assert_close(weights, kept / kept.sum(-1, keepdim=True))


def test_equal_scores_keep_no_more():
    config = FocusConfig(topk=2)
    kept = keep_top(
        torch.zeros(1, HEADS, ROWS, TOKENS), torch.zeros(1, HEADS, ROWS, TOKENS), config
    )
    assert (kept.isfinite().sum(-1) == 2).all()


def test_who_chooses_what_is_kept():
    scores = draws(5, BATCH, HEADS, ROWS, TOKENS)
    for scope, alike in (("head_query", ()), ("query", (1,)), ("shared", (1, 2))):
        mask = keep_top(scores, scores, FocusConfig(topk=3, topk_scope=scope)).isfinite()
        mean = scores.mean(alike, keepdim=True) if alike else scores
        best = mean >= mean.sort(-1, descending=True).values[..., 2:3]
        assert torch.equal(mask, best.expand_as(mask))


def test_kept_tokens_are_a_number_or_a_share():
    for topk, kept in ((1, 1), (1.0, 32), (0.5, 16), (0.001, 1), (32, 32)):
        config = FocusConfig(topk=topk)
        again = FocusConfig.model_validate_json(config.model_dump_json())
        assert tokens_kept(config.topk, 32) == tokens_kept(again.topk, 32) == kept
    assert tokens_kept(7, 0) == tokens_kept(0.5, 0) == 0
    with pytest.raises(UserError, match=r"head\.topk=33: expected 1 to 32, .*topk=1\.0"):
        tokens_kept(33, 32)


@torch.no_grad()
@pytest.mark.parametrize("gate", ["elem", "head"])
def test_a_gate_wide_open_is_none_and_shut_is_no_vision(gate):
    none = parts(block(gate="none"), latents(), seen())[2]
    for bias, expected in ((40.0, none), (-40.0, torch.zeros_like(none))):
        made = block(gate=gate)
        made.gate.linear.bias.fill_(bias)
        torch.testing.assert_close(parts(made, latents(), seen())[2], expected)


@torch.no_grad()
def test_a_gate_per_head_is_one_per_channel_with_tied_weights():
    by_head, by_channel = block(gate="head"), block(gate="elem")
    loose = {k: v for k, v in by_head.state_dict().items() if not k.startswith("gate")}
    by_channel.load_state_dict(loose, strict=False)
    repeats = WIDTH // HEADS
    by_channel.gate.linear.weight.copy_(by_head.gate.linear.weight.repeat_interleave(repeats, 0))
    by_channel.gate.linear.bias.copy_(by_head.gate.linear.bias.repeat_interleave(repeats, 0))
    torch.testing.assert_close(
        parts(by_channel, latents(), seen())[2], parts(by_head, latents(), seen())[2]
    )


@torch.no_grad()
@pytest.mark.parametrize("attention", ["cascaded", "mixed"])
def test_one_parameter_at_zero_weighs_all_vision_alike(attention):
    made = block(attention=attention, gate="1param", topk=1.0)
    assert float(made.gate.value) == 0
    weights = made(latents(), seen())[1]
    assert (weights > 0).all()
    torch.testing.assert_close(weights, weights[..., :1].expand_as(weights))
    kept = block(attention=attention, gate="1param", topk=2)(latents(), seen())[1]
    best = block(attention=attention, gate="none", topk=2)(latents(), seen())[1]
    assert torch.equal(kept > 0, best > 0), "chosen by the scores, not by the gated ones"


@torch.no_grad()
def test_one_parameter_on_the_output_halves_what_is_seen():
    made = block(gate="1param", one_param="output")
    none = block(gate="none")
    none.load_state_dict(made.state_dict(), strict=False)
    torch.testing.assert_close(
        2 * parts(made, latents(), seen())[2], parts(none, latents(), seen())[2]
    )


@torch.no_grad()
def test_open_gates_start_nearly_open_for_all_latents_alike():
    for gate in ("elem", "head", "1param"):
        output = {"one_param": "output"} if gate == "1param" else {}
        made = block(gate=gate, gate_init="open", **output)
        looked = draws(6, BATCH, ROWS, WIDTH)
        torch.testing.assert_close(made.gate(latents(), looked), 0.982014 * looked)


@torch.no_grad()
def test_cascaded_vision_does_not_know_what_action_queries_say():
    made, x, read = block(), latents(), seen()
    own, asked, looked, weights = parts(made, x, read)
    others = read._replace(queries=draws(9, BATCH, 3, WIDTH))
    changed = parts(made, x, others)
    assert torch.equal(changed[0], own)
    assert torch.equal(changed[2], looked)
    assert torch.equal(changed[3], weights)
    assert not torch.allclose(changed[1], asked)
    mixed = block(attention="mixed")
    assert not torch.equal(mixed(x, read)[1], mixed(x, others)[1]), "there they share a softmax"


@torch.no_grad()
def test_mixed_attention_is_one_softmax():
    made, x, read = block(attention="mixed", **PLAIN), latents(), seen()
    streams = [
        (made.action_keys(x), made.action_values(x)),
        (made.query_keys(read.queries), made.query_values(read.queries)),
        (made.vision_keys(read.keys), made.vision_values(read.values)),
    ]
    split = [
        torch.cat(parts, 1).reshape(BATCH, -1, HEADS, WIDTH // HEADS).transpose(1, 2)
        for parts in zip(*streams, strict=True)
    ]
    queries = made.query(x).reshape(BATCH, ROWS, HEADS, -1).transpose(1, 2)
    attended = torch.nn.functional.scaled_dot_product_attention(queries, *split)
    fused = made.fuse(attended.transpose(1, 2).reshape(BATCH, ROWS, WIDTH))
    torch.testing.assert_close(made(x, read)[0], x + made.feed_forward(fused))
    bare = block(attention="mixed", ffn_residual=False, **PLAIN)
    torch.testing.assert_close(bare(x, read)[0], made.feed_forward(x + fused))


@torch.no_grad()
def test_sequential_attentions_read_what_came_before():
    x, read = latents(), seen()
    side, after = block(**PLAIN), block(cascade="sequential", **PLAIN)
    own, asked, looked, _ = parts(after, x, read)
    torch.testing.assert_close(own, parts(side, x, read)[0])
    torch.testing.assert_close(asked, parts(side, x + own, read)[1])
    torch.testing.assert_close(looked, parts(side, x + own + asked, read)[2])


VIEWS, SIDE = 2, 4


def scene(batch=BATCH, raw=6, width=16, layers=2, seed=0):
    """A context of noise on a grid of two views."""
    made = context(batch, width=width, layers=layers, vision=VIEWS * SIDE * SIDE, seed=seed)
    raw_vision = draws(seed + 500, batch, VIEWS * SIDE * SIDE, raw)
    return Context(made.vision, made.queries, made.proprioception, raw_vision, (VIEWS, SIDE, SIDE))


def focus(width=16, layers=2, raw=6, **settings):
    torch.manual_seed(0)
    sizes = ChunkSizes(2, 5, width, layers, VIEWS, raw)
    return make_head(FocusConfig(heads=2, **settings), sizes)


SWITCHES = [
    {"attention": "mixed"},
    {"cascade": "sequential"},
    {"topk": 2},
    {"topk": 1.0},
    {"topk_scope": "query"},
    {"topk_scope": "shared"},
    {"gate": "none"},
    {"gate": "1param"},
    {"gate": "1param", "one_param": "output"},
    {"gate": "head"},
    {"gate_init": "open"},
    {"vision": "vlm"},
    {"vision": "ds"},
    {"vision": "llm_input"},
    {"vision": "vlm+llm_input"},
    {"pool2x2": True},
    {"ffn_residual": False},
]


@pytest.mark.parametrize("settings", SWITCHES, ids=str)
def test_every_switch_changes_the_plan_and_every_part_learns(settings):
    usual, made, view = focus(), focus(**settings), scene()
    made.load_state_dict(
        {k: v for k, v in usual.state_dict().items() if fits(made, k, v)}, strict=False
    )
    with torch.no_grad():
        plans = [m.sample(view, torch.empty(BATCH, 0), FocusSampling()) for m in (usual, made)]
    assert plans[1].shape == (BATCH, 5, 2)
    assert not torch.allclose(*plans)
    if "one_param" not in settings and settings.get("gate") == "1param":
        torch.nn.init.constant_(made.blocks[0].gate.value, 0.1)  # at zero no key matters
        torch.nn.init.constant_(made.blocks[1].gate.value, 0.1)
    made.loss(view, windows(BATCH), torch.Generator())["total"].backward()
    still = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    # A softmax ignores what is added to all of its logits.
    assert [name for name in still if "keys.bias" not in name] == []


def fits(module, name, value):
    """Gates apart, whose start is a switch."""
    own = module.state_dict().get(name)
    return own is not None and own.shape == value.shape and "gate" not in name


@torch.no_grad()
def test_maps_lie_on_the_grid():
    view = scene()
    for settings, side in (({}, SIDE), ({"pool2x2": True}, SIDE // 2)):
        made = focus(**settings)
        maps = made.attention(view)
        assert set(maps) == {"vision", "kept", "layer 1", "layer 2"}
        assert all(m.shape == (BATCH, VIEWS, side, side) for m in maps.values())
        torch.testing.assert_close(maps["vision"].sum((1, 2, 3)), torch.ones(BATCH))
        torch.testing.assert_close(maps["vision"], (maps["layer 1"] + maps["layer 2"]) / 2)
        torch.testing.assert_close(maps["kept"].mean((1, 2, 3)), torch.full((BATCH,), 0.5))
    mixed = focus(attention="mixed").attention(view)["vision"].sum((1, 2, 3))
    assert ((mixed > 0) & (mixed < 1)).all()


@torch.no_grad()
def test_pooling_means_four_neighbours_of_a_view():
    view, made = scene(), focus(vision="llm_input", pool2x2=True, **PLAIN)
    fine = view.vision[0].unflatten(1, (VIEWS, SIDE, SIDE))
    mean = sum(fine[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)).flatten(1, 3) / 4
    pooled = Context((mean,) * 3, view.queries, view.proprioception, view.raw_vision, (VIEWS, 2, 2))
    plain = focus(vision="llm_input", **PLAIN)
    for name, found in plain.attention(pooled).items():
        torch.testing.assert_close(made.attention(view)[name], found)
    odd = Context(view.vision, view.queries, view.proprioception, view.raw_vision, (1, 32, 1))
    with pytest.raises(UserError, match=r"pool2x2=true: expected an even grid .* found 32 x 1"):
        made.sample(odd, torch.empty(BATCH, 0), FocusSampling())


@torch.no_grad()
def test_without_images_there_is_nothing_to_look_at():
    bare = context(BATCH, vision=0)
    for settings in ({}, {"attention": "mixed"}, {"topk": 4}):
        plan = head(FocusConfig(heads=2, vision="vlm", **settings)).sample(
            bare, torch.empty(BATCH, 0), FocusSampling()
        )
        assert plan.isfinite().all()


@pytest.mark.parametrize("slot", [0, -1])
def test_a_marked_patch_is_looked_at_where_it_is(slot):
    torch.manual_seed(0)
    sizes = {"image_size": 16, "grid": 2, "width": 16, "layers": 2, "heads": 2, "queries": 2}
    looks_at_its_mark(TinyBackbone(views=2, state_size=5, **sizes).eval(), "stem", slot)


def test_it_learns_to_look_where_the_answer_is():
    # One of eight patches is marked, and says what to do.
    torch.manual_seed(0)
    made = focus(layers=1, vision="vlm", topk=0.5)
    optimiser = torch.optim.AdamW(made.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)

    def draw(batch=32):
        patches = torch.randn(batch, 8, 16, generator=generator)
        place = torch.randint(8, (batch,), generator=generator)
        patches[..., 0] = 0.0
        patches[torch.arange(batch), place, 0] = 6.0
        wanted = windows(batch)
        wanted.chunks[:] = patches[torch.arange(batch), place, None, 1:3].clamp(-1, 1)
        queries = (torch.zeros(batch, 2, 16),) * 2
        state = torch.zeros(batch, 1, 16)
        return Context((patches,) * 2, queries, state, patches, (2, 2, 2)), wanted, place

    for _ in range(200):
        view, wanted, _ = draw()
        optimiser.zero_grad()
        loss = made.loss(view, wanted, generator)["total"]
        loss.backward()
        optimiser.step()
    view, wanted, place = draw(256)
    with torch.no_grad():
        assert float(made.loss(view, wanted, generator)["total"]) < 0.2, "0.55 without a look"
        found = made.attention(view)["vision"].flatten(1)
    assert float((found.argmax(1) == place).float().mean()) > 0.9


def test_the_full_size_policy_has_the_papers_parameters():
    with torch.device("meta"):
        made = make_head(FocusConfig(heads=8), ChunkSizes(7, 8, 896, 24, 2, 1024 + 1152))
    backbone = Parameters(total=1_308_000_000, trainable=98_000_000)
    counts = {"head": Parameters.of(made), "backbone": backbone}
    flops = Flops(backbone=1, head=1, residual=0, max_steps=1, queries=1)
    policy, adapters, everything = compare(Counted(counts, flops, 8))
    assert policy.quoted == 239.1
    assert policy.ours == pytest.approx(239.1, rel=0.001)
    assert (adapters.quoted, adapters.ours, everything.quoted) == (103.6, 98, 342.7)
    assert everything.ours == pytest.approx(policy.ours + 98)
    assert published_adapters() / 1e6 == pytest.approx(103.6, abs=0.05)
    assert "103.6 M" in adapters.why
    assert all("2603.28740" in row.source for row in (policy, adapters, everything))


@pytest.mark.parametrize(
    ("settings", "pattern"),
    [
        ({"topk": 0}, "expected a whole number of visual tokens, 1 or more, .* found 0"),
        ({"topk": 1.5}, "a share of them, above 0 and at most 1.0, found 1.5"),
        ({"topk": True}, "found True"),
        ({"topk": "half"}, "found 'half'"),
        ({"gate": "element"}, "'none', '1param', 'head' or 'elem'"),
        ({"attention": "mixed", "cascade": "sequential"}, "needs attention cascaded, found mixed"),
        ({"one_param": "output"}, "one_param output needs gate 1param, found elem"),
        ({"gate": "none", "gate_init": "open"}, "gate_init open needs a gate, found none"),
        ({"vision": "vggt"}, "'vlm', 'ds'"),
    ],
)
def test_settings_that_cannot_be(settings, pattern):
    with pytest.raises(ValidationError, match=pattern):
        FocusConfig(**settings)
