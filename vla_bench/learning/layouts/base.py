"""What a demonstration is, and how one is read once a layout has said where its parts are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bench.errors import UserError, nearest
from vla_bench.learning import hdf5
from vla_bench.learning.hdf5 import h5py
from vla_bench.learning.images import resize
from vla_bench.suites.viewpoint import Viewpoint

Images = NDArray[np.uint8]
"""(T, H, W, 3), RGB."""


@dataclass(frozen=True)
class Demonstration:
    """One episode of an expert. Row t of everything belongs to control step t."""

    source: str
    """Unique id: file and episode, e.g. `pick-apple.h5/episode-0003`."""
    task: str
    """Name of the task."""
    instruction: str
    """What the expert was told."""
    actions: NDArray[np.float32]
    """(T, A) what the expert meant to do on seeing row t: the labels."""
    state: Mapping[str, NDArray[np.float32]]
    """Entry name -> (T, n); proprioceptive and privileged entries alike."""
    images: Mapping[str, Images]
    """Camera name -> (K, H, W, 3)."""
    image_steps: NDArray[np.int64]
    """(K,) the rows that the images belong to, rising; all T of them but for `--image-every`."""
    suite: str
    """Name of the suite, "" if the file does not say."""
    gripper: NDArray[np.float32] | None = None
    """(T, 3) the point between the fingertips, world frame (m); None if the file does not say."""
    events: NDArray[np.int64] | None = None
    """Rows at which the gripper is told to open or to close; None if the file does not say."""
    views: Mapping[str, Viewpoint] = field(default_factory=dict)
    """Camera name -> its matrices, (K, 3, 3) and (K, 4, 4), of the images here; none if the file does
    not say."""


@dataclass(frozen=True)
class Choice:
    """What to read of each episode."""

    cameras: Sequence[str] | None = None
    """Cameras, None for all."""
    image_size: int | None = None
    """Pixels on a side, None for as they are stored."""


@dataclass(frozen=True)
class Part:
    """Where one entry of the state is: a dataset of the episode's group, or some of its columns."""

    dataset: str
    columns: tuple[int | None, int | None] = (None, None)
    """First column, and the one after the last; None for the dataset's."""


@dataclass(frozen=True)
class Parts:
    """Where the parts of an episode are in its group."""

    task: str
    instruction: str
    suite: str
    state: Mapping[str, Part]
    """By entry name."""
    images: Mapping[str, str]
    """Datasets by camera name."""
    actions: str = "actions"
    """Dataset of the actions."""
    lead: int = 0
    """The label of row t is row t + lead of the actions."""
    surplus: int = 0
    """Observations at the end that no action follows."""
    image_steps: str | None = None
    """Dataset of the rows that there are images of; None if of all."""
    gripper: str | None = None
    """Dataset of the gripper's positions."""
    events: str | None = None
    """Dataset of the gripper's events."""
    views: Mapping[str, str] = field(default_factory=dict)
    """Groups of the viewpoints by camera name."""


class Layout(ABC):
    """One way of laying episodes out in HDF5 files."""

    @abstractmethod
    def matches(self, file: h5py.File) -> bool:
        """Whether a file is of this layout."""

    @abstractmethod
    def episodes(self, file: h5py.File) -> list[str]:
        """Names of the episodes' groups, in order; "/" if the file is one episode."""

    @abstractmethod
    def task(self, file: h5py.File) -> str:
        """The task of all episodes of a file."""

    @abstractmethod
    def parts(self, file: h5py.File, episode: str) -> Parts:
        """Where the parts of one episode are."""

    def decode(self, stored: NDArray[Any]) -> Images:
        """A camera's rows as upright RGB images, uint8 (T, H, W, 3); ValueError says what is wrong."""
        return stored


def read_episode(
    layout: Layout, file: h5py.File, episode: str, source: str, choice: Choice
) -> Demonstration:
    """Reads one episode.

    Args:
        layout: The file's layout.
        file: The file.
        episode: Name of the episode's group.
        source: The id that the demonstration is to have.
        choice: What to read.

    Raises:
        UserError: A dataset is missing or unreadable, lengths disagree, or a value is not finite.
    """
    group, parts = file[episode], layout.parts(file, episode)
    stored = len(hdf5.dataset(group, parts.actions))
    steps = stored - parts.lead
    if steps < 1:
        raise UserError(f"{hdf5.place(group)}: an episode of {stored} actions; leave it out")
    rows = stored + parts.surplus
    labels = hdf5.read(group, parts.actions, slice(parts.lead, stored))
    state = {
        entry: _table(group, part.dataset, rows)[:steps, slice(*part.columns)]
        for entry, part in parts.state.items()
    }
    image_steps = _image_steps(group, parts, steps)
    images, views = {}, {}
    for camera, name in _cameras(group, parts, choice).items():
        _check_rows(group, name, len(image_steps) if parts.image_steps else rows)
        images[camera] = resize(_images(layout, group, name, len(image_steps)), choice.image_size)
        if camera in parts.views:
            view = _viewpoint(group, parts.views[camera], len(image_steps))
            views[camera] = view.resized(choice.image_size)
    return Demonstration(
        source=source,
        task=parts.task,
        instruction=parts.instruction,
        actions=_finite(group, parts.actions, labels),
        state=state,
        images=images,
        image_steps=image_steps,
        suite=parts.suite,
        gripper=None if parts.gripper is None else _table(group, parts.gripper, rows)[:steps],
        events=None if parts.events is None else hdf5.read(group, parts.events),
        views=views,
    )


def _viewpoint(group: h5py.Group, name: str, rows: int) -> Viewpoint:
    """A camera's viewpoints, one for each image."""
    intrinsics = _table(group, f"{name}/intrinsics", rows).reshape(rows, 3, 3)
    extrinsics = _table(group, f"{name}/extrinsics", rows).reshape(rows, 4, 4)
    size = group[name].attrs
    return Viewpoint(
        intrinsics.astype(np.float64),
        extrinsics.astype(np.float64),
        int(size["width"]),
        int(size["height"]),
    )


def _cameras(group: h5py.Group, parts: Parts, choice: Choice) -> dict[str, str]:
    """The datasets of the cameras asked for."""
    wanted = list(parts.images) if choice.cameras is None else choice.cameras
    for camera in wanted:
        if camera not in parts.images:
            raise UserError(
                f"{hdf5.place(group)}: no images of camera {camera!r}; "
                f"{nearest(camera, parts.images)}"
            )
    return {camera: parts.images[camera] for camera in wanted}


def _check_rows(group: h5py.Group, name: str, expected: int) -> None:
    found = len(hdf5.dataset(group, name))
    if found != expected:
        raise UserError(
            f"{hdf5.place(group)}: {name} has {found} rows, the actions ask for {expected}; "
            f"collect or copy the episode again"
        )


def _table(group: h5py.Group, name: str, rows: int) -> NDArray[np.float32]:
    """All rows of an entry, float32 (rows, n)."""
    _check_rows(group, name, rows)
    return _finite(group, name, hdf5.read(group, name))


def _finite(group: h5py.Group, name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    """Float32 (T, n); one value a row becomes a column."""
    if values.dtype.kind not in "bfiu":
        raise UserError(f"{hdf5.place(group)}: {name} holds {values.dtype}, expected numbers")
    table: NDArray[np.float32] = values.reshape(len(values), -1).astype(np.float32)
    bad = np.argwhere(~np.isfinite(table))
    if len(bad):
        row, column = (int(index) for index in bad[0])
        raise UserError(
            f"{hdf5.place(group)}: {name} holds {table[row, column]} in row {row}, column {column}, "
            f"expected finite numbers; leave the episode out or collect it again"
        )
    return table


def _image_steps(group: h5py.Group, parts: Parts, steps: int) -> NDArray[np.int64]:
    if parts.image_steps is None:
        return np.arange(steps)
    shown: NDArray[np.int64] = hdf5.read(group, parts.image_steps).astype(np.int64)
    if not np.all(np.diff(shown, prepend=-1, append=steps) > 0):
        raise UserError(
            f"{hdf5.place(group)}: {parts.image_steps} are not rising steps below {steps}; "
            f"collect or copy the episode again"
        )
    return shown


def _images(layout: Layout, group: h5py.Group, name: str, rows: int) -> Images:
    """The first rows of a camera's dataset as images."""
    stored = hdf5.read(group, name, slice(rows))
    try:
        images = layout.decode(stored)
    except ValueError as error:
        raise UserError(
            f"{hdf5.place(group)}: {name}: {error}; collect or copy the episode again"
        ) from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(
            f"{hdf5.place(group)}: {name} holds {images.dtype} {images.shape}, expected uint8 "
            f"(steps, height, width, 3)"
        )
    return images
