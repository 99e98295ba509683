"""Anchors, and the losses and figures that are computed from them."""

import math

import pytest
import torch
from torch.nn import functional

from tests.learned import draws
from vla_bench.policies.posavla.supervision import contrastive, focal, gaussians, hits, pooled

SIZE = 14


def place(row, column, size=SIZE):
    """The centre of a cell as u, v."""
    return torch.tensor([(column + 0.5) / size, (row + 0.5) / size])


def highest(anchors):
    """Row and column of the highest cell."""
    return divmod(int(anchors.argmax()), anchors.shape[-1])


@pytest.mark.parametrize(("row", "column"), [(2, 9), (0, 13), (13, 0), (7, 7)])
def test_an_anchor_peaks_in_the_row_of_v_and_the_column_of_u(row, column):
    anchor = gaussians(place(row, column), 0.1, SIZE, SIZE)
    assert highest(anchor) == (row, column)
    if row != column:  # rows and columns mixed up, or an image that is mirrored or upside down
        u, v = place(row, column)
        for wrong in ((v, u), (1 - u, v), (u, 1 - v)):
            assert highest(gaussians(torch.stack(wrong), 0.1, SIZE, SIZE)) != (row, column)


def test_an_anchor_is_the_published_gaussian():
    anchor, sigma = gaussians(place(5, 3), 0.1, SIZE, SIZE), 0.1 * SIZE
    for row, column in ((5, 3), (5, 4), (7, 3), (8, 9)):
        distance = (row - 5) ** 2 + (column - 3) ** 2
        assert float(anchor[row, column]) == pytest.approx(math.exp(-distance / (2 * sigma**2)))


def test_the_peak_of_a_narrow_anchor_is_kept_on_a_coarse_grid():
    anchor = gaussians(torch.tensor([0.49, 0.26]), 1 / 15, 4, 4)
    assert highest(anchor) == (1, 1)
    assert float(anchor.max()) == 1


def test_a_grid_need_not_be_square_nor_a_place_within_it():
    assert highest(gaussians(torch.tensor([0.9, 0.1]), 0.1, 3, 8)) == (0, 7)
    assert highest(gaussians(torch.tensor([1.2, 0.1]), 0.1, 3, 8)) == (0, 7)


def test_places_that_are_unknown_have_no_anchor():
    anchors = gaussians(torch.tensor([[math.nan, math.nan], [0.5, 0.5]]), 0.1, 4, 4)
    assert not anchors[0].any()
    assert anchors[1].any()


def test_hits():
    maps = torch.zeros(4, SIZE, SIZE)
    maps[:, 5, 3] = 1
    asked = torch.stack([place(5, 3), place(6, 3), place(5, 5), place(3, 5)])
    assert hits(maps, asked, 0.1).tolist() == [True, True, False, False]
    assert not hits(maps[0], torch.tensor([math.nan, math.nan]), 0.1)
    assert not hits(maps[0], place(5, 3).flip(0), 0.1), "rows and columns are not mixed up"


def test_the_cells_round_a_corner_hit_it_alike():
    """However narrow the anchor: none of them is nearer to it."""
    corner = torch.tensor([4 / SIZE, 5 / SIZE])
    maps = torch.zeros(5, SIZE, SIZE)
    for n, (row, column) in enumerate([(4, 3), (4, 4), (5, 3), (5, 4), (5, 5)]):
        maps[n, row, column] = 1
    assert hits(maps, corner.expand(5, 2), 0.02).tolist() == [True] * 4 + [False]


@pytest.fixture
def cells():
    """Logits and anchors of some maps."""
    return 3 * draws(0, 6, SIZE, SIZE), gaussians(torch.rand(6, 2), 0.1, SIZE, SIZE)


def entropies(logits, anchors):
    target = (anchors >= 0.7).float()
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


def test_focal_loss_without_exponent_is_the_cross_entropy(cells):
    entropy = entropies(*cells)
    torch.testing.assert_close(focal(*cells, gamma=0), entropy)
    torch.testing.assert_close(focal(*cells, gamma=0, balance=0.5), entropy / 2)


def test_focal_loss_plays_down_cells_that_are_right(cells):
    entropy, loss = entropies(*cells), focal(*cells, gamma=2)
    assert (loss <= entropy).all()
    assert (loss < entropy / 2).any()
    # p = 0.9 of what is right: (1 - 0.9)^2 of the cross-entropy (Lin et al. 2017, figure 1).
    logit, one = torch.tensor([math.log(9)]), torch.ones(1)
    assert float(focal(logit, one)) == pytest.approx(-0.01 * math.log(0.9), rel=1e-4)
    assert float(focal(-logit, 0 * one)) == pytest.approx(-0.01 * math.log(0.9), rel=1e-4)


def test_the_balance_weighs_positive_cells_against_the_others():
    logit = torch.zeros(1)
    positive, negative = (
        float(focal(logit, torch.full((1,), anchor), balance=0.25)) for anchor in (1.0, 0.0)
    )
    assert negative == pytest.approx(3 * positive)


def test_the_soft_target_forgives_cells_near_the_peak():
    logits = torch.zeros(SIZE, SIZE)
    anchor = gaussians(place(5, 3), 0.1, SIZE, SIZE)
    loss = focal(logits, anchor, target="soft_cornernet")
    full = 0.25 * math.log(2)
    assert float(loss[5, 3]) == pytest.approx(full)
    assert float(loss[5, 4]) == pytest.approx(full * (1 - float(anchor[5, 4])) ** 4)
    assert float(loss[13, 13]) == pytest.approx(full, rel=1e-3)


@pytest.mark.parametrize("count", [2, 5])
def test_equal_embeddings_cost_the_logarithm_of_their_number(count):
    same = torch.eye(count, dtype=torch.bool)
    assert float(contrastive(torch.ones(count, 3), torch.ones(count, 3), same, 0.07)) == (
        pytest.approx(math.log(count))
    )


def test_contrastive_loss_has_several_positives_and_two_directions():
    """Two samples of one instruction and one of another, embedded apart and without error."""
    which = torch.tensor([0, 0, 1])
    embedded = torch.eye(2)[which]
    same = which[:, None] == which
    away = math.exp(-1 / 0.5)
    pair, single = math.log(2 + away), math.log(1 + 2 * away)
    found = float(contrastive(3 * embedded, embedded, same, 0.5))
    assert found == pytest.approx((2 * pair + single) / 3, rel=1e-5), (
        "cosines: lengths do not count"
    )
    mixed = contrastive(embedded[[2, 0, 1]], embedded, same, 0.5)
    assert float(mixed) > found + 0.5
    rows = contrastive(draws(0, 3, 4), draws(1, 3, 4), same, 0.5)
    torch.testing.assert_close(rows, contrastive(draws(1, 3, 4), draws(0, 3, 4), same, 0.5))


def test_pooling_takes_positive_cells_alone():
    features = draws(0, 2, 5, 3)
    positive = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 0, 1]]).bool()
    found = pooled(features, positive)
    torch.testing.assert_close(found[0], features[0, [0, 2]].mean(0))
    torch.testing.assert_close(found[1], features[1, 4])
