"""Success against one setting, wherever three runs of a policy differ in nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from vla_bench.reports.drawing import HEIGHT_IN, WIDTH_IN, Look, curve, legend_columns, looks
from vla_bench.reports.page.costs import queries_per_s, steps_to_success
from vla_bench.reports.page.entries import Entry
from vla_bench.reports.page.report import Part, Picture, Section
from vla_bench.reports.page.settings import Setting, Settings, told, told_apart
from vla_bench.reports.page.values import ESTIMAND, rate
from vla_bench.reports.sweeps.value_axis import ValueAxis
from vla_bench.reports.tables.table import Column, Row, Table, Value

LEAST = 3
"""Points that make a curve."""
MOST = 6
"""Curves drawn in a figure; the table has them all."""
NAMES: Mapping[str, str] = {
    "horizon": "execution horizon H",
    "delay": "reaction delay D (control steps)",
    "steps": "denoising steps",
}
"""Setting -> name of the axis; its own name if it is not here."""
NO_AXIS = ("input control", "batch", "seed", "weights", "weights_digest")
"""Settings that are no quantity to be varied."""


@dataclass(frozen=True)
class Series:
    """Runs of one policy that differ in one setting."""

    setting: str
    policy: str
    fixed: Settings
    """Their other settings."""
    points: Mapping[Setting, Entry]
    """By value of the setting, in order."""


def sections(suite: str, entries: Sequence[Entry]) -> Iterator[Section]:
    """A section with table and figure for each setting that is varied."""
    found = list(_series(entries))
    for setting in dict.fromkeys(series.setting for series in found):
        of_setting = [series for series in found if series.setting == setting]
        name = NAMES.get(setting, setting)
        parts: Sequence[Part] = [
            _picture(suite, setting, _labels(of_setting), of_setting),
            _table(suite, setting, _labels(of_setting), of_setting),
        ]
        yield Section(f"Success against {name}", parts)


def _series(entries: Sequence[Entry]) -> Iterator[Series]:
    names = dict.fromkeys(name for entry in entries for name in entry.settings)
    for setting in names:
        if setting in NO_AXIS or setting.startswith("suite."):
            continue
        alike: dict[tuple[object, ...], dict[Setting, Entry]] = {}
        for entry in entries:
            rest = {n: value for n, value in entry.settings.items() if n != setting}
            key = (entry.policy, entry.world, entry.played, tuple(sorted(rest.items(), key=str)))
            if setting in entry.settings and entry.mean is not None:
                alike.setdefault(key, {}).setdefault(entry.settings[setting], entry)
        for points in alike.values():
            first = next(iter(points.values()))
            rest = {n: value for n, value in first.settings.items() if n != setting}
            if len(points) >= LEAST:
                yield Series(setting, first.policy, rest, _sorted(points))


def _sorted(points: Mapping[Setting, Entry]) -> Mapping[Setting, Entry]:
    axis = ValueAxis.of([value for value in points if value is not None])
    return {value: points[value] for value in axis.values}


def _labels(series: Sequence[Series]) -> Sequence[str]:
    apart = {
        policy: iter(told_apart([one.fixed for one in series if one.policy == policy]))
        for policy in dict.fromkeys(one.policy for one in series)
    }
    said = [next(apart[one.policy]) for one in series]
    return [
        f"{one.policy}, {text}" if text else one.policy
        for one, text in zip(series, said, strict=True)
    ]


def _picture(suite: str, setting: str, labels: Sequence[str], found: Sequence[Series]) -> Picture:
    panels = 2 if setting == "steps" else 1
    all_found, labels, found = found, labels[:MOST], found[:MOST]
    columns = legend_columns(labels, WIDTH_IN * panels)
    rows = math.ceil(len(found) / columns)
    figure = Figure(figsize=(WIDTH_IN * panels, HEIGHT_IN + 0.17 * rows), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    look = looks(_kinds(labels, found))
    axis = ValueAxis.of([value for one in found for value in one.points])
    for nth, (label, one) in enumerate(zip(labels, found, strict=True)):
        x = [axis.place(value, nth, len(found)) for value in one.points]
        _draw(axes[0], x, one, look[label], label)
        if panels > 1:
            speeds = [queries_per_s(entry) or math.nan for entry in one.points.values()]
            _draw(axes[1], speeds, one, look[label], label)
    axis.label(axes[0], NAMES.get(setting, setting))
    if panels > 1:
        axes[1].set_xlabel("queries per second")
    handles, texts = axes[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=columns)
    name = NAMES.get(setting, setting)
    caption = f"Success on {suite} against {name}; bars: 95 % intervals ({ESTIMAND})."
    if len(all_found) > MOST:
        caption += f" The first {MOST} of {len(all_found)} curves; the table has them all."
    return Picture(f"{suite}-{_stem(setting)}", f"Success against {name}", caption, figure)


def _kinds(labels: Sequence[str], found: Sequence[Series]) -> Mapping[str, str]:
    """Label -> what has a colour of its own: the policy, or each curve where all are of one policy."""
    if len({one.policy for one in found}) == 1 and len(found) > 1:
        return dict(zip(labels, labels, strict=True))
    return {label: one.policy for label, one in zip(labels, found, strict=True)}


def _draw(ax: Axes, x: Sequence[float], series: Series, look: Look, label: str) -> None:
    means = [entry.mean for entry in series.points.values() if entry.mean is not None]
    curve(ax, x, means, look, label)
    ax.set_ylabel("success rate")
    ax.set_ylim(-0.02, 1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))


def _table(suite: str, setting: str, labels: Sequence[str], found: Sequence[Series]) -> Table:
    name = NAMES.get(setting, setting)
    columns = [
        Column(name),
        Column("success, %"),
        Column("steps to success"),
        Column("queries/s"),
        Column("run", numeric=False),
    ]
    rows = [
        Row(
            [
                told(value),
                rate(entry.mean, entry.count),
                steps_to_success(entry),
                Value(queries_per_s(entry)),
                entry.run.name,
            ],
            entry.kind,
            section=label,
        )
        for label, one in zip(labels, found, strict=True)
        for value, entry in one.points.items()
    ]
    caption = (
        f"95 % intervals ({ESTIMAND}). The runs of a curve differ in nothing else and played the same "
        "items."
    )
    return Table(f"{suite}-{_stem(setting)}", f"Success against {name}", columns, rows, caption)


def _stem(setting: str) -> str:
    return setting.replace("_", "-").replace(" ", "-").replace(".", "-")
