"""Kinematics of the Fetch arm in plain numpy, read from the URDF that ManiSkill ships.

A *posture* is the 8-vector (torso_lift, shoulder_pan, shoulder_lift, upperarm_roll, elbow_flex,
forearm_roll, wrist_flex, wrist_roll) in metres and radians. Everything is in the frame of
base_link.
"""

import importlib.util
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vla_bench.policies.expert.rotations import Array, cross

TCP_LINK = "gripper_link"
BASE_LINK = "base_link"

REST_POSTURE: Array = np.array([0.386, -0.370, -1.032, 0.695, 0.955, -0.1, 2.077, 0.0])
"""Posture of ManiSkill's rest keyframe, to which every MS-HAB success test compares (spec
s.1)."""

WINDING_LIMIT = 2.8
"""Continuous joints stay within this of rest (rad): success compares raw angles, so a turn more
is a failure."""


@dataclass(frozen=True)
class Joint:
    """One moving joint of the chain, with the fixed transform from the previous moving link."""

    name: str
    child: str
    prismatic: bool
    axis: Array
    offset: Array
    """4x4 transform from the previous moving link's frame to this joint's frame at zero."""
    lower: float
    upper: float


@dataclass(frozen=True)
class Chain:
    """Frames of the moving links and of the tcp at one posture, in base_link."""

    transforms: Array
    """(9, 4, 4): one frame per moving link in chain order, then the tcp's."""
    axes: Array
    """(8, 3): unit joint axes."""

    @property
    def tcp_position(self) -> Array:
        """(3,) position of the tcp (m)."""
        position: Array = self.transforms[-1, :3, 3]
        return position

    @property
    def tcp_rotation(self) -> Array:
        """(3, 3) rotation of the tcp; its x axis points out of the gripper, y is the closing
        direction.
        """
        rotation: Array = self.transforms[-1, :3, :3]
        return rotation

    @property
    def points(self) -> Array:
        """(9, 3) origins of the moving links and the tcp: the arm's skeleton, for clearance
        tests (m).
        """
        origins: Array = self.transforms[:, :3, 3]
        return origins


class Kinematics:
    """Forward kinematics and Jacobians of the chain base_link -> gripper_link."""

    def __init__(self, urdf: Path | None = None) -> None:
        """Reads the chain.

        Args:
            urdf: robot description; the one in the installed mani_skill package when None.
        """
        self.joints, tail = _read_chain(urdf or fetch_urdf())
        self._tail = tail
        self._prismatic = np.array([joint.prismatic for joint in self.joints])
        self._offsets = np.array([joint.offset for joint in self.joints])
        self._axes = np.array([joint.axis for joint in self.joints])
        self._skews = np.array([_skew(joint.axis) for joint in self.joints])
        self._squares = self._skews @ self._skews
        self.lower: Array = np.array([joint.lower for joint in self.joints])
        self.upper: Array = np.array([joint.upper for joint in self.joints])

    @property
    def link_names(self) -> list[str]:
        """Names of the frames in `Chain.transforms`."""
        return [joint.child for joint in self.joints] + [TCP_LINK]

    def forward(self, posture: Array) -> Chain:
        """Returns the frames of all moving links and the tcp.

        Args:
            posture: (8,) torso (m) and arm joints (rad).
        """
        angles = np.where(self._prismatic, 0.0, posture)
        moves = np.zeros((len(self.joints), 4, 4))
        moves[:, 3, 3] = 1.0
        moves[:, :3, :3] = (
            np.eye(3)
            + np.sin(angles)[:, None, None] * self._skews
            + (1.0 - np.cos(angles))[:, None, None] * self._squares
        )
        moves[:, :3, 3] = np.where(self._prismatic, posture, 0.0)[:, None] * self._axes
        steps = self._offsets @ moves
        frames = np.empty((len(self.joints) + 1, 4, 4))
        frame = np.eye(4)
        for k, step in enumerate(steps):
            frame = frame @ step
            frames[k] = frame
        frames[-1] = frame @ self._tail
        # A joint's axis is invariant under its own motion, so the moved frame gives it.
        axes = (frames[:-1, :3, :3] @ self._axes[:, :, None])[:, :, 0]
        return Chain(transforms=frames, axes=axes)

    def jacobian(self, chain: Chain, frame: int = -1) -> Array:
        """Returns the (6, 8) geometric Jacobian of a frame's origin, in base_link: linear rows,
        then angular.

        Args:
            chain: frames at the posture in question.
            frame: index into `Chain.transforms`; -1 is the tcp.
        """
        index = frame % len(chain.transforms)
        moving = np.arange(len(self.joints)) <= index
        arms = chain.transforms[index, :3, 3] - chain.transforms[:-1, :3, 3]
        a, r = chain.axes, arms
        swing = np.stack(
            [
                a[:, 1] * r[:, 2] - a[:, 2] * r[:, 1],
                a[:, 2] * r[:, 0] - a[:, 0] * r[:, 2],
                a[:, 0] * r[:, 1] - a[:, 1] * r[:, 0],
            ]
        )
        jacobian = np.zeros((6, len(self.joints)))
        jacobian[:3] = np.where(self._prismatic, a.T, swing) * moving
        jacobian[3:] = np.where(self._prismatic, 0.0, a.T) * moving
        return jacobian


@lru_cache(maxsize=1)
def fetch_kinematics() -> Kinematics:
    """Returns the one shared, immutable kinematics of the Fetch."""
    return Kinematics()


def fetch_urdf() -> Path:
    """Returns the path of the Fetch description inside the installed mani_skill package.

    The package is located, not imported: importing mani_skill loads torch and every environment.
    """
    spec = importlib.util.find_spec("mani_skill")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the Fetch's URDF comes with mani_skill, which is not installed: pip install mani_skill"
        )
    return Path(spec.submodule_search_locations[0]) / "assets" / "robots" / "fetch" / "fetch.urdf"


def _read_chain(urdf: Path) -> tuple[list[Joint], Array]:
    """Returns the moving joints from base_link to the tcp and the fixed transform behind the
    last one.
    """
    by_child = {
        _attribute(joint, "child", "link"): joint
        for joint in ElementTree.parse(urdf).getroot().iter("joint")
    }
    elements: list[ElementTree.Element] = []
    link = TCP_LINK
    while link != BASE_LINK:
        elements.append(by_child[link])
        link = _attribute(by_child[link], "parent", "link")
    joints: list[Joint] = []
    pending = np.eye(4)
    for element in reversed(elements):
        pending = pending @ _origin(element)
        if element.get("type") != "fixed":
            joints.append(_joint(element, pending))
            pending = np.eye(4)
    return joints, pending


def _joint(element: ElementTree.Element, offset: Array) -> Joint:
    """Builds a joint; a continuous one gets limits around rest that keep it from winding."""
    index = _CHAIN_NAMES.index(element.get("name", ""))
    if element.get("type") == "continuous":
        lower, upper = REST_POSTURE[index] - WINDING_LIMIT, REST_POSTURE[index] + WINDING_LIMIT
    else:
        lower, upper = (float(_attribute(element, "limit", key)) for key in ("lower", "upper"))
    return Joint(
        name=_CHAIN_NAMES[index],
        child=_attribute(element, "child", "link"),
        prismatic=element.get("type") == "prismatic",
        axis=_vector(_attribute(element, "axis", "xyz")),
        offset=offset,
        lower=float(lower),
        upper=float(upper),
    )


_CHAIN_NAMES = [
    f"{name}_joint"
    for name in (
        "torso_lift",
        "shoulder_pan",
        "shoulder_lift",
        "upperarm_roll",
        "elbow_flex",
        "forearm_roll",
        "wrist_flex",
        "wrist_roll",
    )
]


def _attribute(element: ElementTree.Element, child: str, key: str) -> str:
    found = element.find(child)
    if found is None:
        raise ValueError(f"joint {element.get('name')!r} of the URDF has no <{child}>")
    return found.attrib[key]


def _vector(text: str) -> Array:
    return np.array([float(part) for part in text.split()])


def _origin(element: ElementTree.Element) -> Array:
    """Returns the 4x4 transform of a joint's <origin>; URDF angles are fixed-axis roll, pitch,
    yaw.
    """
    origin = element.find("origin")
    transform = np.eye(4)
    if origin is None:
        return transform
    (cr, cp, cy), (sr, sp, sy) = (
        [function(angle) for angle in _vector(origin.get("rpy", "0 0 0"))]
        for function in (math.cos, math.sin)
    )
    transform[:3, :3] = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    transform[:3, 3] = _vector(origin.get("xyz", "0 0 0"))
    return transform


def _skew(axis: Array) -> Array:
    return np.column_stack([cross(axis, unit) for unit in np.eye(3)])
