"""Plays an expert on one episode and records every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_bench.cards import SuiteCard
from vla_bench.errors import UserError
from vla_bench.items import WorkItem
from vla_bench.learning.events import gripper_events
from vla_bench.learning.images import resize
from vla_bench.learning.noise import ActionNoise
from vla_bench.learning.recording import Recording
from vla_bench.policies.base import Observation, Policy
from vla_bench.suites.base import RawObservation, SuiteEnv
from vla_bench.suites.viewpoint import Viewpoint

STEPS_AFTER_SUCCESS = 4
"""Steps that are recorded after success."""


@dataclass(frozen=True)
class Demonstrator:
    """An expert in an environment.

    Attributes:
        env: Environment of the task, with all of its cameras.
        policy: The expert; it plans anew at every step.
        suite: The suite's card.
        image_size: Pixels on a side of the recorded images; None for as rendered.
        image_every: Images are recorded of one step in so many; 0 for of none.
        novice: Plays first, unrecorded, up to a step drawn for each episode, so that the expert is seen
            where a learned policy ends up (DAgger, Ross et al. 2011); None for nobody.
    """

    env: SuiteEnv
    policy: Policy
    suite: SuiteCard
    image_size: int | None
    image_every: int
    novice: Policy | None = None

    def play(self, item: WorkItem, scale: float, moving: NDArray[np.bool_] | None) -> Recording:
        """Plays one episode.

        Args:
            item: The episode.
            scale: Standard deviation of the noise, as a fraction of full scale.
            moving: Bool (A,), the entries that get noise; None for none.

        Returns:
            The recording; `success_step` is None if the episode failed, or if an action before success
            was not finite.

        Raises:
            UserError: The policy returns actions of the wrong size.
        """
        assert self.suite.action.size is not None
        none = np.zeros(self.suite.action.size, bool)
        noise = ActionNoise(item, scale, none if moving is None else moving)
        episode = Recording(item)
        self.env.begin(item)
        if self.novice is not None:
            self._lead_in(self.novice, item)
        self.policy.reset(item)
        sees = bool(self.policy.card.inputs.images)
        tells = _tells_places(self.env)
        last, step, holds = self.suite.max_steps, 0, False
        while step < last:
            shown = self.image_every > 0 and step % self.image_every == 0
            seen = self.env.observe(images=shown or sees)
            action = self._plan(self.policy, seen, item, step)[0]
            if not np.all(np.isfinite(action)):
                break
            executed = noise.executed(action)
            episode.add(self._stored(seen, shown), action, executed)
            if tells:
                episode.locate(self.env.gripper_position(), self._views() if shown else {})
            holds = self.env.advance(executed)
            step += 1
            if holds and episode.success_step is None:
                episode.success_step, last = step, step + STEPS_AFTER_SUCCESS
        if self.suite.outcome == "final" and not holds:
            episode.success_step = None
        if episode.executed:
            commands = np.stack(episode.executed)[:, list(self.env.grippers)]
            episode.events = gripper_events(commands)
        return episode

    def _lead_in(self, novice: Policy, item: WorkItem) -> None:
        """Lets the novice play up to a drawn step, in an episode that it solves to one before success."""
        draw = item.generator("takeover").integers
        solved = self._led(novice, item, int(draw(self.suite.max_steps)))
        if solved is not None:
            self.env.begin(item)
            self._led(novice, item, int(draw(solved)))

    def _led(self, novice: Policy, item: WorkItem, steps: int) -> int | None:
        """Lets the novice play; the step of its success, where it stops."""
        novice.reset(item)
        chunk = np.zeros((0, 0), np.float32)
        for step in range(steps):
            if step % novice.card.horizon == 0:
                seen = self.env.observe(images=bool(novice.card.inputs.images))
                chunk = self._plan(novice, seen, item, step)
            if self.env.advance(chunk[step % novice.card.horizon]):
                return step + 1
        return None

    def _plan(
        self, policy: Policy, seen: RawObservation, item: WorkItem, step: int
    ) -> NDArray[np.float32]:
        """One chunk, float32 (P, A)."""
        observation = Observation.shown(seen, item, step, policy.card.inputs)
        chunk = np.asarray(policy.plan([observation])[0], np.float32)
        if chunk.shape[1:] != (policy.action_size,):
            raise UserError(
                f"policy {policy.card.name} returned actions of shape {chunk.shape[1:]}, expected "
                f"({policy.action_size},); mend {policy.card.adapter}"
            )
        return chunk

    def _stored(self, seen: RawObservation, shown: bool) -> RawObservation:
        """What is recorded of an observation: images only where they are due, and resized."""
        images = {name: resize(image, self.image_size) for name, image in seen["images"].items()}
        return {**seen, "images": images if shown else {}}

    def _views(self) -> dict[str, Viewpoint]:
        """How the cameras see, resized as their images are."""
        views = self.env.viewpoints()
        return {name: view.resized(self.image_size) for name, view in views.items()}


def _tells_places(env: SuiteEnv) -> bool:
    """Whether the suite knows where its gripper and its cameras are."""
    try:
        env.gripper_position(), env.viewpoints()
    except UserError:
        return False
    return True
