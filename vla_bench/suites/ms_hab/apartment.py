"""ReplicaCAD apartments with YCB objects in them, on ManiSkill's packaged scene builder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import sapien
import torch
import transforms3d
from mani_skill.envs.sapien_env import BaseEnv
from mani_skill.utils.building import actors
from mani_skill.utils.building.actors import ycb
from mani_skill.utils.scene_builder.replicacad import scene_builder as replicacad
from mani_skill.utils.structs import Actor, Articulation
from sapien.physx import PhysxArticulation, PhysxRigidDynamicComponent

from vla_bench.suites.ms_hab.dataset import Episode

FILE_TO_WORLD = sapien.Pose(q=transforms3d.quaternions.axangle2quat([1, 0, 0], np.deg2rad(90)))
DROP = sapien.Pose(p=[0, 0, 0.01], q=FILE_TO_WORLD.q)
"""Objects start one centimetre above their file's pose, as the official loader has it."""
AWAY = sapien.Pose([-10, 0, -100])
HIDDEN = -10_000.0
ROBOT_START = sapien.Pose([-1, 0, 0.02])
T = TypeVar("T")


def use_assets(root: Path) -> None:
    """Points ManiSkill's loaders at an asset root.

    ManiSkill reads MS_ASSET_DIR once, at import; two suites with different roots can share a process
    only if its modules' constants are set before each build. This is the one place that does it.
    """
    data = root / "data"
    if data != replicacad.ASSET_DIR:
        replicacad.ASSET_DIR = data
        ycb.ASSET_DIR = data
        ycb.YCB_DATASET.clear()
        ycb._load_ycb_dataset()
        ycb.YCB_DATASET["YCB"] = True


class Apartment(replicacad.ReplicaCADSceneBuilder):  # type: ignore[misc]
    """In each lane one scene and as many instances of each YCB object as any of its episodes needs.

    Unlike ManiSkill's own rearrange builder it opens no episode that is not played, and it builds objects
    in sorted order: the order of a Python set of strings differs from process to process, and with it the
    order in which the physics engine meets the bodies.
    """

    def __init__(
        self, env: BaseEnv, scenes: Sequence[str], episodes: Mapping[str, Sequence[Episode]]
    ) -> None:
        super().__init__(env, include_staging_scenes=True)
        self.scenes = scenes
        self.counts = {scene: _most_instances(episodes[scene]) for scene in set(scenes)}

    def build(self, *_: object) -> None:
        """Loads the apartment, its furniture and the YCB objects."""
        super().build([self.build_configs.index(scene) for scene in self.scenes])
        self.objects: list[dict[str, Actor]] = [{} for _ in self.scenes]
        self.hiding_places: list[dict[str, sapien.Pose]] = [{} for _ in self.scenes]
        for lane, scene in enumerate(self.scenes):
            for name, count in self.counts[scene].items():
                for number in range(count):
                    self._build_object(lane, name, number)

    def _build_object(self, lane: int, name: str, number: int) -> None:
        instance = f"{name}-{number}"
        pose = sapien.Pose([HIDDEN, HIDDEN, HIDDEN - 10 * len(self.objects[lane])])
        builder = actors.get_actor_builder(self.scene, id=f"ycb:{name}")
        builder.set_scene_idxs([lane])
        builder.initial_pose = pose
        self.objects[lane][instance] = builder.build(name=f"env-{lane}_{instance}")
        self.hiding_places[lane][instance] = pose

    def articulation(self, lane: int, identifier: str) -> Articulation:
        """The articulation with an id such as `fridge-0`; lanes of the same scene share it."""
        return self.articulations[f"env-{lane}_{identifier}"]

    def articulations_of(self, lane: int) -> list[PhysxArticulation]:
        """The lane's articulations by name, the robot aside."""
        return [of_lane(a, a._objs, lane) for a in _named(self.articulations, lane)]

    def bodies_of(self, lane: int) -> list[PhysxRigidDynamicComponent]:
        """The lane's objects that can move: those of the episode by name, then those of the scene."""
        actors = [actor for _, actor in sorted(self.objects[lane].items())]
        actors += _named(self.movable_objects, lane)
        return [of_lane(actor, actor._bodies, lane) for actor in actors]

    def begin(self, episodes: Sequence[Episode]) -> None:
        """Puts furniture, objects and doors where each lane's episode has them, and the robot near the
        door.
        """
        poses = [self._object_poses(episode) for episode in episodes]
        # A door that swings through an object left over from the last episode would be stopped.
        self._place_objects([{name: _lifted(p) for name, p in of.items()} for of in poses])
        super().initialize(torch.arange(len(episodes)))
        self.env.agent.robot.set_pose(AWAY)
        self._place_objects(poses)
        for lane, episode in enumerate(episodes):
            with self.env.only(lane):
                for identifier, joints in episode.joints.items():
                    self._set_joints(self.articulation(lane, identifier), joints)
        self.env.agent.reset(self.env.agent.keyframes["rest"].qpos)
        self.env.agent.robot.set_pose(ROBOT_START)

    def _place_objects(self, poses: Sequence[Mapping[str, sapien.Pose]]) -> None:
        """Puts the objects of each lane at their poses, and those without one out of sight."""
        for present, objects, hidden in zip(poses, self.objects, self.hiding_places, strict=True):
            for name, actor in objects.items():
                actor.set_pose(present.get(name, hidden[name]))

    @staticmethod
    def _object_poses(episode: Episode) -> dict[str, sapien.Pose]:
        return {
            f"{name}-{number}": DROP * sapien.Pose(matrix) * FILE_TO_WORLD.inv()
            for name, matrices in episode.objects.items()
            for number, matrix in enumerate(matrices)
        }

    @staticmethod
    def _set_joints(articulation: Articulation, joints: Mapping[int, float]) -> None:
        qpos = torch.zeros(articulation.max_dof)
        for link, value in joints.items():
            qpos[articulation.active_joints.index(articulation.joints[link])] = value
        articulation.set_qpos(qpos)
        articulation.set_qvel(torch.zeros(articulation.max_dof))


def _lifted(pose: sapien.Pose) -> sapien.Pose:
    """A kilometre above."""
    return sapien.Pose(pose.p + np.array([0, 0, 1000]), pose.q)


def _most_instances(episodes: Sequence[Episode]) -> dict[str, int]:
    """YCB name -> the most instances that any of some episodes needs, by name."""
    return {
        name: max(len(episode.objects.get(name, ())) for episode in episodes)
        for name in sorted({name for episode in episodes for name in episode.objects})
    }


def _named(parts: Mapping[str, T], lane: int) -> list[T]:
    """A lane's part of a table of ManiSkill's scene builder, by name."""
    return [part for name, part in sorted(parts.items()) if name.startswith(f"env-{lane}_")]


def of_lane(struct: Actor | Articulation, parts: Sequence[T], lane: int) -> T:
    """A lane's part of what one of ManiSkill's structures holds for all lanes that it is in."""
    place: int = struct._scene_idxs.tolist().index(lane)
    return parts[place]
