"""Pruning by attention: orders, grids and ranks, and no gradient through what it goes by."""

import pytest
import torch

from tests.learned import draws
from vla_bench.nn.coupled.expert import ExpertTokens
from vla_bench.nn.coupled.pruning import hashed, kept_tokens, on_grid, relevance


def test_everything_kept_is_the_identity():
    maps = draws(0, 3, 2, 4, 5)
    for scope in ("view", "joint"):
        assert torch.equal(kept_tokens(maps, 1.0, scope), torch.arange(40).expand(3, -1))


@pytest.mark.parametrize("scope", ["view", "joint"])
def test_the_best_are_kept_in_their_order(scope):
    maps = draws(1, 6, 2, 4, 4)
    kept = kept_tokens(maps, 0.25, scope)
    assert kept.shape == (6, 8)
    assert (kept.diff(dim=1) > 0).all(), "indices are sorted, and none comes twice"
    for scores, indices in zip(maps.flatten(1), kept, strict=True):
        halves = [scores[:16], scores[16:]] if scope == "view" else [scores]
        size = len(scores) // len(halves)
        best = [half.topk(size // 4).indices + size * k for k, half in enumerate(halves)]
        assert set(indices.tolist()) == set(torch.cat(best).tolist())


def test_of_equals_the_first_are_kept():
    assert kept_tokens(torch.zeros(1, 2, 2, 2), 0.5, "view").tolist() == [[0, 1, 4, 5]]
    assert kept_tokens(torch.zeros(1, 2, 2, 2), 0.01, "joint").tolist() == [[0]]


def test_nearest_keeps_the_rank_of_a_lone_peak():
    maps = draws(2, 20, 1, 4, 4).abs()
    fine = on_grid(maps, 8, 8, "nearest")
    assert torch.equal(fine[..., ::2, ::2], maps)
    best, coarse = (m.flatten(1).argmax(1) for m in (fine, maps))
    rows, columns = best // 8 // 2, best % 8 // 2
    assert torch.equal(rows * 4 + columns, coarse)


def test_a_lone_bilinear_peak_falls_to_nine_sixteenths():
    maps = torch.zeros(1, 1, 5, 5)
    maps[0, 0, 2, 2] = 1.0
    assert float(on_grid(maps, 10, 10, "bilinear").max()) == pytest.approx(9 / 16)
    assert float(on_grid(maps, 10, 10, "nearest").max()) == 1.0
    plateau = torch.zeros(1, 1, 5, 5)
    plateau[0, 0, :2, :2] = 0.9
    both = on_grid(torch.maximum(maps, plateau), 10, 10, "bilinear")
    assert both.flatten().argmax() == 0, "it has lost its rank to a lower, broader one"


def test_relevance_counts_rows_once_and_passes_no_gradient():
    weights = torch.rand(2, 3, 4, 5, requires_grad=True)
    rows = torch.tensor([[True, True, False, True], [False] * 4])
    found = relevance(weights, rows)
    torch.testing.assert_close(found[0], weights[0, :, [0, 1, 3]].mean((0, 1)).detach())
    assert (found[1] == 0).all(), "an empty instruction looks at nothing"
    assert not found.requires_grad


def test_hashes_are_of_the_observation_alone():
    images = (draws(3, 4, 2, 3, 6, 6) * 40).to(torch.uint8)
    found = hashed(images, 8, 8)
    assert torch.equal(found[2:3], hashed(images[2:3], 8, 8))
    assert (found[0] != found[1]).float().mean() > 0.9
    assert float(found.min()) >= 0
    assert float(found.max()) < 1
    assert float(found.mean()) == pytest.approx(0.5, abs=0.05)
    kept = kept_tokens(found, 0.5, "view")
    shared = (kept[0][:, None] == kept[1]).any(1).float().mean()
    assert 0.3 < float(shared) < 0.7, "two observations share as many as chance has it"


def test_kept_tokens_are_picked_view_by_view():
    views, prefix, patches = 2, 3, 4
    everything = torch.arange(views * (prefix + patches)).float().view(1, views, -1, 1)
    tokens = ExpertTokens.of(torch.tensor([[1, 3, 4]]), views, prefix, patches)
    # Class and registers of both views, then patches 1 and 3 of the first view, 0 of the second one.
    assert tokens.pick(everything).flatten().tolist() == [0, 1, 2, 7, 8, 9, 4, 6, 10]
    assert tokens.pick(everything[0]).flatten().tolist() == [0, 1, 2, 7, 8, 9, 4, 6, 10]
    sees = tokens.bias()[0, 0] == 0
    first = torch.tensor([1, 1, 1, 0, 0, 0, 1, 1, 0]).bool()
    assert torch.equal(sees, first[:, None] == first)
    cos, sin = tokens.pick_rotation((everything[0, 0], 2 * everything[0, 0]))
    assert cos.flatten().tolist() == [0, 1, 2, 0, 1, 2, 4, 6, 3]
    assert torch.equal(sin, 2 * cos)
