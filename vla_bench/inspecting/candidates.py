"""What a policy chose from: where each candidate chunk would have taken the gripper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_bench.errors import UserError
from vla_bench.inspecting.playing import Look, Moment, Played, check_images, play_again
from vla_bench.items import CLEAN, WorkItem
from vla_bench.policies.base import Observation
from vla_bench.policies.diagnostics import CandidateChunks
from vla_bench.records import EpisodeRecord
from vla_bench.replay import Stage
from vla_bench.requests import Action
from vla_bench.suites.base import SuiteEnv

Paths = NDArray[np.float64]


@dataclass(frozen=True)
class Fan:
    """The candidates of one plan, and where they lead."""

    moment: Moment[CandidateChunks]
    paths: Paths
    """(M, P+1, 3): the gripper before the chunk and after each of its actions, world frame (m)."""

    @property
    def spread(self) -> float:
        """Mean distance of the candidates' ends from their mean (m)."""
        ends = self.paths[:, -1]
        return float(np.linalg.norm(ends - ends.mean(0), axis=1).mean())


def fan_out(
    stage: Stage, recorded: EpisodeRecord, steps: Sequence[int]
) -> tuple[Played[CandidateChunks], list[Fan]]:
    """Plays an item again, then each candidate of some of its plans in the world as it stood then.

    A candidate is played as planned, from the step of its observation on: without correction, delay or
    another plan.

    Args:
        stage: The run.
        recorded: The item's record.
        steps: As in `play_again`.

    Raises:
        UserError: The policy has no candidates or no images, the suite does not tell of its cameras, the
            item is perturbed, or the world does not come back to the same state.
    """
    check_images(stage)
    policy, item = stage.policy, stage.item(recorded)
    name, diagnostics = policy.card.name, policy.diagnostics()
    if item.perturbation != CLEAN:
        raise UserError(f"{recorded.place} is perturbed; use {recorded.place.rpartition('/')[0]}")

    def ask(look: Look, observation: Observation) -> CandidateChunks:
        if found := diagnostics.candidates(observation):
            return found
        raise UserError(f"{name} plans one chunk at a time; choose a run of anchorvla")

    env = stage.env(item.task)
    try:
        played = play_again(stage, env, recorded, steps, ask)
        env.viewpoints()
        return played, [Fan(m, _paths(env, item, played.actions, m)) for m in played.moments]
    finally:
        env.close()


def _paths(
    env: SuiteEnv, item: WorkItem, actions: Sequence[Action], moment: Moment[CandidateChunks]
) -> Paths:
    paths = []
    for chunk in moment.shown.chunks:
        _restore(env, item, actions, moment.look)
        path = [env.gripper_position()]
        for action in chunk:
            env.advance(action)
            path.append(env.gripper_position())
        paths.append(path)
    return np.array(paths)


def _restore(env: SuiteEnv, item: WorkItem, actions: Sequence[Action], look: Look) -> None:
    """Brings the world back to a step, by the actions that led there."""
    env.begin(item)
    for action in actions[: look.step]:
        env.advance(action)
    if env.state_bytes() != look.state:
        raise UserError(
            f"{item.suite} does not come back to the same state at step {look.step}; give --steps 0"
        )
