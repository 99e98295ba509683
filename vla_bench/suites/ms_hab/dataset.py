"""Reads the official MS-HAB files: task plans, episode configurations and spawn data.

The files of the mini world have the same formats and are read by the same code. Files are y-up; every
pose here is in the world frame of the simulator (z-up, metres, quaternions wxyz).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vla_bench.errors import MissingAssetsError
from vla_bench.items import InitialState, derive_seed

Subtask = Literal["pick", "place", "open", "close"]
Split = Literal["train", "val"]
REPLICA_CAD = Path("data/scene_datasets/replica_cad_dataset")
YCB = Path("data/assets/mani_skill2_ycb")
TASK = "set_table"


@dataclass(frozen=True)
class Plan:
    """One entry of a task-plan file: which scene, which episode, what to do."""

    uid: str
    scene: str
    """Scene file name, e.g. `v3_sc3_staging_00.scene_instance.json`."""
    episode: str
    """Episode file, relative to the `rearrange` folder."""
    subtask: Subtask
    object_id: str | None
    """Target object, e.g. `013_apple-0`; None when closing."""
    goal_position: tuple[float, float, float] | None
    """Where to place the object (m, world frame); None for other subtasks."""
    articulation_id: str | None
    """Articulation to open or close, e.g. `fridge-0`; also the one an object is picked from."""
    handle_link: int
    handle_joint: int
    """Link index and active joint index of the handle."""
    handle_position: tuple[float, float, float] | None
    """Handle point in the frame of its link (m)."""
    removed_object_id: str | None
    """Object taken out of the scene before a drawer is closed."""

    @property
    def articulation_type(self) -> str:
        """`fridge` or `kitchen_counter`."""
        return (self.articulation_id or "").rpartition("-")[0]


@dataclass(frozen=True)
class Episode:
    """Where the objects lie and how far the doors are open, before the robot is spawned."""

    objects: Mapping[str, tuple[NDArray[np.float64], ...]]
    """YCB name -> 4x4 poses in file coordinates, one per instance."""
    joints: Mapping[str, Mapping[int, float]]
    """Articulation id -> link number -> joint value (rad or m)."""


@dataclass(frozen=True)
class Spawn:
    """Start of the robot, and of whatever the subtask moves with it. Float32 arrays."""

    robot_position: NDArray[np.float32]
    """(3,) m, pose of the articulation's root; the yaw is in `robot_qpos[2]`."""
    robot_qpos: NDArray[np.float32]
    """(15,) rad and m."""
    articulation_qpos: NDArray[np.float32] | None
    """(dof,) of the plan's articulation."""
    object_pose: NDArray[np.float32] | None
    """(7,) world frame."""
    object_pose_in_tcp: NDArray[np.float32] | None
    """(7,) in the gripper's frame."""


class Dataset:
    """The files of one split under one asset root (what ManiSkill calls MS_ASSET_DIR)."""

    def __init__(self, root: Path, split: Split) -> None:
        self.root = root
        self.split = split
        self.rearrange = root / REPLICA_CAD / "rearrange"
        self._spawn_files: dict[Subtask, dict[str, dict[str, torch.Tensor]]] = {}

    def check(self) -> None:
        """Raises MissingAssetsError naming the first folder that is not there."""
        for folder, download in (
            (self.root / REPLICA_CAD / "configs/scenes", "replica-cad"),
            (self.rearrange / "task_plans" / TASK, "rearrange"),
            (self.rearrange / "spawn_data" / TASK, "rearrange"),
            (self.root / YCB / "models", "ycb"),
        ):
            if not folder.is_dir():
                raise MissingAssetsError(
                    f"ms-hab needs {download}: {folder} is not there; "
                    f"run `vla-bench assets ms-hab`, or use --suite ms-hab-mini"
                )

    def plans(self, subtask: Subtask, target: str) -> list[Plan]:
        """The plans of one task, in file order."""
        path = self.rearrange / "task_plans" / TASK / subtask / self.split / f"{target}.json"
        return [_plan(entry) for entry in _read(path)["plans"]]

    def episode(self, name: str) -> Episode:
        """One episode configuration."""
        data = _read(self.rearrange / name)
        objects: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        for file_name, transform in data["rigid_objs"]:
            objects[file_name.split(".")[0]].append(np.asarray(transform, dtype=np.float64))
        joints = {
            _articulation_id(name): {int(link): float(q) for link, q in values.items()}
            for name, values in data["ao_states"].items()
        }
        return Episode({name: tuple(poses) for name, poses in objects.items()}, joints)

    def spawn(self, subtask: Subtask, uid: str, index: int) -> Spawn:
        """One spawn of one plan."""
        data = self._spawns(subtask)[uid]

        def row(key: str) -> NDArray[np.float32] | None:
            return data[key][index].numpy().astype(np.float32) if key in data else None

        position, qpos = row("robot_pos"), row("robot_qpos")
        assert position is not None
        assert qpos is not None
        return Spawn(
            position,
            qpos,
            row("articulation_qpos"),
            row("obj_raw_pose"),
            row("obj_raw_pose_wrt_tcp"),
        )

    def initial_states(self, subtask: Subtask, target: str, count: int) -> list[InitialState]:
        """An ordered sample of `count` distinct (plan, spawn) pairs, the same on every machine.

        Pairs are ordered by a hash of their names within each scene, and the scenes take turns, so that
        every prefix of the list covers the scenes as evenly as it can.

        Raises:
            MissingAssetsError: The files hold fewer pairs.
        """
        by_scene: dict[str, list[InitialState]] = defaultdict(list)
        spawns = self._spawns(subtask)
        for plan in self.plans(subtask, target):
            for index in range(len(spawns[plan.uid]["robot_pos"])):
                by_scene[plan.scene].append(
                    {"split": self.split, "scene": plan.scene, "plan": plan.uid, "spawn": index}
                )
        for scene, states in by_scene.items():
            states.sort(key=lambda s: derive_seed(scene, s["plan"], s["spawn"]))
        chosen = list(_take_turns([by_scene[scene] for scene in sorted(by_scene)]))
        if len(chosen) < count:
            raise MissingAssetsError(
                f"{subtask} {target}: the protocol needs {count} initial states, "
                f"{self.rearrange} holds {len(chosen)}; run `vla-bench assets ms-hab`"
            )
        return chosen[:count]

    def _spawns(self, subtask: Subtask) -> dict[str, dict[str, torch.Tensor]]:
        if subtask not in self._spawn_files:
            path = self.rearrange / "spawn_data" / TASK / subtask / self.split / "spawn_data.pt"
            self._spawn_files[subtask] = torch.load(path, map_location="cpu", weights_only=True)
        return self._spawn_files[subtask]


def _take_turns(queues: list[list[InitialState]]) -> Iterator[InitialState]:
    for turn in range(max(map(len, queues), default=0)):
        for queue in queues:
            if turn < len(queue):
                yield queue[turn]


@cache
def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingAssetsError(f"{path} is not there; run `vla-bench assets ms-hab`")
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def _articulation_id(file_name: str) -> str:
    """`fridge_:0000` in an episode file is the articulation `fridge-0`."""
    name, _, number = file_name.rpartition(":")
    return f"{name[:-1]}-{int(number)}"


def _plan(entry: dict[str, Any]) -> Plan:
    (subtask,) = entry["subtasks"]
    articulation = subtask.get("articulation_config") or subtask
    return Plan(
        uid=subtask["uid"],
        scene=entry["build_config_name"],
        episode=entry["init_config_name"],
        subtask=subtask["type"],
        object_id=subtask.get("obj_id"),
        goal_position=_triple(subtask.get("goal_pos")),
        articulation_id=articulation.get("articulation_id"),
        handle_link=articulation.get("articulation_handle_link_idx", -1),
        handle_joint=articulation.get("articulation_handle_active_joint_idx", -1),
        handle_position=_triple(subtask.get("articulation_relative_handle_pos")),
        removed_object_id=subtask.get("remove_obj_id"),
    )


def _triple(value: str | Sequence[float] | None) -> tuple[float, float, float] | None:
    if value is None:
        return None
    x, y, z = (float(v) for v in (value.split(",") if isinstance(value, str) else value))
    return x, y, z
