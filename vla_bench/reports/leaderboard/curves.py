"""Success against a number that runs of one policy differ in, and in nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vla_bench.items import digest
from vla_bench.reports.leaderboard.entries import Entry

LEFT, TOP, WIDTH, HEIGHT = 46, 12, 330, 190
"""Place and size of the area that points are drawn in."""


@dataclass(frozen=True)
class Point:
    """A run of a curve, its place in the drawing in pixels."""

    entry: Entry
    label: str
    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """Runs by the value of one setting."""

    axis: str
    suite: str
    points: Sequence[Point]


def curves(entries: Sequence[Entry]) -> Sequence[Curve]:
    """Every curve that some runs of one policy give.

    Args:
        entries: Runs of one policy; incomplete ones are left out.
    """
    whole = [entry for entry in entries if not entry.run.missing and entry.mean]
    settings = [_setting(entry) for entry in whole]
    axes = dict.fromkeys(key for setting in settings for key, v in setting.items() if _number(v))
    found = []
    for axis in axes:
        groups: dict[str, dict[float, Entry]] = {}
        for entry, setting in zip(whole, settings, strict=True):
            if _number(setting.get(axis)):
                rest = digest({key: value for key, value in setting.items() if key != axis})
                groups.setdefault(rest, {})[float(str(setting[axis]))] = entry
        found += [_curve(axis, group) for group in groups.values() if len(group) > 1]
    return found


def _setting(entry: Entry) -> Mapping[str, object]:
    """All that could set two runs of a policy apart."""
    manifest = entry.manifest
    return {
        "execution horizon": manifest.horizon,
        "reaction delay": manifest.delay,
        "batch": manifest.batch,
        **manifest.policy.options,
        "": [
            entry.protocol_digest,
            manifest.input_control,
            manifest.policy.temporal_ensembling,
            list(entry.run.clean.index),
            entry.kind,
        ],
    }


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _curve(axis: str, runs: Mapping[float, Entry]) -> Curve:
    """Values stand at even distances, as horizons and steps are often powers of two."""
    gap = WIDTH / len(runs)
    points = []
    for place, (value, entry) in enumerate(sorted(runs.items(), key=lambda pair: pair[0])):
        assert entry.mean is not None
        rate, (low, high) = entry.mean
        x = LEFT + gap * (place + 0.5)
        points.append(Point(entry, f"{value:g}", round(x, 1), _y(rate), _y(low), _y(high)))
    return Curve(axis, points[0].entry.suite, points)


def _y(rate: float) -> float:
    return round(TOP + HEIGHT * (1 - rate), 1)
