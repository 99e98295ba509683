"""The experts as a policy: one script per episode, chosen by the task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import UserError
from vla_bench.items import WorkItem
from vla_bench.policies.base import ActionChunks, Observation, Policy
from vla_bench.policies.expert.close_drawer import CloseDrawer
from vla_bench.policies.expert.open_drawer import OpenDrawer
from vla_bench.policies.expert.open_fridge import OpenFridge
from vla_bench.policies.expert.pick import PickApple, PickBowl
from vla_bench.policies.expert.place import PlaceApple, PlaceBowl
from vla_bench.policies.expert.robot_state import RobotState
from vla_bench.policies.expert.script import Action, Script, View

SCRIPTS: dict[str, Callable[[], Script]] = {
    "pick-apple": PickApple,
    "place-apple": PlaceApple,
    "pick-bowl": PickBowl,
    "place-bowl": PlaceBowl,
    "open-fridge": OpenFridge,
    "open-drawer": OpenDrawer,
    "close-drawer": CloseDrawer,
}


class ExpertPolicy(Policy):
    """Plays scripted experts that see privileged state and act through the 13 action entries only."""

    def __init__(self, card: PolicyCard, suite: SuiteCard) -> None:
        super().__init__(card, suite)
        self._scripts: dict[str, Script] = {}

    def reset(self, item: WorkItem) -> None:
        """Starts the script of the item's task."""
        if item.task not in SCRIPTS:
            raise UserError(f"no expert for {item.task}; there is one for {', '.join(SCRIPTS)}")
        self._scripts[item.digest] = SCRIPTS[item.task]()

    def plan(self, observations: Sequence[Observation]) -> ActionChunks:
        """One action per observation, float32 (batch, 1, 13)."""
        return np.stack([self._act(observation)[None] for observation in observations])

    def _act(self, observation: Observation) -> Action:
        view = View(
            step=observation.step,
            robot=RobotState.from_observation(observation.state),
            grasped=bool(observation.state["is_grasped"][0]),
            privileged=observation.privileged,
        )
        return self._scripts[observation.item.digest].act(view)
