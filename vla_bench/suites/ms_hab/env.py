"""The MS-HAB environment: one SetTable subtask behind the suite contract."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import gymnasium
import numpy as np
import sapien
import torch
from mani_skill.utils.structs import Pose
from numpy.typing import NDArray
from sapien.physx import PhysxArticulation, PhysxRigidDynamicComponent

from vla_bench.cards import SuiteCard
from vla_bench.items import WorkItem
from vla_bench.perturbations.changes import CameraShift, Change
from vla_bench.suites.base import Arrays, RawObservation, SuiteEnv
from vla_bench.suites.ms_hab import perturbing, rules
from vla_bench.suites.ms_hab.dataset import Dataset, Plan, Spawn
from vla_bench.suites.ms_hab.scene import HIDDEN, FetchWorld, use_assets
from vla_bench.suites.spaces import observation_space

SENSORS = {"head": "fetch_head", "wrist": "fetch_hand"}
HEAD_JOINTS = slice(8, 10)
"""Entries of an action that move the head: the official protocol zeroes them."""
REMOVED = sapien.Pose([HIDDEN, HIDDEN, -9000])
PROBE_DECIMALS = 3


class MsHabEnv(SuiteEnv):
    """Plays the items of one SetTable subtask (pick, place, open or close) on CPU physics."""

    grippers = (7,)

    def __init__(
        self,
        card: SuiteCard,
        dataset: Dataset,
        plans: Mapping[str, Plan],
        items: Sequence[WorkItem],
        cameras: Sequence[str],
        render_mode: str | None,
    ) -> None:
        super().__init__(items, card.max_steps, render_mode)
        self.card = card
        self.dataset = dataset
        self.plans = plans
        self.cameras = {SENSORS[name]: card.cameras[name] for name in cameras}
        self._world: FetchWorld | None = None
        assert card.action.size is not None
        self.action_space = gymnasium.spaces.Box(-1, 1, (card.action.size,), np.float32)
        self.observation_space = observation_space(card, cameras)

    def begin(self, item: WorkItem) -> None:
        """Sets up scene, episode, task plan and spawn, in the official order."""
        self.plan = self.plans[str(item.initial_state["plan"])]
        spawn = self.dataset.spawn(
            self.plan.subtask, self.plan.uid, int(item.initial_state["spawn"])
        )
        self.close()
        self._world = self._build(self.plan.scene)
        self.world.apartment.begin(self.dataset.episode(self.plan.episode))
        self._bind()
        self._spawn(spawn)
        self.world.agent.controller.reset()
        self.force = 0.0
        # What touched when the previous episode ended says nothing about this one.
        self.contacts = rules.Contacts([], self.world.sim_timestep)

    @property
    def world(self) -> FetchWorld:
        """The world of the episode that was begun last."""
        if self._world is None:
            raise RuntimeError("no episode was begun: call reset or begin first")
        return self._world

    def _build(self, scene: str) -> FetchWorld:
        """A new world for every episode.

        PhysX keeps contacts, sleep counters and the order of its pairs across a reset: an episode in a
        used world differs in the last bits from the same episode in a fresh one.
        """
        use_assets(self.dataset.root)
        names = sorted({plan.episode for plan in self.plans.values() if plan.scene == scene})
        return FetchWorld(
            scene=scene,
            episodes=[self.dataset.episode(name) for name in names],
            image_size=self.cameras,
            shader=str(self.card.options["shader"]),
            render_mode=self.render_mode,
        )

    def _bind(self) -> None:
        """Looks up the bodies that the plan names."""
        robot = self.world.agent.robot
        self.robot: PhysxArticulation = robot._objs[0]
        links = robot.links_map
        self.base = links["base_link"]._objs[0].entity
        self.tcp = links["gripper_link"]._objs[0].entity
        self.fingers = rules.Fingers(
            links["l_gripper_finger_link"]._objs[0].entity,
            links["r_gripper_finger_link"]._objs[0].entity,
        )
        fingers = {self.fingers.left, self.fingers.right}
        self.force_links = {link.entity for link in self.robot.links} - fingers
        apartment, plan = self.world.apartment, self.plan
        self.target = apartment.objects[plan.object_id]._objs[0] if plan.object_id else None
        self.articulation: PhysxArticulation | None = None
        if plan.articulation_id is not None:
            self.articulation = apartment.articulation(plan.articulation_id)._objs[0]
        self.bodies = [
            actor._bodies[0]
            for _, actor in sorted(apartment.objects.items())
            + sorted(apartment.movable_objects.items())
        ]
        if plan.removed_object_id is not None:
            apartment.objects[plan.removed_object_id].set_pose(REMOVED)

    def _spawn(self, spawn: Spawn) -> None:
        self.world.agent.robot.set_pose(sapien.Pose(spawn.robot_position))
        self.world.agent.robot.set_qpos(torch.from_numpy(spawn.robot_qpos))
        if self.target is not None and spawn.object_pose is not None:
            self.target.pose = _pose(spawn.object_pose)
        if self.target is not None and spawn.object_pose_in_tcp is not None:
            self.target.pose = self._in_hand(spawn.object_pose_in_tcp)
        if self.articulation is not None and spawn.articulation_qpos is not None:
            self.articulation.set_qpos(spawn.articulation_qpos[: self.articulation.dof])
            self.articulation.set_qvel(np.zeros(self.articulation.dof, np.float32))

    def _in_hand(self, pose_in_tcp: NDArray[np.float32]) -> sapien.Pose:
        """ManiSkill's product of poses: SAPIEN's differs in the last bit, and so does the episode."""
        pose = self.world.agent.tcp.pose * Pose.create(torch.from_numpy(pose_in_tcp)[None])
        return pose.sp

    def advance(self, action: NDArray[np.float32]) -> bool:
        """One control step of 50 ms, then one check of the success conditions."""
        action = np.clip(action, -1, 1)
        action[HEAD_JOINTS] = 0
        self.world.play(action)
        self.contacts = rules.Contacts(self.world.scene.get_contacts(), self.world.sim_timestep)
        self.force += self.contacts.robot_force(self.force_links)
        return all(value for value in self.status().values() if isinstance(value, bool))

    def perturb(self, change: Change) -> None:
        """Changes this episode's world. A camera that is not observed is not there to be shifted."""
        if not isinstance(change, CameraShift):
            perturbing.perturb(self, change)
        elif SENSORS[change.camera] in self.cameras:
            perturbing.shift_camera(self.world, SENSORS[change.camera], change)

    def status(self) -> dict[str, bool | float]:
        """Every condition of success by name, and the force so far (N)."""
        plan, qpos = self.plan, self.robot.get_qpos()
        conditions: dict[str, bool | float] = {
            "gripper_at_rest": rules.gripper_at_rest(self.base.pose, self.tcp.pose),
            "robot_at_rest": rules.robot_at_rest(qpos, grasping=plan.subtask == "pick"),
            "robot_static": rules.robot_static(self.robot.get_qvel()),
            "force_within_limit": self.force < rules.FORCE_LIMIT[plan.subtask],
            "force": self.force,
        }
        if plan.subtask == "pick":
            conditions["grasped"] = self._grasped()
        elif plan.subtask == "place":
            assert self.target is not None
            conditions["released"] = not self._grasped()
            conditions["at_goal"] = rules.at_goal(
                self.target.pose.p, np.asarray(plan.goal_position)
            )
        else:
            assert self.articulation is not None
            conditions[f"{plan.subtask}_enough"] = rules.joint_done(
                self.articulation, plan.handle_joint, plan.articulation_type, plan.subtask
            )
        return conditions

    def _grasped(self) -> bool:
        target = self.target
        if self.plan.subtask in ("open", "close"):
            target = self._handle_link()
        return target is not None and self.contacts.grasped(self.fingers, target)

    def _handle_link(self) -> sapien.Entity:
        assert self.articulation is not None
        return self.articulation.links[self.plan.handle_link].entity

    def observe(self, images: bool = True) -> RawObservation:
        """Renders the chosen cameras, if asked to, and reads all state entries."""
        rendered = self.world.render_cameras() if images and self.cameras else {}
        names = {sensor: name for name, sensor in SENSORS.items()}
        return {
            "images": {names[sensor]: image for sensor, image in rendered.items()},
            "state": self._state(),
            "privileged": self._privileged(),
        }

    def _state(self) -> Arrays:
        base = self.base.pose
        yaw = 2 * np.arctan2(base.q[3], base.q[0])
        qpos, qvel = self.robot.get_qpos(), self.robot.get_qvel()
        return {
            "qpos": qpos[3:],
            "qvel": qvel[3:],
            "tcp_pose": _vector(base.inv() * self.tcp.pose),
            "is_grasped": np.array([self._grasped()], np.float32),
            "base_pose": np.array([base.p[0], base.p[1], yaw], np.float32),
            "base_velocity": qvel[:3],
        }

    def _privileged(self) -> Arrays:
        into_base = self.base.pose.inv()
        entries = {name: np.zeros(size, np.float32) for name, size in self.card.privileged.items()}
        if self.target is not None:
            entries["object_pose"] = _vector(into_base * self.target.pose)
        if self.plan.goal_position is not None:
            entries["goal_position"] = (into_base * sapien.Pose(self.plan.goal_position)).p
        if self.articulation is not None and self.plan.handle_link >= 0:
            entries |= self._handle(into_base, self.articulation)
        return entries

    def _handle(self, into_base: sapien.Pose, articulation: PhysxArticulation) -> Arrays:
        index, link = self.plan.handle_joint, self._handle_link()
        axis = into_base * articulation.active_joints[index].get_global_pose()
        direction = axis.to_transformation_matrix()[:3, 0]
        entries = {
            "handle_joint": np.array(
                [articulation.get_qpos()[index], *articulation.get_qlimits()[index]], np.float32
            ),
            "handle_axis": np.concatenate([axis.p, direction]).astype(np.float32),
            "handle_link_pose": _vector(into_base * link.pose),
        }
        if self.plan.handle_position is not None:
            point = link.pose * sapien.Pose(self.plan.handle_position)
            entries["goal_position"] = (into_base * point).p
        return entries

    def state_bytes(self) -> bytes:
        """Joint positions and velocities of every articulation, poses and velocities of every body."""
        parts: list[NDArray[np.float32]] = []
        for articulation in (self.robot, *self._articulations()):
            root = articulation.root_pose
            parts += [articulation.get_qpos(), articulation.get_qvel(), root.p, root.q]
        for body in self.bodies:
            parts += _body_state(body)
        return np.concatenate(parts).astype(np.float32).tobytes()

    def _articulations(self) -> list[PhysxArticulation]:
        return [a._objs[0] for _, a in sorted(self.world.apartment.articulations.items())]

    def world_probe(self) -> str:
        """Joint positions and object poses, rounded to millimetres and milliradians."""
        parts = [a.get_qpos() for a in (self.robot, *self._articulations())]
        parts += [np.concatenate([body.entity.pose.p, body.entity.pose.q]) for body in self.bodies]
        rounded = np.round(np.concatenate(parts).astype(np.float64), PROBE_DECIMALS) + 0.0
        return hashlib.sha256(rounded.tobytes()).hexdigest()[:16]

    def render(self) -> NDArray[np.uint8]:
        """The robot from over its shoulder, uint8 (384, 384, 3)."""
        frame: NDArray[np.uint8] = self.world.render()[0].numpy()
        return frame

    def close(self) -> None:
        """Frees the world."""
        if self._world is not None:
            self._world.close()
            self._world = None


def _pose(vector: NDArray[np.float32]) -> sapien.Pose:
    return sapien.Pose(vector[:3], vector[3:])


def _vector(pose: sapien.Pose) -> NDArray[np.float32]:
    """(7,) position and quaternion; of the two signs the one with w >= 0, as officially."""
    return np.concatenate([pose.p, -pose.q if pose.q[0] < 0 else pose.q]).astype(np.float32)


def _body_state(body: PhysxRigidDynamicComponent) -> list[NDArray[np.float32]]:
    pose = body.entity.pose
    return [pose.p, pose.q, body.linear_velocity, body.angular_velocity]
