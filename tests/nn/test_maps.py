"""Attention maps against masks: what can be counted by hand."""

import pytest
import torch

from vla_bench.nn.maps import area, attention_mass, coverage, shares, spread


def mask(views=1, side=8):
    return torch.zeros(1, views, side, side, dtype=torch.bool)


def test_cells_that_end_between_pixels_share_them_exactly():
    pixels = torch.zeros(3, 5, dtype=torch.bool)
    pixels[1, 2] = True
    # Two rows over three pixels: each has half of the middle one; columns of 2.5 pixels likewise.
    torch.testing.assert_close(shares(pixels, 2, 2), torch.full((2, 2), 0.25 / 3.75))
    full = torch.ones(7, 5, dtype=torch.bool)
    torch.testing.assert_close(shares(full, 3, 4), torch.ones(3, 4))
    drawn = torch.rand(7, 5, generator=torch.Generator().manual_seed(0)) < 0.3
    assert float(shares(drawn, 3, 4).mean()) == pytest.approx(float(drawn.float().mean()))


def test_shares_of_whole_cells_are_means():
    drawn = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.4
    torch.testing.assert_close(
        shares(drawn, 4, 2), drawn.float().reshape(2, 3, 4, 2, 2, 4).mean((3, 5))
    )


def test_mass_is_what_lies_on_the_object():
    seen = mask(views=2)
    seen[0, 0, :4, :4] = True
    attention = torch.zeros(1, 2, 2, 2)
    attention[0, 0, 0, 0], attention[0, 1, 1, 1] = 3.0, 1.0
    assert float(attention_mass(attention, seen)) == pytest.approx(0.75)
    seen[0, 0, :4, 2:4] = False
    assert float(attention_mass(attention, seen)) == pytest.approx(0.375), (
        "half of the cell is left"
    )
    even = torch.ones(1, 2, 2, 2)
    assert float(attention_mass(even, seen)) == pytest.approx(float(area(seen)))
    assert float(area(seen)) == pytest.approx(8 / 128)
    assert attention_mass(torch.zeros(1, 2, 2, 2), seen).isnan().all()


def test_each_observation_counts_for_itself():
    seen = mask().repeat(2, 1, 1, 1)
    seen[0, 0, 0, 0] = True
    seen[1] = True
    attention = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]], [[[0.0, 2.0], [0.0, 0.0]]]])
    torch.testing.assert_close(attention_mass(attention, seen), torch.tensor([1 / 16, 1.0]))
    torch.testing.assert_close(coverage(attention, seen), torch.tensor([1.0, 0.25]))


def test_coverage_counts_the_object_not_the_map():
    seen = mask()
    seen[0, 0, 2:6, 2:4] = True
    attention = torch.tensor([[[[0.001, 0.0], [0.0, 0.9]]]])
    assert float(coverage(attention, seen)) == pytest.approx(0.5)
    assert coverage(attention, mask()).isnan().all()


def test_spread_is_the_share_of_cells_that_are_looked_at():
    maps = torch.zeros(3, 1, 2, 2)
    maps[0] = 0.3
    maps[1, 0, 0] = 5.0
    maps[2, 0, 1, 1] = 1.0
    torch.testing.assert_close(spread(maps), torch.tensor([1.0, 0.5, 0.25]))
