"""A ReplicaCAD apartment with YCB objects and a Fetch in it, on ManiSkill's packaged scene builder."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import sapien
import torch
import transforms3d
from mani_skill.envs.sapien_env import BaseEnv
from mani_skill.sensors.camera import CameraConfig
from mani_skill.utils import sapien_utils
from mani_skill.utils.building import actors
from mani_skill.utils.building.actors import ycb
from mani_skill.utils.scene_builder.replicacad import scene_builder as replicacad
from mani_skill.utils.structs import Actor, Articulation
from mani_skill.utils.structs.types import SimConfig
from numpy.typing import NDArray
from sapien.render import RenderCameraComponent

from vla_bench.suites.ms_hab.dataset import Episode

FILE_TO_WORLD = sapien.Pose(q=transforms3d.quaternions.axangle2quat([1, 0, 0], np.deg2rad(90)))
DROP = sapien.Pose(p=[0, 0, 0.01], q=FILE_TO_WORLD.q)
"""Objects start one centimetre above their file's pose, as the official loader has it."""
AWAY = sapien.Pose([-10, 0, -100])
HIDDEN = -10_000.0
ROBOT_START = sapien.Pose([-1, 0, 0.02])


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
    """One scene and as many instances of each YCB object as any of its episodes needs.

    Unlike ManiSkill's own rearrange builder it opens no episode that is not played, and it builds objects
    in sorted order: the order of a Python set of strings differs from process to process, and with it the
    order in which the physics engine meets the bodies.
    """

    def __init__(self, env: BaseEnv, scene: str, episodes: Sequence[Episode]) -> None:
        super().__init__(env, include_staging_scenes=True)
        self.scene_index = self.build_configs.index(scene)
        self.counts = {
            name: max(len(episode.objects.get(name, ())) for episode in episodes)
            for name in sorted({name for episode in episodes for name in episode.objects})
        }

    def build(self, *_: object) -> None:
        """Loads the apartment, its furniture and the YCB objects."""
        super().build([self.scene_index])
        self.objects: dict[str, Actor] = {}
        self.hiding_places: dict[str, sapien.Pose] = {}
        for name, count in self.counts.items():
            for number in range(count):
                self._build_object(name, number)

    def _build_object(self, name: str, number: int) -> None:
        instance = f"{name}-{number}"
        pose = sapien.Pose([HIDDEN, HIDDEN, HIDDEN - 10 * len(self.objects)])
        builder = actors.get_actor_builder(self.scene, id=f"ycb:{name}")
        builder.set_scene_idxs([0])
        builder.initial_pose = pose
        self.objects[instance] = builder.build(name=f"env-0_{instance}")
        self.hiding_places[instance] = pose

    def articulation(self, identifier: str) -> Articulation:
        """The articulation with an id such as `fridge-0`."""
        return self.articulations[f"env-0_{identifier}"]

    def begin(self, episode: Episode) -> None:
        """Puts furniture, objects and doors where the episode has them, and the robot near the door."""
        poses = self._object_poses(episode)
        for name, actor in self.objects.items():
            lifted = poses.get(name, self.hiding_places[name])
            # A door that swings through an object left over from the last episode would be stopped.
            actor.set_pose(
                sapien.Pose(lifted.p + np.array([0, 0, 1000 * (name in poses)]), lifted.q)
            )
        super().initialize(torch.arange(1))
        self.env.agent.robot.set_pose(AWAY)
        for name, actor in self.objects.items():
            actor.set_pose(poses.get(name, self.hiding_places[name]))
        for identifier, joints in episode.joints.items():
            self._set_joints(self.articulation(identifier), joints)
        self.env.agent.reset(self.env.agent.keyframes["rest"].qpos)
        self.env.agent.robot.set_pose(ROBOT_START)

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
        articulation.set_qvel(articulation.qvel * 0)


@cache
def _freeze_imports() -> None:
    """Takes all that is imported so far out of the garbage collector's sight, once.

    ManiSkill collects garbage whenever it builds or closes a world; walking through every imported module
    took 85 % of that time.
    """
    gc.collect()
    gc.freeze()


class FetchWorld(BaseEnv):  # type: ignore[misc]
    """A Fetch in an apartment: ManiSkill's environment without task, reward or observation of its own."""

    SUPPORTED_ROBOTS: ClassVar[list[str]] = ["fetch"]

    def __init__(
        self,
        *,
        scene: str,
        episodes: Sequence[Episode],
        image_size: Mapping[str, tuple[int, int]],
        shader: str,
        render_mode: str | None,
    ) -> None:
        _freeze_imports()
        self._apartment_plan = (scene, episodes)
        sensors: dict[str, Any] = {
            sensor: {"height": height, "width": width, "shader_pack": shader}
            for sensor, (height, width) in image_size.items()
        }
        super().__init__(
            obs_mode="rgb" if image_size else "state_dict",
            control_mode="pd_joint_delta_pos",
            render_mode=render_mode,
            robot_uids="fetch",
            sensor_configs=sensors,
            human_render_camera_configs={"shader_pack": "default"},
            sim_backend="physx_cpu",
            render_backend="gpu" if torch.cuda.is_available() else "cpu",
            reconfiguration_freq=0,
        )

    @property
    def _default_sim_config(self) -> SimConfig:
        return SimConfig(spacing=50)

    @property
    def _default_sensor_configs(self) -> list[CameraConfig]:
        return []

    @property
    def _default_human_render_camera_configs(self) -> CameraConfig:
        """A camera that follows the robot, over its left shoulder."""
        pose = sapien_utils.look_at([-0.6, 0.9, 1.3], [0.6, -0.1, 0.2])
        link = self.agent.torso_lift_link
        return CameraConfig("follow", pose, 384, 384, 1.4, 0.01, 20, mount=link)

    def _load_agent(self, options: dict[str, Any]) -> None:
        super()._load_agent(options, ROBOT_START)

    def _load_scene(self, options: dict[str, Any]) -> None:
        self.apartment = Apartment(self, *self._apartment_plan)
        self.apartment.build()

    def _load_lighting(self, options: dict[str, Any]) -> None:
        """The apartment brings its own lights."""

    def get_obs(self, info: object = None, unflattened: bool = False) -> dict[str, Any]:
        """Nothing: observations are read by the suite, when they are wanted."""
        return {}

    def play(self, action: NDArray[np.float32]) -> None:
        """One control step of 50 ms."""
        self._step_action(action)
        self._elapsed_steps += 1

    def camera(self, sensor: str) -> RenderCameraComponent:
        """A sensor's camera."""
        return self._sensors[sensor].camera._render_cameras[0]

    def backdrop(self) -> list[sapien.Entity]:
        """Floor and walls, and the furniture that does not move."""
        movable = self.apartment.movable_objects
        fixed = [
            thing
            for name, thing in sorted(self.apartment.scene_objects.items())
            if isinstance(thing, Actor) and name not in movable
        ]
        return [actor._objs[0] for actor in (self.apartment.bg, *fixed)]

    def render_cameras(self) -> dict[str, NDArray[np.uint8]]:
        """Sensor name -> uint8 (H, W, 3)."""
        data = self._get_obs_sensor_data()
        return {name: entry["rgb"][0].numpy() for name, entry in data.items()}
