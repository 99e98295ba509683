"""The pictures of a world: what head and wrist see, and the top view for films."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import cos, sin

import numpy as np
from numpy.typing import NDArray

from vla_bench.perturbations.changes import CameraShift
from vla_bench.suites.micro.drawing import Canvas, Point, Rgb, View
from vla_bench.suites.micro.layouts import Colour
from vla_bench.suites.micro.world import BALL_RADIUS, BASE_RADIUS, POST_RADIUS, World

COLOURS: dict[Colour, Rgb] = {
    "red": (214, 48, 49),
    "green": (39, 158, 84),
    "blue": (37, 99, 214),
    "yellow": (240, 180, 20),
}
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
POST, POST_TOP = (74, 60, 58), (120, 102, 96)
BASE, DECK, COLLIDED = (52, 73, 94), (93, 119, 143), (150, 40, 90)
ARM, FINGER, TRAIL = (120, 130, 140), (25, 28, 33), (178, 190, 205)
HEAD_M, WRIST_M, TOP_M = 2.56, 0.64, 3.0
"""Sides of the squares that head, wrist and top view show (m)."""
TOP_SIZE = 256


@dataclass
class Appearance:
    """How a world looks, besides where things stand; perturbations change it."""

    shifts: dict[str, CameraShift] = field(default_factory=dict)
    """By camera. A plane knows no height: of a shift only what lies in it, and turns within it, count."""
    light: NDArray[np.float64] = field(default_factory=lambda: np.ones(3))
    """Factors on red, green and blue of everything."""
    ground: NDArray[np.float64] = field(default_factory=lambda: np.ones(3))
    """The same of the floor."""


PLAIN = Appearance()


def view_of(camera: str, world: World, size: int, looks: Appearance = PLAIN) -> View:
    """How a camera stands: `head` or `wrist`, with an image of `size` pixels on a side."""
    view = {"head": _head, "wrist": _wrist}[camera](world, size)
    return _shifted(view, looks.shifts.get(camera))


def _head(world: World, size: int) -> View:
    """From above, heading up, the robot near the lower edge."""
    ahead = 0.42 * HEAD_M
    x, y = _beside((world.x, world.y), world.heading, ahead, 0)
    return View(size, HEAD_M / size, x, y, world.heading)


def _wrist(world: World, size: int) -> View:
    """From above, the arm pointing up, the fingertip at the centre."""
    return View(size, WRIST_M / size, *world.tip, world.heading + world.swing)


def seen(world: World, view: View, looks: Appearance = PLAIN) -> NDArray[np.uint8]:
    """What a camera shows: uint8 (size, size, 3)."""
    return _drawn(world, view, looks.ground).image(looks.light)


def wanted(world: World, view: View) -> NDArray[np.bool_]:
    """Which pixels the balls that count fill by half or more, hidden parts left out: (size, size)."""
    dark, bright = (
        _drawn(world, view, PLAIN.ground, wanted=shade).image(PLAIN.light).astype(np.int16)
        for shade in (BLACK, WHITE)
    )
    return bright[..., 0] - dark[..., 0] > WHITE[0] // 2


def top(world: World, looks: Appearance = PLAIN) -> NDArray[np.uint8]:
    """The whole world and the base's path, its start at the lower edge: uint8 (256, 256, 3)."""
    view = View(TOP_SIZE, TOP_M / TOP_SIZE, 1.1, 0, 0)
    return _drawn(world, view, looks.ground, world.path).image(looks.light)


def _shifted(view: View, shift: CameraShift | None) -> View:
    if shift is None:
        return view
    right, up, _ = shift.offset
    x, y = _beside((view.x, view.y), view.up, up, -right)
    return replace(view, x=x, y=y, up=view.up + shift.rotation[2])


def _drawn(
    world: World,
    view: View,
    ground: NDArray[np.float64],
    path: list[Point] | None = None,
    wanted: Rgb | None = None,
) -> Canvas:
    """The whole picture; `wanted` is a colour for the balls that count in place of their own."""
    canvas = Canvas(view, ground)
    for start, end in pairwise(path or []):
        canvas.capsule(start, end, 0.012, TRAIL)
    colours = [COLOURS[ball.colour] for ball in world.layout.balls]
    if wanted is not None:
        colours = [wanted if i in world.layout.wanted else c for i, c in enumerate(colours)]
    for row in range(len(world.balls)):
        if row != world.held:
            canvas.disc(world.balls[row], BALL_RADIUS, colours[row])
    _base(canvas, world)
    _arm(canvas, world, colours)
    if world.layout.post is not None:
        canvas.disc(world.layout.post, POST_RADIUS, POST)
        canvas.disc(world.layout.post, 0.6 * POST_RADIUS, POST_TOP)
    return canvas


def _base(canvas: Canvas, world: World) -> None:
    centre = (world.x, world.y)
    canvas.disc(centre, BASE_RADIUS, COLLIDED if world.collided else BASE)
    canvas.disc(_beside(centre, world.heading, 0.05, 0), 0.09, DECK)


def _arm(canvas: Canvas, world: World, colours: list[Rgb]) -> None:
    """The gripper's two fingers stand as far apart as it is open; a held ball keeps them from closing."""
    angle = world.heading + world.swing
    palm = _beside(world.tip, angle, -0.08, 0)
    canvas.capsule((world.x, world.y), palm, 0.025, ARM)
    aside = BALL_RADIUS * (0.3 + world.opening)
    if world.held is not None:
        canvas.disc(world.tip, BALL_RADIUS, colours[world.held])
        aside = max(aside, 0.85 * BALL_RADIUS)
    canvas.capsule(_beside(palm, angle, 0, -aside), _beside(palm, angle, 0, aside), 0.014, FINGER)
    for side in (-aside, aside):
        foot, end = _beside(palm, angle, 0, side), _beside(world.tip, angle, 0.01, side)
        canvas.capsule(foot, end, 0.014, FINGER)


def _beside(point: Point, direction: float, along: float, left: float) -> Point:
    """A point moved along a direction and to the left of it."""
    c, s = cos(direction), sin(direction)
    return point[0] + c * along - s * left, point[1] + s * along + c * left
