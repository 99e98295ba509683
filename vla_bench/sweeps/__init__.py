"""Sweeps: one option over values, for one or more arms, all on the same items."""

from vla_bench.sweeps.card import Arm, Claim, Quoted, Sweep
from vla_bench.sweeps.choice import Flags, choose, with_delays
from vla_bench.sweeps.execution import run_sweeps
from vla_bench.sweeps.planning import plan_sweep
from vla_bench.sweeps.points import Point, SweepPlan

__all__ = [
    "Arm",
    "Claim",
    "Flags",
    "Point",
    "Quoted",
    "Sweep",
    "SweepPlan",
    "choose",
    "plan_sweep",
    "run_sweeps",
    "with_delays",
]
