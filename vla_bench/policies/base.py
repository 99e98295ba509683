"""The contract of a policy: `reset` and `plan`, and `correct` for per-step residual correction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bench.cards import PolicyCard, PolicyInputs, SuiteCard
from vla_bench.items import WorkItem
from vla_bench.policies.diagnostics import Diagnostics

ActionChunks = NDArray[np.float32]
"""(batch, chunk length, action size)."""


@dataclass(frozen=True)
class Observation:
    """What a policy is shown: the entries that its card declares, and no others."""

    item: WorkItem
    """The episode; its digest tells episodes of one batch apart."""
    step: int
    """Control steps played so far."""
    instruction: str
    """What the robot is told to do; under an input control not what the item says."""
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    """Camera name -> uint8 (H, W, 3), RGB."""
    state: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Entry name -> float32 (n,)."""
    privileged: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Entry name -> float32 (n,), only if the card declares it."""

    @classmethod
    def shown(
        cls,
        raw: Mapping[str, Mapping[str, NDArray[Any]]],
        item: WorkItem,
        step: int,
        inputs: PolicyInputs,
        images: bool = True,
    ) -> Observation:
        """The part of an environment's observation that a policy's card declares.

        Args:
            raw: From `SuiteEnv.observe`.
            item: The episode.
            step: Control steps played so far.
            inputs: What the card declares.
            images: Whether the images were rendered.
        """
        return cls(
            item=item,
            step=step,
            instruction=item.instruction,
            images={name: raw["images"][name] for name in inputs.images if images},
            state={name: raw["state"][name] for name in inputs.state},
            privileged={name: raw["privileged"][name] for name in inputs.privileged},
        )


class Policy(ABC):
    """Turns observations into action chunks.

    Args:
        card: The policy's card, options overridden by the run, completed by `prepare`.
        suite: Card of the suite it is run on.

    Attributes:
        correction_images: Whether `correct` reads images. If not, nothing is rendered for it: at steps
            where no plan is due, the observation's `images` is empty.
        batch: Episodes that the run plans together, at most. A policy whose last bits depend on the size
            of its forward pass always makes one of this size, so that it does not matter who is in it.
    """

    correction_images: bool = True
    batch: int = 1

    @classmethod
    def prepare(cls, card: PolicyCard, suite: SuiteCard) -> PolicyCard:
        """Completes a card for one suite, e.g. with what a checkpoint says, before anything is checked.

        Called once per run, never for a card that it returned: the run's manifest holds the result.

        Args:
            card: The policy's card, options overridden by the run.
            suite: Card of the suite it is to be run on.

        Raises:
            UserError: The card cannot be completed, e.g. because there is no such checkpoint.
        """
        return card

    def __init__(self, card: PolicyCard, suite: SuiteCard) -> None:
        self.card = card
        self.suite = suite
        assert suite.action.size is not None
        self.action_size = suite.action.size

    def reset(self, item: WorkItem) -> None:  # noqa: B027  most policies have nothing to reset
        """An episode begins, perhaps while others go on.

        Draw randomness from `item.generator(...)`, nowhere else.
        """

    @abstractmethod
    def plan(self, observations: Sequence[Observation]) -> ActionChunks:
        """Plans one chunk for each observation of a batch.

        Under a reaction delay it is called when the chunk becomes available, with the observation of
        that many steps ago.

        Args:
            observations: One per episode, in the order of their items, at whatever steps these are; the
                result for one must not depend on its neighbours.

        Returns:
            Float32 (len(observations), chunk length, action size).
        """

    def diagnostics(self) -> Diagnostics:
        """What it can show of how it plans, for `vla-bench inspect`; nothing, unless overridden."""
        return Diagnostics()

    @property
    def corrects(self) -> bool:
        """Whether `correct` wants an observation at every step."""
        return type(self).correct is not Policy.correct

    def correct(
        self, observation: Observation, action: NDArray[np.float32], k: int
    ) -> NDArray[np.float32]:
        """Corrects one action just before it is played.

        Args:
            observation: The observation at this step; see `correction_images`.
            action: The planned action, float32 (action size,).
            k: Index of the action in the latest chunk, from 0.

        Returns:
            The action to play, float32 (action size,).
        """
        return action
