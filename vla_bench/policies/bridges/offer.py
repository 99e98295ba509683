"""What a server of ours tells of the policy behind it: all that a client needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from vla_bench.cards import ActionConvention, PolicyCard, PolicyInputs, SuiteCard
from vla_bench.policies.base import Policy
from vla_bench.policies.bridges.errors import BridgeError
from vla_bench.policies.bridges.wire import Wire

KEY = "vla_bench"
"""Where it stands among what a server tells."""


class Offer(BaseModel):
    """A policy that can be asked for plans, and what it needs."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    policy: str
    """Name of the policy."""
    card: str
    """Digest of its completed card, weights included."""
    suite: str
    """Suite that it was prepared for."""
    suite_card: str
    """Digest of the suite's card."""
    chunk_length: int
    """Actions in one chunk."""
    horizon: int
    """Its execution horizon."""
    temporal_ensembling: float | None
    """Its coefficient of temporal ensembling."""
    inputs: PolicyInputs
    """What it reads."""
    action: ActionConvention
    """What its actions mean."""
    wire: Wire
    """Where the server looks for what the policy reads."""
    corrects: bool
    """Whether it corrects every action just before it is played."""
    correction_images: bool
    """Whether it wants to see images for that."""

    @classmethod
    def of(cls, policy: Policy, wire: Wire) -> Self:
        """The offer of a policy that is served over a wire."""
        card = policy.card
        return cls(
            policy=card.name,
            card=card.digest,
            suite=policy.suite.name,
            suite_card=policy.suite.digest,
            chunk_length=card.chunk_length,
            horizon=card.horizon,
            temporal_ensembling=card.temporal_ensembling,
            inputs=card.inputs,
            action=card.action,
            wire=wire,
            corrects=policy.corrects,
            correction_images=policy.correction_images,
        )

    @classmethod
    def among(cls, told: Mapping[str, Any]) -> Self | None:
        """The offer in what a server told; None if it is no server of ours.

        Raises:
            BridgeError: It is one of another version.
        """
        if KEY not in told:
            return None
        try:
            return cls.model_validate(told[KEY])
        except ValidationError:
            raise BridgeError("the server is of another version of vla-bench; update one") from None

    def adopted(self, card: PolicyCard, suite: SuiteCard) -> PolicyCard:
        """The client's card with what the offer says in place of its own.

        Raises:
            BridgeError: The policy was prepared for another suite.
        """
        if self.suite != suite.name:
            raise BridgeError(
                f"the server has {self.policy} for {self.suite}, not for {suite.name}; use --suite "
                f"{self.suite}, or serve it with --suite {suite.name}"
            )
        if self.suite_card != suite.digest:
            raise BridgeError(
                f"the server's card of {suite.name} differs from the one here; serve with the same "
                f"card and the same --set suite.key=value"
            )
        return card.model_copy(
            update={
                "chunk_length": self.chunk_length,
                "horizon": self.horizon,
                "temporal_ensembling": self.temporal_ensembling,
                "inputs": self.inputs,
                "action": self.action,
                "wire": self.wire,
            }
        )
