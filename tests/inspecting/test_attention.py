"""Maps over images: their shares of what matters, and what is said where there are none."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.learned import context, draws
from vla_bench import UserError
from vla_bench.inspecting.attention import attend, on_objects, relative, shares
from vla_bench.nn import maps as on_maps
from vla_bench.policies.diagnostics import Diagnostics
from vla_bench.policies.learned.diagnostics import BACKBONE_MAP, backbone_maps
from vla_bench.replay import Stage

GRID = (2, 4, 4)
CAMERAS = ("head", "wrist")


def attended(runs, maps=None, **run):
    stage = Stage(runs(**run))
    if maps is not None:
        diagnostics = stage.policy.diagnostics()
        diagnostics.attention = lambda observation: {"map": maps}
        stage.policy.diagnostics = lambda: diagnostics
    return attend(stage, stage.find("pick-red/0/0"), [0])


def test_a_head_without_maps_shows_what_the_backbones_queries_attend_to(runs):
    [moment] = attended(runs).moments
    [(name, maps)] = moment.shown.items()
    assert (name, maps.shape) == (BACKBONE_MAP, GRID)
    assert (maps > 0).all()
    assert maps.sum() < 1
    assert set(moment.look.viewpoints) == set(moment.look.relevant) == set(CAMERAS)


def test_the_map_is_that_of_the_last_layer():
    seen = context(1, vision=4)
    attention = tuple(draws(number, 1, 2, 2, 4).softmax(-1) for number in range(2))
    seen = dataclasses.replace(seen, attention=attention, grid=(1, 2, 2))
    maps = backbone_maps(seen)[BACKBONE_MAP]
    expected = sum(attention[-1][0, head, query] for head in range(2) for query in range(2)) / 4
    torch.testing.assert_close(maps[0].flatten(), expected)


def test_shares_of_a_map(runs):
    even = attended(runs, np.ones(GRID, np.float32))
    [share] = shares(even, CAMERAS)
    masks = even.moments[0].look.relevant
    assert share.area == pytest.approx(np.mean([mask.mean() for mask in masks.values()]))
    assert share.attention == pytest.approx(share.area)
    both = torch.from_numpy(np.stack([masks[camera] for camera in CAMERAS]))
    area = on_maps.shares(both, 4, 4).numpy()
    place = np.unravel_index(area.argmax(), GRID)
    lone = np.zeros(GRID, np.float32)
    lone[place] = 0.1
    [share] = shares(attended(runs, lone), CAMERAS)
    assert share.attention == pytest.approx(area[place])


def test_relative_attention_is_one_where_it_is_even():
    maps = np.full((2, 3, 3), 0.2, np.float32)
    assert relative(maps) == pytest.approx(np.ones(maps.shape))
    maps[1] = 0
    assert relative(maps)[0] == pytest.approx(np.full((3, 3), 2))
    mask = np.zeros((6, 6), bool)
    mask[:2, :3] = True
    cells = np.arange(9, dtype=np.float32).reshape(3, 3)
    assert on_objects(cells, mask) == pytest.approx(1 / 3)


def test_policies_without_maps_are_refused(runs):
    with pytest.raises(UserError, match="reads no images"):
        attended(runs, changes={})
    stage = Stage(runs())
    stage.policy.diagnostics = Diagnostics
    with pytest.raises(UserError, match="shows no attention"):
        attend(stage, stage.find("pick-red/0/0"), [0])
