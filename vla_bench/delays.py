"""Reaction delays: control steps from an observation to its chunk, given or from a measured latency."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import UserError

MEASURED = "measured:"
PROFILES = Path("results") / "profiles"
"""Where `vla-bench profile` keeps what it measured."""


class Latency(BaseModel):
    """A measured time, from an observation to its chunk."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ms: float
    """Median wall-clock time of a query (ms)."""
    device: str
    """Where it was measured: `cpu`, or the GPU's name."""


@dataclass(frozen=True)
class Delay:
    """A reaction delay, and where it comes from."""

    steps: int
    """Control steps from an observation to the chunk planned from it."""
    latency: Latency | None = None
    """The measurement that it was made from."""


def find_delay(wanted: int | str, policy: PolicyCard, suite: SuiteCard) -> Delay:
    """The delay that a run asks for.

    Args:
        wanted: Control steps, or `measured:DEVICE`.
        policy: The policy's card, prepared for the suite.
        suite: The suite's card: says how long a control step is.

    Raises:
        UserError: It is neither, or there is no such measurement.
    """
    text = str(wanted)
    if text.startswith(MEASURED) and text != MEASURED:
        latency = _measured(text.removeprefix(MEASURED), policy, suite)
        return Delay(steps_of(latency.ms, suite.control_hz), latency)
    if not (text.isascii() and text.isdigit()):
        raise UserError(
            f"--delay {text}: expected a number of control steps from 0, or measured:DEVICE; "
            f"e.g. --delay 2 or --delay measured:cpu"
        )
    return Delay(int(text))


def steps_of(ms: float, control_hz: int) -> int:
    """A time in whole control steps, rounded up."""
    return math.ceil(ms * control_hz / 1000)


def _measured(device: str, policy: PolicyCard, suite: SuiteCard) -> Latency:
    if policy.adapter != "learned":
        raise UserError(
            f"--delay {MEASURED}{device}: {policy.name} has no model to profile; give control steps, "
            f"e.g. --delay 2"
        )
    from vla_bench.policies.learned.kept_profiles import find_profile

    timing = find_profile(device, policy, suite).timing
    assert timing is not None
    return Latency(ms=timing.latency_p50_ms, device=timing.device)
