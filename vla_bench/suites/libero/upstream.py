"""Imports hf-libero without its questions, downloads and shared files.

Importing `libero` asks on the terminal where its files are, unless it finds a configuration file, and
downloads its assets when the first world is built. Here every process gets a configuration of its own,
and is told where the assets are.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from vla_bench.errors import UserError
from vla_bench.suites.libero import opengl

INSTALL = "pip install 'vla-bench[libero]'"


@cache
def package_root() -> Path:
    """Folder of the installed package, found without importing it.

    Raises:
        UserError: hf-libero is not installed.
    """
    try:
        return Path(str(metadata.distribution("hf-libero").locate_file("libero/libero")))
    except metadata.PackageNotFoundError:
        raise UserError(f"LIBERO needs the package hf-libero; run `{INSTALL}`") from None


@cache
def import_libero(assets: Path) -> tuple[Any, Any]:
    """LIBERO's environments and robosuite, imported once per process.

    Args:
        assets: Folder of LIBERO's assets, the one for the whole process.

    Returns:
        The modules `libero.libero.envs` and `robosuite`.
    """
    opengl.choose()
    root = package_root()
    os.environ["LIBERO_CONFIG_PATH"] = _configuration().name
    paths = {
        "benchmark_root": root,
        "bddl_files": root / "bddl_files",
        "init_states": root / "init_files",
        "datasets": root / "datasets",
        "assets": assets,
    }
    lines = [f'{name}: "{path}"\n' for name, path in paths.items()]
    (Path(_configuration().name) / "config.yaml").write_text("".join(lines))
    with _quiet():
        import libero.libero
        import robosuite

        libero.libero._assets_path_cache = str(assets)
        from libero.libero import envs
    return envs, robosuite


@cache
def _configuration() -> tempfile.TemporaryDirectory[str]:
    """A folder of this process, removed at its end."""
    return tempfile.TemporaryDirectory(prefix="vla-bench-libero-")


@contextmanager
def _quiet() -> Iterator[None]:
    """Robosuite warns three lines about a file that nobody needs."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
