"""Where things stand after settling in every episode of seed 0, under the pinned engine.

A world in which they stand elsewhere is another world, and its scores are not comparable.
`python -m vla_bench.suites.libero.golden libero-object` writes the file of a suite anew.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

UNIT_M = 1e-4
"""What positions are counted in."""
TOLERANCE_M = 1e-3
"""A thing that stands farther off than this has moved; engines that agree differ by a tenth of it."""
Positions = Mapping[str, NDArray[np.float64]]
"""Name of an object or fixture -> (3,) m, world frame."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class GoldenEpisode(_Table):
    """One settled world."""

    seed: int
    """Seed of the item."""
    probe: str
    """World probe of the item."""
    positions: list[int]
    """x, y, z of one thing after the other, in units of 0.1 mm."""


class GoldenTask(_Table):
    """The settled worlds of one task."""

    things: list[str]
    """Objects and fixtures."""
    episodes: list[GoldenEpisode]
    """By index."""

    def moved(self, index: int, positions: Positions) -> str | None:
        """Says what stands elsewhere than it should in an episode; None if nothing does."""
        expected = np.reshape(self.episodes[index].positions, (-1, 3)) * UNIT_M
        off = {
            thing: float(np.linalg.norm(positions[thing] - place))
            for thing, place in zip(self.things, expected, strict=True)
        }
        worst = max(off, key=lambda thing: off[thing])
        if off[worst] <= TOLERANCE_M:
            return None
        return f"{worst} stands {off[worst] * 1000:.1f} mm from where it stood"


class GoldenSuite(_Table):
    """The settled worlds of one suite."""

    version: int
    """Version of the suite."""
    engine: dict[str, str]
    """Package -> version that computed them."""
    tasks: dict[str, GoldenTask]


@cache
def golden(suite: str) -> GoldenSuite | None:
    """The settled worlds of a suite; None if nobody has computed them."""
    path = _path(suite)
    return GoldenSuite.model_validate_json(path.read_text()) if path.is_file() else None


def _path(suite: str) -> Path:
    return Path(str(resources.files("vla_bench.suites.libero"))) / "golden" / f"{suite}.json"


def golden_task(worlds: list[tuple[int, str, Positions]]) -> GoldenTask:
    """The golden entry of one task.

    Args:
        worlds: Seed, probe and positions of every episode, by index.
    """
    things = sorted(worlds[0][2])
    episodes = []
    for seed, probe, positions in worlds:
        stacked = np.concatenate([positions[thing] for thing in things])
        whole = np.round(stacked / UNIT_M).astype(int).tolist()
        episodes.append(GoldenEpisode(seed=seed, probe=probe, positions=whole))
    return GoldenTask(things=things, episodes=episodes)


def write(name: str) -> Path:
    """Settles every episode of a suite and writes where things stand.

    Args:
        name: Name of the suite.

    Returns:
        The file written.
    """
    from vla_bench.cards import SuiteCard, load_card
    from vla_bench.suites.libero.suite import LiberoSuite

    suite = LiberoSuite(load_card(SuiteCard, name))
    tasks = {task: golden_task(suite.settled(task)) for task in suite.card.tasks}
    found = GoldenSuite(version=suite.card.version, engine=suite.card.engine, tasks=tasks)
    path = _path(name)
    path.parent.mkdir(exist_ok=True)
    # One line per episode, so that a change shows which ones moved.
    text = found.model_dump_json().replace('{"seed"', '\n{"seed"').replace('"things"', '\n"things"')
    path.write_text(text + "\n")
    return path


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(write(argument))
