"""Choosing postures, and where to stand, so that a tcp target is reached soon and near the rest
posture.

Every radian away from rest costs 45 control steps there and 45 back, so distance from rest is the
price of a posture, and the search moves base and arm together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from vla_bench.policies.expert.actuators import ARM_PACE
from vla_bench.policies.expert.base_drive import drive_steps
from vla_bench.policies.expert.kinematics import REST_POSTURE, Kinematics, fetch_kinematics
from vla_bench.policies.expert.rotations import Array, cross, matrix_about_z, wrap_angle
from vla_bench.policies.expert.target import TcpTarget

_POSITION_UNIT = 0.002
_ANGLE_UNIT = 0.01
_TRAVEL_UNIT: Array = np.array([0.25] + [0.9] * 7)
"""Departure from rest (m, rad) that costs as much as one unit of tcp error."""
_TORSO_RATE = 0.025
_ROAM: Array = np.array([2.0, 2.0, 1.0])
"""Cost of a metre of driving and a radian of turning."""

Penalty = Callable[[Array, Array], Array]
"""(base pose (3,), skeleton points in the world (9, 3)) -> residuals, zero where all is well,
about one per centimetre of trespass."""


@dataclass(frozen=True)
class Reach:
    """A posture and base pose that put the tcp at a target."""

    posture: Array
    """(8,) m and rad."""
    base_pose: Array
    """(3,) world x, y (m), yaw (rad); zeros when only a posture was sought."""
    position_error: float
    """m."""
    rotation_error: float
    """rad."""
    trespass: float
    """Norm of the penalty's residuals."""
    steps: float
    """Estimated control steps to get there with arm and base moving together."""

    @property
    def reached(self) -> bool:
        """Says whether the target is met within 1 cm and 0.1 rad, and nothing is trespassed on."""
        return self.position_error < 0.01 and self.rotation_error < 0.1 and self.trespass < 1.0


def posture_steps(start: Array, goal: Array) -> float:
    """Estimates the control steps from one posture (8,) to another, all joints at the experts' pace."""
    change = np.abs(np.asarray(goal) - np.asarray(start))
    return float(max(change[1:].max() / ARM_PACE, change[0] / _TORSO_RATE) + 3.0)


@dataclass(frozen=True)
class _Problem:
    """One least-squares problem over x = (base x, y, yaw, posture), 11 numbers."""

    kinematics: Kinematics
    target: TcpTarget
    here: Array
    """(3,) present base pose; the base stays there unless `roam`."""
    roam: bool
    start: Array
    preferred: Array
    penalty: Penalty | None = None

    def solve(self, guess: Array) -> Reach:
        """Improves one guess (11,)."""
        free = slice(0 if self.roam else 3, 11)
        fixed = self.here[: free.start]
        lower = np.concatenate([np.full(3, -np.inf), self.kinematics.lower])[free]
        upper = np.concatenate([np.full(3, np.inf), self.kinematics.upper])[free]

        def residuals(x: Array) -> Array:
            return self.residuals(np.concatenate([fixed, x]))

        def derivatives(x: Array) -> Array:
            return self.derivatives(np.concatenate([fixed, x]))[:, free]

        solution = least_squares(
            residuals,
            np.clip(guess[free], lower + 1e-6, upper - 1e-6),
            jac=derivatives,
            bounds=(lower, upper),
            max_nfev=40,
            xtol=1e-4,
            ftol=1e-4,
        )
        return self.judge(np.concatenate([fixed, solution.x]))

    def residuals(self, x: Array) -> Array:
        """Returns what is missed and what it costs, in comparable units."""
        position, rotation, _ = self.tcp(x)
        departure = (x[3:] - self.preferred) / _TRAVEL_UNIT
        parts = [self.target.position_error(position) / _POSITION_UNIT]
        parts += [turn / _ANGLE_UNIT for _, turn in self.target.rotation_tasks(rotation)]
        # The slowest joint sets the time; the square makes large departures dear, small ones cheap.
        parts += [0.3 * departure, departure * np.abs(departure)]
        parts.append(_ROAM * (x[:3] - self.here))
        parts.append(self.trespass(x))
        return np.concatenate(parts)

    def derivatives(self, x: Array) -> Array:
        """Returns the (m, 11) derivatives of `residuals`."""
        _, rotation, jacobian = self.tcp(x)
        departure = np.abs(x[3:] - self.preferred) / _TRAVEL_UNIT
        travel = np.zeros((8, 11))
        travel[:, 3:] = np.diag(1.0 / _TRAVEL_UNIT)
        rows = [-jacobian[:3] / _POSITION_UNIT]
        for selection, _ in self.target.rotation_tasks(rotation):
            rows.append(-selection @ jacobian[3:] / _ANGLE_UNIT)
        rows += [0.3 * travel, 2.0 * departure[:, None] * travel]
        rows += [_ROAM[:, None] * np.eye(3, 11), self.trespass_derivatives(x)]
        return np.concatenate(rows)

    def trespass(self, x: Array) -> Array:
        """Returns the penalty's residuals (none without a penalty)."""
        if self.penalty is None:
            return np.zeros(0)
        points = self.kinematics.forward(x[3:]).points @ matrix_about_z(float(x[2])).T
        return self.penalty(x[:3], points + np.array([x[0], x[1], 0.0]))

    def trespass_derivatives(self, x: Array) -> Array:
        """Returns finite differences: penalties are the caller's and come without derivatives."""
        now = self.trespass(x)
        if not len(now):
            return np.zeros((0, 11))
        columns = [(self.trespass(x + 1e-5 * unit) - now) / 1e-5 for unit in np.eye(11)]
        return np.column_stack(columns)

    def tcp(self, x: Array) -> tuple[Array, Array, Array]:
        """Returns the tcp's world position, rotation and (6, 11) Jacobian."""
        chain = self.kinematics.forward(x[3:])
        turn = matrix_about_z(float(x[2]))
        arm = self.kinematics.jacobian(chain)
        lever = turn @ chain.tcp_position
        jacobian = np.zeros((6, 11))
        jacobian[0, 0] = jacobian[1, 1] = jacobian[5, 2] = 1.0
        jacobian[:3, 2] = cross(np.array([0.0, 0.0, 1.0]), lever)
        jacobian[:3, 3:], jacobian[3:, 3:] = turn @ arm[:3], turn @ arm[3:]
        return lever + np.array([x[0], x[1], 0.0]), turn @ chain.tcp_rotation, jacobian

    def judge(self, x: Array) -> Reach:
        """Returns the solution with its errors and its estimated duration."""
        position, rotation, _ = self.tcp(x)
        return Reach(
            posture=x[3:],
            base_pose=x[:3],
            position_error=float(np.linalg.norm(self.target.position_error(position))),
            rotation_error=self.target.rotation_error(rotation),
            trespass=float(np.linalg.norm(self.trespass(x))),
            steps=max(posture_steps(self.start, x[3:]), drive_steps(self.here, x[:3])),
        )


class ReachSolver:
    """Inverse kinematics by least squares with exact derivatives."""

    def __init__(self, kinematics: Kinematics | None = None) -> None:
        """Uses the Fetch's kinematics when none is given."""
        self.kinematics = kinematics or fetch_kinematics()

    def posture(
        self,
        target: TcpTarget,
        *,
        start: Array = REST_POSTURE,
        seeds: Sequence[Array] = (),
        preferred: Array = REST_POSTURE,
    ) -> Reach:
        """Finds the posture near `preferred` that meets a target given in base_link.

        Args:
            target: wanted tcp in base_link.
            start: (8,) present posture, for the estimate of steps.
            seeds: further initial guesses; some around rest are always tried.
            preferred: (8,) posture whose neighbourhood is sought.
        """
        origin = np.zeros(3)
        problem = _Problem(self.kinematics, target, origin, False, start, preferred)
        guesses = [np.concatenate([origin, seed]) for seed in (*_posture_seeds(), *seeds)]
        return _ranked([problem.solve(guess) for guess in guesses])[0]

    def stances(
        self,
        target: TcpTarget,
        base_pose: Array,
        *,
        start: Array = REST_POSTURE,
        penalty: Penalty | None = None,
        preferred: Array = REST_POSTURE,
        distances: Sequence[float] = (0.65, 0.85),
        bearings: Sequence[float] = (0.0, 0.7, -0.7, 1.4, -1.4),
    ) -> list[Reach]:
        """Finds base poses and postures that meet a target given in the world, quickest first.

        Args:
            target: wanted tcp in the world.
            base_pose: (3,) where the base is now.
            start: (8,) present posture.
            penalty: forbidden places for base and arm.
            preferred: (8,) posture whose neighbourhood is sought.
            distances: horizontal distances (m) from the target at which the base is first tried.
            bearings: directions (rad) from which it first looks at the target, relative to the
                present one.
        """
        here = np.asarray(base_pose, dtype=np.float64)
        offset = target.position[:2] - here[:2]
        towards = math.atan2(offset[1], offset[0])
        # Yaw stays within half a turn of the present one, so that the cost of turning is
        # continuous.
        towards = here[2] + wrap_angle(towards - here[2])
        guesses = []
        for bearing in towards + np.asarray(bearings):
            for distance in distances:
                place = target.position[:2] - distance * np.array(
                    [math.cos(bearing), math.sin(bearing)]
                )
                guesses += [np.concatenate([place, [bearing], seed]) for seed in _stance_seeds()]
        problem = _Problem(self.kinematics, target, here, True, start, preferred, penalty)
        return _ranked([problem.solve(guess) for guess in guesses])


def _ranked(found: list[Reach]) -> list[Reach]:
    """Sorts: reached ones first, then by the steps there and back to rest."""
    return sorted(
        found,
        key=lambda reach: (
            not reach.reached,
            0.0
            if reach.reached
            else reach.position_error + 0.1 * reach.rotation_error + 0.01 * reach.trespass,
            reach.steps + posture_steps(reach.posture, REST_POSTURE),
        ),
    )


def _stance_seeds() -> list[Array]:
    """Returns a few postures to start stance searches from: rest, stretched, and two turned
    wrists.
    """
    seeds = _posture_seeds()
    return [seeds[0], seeds[2], seeds[7], seeds[8]]


def _posture_seeds() -> list[Array]:
    """Returns rest, and rest with a lowered torso, a stretched arm and a turned wrist."""
    changes = [
        (0, 0.0),
        (0, -0.3),
        (2, 1.2),
        (2, 0.7),
        (5, 1.0),
        (5, -1.0),
        (3, -1.0),
        (7, 1.5),
        (7, -1.5),
    ]
    seeds = []
    for joint, change in changes:
        seed = REST_POSTURE.copy()
        seed[joint] += change
        seeds.append(seed)
    return seeds
