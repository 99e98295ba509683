"""The kitchen counter: a hollow carcass, seven drawers and a cupboard door.

Body frame: z up, x out of the front, origin on the floor below the middle of the carcass.
Links in file order: root, body, drawer1_top, drawer1_bottom, drawer2_top, drawer2_middle,
drawer2_bottom, drawer3, drawer4, door1; active joint 5 moves drawer3, which holds the bowl.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_bench.suites.ms_hab.mini.meshes import (
    Material,
    Model,
    Vec3,
    box,
    cylinder,
    moved,
    soft_box,
)
from vla_bench.suites.ms_hab.mini.urdf import Joint, Link, Solid

WIDTH, DEPTH, HEIGHT = 2.20, 0.62, 0.88
FRONT = DEPTH / 2
"""x of the carcass's front plane, metres; drawer panels lie in front of it."""
TOP_THICKNESS = 0.04
DRAWER3_LINK, DRAWER3_JOINT = 7, 5
"""Index of `drawer3` among the links and of its joint among the active joints."""
DRAWER_RANGE = 0.42
"""Travel of every drawer, metres; 0 is closed."""
HANDLE: Vec3 = (0.26, 0.0, 0.0)
"""Middle of a drawer's handle bar in the drawer's frame, metres."""
HANDLE_THICKNESS = 0.02
DRAWER3_HANDLE_LENGTH = 0.26
DRAWER3_ORIGIN: Vec3 = (0.13, 0.10, 0.76)
"""Frame of the closed `drawer3` in the body's frame, metres."""
DRAWER3_FLOOR = -0.045
"""Top of drawer3's bottom board in the drawer's frame, metres."""
DRAWER3_WIDTH = 0.56
PANEL_THICKNESS = 0.02
DRAWER_DAMPING = 30.0

_PANEL_X = FRONT + PANEL_THICKNESS / 2 - DRAWER3_ORIGIN[0]
_BOX_BACK = -0.24


@dataclass(frozen=True)
class Drawer:
    """Where a drawer sits and how big its front is, metres (body frame)."""

    name: str
    y: float
    width: float
    low: float
    high: float

    @property
    def origin(self) -> Vec3:
        """The closed drawer's frame: level with its handle."""
        return (
            DRAWER3_ORIGIN[0],
            self.y,
            0.76 if self.name == "drawer3" else (self.low + self.high) / 2,
        )


DRAWERS = [
    Drawer("drawer1_top", -0.865, 0.43, 0.52, 0.835),
    Drawer("drawer1_bottom", -0.865, 0.43, 0.11, 0.51),
    Drawer("drawer2_top", -0.42, 0.43, 0.68, 0.835),
    Drawer("drawer2_middle", -0.42, 0.43, 0.40, 0.67),
    Drawer("drawer2_bottom", -0.42, 0.43, 0.11, 0.39),
    Drawer("drawer3", 0.10, 0.57, 0.68, 0.835),
    Drawer("drawer4", 0.73, 0.67, 0.68, 0.835),
]

_BLIND: tuple[Vec3, Vec3] = ((0.02, 0.57, 0.56), (FRONT + 0.01, 0.10, 0.39))
"""(size, centre) of the blind front below drawer3."""

_CABINET = Material("cabinet", (0.16, 0.27, 0.30), roughness=0.6)
_DRAWER_INSIDE = Material("birch", (0.78, 0.62, 0.42), roughness=0.8)
_TOP = Material("worktop", (0.80, 0.78, 0.74), roughness=0.3)
_BRASS = Material("brass", (0.75, 0.56, 0.25), roughness=0.35, metallic=0.15)
_DARK = Material("plinth", (0.06, 0.07, 0.08), roughness=0.9)
_STEEL = Material("sink", (0.62, 0.64, 0.66), roughness=0.3, metallic=0.15)


def counter_links() -> list[Link]:
    """The counter's links in file order; the root frame is y-up, all others z-up."""
    root = Link("root")
    body = Link(
        "body",
        "root",
        Joint("fixed", (0, 0, 0), pitch=-np.pi / 2),
        80.0,
        _body_solids(),
        _body_looks(),
    )
    return [root, body, *(_drawer_link(drawer) for drawer in DRAWERS), _cupboard_door()]


def _carcass() -> list[tuple[Vec3, Vec3]]:
    """(size, centre) of the boards of the carcass."""
    inner_height = HEIGHT - TOP_THICKNESS - 0.10
    z = 0.10 + inner_height / 2
    boards: list[tuple[Vec3, Vec3]] = [((0.02, WIDTH, inner_height), (-FRONT + 0.01, 0, z))]
    for y in (-WIDTH / 2 + 0.01, -0.643, -0.195, 0.392, WIDTH / 2 - 0.01):
        boards.append(((DEPTH - 0.02, 0.02, inner_height), (0.01, y, z)))
    boards.append(((DEPTH, WIDTH, 0.02), (0, 0, 0.11)))
    boards.append(((DEPTH - 0.02, 1.30, 0.015), (0.01, 0.45, 0.665)))
    return boards


def _body_solids() -> list[Solid]:
    solids = [Solid("box", size, center) for size, center in _carcass()]
    solids.append(
        Solid(
            "box",
            (DEPTH + 0.03, WIDTH + 0.02, TOP_THICKNESS),
            (0.015, 0, HEIGHT - TOP_THICKNESS / 2),
        )
    )
    solids.append(Solid("box", (DEPTH - 0.08, WIDTH, 0.10), (-0.04, 0, 0.05)))
    return [*solids, Solid("box", *_BLIND)]


def _body_looks() -> Model:
    looks: Model = [box(size, center, _CABINET) for size, center in _carcass()]
    top = soft_box(
        (DEPTH + 0.03, WIDTH + 0.02, TOP_THICKNESS),
        (0.015, 0, HEIGHT - TOP_THICKNESS / 2),
        0.006,
        _TOP,
    )
    plinth = box((DEPTH - 0.08, WIDTH, 0.10), (-0.04, 0, 0.05), _DARK)
    blind = soft_box(*_BLIND, 0.005, _CABINET)
    return [*looks, top, plinth, blind, *_sink()]


def _sink() -> Model:
    """A sink drawn on the worktop and its tap (nothing to collide with but the tap's place)."""
    rim = box((0.40, 0.54, 0.004), (-0.02, 0.73, HEIGHT + 0.001), _STEEL)
    basin = box((0.34, 0.48, 0.004), (-0.02, 0.73, HEIGHT + 0.002), _DARK)
    neck = cylinder(0.014, 0.22, (-0.25, 0.73, HEIGHT + 0.11), _STEEL, 16)
    spout = moved(
        cylinder(0.011, 0.16, (0, 0, 0), _STEEL, 16), (-0.18, 0.73, HEIGHT + 0.215), _along_x()
    )
    return [rim, basin, neck, spout]


def _along_x() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])


def _drawer_link(drawer: Drawer) -> Link:
    joint = Joint("prismatic", drawer.origin, (1, 0, 0), DRAWER_RANGE, DRAWER_DAMPING)
    solids = _drawer_solids(drawer)
    return Link(drawer.name, "body", joint, 3.0, solids, _drawer_looks(solids))


def _drawer_solids(drawer: Drawer) -> list[Solid]:
    """Front panel, bottom, back, two sides, handle bar, two posts; the box is open on top."""
    z = drawer.origin[2]
    low, high = drawer.low - z, drawer.high - z
    floor = DRAWER3_FLOOR if drawer.name == "drawer3" else low + 0.03
    wall_top = min(high - 0.05, floor + 0.16)
    inner_front = _PANEL_X - PANEL_THICKNESS / 2
    depth, x = inner_front - _BOX_BACK, (inner_front + _BOX_BACK) / 2
    width = drawer.width - 0.04
    wall_z, wall_height = (floor + wall_top) / 2, wall_top - floor
    boards: list[tuple[Vec3, Vec3]] = [
        ((PANEL_THICKNESS, drawer.width, high - low), (_PANEL_X, 0, (low + high) / 2)),
        ((depth, width, 0.012), (x, 0, floor - 0.006)),
        ((0.012, width, wall_height), (_BOX_BACK + 0.006, 0, wall_z)),
        ((depth, 0.012, wall_height), (x, width / 2 - 0.006, wall_z)),
        ((depth, 0.012, wall_height), (x, -width / 2 + 0.006, wall_z)),
    ]
    length = DRAWER3_HANDLE_LENGTH if drawer.name == "drawer3" else 0.20
    return [Solid("box", size, center) for size, center in boards + _handle_boxes(length)]


def _handle_boxes(length: float) -> list[tuple[Vec3, Vec3]]:
    """A horizontal bar 5 cm clear of the panel, and the posts at its ends."""
    face = _PANEL_X + PANEL_THICKNESS / 2
    reach = HANDLE[0] - face
    bar: tuple[Vec3, Vec3] = ((HANDLE_THICKNESS, length, HANDLE_THICKNESS), HANDLE)
    ends = (length / 2 - 0.01, -length / 2 + 0.01)
    return [bar, *(((reach, 0.016, 0.016), (face + reach / 2, end, 0.0)) for end in ends)]


def _drawer_looks(solids: list[Solid]) -> Model:
    panel, *boards = solids[:5]
    looks: Model = [soft_box(panel.size, panel.center, 0.005, _CABINET)]
    looks += [box(board.size, board.center, _DRAWER_INSIDE) for board in boards]
    bar, *posts = solids[5:]
    looks.append(soft_box(bar.size, bar.center, 0.005, _BRASS))
    return looks + [box(post.size, post.center, _BRASS) for post in posts]


def _cupboard_door() -> Link:
    """The door below drawer4, hinged at its outer edge."""
    width, height = 0.67, 0.56
    joint = Joint("revolute", (FRONT + 0.01, 0.73 + width / 2, 0.11), (0, 0, 1), 1.57, 2.0)
    panel = Solid("box", (0.02, width, height), (0, -width / 2, height / 2))
    knob = Solid("box", (0.03, 0.03, 0.03), (0.025, -width + 0.06, height - 0.06))
    looks = [soft_box(panel.size, panel.center, 0.005, _CABINET)]
    turned = moved(cylinder(0.015, 0.03, (0, 0, 0), _BRASS, 16), knob.center, _along_x())
    return Link("door1", "body", joint, 3.0, [panel, knob], [*looks, turned])
