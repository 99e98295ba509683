"""One LIBERO task as a simulation: begun anywhere, stepped cheaply, exactly as LIBERO computes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from vla_bench.perturbations.changes import Vector
from vla_bench.suites.libero.domain import make_domain
from vla_bench.suites.libero.perturbing import LookChange, Looks, push
from vla_bench.suites.libero.sampling import SAMPLED_AFTER, Sample
from vla_bench.suites.libero.views import viewpoint
from vla_bench.suites.viewpoint import Viewpoint

RESET_ATTEMPTS = 1000
"""Draws of a placement without overlap before the reset is given up."""


@dataclass(frozen=True)
class Savings:
    """Ways to compute the same in less time; each changes no bit of a state or an image."""

    lazy_cameras: bool = True
    """Cameras are drawn when somebody reads them; else all of them at every control step."""
    soft_reset: bool = True
    """A reset puts everything back into its place; else the model is built anew."""
    split_step: bool = True
    """Each physics step computes positions and contacts once; else three times, as robosuite does."""


class LiberoWorld:
    """The simulation of one task.

    Args:
        goal_file: The task's BDDL file.
        assets: Folder of LIBERO's assets.
        cameras: MuJoCo's names of the cameras that may be drawn; with () nothing can be drawn.
        size: Height and width of the images in pixels.
        savings: What is saved.
        noise: Whether the arm's joints are drawn, for worlds without a given initial state.
    """

    def __init__(
        self,
        goal_file: Path,
        assets: Path,
        cameras: Mapping[str, str],
        size: tuple[int, int],
        savings: Savings,
        noise: bool = False,
    ) -> None:
        self.cameras, self.size, self.savings = dict(cameras), size, savings
        self.domain = make_domain(
            goal_file,
            assets,
            draws=bool(cameras),
            hard_reset=not savings.soft_reset,
            noise=noise,
        )
        self._sample = Sample(self.domain.sim)
        self._images: dict[str, NDArray[np.uint8]] = {}
        self._looks: Looks | None = None

    def begin(self, seed: int, state: NDArray[np.float64] | None) -> None:
        """Starts an episode that depends on the arguments only.

        LIBERO draws the poses of fixtures at each reset and keeps them out of the initial state, so that
        in its own loop an episode depends on all those before it. This is got round here only:

        - the draws come from NumPy's global generator: it is seeded for the reset and put back after it;
        - every rebuilding adds one more set of samplers of drawers and doors: the list is emptied;
        - robosuite's soft reset forgets the gripper's command: it is put to zero;
        - `ControlEnv.reset` catches every exception and tries again for ever: the reset below it is
          called, which is repeated after a failed placement and after nothing else.

        Args:
            seed: Seed of the draws.
            state: Flattened simulator state to start from, float64 (1 + nq + nv,); None for a start drawn
                as LIBERO drew those of its files.

        Raises:
            RuntimeError: No placement without overlap was found.
        """
        domain = self.domain
        if self._looks is not None:
            self._looks.restore()
            self._looks = None
        with _seeded(seed):
            self._reset()
        if not self.savings.soft_reset:
            self._sample = Sample(domain.sim)
        if state is not None:
            domain.sim.set_state_from_flattened(state)
        domain.sim.forward()
        domain._check_success()
        domain._post_process()
        self._take_sample()

    def _reset(self) -> None:
        from robosuite.utils.errors import RandomizationError

        for _ in range(RESET_ATTEMPTS):
            if not self.savings.soft_reset:
                self.domain.object_property_initializers.clear()
            for robot in self.domain.robots:
                robot.gripper.current_action = np.zeros(robot.gripper.dof)
            try:
                self.domain.reset()
            except RandomizationError:
                continue
            return
        raise RuntimeError(f"no placement without overlap in {RESET_ATTEMPTS} draws")

    def perturb(self, change: LookChange) -> None:
        """Changes how the world looks, until the next episode begins."""
        self._looks = self._looks or Looks(self.domain)
        self._looks.change(change)
        mujoco.mj_camlight(self.domain.sim.model._model, self._sample.data)
        self._images = {}

    def push(self, body: int, velocity: Vector) -> None:
        """Pushes a body (m/s, world frame)."""
        push(self.domain.sim.model._model, self.domain.sim.data._data, body, velocity)

    def step(self, action: NDArray[np.float64]) -> bool:
        """Plays one control step of 50 ms.

        Args:
            action: Float64 (7,): position and rotation of the gripper, fractions of 0.05 m and 0.5 rad
                in the world frame; gripper command, of which only the sign counts.

        Returns:
            Whether the task's goal holds after it.
        """
        domain = self.domain
        domain.timestep += 1
        substeps = round(domain.control_timestep / domain.model_timestep)
        play = self._split_steps if self.savings.split_step else self._whole_steps
        for number in play(action, substeps):
            if number == SAMPLED_AFTER:
                self._take_sample()
        domain.cur_time += domain.control_timestep
        domain._post_process()
        return bool(domain._check_success())

    def _whole_steps(self, action: NDArray[np.float64], count: int) -> Iterator[int]:
        """Physics steps as robosuite plays them: everything is computed three times in each."""
        sim = self.domain.sim
        for number in range(1, count + 1):
            sim.forward()
            self.domain._pre_action(action, policy_step=number == 1)
            sim.step()
            yield number

    def _split_steps(self, action: NDArray[np.float64], count: int) -> Iterator[int]:
        """The same bits for less: positions, velocities and contacts are computed once in each.

        Only the solver runs as often as in robosuite: it starts from where it ended the last time, so
        that a call less would change the last bits.
        """
        sim = self.domain.sim
        model, data = sim.model._model, sim.data._data
        # The controller asks to be brought up to date, for which the solver is all that is left to do.
        sim.forward = lambda: mujoco.mj_fwdConstraint(model, data)
        try:
            for number in range(1, count + 1):
                mujoco.mj_step1(model, data)
                mujoco.mj_fwdActuation(model, data)
                mujoco.mj_fwdAcceleration(model, data)
                mujoco.mj_fwdConstraint(model, data)
                self.domain._pre_action(action, policy_step=number == 1)
                mujoco.mj_step2(model, data)
                yield number
        finally:
            del sim.forward

    def _take_sample(self) -> None:
        self._sample.take()
        self._images = {}
        if not self.savings.lazy_cameras:
            self.images(self.cameras)

    def images(self, names: Iterable[str]) -> dict[str, NDArray[np.uint8]]:
        """What the cameras saw when LIBERO would have sampled them last.

        Args:
            names: Names of cameras.

        Returns:
            uint8 (height, width, 3) each, turned by 180 degrees, so that they stand upright.
        """
        context = self.domain.sim._render_context_offscreen
        for name in names:
            if name not in self._images:
                image = self._sample.draw(context, self.cameras[name], self.size)
                self._images[name] = np.ascontiguousarray(image[::-1, ::-1])
        return {name: self._images[name] for name in names}

    def geoms(self, name: str) -> NDArray[np.int32]:
        """Numbers of the geometries in a camera's image, -1 for none: (height, width)."""
        context = self.domain.sim._render_context_offscreen
        return self._sample.draw_geoms(context, self.cameras[name], self.size)[::-1, ::-1]

    def viewpoint(self, name: str) -> Viewpoint:
        """How a camera saw when LIBERO would have sampled it last."""
        model = self.domain.sim.model
        camera = model.camera_name2id(self.cameras[name])
        return viewpoint(model._model, self._sample.data, camera, self.size)

    def proprioception(self) -> Proprioception:
        """What the robot's sensors said when LIBERO would have sampled them last."""
        robot, data = self.domain.robots[0], self._sample.data
        hand = self.domain.sim.model.body_name2id(robot.robot_model.eef_name)
        return Proprioception(
            position=data.site_xpos[robot.eef_site_id].copy(),
            quaternion=data.xquat[hand].copy(),
            joints=data.qpos[robot._ref_joint_pos_indexes],
            fingers=data.qpos[robot._ref_gripper_joint_pos_indexes],
        )

    def goal(self) -> dict[str, bool]:
        """Every condition of the goal, in BDDL's words, and whether it holds."""
        conditions = self.domain.parsed_problem["goal_state"]
        return {" ".join(c): bool(self.domain._eval_predicate(c)) for c in conditions}

    def positions(self) -> dict[str, NDArray[np.float64]]:
        """Where every object and fixture is: float64 (3,), m, world frame."""
        data = self.domain.sim.data._data
        return {name: data.xpos[body].copy() for name, body in self.domain.obj_body_id.items()}

    def poses(self) -> NDArray[np.float64]:
        """All joint positions, and the poses of objects and fixtures, one after the other."""
        data, bodies = self.domain.sim.data._data, list(self.domain.obj_body_id.values())
        parts = [data.qpos, data.xpos[bodies].ravel(), data.xquat[bodies].ravel()]
        return np.concatenate(parts)

    def state(self) -> NDArray[np.float64]:
        """Time, joint positions and velocities, and the gripper's command: what the next step needs."""
        gripper = self.domain.robots[0].gripper
        return np.concatenate([self.domain.sim.get_state().flatten(), gripper.current_action])

    def close(self) -> None:
        """Frees the simulation."""
        self.domain.close()


@dataclass(frozen=True)
class Proprioception:
    """The robot as its sensors see it, float64, world frame."""

    position: NDArray[np.float64]
    """(3,) m: the point between the fingertips."""
    quaternion: NDArray[np.float64]
    """(4,) wxyz: the hand."""
    joints: NDArray[np.float64]
    """(7,) rad."""
    fingers: NDArray[np.float64]
    """(2,) m: one value a finger."""


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds NumPy's global generator for a while, and leaves it as it was."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
