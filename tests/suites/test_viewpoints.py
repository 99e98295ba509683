"""Viewpoints: a marker at the gripper is drawn where it is projected to, in every suite and view."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

from vla_bench import load_card, make_suite
from vla_bench.cards import SuiteCard
from vla_bench.errors import UserError
from vla_bench.suites.viewpoint import Viewpoint

WITHIN = 2.0
"""px: how far a drawn marker may be from where it is projected to."""
AROUND = 0.04 * np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0)])
"""m: where markers are put, from the gripper."""


def begun(suite, task, **options):
    """An environment in the middle of its first episode, its gripper somewhere."""
    made = make_suite(load_card(SuiteCard, suite).override(options))
    made.prepare()
    env = made.make_env(task)
    env.begin(made.items(task, episodes=1, trials=1)[0])
    drawn = np.random.default_rng(0)
    for _ in range(3):
        env.advance(drawn.uniform(-1, 1, env.action_space.shape).astype(np.float32))
    return env


def errors(viewpoint, drawn):
    """Distances (px) between markers as drawn, {point: (column, row)}, and as projected."""
    points = np.array(list(drawn))
    return np.linalg.norm(viewpoint.project(points) - list(drawn.values()), axis=-1)


def check(viewpoint, drawn):
    """Every marker is where it is projected to; with axes mixed up it would not be."""
    assert len(drawn) >= 4, "too few markers to be seen"
    assert errors(viewpoint, drawn).max() < WITHIN
    for wrong in mistaken(viewpoint):
        assert not errors(wrong, drawn).max() < WITHIN


def mistaken(right):
    """Viewpoints with the mistakes that are usually made."""
    across, down = np.eye(3), np.eye(3)
    across[0], down[1] = (-1, 0, right.width - 1), (0, -1, right.height - 1)
    for mistake in (across, down, across @ down, np.eye(3)[[1, 0, 2]]):
        yield Viewpoint(mistake @ right.intrinsics, right.extrinsics, right.width, right.height)
    yield Viewpoint(right.intrinsics, np.linalg.inv(right.extrinsics), right.width, right.height)
    opengl = np.diag([1, -1, -1, 1]) @ right.extrinsics
    yield Viewpoint(right.intrinsics, opengl, right.width, right.height)


def centre(mask, least=3):
    """The middle of what a marker fills, (column, row); None if it is hidden, or cut by the frame."""
    rows, columns = np.nonzero(mask)
    edge = {*rows, *columns} & {0, mask.shape[0] - 1}
    return None if len(rows) < least or edge else (columns.mean(), rows.mean())


def seen_only(drawn):
    return {point: place for point, place in drawn.items() if place is not None}


def pinhole(**changes):
    parts = {
        "intrinsics": np.array([(100.0, 0, 31.5), (0, 100.0, 23.5), (0, 0, 1)]),
        "extrinsics": np.eye(4),
        "width": 64,
        "height": 48,
    }
    return Viewpoint(**parts | changes)


def test_a_point_on_the_axis_is_in_the_middle_and_right_and_down_are_positive():
    view = pinhole()
    np.testing.assert_allclose(view.project((0, 0, 2)), (31.5, 23.5))
    np.testing.assert_allclose(view.project((0.1, 0.02, 1)), (41.5, 25.5))
    np.testing.assert_allclose(view.places((0, 0, 2)), (0.5, 0.5))


def test_what_is_behind_or_out_of_the_frame_has_no_place():
    view = pinhole()
    assert np.isnan(view.project([(0, 0, -1), (0, 0, 0)])).all()
    edge = 0.32
    places = view.places([(edge - 0.001, 0, 1), (edge + 0.001, 0, 1), (0, 0, -1), (np.nan, 0, 1)])
    assert np.isfinite(places).all(-1).tolist() == [True, False, False, False]


def test_one_viewpoint_holds_the_matrices_of_many_images():
    moved = np.stack([np.eye(4)] * 3)
    moved[:, 0, 3] = 0, 0.1, 0.2
    many = pinhole(extrinsics=moved)
    np.testing.assert_allclose(many.project((0, 0, 1))[:, 0], (31.5, 41.5, 51.5))
    points = [(0, 0, 1), (-0.1, 0, 1), (-0.2, 0, 1)]
    np.testing.assert_allclose(many.project(points)[:, 0], 31.5)


def test_places_hold_at_any_size_of_the_image():
    view, point = pinhole(), (0.11, -0.07, 1)
    small = view.resized(16)
    assert (small.width, small.height) == (16, 16)
    np.testing.assert_allclose(small.places(point), view.places(point))
    assert view.resized(None) is view


def test_a_suite_without_viewpoints_says_so():
    env = make_suite(load_card(SuiteCard, "line")).make_env("go-right")
    for ask in (env.viewpoints, env.gripper_position, lambda: env.relevant("front")):
        with pytest.raises(UserError, match="does not tell where its cameras stand; use a suite"):
            ask()


@pytest.mark.parametrize("camera", ["head", "wrist"])
def test_micro(camera):
    from vla_bench.suites.micro import pictures

    env = begun("micro", "detour")
    view = pictures.view_of(camera, env.world, env.cameras[camera])
    drawn = {}
    for offset in AROUND[AROUND[:, 2] == 0]:
        point = env.gripper_position() + offset
        canvas = pictures.Canvas(view, np.zeros(3))
        canvas.disc(tuple(point[:2]), 0.03, (255, 255, 255))
        drawn[tuple(point)] = weighted(canvas.image(np.ones(3))[..., 0])
    check(env.viewpoints()[camera], drawn)


def weighted(shades):
    """The middle of a soft-edged marker, (column, row)."""
    rows, columns = np.indices(shades.shape)
    share = shades / shades.sum()
    return (columns * share).sum(), (rows * share).sum()


@pytest.mark.parametrize("camera", ["head", "wrist"])
def test_micro_knows_which_pixels_show_what_counts(camera):
    from vla_bench.suites.micro.pictures import COLOURS

    env = begun("micro", "pick-green")
    x, y, _ = env.gripper_position()
    env.world.balls[1] = (x + 0.1, y + 0.05)
    image = env.observe()["images"][camera].astype(int)
    mask = env.relevant(camera)
    green = np.abs(image - COLOURS["green"]).max(axis=-1)
    assert mask.shape == image.shape[:2]
    assert mask.sum() >= 9
    assert mask[green == 0].all()
    assert green[mask].max() < green[~mask].max()
    assert not mask[green > 150].any()


def test_micro_shifts_its_viewpoint_with_its_camera():
    from vla_bench.perturbations.changes import CameraShift

    env = begun("micro", "detour")
    before = env.viewpoints()["head"].project(env.gripper_position())
    env.perturb(CameraShift("head", np.array([0.2, 0, 0]), np.array([0, 0, 0.1])))
    after = env.viewpoints()["head"].project(env.gripper_position())
    assert np.linalg.norm(after - before) > 2


@pytest.fixture(scope="module")
def fetch():
    """A Fetch with a bowl in its gripper."""
    pytest.importorskip("sapien")
    env = begun("ms-hab-mini", "place-bowl")
    yield env
    env.close()


@contextmanager
def invisible(robot):
    """Without the robot, which would hide markers."""
    import sapien

    kind = sapien.render.RenderBodyComponent
    bodies = [link.entity.find_component_by_type(kind) for link in robot.links]
    bodies = [body for body in bodies if body is not None]
    for body in bodies:
        body.visibility = 0
    yield
    for body in bodies:
        body.visibility = 1


@pytest.mark.parametrize("camera", ["head", "wrist"])
def test_ms_hab(fetch, camera):
    import sapien

    from vla_bench.suites.ms_hab.wave import SENSORS

    world, drawn = fetch.wave.world, {}
    red = sapien.render.RenderMaterial(base_color=[1, 0, 0, 1])
    with invisible(fetch.wave.lanes[0].robot):
        for point in fetch.gripper_position() + AROUND:
            body, marker = sapien.render.RenderBodyComponent(), sapien.Entity()
            body.attach(sapien.render.RenderShapeSphere(0.012, red))
            marker.add_component(body)
            marker.set_pose(sapien.Pose(point))
            world.scene.sub_scenes[0].add_entity(marker)
            numbers = world.render_numbers(SENSORS[camera])[0]
            drawn[tuple(point)] = centre(numbers == marker.per_scene_id)
            world.scene.sub_scenes[0].remove_entity(marker)
    check(fetch.viewpoints()[camera], seen_only(drawn))


def test_ms_hab_sees_its_fingers_on_either_side_of_the_gripper(fetch):
    lane = fetch.wave.lanes[0]
    numbers = fetch.wave.world.render_numbers("fetch_head")[0]
    fingers = [
        centre(numbers == finger.entity.per_scene_id)
        for finger in (lane.left_finger, lane.right_finger)
    ]
    where = fetch.viewpoints()["head"].project(fetch.gripper_position())
    assert np.linalg.norm(np.mean(fingers, axis=0) - where) < WITHIN


@pytest.mark.parametrize("camera", ["head", "wrist"])
def test_ms_hab_knows_which_pixels_show_the_bowl_that_it_holds(fetch, camera):
    mask = fetch.relevant(camera)
    bowl = fetch.wave.lanes[0].held.entity.pose.p
    assert mask.shape == fetch.observe()["images"][camera].shape[:2]
    assert mask.sum() > 100
    where = fetch.viewpoints()[camera].project(bowl)
    assert np.linalg.norm(centre(mask) - where) < 2 * WITHIN


def test_ms_hab_plays_the_same_whoever_looks(fetch):
    item = fetch.items[0]
    states = []
    for looks in (True, False):
        fetch.begin(item)
        for _ in range(3):
            if looks:
                fetch.viewpoints(), fetch.gripper_position(), fetch.relevant("wrist")
            fetch.advance(np.full(13, 0.3, np.float32))
        states.append(fetch.state_bytes())
    assert states[0] == states[1]


@pytest.fixture(scope="module")
def panda(libero_assets):
    env = begun("libero-goal", "put-the-bowl-on-the-plate")
    yield env
    env.close()


@contextmanager
def only_a_marker(world):
    """Draws nothing but a site that can be put anywhere; yields what puts it there."""
    sample, sim = world._sample, world.domain.sim
    options = sim._render_context_offscreen.vopt
    groups, sites, places = options.geomgroup.copy(), sample._sites.copy(), sample.data.site_xpos
    site = sim.model.site_name2id("gripper0_grip_site")
    before, size = places[site].copy(), sim.model._model.site_size[site].copy()
    sim.model._model.site_size[site] = 0.006

    def put(point):
        sample._sites[:, 3] = 0
        options.geomgroup[:] = 0
        if point is not None:
            sample._sites[site], places[site] = (1, 0, 0, 1), point
        world._images = {}

    yield put
    options.geomgroup[:], sample._sites[:] = groups, sites
    places[site], sim.model._model.site_size[site] = before, size
    world._images = {}


@pytest.mark.parametrize("camera", ["agentview", "wrist"])
def test_libero(panda, camera):
    drawn = {}
    with only_a_marker(panda.world) as put:
        put(None)
        empty = panda.observe()["images"][camera].astype(int)
        for point in panda.gripper_position() + AROUND:
            put(point)
            image = panda.observe()["images"][camera].astype(int)
            drawn[tuple(point)] = centre(np.abs(image - empty).max(axis=-1) > 40)
    check(panda.viewpoints()[camera], seen_only(drawn))


def test_libero_tells_of_the_moment_that_it_shows(panda):
    seen = panda.observe(images=False)["state"]["tcp_position"]
    np.testing.assert_array_equal(panda.gripper_position().astype(np.float32), seen)


@pytest.mark.parametrize("camera", ["agentview", "wrist"])
def test_libero_knows_which_pixels_show_what_its_goal_is_about(panda, camera):
    positions, view = panda.world.positions(), panda.viewpoints()[camera]
    mask = panda.relevant(camera)
    assert mask.shape == panda.observe()["images"][camera].shape[:2]

    def shown(name):
        column, row = np.rint(view.project(positions[name])).astype(int)
        return mask[row - 3 : row + 4, column - 3 : column + 4].any()

    assert shown("akita_black_bowl_1")
    assert shown("plate_1")
    assert not shown("flat_stove_1")
    assert 0.01 < mask.mean() < 0.2


def test_libero_plays_the_same_whoever_looks(panda):
    states = []
    for looks in (True, False):
        panda.begin(panda.items[0])
        for _ in range(2):
            if looks:
                panda.viewpoints(), panda.gripper_position(), panda.relevant("wrist")
            panda.advance(np.full(7, 0.3, np.float32))
        states.append(panda.state_bytes())
    assert states[0] == states[1]
