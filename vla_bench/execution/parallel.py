"""How a run is spread over processes. Needs no Ray itself."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from vla_bench.errors import UserError

OnStatus = Callable[[str], None]
"""Told in a few words how a run is getting on."""


@dataclass(frozen=True)
class Parallel:
    """How a run is spread over processes; changes no result."""

    workers: int
    """Processes that simulate."""
    address: str | None = None
    """Address of a Ray cluster; None starts one on this machine."""
    step_timeout_s: float = 120.0
    """Longest time that one call of the simulator or the policy may take (s)."""


def chosen(
    workers: int, address: str | None = None, step_timeout_s: float = 120.0
) -> Parallel | None:
    """What the command line asks for; None for a run in this process.

    Raises:
        UserError: It makes no sense, or Ray is not installed.
    """
    if workers < 0:
        raise UserError(f"--workers {workers}: expected a number of processes, 0 for this one")
    if workers == 0 and address is not None:
        raise UserError(f"--ray-address {address}: says where workers run; add --workers 2")
    if step_timeout_s <= 0:
        raise UserError(f"--step-timeout {step_timeout_s:g}: expected seconds, e.g. 120")
    if workers == 0:
        return None
    if importlib.util.find_spec("ray") is None:
        raise UserError("--workers needs Ray; run `pip install 'vla-bench[ray]'`")
    return Parallel(workers, address, step_timeout_s)
