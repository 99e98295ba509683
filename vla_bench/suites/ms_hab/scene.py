"""A Fetch in ReplicaCAD apartments, one per lane: the world that ManiSkill simulates."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
import sapien
import torch
from mani_skill.envs.sapien_env import BaseEnv
from mani_skill.sensors.camera import CameraConfig
from mani_skill.utils import sapien_utils
from mani_skill.utils.structs import Actor
from mani_skill.utils.structs.types import GPUMemoryConfig, SimConfig
from numpy.typing import NDArray
from sapien.render import RenderCameraComponent

from vla_bench.suites.ms_hab.apartment import ROBOT_START, Apartment
from vla_bench.suites.ms_hab.dataset import Episode

Physics = Literal["cpu", "gpu"]
GPU_MEMORY = GPUMemoryConfig(
    temp_buffer_capacity=2**24,
    max_rigid_contact_count=2**23,
    found_lost_pairs_capacity=2**25,
    max_rigid_patch_count=2**21,
)
"""The official environments' buffers for physics on a GPU."""


@cache
def _freeze_imports() -> None:
    """Takes all that is imported so far out of the garbage collector's sight, once.

    ManiSkill collects garbage whenever it builds or closes a world; walking through every imported module
    took 85 % of that time.
    """
    gc.collect()
    gc.freeze()


class FetchWorld(BaseEnv):  # type: ignore[misc]
    """A Fetch in an apartment: ManiSkill's environment without task, reward or observation of its own.

    Args:
        scenes: By lane the scene. Physics on the CPU have one lane.
        episodes: By scene the episodes that its lanes may be asked to begin.
        image_size: Sensor name -> (height, width) in pixels; without any nothing is rendered.
        shader: The shader of the sensors.
        render_mode: "rgb_array" if `render` will be called, else None.
        physics: `cpu`, or `gpu` for PhysX on CUDA.
    """

    SUPPORTED_ROBOTS: ClassVar[list[str]] = ["fetch"]

    def __init__(
        self,
        *,
        scenes: Sequence[str],
        episodes: Mapping[str, Sequence[Episode]],
        image_size: Mapping[str, tuple[int, int]],
        shader: str,
        render_mode: str | None,
        physics: Physics,
    ) -> None:
        _freeze_imports()
        self._apartment_plan = (scenes, episodes)
        sensors: dict[str, Any] = {
            sensor: {"height": height, "width": width, "shader_pack": shader}
            for sensor, (height, width) in image_size.items()
        }
        super().__init__(
            num_envs=len(scenes),
            obs_mode="rgb" if image_size else "state_dict",
            control_mode="pd_joint_delta_pos",
            render_mode=render_mode,
            robot_uids="fetch",
            sensor_configs=sensors,
            human_render_camera_configs={"shader_pack": "default"},
            sim_backend={"cpu": "physx_cpu", "gpu": "physx_cuda"}[physics],
            render_backend="gpu" if torch.cuda.is_available() else "cpu",
            reconfiguration_freq=0,
        )

    @property
    def _default_sim_config(self) -> SimConfig:
        return SimConfig(spacing=50, gpu_memory_config=GPU_MEMORY)

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

    @contextmanager
    def only(self, lane: int) -> Iterator[None]:
        """What is set through ManiSkill's structures is set in one lane, whichever lanes they are in."""
        mask = self.scene._reset_mask
        self.scene._reset_mask = torch.arange(len(mask), device=mask.device) == lane
        try:
            yield
        finally:
            self.scene._reset_mask = mask

    def apply(self) -> None:
        """Makes what was set true: at once on the CPU, on a GPU when it is told to."""
        if self.gpu_sim_enabled:
            self.scene._gpu_apply_all()
            self.scene.px.gpu_update_articulation_kinematics()
            self.scene._gpu_fetch_all()

    def come_to_rest(self) -> None:
        """Clears all velocities: on a GPU, ManiSkill's scene builder plays a physics substep."""
        if self.gpu_sim_enabled:
            self._clear_sim_state()
            self.apply()

    def play(self, actions: NDArray[np.float32]) -> None:
        """One control step of 50 ms; actions are float32 (lanes, 13)."""
        self._step_action(actions)
        self._elapsed_steps += 1

    def camera(self, sensor: str, lane: int = 0) -> RenderCameraComponent:
        """A sensor's camera in a lane."""
        return self._sensors[sensor].camera._render_cameras[lane]

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
        """Sensor name -> uint8 (lanes, H, W, 3)."""
        data = self._get_obs_sensor_data()
        return {name: entry["rgb"].cpu().numpy() for name, entry in data.items()}

    def render_numbers(self, sensor: str) -> NDArray[np.int16]:
        """By pixel the number that an entity has in its scene (`per_scene_id`): (lanes, H, W)."""
        self.scene.update_render(update_sensors=True, update_human_render_cameras=False)
        self._sensors[sensor].capture()
        data = self._sensors[sensor].get_obs(rgb=False, depth=False, position=False)
        numbers: NDArray[np.int16] = data["segmentation"][..., 0].cpu().numpy()
        return numbers
