"""Task plans and spawn tables in the official layout."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from vla_bench.suites.ms_hab.mini import counter, fridge, ycb
from vla_bench.suites.ms_hab.mini.episodes import Episode, episodes, goal_corners
from vla_bench.suites.ms_hab.mini.files import write_json
from vla_bench.suites.ms_hab.mini.paint import rng_of
from vla_bench.suites.ms_hab.mini.spawns import spawn_data

FRIDGE, COUNTER = "fridge", "kitchen_counter"
TARGETS = {
    "pick": (ycb.APPLE, ycb.BOWL),
    "place": (ycb.APPLE, ycb.BOWL),
    "open": (FRIDGE, COUNTER),
    "close": (FRIDGE, COUNTER),
}
_ALPHABET = np.array(list("23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"))
_HOLDER = {ycb.APPLE: FRIDGE, ycb.BOWL: COUNTER}


def _articulation(name: str) -> dict[str, Any]:
    link, joint = {
        FRIDGE: (fridge.TOP_DOOR_LINK, fridge.TOP_DOOR_JOINT),
        COUNTER: (counter.DRAWER3_LINK, counter.DRAWER3_JOINT),
    }[name]
    return {
        "articulation_type": name,
        "articulation_id": f"{name}-0",
        "articulation_handle_link_idx": link,
        "articulation_handle_active_joint_idx": joint,
    }


def _handle(name: str) -> list[float]:
    return [float(v) for v in (fridge.HANDLE if name == FRIDGE else counter.HANDLE)]


def _pick(target: str, episode: Episode) -> dict[str, Any]:
    return {"obj_id": f"{target}-0", "articulation_config": _articulation(_HOLDER[target])}


def _place(target: str, episode: Episode) -> dict[str, Any]:
    goal = episode.goals[target]
    corners = goal_corners(episode.home, goal)
    return {
        "obj_id": f"{target}-0",
        "goal_pos": goal,
        "goal_rectangle_corners": corners,
        "articulation_config": None,
    }


def _open(target: str, episode: Episode) -> dict[str, Any]:
    inside = ycb.APPLE if target == FRIDGE else ycb.BOWL
    return {
        "obj_id": f"{inside}-0",
        **_articulation(target),
        "articulation_relative_handle_pos": _handle(target),
    }


def _close(target: str, episode: Episode) -> dict[str, Any]:
    removed = f"{ycb.BOWL}-0" if target == COUNTER else None
    fields = {**_articulation(target), "articulation_relative_handle_pos": _handle(target)}
    return {**fields, "remove_obj_id": removed}


_FIELDS: dict[str, Callable[[str, Episode], dict[str, Any]]] = {
    "pick": _pick,
    "place": _place,
    "open": _open,
    "close": _close,
}


def _plan(subtask: str, target: str, episode: Episode) -> dict[str, Any]:
    rng = rng_of("uid", subtask, target, episode.name)
    uid = f"{subtask}_" + "".join(rng.choice(_ALPHABET, 6).tolist())
    fields = {
        "type": subtask,
        "uid": uid,
        "composite_subtask_uids": [uid],
        **_FIELDS[subtask](target, episode),
    }
    return {
        "build_config_name": f"{episode.home.scene}.scene_instance.json",
        "init_config_name": episode.name,
        "subtasks": [fields],
    }


def write_plans(rearrange: pathlib.Path, split: str) -> None:
    """Write the episodes, plans and spawns of one split.

    Args:
        rearrange: the dataset's `rearrange` folder.
        split: "train" or "val".
    """
    starts = episodes(split)
    for episode in starts:
        write_json(rearrange / episode.name, episode.document())
    for subtask, targets in TARGETS.items():
        folder = rearrange / "task_plans" / "set_table" / subtask / split
        plans = {
            target: [_plan(subtask, target, episode) for episode in starts] for target in targets
        }
        for name, chosen in (
            *plans.items(),
            ("all", [plan for some in plans.values() for plan in some]),
        ):
            write_json(
                folder / f"{name}.json",
                {"dataset": f"ReplicaCADSetTable{split.title()}", "plans": chosen},
            )
        _write_spawns(
            rearrange / "spawn_data" / "set_table" / subtask / split, subtask, plans, starts
        )


def _write_spawns(
    folder: pathlib.Path,
    subtask: str,
    plans: dict[str, list[dict[str, Any]]],
    starts: list[Episode],
) -> None:
    table: dict[str, dict[str, torch.Tensor]] = {}
    for target, chosen in plans.items():
        for plan, episode in zip(chosen, starts, strict=True):
            uid = plan["subtasks"][0]["uid"]
            if uid in table:
                raise RuntimeError(f"two plans share the uid {uid}")
            table[uid] = spawn_data(subtask, target, episode, rng_of("spawn", uid))
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(table, folder / "spawn_data.pt")
