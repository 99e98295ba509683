"""LIBERO's own environment of a task, made to be reset without building it anew, to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vla_bench.suites.libero.upstream import import_libero

CONTROLLER = "OSC_POSE"


def make_domain(
    goal_file: Path, assets: Path, *, draws: bool, hard_reset: bool, noise: bool = False
) -> Any:  # noqa: ANN401
    """Builds the environment of a task (a `BDDLBaseDomain`), as LIBERO's `ControlEnv` does.

    Args:
        goal_file: The task's BDDL file.
        assets: Folder of LIBERO's assets.
        draws: Whether it can draw.
        hard_reset: Whether a reset builds the model anew.
        noise: Whether a reset draws the arm's joints (normal, 0.02 rad), as in LIBERO's demonstrations.
    """
    envs, robosuite = import_libero(assets)
    problem = envs.env_wrapper.BDDLUtils.get_problem_info(str(goal_file))["problem_name"]
    return _exact(envs.TASK_MAPPING[problem])(
        str(goal_file),
        robots=["Panda"],
        controller_configs=robosuite.load_controller_config(default_controller=CONTROLLER),
        initialization_noise="default" if noise else None,
        use_camera_obs=False,
        # A model built anew is computed once more when it gets its renderer.
        has_offscreen_renderer=draws or hard_reset,
        ignore_done=True,
        hard_reset=hard_reset,
    )


def _exact(domain: type[Any]) -> type[Any]:
    """The class of the same name whose soft resets end where hard ones do.

    MuJoCo's solver starts from the accelerations of its last call, so that the same state computed after
    other calls differs in the last bits. A model built anew is computed twice, its fixtures where the
    file has them, before a reset moves anything: that is repeated.
    """

    class ExactDomain(domain):  # type: ignore[misc]
        def initialize_renderer(self) -> None:
            model = self.sim.model._model
            self.as_built = model.body_pos.copy(), model.body_quat.copy()
            super().initialize_renderer()

        def _reset_internal(self) -> None:
            if not self.hard_reset:
                model = self.sim.model._model
                model.body_pos[:], model.body_quat[:] = self.as_built
                self.sim.forward()
                self.sim.forward()
            super()._reset_internal()

        def _destroy_sim(self) -> None:
            # What a renderer allocated is freed in whatever context is current, be it another's.
            context = self.sim and self.sim._render_context_offscreen
            if context:
                context.gl_ctx.make_current()
            super()._destroy_sim()

    # LIBERO compares it with the problem's name in the BDDL file.
    ExactDomain.__name__ = domain.__name__
    return ExactDomain
