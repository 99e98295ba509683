"""Articulated furniture as URDF: links made of boxes and cylinders, with meshes to look at."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

import numpy as np

from vla_bench.suites.ms_hab.mini.files import write_glb, write_text
from vla_bench.suites.ms_hab.mini.meshes import Array, Model, Vec3


@dataclass(frozen=True)
class Solid:
    """One convex collision shape in its link's frame.

    Attributes:
        kind: "box" or "cylinder" (upright, along +z).
        size: box: full extents (x, y, z); cylinder: (radius, radius, height). Metres.
        center: its middle, metres.
    """

    kind: str
    size: Vec3
    center: Vec3

    @property
    def bounds(self) -> Array:
        """(2, 3) lower and upper corner in the link's frame, metres."""
        half = (
            np.array(self.size) / 2
            if self.kind == "box"
            else np.array([*self.size[:2], self.size[2] / 2])
        )
        return np.array([np.array(self.center) - half, np.array(self.center) + half])


@dataclass(frozen=True)
class Joint:
    """What moves a link relative to its parent.

    Attributes:
        kind: "fixed", "revolute" or "prismatic".
        origin: the link's frame in the parent's, metres.
        axis: unit vector in the link's frame.
        upper: upper limit, rad or metres; the lower one is 0.
        damping: N m s/rad or N s/m.
        pitch: rotation of the link's frame about the parent's x, rad.
    """

    kind: str
    origin: Vec3
    axis: Vec3 = (0.0, 0.0, 1.0)
    upper: float = 0.0
    damping: float = 0.0
    pitch: float = 0.0


@dataclass(frozen=True)
class Link:
    """One rigid part. `parent` and `joint` are None for the root."""

    name: str
    parent: str | None = None
    joint: Joint | None = None
    mass: float = 0.0
    solids: list[Solid] = field(default_factory=list)
    looks: Model = field(default_factory=list)


def write_urdf(folder: pathlib.Path, name: str, links: Sequence[Link]) -> None:
    """Write `<name>.urdf` and one `meshes/<link>.glb` per visible link into `folder`."""
    robot = ElementTree.Element("robot", name=name)
    for link in links:
        _add_link(robot, link)
        if link.looks:
            write_glb(folder / "meshes" / f"{link.name}.glb", link.looks)
    for link in links:
        if link.joint is not None:
            _add_joint(robot, link, link.joint)
    ElementTree.indent(robot)
    write_text(folder / f"{name}.urdf", ElementTree.tostring(robot, encoding="unicode") + "\n")


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{round(float(v), 6) + 0.0:g}" for v in values)


def _add_origin(parent: ElementTree.Element, xyz: Sequence[float], roll: float = 0.0) -> None:
    ElementTree.SubElement(parent, "origin", xyz=_numbers(xyz), rpy=_numbers([roll, 0, 0]))


def _add_link(robot: ElementTree.Element, link: Link) -> None:
    element = ElementTree.SubElement(robot, "link", name=link.name)
    if link.solids and link.mass > 0:
        _add_inertia(element, link)
    if link.looks:
        visual = ElementTree.SubElement(element, "visual")
        geometry = ElementTree.SubElement(visual, "geometry")
        ElementTree.SubElement(geometry, "mesh", filename=f"meshes/{link.name}.glb")
    for solid in link.solids:
        collision = ElementTree.SubElement(element, "collision")
        _add_origin(collision, solid.center)
        geometry = ElementTree.SubElement(collision, "geometry")
        if solid.kind == "box":
            ElementTree.SubElement(geometry, "box", size=_numbers(solid.size))
        else:
            radius, length = _numbers(solid.size[:1]), _numbers(solid.size[2:])
            ElementTree.SubElement(geometry, "cylinder", radius=radius, length=length)


def _add_inertia(element: ElementTree.Element, link: Link) -> None:
    """The inertia of an even box around the link's solids."""
    bounds = np.array([solid.bounds for solid in link.solids])
    low, high = bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)
    square = (high - low) ** 2
    moments = link.mass / 12 * (square.sum() - square)
    inertial = ElementTree.SubElement(element, "inertial")
    _add_origin(inertial, (low + high) / 2)
    ElementTree.SubElement(inertial, "mass", value=_numbers([link.mass]))
    entries = dict(zip(("ixx", "iyy", "izz"), (_numbers([m]) for m in moments), strict=True))
    ElementTree.SubElement(inertial, "inertia", entries | {"ixy": "0", "ixz": "0", "iyz": "0"})


def _add_joint(robot: ElementTree.Element, link: Link, joint: Joint) -> None:
    element = ElementTree.SubElement(robot, "joint", name=f"{link.name}_joint", type=joint.kind)
    _add_origin(element, joint.origin, joint.pitch)
    ElementTree.SubElement(element, "parent", link=link.parent or "")
    ElementTree.SubElement(element, "child", link=link.name)
    if joint.kind == "fixed":
        return
    ElementTree.SubElement(element, "axis", xyz=_numbers(joint.axis))
    ElementTree.SubElement(
        element, "limit", lower="0", upper=_numbers([joint.upper]), effort="1000", velocity="10"
    )
    ElementTree.SubElement(element, "dynamics", damping=_numbers([joint.damping]), friction="0")
