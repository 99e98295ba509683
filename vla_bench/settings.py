"""How the items of a run are played."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from vla_bench.cards import PolicyInputs
from vla_bench.input_controls import InputControl
from vla_bench.records import RunManifest
from vla_bench.suites.base import SuiteEnv


@dataclass(frozen=True)
class Settings:
    """How items are played, the same for all items of a run."""

    horizon: int
    """Execution horizon H."""
    max_steps: int | None
    """Control steps of an episode; None for what the suite says of the task."""
    outcome: Literal["latched", "final"]
    """Whether success at any step counts, or only at the last one."""
    inputs: PolicyInputs
    """Observation entries shown to the policy."""
    temporal_ensembling: float | None = None
    """ACT's coefficient m, None for plain chunk execution."""
    delay: int = 0
    """Reaction delay D: control steps from an observation to the chunk planned from it."""
    input_control: InputControl = "none"
    """What is done to the policy's inputs."""
    observe_every_step: bool = False
    """Render observations that nobody reads, to measure what skipping them saves."""

    @classmethod
    def of(cls, manifest: RunManifest) -> Self:
        """The settings of a run."""
        policy = manifest.policy
        return cls(
            horizon=manifest.horizon,
            max_steps=None,
            outcome=manifest.suite.outcome,
            inputs=policy.inputs,
            temporal_ensembling=policy.temporal_ensembling,
            delay=manifest.delay,
            input_control=manifest.input_control,
        )

    def limit(self, env: SuiteEnv) -> int:
        """Control steps after which an episode in an environment ends."""
        return self.max_steps or env.max_steps
