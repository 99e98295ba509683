"""Chooses how MuJoCo draws on this machine: with a GPU's EGL, with OSMesa, or with Mesa's EGL."""

from __future__ import annotations

import ctypes.util
import os
from importlib import import_module
from pathlib import Path

from vla_bench.errors import UserError, first_line

OPENGL_FIX = (
    "install a software renderer, on Debian or Ubuntu `apt-get install libosmesa6`, or with a GPU its "
    "vendor's EGL driver"
)
LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}


def choose() -> str:
    """Settles on `egl` or `osmesa` and says so in the environment, before anything imports MuJoCo.

    What the user has put into $MUJOCO_GL stays.

    Raises:
        UserError: $MUJOCO_GL names neither, or neither is installed.
    """
    chosen = os.environ.get("MUJOCO_GL") or _installed()
    if chosen not in LIBRARIES:
        raise UserError(f"MUJOCO_GL={chosen}: expected egl or osmesa; `unset MUJOCO_GL` to choose")
    if not ctypes.util.find_library(LIBRARIES[chosen]):
        raise UserError(f"MUJOCO_GL={chosen}, but lib{LIBRARIES[chosen]} is missing; {OPENGL_FIX}")
    os.environ["MUJOCO_GL"] = os.environ["PYOPENGL_PLATFORM"] = chosen
    return chosen


def _installed() -> str:
    order = ("egl", "osmesa") if Path("/dev/nvidia0").exists() else ("osmesa", "egl")
    for name in order:
        if ctypes.util.find_library(LIBRARIES[name]):
            return name
    raise UserError(f"MuJoCo cannot draw here: neither OSMesa nor EGL is installed; {OPENGL_FIX}")


def probe() -> str:
    """Says which renderer draws.

    Raises:
        UserError: There is none, or it does not work.
    """
    chosen = choose()
    try:
        # Not MuJoCo's own choice, which is made when it is imported: perhaps before this one.
        context = import_module(f"mujoco.{chosen}").GLContext(64, 64)
        context.make_current()
        from OpenGL import GL

        renderer = GL.glGetString(GL.GL_RENDERER).decode()
        context.free()
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        raise UserError(
            f"MuJoCo cannot draw with {chosen} ({first_line(error)}); {OPENGL_FIX}"
        ) from None
    return f"MuJoCo draws with {chosen}: {renderer}"
