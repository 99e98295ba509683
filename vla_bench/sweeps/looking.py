"""How much of a policy's attention lies on the objects of the task, as each item begins.

Then the robot has to choose among the objects in view, and all policies are shown the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import UserError, nearest
from vla_bench.items import WorkItem
from vla_bench.policies.base import Observation
from vla_bench.records import RunFolder
from vla_bench.registry import make_policy, make_suite

LOOKS = "attention.json"
"""The file in a run folder."""


class Looks(BaseModel):
    """Where a policy looks as some items begin; by digest of the item."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    map: str
    """Name of the map."""
    mass: dict[str, float | None]
    """Share of the map that lies on the objects of the task; None where none is in view."""
    even: dict[str, float]
    """Share of the images that these objects cover: the mass of attention that is spread evenly."""


def look(folder: Path, map_name: str) -> Looks:
    """Measures the attention of a run's policy on the run's items, or reads what was measured before.

    Args:
        folder: Run folder of the policy.
        map_name: One of the maps that the policy shows.

    Raises:
        UserError: The policy does not show such a map, or the suite does not know its objects.
    """
    run, path = RunFolder(folder), folder / LOOKS
    items = run.items()
    if path.is_file():
        found = Looks.model_validate_json(path.read_text())
        if found.map == map_name and all(item.digest in found.mass for item in items):
            return found
    measured = _measured(run.manifest.policy, run.manifest.suite, items, map_name)
    path.write_text(measured.model_dump_json() + "\n")
    return measured


def _measured(
    card: PolicyCard, suite_card: SuiteCard, items: Sequence[WorkItem], map_name: str
) -> Looks:
    import torch

    from vla_bench.nn.maps import area, attention_mass

    suite, cameras = make_suite(suite_card), card.inputs.images
    suite.prepare()
    diagnostics = make_policy(card, suite_card).diagnostics()
    looks = Looks(map=map_name, mass={}, even={})
    envs = {task: suite.make_env(task, cameras) for task in {item.task for item in items}}
    for item in items:
        env = envs[item.task]
        raw, _ = env.reset(options={"item": item})
        maps = diagnostics.attention(Observation.shown(raw, item, 0, card.inputs))
        if map_name not in maps:
            raise UserError(f"{card.name} shows no map {map_name!r}; {nearest(map_name, maps)}")
        mask = torch.stack([torch.from_numpy(env.relevant(camera)) for camera in cameras])[None]
        mass = float(attention_mass(torch.as_tensor(maps[map_name])[None], mask))
        looks.even[item.digest] = float(area(mask))
        looks.mass[item.digest] = mass if mask.any() and not isnan(mass) else None
    for env in envs.values():
        env.close()
    return looks
