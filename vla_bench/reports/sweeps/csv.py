"""All numbers of a finished sweep as CSV."""

from __future__ import annotations

import csv
from pathlib import Path

from vla_bench.reports.sweeps.results import PointResult, SweepResults
from vla_bench.sweeps.card import written

Cell = str | int | float


def write(results: SweepResults, path: Path) -> None:
    """Writes one row per point; rates are fractions, what is not known is empty."""
    rows = [_row(results, point) for point in results.points]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _row(results: SweepResults, point: PointResult) -> dict[str, Cell]:
    intervals = {
        "wilson": point.wilson,
        "interval": results.interval(point),
        "training": point.spread,
    }
    bounds = {
        f"{name}_{end}": round(bound, 6)
        for name, interval in intervals.items()
        for end, bound in zip(("low", "high"), interval, strict=True)
    }
    measured = {
        "collided": point.collided,
        "steps_to_success": point.steps_to_success,
        "queries_per_s": point.queries_per_s,
    }
    if results.sweep.attention:
        measured["attention"] = point.attention_on_objects
    only, first_only = results.against_first(point) or ("", "")
    return {
        "arm": point.arm.label,
        results.sweep.option: "" if point.value is None else written(point.value),
        "trainings": len(point.trainings),
        "successes": point.successes,
        "episodes": point.episodes,
        "success": round(point.rate, 6),
        **bounds,
        **{f"success_{task}": round(point.task_rate(task), 6) for task in results.tasks},
        **{name: "" if value is None else round(value, 6) for name, value in measured.items()},
        "only_this": only,
        "only_first": first_only,
        "policy_errors": point.errors[0],
        "harness_errors": point.errors[1],
        "horizon": point.played.horizon,
        "batch": point.played.batch,
        "runs": " ".join(run.name for run in point.trainings),
    }
