"""Plays a recorded item again, and stops at some of its plans to look at world and policy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from vla_bench.chunks import ChunkPlayer
from vla_bench.errors import UserError
from vla_bench.items import WorkItem
from vla_bench.learning.events import gripper_events
from vla_bench.planning import plan_chunks
from vla_bench.policies.base import Observation
from vla_bench.records import EpisodeRecord
from vla_bench.replay import Stage, differences
from vla_bench.requests import Action, Reply, played_steps
from vla_bench.rollout import lockstep
from vla_bench.settings import Settings
from vla_bench.suites.base import SuiteEnv
from vla_bench.suites.viewpoint import Viewpoint

T = TypeVar("T")
Point = NDArray[np.float64]
PLANS = 3
"""Plans that are looked at unless steps are given, spread evenly over the episode."""


@dataclass(frozen=True)
class Look:
    """The world at a step, as the simulator knows it."""

    step: int
    viewpoints: Mapping[str, Viewpoint]
    """Of each camera that the policy reads; empty if the suite does not tell."""
    gripper: Point | None
    """(3,), world frame (m)."""
    relevant: Mapping[str, NDArray[np.bool_]]
    """By camera the pixels (H, W) of the objects that the task is about; empty if it does not tell."""
    state: bytes
    """The simulator's complete state."""

    @classmethod
    def of(cls, env: SuiteEnv, step: int, cameras: Sequence[str]) -> Look:
        """Looks at an environment."""
        viewpoints = known(env.viewpoints) or {}
        masks = {camera: known(partial(env.relevant, camera)) for camera in cameras}
        return cls(
            step,
            {camera: viewpoints[camera] for camera in cameras if camera in viewpoints},
            known(env.gripper_position),
            {camera: mask for camera, mask in masks.items() if mask is not None},
            env.state_bytes(),
        )


@dataclass(frozen=True)
class Moment(Generic[T]):
    """A plan: what the policy was shown, how the world stood then, and what the policy shows."""

    look: Look
    observation: Observation
    shown: T


@dataclass
class Played(Generic[T]):
    """An episode played again."""

    item: WorkItem
    record: EpisodeRecord
    differences: Sequence[str]
    """From its record, times aside; empty if it went as recorded."""
    moments: Sequence[Moment[T]]
    """The plans that were looked at, in order."""
    actions: Sequence[Action]
    """All actions, as the world was given them."""
    grippers: Sequence[Point | None] = field(repr=False)
    """Where the gripper was at each step, the last one included."""
    events: Sequence[int]
    """Steps at which the gripper was told to open or to close."""

    def anchor(self, step: int) -> Point | None:
        """Where the gripper was at its next event, from a step on: PosA-VLA's task anchor."""
        return next((self.grippers[event] for event in self.events if event >= step), None)


def known(read: Callable[[], T]) -> T | None:
    """What a suite tells, None if it does not tell."""
    try:
        return read()
    except UserError:
        return None


def check_images(stage: Stage) -> None:
    """Refuses a run whose policy reads no images to draw on.

    Raises:
        UserError: It reads none.
    """
    policy = stage.manifest.policy
    if not policy.inputs.images:
        raise UserError(f"{policy.name} reads no images in this run; choose one whose weights see")


def play_again(
    stage: Stage,
    env: SuiteEnv,
    recorded: EpisodeRecord,
    steps: Sequence[int],
    ask: Callable[[Look, Observation], T],
) -> Played[T]:
    """Plays a recorded item again as it was played.

    Args:
        stage: The run.
        env: An environment of the item's task.
        recorded: The item's record.
        steps: At which to look: each stands for the last plan before or at it; none for `PLANS` plans.
        ask: Called just before each of these plans with what is looked at.

    Raises:
        UserError: A step is not one of the episode.
    """
    item, settings = stage.item(recorded), stage.settings
    cameras = settings.inputs.images
    wanted = chosen_plans(settings, stage.policy.card.chunk_length, recorded, steps)
    looks: dict[int, Look] = {}
    moments: list[Moment[T]] = []
    actions: list[Action] = []
    grippers: list[Point | None] = []

    def see(env: SuiteEnv, step: int, holds: bool) -> None:
        grippers.append(known(env.gripper_position))
        if step in wanted:
            looks[step] = Look.of(env, step, cameras)

    episode = lockstep(env, stage.policy, item, settings, see)
    try:
        request = next(episode)
        while True:
            reply: Reply
            if isinstance(request, Observation):
                if request.step in wanted:
                    look = looks[request.step]
                    moments.append(Moment(look, copy.deepcopy(request), ask(look, request)))
                [reply] = plan_chunks(stage.policy, [request])
            else:
                actions.append(request.copy())
                [reply] = played_steps(lambda actions: map(env.advance, actions), [request])
            request = episode.send(reply)
    except StopIteration as end:
        record: EpisodeRecord = end.value
    commands = np.stack(actions)[:, list(env.grippers)] if actions else np.zeros((0, 0), np.float32)
    events = gripper_events(commands).tolist() if commands.size else []
    changed = [f"{recorded.place}: {line}" for line in differences(recorded, record)]
    return Played(item, record, changed, moments, actions, grippers, events)


def chosen_plans(
    settings: Settings, chunk_length: int, record: EpisodeRecord, steps: Sequence[int]
) -> list[int]:
    """Steps of an episode's plans that stand for some steps; without any, of `PLANS` plans.

    Raises:
        UserError: A step is not one of the episode.
    """
    if not record.steps:
        raise UserError(f"{record.place} was not played ({record.reason}); choose another item")
    if beyond := [step for step in steps if not 0 <= step < record.steps]:
        raise UserError(
            f"--steps {beyond[0]}: {record.place} has steps 0 to {record.steps - 1}; use one of these"
        )
    plans = planned_steps(settings, chunk_length, record.steps)
    steps = steps or [number * record.steps // PLANS for number in range(PLANS)]
    return sorted({max(plan for plan in plans if plan <= step) for step in steps})


def planned_steps(settings: Settings, chunk_length: int, length: int) -> list[int]:
    """Steps whose observations an episode's chunks are planned from."""
    chunks = ChunkPlayer(settings.horizon, settings.temporal_ensembling, settings.delay)
    found, blank = [], np.zeros((chunk_length, 1), np.float32)
    for step in range(length):
        if chunks.arrives(step):
            chunks.add(blank)
        if chunks.due(step):
            found.append(step)
            chunks.ask(step)
            if chunks.arrives(step):
                chunks.add(blank)
    return found
