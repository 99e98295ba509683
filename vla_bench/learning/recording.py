"""Writes demonstrations in the project's own layout: one HDF5 file per task, one group per episode."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from filelock import BaseFileLock
from numpy.typing import NDArray

from vla_bench.errors import UserError
from vla_bench.items import WorkItem
from vla_bench.learning import hdf5
from vla_bench.learning.hdf5 import h5py
from vla_bench.learning.layouts.own import FORMAT, VERSION
from vla_bench.locks import acquire
from vla_bench.suites.base import RawObservation
from vla_bench.suites.viewpoint import Viewpoint

FRAMES_PER_CHUNK = 16
Header = Mapping[str, str | int | float]
"""What a file says about all of its episodes: its attributes."""


@dataclass
class Recording:
    """One episode while it is played. Row t holds what was seen before action t."""

    item: WorkItem
    success_step: int | None = None
    """Control steps played when the success conditions first held."""
    actions: list[NDArray[np.float32]] = field(default_factory=list)
    """What the expert meant to do: the labels."""
    executed: list[NDArray[np.float32]] = field(default_factory=list)
    """What the robot was told to do: the labels with noise."""
    observations: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    """`state/<entry>` and `privileged/<entry>`, one array a step, and `images/<camera>`."""
    image_steps: list[int] = field(default_factory=list)
    """Steps that were rendered: those of the images."""

    gripper: list[NDArray[np.float64]] = field(default_factory=list)
    """Its positions (3,), world frame (m); none if the suite does not tell."""
    views: dict[str, list[Viewpoint]] = field(default_factory=dict)
    """By camera one for each of its images; none if the suite does not tell."""
    events: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Steps at which the gripper was told to open or to close."""

    def locate(self, gripper: NDArray[np.float64], views: Mapping[str, Viewpoint]) -> None:
        """Notes where gripper and cameras are at a step; views of the images that it has."""
        self.gripper.append(gripper)
        for camera, view in views.items():
            self.views.setdefault(camera, []).append(view)

    def add(
        self,
        observation: RawObservation,
        action: NDArray[np.float32],
        executed: NDArray[np.float32],
    ) -> None:
        """Notes one step; arrays are copied. Images may be left out."""
        if observation["images"]:
            self.image_steps.append(len(self.actions))
        for group, entries in observation.items():
            dtype = np.uint8 if group == "images" else np.float32
            for name, value in entries.items():
                column = self.observations.setdefault(f"{group}/{name}", [])
                column.append(np.array(value, dtype))
        self.actions.append(np.array(action, np.float32))
        self.executed.append(np.array(executed, np.float32))


class RecordingWriter:
    """Writes a task's file under a temporary name; it gets its own name when it is complete.

    Args:
        path: The file to be.
        header: Attributes of the file.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        self.header = header
        self.count = 0
        """Episodes written."""
        self._file: h5py.File | None = None
        self._partial = path.with_name(f".{path.name}.part")
        self._lock: BaseFileLock | None = None

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = acquire(
            self.path.with_name(f".{self.path.name}.lock"),
            f"{self.path} is being collected by another process; wait for it, or use another --out",
        )
        return self

    def write(self, episode: Recording) -> None:
        """Appends one episode."""
        group = self._opened().create_group(f"episode-{self.count:04d}")
        item = episode.item
        group.attrs["item"] = item.digest
        group.attrs["seed"] = item.seed
        group.attrs["initial_state"] = json.dumps(item.initial_state, sort_keys=True)
        group.attrs["success_step"] = episode.success_step or 0
        group.attrs["instruction"] = item.instruction
        group["actions"] = np.stack(episode.actions)
        group["executed"] = np.stack(episode.executed)
        group["image_steps"] = np.array(episode.image_steps, np.int64)
        for name, column in episode.observations.items():
            _write_column(group, name, np.stack(column))
        if episode.gripper:
            group["gripper"] = np.stack(episode.gripper).astype(np.float32)
            group["events"] = episode.events
        for camera, views in episode.views.items():
            _write_views(group.create_group(f"views/{camera}"), views)
        self.count += 1

    def _opened(self) -> h5py.File:
        """The file, made for the first episode: from then on `__exit__` is sure to see to it."""
        if self._file is None:
            self._file = h5py.File(self._partial, "w")
            self._file.attrs.update({"format": FORMAT, "version": VERSION, **self.header})
        return self._file

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        if kind is None:
            self._partial.replace(self.path)
        else:
            self._partial.unlink(missing_ok=True)
        assert self._lock is not None
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)


def _write_column(group: h5py.Group, name: str, values: NDArray[Any]) -> None:
    """Images in compressed blocks of frames, everything else as it is."""
    if not name.startswith("images/"):
        group[name] = values
        return
    chunks = (min(len(values), FRAMES_PER_CHUNK), *values.shape[1:])
    group.create_dataset(name, data=values, chunks=chunks, compression="gzip", compression_opts=1)


def _write_views(group: h5py.Group, views: Sequence[Viewpoint]) -> None:
    """Matrices in compressed blocks: most stay as they are from one image to the next."""
    group.attrs.update({"width": views[0].width, "height": views[0].height})
    for name in ("intrinsics", "extrinsics"):
        matrices = np.stack([getattr(view, name) for view in views]).astype(np.float32)
        group.create_dataset(name, data=matrices, compression="gzip", shuffle=True)


def check_same(path: Path, header: Header, episodes: int) -> None:
    """Compares a complete file with what would be collected, the packages' versions apart.

    Args:
        path: The file.
        header: What its attributes would be.
        episodes: How many episodes it would hold.

    Raises:
        UserError: It was collected otherwise.
    """
    with hdf5.opened(path) as file:
        found = {name: hdf5.attribute(file.attrs, name) for name in header}
        found["episodes"] = str(sum(name.startswith("episode-") for name in file))
    for name, wanted in {**header, "episodes": episodes}.items():
        if found[name] != str(wanted) and not name.startswith("version_"):
            raise UserError(
                f"{path} was collected with {name} {found[name] or 'none'}, not {wanted or 'none'}; use "
                f"another --out, or delete it to collect it anew"
            )
