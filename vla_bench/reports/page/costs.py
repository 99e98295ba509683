"""What policies cost: counted and timed by `vla-bench profile`, and as the records of the runs say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vla_bench.delays import PROFILES
from vla_bench.reports.page.entries import Entry
from vla_bench.reports.page.report import Section
from vla_bench.reports.page.values import count
from vla_bench.reports.tables.table import Cell, Column, Row, Table, Value

if TYPE_CHECKING:  # torch is an extra
    from vla_bench.policies.learned.profile import Profile

PROFILED = "from a profile, of the same weights and sampling"


def section(suite: str, entries: Sequence[Entry]) -> Section:
    """Parameters, FLOPs, latency, queries per second, time of an episode, steps to success."""
    profiles = _profiles(entries)
    known = any(profiles)
    columns = [
        Column("Run", numeric=False),
        *([Column(head, PROFILED) for head in _HEADS] if known else []),
        Column("queries/s", "from the records"),
        Column("in the policy, s", "an episode takes"),
        Column("in all, s", "an episode takes"),
        Column("mean", "steps to success"),
        Column("median", "steps to success"),
        Column("successes"),
    ]
    rows = [
        Row([entry.label, *(_profiled(profile) if known else []), *_measured(entry)], entry.kind)
        for entry, profile in zip(entries, profiles, strict=True)
    ]
    caption = (
        "Queries/s: chunks planned per second of time in the policy, corrections included. Times are "
        "means over the episodes that were played, on the machine of each run, whatever else it did. "
        "Steps to success: control steps, over successful episodes."
    )
    return Section("Costs", [Table(f"{suite}-costs", "Costs", columns, rows, caption)])


def queries_per_s(entry: Entry) -> float | None:
    """Queries per second of time in the policy; None if none was measured."""
    clean = entry.run.clean
    seconds = float(clean["policy_s"].sum())
    return float(clean["queries"].sum()) / seconds if seconds > 0 else None


def steps_to_success(entry: Entry) -> Value:
    """Mean control steps to the first success, over successful episodes."""
    won = entry.run.clean[entry.run.clean["success"]]
    return Value(float(won["first_success"].mean()) if len(won) else None)


def _measured(entry: Entry) -> Sequence[Cell]:
    clean = entry.run.clean
    played = clean[clean["recorded"] & (clean["reason"] != "harness_error")]
    won = clean[clean["success"]]
    means = [
        float(played[name].astype(float).mean()) if len(played) else None
        for name in ("policy_s", "wall_s")
    ]
    median = float(won["first_success"].median()) if len(won) else None
    return [
        Value(queries_per_s(entry)),
        *(Value(mean, digits=2) for mean in means),
        steps_to_success(entry),
        Value(median),
        count(len(won)),
    ]


_HEADS = ("parameters, M", "GFLOPs a query", "latency p50, ms", "device")


def _profiled(profile: Profile | None) -> Sequence[Cell]:
    if profile is None or profile.timing is None:
        return [Value(None), Value(None), Value(None), "-"]
    parameters = profile.parameters["model"].total
    return [
        Value(parameters / 1e6, digits=2),
        Value(profile.flops.query / 1e9, digits=3),
        Value(profile.timing.latency_p50_ms, digits=2),
        profile.timing.device,
    ]


def _profiles(entries: Sequence[Entry]) -> Sequence[Profile | None]:
    """The kept profile of each run's policy, weights and sampling; None where there is none."""
    if not any(PROFILES.glob("*.json")):
        return [None] * len(entries)
    try:
        from vla_bench.policies.learned.kept_profiles import profile_of
    except ModuleNotFoundError:  # torch
        return [None] * len(entries)
    return [profile_of(entry.run.manifest) for entry in entries]
