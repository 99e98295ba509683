"""The episode loop: plays one work item with one policy. No files, no Ray."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_bench.cards import PolicyInputs
from vla_bench.chunks import Chunk, ChunkPlayer
from vla_bench.clock import Clock
from vla_bench.errors import PolicyError
from vla_bench.input_controls import controlled
from vla_bench.items import WorkItem
from vla_bench.perturbations.catalogue import make_perturbation
from vla_bench.planning import Answer, contract, next_action, plan_chunks
from vla_bench.policies.base import Observation, Policy
from vla_bench.records import EpisodeRecord, Reason
from vla_bench.settings import Settings
from vla_bench.suites.base import RawObservation, SuiteEnv

Action = NDArray[np.float32]
FrameSink = Callable[[SuiteEnv], None]
"""Called after the set-up and after every control step; a video is written by one."""
Rollout = Generator[Observation, Answer, EpisodeRecord]
"""An episode under way: yields an observation whenever a plan is due, and is sent the answer."""


def play(
    env: SuiteEnv,
    policy: Policy,
    item: WorkItem,
    settings: Settings,
    frame_sink: FrameSink | None = None,
) -> EpisodeRecord:
    """Plays one item from its initial state to its end.

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
    episode = rollout(env, policy, item, settings, frame_sink)
    try:
        observation = next(episode)
        while True:
            [answer] = plan_chunks(policy, [observation])
            observation = episode.send(answer)
    except StopIteration as end:
        record: EpisodeRecord = end.value
        return record


def rollout(
    env: SuiteEnv,
    policy: Policy,
    item: WorkItem,
    settings: Settings,
    frame_sink: FrameSink | None = None,
) -> Rollout:
    """One episode that leaves the planning to its caller, who may plan for several at once.

    The environment renders only what is read: the observation before each plan, and the one before each
    step if the policy corrects per step.

    Args:
        env: Environment of the item's task; of no other episode until this one has ended.
        policy: The policy, for all but `plan`.
        item: The item.
        settings: How to play it.
        frame_sink: Called with the environment at every step, e.g. to write a video.

    Yields:
        The observation that a plan is due for; expects to be sent the answer of `plan_chunks`.

    Returns:
        The record. A policy that breaks its contract ends the episode as `policy_error`.

    Raises:
        UserError: An action has the wrong shape: no episode of this policy could be right.
        Exception: Whatever the simulator raises.
    """
    episode = _Episode(env, policy, item, settings, frame_sink)
    episode.begin()
    try:
        yield from episode.run()
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
        self.clock = Clock()
        self.states, self.actions = hashlib.sha256(), hashlib.sha256()
        self.perturbation = make_perturbation(self.item, self.policy.suite)

    def begin(self) -> None:
        """Sets up the world."""
        with self.clock("simulation_s"):
            self.env.begin(self.item)
        self.probe = self.env.world_probe()
        self.perturbation.begin(self.env)
        self._note_state()

    def run(self) -> Generator[Observation, Answer, None]:
        """Plays step after step until the outcome is settled."""
        settings, policy = self.settings, self.policy
        with self.clock("policy_s"), contract():
            policy.reset(self.item)
        chunks = ChunkPlayer(settings.horizon, settings.temporal_ensembling)
        limit = settings.max_steps or self.env.max_steps
        while self.steps < limit:
            due = chunks.due(self.steps)
            if due or policy.corrects or settings.observe_every_step:
                observation = self._observe(images=due or policy.correction_images)
            if due:
                chunks.add(self.steps, (yield from self._planned(observation)))
            with self.clock("policy_s"):
                action = next_action(policy, chunks, observation, self.steps)
            self._step(action)
            if self.holds and settings.outcome == "latched":
                return

    def _planned(self, observation: Observation) -> Generator[Observation, Answer, Chunk]:
        self.clock.pause()
        answer = yield observation
        self.clock.resume()
        if isinstance(answer, PolicyError):
            raise answer
        self.clock.add("policy_s", answer.wall_s)
        self.clock.add("wall_s", answer.wall_s)
        self.clock.add("cpu_s", answer.cpu_s)
        self.queries += 1
        return answer.chunk

    def _observe(self, images: bool) -> Observation:
        with self.clock("observation_s"):
            raw = self.env.observe(images=images or self.settings.observe_every_step)
            shown = _shown(raw, self.item, self.steps, self.settings.inputs, images)
            known = controlled(self.settings.input_control, shown, self.policy.suite)
            return self.perturbation.observed(known)

    def _step(self, action: Action) -> None:
        self.actions.update(action.tobytes())
        with self.clock("simulation_s"):
            self.holds = self.env.advance(self.perturbation.played(self.env, action, self.steps))
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
        measures = _measures(self.env.status())
        self.clock.pause()
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
            status=measures,
            error=self.error,
            **self.clock.spent,
        )

    def _outcome(self) -> tuple[bool, Reason]:
        if self.error is not None:
            return False, "policy_error"
        latched = self.settings.outcome == "latched"
        success = self.first_success is not None if latched else self.holds
        return success, "success" if success else "timeout"


def _shown(
    raw: RawObservation, item: WorkItem, step: int, inputs: PolicyInputs, images: bool
) -> Observation:
    """The part of an observation that the policy's card declares."""
    return Observation(
        item=item,
        step=step,
        instruction=item.instruction,
        images={name: raw["images"][name] for name in inputs.images if images},
        state={name: raw["state"][name] for name in inputs.state},
        privileged={name: raw["privileged"][name] for name in inputs.privileged},
    )


def _measures(status: Mapping[str, bool | float]) -> dict[str, float]:
    """Finite values to six digits; adding 0.0 turns -0.0 into 0.0."""
    values = {name: float(value) for name, value in status.items()}
    return {name: round(v, 6) + 0.0 for name, v in values.items() if math.isfinite(v)}
