"""LIBERO's tasks behind the contract of a suite."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import acos, sqrt
from typing import cast

import gymnasium
import numpy as np
from numpy.typing import NDArray

from vla_bench.cards import SuiteCard
from vla_bench.items import WorkItem
from vla_bench.perturbations.changes import CameraShift, Change, Push
from vla_bench.suites.base import Arrays, RawObservation, SuiteEnv
from vla_bench.suites.libero.files import states_of
from vla_bench.suites.libero.pictures import RESIZERS
from vla_bench.suites.libero.privileged import GoalView
from vla_bench.suites.libero.world import LiberoWorld
from vla_bench.suites.spaces import observation_space
from vla_bench.suites.viewpoint import Viewpoint

CAMERAS = {"agentview": "agentview", "wrist": "robot0_eye_in_hand"}
"""Name on the card -> name in the simulation."""
SETTLE_ACTION = np.array([0, 0, 0, 0, 0, 0, -1], np.float64)
"""Stand still and open the gripper, as every published evaluation begins."""
GRIPPER = 6
"""The entry of an action that is the gripper's command."""
PROBE_DECIMALS = 3


class LiberoEnv(SuiteEnv):
    """Plays the items of one task.

    Args:
        card: The suite's card.
        task: Name of the task.
        items: Its items.
        world: Its simulation, which the environment closes.
        cameras: Cameras to observe.
        render_mode: "rgb_array" if `render` will be called.
    """

    grippers = (GRIPPER,)

    def __init__(
        self,
        card: SuiteCard,
        task: str,
        items: Sequence[WorkItem],
        world: LiberoWorld,
        cameras: Sequence[str],
        render_mode: str | None,
    ) -> None:
        super().__init__(items, card.steps_of(task), render_mode)
        self.card, self.world, self.cameras = card, world, list(cameras)
        self.states = states_of(card.tasks[task])
        self.resize = RESIZERS[str(card.options["resize"])]
        assert card.action.size is not None
        self.action_space = gymnasium.spaces.Box(-1, 1, (card.action.size,), np.float32)
        self.observation_space = observation_space(card, cameras)

    def begin(self, item: WorkItem) -> None:
        """Draws from the item's seed, sets its initial state if it has one, and lets things settle."""
        number = item.initial_state.get("state")
        self.world.begin(item.seed, None if number is None else self.states[int(number)])
        for _ in range(cast(int, self.card.options["settle_steps"])):
            self.world.step(SETTLE_ACTION)
        self.goal_view = GoalView(self.world.domain)

    def perturb(self, change: Change) -> None:
        """Changes the world. The base stands fast; what is pushed is what is to be moved next."""
        if isinstance(change, CameraShift):
            change = replace(change, camera=CAMERAS[change.camera])
        if isinstance(change, Push):
            self.world.push(self.goal_view.subject(), change.velocity)
        else:
            self.world.perturb(change)

    def advance(self, action: NDArray[np.float32]) -> bool:
        """One control step of 50 ms."""
        command = np.clip(action, -1, 1).astype(np.float64)
        if self.card.options["gripper"] == "binary":
            command[GRIPPER] = -1 if command[GRIPPER] < 0 else 1
        return self.world.step(command)

    def observe(self, images: bool = True) -> RawObservation:
        """Draws the chosen cameras, unless told not to, and reads the robot's sensors."""
        seen = self.world.images(self.cameras if images else ())
        return {
            "images": {name: self.resize(seen[name], self.card.cameras[name]) for name in seen},
            "state": self._state(),
            "privileged": self.goal_view.entries(),
        }

    def viewpoints(self) -> Mapping[str, Viewpoint]:
        """Of the images that `observe` gives: turned, and brought to their size."""
        return {
            name: self.world.viewpoint(name).resized(self.card.cameras[name][0])
            for name in self.cameras
        }

    def gripper_position(self) -> NDArray[np.float64]:
        """The point between the fingertips, when the cameras were sampled."""
        return self.world.proprioception().position

    def relevant(self, camera: str) -> NDArray[np.bool_]:
        """What the conditions of the goal are about: what is moved, and what it is put on or into."""
        geoms = self.world.geoms(camera)
        mask = self.goal_view.named()[geoms] & (geoms >= 0)
        share = self.resize(
            np.repeat(mask[..., None] * np.uint8(255), 3, -1), self.card.cameras[camera]
        )
        return share[..., 0] > 127

    def _state(self) -> Arrays:
        robot = self.world.proprioception()
        quaternion = robot.quaternion
        if self.card.options["rotation"] == "shortest" and quaternion[0] < 0:
            quaternion = -quaternion
        entries = {
            "tcp_position": robot.position,
            "tcp_rotation": rotation_vector(quaternion),
            "gripper_qpos": robot.fingers,
            "qpos": robot.joints,
        }
        return {name: value.astype(np.float32) for name, value in entries.items()}

    def status(self) -> Mapping[str, bool | float]:
        """Every condition of the task's goal."""
        return self.world.goal()

    def state_bytes(self) -> bytes:
        """Time, joint positions and velocities, and the gripper's command."""
        return self.world.state().tobytes()

    def world_probe(self) -> str:
        """All joint positions and poses, fixtures included, to millimetres and milliradians."""
        rounded = np.round(self.world.poses(), PROBE_DECIMALS) + 0.0
        return hashlib.sha256(rounded.tobytes()).hexdigest()[:16]

    def render(self) -> NDArray[np.uint8]:
        """Both cameras side by side, uint8 (256, 512, 3)."""
        return np.concatenate(list(self.world.images(CAMERAS).values()), axis=1)

    def close(self) -> None:
        """Frees the simulation."""
        self.world.close()


def rotation_vector(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Axis times angle, the angle in [0, 2 pi], as robosuite's `quat2axisangle` computes it.

    Args:
        quaternion: Float64 (4,) wxyz. Its negative is the same rotation but gives another vector.

    Returns:
        Float64 (3,), rad.
    """
    w = min(max(float(quaternion[0]), -1.0), 1.0)
    sine = sqrt(1.0 - w * w)
    if sine == 0.0:
        return np.zeros(3)
    vector: NDArray[np.float64] = (quaternion[1:] * 2.0 * acos(w)) / sine
    return vector
