"""ACT: a conditional variational autoencoder over action chunks (Zhao et al. 2023, section IV)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from vla_bench.nn.attention import Layer
from vla_bench.nn.backbone import Context
from vla_bench.nn.dit import ChunkSizes, ChunkTransformer
from vla_bench.policies.learned.head import (
    ActionHead,
    HeadSettings,
    Settings,
    Windows,
)


class ActConfig(HeadSettings):
    """What an ACT head is built with and trained on."""

    kind: Literal["act"] = "act"
    heads: PositiveInt = 4
    """Attention heads."""
    latent: PositiveInt = 32
    """Size of the style variable z."""
    encoder_layers: PositiveInt = 2
    """Layers of the encoder that z is drawn from in training."""
    kl_weight: NonNegativeFloat = 10.0
    """Weight beta of the divergence from the standard normal prior."""

    def sampling(self) -> ActSampling:
        """See `HeadSettings.sampling`."""
        return ActSampling()


class ActSampling(Settings):
    """ACT plans with z = 0."""


class ActHead(ActionHead):
    """Decodes a chunk from the context and a style variable that is zero at test time.

    Args:
        config: Settings.
        sizes: What the head is built for.
    """

    def __init__(self, config: ActConfig, sizes: ChunkSizes) -> None:
        super().__init__()
        self.config, self.sizes = config, sizes
        width = sizes.width
        self.embed = nn.Linear(sizes.action_size, width)
        self.place = nn.Parameter(0.02 * torch.randn(sizes.chunk_length + 2, width))
        self.encoder = nn.ModuleList(
            Layer(width, config.heads) for _ in range(config.encoder_layers)
        )
        self.posterior = nn.Linear(width, 2 * config.latent)
        self.style = nn.Linear(config.latent, width)
        self.transformer = ChunkTransformer(sizes, config.heads)
        self.out = nn.Linear(width, sizes.action_size)

    def loss(
        self, context: Context, windows: Windows, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Absolute error plus beta times the divergence."""
        mean, log_variance = self._encode(context, windows).chunk(2, dim=-1)
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        latent = mean + (0.5 * log_variance).exp() * noise
        error = windows.mean((self._decode(context, latent) - windows.chunks).abs())
        divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(-1).mean()
        total = error + self.config.kl_weight * divergence
        return {"total": total, "reconstruction": error, "divergence": divergence}

    def _encode(self, context: Context, windows: Windows) -> Tensor:
        """Mean and log-variance of z, (B, 2 latent); padded actions are not attended to."""
        chunk = self.embed(windows.chunks)
        first = torch.zeros_like(chunk[:, :1])
        x = torch.cat([first, context.proprioception, chunk], dim=1) + self.place
        bias = torch.zeros(len(x), 1, 1, x.shape[1], device=x.device)
        bias[:, 0, 0, 2:].masked_fill_(~windows.valid, float("-inf"))
        for layer in self.encoder:
            x = layer(x, bias)
        out: Tensor = self.posterior(x[:, 0])
        return out

    def _decode(self, context: Context, latent: Tensor) -> Tensor:
        memory = self.transformer.remember(context)
        shape = (len(latent), 1, self.sizes.chunk_length, self.sizes.action_size)
        zeros = torch.zeros(shape, device=latent.device)
        out: Tensor = self.out(self.transformer(zeros, memory, self.style(latent)))[:, 0]
        return out

    def noise_size(self) -> Sequence[int]:
        """None: z is the mean of its prior."""
        return ()

    def sample(self, context: Context, noise: Tensor, sampling: Settings) -> Tensor:
        """The chunk decoded from z = 0."""
        shape = (len(context.proprioception), self.config.latent)
        return self._decode(context, torch.zeros(shape, device=context.proprioception.device))
