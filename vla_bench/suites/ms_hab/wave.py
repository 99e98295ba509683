"""The MS-HAB environment: lanes of one SetTable subtask, one on CPU physics, many on a GPU's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gymnasium
import numpy as np
from numpy.typing import NDArray

from vla_bench.cards import SuiteCard
from vla_bench.items import WorkItem
from vla_bench.perturbations.changes import CameraShift, Change
from vla_bench.suites.base import RawObservation
from vla_bench.suites.ms_hab import perturbing
from vla_bench.suites.ms_hab.apartment import use_assets
from vla_bench.suites.ms_hab.dataset import Dataset, Plan, Spawn
from vla_bench.suites.ms_hab.lane import Lane
from vla_bench.suites.ms_hab.physics import reader_of
from vla_bench.suites.ms_hab.scene import FetchWorld, Physics
from vla_bench.suites.ms_hab.views import viewpoint
from vla_bench.suites.spaces import observation_space
from vla_bench.suites.viewpoint import Viewpoint
from vla_bench.suites.wave import WaveEnv

SENSORS = {"head": "fetch_head", "wrist": "fetch_hand"}
HEAD_JOINTS = slice(8, 10)
"""Entries of an action that move the head: the official protocol zeroes them."""


class MsHabWave(WaveEnv):
    """Plays items of one SetTable subtask (pick, place, open or close), each in an apartment of its own.

    Attributes:
        lanes: By number, of the wave that was begun last.
    """

    grippers = (7,)

    def __init__(
        self,
        card: SuiteCard,
        dataset: Dataset,
        plans: Mapping[str, Plan],
        items: Sequence[WorkItem],
        cameras: Sequence[str],
        render_mode: str | None,
        physics: Physics,
    ) -> None:
        super().__init__(items, card.max_steps, render_mode)
        self.card = card
        self.dataset = dataset
        self.plans = plans
        self.cameras = {SENSORS[name]: card.cameras[name] for name in cameras}
        self.physics = physics
        self.lanes: list[Lane] = []
        self._world: FetchWorld | None = None
        assert card.action.size is not None
        self.action_space = gymnasium.spaces.Box(-1, 1, (card.action.size,), np.float32)
        self.observation_space = observation_space(card, cameras)

    def begin(self, items: Sequence[WorkItem]) -> None:
        """Sets up scenes, episodes, task plans and spawns, in the official order."""
        plans = [self.plans[str(item.initial_state["plan"])] for item in items]
        spawns = [
            self.dataset.spawn(plan.subtask, plan.uid, int(item.initial_state["spawn"]))
            for item, plan in zip(items, plans, strict=True)
        ]
        self.close()
        self._world = self._build([plan.scene for plan in plans])
        self.world.apartment.begin([self.dataset.episode(plan.episode) for plan in plans])
        self._reader = reader_of(self.world)
        self.lanes = [
            Lane(self.card, self.world, self._reader, number, plan)
            for number, plan in enumerate(plans)
        ]
        self._spawn(spawns)
        self.world.agent.controller.reset()
        self._reader.begin([lane.held for lane in self.lanes])

    @property
    def world(self) -> FetchWorld:
        """The world of the wave that was begun last."""
        if self._world is None:
            raise RuntimeError("no episode was begun: call reset or begin first")
        return self._world

    def _build(self, scenes: Sequence[str]) -> FetchWorld:
        """A new world for every wave, so that lanes are free to be of any scene.

        PhysX keeps contacts, sleep counters and the order of its pairs across a reset: an episode in a
        used world differs in the last bits from the same episode in a fresh one.
        """
        use_assets(self.dataset.root)
        names: dict[str, set[str]] = {scene: set() for scene in scenes}
        for plan in self.plans.values():
            if plan.scene in names:
                names[plan.scene].add(plan.episode)
        return FetchWorld(
            scenes=scenes,
            episodes={s: [self.dataset.episode(name) for name in sorted(names[s])] for s in names},
            image_size=self.cameras,
            shader=str(self.card.options["shader"]),
            render_mode=self.render_mode,
            physics=self.physics,
        )

    def _spawn(self, spawns: Sequence[Spawn]) -> None:
        """What is in a gripper can be placed when the gripper is where its lane's spawn has it."""
        for place in (Lane.place_robot, Lane.place_things):
            for lane, spawn in zip(self.lanes, spawns, strict=True):
                with self.world.only(lane.number):
                    place(lane, spawn)
            self.world.apply()
        self.world.come_to_rest()

    def advance(self, actions: NDArray[np.float32]) -> NDArray[np.bool_]:
        """One control step of 50 ms, then one check of the success conditions of each lane."""
        actions = np.clip(actions, -1, 1)
        actions[:, HEAD_JOINTS] = 0
        self.world.play(actions)
        self._reader.refresh()
        return np.array([lane.check() for lane in self.lanes])

    def observe(self, images: bool = True) -> Sequence[RawObservation]:
        """Renders the chosen cameras, if asked to, and reads all state entries."""
        rendered = self.world.render_cameras() if images and self.cameras else {}
        names = {sensor: name for name, sensor in SENSORS.items()}
        return [
            {
                "images": {names[s]: pictures[lane.number] for s, pictures in rendered.items()},
                "state": lane.state(),
                "privileged": lane.privileged(),
            }
            for lane in self.lanes
        ]

    def viewpoints(self, lane: int) -> Mapping[str, Viewpoint]:
        """Those of the observed cameras, which are mounted on links of the robot."""
        return {
            name: viewpoint(self.world.camera(sensor, lane), self._reader)
            for name, sensor in SENSORS.items()
            if sensor in self.cameras
        }

    def gripper_position(self, lane: int) -> NDArray[np.float64]:
        """The origin of the gripper's link, between the fingers."""
        return np.array(self._reader.pose(self.lanes[lane].tcp).p, np.float64)

    def relevant(self, lane: int, camera: str) -> NDArray[np.bool_]:
        """The object; when a door or a drawer is the task, its part with the handle."""
        numbers = self.world.render_numbers(SENSORS[camera])[lane]
        mask: NDArray[np.bool_] = numbers == self.lanes[lane].held.entity.per_scene_id
        return mask

    def state_bytes(self, lane: int) -> bytes:
        """Joints of every articulation of the lane and the motion of every body."""
        return self.lanes[lane].state_bytes()

    def world_probe(self, lane: int) -> str:
        """Joint positions and object poses, rounded to millimetres and milliradians."""
        return self.lanes[lane].world_probe()

    def perturb(self, lane: int, change: Change) -> None:
        """Changes this wave's world. A camera that is not observed is not there to be shifted."""
        if not isinstance(change, CameraShift):
            perturbing.perturb(self.lanes[lane], change)
        elif SENSORS[change.camera] in self.cameras:
            perturbing.shift_camera(self.world, SENSORS[change.camera], change)

    def status(self, lane: int) -> Mapping[str, bool | float]:
        """Every condition of success by name, and the force so far (N)."""
        return self.lanes[lane].status()

    def render(self, lane: int) -> NDArray[np.uint8]:
        """The robot from over its shoulder, uint8 (384, 384, 3)."""
        frame: NDArray[np.uint8] = self.world.render()[lane].cpu().numpy()
        return frame

    def close(self) -> None:
        """Frees the world."""
        if self._world is not None:
            self._world.close()
            self._world = None
