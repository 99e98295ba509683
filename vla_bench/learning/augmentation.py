"""Changes training windows a little at every draw, so that a policy does not learn them by heart."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vla_bench.learning.windows import Observations
from vla_bench.policies.learned.head import Windows
from vla_bench.policies.learned.recipe import TrainingConfig


def augmented(
    observed: Observations, windows: Windows, config: TrainingConfig, generator: torch.Generator
) -> tuple[Observations, Windows]:
    """Shifts images, and the places in them with them; adds noise to the state."""
    images, state, most = observed.images, observed.state, config.image_shift
    if most and images.shape[1]:
        shifts = torch.randint(-most, most + 1, (2, len(images), 1), generator=generator)
        images = shifted(images, shifts)
        if windows.places is not None:
            moved = moved_along(windows.places, shifts, images.shape[-2:])
            windows = replace(windows, places=moved)
    if config.state_noise:
        state = state + config.state_noise * torch.randn(state.shape, generator=generator)
    return Observations(images, observed.instructions, state), windows


def shifted(images: Tensor, shifts: Tensor) -> Tensor:
    """Moves each observation's images; edges are repeated.

    Args:
        images: (B, views, 3, h, w).
        shifts: int64 (2, B, 1), by how many pixels up, and to the left.
    """
    height, width = images.shape[-2:]
    rows = (torch.arange(height) + shifts[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + shifts[1]).clamp(0, width - 1)
    batch = torch.arange(len(images))[:, None, None]
    return images.permute(0, 3, 4, 1, 2)[batch, rows[:, :, None], columns[:, None]].permute(
        0, 3, 4, 1, 2
    )


def moved_along(places: Tensor, shifts: Tensor, size: torch.Size) -> Tensor:
    """Places (B, 2, views, 2) in images of a size (h, w) that were `shifted`; NaN once outside."""
    height, width = size
    by = torch.stack([shifts[1] / width, shifts[0] / height], dim=-1)
    moved = places - by[:, None]
    inside = ((moved >= 0) & (moved < 1)).all(-1, keepdim=True)
    return moved.where(inside, torch.nan)
