"""What differs between the episodes of one apartment: objects, clutter, goals, drawers ajar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_bench.suites.ms_hab.mini import counter, fridge, furniture, ycb
from vla_bench.suites.ms_hab.mini.apartments import Apartment, Block, Place, apartments
from vla_bench.suites.ms_hab.mini.meshes import Array
from vla_bench.suites.ms_hab.mini.paint import rng_of

EPISODES_PER_APARTMENT = {"train": 14, "val": 20}
LOADER_LIFT = 0.01
"""Metres by which ManiSkill's loader raises every object of an episode file."""
AIR = 0.001
"""Gap under an object at the start, metres."""
_TABLE_GAP = 0.28
"""Least distance between a goal and clutter on the table, metres."""


@dataclass(frozen=True)
class Episode:
    """One initial state of an apartment.

    Attributes:
        name: path below the `rearrange` folder; also the plans' `init_config_name`.
        home: the apartment.
        apple: where the apple lies in the fridge, world.
        bowl: where the bowl stands in the frame of `drawer3`.
        clutter: YCB ids and their places on the table, world.
        goals: object id to goal position (3,), world.
        ajar: counter link index to opening, metres; drawers that no task uses.
    """

    name: str
    home: Apartment
    apple: Place
    bowl: Place
    clutter: list[tuple[str, Place]]
    goals: dict[str, Array]
    ajar: dict[int, float]

    def bowl_in_world(self, travel: float) -> Place:
        """The bowl's place when `drawer3` is pulled out by `travel` metres."""
        x0, y0, z0 = counter.DRAWER3_ORIGIN
        local = [[x0 + travel + self.bowl.x, y0 + self.bowl.y, z0 + self.bowl.z]]
        x, y, z = self.home.counter.world(np.array(local))[0]
        return Place(float(x), float(y), self.home.counter.yaw + self.bowl.yaw, float(z))

    def objects(self) -> Iterator[tuple[str, Place]]:
        """Every YCB object with its place in the world, all drawers closed."""
        yield ycb.APPLE, self.apple
        yield ycb.BOWL, self.bowl_in_world(0.0)
        yield from self.clutter

    def clutter_blocks(self) -> Iterator[Block]:
        """The clutter as things to keep away from."""
        for name, place in self.clutter:
            made = ycb.thing(name)
            low, high = place.z - made.half_height, place.z + made.half_height
            yield Block(name, place, (made.footprint, made.footprint, made.half_height), low, high)

    def document(self) -> dict[str, Any]:
        """The episode file."""
        return {
            "episode_id": self.name.rsplit("_", 1)[1].removesuffix(".json"),
            "scene_id": f"configs/scenes/{self.home.scene}.scene_instance.json",
            "rigid_objs": [
                [f"{name}.object_config.json", file_pose(place)] for name, place in self.objects()
            ],
            "ao_states": {
                "kitchen_counter_:0000": {str(link): value for link, value in self.ajar.items()}
            },
        }


def file_pose(place: Place) -> Array:
    """The 4x4 y-up matrix that makes ManiSkill's loader put an object at `place`."""
    c, s = np.cos(place.yaw), np.sin(place.yaw)
    matrix = np.array(
        [[c, 0, s, place.x], [0, 1, 0, place.z - LOADER_LIFT], [-s, 0, c, -place.y], [0, 0, 0, 1.0]]
    )
    return matrix


def episodes(split: str) -> list[Episode]:
    """All episodes of "train" or "val", in file order."""
    made: list[Episode] = []
    for home in apartments(split):
        for _ in range(EPISODES_PER_APARTMENT[split]):
            made.append(_episode(f"{split}/set_table/episode_{len(made):04d}.json", home))
    return made


def _episode(name: str, home: Apartment) -> Episode:
    rng = rng_of("episode", name)
    goals = _goals(rng, home)
    return Episode(
        name, home, _apple(rng, home), _bowl(rng), _clutter(rng, home, goals), goals, _ajar(rng)
    )


def _apple(rng: np.random.Generator, home: Apartment) -> Place:
    """On the fridge's shelf, 10 to 19 cm behind the front plane."""
    local = np.array([[fridge.FRONT - rng.uniform(0.10, 0.19), rng.uniform(-0.13, 0.13), 0.0]])
    x, y, _ = home.fridge.world(local)[0]
    height = fridge.SHELF_TOP + ycb.APPLE_HALF_HEIGHT + AIR
    return Place(float(x), float(y), float(rng.uniform(-np.pi, np.pi)), height)


def _bowl(rng: np.random.Generator) -> Place:
    height = counter.DRAWER3_FLOOR + ycb.BOWL_HEIGHT / 2 + AIR
    x, y = rng.uniform(-0.01, 0.07), rng.uniform(-0.12, 0.12)
    return Place(float(x), float(y), float(rng.uniform(-np.pi, np.pi)), height)


def _goals(rng: np.random.Generator, home: Apartment) -> dict[str, Array]:
    """A goal for each object near the free long edge: where its middle comes to rest."""
    length, depth, height = furniture.TABLE_SIZE
    goals = {}
    for name in (ycb.APPLE, ycb.BOWL):
        inset = rng.uniform(0.16, 0.24)
        x = rng.uniform(-length / 2 + 0.25, length / 2 - 0.25)
        local = np.array([[x, depth / 2 - inset, height + ycb.thing(name).half_height]])
        goals[name] = home.table.world(local)[0]
    return goals


def goal_corners(home: Apartment, goal: Array) -> Array:
    """Corners A, B, C, D (4, 3) of a 30 cm square around a goal, along the table's edges."""
    x, y = home.table.local(goal[None, :2])[0]
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    square = home.table.world(np.array([x, y]) + 0.15 * signs)
    return np.column_stack([square, np.full(4, goal[2])])


def _clutter(
    rng: np.random.Generator, home: Apartment, goals: dict[str, Array]
) -> list[tuple[str, Place]]:
    """Two to four things on the table, apart from each other and from the goals."""
    length, depth, height = furniture.TABLE_SIZE
    taken = [(home.table.local(goal[None, :2])[0], _TABLE_GAP - 0.1) for goal in goals.values()]
    placed: list[tuple[str, Place]] = []
    for name in rng.permutation(ycb.CLUTTER)[: int(rng.integers(2, 5))]:
        made = ycb.thing(str(name))
        for _ in range(60):
            margin = made.footprint + 0.03
            point = rng.uniform(
                [-length / 2 + margin, -depth / 2 + margin],
                [length / 2 - margin, depth / 2 - margin],
            )
            if all(
                np.hypot(*(point - other)) > radius + made.footprint + 0.02
                for other, radius in taken
            ):
                taken.append((point, made.footprint))
                x, y = home.table.world(point[None])[0]
                place = Place(
                    float(x),
                    float(y),
                    float(rng.uniform(-np.pi, np.pi)),
                    height + made.half_height + AIR,
                )
                placed.append((str(name), place))
                break
    return placed


def _ajar(rng: np.random.Generator) -> dict[int, float]:
    """Up to two low drawers a few centimetres open."""
    links = rng.permutation([3, 5, 6])[: int(rng.integers(0, 3))]
    return {int(link): round(float(rng.uniform(0.01, 0.05)), 4) for link in sorted(links)}
