"""Reads a world's lanes: off SAPIEN's bodies where physics run on the CPU, off buffers on a GPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import sapien
from numpy.typing import NDArray
from sapien.physx import PhysxArticulation, PhysxArticulationJoint, PhysxRigidBodyComponent

from vla_bench.suites.ms_hab.rules import Contacts, FloatArray
from vla_bench.suites.ms_hab.scene import FetchWorld

FINGERS = ("l_gripper_finger_link", "r_gripper_finger_link")
FloatRow = NDArray[np.float32]


class Reader(ABC):
    """Where the bodies of all lanes are, how joints stand, and what touches what."""

    def __init__(self, world: FetchWorld) -> None:
        self.world = world

    @abstractmethod
    def begin(self, held: Sequence[PhysxRigidBodyComponent]) -> None:
        """Episodes begin as the world stands; nothing touches anything before the first control step.

        Args:
            held: By lane the body that the fingers may hold.
        """

    @abstractmethod
    def refresh(self) -> None:
        """Takes note of a control step."""

    @abstractmethod
    def pose(self, body: PhysxRigidBodyComponent) -> sapien.Pose:
        """The pose of a link's or an object's frame in its lane's world frame."""

    @abstractmethod
    def body_state(self, body: PhysxRigidBodyComponent) -> FloatRow:
        """(13,) position, quaternion, linear and angular velocity (m, m/s, rad/s)."""

    @abstractmethod
    def joint_pose(self, joint: PhysxArticulationJoint) -> sapien.Pose:
        """The pose of a joint's frame, x along its axis."""

    @abstractmethod
    def qpos(self, articulation: PhysxArticulation) -> FloatRow:
        """(dof,) joint positions (rad and m)."""

    @abstractmethod
    def qvel(self, articulation: PhysxArticulation) -> FloatRow:
        """(dof,) joint velocities (rad/s and m/s)."""

    @abstractmethod
    def robot_force(self, lane: int) -> float:
        """Sum over the robot's links but the fingers of the norm of the net contact force on each (N)."""

    @abstractmethod
    def finger_forces(self, lane: int) -> Iterator[FloatArray]:
        """(3,) force of the held body on the left, then on the right finger (N)."""


def reader_of(world: FetchWorld) -> Reader:
    """The reader for a world's physics."""
    return GpuReader(world) if world.scene.gpu_sim_enabled else CpuReader(world)


class CpuReader(Reader):
    """Reads the one lane of a world whose physics run on the CPU."""

    def begin(self, held: Sequence[PhysxRigidBodyComponent]) -> None:
        """Looks up who may touch whom."""
        robot = self.world.agent.robot
        [self._held] = [body.entity for body in held]
        self._fingers = [robot.links_map[name]._objs[0].entity for name in FINGERS]
        self._force_links = {link.entity for link in robot._objs[0].links} - set(self._fingers)
        # What touched when the previous episode ended says nothing about this one.
        self._contacts = Contacts([], self.world.sim_timestep)

    def refresh(self) -> None:
        """Takes the contacts of the last physics substep."""
        self._contacts = Contacts(self.world.scene.get_contacts(), self.world.sim_timestep)

    def pose(self, body: PhysxRigidBodyComponent) -> sapien.Pose:
        """The body's own."""
        return body.entity.pose

    def body_state(self, body: PhysxRigidBodyComponent) -> FloatRow:
        """The body's own."""
        pose = body.entity.pose
        return np.concatenate([pose.p, pose.q, body.linear_velocity, body.angular_velocity])

    def joint_pose(self, joint: PhysxArticulationJoint) -> sapien.Pose:
        """The joint's own."""
        return joint.get_global_pose()

    def qpos(self, articulation: PhysxArticulation) -> FloatRow:
        """The articulation's own."""
        return cast(FloatRow, articulation.get_qpos())

    def qvel(self, articulation: PhysxArticulation) -> FloatRow:
        """The articulation's own."""
        return cast(FloatRow, articulation.get_qvel())

    def robot_force(self, lane: int) -> float:
        """Added up over contacts."""
        return self._contacts.robot_force(self._force_links)

    def finger_forces(self, lane: int) -> Iterator[FloatArray]:
        """Added up over contacts, the second only if it is asked for."""
        return (self._contacts.force_between(finger, self._held) for finger in self._fingers)


class GpuReader(Reader):
    """Reads rows of PhysX's buffers on a CUDA GPU, all of which it copies once per control step.

    There, SAPIEN's own objects keep the values that they were built with; the rows are those that
    ManiSkill's structures read.
    """

    def begin(self, held: Sequence[PhysxRigidBodyComponent]) -> None:
        """Makes the queries of contact forces, which is slow, and copies the buffers."""
        robot, lanes = self.world.agent.robot, len(held)
        self._px = self.world.scene.px
        self._force_links = [link.name for link in robot.links if link.name not in FINGERS]
        self._pairs = self._px.gpu_create_contact_pair_impulse_query(
            [
                pair
                for name in FINGERS
                for pair in zip(robot.links_map[name]._objs, held, strict=True)
            ]
        )
        self._robot_forces = np.zeros(lanes, np.float32)
        self._finger_forces = np.zeros((len(FINGERS), lanes, 3), np.float32)
        self._copy()

    def _copy(self) -> None:
        self._bodies = _copied(self._px.cuda_rigid_body_data)
        self._qpos = _copied(self._px.cuda_articulation_qpos)
        self._qvel = _copied(self._px.cuda_articulation_qvel)

    def refresh(self) -> None:
        """Copies the buffers and asks for the contact forces of the last physics substep."""
        self._copy()
        forces = self.world.agent.robot.get_net_contact_forces(self._force_links)
        self._robot_forces = forces.norm(dim=-1).sum(dim=-1).cpu().numpy()
        self._px.gpu_query_contact_pair_impulses(self._pairs)
        impulses = _copied(self._pairs.cuda_impulses).reshape(self._finger_forces.shape)
        self._finger_forces = impulses / self.world.sim_timestep

    def pose(self, body: PhysxRigidBodyComponent) -> sapien.Pose:
        """From the body's row."""
        row = self.body_state(body)
        return sapien.Pose(row[:3], row[3:7])

    def body_state(self, body: PhysxRigidBodyComponent) -> FloatRow:
        """The body's row."""
        return self._bodies[body.gpu_pose_index, :13]

    def joint_pose(self, joint: PhysxArticulationJoint) -> sapien.Pose:
        """From the row of the link that the joint moves."""
        return self.pose(joint.child_link) * joint.pose_in_child

    def qpos(self, articulation: PhysxArticulation) -> FloatRow:
        """The articulation's row; the buffer is as wide as the articulation with the most joints."""
        return self._qpos[articulation.gpu_index, : articulation.dof]

    def qvel(self, articulation: PhysxArticulation) -> FloatRow:
        """The articulation's row."""
        return self._qvel[articulation.gpu_index, : articulation.dof]

    def robot_force(self, lane: int) -> float:
        """From ManiSkill's query of net forces."""
        return float(self._robot_forces[lane])

    def finger_forces(self, lane: int) -> Iterator[FloatArray]:
        """From one query of the pairs of all lanes."""
        return iter(self._finger_forces[:, lane])


def _copied(buffer: sapien.CudaArray) -> FloatRow:
    rows: FloatRow = buffer.torch().cpu().numpy()
    return rows
