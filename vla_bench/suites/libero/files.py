"""The files of a LIBERO task: its goal in BDDL and its fifty initial states, both part of hf-libero."""

from __future__ import annotations

import pickle
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bench.cards import TaskCard
from vla_bench.errors import UserError, first_line
from vla_bench.suites.libero.upstream import package_root

REINSTALL = "pip install --force-reinstall --no-deps hf-libero==0.1.4"
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
"""All that an array needs to be unpickled; a file that asks for more is refused."""


def goal_file(task: TaskCard) -> Path:
    """The BDDL file of a task: its objects, fixtures, regions and goal."""
    return package_root() / "bddl_files" / task.parameters["folder"] / f"{_stem(task)}.bddl"


def states_of(task: TaskCard) -> NDArray[np.float64]:
    """The initial states of a task.

    Returns:
        Flattened simulator states (time, qpos, qvel), float64 (states, numbers); not to be written to.

    Raises:
        UserError: The file is missing or damaged.
    """
    path = package_root() / "init_files" / task.parameters["folder"] / f"{_stem(task)}.pruned_init"
    try:
        return _unpickled(path)
    except (
        OSError,
        KeyError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
    ) as e:
        raise UserError(
            f"{path} cannot be read as initial states ({first_line(e)}); run `{REINSTALL}`"
        ) from None


def _stem(task: TaskCard) -> str:
    return task.parameters["file"]


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"unexpected {module}.{name}")
        return super().find_class(module, name)


@lru_cache(maxsize=8)
def _unpickled(path: Path) -> NDArray[np.float64]:
    """Reads what `torch.save` wrote, without torch, which takes seconds to import."""
    with zipfile.ZipFile(path) as archive:
        [member] = [name for name in archive.namelist() if name.endswith("data.pkl")]
        with archive.open(member) as file:
            found = _ArrayUnpickler(file).load()
    if not (isinstance(found, np.ndarray) and found.ndim == 2 and found.dtype == np.float64):
        raise ValueError("expected one array of float64, two-dimensional")
    return found
