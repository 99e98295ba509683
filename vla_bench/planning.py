"""Asks a policy for chunks and actions, and holds it to its contract."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_bench.chunks import ChunkPlayer
from vla_bench.errors import PlanLost, PolicyError, UserError
from vla_bench.policies.base import Observation, Policy


@dataclass(frozen=True)
class PlannedChunk:
    """One episode's part of a call of `plan`."""

    chunk: NDArray[np.float32]
    """Float32 (chunk length, action size)."""
    wall_s: float
    """The episode's share of the call's wall-clock time (s)."""
    cpu_s: float
    """The episode's share of the call's CPU time (s)."""


Answer = PlannedChunk | PolicyError | PlanLost
"""What an episode is told when it asks for a plan."""
LARGEST = 1e6
"""No action is larger in any unit; what lies within but outside the action space is clipped."""


def plan_chunks(policy: Policy, observations: Sequence[Observation]) -> Sequence[Answer]:
    """Plans one chunk for each of some episodes, in a single call.

    Args:
        policy: The policy.
        observations: One per episode, at least one.

    Returns:
        One answer per observation. An exception in `plan`, or a result of the wrong shape, is the answer
        to all of them; after a lost plan, each is asked for alone.
    """
    wall, cpu, count = time.perf_counter(), time.process_time(), len(observations)
    try:
        with contract():
            # A copy: the policy may fill the same buffer again while this chunk is being played.
            chunks = np.array(policy.plan(observations), dtype=np.float32)
        _check_shape(policy, "plan", chunks, (count, policy.card.chunk_length, policy.action_size))
    except PolicyError as error:
        return [error] * count
    except PlanLost as lost:
        if count == 1:
            return [lost]
        return [answer for one in observations for answer in plan_chunks(policy, [one])]
    wall_s, cpu_s = (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count
    return [PlannedChunk(chunk, wall_s, cpu_s) for chunk in chunks]


def next_action(
    policy: Policy, chunks: ChunkPlayer, observation: Observation, step: int
) -> NDArray[np.float32]:
    """The action to play at a step, corrected if the policy does so; finite float32 (action size,).

    Zeros, not corrected, where the robot holds because it has no action left.

    Args:
        policy: The policy.
        chunks: The chunks planned so far.
        observation: The latest observation; of this step if the policy corrects.
        step: Control steps played so far.

    Raises:
        PolicyError: The action has the wrong shape or entries that no action has, or `correct` raised an
            exception.
    """
    action = chunks.action(step)
    if action is None:
        return np.zeros(policy.action_size, np.float32)
    if policy.corrects:
        with contract():
            action = np.asarray(policy.correct(observation, action, chunks.index(step)), np.float32)
        _check_shape(policy, "correct", action, (policy.action_size,))
    if not np.all(np.isfinite(action)):
        raise PolicyError(
            f"action at step {step} is not finite: entries {_positions(~np.isfinite(action))}"
        )
    huge = np.abs(action) > LARGEST
    if np.any(huge):
        raise PolicyError(
            f"action at step {step} is beyond {LARGEST:g}: entries {_positions(huge)}"
        )
    return action


@contextmanager
def contract() -> Iterator[None]:
    """An exception inside a policy ends the episode, not the run."""
    try:
        yield
    except (UserError, PolicyError, PlanLost):
        raise
    except Exception as error:
        raise PolicyError(f"{type(error).__name__}: {error}") from error


def _check_shape(
    policy: Policy, method: str, array: NDArray[np.float32], expected: tuple[int, ...]
) -> None:
    if array.shape != expected:
        raise PolicyError(
            f"policy {policy.card.name}: {method} returned shape {array.shape}, expected {expected}; "
            f"mend {policy.card.adapter}, or chunk_length and action on its card"
        )


def _positions(mask: NDArray[np.bool_]) -> Sequence[int]:
    return [int(i) for i in np.flatnonzero(mask)]
