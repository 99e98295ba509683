"""Anchors: when a gripper acts, and where in each image that will be."""

from __future__ import annotations

import csv
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from tests.learned import demonstrations, located, recipe
from vla_bench.learning.augmentation import augmented
from vla_bench.learning.collect import CollectSpec, collect
from vla_bench.learning.demonstrations import load_demonstrations
from vla_bench.learning.events import gripper_events
from vla_bench.learning.places import places_of, task_anchor_shares
from vla_bench.learning.training import train
from vla_bench.learning.training_state import LOG
from vla_bench.learning.windows import Observations, WindowData, state_rows
from vla_bench.nn.normalisation import Normaliser, Statistics
from vla_bench.policies.learned.head import Windows
from vla_bench.suites.micro.pictures import COLOURS
from vla_bench.suites.viewpoint import Viewpoint

SMALL_IMAGES = {"backbone__image_size": 16, "backbone__grid": 2}
VIEWS = ["head", "wrist"]
SEEING = recipe(inputs__images=VIEWS, training__image_shift=2, **SMALL_IMAGES)


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ("+++++", []),
        ("+++---", [3]),
        ("+++---+++", [3, 6]),
        ("+++-+++", []),
        ("+++--+++", []),
        ("+++-+---", [5]),
        ("+++++--", []),
        ("-+++", [1]),
        ("000---", [3]),
    ],
)
def test_a_gripper_event_is_a_command_that_lasts(commands, expected):
    column = np.array([{"+": 1, "-": -0.6, "0": 0}[c] for c in commands], np.float32)
    assert gripper_events(column[:, None]).tolist() == expected


def test_the_events_of_several_grippers_are_taken_together():
    left, right = np.ones(12, np.float32), np.ones(12, np.float32)
    left[4:], right[4:8] = -1, -1
    assert gripper_events(np.stack([left, right], axis=1)).tolist() == [4, 8]
    assert gripper_events(np.zeros((12, 0), np.float32)).tolist() == []


def episode(events):
    """Ten steps at which the gripper moves to the right, out of the frame in the end."""
    [made, *_] = demonstrations(SEEING, steps=10)
    return located(made, events)


def columns(places, anchor):
    """Of one camera, in pixels of 8."""
    return 8 * places[:, anchor, 0, 0] - 0.5


def test_the_task_anchor_is_where_the_gripper_acts_next():
    places = places_of(episode(events=[2, 5]), ["head"])
    assert places.shape == (10, 2, 1, 2)
    none = [np.nan] * 4
    np.testing.assert_allclose(columns(places, 0), [2, 2, 2, 5, 5, 5, *none], atol=1e-5)
    np.testing.assert_allclose(columns(places, 1), [*range(8), np.nan, np.nan], atol=1e-5)
    np.testing.assert_allclose(8 * places[0, 1, 0, 1] - 0.5, 3, atol=1e-5)


def test_an_anchor_out_of_the_frame_has_no_place():
    assert np.isnan(places_of(episode(events=[9]), ["head"])[:, 0]).all()


def test_only_rows_with_an_image_have_places():
    whole = episode(events=[5])
    shown = np.array([1, 4, 6])
    views = {
        name: Viewpoint(view.intrinsics[shown], view.extrinsics[shown], 8, 8)
        for name, view in whole.views.items()
    }
    places = places_of(replace(whole, image_steps=shown, views=views), ["wrist"])
    np.testing.assert_allclose(columns(places, 1), [1, 4, 6], atol=1e-5)
    np.testing.assert_allclose(columns(places, 0), [5, 5, np.nan], atol=1e-5)


def test_episodes_that_do_not_tell_have_no_places_among_others_that_do():
    [silent, *_] = demonstrations(SEEING, steps=10)
    assert places_of(silent, ["head"]) is None
    assert windows_of([silent]).places is None
    places = windows_of([silent, episode(events=[5])]).places
    assert places.shape == (20, 2, len(VIEWS), 2)
    assert places[:10].isnan().all()
    assert places[10:16].isfinite().all()


def windows_of(episodes, used=SEEING):
    plain = [
        Normaliser(Statistics.of(np.concatenate(rows)), "none")
        for rows in ([d.actions for d in episodes], [state_rows(d, used) for d in episodes])
    ]
    data = WindowData(episodes, used, *plain)
    return data.windows(torch.arange(len(data)))


def test_a_black_image_shows_no_place():
    blank = recipe(inputs__images=VIEWS, training__blank_images=True, **SMALL_IMAGES)
    made = episode(events=[9])
    shown = np.arange(0, 10, 2)
    made = replace(
        made,
        image_steps=shown,
        images={name: rows[shown] for name, rows in made.images.items()},
        views={
            name: Viewpoint(view.intrinsics[shown], view.extrinsics[shown], 8, 8)
            for name, view in made.views.items()
        },
    )
    end = windows_of([made], blank).places[:, 1, 0, 0]
    assert end.isfinite().tolist() == [True, False] * 4 + [False, False]


def test_places_move_along_with_shifted_images():
    spots = torch.randint(0, 8, (64, 2), generator=torch.Generator().manual_seed(1))
    images = torch.zeros(64, 1, 3, 8, 8, dtype=torch.uint8)
    images[torch.arange(64), 0, :, spots[:, 1], spots[:, 0]] = 255
    places = ((spots + 0.5) / 8)[:, None, None].expand(64, 2, 1, 2)
    observed = Observations(images, [""] * 64, torch.zeros(64, 1))
    windows = Windows(torch.zeros(64, 1, 1), torch.ones(64, 1, dtype=torch.bool), places=places)
    seen, moved = augmented(observed, windows, SEEING.training, torch.Generator().manual_seed(0))
    inside = moved.places[:, 0, 0, 0].isfinite()
    assert 30 < inside.sum() < 64
    for image, (column, row) in zip(
        seen.images[inside, 0, 0], (moved.places[inside, 0, 0] * 8).int(), strict=True
    ):
        assert image[row, column] == 255
    # What left the frame is not to be seen any more.
    assert not (seen.images[~inside].amax(dim=(1, 2, 3, 4)) == 255).all()
    assert torch.equal(windows.places, places)


def test_the_log_names_tasks_of_which_next_to_no_image_shows_a_task_anchor(tmp_path):
    made = [located(d, [] if d.task == "detour" else None) for d in demonstrations(SEEING, steps=6)]
    places = np.concatenate([places_of(d, VIEWS) for d in made])
    shares = task_anchor_shares(made, places)
    assert shares["detour"] == 0
    assert 0.5 < shares["either"] < 0.7
    train(recipe("l1", inputs__images=VIEWS, training__updates=2, **SMALL_IMAGES), made, tmp_path)
    with (tmp_path / LOG).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["task_anchors/detour"] for row in rows} == {"0"}
    assert "task_anchors/either" not in rows[0]


def test_a_recorded_ball_is_where_the_gripper_will_close(tmp_path):
    """From the suite to the anchor: in the first image the task anchor is on the ball."""
    options = {"suite": "micro", "tasks": ["pick-blue"], "episodes": 3, "image_size": 32}
    collect(CollectSpec(out=tmp_path, **options), lambda _: None)
    for made in load_demonstrations(tmp_path):
        assert len(made.events) == 1
        assert made.views["head"].width == 32
        places = places_of(made, ["head", "wrist"])
        column, row = (32 * places[0, 0, 0]).astype(int)
        patch = made.images["head"][0][row - 1 : row + 2, column - 1 : column + 2].astype(int)
        assert np.abs(patch - COLOURS["blue"]).max(axis=-1).min() < 40
        np.testing.assert_allclose(places[:, 1, 1], 0.5, atol=1e-3)
        after = np.arange(len(places)) > made.events[0]
        assert np.isnan(places[after, 0]).all()
        np.testing.assert_allclose(places[made.events[0], 0], places[made.events[0], 1])


def test_files_without_viewpoints_are_read_as_before(tmp_path):
    options = {"suite": "micro", "tasks": ["pick-blue"], "episodes": 1}
    [path] = collect(CollectSpec(out=tmp_path, **options), lambda _: None)
    with h5py.File(path, "r+") as file:
        for name in ("gripper", "events", "views"):
            del file["episode-0000"][name]
    [old] = load_demonstrations(path)
    assert old.gripper is None
    assert old.events is None
    assert places_of(old, ["head"]) is None
