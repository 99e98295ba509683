"""Where things stand in each apartment.

Plan coordinates (u, v) have their origin in the middle of the room and the kitchen wall at +v.
World coordinates are the simulator's: z up, metres, yaw about +z in radians.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np

from vla_bench.suites.ms_hab.mini import counter, fridge, furniture
from vla_bench.suites.ms_hab.mini.meshes import Array, Vec3
from vla_bench.suites.ms_hab.mini.paint import rng_of

SCENES = {
    "train": [f"v3_sc{group}_staging_0{k}" for group in range(3) for k in range(2)],
    "val": [f"v3_sc3_staging_0{k}" for k in range(4)],
}
"""Scene names of each split; all are known to ManiSkill's list of ReplicaCAD scenes."""
CEILING = 2.6
ROOM_CENTER = (0.95, -1.5)
"""Between the two lamps that the loader hangs at (-0.5, -1.44) and (2.4, -1.6)."""


@dataclass(frozen=True)
class Place:
    """A frame on the floor: position in metres, yaw in radians, world or plan coordinates."""

    x: float
    y: float
    yaw: float
    z: float = 0.0

    def world(self, points: Array) -> Array:
        """Points (N, 2) or (N, 3) of this frame in the frame that holds it."""
        points = np.asarray(points, dtype=np.float64)
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        flat = points[:, :2] @ np.array([[c, s], [-s, c]]) + np.array([self.x, self.y])
        return flat if points.shape[1] == 2 else np.column_stack([flat, points[:, 2] + self.z])

    def local(self, points: Array) -> Array:
        """World points (N, 2) in this frame."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        moved: Array = (np.asarray(points, dtype=np.float64) - [self.x, self.y]) @ np.array(
            [[c, -s], [s, c]]
        )
        return moved


@dataclass(frozen=True)
class Item:
    """One piece of loose furniture."""

    kind: str
    variant: int
    place: Place

    @property
    def template(self) -> str:
        """Name of its object files."""
        return f"{self.kind}_{self.variant}"


@dataclass(frozen=True)
class Block:
    """An upright box that a robot must not touch, world frame, metres."""

    name: str
    place: Place
    half: Vec3
    low: float
    high: float


@dataclass(frozen=True)
class Apartment:
    """One apartment.

    Attributes:
        scene: ReplicaCAD scene name.
        index: running number over all apartments.
        half: half extents of the room along u and v, metres.
        turn: quarter turns from plan to world.
        center: the room's middle, world, metres.
        fridge, counter: frames of the articulations (their x points into the room), world.
        table: frame of the dining table (its +y side is free floor), world.
        items: the loose furniture, the table among it.
    """

    scene: str
    index: int
    half: tuple[float, float]
    turn: int
    center: tuple[float, float]
    fridge: Place
    counter: Place
    table: Place
    items: list[Item] = field(default_factory=list)

    @property
    def room(self) -> Place:
        """The plan's frame in the world."""
        return Place(*self.center, self.turn * np.pi / 2)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Everything that stands still, walls included, fridge and counter closed."""
        return tuple(self._blocks())

    def _blocks(self) -> Iterator[Block]:
        yield from self._walls()
        yield from _articulation_blocks(self)
        for item in self.items:
            for half, center in furniture.piece(item.kind, item.variant).blocks:
                yield block(item.template, item.place, half, center)

    def _walls(self) -> Iterator[Block]:
        u, v = self.half
        for x, y, hu, hv in (
            (u + 0.1, 0, 0.1, v),
            (-u - 0.1, 0, 0.1, v),
            (0, v + 0.1, u, 0.1),
            (0, -v - 0.1, u, 0.1),
        ):
            yield block("wall", self.room, (hu, hv, CEILING / 2), (x, y, CEILING / 2))


def block(name: str, frame: Place, half: Vec3, center: Vec3, yaw: float = 0.0) -> Block:
    """A box given in `frame` (half extents and centre, metres; turned by `yaw` rad) as a block."""
    x, y, z = frame.world(np.array([center]))[0]
    return Block(
        name,
        Place(float(x), float(y), frame.yaw + yaw),
        half,
        float(z) - half[2],
        float(z) + half[2],
    )


def _articulation_blocks(home: Apartment) -> Iterator[Block]:
    depth = (fridge.FRONT + fridge.DOOR_THICKNESS - fridge.BACK) / 2
    middle = (fridge.FRONT + fridge.DOOR_THICKNESS + fridge.BACK) / 2
    half: Vec3 = (depth, fridge.WIDTH / 2, fridge.HEIGHT / 2)
    yield block("fridge", home.fridge, half, (middle, 0.0, fridge.HEIGHT / 2))
    handle: Vec3 = (0.05, 0.02, 0.60)
    yield block(
        "fridge_handles", home.fridge, handle, (fridge.FRONT + 0.10, fridge.WIDTH / 2 - 0.60, 0.85)
    )
    half = (counter.DEPTH / 2 + 0.04, counter.WIDTH / 2 + 0.01, counter.HEIGHT / 2)
    yield block("counter", home.counter, half, (0.025, 0.0, counter.HEIGHT / 2))
    yield block("cupboards", home.counter, (0.17, counter.WIDTH / 2, 0.40), (-0.14, 0.0, 1.85))


def door_block(home: Apartment, angle: float) -> Block:
    """The fridge's top door with its handle, opened by `angle` rad."""
    hinge = Place(*fridge.HINGE[:2], angle)
    thick = (fridge.HANDLE[0] + fridge.HANDLE_RADIUS + fridge.DOOR_THICKNESS / 2) / 2
    center = hinge.world(np.array([[thick - fridge.DOOR_THICKNESS / 2, -fridge.WIDTH / 2]]))[0]
    half: Vec3 = (thick, fridge.WIDTH / 2, 0.44)
    return block(
        "top_door",
        home.fridge,
        half,
        (float(center[0]), float(center[1]), fridge.DOOR_BOTTOM + 0.44),
        angle,
    )


def drawer_block(home: Apartment, travel: float) -> Block:
    """Drawer 3 with its handle, pulled out by `travel` metres."""
    front = counter.DRAWER3_ORIGIN[0] + counter.HANDLE[0] + 0.01 + travel
    half: Vec3 = ((front - counter.FRONT) / 2, 0.285, 0.08)
    return block(
        "drawer3",
        home.counter,
        half,
        ((front + counter.FRONT) / 2, counter.DRAWER3_ORIGIN[1], 0.76),
    )


@lru_cache(maxsize=1)
def all_apartments() -> tuple[Apartment, ...]:
    """Every apartment, train before val."""
    names = [*SCENES["train"], *SCENES["val"]]
    return tuple(_apartment(scene, index) for index, scene in enumerate(names))


def apartments(split: str) -> list[Apartment]:
    """The apartments of "train" or "val"."""
    return [home for home in all_apartments() if home.scene in SCENES[split]]


def _apartment(scene: str, index: int) -> Apartment:
    rng = rng_of("apartment", scene)
    half = (float(rng.uniform(2.95, 3.25)), float(rng.uniform(2.55, 2.80)))
    turn = (0, 2, 1, 3)[index % 4]
    center = tuple(float(c + rng.uniform(-0.25, 0.25)) for c in ROOM_CENTER)
    fridge_at, counter_at = _kitchen(rng, half, index)
    side = 1 if fridge_at.x < 0 else -1
    table_at = Place(
        float(rng.uniform(-0.45, 0.45)) + 0.25 * side,
        -half[1] + float(rng.uniform(1.15, 1.30)),
        0.0,
    )
    items = _furnish(rng, half, table_at, side)
    room = Place(center[0], center[1], turn * np.pi / 2)
    return Apartment(
        scene,
        index,
        half,
        turn,
        (center[0], center[1]),
        _compose(room, fridge_at),
        _compose(room, counter_at),
        _compose(room, table_at),
        [Item(item.kind, item.variant, _compose(room, item.place)) for item in items],
    )


def _compose(outer: Place, inner: Place) -> Place:
    x, y = outer.world(np.array([[inner.x, inner.y]]))[0]
    yaw = float(np.arctan2(np.sin(outer.yaw + inner.yaw), np.cos(outer.yaw + inner.yaw)))
    return Place(round(float(x), 4), round(float(y), 4), yaw, inner.z)


def _kitchen(
    rng: np.random.Generator, half: tuple[float, float], index: int
) -> tuple[Place, Place]:
    """Frames of fridge and counter in plan coordinates.

    The fridge's door swings towards its +y, so that side needs a free metre.
    """
    u, v = half
    back = v - fridge.FRONT - 0.07
    counter_v = v - counter.DEPTH / 2 - 0.01
    down = -np.pi / 2
    width = counter.WIDTH / 2
    if index % 4 == 0:
        at = float(rng.uniform(-0.30, 0.30)) + 0.5
        return Place(at - width - float(rng.uniform(0.30, 0.45)) - 0.33, back, down), Place(
            at, counter_v, down
        )
    if index % 4 == 1:
        at = -u + width + float(rng.uniform(0.25, 0.55))
        return Place(at + width + float(rng.uniform(0.15, 0.40)) + 0.33, back, down), Place(
            at, counter_v, down
        )
    if index % 4 == 2:
        at = u - width - float(rng.uniform(0.25, 0.60))
        return Place(-u + 0.37, float(rng.uniform(0.25, 0.75)), 0.0), Place(at, counter_v, down)
    at = -u + width + float(rng.uniform(0.35, 0.75))
    return Place(u - 0.37, float(rng.uniform(0.55, 1.05)), np.pi), Place(at, counter_v, down)


def _finish(rng: np.random.Generator) -> int:
    return int(rng.integers(furniture.VARIANTS))


def _furnish(
    rng: np.random.Generator, half: tuple[float, float], table: Place, side: int
) -> list[Item]:
    """The loose furniture in plan coordinates; `side` is the side (+1 or -1) of the sofa."""
    return [*_dining(rng, table), *_living(rng, half, table, side)]


def _dining(rng: np.random.Generator, table: Place) -> list[Item]:
    """The table, and chairs pushed under its far side."""
    chair = _finish(rng)
    items = [Item("dining_table", _finish(rng), table)]
    for offset in (-0.35, 0.35) if rng.uniform() < 0.7 else (-0.45, 0.05, 0.5):
        du, dv, turn = rng.uniform(-0.05, 0.05, 3)
        place = Place(table.x + offset + du, table.y - 0.52 + dv, turn * 4)
        items.append(Item("chair", chair, place))
    return items


def _living(
    rng: np.random.Generator, half: tuple[float, float], table: Place, side: int
) -> list[Item]:
    """A sofa on one side, shelves on the other, a plant and a lamp in the corners, a rug."""
    u, v = half
    sofa_v = -v + 1.15 + float(rng.uniform(0.0, 0.25))
    sofa = Item("sofa", _finish(rng), Place(side * (u - 0.44), sofa_v, side * np.pi / 2))
    kind = "bookshelf" if rng.uniform() < 0.5 else "sideboard"
    depth = 0.17 if kind == "bookshelf" else 0.25
    shelf_v = -v + 0.95 + float(rng.uniform(0.0, 0.35))
    shelf = Item(kind, _finish(rng), Place(-side * (u - depth), shelf_v, -side * np.pi / 2))
    pot = Place(-side * (u - 0.34), -v + 0.33, 0.0)
    plant = Item("plant", _finish(rng), replace(pot, yaw=float(rng.uniform(0, 6))))
    lamp = Item("floor_lamp", _finish(rng), Place(side * (u - 0.26), -v + 0.22, 0.0))
    rug_u, variant = float(rng.uniform(-0.4, 0.4)), _finish(rng)
    rug_v, turn = table.y + 1.25 + float(rng.uniform(0, 0.2)), float(rng.normal(0, 0.04))
    rug = Item("rug", variant, Place(rug_u, rug_v, turn))
    crate = Item("crate", _finish(rng), Place(-side * (u - 1.0), -v + 0.17, 0.0))
    return [sofa, shelf, plant, lamp, rug, crate]
