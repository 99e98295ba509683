"""The contract of an action head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from vla_bench.errors import UserError
from vla_bench.nn.backbone import Context

PLACES = ("task", "end")
"""The two points of `Windows.places`: the next gripper event, and the gripper now."""


class Settings(BaseModel):
    """A head's settings: what it is built with, or how it samples. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class HeadSettings(Settings):
    """What a head is built with and trained on."""

    @abstractmethod
    def sampling(self) -> Settings:
        """How the head plans while it is trained: the defaults, as far as it can follow them."""

    def updates_before_actions(self) -> int:
        """First updates, which train no actions yet."""
        return 0

    def check(self, sampling: Settings) -> None:
        """Refuses sampling settings that a head so built cannot follow.

        Raises:
            UserError: Says which setting, and what can be done instead.
        """


def check_steps(wanted: int, most: int) -> None:
    """Refuses more denoising steps than a head has.

    Raises:
        UserError: There are fewer.
    """
    if wanted > most:
        raise UserError(
            f"--set steps={wanted}: expected 1 to {most}, the denoising steps of these weights; "
            f"use --set steps={most}"
        )


@dataclass(frozen=True)
class Windows:
    """A batch of training windows, in normalised units.

    Attributes:
        chunks: (B, P, A), the demonstrated actions; padded at an episode's end.
        valid: bool (B, P), False where padded.
        weights: (A,) or (1,), what an error of each action entry counts.
        places: float32 (B, 2, views, 2), where two points of the world are in each of the images: where
            the gripper will next open or close (`PLACES[0]`), and where it is now. Column and row as
            fractions of the image's width and height; NaN where unknown, behind the camera or out of
            the frame. None if the demonstrations tell no viewpoints.
    """

    chunks: Tensor
    valid: Tensor
    weights: Tensor = field(default_factory=lambda: torch.ones(1))
    places: Tensor | None = None

    def to(self, device: torch.device) -> Windows:
        """The same windows on a device."""
        return Windows(
            self.chunks.to(device),
            self.valid.to(device),
            self.weights.to(device),
            None if self.places is None else self.places.to(device),
        )

    def mean(self, errors: Tensor) -> Tensor:
        """Weighted mean of (B, P, A) errors over what is not padding."""
        valid = self.valid[..., None].expand_as(errors)
        return (errors * self.weights * valid).sum() / valid.sum().clamp(min=1)


class Candidates(NamedTuple):
    """The chunks that a head chooses from."""

    chunks: Tensor
    """(B, M, P, A), normalised units."""
    scores: Tensor
    """(B, M), the larger the better."""
    chosen: Tensor
    """int64 (B,), which one is played."""


class ActionHead(nn.Module, ABC):
    """Turns a context into an action chunk in normalised units."""

    def fit(self, chunks: NDArray[np.float32], seed: int) -> None:
        """Sets what is computed from the training chunks (N, P, A) before training begins."""

    def begin(self, update: int) -> None:
        """Told before each training update how many were made; for heads that train in stages."""

    @abstractmethod
    def loss(
        self, context: Context, windows: Windows, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Training losses of a batch; `total` is minimised, the others are logged."""

    @abstractmethod
    def noise_size(self) -> Sequence[int]:
        """Shape of the standard normal noise that one query consumes; () if none."""

    @abstractmethod
    def sample(self, context: Context, noise: Tensor, sampling: Settings) -> Tensor:
        """Plans chunks.

        Args:
            context: The context of B queries.
            noise: (B, *noise_size()).
            sampling: The head's sampling settings.

        Returns:
            (B, P, A), normalised units.
        """

    def attention(self, context: Context) -> dict[str, Tensor]:
        """Where the head looks: maps (B, views, rows, columns) by name; none if it cannot say."""
        return {}

    def candidates(self, context: Context, noise: Tensor, sampling: Settings) -> Candidates | None:
        """What `sample` chooses from, arguments as there; None if it plans a single chunk."""
        return None

    def diagnose(self, context: Context, windows: Windows, noise: Tensor) -> dict[str, float]:
        """Validation figures beyond the error of the sampled chunk."""
        return {}
