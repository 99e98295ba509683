"""The episode loop: plays one work item with one policy. No files, no Ray."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from vla_bench.cards import PolicyInputs
from vla_bench.chunks import ChunkPlayer
from vla_bench.errors import PolicyError, UserError
from vla_bench.items import WorkItem
from vla_bench.policies.base import Observation, Policy
from vla_bench.records import EpisodeRecord, Reason, RunManifest
from vla_bench.suites.base import RawObservation, SuiteEnv

Action = NDArray[np.float32]
FrameSink = Callable[[SuiteEnv], None]
"""Called after the set-up and after every control step; a video is written by one."""


@dataclass(frozen=True)
class Settings:
    """How items are played, the same for all items of a run."""

    horizon: int
    """Execution horizon H."""
    max_steps: int
    """Control steps of an episode."""
    outcome: Literal["latched", "final"]
    """Whether success at any step counts, or only at the last one."""
    inputs: PolicyInputs
    """Observation entries shown to the policy."""
    temporal_ensembling: float | None = None
    """ACT's coefficient m, None for plain chunk execution."""
    observe_every_step: bool = False
    """Render observations that nobody reads, to measure what skipping them saves."""

    @classmethod
    def of(cls, manifest: RunManifest) -> Self:
        """The settings of a run."""
        policy, suite = manifest.policy, manifest.suite
        return cls(
            horizon=manifest.horizon,
            max_steps=suite.max_steps,
            outcome=suite.outcome,
            inputs=policy.inputs,
            temporal_ensembling=policy.temporal_ensembling,
        )


@dataclass
class _Clock:
    """Wall-clock time by what it was spent on (s)."""

    spent: dict[str, float] = field(
        default_factory=lambda: {"policy_s": 0.0, "simulation_s": 0.0, "observation_s": 0.0}
    )

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spent[name] += time.perf_counter() - start


@dataclass
class _Progress:
    """What an episode has come to so far."""

    steps: int = 0
    first_success: int | None = None
    holds: bool = False
    queries: int = 0
    error: str | None = None
    states: hashlib._Hash = field(default_factory=hashlib.sha256)
    actions: hashlib._Hash = field(default_factory=hashlib.sha256)


def play(
    env: SuiteEnv,
    policy: Policy,
    item: WorkItem,
    settings: Settings,
    frame_sink: FrameSink | None = None,
) -> EpisodeRecord:
    """Plays one item from its initial state to its end.

    The environment renders only what is read: the observation before each plan, and the one before each
    step if the policy corrects per step.

    Args:
        env: Environment of the item's task.
        policy: The policy.
        item: The item.
        settings: How to play it.
        frame_sink: Called with the environment at every step, e.g. to write a video.

    Returns:
        The record. A policy that breaks its contract ends the episode as `policy_error`.

    Raises:
        UserError: A chunk has the wrong shape: no episode of this policy could be right.
        Exception: Whatever the simulator raises; the executor retries the item.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    clock, progress = _Clock(), _Progress()
    with clock("simulation_s"):
        env.begin(item)
    probe = env.world_probe()
    progress.states.update(env.state_bytes())
    if frame_sink is not None:
        frame_sink(env)
    try:
        with clock("policy_s"), _contract():
            policy.reset(item)
        _steps(env, policy, item, settings, clock, progress, frame_sink)
    except PolicyError as error:
        progress.error = str(error)
    success, reason = _outcome(progress, settings)
    return EpisodeRecord.of(
        item,
        policy.card.name,
        success=success,
        reason=reason,
        steps=progress.steps,
        first_success=progress.first_success,
        horizon=settings.horizon,
        queries=progress.queries,
        probe=probe,
        states=progress.states.hexdigest()[:16],
        actions=progress.actions.hexdigest()[:16],
        error=progress.error,
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
        **clock.spent,
    )


def _steps(
    env: SuiteEnv,
    policy: Policy,
    item: WorkItem,
    settings: Settings,
    clock: _Clock,
    progress: _Progress,
    frame_sink: FrameSink | None,
) -> None:
    chunks = ChunkPlayer(settings.horizon, settings.temporal_ensembling)
    observation: Observation | None = None
    while progress.steps < settings.max_steps:
        step = progress.steps
        if settings.observe_every_step or policy.corrects or chunks.due(step):
            with clock("observation_s"):
                observation = _shown(env.observe(), item, step, settings.inputs)
        assert observation is not None
        with clock("policy_s"):
            if chunks.due(step):
                chunks.add(step, _plan(policy, observation))
                progress.queries += 1
            action = _next_action(policy, chunks, observation, step)
        progress.actions.update(action.tobytes())
        with clock("simulation_s"):
            progress.holds = env.advance(action)
        progress.steps = step + 1
        progress.states.update(env.state_bytes())
        if frame_sink is not None:
            frame_sink(env)
        if progress.holds and progress.first_success is None:
            progress.first_success = progress.steps
            if settings.outcome == "latched":
                return


def _outcome(progress: _Progress, settings: Settings) -> tuple[bool, Reason]:
    if progress.error is not None:
        return False, "policy_error"
    latched = settings.outcome == "latched"
    success = progress.first_success is not None if latched else progress.holds
    return success, "success" if success else "timeout"


def _shown(raw: RawObservation, item: WorkItem, step: int, inputs: PolicyInputs) -> Observation:
    """The part of an observation that the policy's card declares."""
    return Observation(
        item=item,
        step=step,
        instruction=item.instruction,
        images={name: raw["images"][name] for name in inputs.images},
        state={name: raw["state"][name] for name in inputs.state},
        privileged={name: raw["privileged"][name] for name in inputs.privileged},
    )


def _plan(policy: Policy, observation: Observation) -> NDArray[np.float32]:
    """One chunk, float32 (chunk length, action size)."""
    with _contract():
        chunks = np.asarray(policy.plan([observation]), dtype=np.float32)
    expected = (1, policy.card.chunk_length, policy.action_size)
    if chunks.shape != expected:
        raise UserError(
            f"policy {policy.card.name}: plan returned shape {chunks.shape}, expected {expected} "
            f"(batch, chunk length, action size); mend {policy.card.adapter} or its card"
        )
    chunk: NDArray[np.float32] = chunks[0]
    return chunk


def _next_action(
    policy: Policy, chunks: ChunkPlayer, observation: Observation, step: int
) -> NDArray[np.float32]:
    action = chunks.action(step)
    if policy.corrects:
        with _contract():
            action = policy.correct(observation, action, chunks.age(step))
    if not np.all(np.isfinite(action)):
        raise PolicyError(
            f"action at step {step} is not finite: entries {_positions(~np.isfinite(action))}"
        )
    return action


def _positions(mask: NDArray[np.bool_]) -> Sequence[int]:
    return [int(i) for i in np.flatnonzero(mask)]


@contextmanager
def _contract() -> Iterator[None]:
    """An exception inside a policy ends the episode, not the run."""
    try:
        yield
    except (UserError, PolicyError):
        raise
    except Exception as error:
        raise PolicyError(f"{type(error).__name__}: {error}") from error
