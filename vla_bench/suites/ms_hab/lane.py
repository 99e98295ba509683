"""One lane of a MS-HAB world: its robot, its task plan, and what can be seen and measured of them."""

from __future__ import annotations

import hashlib

import numpy as np
import sapien
import torch
from mani_skill.utils.structs import Pose
from numpy.typing import NDArray
from sapien.physx import PhysxArticulation, PhysxRigidBodyComponent

from vla_bench.cards import SuiteCard
from vla_bench.suites.base import Arrays
from vla_bench.suites.ms_hab import rules
from vla_bench.suites.ms_hab.apartment import HIDDEN, of_lane
from vla_bench.suites.ms_hab.dataset import Plan, Spawn
from vla_bench.suites.ms_hab.physics import FINGERS, Reader
from vla_bench.suites.ms_hab.scene import FetchWorld

REMOVED = sapien.Pose([HIDDEN, HIDDEN, -9000])
PROBE_DECIMALS = 3


class Lane:
    """One SetTable subtask (pick, place, open or close) in one lane of a world.

    Args:
        card: The suite's card.
        world: The world.
        reader: Reads the world.
        number: Which lane of it.
        plan: The task plan.

    Attributes:
        held: The body that the fingers may hold: the object, or the handle that is to be moved.
        force: Contact force on the robot, fingers excluded, added up over control steps (N).
    """

    def __init__(
        self, card: SuiteCard, world: FetchWorld, reader: Reader, number: int, plan: Plan
    ) -> None:
        self.card = card
        self.world = world
        self.reader = reader
        self.number = number
        self.plan = plan
        self.force = 0.0
        self._bind_robot()
        self._bind_plan()

    def _bind_robot(self) -> None:
        robot = self.world.agent.robot
        self.robot: PhysxArticulation = robot._objs[self.number]
        names = ("base_link", "gripper_link", *FINGERS)
        links = (robot.links_map[name]._objs[self.number] for name in names)
        self.base, self.tcp, self.left_finger, self.right_finger = links

    def _bind_plan(self) -> None:
        """Looks up the bodies that the plan names."""
        apartment, plan = self.world.apartment, self.plan
        self.objects = apartment.objects[self.number]
        self.target: PhysxRigidBodyComponent | None = None
        if plan.object_id is not None:
            self.target = self.objects[plan.object_id]._bodies[0]
        self.articulation: PhysxArticulation | None = None
        if plan.articulation_id is not None:
            shared = apartment.articulation(self.number, plan.articulation_id)
            self.articulation = of_lane(shared, shared._objs, self.number)
        self.articulations = apartment.articulations_of(self.number)
        self.bodies = apartment.bodies_of(self.number)
        held = self._handle_link() if plan.subtask in ("open", "close") else self.target
        assert held is not None
        self.held = held

    def place_robot(self, spawn: Spawn) -> None:
        """The first half of a start: takes away what the plan does not want, and puts up the robot."""
        if self.plan.removed_object_id is not None:
            self.objects[self.plan.removed_object_id].set_pose(REMOVED)
        self.world.agent.robot.set_pose(sapien.Pose(spawn.robot_position))
        self.world.agent.robot.set_qpos(torch.from_numpy(spawn.robot_qpos))

    def place_things(self, spawn: Spawn) -> None:
        """The second half: the object, which may be in the gripper, and the door or drawer."""
        plan = self.plan
        if plan.object_id is not None and spawn.object_pose is not None:
            self.objects[plan.object_id].set_pose(_pose(spawn.object_pose))
        if plan.object_id is not None and spawn.object_pose_in_tcp is not None:
            self.objects[plan.object_id].set_pose(self._in_hand(spawn.object_pose_in_tcp))
        if plan.articulation_id is not None and spawn.articulation_qpos is not None:
            articulation = self.world.apartment.articulation(self.number, plan.articulation_id)
            qpos = spawn.articulation_qpos[: articulation.max_dof]
            articulation.set_qpos(torch.from_numpy(qpos))
            articulation.set_qvel(torch.zeros(articulation.max_dof))

    def _in_hand(self, pose_in_tcp: NDArray[np.float32]) -> sapien.Pose:
        """ManiSkill's product of poses: SAPIEN's differs in the last bit, and so does the episode."""
        tcp = self.world.agent.tcp.pose[self.number]
        return (tcp * Pose.create(torch.from_numpy(pose_in_tcp)[None], device=tcp.device)).sp

    def check(self) -> bool:
        """Takes note of a control step; returns whether the success conditions hold."""
        self.force += self.reader.robot_force(self.number)
        return all(value for value in self.status().values() if isinstance(value, bool))

    def status(self) -> dict[str, bool | float]:
        """Every condition of success by name, and the force so far (N)."""
        plan, reader, qpos = self.plan, self.reader, self.reader.qpos(self.robot)
        conditions: dict[str, bool | float] = {
            "gripper_at_rest": rules.gripper_at_rest(reader.pose(self.base), reader.pose(self.tcp)),
            "robot_at_rest": rules.robot_at_rest(qpos, grasping=plan.subtask == "pick"),
            "robot_static": rules.robot_static(reader.qvel(self.robot)),
            "force_within_limit": self.force < rules.FORCE_LIMIT[plan.subtask],
            "force": self.force,
        }
        if plan.subtask == "pick":
            conditions["grasped"] = self._grasped()
        elif plan.subtask == "place":
            assert self.target is not None
            conditions["released"] = not self._grasped()
            conditions["at_goal"] = rules.at_goal(
                reader.pose(self.target).p, np.asarray(plan.goal_position)
            )
        else:
            assert self.articulation is not None
            value = reader.qpos(self.articulation)[plan.handle_joint]
            limits = self.articulation.get_qlimits()[plan.handle_joint]
            conditions[f"{plan.subtask}_enough"] = rules.joint_done(
                value, limits, plan.articulation_type, plan.subtask
            )
        return conditions

    def _grasped(self) -> bool:
        reader = self.reader
        left, right = reader.pose(self.left_finger), reader.pose(self.right_finger)
        return rules.grasped(reader.finger_forces(self.number), left, right)

    def _handle_link(self) -> PhysxRigidBodyComponent:
        assert self.articulation is not None
        return self.articulation.links[self.plan.handle_link]

    def state(self) -> Arrays:
        """The state entries of an observation."""
        reader, base = self.reader, self.reader.pose(self.base)
        yaw = 2 * np.arctan2(base.q[3], base.q[0])
        qpos, qvel = reader.qpos(self.robot), reader.qvel(self.robot)
        return {
            "qpos": qpos[3:],
            "qvel": qvel[3:],
            "tcp_pose": _vector(base.inv() * reader.pose(self.tcp)),
            "is_grasped": np.array([self._grasped()], np.float32),
            "base_pose": np.array([base.p[0], base.p[1], yaw], np.float32),
            "base_velocity": qvel[:3],
        }

    def privileged(self) -> Arrays:
        """The privileged entries of an observation."""
        into_base = self.reader.pose(self.base).inv()
        entries = {name: np.zeros(size, np.float32) for name, size in self.card.privileged.items()}
        if self.target is not None:
            entries["object_pose"] = _vector(into_base * self.reader.pose(self.target))
        if self.plan.goal_position is not None:
            entries["goal_position"] = (into_base * sapien.Pose(self.plan.goal_position)).p
        if self.articulation is not None and self.plan.handle_link >= 0:
            entries |= self._handle(into_base, self.articulation)
        return entries

    def _handle(self, into_base: sapien.Pose, articulation: PhysxArticulation) -> Arrays:
        index, link = self.plan.handle_joint, self.reader.pose(self._handle_link())
        axis = into_base * self.reader.joint_pose(articulation.active_joints[index])
        value, limits = self.reader.qpos(articulation)[index], articulation.get_qlimits()[index]
        direction = axis.to_transformation_matrix()[:3, 0]
        entries = {
            "handle_joint": np.array([value, *limits], np.float32),
            "handle_axis": np.concatenate([axis.p, direction]).astype(np.float32),
            "handle_link_pose": _vector(into_base * link),
        }
        if self.plan.handle_position is not None:
            point = link * sapien.Pose(self.plan.handle_position)
            entries["goal_position"] = (into_base * point).p
        return entries

    def state_bytes(self) -> bytes:
        """Joint positions and velocities of every articulation, poses and velocities of every body."""
        reader, parts = self.reader, []
        for articulation in (self.robot, *self.articulations):
            root = reader.pose(articulation.root)
            parts += [reader.qpos(articulation), reader.qvel(articulation), root.p, root.q]
        parts += [reader.body_state(body) for body in self.bodies]
        return np.concatenate(parts).astype(np.float32).tobytes()

    def world_probe(self) -> str:
        """Joint positions and object poses, rounded to millimetres and milliradians."""
        parts = [self.reader.qpos(a) for a in (self.robot, *self.articulations)]
        parts += [self.reader.body_state(body)[:7] for body in self.bodies]
        rounded = np.round(np.concatenate(parts).astype(np.float64), PROBE_DECIMALS) + 0.0
        return hashlib.sha256(rounded.tobytes()).hexdigest()[:16]


def _pose(vector: NDArray[np.float32]) -> sapien.Pose:
    return sapien.Pose(vector[:3], vector[3:])


def _vector(pose: sapien.Pose) -> NDArray[np.float32]:
    """(7,) position and quaternion; of the two signs the one with w >= 0, as officially."""
    return np.concatenate([pose.p, -pose.q if pose.q[0] < 0 else pose.q]).astype(np.float32)
