"""LIBERO's demonstration files: robomimic's layout, `data/demo_0` and on, one file per task.

Two facts of the official files are mended while reading (`scripts/create_dataset.py` of LIBERO):
images lie upside down and are turned by 180 degrees, as every published evaluation does; and row t holds
the observation AFTER action t (LIBERO issue 54), so that the label of row t is action t + 1. Files
regenerated with OpenVLA's script have no `problem_info`, and the observation before the action.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bench.errors import UserError
from vla_bench.learning import hdf5
from vla_bench.learning.hdf5 import h5py
from vla_bench.learning.layouts.base import Images, Layout, Part, Parts

CAMERAS = {"agentview": "agentview_rgb", "wrist": "eye_in_hand_rgb"}
STATE = {
    "tcp_position": "ee_pos",
    "tcp_rotation": "ee_ori",
    "gripper_qpos": "gripper_states",
    "qpos": "joint_states",
}
"""Entry name -> dataset: m; rotation vector in rad; m, one value a finger; rad."""
SUITES = {
    "libero_spatial": "libero-spatial",
    "libero_object": "libero-object",
    "libero_goal": "libero-goal",
    "libero_10": "libero-long",
    "libero_90": "libero-90",
}
"""Folder of the files -> suite."""


class LiberoLayout(Layout):
    """Groups `data/demo_<n>` with `actions` and `obs`."""

    def matches(self, file: h5py.File) -> bool:
        """Whether there are demonstrations as robomimic lays them out."""
        return bool(self.episodes(file))

    def episodes(self, file: h5py.File) -> list[str]:
        """The demonstrations by number."""
        data = file.get("data")
        if not isinstance(data, h5py.Group):
            return []
        names = [name for name in data if re.fullmatch(r"demo_\d+", name)]
        ordered = sorted(names, key=lambda name: int(name.removeprefix("demo_")))
        return [f"data/{name}" for name in ordered]

    def task(self, file: h5py.File) -> str:
        """The file's name, which is the task's in LIBERO, with hyphens."""
        return _stem(file).lower().replace("_", "-")

    def parts(self, file: h5py.File, episode: str) -> Parts:
        """Where the parts of one demonstration are."""
        observed = file[episode].get("obs", ())
        official = "problem_info" in file["data"].attrs
        return Parts(
            task=self.task(file),
            instruction=_instruction(file),
            suite=next((SUITES[p] for p in Path(file.filename).parts if p in SUITES), ""),
            state={entry: Part(f"obs/{name}") for entry, name in STATE.items()},
            images={camera: f"obs/{name}" for camera, name in CAMERAS.items() if name in observed},
            lead=1 if official else 0,
        )

    def decode(self, stored: NDArray[Any]) -> Images:
        """Turned by 180 degrees."""
        return np.ascontiguousarray(stored[:, ::-1, ::-1])


def _stem(file: h5py.File) -> str:
    return Path(file.filename).stem.removesuffix("_demo")


def _instruction(file: h5py.File) -> str:
    """From `problem_info`; else from the file's name, less the scene at its start."""
    stored = hdf5.attribute(file["data"].attrs, "problem_info")
    if not stored:
        return re.sub(r"^[A-Z_]+SCENE\d+_", "", _stem(file)).replace("_", " ")
    try:
        found = json.loads(stored)["language_instruction"]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{file.filename}: data: problem_info holds no language_instruction; copy the file again"
        ) from None
    return str("".join(found)).strip('"')
