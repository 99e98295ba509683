"""The head that anchors are compared with: the same transformer, denoising from pure noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from vla_bench.nn.backbone import Context
from vla_bench.nn.dit import ChunkSizes, ChunkTransformer, ContextMemory
from vla_bench.nn.embeddings import sinusoidal
from vla_bench.nn.schedules import RESPACINGS, NoiseSchedule, Respacing, ScheduleKind, ddim
from vla_bench.policies.learned.head import (
    ActionHead,
    HeadSettings,
    Settings,
    Windows,
    check_steps,
)


class DiffusionConfig(HeadSettings):
    """What a diffusion head is built with and trained on."""

    kind: Literal["diffusion"] = "diffusion"
    heads: PositiveInt = 4
    """Attention heads."""
    diffusion_steps: PositiveInt = 50
    """Timesteps S of the schedule."""
    schedule: ScheduleKind = "cosine"
    """Noise schedule."""
    prediction: Literal["epsilon", "sample"] = "epsilon"
    """What the network predicts: the noise (squared error) or the clean chunk (absolute error)."""

    def sampling(self) -> DiffusionSampling:
        """See `HeadSettings.sampling`."""
        return DiffusionSampling(steps=min(DiffusionSampling().steps, self.diffusion_steps))

    def check(self, sampling: Settings) -> None:
        """See `HeadSettings.check`."""
        assert isinstance(sampling, DiffusionSampling)
        check_steps(sampling.steps, self.diffusion_steps)


class DiffusionSampling(Settings):
    """How a diffusion head plans."""

    steps: PositiveInt = 10
    """Denoising steps."""
    respace: Respacing = "linspace"
    """Steps spread over the whole schedule, or noise fed to the last `steps` timesteps only."""


class DiffusionHead(ActionHead):
    """Denoises one chunk from pure noise (Chi et al. 2023, Diffusion Policy, section 2).

    Args:
        config: Settings.
        sizes: What the head is built for.
    """

    def __init__(self, config: DiffusionConfig, sizes: ChunkSizes) -> None:
        super().__init__()
        self.config, self.sizes = config, sizes
        self.schedule = NoiseSchedule(config.diffusion_steps, config.schedule)
        self.transformer = ChunkTransformer(sizes, config.heads)
        width = sizes.width
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.out = nn.Linear(width, sizes.action_size)

    def loss(
        self, context: Context, windows: Windows, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Squared error of the noise, or absolute error of the clean chunk."""
        chunks = windows.chunks
        tau = torch.randint(self.config.diffusion_steps, (len(chunks),), generator=generator)
        tau = tau.to(chunks.device)
        noise = torch.randn(chunks.shape, generator=generator).to(chunks.device)
        noisy = self.schedule.add_noise(chunks, noise, tau)
        predicted = self._predict(noisy, tau, self.transformer.remember(context))
        if self.config.prediction == "epsilon":
            return {"total": windows.mean((predicted - noise).square())}
        return {"total": windows.mean((predicted - chunks).abs())}

    def _predict(self, noisy: Tensor, tau: Tensor, memory: ContextMemory) -> Tensor:
        """(B, P, A) noisy chunks -> the network's prediction, (B, P, A)."""
        time = self.time(sinusoidal(tau, self.sizes.width))
        predicted: Tensor = self.out(self.transformer(noisy[:, None], memory, time))[:, 0]
        return predicted

    def noise_size(self) -> Sequence[int]:
        """One chunk of noise."""
        return (self.sizes.chunk_length, self.sizes.action_size)

    def sample(self, context: Context, noise: Tensor, sampling: Settings) -> Tensor:
        """DDIM from pure noise; the estimate of the clean chunk is clipped to [-1, 1]."""
        assert isinstance(sampling, DiffusionSampling)
        memory = self.transformer.remember(context)
        last = self.config.diffusion_steps - 1
        return ddim(
            lambda noisy, tau: self._predict(noisy, tau, memory),
            noise,
            RESPACINGS[sampling.respace](last, sampling.steps),
            self.schedule,
            self.config.prediction,
            clip=1.0,
        )
