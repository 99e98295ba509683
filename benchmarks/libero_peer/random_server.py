"""The peer's model: vla-eval's own server base class around a uniform draw, so that a plan costs nothing.

Runs in the peer's environment: `python random_server.py --address 127.0.0.1:8000`
"""

from __future__ import annotations

import numpy as np
from vla_eval.model_servers.base import SessionContext
from vla_eval.model_servers.predict import PredictModelServer
from vla_eval.model_servers.serve import run_server
from vla_eval.specs import (
    GRIPPER_CLOSE_POS,
    IMAGE_RGB,
    LANGUAGE,
    POSITION_DELTA,
    ROTATION_AA,
    STATE_EEF_POS_AA_GRIP,
    DimSpec,
)
from vla_eval.types import Action, Observation

ACTION_SIZE = 7


class RandomServer(PredictModelServer):
    """Plans chunks of independent uniform draws in [-1, 1); the base class plays them one by one."""

    def __init__(self, *, chunk_size: int = 8, seed: int = 0) -> None:
        super().__init__(chunk_size=chunk_size)
        self._draws = np.random.default_rng(seed)

    def predict(self, obs: Observation, ctx: SessionContext) -> Action:
        """A chunk (chunk_size, 7) of normalised end-effector deltas and the gripper's command."""
        return {"actions": self._draws.uniform(-1, 1, (self.chunk_size, ACTION_SIZE))}

    def get_action_spec(self) -> dict[str, DimSpec]:
        """What LIBERO expects, so that vla-eval's check passes."""
        return {"position": POSITION_DELTA, "rotation": ROTATION_AA, "gripper": GRIPPER_CLOSE_POS}

    def get_observation_spec(self) -> dict[str, DimSpec]:
        """Both cameras, the robot's state and the instruction."""
        images = {"agentview": IMAGE_RGB, "wrist": IMAGE_RGB}
        return {**images, "state": STATE_EEF_POS_AA_GRIP, "language": LANGUAGE}


if __name__ == "__main__":
    run_server(RandomServer)
