"""What a scripted expert is: a small state machine that turns what it sees into one action."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bench.policies.expert.robot_state import RobotState

FloatArray = NDArray[np.floating[Any]]
Action = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """One observation, as the scripts read it. Vectors in metres and radians, quaternions wxyz."""

    step: int
    """Control steps played so far."""
    robot: RobotState
    """Joints, base and gripper."""
    grasped: bool
    """Whether both fingers press on the target."""
    privileged: Mapping[str, FloatArray]
    """Object, goal and handle in the base frame; see the suite's card."""


class Script(ABC):
    """An expert for one episode of one task."""

    @abstractmethod
    def act(self, view: View) -> Action:
        """The next action, float32 (13,), entries in [-1, 1]."""
