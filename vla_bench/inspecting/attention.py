"""Where a policy looks: its maps over the camera images, beside what it could look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vla_bench.errors import UserError
from vla_bench.inspecting.playing import Look, Played, check_images, play_again
from vla_bench.nn import maps as on_maps
from vla_bench.policies.base import Observation
from vla_bench.policies.diagnostics import Floats
from vla_bench.records import EpisodeRecord
from vla_bench.replay import Stage

Maps = Mapping[str, Floats]


@dataclass(frozen=True)
class Share:
    """How much of a map lies on the objects that the task is about."""

    step: int
    map: str
    attention: float
    """Share of the map's sum, cells counting by how much of them the objects cover."""
    area: float
    """Share of the images that the objects cover."""


def attend(stage: Stage, recorded: EpisodeRecord, steps: Sequence[int]) -> Played[Maps]:
    """Plays an item again and reads the policy's maps.

    Args:
        stage: The run.
        recorded: The item's record.
        steps: As in `play_again`.

    Raises:
        UserError: The policy has no maps to show.
    """
    check_images(stage)
    name, diagnostics = stage.policy.card.name, stage.policy.diagnostics()

    def ask(look: Look, observation: Observation) -> Maps:
        if maps := diagnostics.attention(observation):
            return maps
        raise UserError(f"{name} shows no attention; choose a run of a learned policy that sees")

    env = stage.env(recorded.task)
    try:
        return play_again(stage, env, recorded, steps, ask)
    finally:
        env.close()


def relative(maps: Floats) -> Floats:
    """Maps (views, rows, columns) as multiples of attention that is spread evenly over all views."""
    multiples: Floats = maps / max(float(maps.mean()), float(np.finfo(np.float32).tiny))
    return multiples


def on_objects(cells: Floats, mask: NDArray[np.bool_]) -> float:
    """Mean of a view's relative map (rows, columns) over a mask (H, W), not an empty one."""
    area = on_maps.shares(torch.from_numpy(mask), *cells.shape).numpy()
    return float((cells * area).sum() / area.sum())


def shares(played: Played[Maps], cameras: Sequence[str]) -> list[Share]:
    """How much of each map lies on what matters, at the steps at which any of it is in view."""
    found = []
    for moment in played.moments:
        masks = moment.look.relevant
        if len(masks) < len(cameras) or not any(mask.any() for mask in masks.values()):
            continue
        mask = torch.from_numpy(np.stack([masks[camera] for camera in cameras]))[None]
        area = float(on_maps.area(mask))
        for name, maps in moment.shown.items():
            mass = float(on_maps.attention_mass(torch.from_numpy(maps)[None], mask))
            found.append(Share(moment.look.step, name, mass, area))
    return found
