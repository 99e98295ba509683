"""What SAPIEN does for perturbations, on the CPU; each episode has a world of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import sapien
from sapien.physx import PhysxArticulation, PhysxRigidDynamicComponent
from sapien.render import RenderBodyComponent, RenderLightComponent, RenderMaterial, RenderTexture2D

from vla_bench.perturbations.changes import Backdrop, CameraShift, Light, Push, Vector
from vla_bench.suites.ms_hab.dataset import Plan
from vla_bench.suites.ms_hab.scene import FetchWorld

if TYPE_CHECKING:
    from vla_bench.suites.ms_hab.lane import Lane

BASE_JOINTS = slice(0, 2)
"""Of the robot: along x and y of the world."""
GAMMA = 2.2
"""Textures are stored with it, plain colours without."""
TO_SAPIEN = np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]])
"""From a camera's right, up, backwards to SAPIEN's forward, left, up."""


def perturb(lane: Lane, change: Push | Light | Backdrop) -> None:
    """Changes an episode's world, all but its cameras."""
    match change:
        case Push():
            _push(lane, change)
        case Light():
            _relight(lane.world, change)
        case Backdrop():
            _tint(lane.world, change.colour)


def _push(lane: Lane, push: Push) -> None:
    """Pushes the base, or the object; when a door or a drawer is the task, that at its handle."""
    if push.body == "base":
        # Its wheels brake it.
        speeds = lane.robot.get_qvel()
        speeds[BASE_JOINTS] += push.velocity[:2]
        lane.robot.set_qvel(speeds)
    elif lane.plan.subtask in ("pick", "place"):
        body = lane.target
        assert isinstance(body, PhysxRigidDynamicComponent)
        body.set_linear_velocity(body.linear_velocity + push.velocity.astype(np.float32))
    else:
        assert lane.articulation is not None
        _push_door(lane.articulation, lane.plan, push.velocity)


def _push_door(articulation: PhysxArticulation, plan: Plan, velocity: Vector) -> None:
    """Its joint takes what it lets through."""
    joint, link = (
        articulation.active_joints[plan.handle_joint],
        articulation.links[plan.handle_link],
    )
    frame = joint.get_global_pose()
    way = frame.to_transformation_matrix()[:3, 0]
    if joint.type.startswith("revolute"):
        handle = link.entity.pose * sapien.Pose(plan.handle_position)
        way = np.cross(way, handle.p - frame.p)
    speeds = articulation.get_qvel()
    speeds[plan.handle_joint] += way @ velocity / (way @ way)
    articulation.set_qvel(speeds)


def shift_camera(world: FetchWorld, sensor: str, shift: CameraShift) -> None:
    """Moves a camera on what it is mounted on."""
    offset, rotation = TO_SAPIEN @ shift.offset, TO_SAPIEN @ shift.rotation
    angle = float(np.linalg.norm(rotation))
    turn = [np.cos(angle / 2), *(np.sin(angle / 2) * rotation / angle)]
    camera = world.camera(sensor)
    camera.local_pose = camera.local_pose * sapien.Pose(offset, turn)


def _relight(world: FetchWorld, light: Light) -> None:
    """Changes the colour of all light, and moves every lamp."""
    scene = world.scene.sub_scenes[0]
    scene.set_ambient_light(scene.ambient_light * light.colour)
    for entity in scene.entities:
        lamp = entity.find_component_by_type(RenderLightComponent)
        if lamp is not None:
            lamp.color = lamp.color * light.colour
            entity.set_pose(sapien.Pose(entity.pose.p + light.offset, entity.pose.q))


def _tint(world: FetchWorld, colour: Vector) -> None:
    """Tints floor, walls and all furniture that does not move: what they reflect and what they glow."""
    for material in _materials(world.backdrop()):
        for name in ("base_color", "emission"):
            *plain, alpha = getattr(material, name)
            setattr(material, name, [*(np.array(plain) * colour**GAMMA), alpha])
            texture = getattr(material, f"{name}_texture")
            if texture is not None:
                setattr(material, f"{name}_texture", _tinted(texture, colour))


def _materials(bodies: Iterable[sapien.Entity]) -> Iterable[RenderMaterial]:
    for body in bodies:
        for shape in body.find_component_by_type(RenderBodyComponent).render_shapes:
            for part in shape.parts:
                yield part.material


def _tinted(texture: RenderTexture2D, colour: Vector) -> RenderTexture2D:
    pixels = texture.download()
    pixels[..., :3] = np.rint(pixels[..., :3] * colour)
    return RenderTexture2D(
        pixels,
        texture.format,
        texture.mipmap_levels,
        texture.filter_mode,
        texture.address_mode,
        texture.is_srgb,
    )
