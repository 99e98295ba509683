"""What is installed here, and on what machine."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from importlib import metadata


def installed_version(package: str) -> str:
    """Version of an installed package, or `none`."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def installed_versions(engine: Iterable[str]) -> dict[str, str]:
    """Versions of Python, of this package and of whatever can move a score.

    Args:
        engine: Packages that a suite's protocol is pinned to.
    """
    names = sorted({"vla-bench", "numpy", "torch", "gymnasium", *engine})
    return {"python": platform.python_version(), **{n: installed_version(n) for n in names}}


def hardware() -> dict[str, str | int]:
    """What a manifest says about the machine."""
    facts: dict[str, str | int] = {
        "machine": platform.machine(),
        "system": platform.platform(),
        "cpus": os.cpu_count() or 0,
        "byteorder": sys.byteorder,
    }
    torch = sys.modules.get("torch")  # whoever uses a GPU has imported it
    if torch is not None and torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts
