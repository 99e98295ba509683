"""Trains the residual correction module on the mistakes of a frozen policy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vla_bench.errors import UserError
from vla_bench.learning.windows import WindowData
from vla_bench.policies.learned.head import Settings
from vla_bench.policies.learned.model import ChunkModel
from vla_bench.policies.learned.recipe import Recipe

PLANNING_BATCH = 64


@dataclass(frozen=True)
class Plans:
    """What the frozen policy planned for some windows of the demonstrations.

    Attributes:
        windows: int64 (N,), what was planned for.
        chunks: (N, P, A), normalised.
        pooled: (N, context width).
    """

    windows: Tensor
    chunks: Tensor
    pooled: Tensor


def train_residual(model: ChunkModel, data: WindowData, recipe: Recipe) -> float:
    """Second stage: the policy is frozen, only the residual module learns (AnchorVLA, 0.B.2).

    Step k of a planned chunk is compared with the demonstrated action of that step, given the state that
    the demonstration had there.

    Args:
        model: A trained model with a residual module, trained in place.
        data: Training demonstrations.
        recipe: The model's recipe.

    Returns:
        The last loss: mean absolute difference, normalised units.

    Raises:
        UserError: The module reads images that were not recorded.
    """
    residual, config = model.residual, recipe.residual
    assert residual is not None
    assert config is not None
    if _reads_images(model) and not data.has_all_images:
        raise UserError(
            "residual.inputs=state+images needs images of every step; collect with --image-every 1"
        )
    generator = torch.Generator().manual_seed(recipe.training.seed)
    plans = _plan(model, data, config.windows, recipe.head.sampling(), generator)
    optimiser = torch.optim.AdamW(residual.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.updates)
    residual.train()
    loss = torch.zeros(())
    for _ in range(config.updates):
        loss = _loss(model, data, plans, config.batch, generator)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return float(loss.detach())


@torch.no_grad()
def _plan(
    model: ChunkModel,
    data: WindowData,
    windows: int,
    sampling: Settings,
    generator: torch.Generator,
) -> Plans:
    model.eval()
    device = next(model.parameters()).device
    drawn = torch.randperm(len(data), generator=generator)[:windows]
    chunks, pooled = [], []
    for first in range(0, len(drawn), PLANNING_BATCH):
        batch = drawn[first : first + PLANNING_BATCH]
        observed = data.observations(batch)
        noise = torch.randn((len(batch), *model.head.noise_size()), generator=generator)
        planned = model.plan(
            observed.images.to(device),
            observed.instructions,
            observed.state.to(device),
            noise.to(device),
            sampling,
        )
        chunks.append(planned[0])
        pooled.append(planned[1])
    return Plans(drawn, torch.cat(chunks), torch.cat(pooled))


def _reads_images(model: ChunkModel) -> bool:
    assert model.residual is not None
    return model.residual.config.inputs == "state+images"


def _loss(
    model: ChunkModel, data: WindowData, plans: Plans, batch: int, generator: torch.Generator
) -> Tensor:
    """Mean absolute difference between corrected and demonstrated actions of a drawn batch."""
    assert model.residual is not None
    device = plans.chunks.device
    rows = torch.randint(len(plans.windows), (batch,), generator=generator)
    start = data.starts[plans.windows[rows]]
    length = (data.end[start] - start).clamp(max=data.chunk_length)
    k = (torch.rand(batch, generator=generator) * length).long()
    now = start + k
    rows, ages = rows.to(device), k.to(device)
    planned = plans.chunks[rows, ages]
    images = data.images[now].to(device) if _reads_images(model) else None
    delta = model.residual(data.state[now].to(device), planned, ages, plans.pooled[rows], images)
    loss: Tensor = (planned + delta - data.actions[now].to(device)).abs().mean()
    return loss
