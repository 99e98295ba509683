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
    episode = _Episode(env, policy, item, settings, frame_sink)
    episode.begin()
    try:
        episode.run()
    except PolicyError as error:
        episode.error = str(error)
    return episode.record()


@dataclass
class _Episode:
    """One rollout, and what it has come to so far."""

    env: SuiteEnv
    policy: Policy
    item: WorkItem
    settings: Settings
    frame_sink: FrameSink | None
    steps: int = 0
    first_success: int | None = None
    holds: bool = False
    """Whether the success conditions held after the last step."""
    queries: int = 0
    error: str | None = None
    probe: str = ""

    def __post_init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        self.clock = _Clock()
        self.states, self.actions = hashlib.sha256(), hashlib.sha256()

    def begin(self) -> None:
        """Sets up the world."""
        with self.clock("simulation_s"):
            self.env.begin(self.item)
        self.probe = self.env.world_probe()
        self._note_state()

    def run(self) -> None:
        """Plays step after step until the outcome is settled."""
        settings, policy = self.settings, self.policy
        with self.clock("policy_s"), _contract():
            policy.reset(self.item)
        chunks = ChunkPlayer(settings.horizon, settings.temporal_ensembling)
        while self.steps < settings.max_steps:
            if settings.observe_every_step or policy.corrects or chunks.due(self.steps):
                observation = self._observe()
            with self.clock("policy_s"):
                if chunks.due(self.steps):
                    chunks.add(self.steps, _plan(policy, observation))
                    self.queries += 1
                action = _next_action(policy, chunks, observation, self.steps)
            self._step(action)
            if self.holds and settings.outcome == "latched":
                return

    def _observe(self) -> Observation:
        with self.clock("observation_s"):
            raw = self.env.observe()
            return _shown(raw, self.item, self.steps, self.settings.inputs)

    def _step(self, action: Action) -> None:
        self.actions.update(action.tobytes())
        with self.clock("simulation_s"):
            self.holds = self.env.advance(action)
        self.steps += 1
        self._note_state()
        if self.holds and self.first_success is None:
            self.first_success = self.steps

    def _note_state(self) -> None:
        self.states.update(self.env.state_bytes())
        if self.frame_sink is not None:
            self.frame_sink(self.env)

    def record(self) -> EpisodeRecord:
        """The record of the episode as it stands."""
        success, reason = self._outcome()
        return EpisodeRecord.of(
            self.item,
            self.policy.card.name,
            success=success,
            reason=reason,
            steps=self.steps,
            first_success=self.first_success,
            horizon=self.settings.horizon,
            queries=self.queries,
            probe=self.probe,
            states=self.states.hexdigest()[:16],
            actions=self.actions.hexdigest()[:16],
            error=self.error,
            wall_s=time.perf_counter() - self.wall,
            cpu_s=time.process_time() - self.cpu,
            **self.clock.spent,
        )

    def _outcome(self) -> tuple[bool, Reason]:
        if self.error is not None:
            return False, "policy_error"
        latched = self.settings.outcome == "latched"
        success = self.first_success is not None if latched else self.holds
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
    _check_shape(policy, "plan", chunks, (1, policy.card.chunk_length, policy.action_size))
    chunk: NDArray[np.float32] = chunks[0]
    return chunk


def _next_action(
    policy: Policy, chunks: ChunkPlayer, observation: Observation, step: int
) -> NDArray[np.float32]:
    action = chunks.action(step)
    if policy.corrects:
        with _contract():
            action = np.asarray(policy.correct(observation, action, chunks.age(step)), np.float32)
        _check_shape(policy, "correct", action, (policy.action_size,))
    if not np.all(np.isfinite(action)):
        raise PolicyError(
            f"action at step {step} is not finite: entries {_positions(~np.isfinite(action))}"
        )
    return action


def _check_shape(
    policy: Policy, method: str, array: NDArray[np.float32], expected: tuple[int, ...]
) -> None:
    if array.shape != expected:
        raise UserError(
            f"policy {policy.card.name}: {method} returned shape {array.shape}, expected {expected}; "
            f"mend {policy.card.adapter}, or chunk_length and action on its card"
        )


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
