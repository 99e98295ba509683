"""What the tcp should do: a position, and a full orientation, one aligned axis, or none."""

from dataclasses import dataclass, field

import numpy as np

from vla_bench.policies.expert.rotations import Array, rotation_between, rotation_vector

GRIPPER_FORWARD: Array = np.array([1.0, 0.0, 0.0])
"""Direction out of the gripper, in the tcp frame."""


@dataclass(frozen=True)
class Alignment:
    """A tool axis that should lie along a direction; turning about that direction stays free."""

    tool_axis: Array
    """(3,) unit vector in the tcp frame."""
    direction: Array
    """(3,) unit vector in the target's frame."""


@dataclass(frozen=True)
class TcpTarget:
    """A wanted tcp, in the world for the controller and for stances, in base_link for postures."""

    position: Array
    """(3,) m."""
    rotation: Array | None = None
    """(3, 3) full orientation, or None."""
    alignments: tuple[Alignment, ...] = ()
    """Partial orientation, used when `rotation` is None."""
    velocity: Array = field(default_factory=lambda: np.zeros(3))
    """(3,) m/s with which the target itself moves (feed-forward)."""

    def position_error(self, position: Array) -> Array:
        """Returns the (3,) displacement that is still to be made (m)."""
        return self.position - position

    def rotation_tasks(self, rotation: Array) -> list[tuple[Array, Array]]:
        """Returns the orientation still to be made.

        Args:
            rotation: (3, 3) present tcp rotation.

        Returns:
            Pairs of a selection (k, 3) and the wanted rotation vector (k,) (rad) seen through it.
        """
        if self.rotation is not None:
            return [(np.eye(3), rotation_vector(self.rotation @ rotation.T))]
        tasks = []
        for alignment in self.alignments:
            # The turn about the direction itself must stay free, so it is projected out.
            d = alignment.direction
            plane = np.eye(3) - np.outer(d, d)
            tasks.append((plane, plane @ rotation_between(rotation @ alignment.tool_axis, d)))
        return tasks

    def rotation_error(self, rotation: Array) -> float:
        """Returns the greatest angle (rad) by which an orientation wish is missed."""
        return max(
            (float(np.linalg.norm(error)) for _, error in self.rotation_tasks(rotation)),
            default=0.0,
        )


def pointing(position: Array, direction: Array) -> TcpTarget:
    """Returns a target with the gripper along `direction`, free to roll about it."""
    unit = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    return TcpTarget(
        np.asarray(position, dtype=np.float64), alignments=(Alignment(GRIPPER_FORWARD, unit),)
    )
