"""The fridge: a hollow cabinet, a top door on a vertical hinge, and a freezer door below it.

Body frame: z up, x out of the front, origin on the floor below the middle of the cabinet.
Links in file order: root, body, top_door, bottom_door; the first active joint moves top_door.
"""

from __future__ import annotations

import numpy as np

from vla_bench.suites.ms_hab.mini.meshes import (
    Material,
    Mesh,
    Model,
    Vec3,
    box,
    cylinder,
    lathe,
    moved,
    soft_box,
)
from vla_bench.suites.ms_hab.mini.urdf import Joint, Link, Solid

WIDTH, HEIGHT = 0.66, 1.80
BACK, FRONT = -0.35, 0.30
"""x of the cabinet's back and front plane, metres."""
WALL = 0.035
SHELF_TOP = 0.96
"""Height of the shelf on which the apple lies, metres."""
DOOR_THICKNESS = 0.05
DOOR_BOTTOM = 0.90
TOP_DOOR_LINK, TOP_DOOR_JOINT = 2, 0
"""Index of `top_door` among the links and of its joint among the active joints."""
TOP_DOOR_RANGE = 2.3
"""Upper limit of the hinge, rad; 0 is closed."""
HINGE: Vec3 = (FRONT + DOOR_THICKNESS / 2, WIDTH / 2, DOOR_BOTTOM)
HANDLE: Vec3 = (0.0975, -0.60, 0.20)
"""Middle of the top door's handle bar in the frame of `top_door`, metres."""
HANDLE_RADIUS, HANDLE_LENGTH = 0.0125, 0.35
DOOR_MASS = 6.0
HINGE_DAMPING = 3.0

_WHITE = Material("enamel", (0.60, 0.82, 0.77), roughness=0.35)
_INSIDE = Material("liner", (0.95, 0.96, 0.97), roughness=0.6, glow=0.30)
_GLASS = Material("glass", (0.62, 0.80, 0.90), roughness=0.2, glow=0.25)
_STEEL = Material("steel", (0.55, 0.57, 0.60), roughness=0.3, metallic=0.15)
_GASKET = Material("gasket", (0.25, 0.27, 0.29), roughness=0.9)


def fridge_links() -> list[Link]:
    """The fridge's links in file order; the root frame is y-up, all others z-up."""
    return [
        Link("root"),
        Link(
            "body",
            "root",
            Joint("fixed", (0, 0, 0), pitch=-np.pi / 2),
            60.0,
            _body_solids(),
            _body_looks(),
        ),
        Link(
            "top_door",
            "body",
            _hinge(DOOR_BOTTOM),
            DOOR_MASS,
            _door_solids(0.88, HANDLE[2]),
            _top_door_looks(),
        ),
        Link(
            "bottom_door",
            "body",
            _hinge(0.06),
            DOOR_MASS,
            _door_solids(0.82, 0.60),
            _bottom_door_looks(),
        ),
    ]


def _hinge(height: float) -> Joint:
    return Joint("revolute", (HINGE[0], HINGE[1], height), (0, 0, 1), TOP_DOOR_RANGE, HINGE_DAMPING)


def _panels() -> list[tuple[Vec3, Vec3]]:
    """(size, centre) of the boards that make the hollow cabinet."""
    depth, middle = FRONT - BACK, (FRONT + BACK) / 2
    inner = WIDTH - 2 * WALL
    return [
        ((depth, WALL, HEIGHT - 0.05), (middle, WIDTH / 2 - WALL / 2, HEIGHT / 2 + 0.025)),
        ((depth, WALL, HEIGHT - 0.05), (middle, -WIDTH / 2 + WALL / 2, HEIGHT / 2 + 0.025)),
        ((WALL, inner, HEIGHT - 0.05), (BACK + WALL / 2, 0, HEIGHT / 2 + 0.025)),
        ((depth, inner, WALL), (middle, 0, HEIGHT - WALL / 2)),
        ((depth, inner, 0.06), (middle, 0, SHELF_TOP - 0.03)),
        ((depth, inner, WALL), (middle, 0, 0.05 + WALL / 2)),
        ((0.20, inner, 0.012), (BACK + WALL + 0.10, 0, 1.50)),
    ]


def _body_solids() -> list[Solid]:
    solids = [Solid("box", size, center) for size, center in _panels()]
    return [*solids, Solid("box", (0.5, 0.5, 0.05), (-0.02, 0, 0.025))]


def _body_looks() -> Model:
    paints = [_WHITE, _WHITE, _WHITE, _WHITE, _INSIDE, _GASKET, _GLASS]
    looks: Model = [
        box(size, center, paint) for (size, center), paint in zip(_panels(), paints, strict=True)
    ]
    looks += _liner()
    looks.append(box((0.5, 0.5, 0.05), (-0.02, 0, 0.025), _GASKET))
    looks.append(
        box((0.012, WIDTH - 2 * WALL, 0.03), (FRONT - 0.004, 0, SHELF_TOP - 0.016), _GLASS)
    )
    looks += [
        box((0.002, WIDTH - 0.10, 0.004), (BACK + WALL + 0.003, 0, z), _GLASS)
        for z in (1.05, 1.15, 1.25, 1.35)
    ]
    return looks + _groceries()


def _liner() -> Model:
    """The white lining of the compartment, just in front of the outer boards."""
    inner, depth = WIDTH - 2 * WALL, FRONT - BACK - WALL - 0.006
    x, height = BACK + WALL + depth / 2, HEIGHT - WALL - SHELF_TOP
    z = SHELF_TOP + height / 2
    sides = [(depth, 0.002, height), (depth, 0.002, height), (0.002, inner, height)]
    places = [(x, inner / 2 - 0.001, z), (x, 0.001 - inner / 2, z), (BACK + WALL + 0.001, 0.0, z)]
    looks = [box(size, at, _INSIDE) for size, at in zip(sides, places, strict=True)]
    return [*looks, box((depth, inner, 0.002), (x, 0, HEIGHT - WALL - 0.001), _INSIDE)]


def _groceries() -> Model:
    """Bottles and jars on the small upper shelf, out of the way of the arm."""
    glass = Material("juice", (0.85, 0.45, 0.06), roughness=0.2)
    milk = Material("milk", (0.95, 0.95, 0.98), roughness=0.5)
    jam = Material("jam", (0.50, 0.03, 0.06), roughness=0.2)
    cap = Material("cap", (0.10, 0.30, 0.62), roughness=0.4)
    x = BACK + WALL + 0.09
    bottle = [(1e-4, 0), (0.035, 0), (0.035, 0.12), (0.013, 0.165), (0.013, 0.19), (1e-4, 0.19)]
    looks: Model = [moved(lathe(bottle, glass, 16), (x, y, 1.506)) for y in (-0.20, -0.11)]
    looks.append(box((0.07, 0.07, 0.16), (x, 0.02, 1.586), milk))
    looks.append(box((0.03, 0.03, 0.02), (x, 0.02, 1.676), cap))
    looks += [cylinder(0.035, 0.08, (x, y, 1.546), jam, 16) for y in (0.12, 0.21)]
    looks += [cylinder(0.036, 0.015, (x, y, 1.5935), cap, 16) for y in (0.12, 0.21)]
    return looks


def _door_solids(height: float, handle_height: float) -> list[Solid]:
    """Panel, handle bar and its two posts, in the door's frame (origin on the hinge axis)."""
    panel = Solid("box", (DOOR_THICKNESS, WIDTH, height), (0, -WIDTH / 2, height / 2))
    bar = Solid(
        "cylinder",
        (HANDLE_RADIUS, HANDLE_RADIUS, HANDLE_LENGTH),
        (HANDLE[0], HANDLE[1], handle_height),
    )
    reach = HANDLE[0] - DOOR_THICKNESS / 2
    x = DOOR_THICKNESS / 2 + reach / 2
    ends = (HANDLE_LENGTH / 2 - 0.012, -HANDLE_LENGTH / 2 + 0.012)
    posts = [Solid("box", (reach, 0.02, 0.02), (x, HANDLE[1], handle_height + end)) for end in ends]
    return [panel, bar, *posts]


def _handle_looks(height: float) -> Model:
    bar = cylinder(HANDLE_RADIUS, HANDLE_LENGTH, (HANDLE[0], HANDLE[1], height), _STEEL)
    posts: list[Mesh] = []
    for solid in _door_solids(1.0, height)[2:]:
        posts.append(box(solid.size, solid.center, _STEEL))
    return [bar, *posts]


def _panel_looks(height: float) -> Model:
    seal = box(
        (0.012, WIDTH - 0.04, height - 0.04),
        (-DOOR_THICKNESS / 2 - 0.001, -WIDTH / 2, height / 2),
        _INSIDE,
    )
    panel = soft_box(
        (DOOR_THICKNESS, WIDTH - 0.004, height - 0.004), (0, -WIDTH / 2, height / 2), 0.012, _WHITE
    )
    return [panel, seal]


def _top_door_looks() -> Model:
    badge = box((0.002, 0.10, 0.022), (DOOR_THICKNESS / 2 + 0.001, -0.12, 0.80), _STEEL)
    return [*_panel_looks(0.88), *_handle_looks(HANDLE[2]), badge]


def _bottom_door_looks() -> Model:
    return [*_panel_looks(0.82), *_handle_looks(0.60)]
