"""The episode loop: plays one work item with one policy. No files, no Ray."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass

from vla_bench.chunks import Chunk, ChunkPlayer
from vla_bench.clock import Clock
from vla_bench.errors import PolicyError
from vla_bench.input_controls import controlled
from vla_bench.items import WorkItem
from vla_bench.perturbations.catalogue import make_perturbation
from vla_bench.planning import Answer, PlannedChunk, contract, next_action, plan_chunks
from vla_bench.policies.base import Observation, Policy
from vla_bench.records import EpisodeRecord, Reason
from vla_bench.requests import Action, Lockstep, PlayedStep, Reply, Request, played_steps
from vla_bench.settings import Settings
from vla_bench.suites.base import SuiteEnv

FrameSink = Callable[[SuiteEnv, int, bool], None]
"""Called after the set-up and after every control step, with the environment, the steps played so far and
whether the success conditions hold; a film is made by one."""
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
        frame_sink: Called at every step, e.g. to make a film.

    Returns:
        The record. A policy that breaks its contract ends the episode as `policy_error`.

    Raises:
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
        frame_sink: Called at every step, e.g. to make a film.

    Yields:
        The observation that a plan is due for; expects to be sent the answer of `plan_chunks`.

    Returns:
        The record. A policy that breaks its contract ends the episode as `policy_error`.

    Raises:
        PlanLost: It was sent as the answer.
        Exception: Whatever the simulator raises.
    """
    with closing(lockstep(env, policy, item, settings, frame_sink)) as episode:
        try:
            request = next(episode)
            while True:
                reply: Reply
                if isinstance(request, Observation):
                    reply = yield request
                else:
                    [reply] = played_steps(lambda actions: map(env.advance, actions), [request])
                request = episode.send(reply)
        except StopIteration as end:
            record: EpisodeRecord = end.value
            return record


def lockstep(
    env: SuiteEnv,
    policy: Policy,
    item: WorkItem,
    settings: Settings,
    frame_sink: FrameSink | None = None,
) -> Lockstep:
    """Like `rollout`, but never advances the environment: for episodes whose steps are played together.

    Yields:
        The observation that a plan is due for, or an action; expects to be sent the answer of
        `plan_chunks`, or what came of the control step.
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
        settings = self.settings
        self.chunks = ChunkPlayer(settings.horizon, settings.temporal_ensembling, settings.delay)
        self.perturbation = make_perturbation(self.item, self.policy.suite)

    def begin(self) -> None:
        """Sets up the world."""
        with self.clock("simulation_s"):
            self.env.begin(self.item)
        self.probe = self.env.world_probe()
        self.perturbation.begin(self.env)
        self._note_state()

    def run(self) -> Generator[Request, Reply, None]:
        """Plays step after step until the outcome is settled."""
        settings, policy = self.settings, self.policy
        with self.clock("policy_s"), contract():
            policy.reset(self.item)
        chunks = self.chunks
        limit = settings.limit(self.env)
        while self.steps < limit:
            yield from self._arrival()
            due = chunks.due(self.steps)
            if due or policy.corrects or settings.observe_every_step:
                observation = self._observe(images=due or policy.correction_images)
            if due:
                self._ask(observation)
                yield from self._arrival()
            with self.clock("policy_s"):
                action = next_action(policy, chunks, observation, self.steps)
            yield from self._step(action)
            if self.holds and settings.outcome == "latched":
                return

    def _ask(self, observation: Observation) -> None:
        # What is still to be read may not change: an environment may fill the same arrays again.
        self.question = copy.deepcopy(observation) if self.settings.delay else observation
        self.chunks.ask(self.steps)

    def _arrival(self) -> Generator[Request, Reply, None]:
        """Plans a chunk when it becomes available, not before: what the policy keeps of the plan for its
        corrections has to go with the chunk that is played.
        """
        if self.chunks.arrives(self.steps):
            self.chunks.add((yield from self._planned(self.question)))

    def _planned(self, observation: Observation) -> Generator[Request, Reply, Chunk]:
        answer = yield from self._asked(observation, "policy_s")
        assert isinstance(answer, PlannedChunk)
        self.queries += 1
        return answer.chunk

    def _asked(
        self, request: Request, spent_on: str
    ) -> Generator[Request, Reply, PlannedChunk | PlayedStep]:
        self.clock.pause()
        reply = yield request
        self.clock.resume()
        if isinstance(reply, Exception):
            raise reply
        self.clock.add(spent_on, reply.wall_s)
        self.clock.add("wall_s", reply.wall_s)
        self.clock.add("cpu_s", reply.cpu_s)
        return reply

    def _observe(self, images: bool) -> Observation:
        with self.clock("observation_s"):
            raw = self.env.observe(images=images or self.settings.observe_every_step)
            shown = Observation.shown(raw, self.item, self.steps, self.settings.inputs, images)
            known = controlled(self.settings.input_control, shown, self.policy.suite)
            return self.perturbation.observed(known)

    def _step(self, action: Action) -> Generator[Request, Reply, None]:
        self.actions.update(action.tobytes())
        played = yield from self._asked(self._disturbed(action), "simulation_s")
        assert isinstance(played, PlayedStep)
        self.holds = played.success
        self.steps += 1
        self._note_state()
        if self.holds and self.first_success is None:
            self.first_success = self.steps

    def _disturbed(self, action: Action) -> Action:
        with self.clock("simulation_s"):
            return self.perturbation.played(self.env, action, self.steps)

    def _note_state(self) -> None:
        self.states.update(self.env.state_bytes())
        if self.frame_sink is not None:
            self.frame_sink(self.env, self.steps, self.holds)

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


def _measures(status: Mapping[str, bool | float]) -> dict[str, float]:
    """Finite values to six digits; adding 0.0 turns -0.0 into 0.0."""
    values = {name: float(value) for name, value in status.items()}
    return {name: round(v, 6) + 0.0 for name, v in values.items() if math.isfinite(v)}
