"""AnchorVLA's action head: truncated diffusion around anchors, and a score for each anchor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from vla_bench.nn.backbone import Context
from vla_bench.nn.dit import ChunkSizes, ChunkTransformer, ContextMemory
from vla_bench.nn.embeddings import sinusoidal
from vla_bench.nn.schedules import NoiseSchedule, ScheduleKind, ddim, respaced
from vla_bench.policies.anchorvla.selection import Select, select
from vla_bench.policies.anchorvla.vocabulary import AnchorSource, build_vocabulary
from vla_bench.policies.learned.head import (
    ActionHead,
    Candidates,
    HeadSettings,
    Settings,
    Windows,
    check_steps,
)


class AnchoredConfig(HeadSettings):
    """What an anchored head is built with and trained on."""

    kind: Literal["anchored"] = "anchored"
    heads: PositiveInt = 4
    """Attention heads."""
    anchors: PositiveInt = 20
    """Anchors M of the vocabulary."""
    anchor_source: AnchorSource = "kmeans"
    """Where the anchors come from."""
    diffusion_steps: PositiveInt = 50
    """Timesteps S of the whole schedule."""
    truncation: float = Field(0.2, gt=0, le=1)
    """Ratio rho: noise is drawn from the first max(1, round(rho S)) timesteps."""
    schedule: ScheduleKind = "cosine"
    """Noise schedule."""
    prediction: Literal["epsilon", "sample", "offset"] = "epsilon"
    """What the network predicts: the noise, the clean chunk, or its offset from the noisy one."""
    assign: Literal["l1", "l2"] = "l1"
    """Distance by which a demonstrated chunk is assigned to its anchor."""
    clamp_noisy: bool = True
    """Whether noisy anchors are clamped to [-1, 1]."""
    negatives: PositiveInt | None = None
    """Other anchors scored per update, weighted to stand for all; all of them if left out."""
    score_weight: PositiveFloat = 1.0
    """Weight lambda of the score's cross-entropy."""

    @property
    def truncated(self) -> int:
        """Timesteps of the truncated schedule."""
        return max(1, round(self.truncation * self.diffusion_steps))

    def sampling(self) -> AnchoredSampling:
        """See `HeadSettings.sampling`."""
        return AnchoredSampling(steps=min(AnchoredSampling().steps, self.truncated))

    def check(self, sampling: Settings) -> None:
        """See `HeadSettings.check`."""
        assert isinstance(sampling, AnchoredSampling)
        check_steps(sampling.steps, self.truncated)


class AnchoredSampling(Settings):
    """How an anchored head plans."""

    steps: PositiveInt = 2
    """Denoising steps."""
    select: Select = "argmax"
    """Which denoised anchor is played: the best score, a draw by score, the first, a uniform draw, or
    the anchor with most training chunks."""


class AnchoredHead(ActionHead):
    """Denoises around every anchor and plays the one with the best score (AnchorVLA, section 3.2).

    Args:
        config: Settings.
        sizes: What the head is built for.
    """

    anchors: Tensor
    counts: Tensor

    def __init__(self, config: AnchoredConfig, sizes: ChunkSizes) -> None:
        super().__init__()
        self.config, self.sizes = config, sizes
        width = sizes.width
        self.register_buffer(
            "anchors", torch.zeros(config.anchors, sizes.chunk_length, sizes.action_size)
        )
        self.register_buffer("counts", torch.zeros(config.anchors))
        self.schedule = NoiseSchedule(config.diffusion_steps, config.schedule)
        self.transformer = ChunkTransformer(sizes, config.heads)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.out = nn.Linear(width, sizes.action_size)
        hidden, last = nn.Linear(3 * width, width), nn.Linear(width, 1)
        nn.init.constant_(last.bias, -math.log(max(config.anchors - 1, 1)))
        self.score = nn.Sequential(hidden, nn.SiLU(), last)

    def fit(self, chunks: NDArray[np.float32], seed: int) -> None:
        """Clusters the training chunks into the vocabulary."""
        made = build_vocabulary(chunks, self.config.anchors, self.config.anchor_source, seed)
        self.anchors.copy_(torch.from_numpy(made.anchors))
        self.counts.copy_(torch.from_numpy(made.counts))

    def loss(
        self, context: Context, windows: Windows, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Reconstruction of the assigned anchor and cross-entropy of the scores (eqs 7-9)."""
        assigned = self.assign(windows)
        chosen, weights = self._candidates(assigned, generator)
        batch = len(assigned)
        tau = torch.randint(self.config.truncated, (batch,), generator=generator).to(
            assigned.device
        )
        noise = torch.randn((batch, *self.anchors[chosen].shape[1:]), generator=generator)
        noisy = self._noisy(self.anchors[chosen], noise.to(assigned.device), tau)
        memory = self.transformer.remember(context)
        clean, score = self._denoise(noisy, tau, memory, context)
        target = torch.zeros_like(score)
        target[:, 0] = 1.0
        entropy = functional.binary_cross_entropy_with_logits(
            score, target, weights, reduction="sum"
        )
        entropy = entropy / (batch * len(self.anchors))
        reconstruction = windows.mean((clean[:, 0] - windows.chunks).abs())
        total = reconstruction + self.config.score_weight * entropy
        return {"total": total, "reconstruction": reconstruction, "score": entropy}

    def assign(self, windows: Windows) -> Tensor:
        """Index (B,) of the clean anchor nearest to each demonstrated chunk (eq. 8)."""
        difference = windows.chunks[:, None] - self.anchors
        valid = windows.valid[:, None, :, None]
        if self.config.assign == "l1":
            return (difference.abs() * valid).mean((2, 3)).argmin(1)
        return (difference.square() * valid).sum(3).sqrt().mean(2).argmin(1)

    def _candidates(self, assigned: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The assigned anchor and others, (B, K), and their weights in the score's loss."""
        others = len(self.anchors) - 1
        negatives = min(self.config.negatives or others, others)
        shuffled = torch.rand(len(assigned), others, generator=generator).argsort(1)[:, :negatives]
        drawn = shuffled.to(assigned.device)
        drawn = drawn + (drawn >= assigned[:, None])
        weights = torch.full((len(assigned), negatives + 1), others / max(negatives, 1))
        weights[:, 0] = 1.0
        return torch.cat([assigned[:, None], drawn], 1), weights.to(assigned.device)

    def _noisy(self, anchors: Tensor, noise: Tensor, tau: Tensor) -> Tensor:
        """Noise around anchors (eq. 4); the anchors of one sample share its timestep."""
        noisy = self.schedule.add_noise(anchors, noise, tau)
        return noisy.clamp(-1, 1) if self.config.clamp_noisy else noisy

    def _denoise(
        self, noisy: Tensor, tau: Tensor, memory: ContextMemory, context: Context
    ) -> tuple[Tensor, Tensor]:
        """Clean chunks (B, M, P, A) and scores (B, M) from noisy ones (eqs 5 and 6)."""
        time = self.time(sinusoidal(tau, self.sizes.width))
        features = self.transformer(noisy, memory, time)
        predicted = self.out(features)
        pooled = context.pooled()[:, None].expand(-1, noisy.shape[1], -1)
        score = self.score(torch.cat([features.mean(2), pooled], dim=-1))[..., 0]
        return self._clean(noisy, predicted, tau), score

    def _clean(self, noisy: Tensor, predicted: Tensor, tau: Tensor) -> Tensor:
        if self.config.prediction == "offset":
            return noisy + predicted
        return self.schedule.to_clean(noisy, predicted, tau, self.config.prediction)

    def noise_size(self) -> Sequence[int]:
        """One draw per anchor, and one number that `select` may use."""
        return (self.anchors.numel() + 1,)

    def sample(self, context: Context, noise: Tensor, sampling: Settings) -> Tensor:
        """Denoises all anchors and selects one (eqs 10 and 11)."""
        chunks, _, chosen = self.candidates(context, noise, sampling)
        return chunks[torch.arange(len(chunks)), chosen]

    def candidates(self, context: Context, noise: Tensor, sampling: Settings) -> Candidates:
        """Every anchor denoised."""
        assert isinstance(sampling, AnchoredSampling)
        chunks, scores = self.propose(context, noise[:, :-1], sampling.steps)
        return Candidates(
            chunks, scores, select(sampling.select, scores, self.counts, noise[:, -1])
        )

    def propose(self, context: Context, noise: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Denoised chunks of every anchor and their scores at the last step.

        Args:
            context: The context of B queries.
            noise: (B, M P A).
            steps: Denoising steps.

        Returns:
            (B, M, P, A) and (B, M).
        """
        memory = self.transformer.remember(context)
        scores = torch.empty(0)

        def denoise(noisy: Tensor, tau: Tensor) -> Tensor:
            nonlocal scores
            clean, scores = self._denoise(noisy, tau, memory, context)
            return clean

        timesteps = respaced(self.config.truncated - 1, steps)
        start = torch.full((len(noise),), timesteps[0], device=noise.device)
        noisy = self._noisy(
            self.anchors.expand(len(noise), -1, -1, -1),
            noise.reshape(-1, *self.anchors.shape),
            start,
        )
        chunks = ddim(denoise, noisy, timesteps, self.schedule, "sample")
        return chunks, scores

    def diagnose(self, context: Context, windows: Windows, noise: Tensor) -> dict[str, float]:
        """Error of the chunk selected by score, by an oracle and at random; accuracy of the score."""
        chunks, scores = self.propose(context, noise[:, :-1], self.config.sampling().steps)
        errors = (chunks - windows.chunks[:, None]).abs() * windows.valid[:, None, :, None]
        errors = errors.sum((2, 3)) / (windows.valid.sum(1)[:, None] * chunks.shape[-1])
        rows = torch.arange(len(scores))
        return {
            "error_learned": float(errors[rows, scores.argmax(1)].mean()),
            "error_oracle": float(errors.min(1).values.mean()),
            "error_random": float(errors.mean()),
            "score_accuracy": float((scores.argmax(1) == self.assign(windows)).float().mean()),
        }
