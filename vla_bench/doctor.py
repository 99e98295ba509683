"""Looks at this machine: what is installed, what works, and the command that mends each lack."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from vla_bench.cards import SuiteCard, find_cards, load_card
from vla_bench.compatibility import engine
from vla_bench.errors import UserError
from vla_bench.machine import installed_version
from vla_bench.registry import make_suite
from vla_bench.suites.base import Suite
from vla_bench.suites.cuda import CUDA_FIX
from vla_bench.suites.libero.opengl import OPENGL_FIX
from vla_bench.suites.vulkan import VULKAN_FIX

PROBE_TIMEOUT_S = 120
DRIVERS = {"vulkan": VULKAN_FIX, "opengl": OPENGL_FIX, "cuda": CUDA_FIX}
"""What the simulators draw and compute with -> what mends it."""
DRIVER_PROBES = {
    "vulkan": "from vla_bench.suites.vulkan import probe; print(probe())",
    "opengl": "from vla_bench.suites.libero.opengl import probe; print(probe())",
    "cuda": "from vla_bench.suites.cuda import probe; print(probe())",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    fix: str = ""
    """Command that mends it, where `found` does not name it."""
    required: bool = True
    """Whether even the mini worlds need it."""


def findings() -> Iterator[Finding]:
    """Looks at Python, the simulators, drivers, and each suite's engine and files."""
    version = sys.version.split()[0]
    yield Finding("python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")
    for name in ("torch", "gymnasium", "mani_skill", "sapien"):
        yield _package(name)
    yield _driver("vulkan")
    yield _driver("opengl", required=False)
    yield _driver("cuda", required=False)
    cards = [load_card(SuiteCard, name) for name in find_cards(SuiteCard)]
    parts = {task.suite for card in cards for task in card.tasks.values()}
    for card in cards:
        if card.name not in parts:
            yield from _suite(card)


def _package(name: str) -> Finding:
    version = installed_version(name)
    return Finding(name, version != "none", version, "pip install 'vla-bench[ms-hab]'")


def _driver(name: str, required: bool = True) -> Finding:
    """In a process of its own: a broken driver can take its process down."""
    try:
        probe = subprocess.run(
            [sys.executable, "-c", DRIVER_PROBES[name]],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        found = f"no answer in {PROBE_TIMEOUT_S} s"
        return Finding(name, False, found, DRIVERS[name], required)
    if probe.returncode == 0:
        return Finding(name, True, probe.stdout.strip().splitlines()[-1])
    last = (probe.stderr.strip() or "crashed").splitlines()[-1]
    return Finding(name, False, last, DRIVERS[name], required)


def _suite(card: SuiteCard) -> Iterator[Finding]:
    """Its engine, its files, and whether things stand where they should."""
    required = card.track == "mini" and card.options.get("physics") != "gpu"
    wrong = "; ".join(engine(card))
    pins = ", ".join(f"{package} {version}" for package, version in card.engine.items())
    found = wrong or pins or "nothing pinned"
    yield Finding(f"{card.name} engine", not wrong, found, required=required)
    try:
        suite = make_suite(card)
        suite.prepare()
        yield Finding(f"{card.name} files", True, str(suite.asset_root()))
    except UserError as error:
        yield Finding(f"{card.name} files", False, str(error), required=required)
        return
    yield from worlds(suite)


def worlds(suite: Suite) -> Iterator[Finding]:
    """Compares the first episode of every task with where things stood under the pinned engine."""
    known = [task for task in suite.card.tasks if suite.knows_world(task)]
    if not known:
        return
    moved = [sentence for task in known if (sentence := suite.moved(task))]
    found = "; ".join(moved) or f"{len(known)} tasks start where they did when they were noted"
    yield Finding(f"{suite.card.name} worlds", not moved, found, required=False)
