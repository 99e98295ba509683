"""Shared attention: it neither leaks nor blocks, and starts as the two branches were."""

import pytest
import torch

from tests.learned import draws
from vla_bench.nn.coupled.branch import Projected, attend, attention_weights, rotated, split
from vla_bench.nn.coupled.joint import Bridge, ExpertPlaces, Side, joint_bias
from vla_bench.nn.coupled.masks import sequence_mask

BATCH, TOKENS, EXPERT, HEADS, WIDTH = 2, 5, 4, 4, 12
HIDDEN = float("-inf")


def bridge(start="open", key_value_heads=2):
    torch.manual_seed(0)
    sizes = {"heads": HEADS, "key_value_heads": key_value_heads, "head_width": 6}
    return Bridge(expert_width=WIDTH, start=start, **sizes)


def projected(seed, tokens, heads=HEADS, key_value_heads=2, head_width=6):
    shape = (tokens, head_width)
    return Projected(
        draws(seed, BATCH, heads, *shape),
        draws(seed + 1, BATCH, key_value_heads, *shape),
        draws(seed + 2, BATCH, key_value_heads, *shape),
    )


def expert_side(x):
    """The expert's own part of tokens (B, m, WIDTH), as its layer would project them."""
    return Projected(*(split(torch.roll(x, k, -1), 2) for k in range(3)))


def nobody_hidden(tokens=TOKENS):
    return torch.zeros(BATCH, 1, tokens, tokens), torch.zeros(BATCH, tokens, dtype=torch.bool)


def test_block_diagonal_is_two_attentions():
    made, language, x = bridge(), projected(0, TOKENS), draws(9, BATCH, EXPERT, WIDTH)
    own, theirs = expert_side(x), torch.zeros(BATCH, 1, EXPERT, EXPERT)
    mapped = made.mapped(own, ExpertPlaces())
    bias = torch.full((BATCH, 1, EXPERT + TOKENS, EXPERT + TOKENS), HIDDEN)
    causal = torch.full((TOKENS, TOKENS), HIDDEN).triu(1)
    bias[..., :EXPERT, :EXPERT], bias[..., EXPERT:, EXPERT:] = 0, causal
    ours, back = made(Side(language, causal), Side(own, theirs), mapped, bias)
    torch.testing.assert_close(ours, attend(language, causal), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(back, made.back(attend(mapped, None)), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("expert_sees", [True, False])
def test_each_block_of_the_jacobian_is_as_full_as_the_mask(expert_sees):
    """Which output token depends on which input token, found by differentiating, not by the mask."""
    made = bridge()
    causal = torch.full((BATCH, 1, TOKENS, TOKENS), HIDDEN).triu(1)
    padding = torch.zeros(BATCH, TOKENS, dtype=torch.bool)
    padding[:, 2] = True
    causal.masked_fill_(padding[:, None, None] & ~torch.eye(TOKENS, dtype=torch.bool), HIDDEN)
    to_language = torch.nn.Linear(WIDTH, HEADS * 6 + 2 * 2 * 6)

    def joint(tokens, expert):
        parts = to_language(tokens).split([HEADS * 6, 12, 12], -1)
        language = Projected(*(split(p, h) for p, h in zip(parts, (HEADS, 2, 2), strict=True)))
        own = expert_side(expert)
        bias = joint_bias(causal, padding, EXPERT, expert_sees)
        none = torch.zeros(BATCH, 1, EXPERT, EXPERT)
        mapped = made.mapped(own, ExpertPlaces())
        return made(Side(language, causal), Side(own, none), mapped, bias)

    inputs = draws(3, BATCH, TOKENS, WIDTH), draws(4, BATCH, EXPERT, WIDTH)
    blocks = torch.autograd.functional.jacobian(joint, inputs)
    depends = [[b[0, :, :, 0].abs().amax((1, 3)) > 1e-9 for b in row] for row in blocks]
    (ours_ours, ours_expert), (expert_ours, expert_expert) = depends
    assert torch.equal(ours_ours, causal[0, 0] == 0)
    assert ours_expert.all()
    assert expert_expert.all()
    seen = ~padding[0].expand(EXPERT, -1) & expert_sees
    assert torch.equal(expert_ours, seen)
    across = blocks[0][0][0, :, :, 1]
    assert not across.any(), "samples of a batch are apart"


def test_gated_starts_as_the_two_branches_alone():
    made, language = bridge("gated"), projected(0, TOKENS)
    own = expert_side(draws(9, BATCH, EXPERT, WIDTH))
    bias, padding = nobody_hidden()
    apart = torch.zeros(BATCH, 1, EXPERT, EXPERT)
    apart[..., :2, 2:], apart[..., 2:, :2] = HIDDEN, HIDDEN
    sides = Side(language, bias), Side(own, apart)
    mapped = made.mapped(own, ExpertPlaces())
    joint = joint_bias(bias, padding, EXPERT, True)
    ours, theirs = made(*sides, mapped, joint)
    torch.testing.assert_close(ours, attend(language, bias))
    torch.testing.assert_close(theirs, attend(own, apart))
    with torch.no_grad():
        made.gates.fill_(20.0)
    opened = bridge("open")
    opened.load_state_dict({n: t for n, t in made.state_dict().items() if n != "gates"})
    for gated, plain in zip(
        made(*sides, mapped, joint), opened(*sides, mapped, joint), strict=True
    ):
        torch.testing.assert_close(gated, plain)


def test_places_matter_in_shared_attention():
    made, own = bridge(), expert_side(draws(9, BATCH, EXPERT, WIDTH))
    plain = made.mapped(own, ExpertPlaces())
    moved = made.mapped(own, ExpertPlaces(embedding=draws(5, BATCH, EXPERT, WIDTH)))
    assert not torch.allclose(plain.keys, moved.keys)
    assert torch.equal(plain.values, moved.values)
    angle = draws(6, BATCH, 1, EXPERT, 3).repeat(1, 1, 1, 2)
    turned = made.mapped(own, ExpertPlaces(rotation=(angle.cos(), angle.sin())))
    assert not torch.allclose(plain.queries, turned.queries)
    torch.testing.assert_close(plain.queries.norm(dim=-1), turned.queries.norm(dim=-1))


def test_rotary_logits_depend_on_distance_alone():
    angles = torch.arange(6.0)[:, None] * torch.tensor([1.0, 0.3, 0.1]).repeat(2)
    rotation = angles.cos(), angles.sin()
    same = Projected(*(draws(k, 1, 1, 1, 6).expand(1, 1, 6, 6) for k in range(3)))
    turned = rotated(same, rotation)
    logits = (turned.queries @ turned.keys.transpose(-1, -2))[0, 0]
    for offset in range(-3, 4):
        diagonal = logits.diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert rotated(same, None) is same


@pytest.mark.parametrize("key_value_heads", [1, 2, 4])
def test_weights_are_what_attention_computes(key_value_heads):
    tokens = projected(0, TOKENS, key_value_heads=key_value_heads)
    bias = torch.full((TOKENS, TOKENS), HIDDEN).triu(1)
    weights = attention_weights(tokens.queries, tokens.keys, bias)
    values = tokens.values.repeat_interleave(HEADS // key_value_heads, dim=1)
    by_hand = (weights @ values).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attend(tokens, bias), by_hand, atol=1e-6, rtol=1e-5)


def test_the_sequence_mask():
    padding = torch.tensor([[False, False, True, False, False, False]])
    seen = sequence_mask(padding, 2, "bidir")[0, 0] == 0
    expected = torch.tensor(
        [
            [1, 0, 0, 0, 0, 0],
            [1, 1, 0, 0, 0, 0],
            [1, 1, 1, 0, 0, 0],
            [1, 1, 0, 1, 0, 0],
            [1, 1, 0, 1, 1, 1],
            [1, 1, 0, 1, 1, 1],
        ]
    ).bool()
    assert torch.equal(seen, expected)
    expected[4, 5] = False
    assert torch.equal(sequence_mask(padding, 2, "causal")[0, 0] == 0, expected)
