"""Named changes of images, state entries and action chunks, as cards of remote policies ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vla_bench.errors import nearest
from vla_bench.suites.libero.pictures import RESIZERS

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

Array = NDArray[Any]
LIBERO_ACTION = 7
"""Entries of the actions that action transforms are for: position, rotation vector, gripper."""
GRIPPER = 6
"""The entry of them that is the gripper's command."""


def _rotate180(image: Array) -> Array:
    return image[::-1, ::-1]


def _chw(image: Array) -> Array:
    return np.moveaxis(image, -1, 0)


def _resize(image: Array, side: int) -> Array:
    """Lanczos, the aspect not kept."""
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))


def _resize_with_pad(image: Array, side: int) -> Array:
    """As openpi's client does it; as is if it has the size."""
    return image if image.shape[:2] == (side, side) else RESIZERS["pad"](image, (side, side))


def _rotations() -> type[Rotation]:
    """Imported late: cards are read by every command."""
    from scipy.spatial.transform import Rotation

    return Rotation


IMAGE: dict[str, Callable[[Array], Array]] = {"rotate180": _rotate180, "chw": _chw}
"""uint8 (H, W, 3) -> the same turned upside down, or uint8 (3, H, W)."""
SIZED: dict[str, Callable[[Array, int], Array]] = {
    "resize": _resize,
    "resize_with_pad": _resize_with_pad,
}
"""uint8 (H, W, 3) and a number of pixels -> uint8 (pixels, pixels, 3)."""
STATE: dict[str, Callable[[Array], Array]] = {
    "shortest_rotation": lambda v: _rotations().from_rotvec(v).as_rotvec(),
    "quaternion_xyzw": lambda v: _rotations().from_rotvec(v).as_quat(canonical=True),
    "quaternion_wxyz": lambda v: (
        _rotations().from_rotvec(v).as_quat(canonical=True, scalar_first=True)
    ),
    "euler_xyz": lambda v: _rotations().from_rotvec(v).as_euler("xyz"),
    "rotation_from_wxyz": lambda q: _rotations().from_quat(q, scalar_first=True).as_rotvec(),
    "first": lambda v: v[:1],
}
"""A state entry -> what is sent. The rotations start from a rotation vector (rad), `rotation_from_wxyz`
from a quaternion; `euler_xyz` turns about the fixed axes x, y, z in this order; `first` keeps one
finger."""


def _gripper(change: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def changed(chunk: Array) -> Array:
        result = chunk.copy()
        result[:, GRIPPER] = change(chunk[:, GRIPPER])
        return result

    return changed


def _euler_to_vector(chunk: Array) -> Array:
    result = chunk.copy()
    result[:, 3:6] = _rotations().from_euler("xyz", chunk[:, 3:6]).as_rotvec()
    return result


ACTION: dict[str, Callable[[Array], Array]] = {
    "invert_gripper": _gripper(lambda g: -g),
    "gripper_from_open_01": _gripper(lambda g: 1 - 2 * g),
    "gripper_from_closed_01": _gripper(lambda g: 2 * g - 1),
    "binary_gripper": _gripper(lambda g: np.where(g < 0, -1.0, 1.0)),
    "rotation_from_euler_xyz": _euler_to_vector,
}
"""Chunk (T, 7) of position, rotation and gripper -> the same in LIBERO's convention: -1 opens, +1 closes.
`gripper_from_open_01`: 1 is open, 0 closed; `gripper_from_closed_01`: the other way round;
`binary_gripper`: whatever is not below 0 closes fully."""


def check_image_transform(text: str) -> None:
    """Refuses a name that is none.

    Raises:
        ValueError: There is no such change of images, or it lacks its size.
    """
    name, _, size = text.partition(" ")
    if name in SIZED:
        if not (size.isdigit() and 0 < int(size) <= 4096):
            raise ValueError(f"{text!r}: expected a size in pixels, e.g. {name} 224")
    elif text not in IMAGE:
        raise ValueError(f"no image transform {text!r}; {nearest(name, [*IMAGE, *SIZED])}")


def check_state_transform(name: str) -> None:
    """Refuses a name that is none.

    Raises:
        ValueError: There is no such change of state entries.
    """
    if name not in STATE:
        raise ValueError(f"no state transform {name!r}; {nearest(name, STATE)}")


def check_action_transform(name: str) -> None:
    """Refuses a name that is none.

    Raises:
        ValueError: There is no such change of action chunks.
    """
    if name not in ACTION:
        raise ValueError(f"no action transform {name!r}; {nearest(name, ACTION)}")


def change_image(image: Array, transforms: Iterable[str]) -> Array:
    """An image, uint8 (H, W, 3), as the server wants it; contiguous."""
    for text in transforms:
        name, _, size = text.partition(" ")
        image = SIZED[name](image, int(size)) if size else IMAGE[name](image)
    return np.ascontiguousarray(image)


def change_state(value: Array, transform: str | None) -> NDArray[np.float32]:
    """A state entry, float32 (n,), as the server wants it; unchanged without a transform."""
    changed = value if transform is None else STATE[transform](value.astype(np.float64))
    return np.asarray(changed, np.float32)


def change_actions(chunk: Array, transforms: Iterable[str]) -> Array:
    """A chunk, (T, D), as the suite wants it."""
    for name in transforms:
        chunk = ACTION[name](chunk)
    return chunk
