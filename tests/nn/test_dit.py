"""The chunk transformer against a naive one that repeats the context for every candidate."""

import pytest
import torch

from tests.learned import context, draws
from vla_bench.nn.dit import ChunkSizes, ChunkTransformer

BATCH, CANDIDATES, LENGTH, ACTIONS, WIDTH, LAYERS, HEADS = 3, 4, 5, 2, 16, 2, 2
SIZES = ChunkSizes(action_size=ACTIONS, chunk_length=LENGTH, width=WIDTH, layers=LAYERS)


def transformer(seed=0):
    """Random weights everywhere, also where training starts with zeros."""
    torch.manual_seed(seed)
    made = ChunkTransformer(SIZES, HEADS)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def chunks(seed=1):
    return draws(seed, BATCH, CANDIDATES, LENGTH, ACTIONS)


def heads_of(x):
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def naive_attention(block, x, seen, gated):
    """Scaled dot products over [own tokens | context], the gate on the last logits."""
    query, own_keys, own_values = block.query_key_value(x).chunk(3, dim=-1)
    keys, values = block.context_key_value(seen).chunk(2, dim=-1)
    keys, values = torch.cat([own_keys, keys], 1), torch.cat([own_values, values], 1)
    logits = heads_of(query) @ heads_of(keys).transpose(-1, -2) / (WIDTH // HEADS) ** 0.5
    logits[..., -gated:] = logits[..., -gated:] * torch.tanh(block.vision_gate)
    attended = torch.softmax(logits, -1) @ heads_of(values)
    return block.out(attended.transpose(1, 2).flatten(2))


def naive(model, batch_of_chunks, seen, extra):
    """Every candidate is a sample of its own, with a copy of its context."""
    flat = batch_of_chunks.flatten(0, 1)
    condition = model.pooled(seen.pooled()) + extra
    condition = condition.repeat_interleave(CANDIDATES, 0)[:, None]
    x = model.embed(flat) + model.place
    for layer, block in enumerate(model.blocks, start=1):
        tokens = [seen.queries[layer], seen.proprioception, seen.vision[layer]]
        copied = torch.cat(tokens, 1).repeat_interleave(CANDIDATES, 0)
        shift, scale, gate, shift2, scale2, gate2 = block.modulation(condition).chunk(6, -1)
        normed = block.attention_norm(x) * (1 + scale) + shift
        x = x + gate * naive_attention(block, normed, copied, seen.vision[layer].shape[1])
        normed = block.forward_norm(x) * (1 + scale2) + shift2
        x = x + gate2 * block.feed_forward(normed)
    return model.norm(x).unflatten(0, (BATCH, CANDIDATES))


@pytest.mark.parametrize("vision", [0, 3])
def test_the_joint_softmax_equals_repeated_and_concatenated_keys(vision):
    model, seen, extra = (
        transformer(),
        context(BATCH, vision=max(vision, 1)),
        draws(2, BATCH, WIDTH),
    )
    if not vision:
        empty = tuple(v[:, :0] for v in seen.vision)
        seen = type(seen)(empty, seen.queries, seen.proprioception, seen.raw_vision, seen.grid)
        for block in model.blocks:
            # A slice of the last 0 logits is all of them: leave the gate open instead.
            torch.nn.init.constant_(block.vision_gate, 30.0)
    found = model(chunks(), model.remember(seen), extra)
    torch.testing.assert_close(found, naive(model, chunks(), seen, extra), rtol=1e-4, atol=1e-5)


def test_candidates_do_not_influence_one_another():
    model, memory = transformer(), transformer().remember(context(BATCH))
    changed = chunks()
    changed[:, 1] = draws(9, BATCH, LENGTH, ACTIONS)
    before, after = model(chunks(), memory), model(changed, memory)
    torch.testing.assert_close(before[:, [0, 2, 3]], after[:, [0, 2, 3]], rtol=0, atol=1e-6)
    assert (before[:, 1] - after[:, 1]).abs().max() > 0.1
    alone = model(chunks()[:, 2:3], memory)
    torch.testing.assert_close(alone, before[:, 2:3], rtol=0, atol=1e-5)


def test_samples_of_a_batch_do_not_influence_one_another():
    model, seen = transformer(), context(BATCH)
    together = model(chunks(), model.remember(seen))
    other = context(BATCH, seed=1000)
    mixed = type(seen)(
        tuple(torch.cat([a[:1], b[1:]]) for a, b in zip(seen.vision, other.vision, strict=True)),
        tuple(torch.cat([a[:1], b[1:]]) for a, b in zip(seen.queries, other.queries, strict=True)),
        torch.cat([seen.proprioception[:1], other.proprioception[1:]]),
        seen.raw_vision,
        seen.grid,
    )
    apart = model(chunks(), model.remember(mixed))
    torch.testing.assert_close(together[0], apart[0], rtol=0, atol=1e-5)
    assert (together[1] - apart[1]).abs().max() > 0.1


def test_one_memory_serves_every_step():
    model, seen = transformer(), context(BATCH)
    memory = model.remember(seen)
    for step in range(3):
        extra = draws(step, BATCH, WIDTH)
        reused = model(chunks(step), memory, extra)
        assert torch.equal(reused, model(chunks(step), model.remember(seen), extra))


def test_a_closed_gate_averages_vision_and_does_not_remove_it():
    """VLA-Adapter's gate is on the logits: at zero, all visual tokens weigh the same, not nothing."""
    model, seen = transformer(), context(BATCH)
    for block in model.blocks:
        torch.nn.init.zeros_(block.vision_gate)

    def shown(vision):
        changed = type(seen)(vision, seen.queries, seen.proprioception, seen.raw_vision, seen.grid)
        return model(chunks(), model.remember(changed))

    plain = shown(seen.vision)
    averaged = shown(tuple(v.mean(1, keepdim=True).expand_as(v) for v in seen.vision))
    torch.testing.assert_close(plain, averaged, rtol=1e-4, atol=1e-5)
    assert (plain - shown(tuple(v + 1 for v in seen.vision))).abs().max() > 0.1
    for block in model.blocks:
        torch.nn.init.ones_(block.vision_gate)
    averaged = shown(tuple(v.mean(1, keepdim=True).expand_as(v) for v in seen.vision))
    assert (shown(seen.vision) - averaged).abs().max() > 1e-3


def test_training_starts_as_the_identity_with_a_live_gate():
    torch.manual_seed(0)
    model = ChunkTransformer(SIZES, HEADS)
    memory = model.remember(context(BATCH))
    expected = model.norm(model.embed(chunks()) + model.place)
    torch.testing.assert_close(model(chunks(), memory), expected)
    for block in model.blocks:
        torch.nn.init.normal_(block.modulation[1].bias, std=0.3)
    model(chunks(), model.remember(context(BATCH))).square().sum().backward()
    assert all(block.vision_gate.grad.abs() > 0 for block in model.blocks)
