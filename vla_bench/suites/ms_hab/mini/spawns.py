"""Where the robot starts: sampled poses that touch nothing, and objects held in the hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from vla_bench.suites.ms_hab.mini import counter, fridge, ycb
from vla_bench.suites.ms_hab.mini.apartments import Block, Place, door_block, drawer_block
from vla_bench.suites.ms_hab.mini.episodes import Episode
from vla_bench.suites.ms_hab.mini.meshes import Array, rotation_y, rotation_z

SPAWNS_PER_PLAN = 5
REST = (0, 0, 0, 0.386, 0, -0.370, 0.562, -1.032, 0.695, 0.955, -0.1, 2.077, 0, 0.015, 0.015)
"""Fetch's "rest" keyframe: 15 joint positions in the simulator's order."""
BASE_RADIUS = 0.35
BASE_HEIGHT = 0.02
"""Height at which the official data spawn the robot's root, metres."""
_TORSO = ((-0.03, 0.0), 0.26, 0.36, 1.62)
"""Torso and head: centre in the base frame, radius, lowest and highest point, metres."""
_ARM = ((0.375, 0.0), (0.375, 0.22), 1.05, 1.66)
"""Arm near rest, and what it holds: centre, half extents, lowest and highest point, metres."""
_NEARBY = 2.0
"""Blocks farther than this from the middle of a zone cannot touch a robot in it, metres."""
_MIN_OPEN = {"fridge": 0.75, "kitchen_counter": 0.9}
"""Least fraction of a joint's range at which pick and close episodes start."""


@dataclass(frozen=True)
class Zone:
    """Where a robot may start for a task.

    Attributes:
        frame: a frame whose +x points from the target into the free floor, world.
        near, far: range of the base's x in that frame, metres.
        sideways: range of the base's y in that frame, metres.
        target: the point to face (2,), world.
    """

    frame: Place
    near: float
    far: float
    sideways: tuple[float, float]
    target: Array


def counter_qpos(episode: Episode, travel: float) -> Array:
    """(8,) counter joints with `drawer3` pulled out by `travel` metres."""
    qpos = np.zeros(len(counter.DRAWERS) + 1)
    for link, value in episode.ajar.items():
        qpos[link - 2] = value
    qpos[counter.DRAWER3_JOINT] = travel
    return qpos


def spawn_data(
    subtask: str, target: str, episode: Episode, rng: np.random.Generator
) -> dict[str, torch.Tensor]:
    """The spawns of one plan in the official layout.

    Args:
        subtask: "pick", "place", "open" or "close".
        target: object id, or articulation name.
        episode: the initial state.
        rng: source of every draw.

    Returns:
        Float32 tensors of K = `SPAWNS_PER_PLAN` rows: robot_pos (K, 3), robot_qpos (K, 15) and, as
        the subtask needs, articulation_qpos (K, dof), obj_raw_pose (K, 7) or
        obj_raw_pose_wrt_tcp (K, 7).
    """
    rows = [_spawn(subtask, target, episode, rng) for _ in range(SPAWNS_PER_PLAN)]
    return {key: _tensor([row[key] for row in rows]) for key in rows[0]}


def _tensor(rows: list[Array]) -> torch.Tensor:
    return torch.from_numpy((np.round(np.stack(rows), 6) + 0.0).astype(np.float32))


def _spawn(
    subtask: str, target: str, episode: Episode, rng: np.random.Generator
) -> dict[str, Array]:
    if subtask == "place":
        return _place_spawn(target, episode, rng)
    if target in (ycb.APPLE, "fridge"):
        return _fridge_spawn(subtask, episode, rng)
    return _counter_spawn(subtask, episode, rng)


def _fridge_spawn(subtask: str, episode: Episode, rng: np.random.Generator) -> dict[str, Array]:
    home = episode.home
    angle = (
        0.0 if subtask == "open" else fridge.TOP_DOOR_RANGE * rng.uniform(_MIN_OPEN["fridge"], 1.0)
    )
    angle = float(angle)
    handle = Place(*fridge.HINGE[:2], angle).world(np.array([fridge.HANDLE[:2]]))
    point = home.fridge.world(handle)[0]
    zone = Zone(home.fridge, 1.25, 1.75, (-0.55, 0.25), point)
    if subtask == "pick":
        point = np.array([episode.apple.x, episode.apple.y])
        zone = Zone(home.fridge, 1.10, 1.60, (-0.35, 0.25), point)
    if subtask == "close":
        zone = Zone(home.fridge, 1.25, 1.80, (-0.55, 0.35), point)
    blocks = [*home.blocks, door_block(home, angle)]
    spawn = _robot(zone, blocks, rng)
    if subtask == "open":
        return spawn
    spawn["articulation_qpos"] = np.array([angle, 0.0])
    if subtask == "pick":
        spawn["obj_raw_pose"] = raw_pose(episode.apple)
    return spawn


def _counter_spawn(subtask: str, episode: Episode, rng: np.random.Generator) -> dict[str, Array]:
    home = episode.home
    travel = 0.0
    if subtask != "open":
        travel = float(counter.DRAWER_RANGE * rng.uniform(_MIN_OPEN["kitchen_counter"], 1.0))
    middle = counter.DRAWER3_ORIGIN[1]
    handle_x = counter.DRAWER3_ORIGIN[0] + counter.HANDLE[0] + travel
    point = home.counter.world(np.array([[handle_x, middle]]))[0]
    zone = Zone(
        home.counter, handle_x + 0.75, handle_x + 1.30, (middle - 0.45, middle + 0.45), point
    )
    if subtask == "pick":
        bowl = episode.bowl_in_world(travel)
        point = np.array([bowl.x, bowl.y])
        bowl_x = counter.DRAWER3_ORIGIN[0] + travel + episode.bowl.x
        zone = Zone(
            home.counter, bowl_x + 0.80, bowl_x + 1.35, (middle - 0.40, middle + 0.40), point
        )
    spawn = _robot(zone, [*home.blocks, drawer_block(home, travel)], rng)
    if subtask == "open":
        return spawn
    spawn["articulation_qpos"] = counter_qpos(episode, travel)
    if subtask == "pick":
        spawn["obj_raw_pose"] = raw_pose(episode.bowl_in_world(travel))
    return spawn


def _place_spawn(target: str, episode: Episode, rng: np.random.Generator) -> dict[str, Array]:
    goal = episode.goals[target]
    x, y = episode.home.table.local(goal[None, :2])[0]
    outward = episode.home.table.world(np.array([[x, y]]))[0]
    frame = Place(float(outward[0]), float(outward[1]), episode.home.table.yaw + np.pi / 2)
    zone = Zone(frame, 0.80, 1.30, (-0.40, 0.40), goal[:2])
    spawn = _robot(zone, [*episode.home.blocks, *episode.clutter_blocks()], rng)
    held, fingers = grasp(target, rng)
    spawn["robot_qpos"][13:] = fingers
    spawn["obj_raw_pose_wrt_tcp"] = held
    return spawn


def _robot(
    zone: Zone, blocks: Iterable[Block], rng: np.random.Generator, tries: int = 40
) -> dict[str, Array]:
    """A collision-free start in a zone, the arm near rest, the base roughly facing the target."""
    middle = zone.frame.world(np.array([[(zone.near + zone.far) / 2, 0.0]]))
    obstacles = [block for block in blocks if _gap(middle, block)[0] < _NEARBY]
    for _ in range(tries):
        local = rng.uniform([zone.near, zone.sideways[0]], [zone.far, zone.sideways[1]], (16, 2))
        base = zone.frame.world(local)
        toward = np.arctan2(*(zone.target - base).T[::-1])
        yaw = toward + np.clip(rng.normal(0, 0.15, 16), -0.35, 0.35)
        free = np.flatnonzero(is_free(base, yaw, obstacles))
        if len(free):
            chosen = int(free[0])
            position = np.array([*base[chosen], BASE_HEIGHT])
            return {"robot_pos": position, "robot_qpos": _arm_near_rest(float(yaw[chosen]), rng)}
    raise RuntimeError(
        f"no free start near {zone.target.round(2).tolist()}: the apartment is too crowded"
    )


def _arm_near_rest(yaw: float, rng: np.random.Generator) -> Array:
    qpos = np.array(REST, dtype=np.float64)
    qpos[2] = np.mod(yaw, 2 * np.pi)
    noise = np.clip(rng.normal(0, 0.1, 7), -0.2, 0.2)
    qpos[5] += noise[0]
    qpos[7:13] += noise[1:]
    return qpos


def is_free(
    base: Array, yaw: Array, blocks: Iterable[Block]
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which robot poses touch no block.

    Args:
        base: (N, 2) base positions, world, metres.
        yaw: (N,) headings, rad.
        blocks: what to keep away from.

    Returns:
        (N,) booleans.
    """
    heading = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    torso_at, torso_radius, torso_low, torso_high = _TORSO
    arm_at, arm_half, arm_low, arm_high = _ARM
    torso, arm = base + heading * torso_at[0], base + heading * arm_at[0]
    obstacles = list(blocks)
    free = base_is_free(base, obstacles)
    for block in obstacles:
        if block.low < torso_high and block.high > torso_low:
            free &= _gap(torso, block) > torso_radius
        if block.low < arm_high and block.high > arm_low:
            free &= ~_overlap(arm, heading, arm_half, block)
    return free


def base_is_free(
    base: Array, blocks: Iterable[Block]
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which base positions (N, 2) touch no block that stands on the floor; (N,) booleans."""
    free = np.ones(len(base), dtype=bool)
    for block in blocks:
        if block.low < 0.40:
            free &= _gap(base, block) > BASE_RADIUS
    return free


def _gap(points: Array, block: Block) -> Array:
    """(N,) distances of points from a block's outline, seen from above."""
    beyond = np.maximum(np.abs(block.place.local(points)) - np.array(block.half[:2]), 0)
    return np.asarray(np.hypot(beyond[:, 0], beyond[:, 1]))


def _overlap(
    center: Array, heading: Array, half: tuple[float, float], block: Block
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Whether oriented rectangles overlap a block's outline (separating axes, seen from above)."""
    c, s = np.cos(block.place.yaw), np.sin(block.place.yaw)
    side = np.stack([-heading[:, 1], heading[:, 0]], axis=1)
    between = center - [block.place.x, block.place.y]
    fixed = np.array([[c, s], [-s, c]])
    overlap = np.ones(len(center), dtype=bool)
    for axis in (*np.broadcast_to(fixed[:, None], (2, len(center), 2)), heading, side):
        own = half[0] * np.abs((axis * heading).sum(1)) + half[1] * np.abs((axis * side).sum(1))
        other = block.half[0] * np.abs(axis @ fixed[0]) + block.half[1] * np.abs(axis @ fixed[1])
        overlap &= np.abs((axis * between).sum(1)) <= own + other
    return overlap


def raw_pose(place: Place) -> Array:
    """(7,) position and wxyz quaternion of an upright object."""
    return np.array(
        [place.x, place.y, place.z, np.cos(place.yaw / 2), 0.0, 0.0, np.sin(place.yaw / 2)]
    )


def grasp(target: str, rng: np.random.Generator) -> tuple[Array, float]:
    """An object as the fingers hold it from above.

    Args:
        target: "013_apple" (held around its middle) or "024_bowl" (held by its rim).
        rng: source of the draws.

    Returns:
        (7,) pose of the object in the frame of `gripper_link` (x along the fingers, y the way they
        open; wxyz quaternion), and the position of each finger joint in metres.
    """
    if target == ycb.APPLE:
        turn = _hanging(float(rng.uniform(-np.pi, np.pi)), float(rng.normal(0, 0.05)))
        points = np.concatenate([vertices for vertices, _ in ycb.thing(ycb.APPLE).pieces]) @ turn.T
        low, high = points[:, 1].min(), points[:, 1].max()
        offset = np.array(
            [rng.uniform(0.003, 0.012), -(low + high) / 2, rng.uniform(-0.003, 0.003)]
        )
        return np.concatenate([offset, _quaternion(turn)]), float(high - low) / 2
    step = 2 * np.pi / ycb.BOWL_SEGMENTS
    rim_angle = (int(rng.integers(ycb.BOWL_SEGMENTS)) + 0.5) * step
    inside_out = np.pi if rng.uniform() < 0.5 else 0.0
    turn = _hanging(rim_angle + inside_out, float(rng.normal(0, 0.02)))
    turn = turn @ rotation_z(rim_angle) @ rotation_y(-ycb.BOWL_SLOPE) @ rotation_z(-rim_angle)
    reach = ycb.BOWL_RADIUS - ycb.BOWL_WALL / 2
    rim = np.array([reach * np.cos(rim_angle), reach * np.sin(rim_angle), ycb.BOWL_HEIGHT / 2])
    offset = np.array([rng.uniform(0.003, 0.009), 0.0, rng.uniform(-0.003, 0.003)]) - turn @ rim
    return np.concatenate([offset, _quaternion(turn)]), 0.0035


def _hanging(spin: float, tilt: float) -> Array:
    """Rotation of an object whose up points back along the fingers, spun and tilted (rad)."""
    c, s = np.cos(spin), np.sin(spin)
    upright = np.column_stack([[0.0, c, s], np.cross([-1.0, 0, 0], [0.0, c, s]), [-1.0, 0.0, 0.0]])
    ct, st = np.cos(tilt), np.sin(tilt)
    lean = np.array([[ct, 0, st], [0, 1, 0], [-st, 0, ct]])
    return np.asarray(lean @ upright)


def _quaternion(turn: Array) -> Array:
    """Wxyz quaternion of a rotation matrix, w >= 0."""
    w = np.sqrt(max(0.0, 1 + turn[0, 0] + turn[1, 1] + turn[2, 2])) / 2
    x = np.sqrt(max(0.0, 1 + turn[0, 0] - turn[1, 1] - turn[2, 2])) / 2
    y = np.sqrt(max(0.0, 1 - turn[0, 0] + turn[1, 1] - turn[2, 2])) / 2
    z = np.sqrt(max(0.0, 1 - turn[0, 0] - turn[1, 1] + turn[2, 2])) / 2
    x = np.copysign(x, turn[2, 1] - turn[1, 2])
    y = np.copysign(y, turn[0, 2] - turn[2, 0])
    z = np.copysign(z, turn[1, 0] - turn[0, 1])
    return np.array([w, x, y, z])
