"""What an episode under way asks of whoever plays it, and what it is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_bench.planning import Answer
from vla_bench.policies.base import Observation
from vla_bench.records import EpisodeRecord

Action = NDArray[np.float32]


@dataclass(frozen=True)
class PlayedStep:
    """One episode's part of a control step that several may have played together."""

    success: bool
    """Whether the success conditions hold after the step."""
    wall_s: float
    """The episode's share of the step's wall-clock time (s)."""
    cpu_s: float
    """The episode's share of the step's CPU time (s)."""


Request = Observation | Action
"""A plan for an observation, or that an action be played."""
Reply = Answer | PlayedStep
Lockstep = Generator[Request, Reply, EpisodeRecord]
"""An episode that leaves plans and control steps to others: each request is sent its reply."""


def played_steps(
    advance: Callable[[Sequence[Action]], Iterable[bool]], actions: Sequence[Action]
) -> list[PlayedStep]:
    """Plays one control step of some episodes and says to each of them what came of it.

    Args:
        advance: Plays the actions; returns whether each episode's success conditions hold then.
        actions: One per episode, at least one.
    """
    wall, cpu, count = time.perf_counter(), time.process_time(), len(actions)
    successes = list(advance(actions))
    wall_s, cpu_s = (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count
    return [PlayedStep(bool(success), wall_s, cpu_s) for success in successes]
