"""LIBERO as it comes: its own environment class, stepped by its own code, every camera at every step."""

from __future__ import annotations

import numpy as np

from vla_bench.suites.libero.env import SETTLE_ACTION
from vla_bench.suites.libero.files import goal_file, states_of
from vla_bench.suites.libero.upstream import import_libero


class OfficialLibero:
    """One task. What is not upstream's: the seed is set and the list of samplers emptied before each
    reset, without which an episode depends on those before it.
    """

    def __init__(self, suite, task, size=256):
        card = suite.card.tasks[task]
        self.states = states_of(card)
        self.settle_steps = suite.card.options["settle_steps"]
        envs, _ = import_libero(suite.asset_root())
        self.env = envs.OffScreenRenderEnv(
            bddl_file_name=str(goal_file(card)), camera_heights=size, camera_widths=size
        )

    def begin(self, item):
        np.random.seed(item.seed)
        self._make_current()
        self.env.env.object_property_initializers.clear()
        self.env.env.reset()
        observation = self.env.set_init_state(self.states[item.initial_state["state"]])
        for _ in range(self.settle_steps):
            observation = self.env.step(SETTLE_ACTION)[0]
        return observation

    def step(self, action):
        """Observation and success after one control step."""
        self._make_current()
        observation, _, done, _ = self.env.step(np.asarray(action, np.float64))
        return observation, bool(done)

    def _make_current(self):
        """robosuite draws into whichever context another environment used last."""
        context = self.env.sim._render_context_offscreen
        if context is not None:
            context.gl_ctx.make_current()

    def state(self):
        gripper = self.env.env.robots[0].gripper
        return np.concatenate([self.env.get_sim_state(), gripper.current_action])

    def close(self):
        self.env.close()
