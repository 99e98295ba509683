"""The toy world behind the suite contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import gymnasium
import numpy as np
from numpy.typing import NDArray

from vla_bench.cards import SuiteCard
from vla_bench.items import WorkItem, digest
from vla_bench.perturbations.changes import Backdrop, CameraShift, Change, Light, Push
from vla_bench.suites.base import Arrays, RawObservation, SuiteEnv
from vla_bench.suites.micro import pictures
from vla_bench.suites.micro.disturbances import Disturbances
from vla_bench.suites.micro.drawing import View
from vla_bench.suites.micro.layouts import draw_layout
from vla_bench.suites.micro.world import World
from vla_bench.suites.spaces import observation_space
from vla_bench.suites.viewpoint import Viewpoint

PROBE_DECIMALS = 6


class MicroEnv(SuiteEnv):
    """Plays the items of one task of the toy suite."""

    grippers = (4,)
    metadata: dict[str, Any] = {**SuiteEnv.metadata, "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        card: SuiteCard,
        task: str,
        items: Sequence[WorkItem],
        cameras: Sequence[str],
        render_mode: str | None,
    ) -> None:
        super().__init__(items, card.max_steps, render_mode)
        self.card = card
        self.parameters = card.tasks[task].parameters
        self.cameras = {name: card.cameras[name][0] for name in cameras}
        assert card.action.size is not None
        self.action_space = gymnasium.spaces.Box(-1, 1, (card.action.size,), np.float32)
        self.observation_space = observation_space(card, cameras)

    def begin(self, item: WorkItem) -> None:
        """A new world, drawn from the initial state, and the item's disturbances."""
        options = self.card.options
        self.world = World(draw_layout(self.parameters, item.initial_state))
        self.disturbances = Disturbances(
            item,
            self.max_steps,
            push=cast(float, options["push"]),
            slip=cast(float, options["slip"]),
        )
        self.looks = pictures.Appearance()
        self.played = 0

    def perturb(self, change: Change) -> None:
        """Pushes take effect at once and in full; the rest is a matter of drawing."""
        match change:
            case Push(body="base"):
                self.world.push_base(change.velocity.tolist())
            case Push():
                self.world.push_balls(change.velocity.tolist())
            case CameraShift():
                self.looks.shifts[change.camera] = change
            case Light():
                self.looks.light = change.colour
            case Backdrop():
                self.looks.ground = change.colour

    def advance(self, action: NDArray[np.float32]) -> bool:
        """One control step of 100 ms."""
        clipped = [min(max(value, -1.0), 1.0) for value in action.tolist()]
        disturbances, step = self.disturbances, self.played
        self.world.step(clipped, disturbances.slip(step), disturbances.push_at(step))
        self.played += 1
        return self.world.success

    def status(self) -> Mapping[str, bool | float]:
        """What went wrong, what is held, and which of the two ways was taken (1 left, -1 right)."""
        world = self.world
        return {
            "collided": world.collided,
            "wrong_object": world.wrong_object,
            "grasped": world.held is not None,
            "side": world.side,
        }

    def observe(self, images: bool = True) -> RawObservation:
        """Draws the chosen cameras, unless told not to, and reads all state entries."""
        cameras = self.cameras if images else ()
        return {
            "images": {
                name: pictures.seen(self.world, self._view(name), self.looks) for name in cameras
            },
            "state": self._state(),
            "privileged": self._privileged(),
        }

    def _view(self, camera: str) -> View:
        return pictures.view_of(camera, self.world, self.cameras[camera], self.looks)

    def viewpoints(self) -> Mapping[str, Viewpoint]:
        """Cameras that hang above the plane."""
        return {name: self._view(name).viewpoint() for name in self.cameras}

    def gripper_position(self) -> NDArray[np.float64]:
        """The fingertip, in the plane z = 0."""
        return np.array((*self.world.tip, 0.0))

    def relevant(self, camera: str) -> NDArray[np.bool_]:
        """The balls that count."""
        return pictures.wanted(self.world, self._view(camera))

    def _state(self) -> Arrays:
        world = self.world
        tip = world.in_base_frame(*world.tip)
        return {
            "arm": np.array((world.swing, world.extension), np.float32),
            "fingertip": np.array(tip, np.float32),
            "base_velocity": np.array(world.velocity, np.float32),
            "gripper": np.array((world.opening,), np.float32),
            "is_grasped": np.array((world.held is not None,), np.float32),
        }

    def _privileged(self) -> Arrays:
        world, post = self.world, self.world.layout.post
        objects = [value for ball in world.balls for value in world.in_base_frame(*ball)]
        objects += [0.0] * (self.card.privileged["objects"] - len(objects))
        seen = (0.0, 0.0) if post is None else world.in_base_frame(*post)
        return {"objects": np.array(objects, np.float32), "post": np.array(seen, np.float32)}

    def state_bytes(self) -> bytes:
        """Everything that the next step depends on, but the disturbances, which the item gives."""
        return self.world.state_bytes()

    def world_probe(self) -> str:
        """Where things stand, rounded to micrometres."""
        world = self.world
        numbers = [*world.tip, *(value for ball in world.balls for value in ball)]
        return digest([round(value, PROBE_DECIMALS) + 0.0 for value in numbers])

    def render(self) -> NDArray[np.uint8]:
        """The world from above with the base's path, uint8 (256, 256, 3)."""
        return pictures.top(self.world, self.looks)
