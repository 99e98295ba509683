"""The privileged view of a goal, on a small model: boxes, poses, contact, which goal is shown."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from vla_bench.suites.libero.privileged import (
    GoalView,
    collision_box,
    collision_geoms,
    quaternion,
    rotation,
)

mujoco = pytest.importorskip("mujoco")

MODEL = """
<mujoco>
  <asset><mesh name="wedge" vertex="0 0 0  0.1 0 0  0 0.2 0  0 0 0.3"/></asset>
  <worldbody>
    <geom type="plane" size="1 1 1"/>
    <body name="cup" pos="0 0 0.1" quat="0.6 0 0 0.8">
      <freejoint/>
      <geom name="wall" type="box" size="0.02 0.01 0.05" pos="0.01 0 0"/>
      <geom name="seen" type="box" size="1 1 1" contype="0" conaffinity="0"/>
      <body name="handle" pos="0 0.1 0" quat="0.7071067811865476 0 0 0.7071067811865476">
        <geom name="grip" type="capsule" size="0.01" fromto="0 0 0 0.05 0 0"/>
      </body>
    </body>
    <body name="stone" pos="1 0 1"><geom name="wedge" type="mesh" mesh="wedge"/></body>
    <body name="left" pos="0 0 0"><geom name="left" type="sphere" size="0.01"/></body>
    <site name="shelf" type="box" size="0.1 0.2 0.01" pos="0.5 0 0.4" euler="0 0 90"/>
  </worldbody>
</mujoco>
"""


@pytest.fixture
def world():
    model = mujoco.MjModel.from_xml_string(MODEL)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def body(model, name):
    return mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)


def geom(model, name):
    return mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, name)


def test_the_box_spans_what_collides_and_what_hangs_on(world):
    model, _ = world
    cup = body(model, "cup")
    mask = collision_geoms(model, cup)
    assert set(np.flatnonzero(mask)) == {geom(model, "wall"), geom(model, "grip")}
    # The capsule points along the cup's y from 0.1 to 0.15, with caps.
    box = collision_box(model, cup, mask)
    assert box[:3] - box[3:] == pytest.approx([-0.01, -0.01, -0.05])
    assert box[:3] + box[3:] == pytest.approx([0.03, 0.16, 0.05])


def test_a_mesh_counts_with_its_points(world):
    model, _ = world
    stone = body(model, "stone")
    box = collision_box(model, stone, collision_geoms(model, stone))
    assert box[:3] == pytest.approx([0.05, 0.1, 0.15], abs=1e-6)
    assert box[3:] == pytest.approx([0.05, 0.1, 0.15], abs=1e-6)


def test_quaternions_and_matrices_agree():
    generator = np.random.default_rng(0)
    for _ in range(100):
        unit = generator.normal(size=4)
        unit /= np.linalg.norm(unit) * np.sign(unit[0])
        assert quaternion(rotation(unit)) == pytest.approx(unit)
    assert quaternion(np.diag([1.0, -1.0, -1.0])) == pytest.approx([0, 1, 0, 0])


def domain(model, data, goals, holds=(), fingers=("left", "left")):
    """What GoalView reads of a LIBERO domain."""
    names = SimpleNamespace(
        _model=model,
        geom_name2id=lambda name: geom(model, name),
        site_name2id=lambda name: mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, name),
    )
    gripper = SimpleNamespace(
        important_geoms={"left_finger": [fingers[0]], "right_finger": [fingers[1]]}
    )
    return SimpleNamespace(
        sim=SimpleNamespace(model=names, data=SimpleNamespace(_data=data)),
        robots=[SimpleNamespace(gripper=gripper)],
        parsed_problem={"goal_state": goals},
        obj_body_id={name: body(model, name) for name in ("cup", "stone")},
        object_sites_dict={"shelf": None},
        _eval_predicate=lambda state: state in list(holds),
    )


def test_the_entries_have_the_cards_shapes(world):
    entries = GoalView(domain(*world, [["on", "cup", "shelf"]])).entries()
    sizes = {"object_pose": 7, "object_box": 6, "goal_pose": 7, "goal_box": 6, "is_grasped": 1}
    assert {name: value.size for name, value in entries.items()} == sizes
    assert all(value.dtype == np.float32 for value in entries.values())
    assert entries["object_pose"] == pytest.approx([0, 0, 0.1, 0.6, 0, 0, 0.8])
    half = np.sqrt(0.5)
    assert entries["goal_pose"] == pytest.approx([0.5, 0, 0.4, half, 0, 0, half])
    assert entries["goal_box"] == pytest.approx([0, 0, 0, 0.1, 0.2, 0.01])


def test_the_first_goal_that_does_not_hold_is_shown(world):
    first, second = ["on", "cup", "shelf"], ["on", "stone", "shelf"]
    for holds, x in (([], 0), ([first], 1), ([first, second], 1), ([second], 0)):
        view = GoalView(domain(*world, [first, second], holds))
        assert view.entries()["object_pose"][0] == x


def test_of_a_unary_goal_both_are_the_thing(world):
    entries = GoalView(domain(*world, [["open", "cup"]])).entries()
    assert np.array_equal(entries["object_pose"], entries["goal_pose"])
    assert np.array_equal(entries["object_box"], entries["goal_box"])


def test_a_grasp_needs_both_fingers(world):
    model, data = world
    data.qpos[:3] = [0, 0, 0.05]
    mujoco.mj_forward(model, data)
    goals = [["on", "cup", "shelf"]]
    assert GoalView(domain(model, data, goals)).entries()["is_grasped"] == 1
    other = domain(model, data, goals, fingers=("left", "wedge"))
    assert GoalView(other).entries()["is_grasped"] == 0


def test_looking_changes_nothing(world):
    model, data = world
    before = data.qpos.copy(), data.xpos.copy(), data.time
    entries = GoalView(domain(model, data, [["on", "cup", "shelf"]])).entries()
    entries["object_pose"][:] = 9
    assert np.array_equal(before[0], data.qpos)
    assert np.array_equal(before[1], data.xpos)
    assert data.time == before[2]
