"""Tables of a finished sweep: one page of Markdown, the same numbers as CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vla_bench.reports.statistics.resampling import Interval
from vla_bench.reports.sweeps import csv, figures
from vla_bench.reports.sweeps.findings import findings, verdicts
from vla_bench.reports.sweeps.results import PointResult, SweepResults
from vla_bench.reports.sweeps.trained_weights import TrainedWeights
from vla_bench.reports.tables.latex import latex
from vla_bench.reports.tables.markdown import markdown as table_markdown
from vla_bench.reports.tables.table import Column, Kind, Row, Table
from vla_bench.sweeps.card import Arm, Quoted, written

MOST_TASKS = 4
"""More tasks than this have no columns of their own on the page; they are in the CSV."""
NOTES = """\
- k/n: episodes of all trainings; Wilson: of k/n, as if all were different items; 95 %: bootstrap over
  trainings and items, no narrower than Wilson; trainings: lowest and highest success of one training
- +/-: episodes that only this arm solves, and that only the first arm solves at the same value, with the
  same item and training seed
- queries/s: queries per second of time in the policy, corrections included, on this machine while other
  points were played
- SEEN: the 95 % interval of the sum of success rates is above zero (or minus the margin named); NOT SEEN:
  below; UNDECIDED: neither; items and training seeds are paired
- a harness error counts as an episode without success"""


def write_report(results: SweepResults, folder: Path) -> Sequence[Path]:
    """Writes page, table and figure of a sweep.

    Args:
        results: What came of it.
        folder: Where to; made if it does not exist.

    Returns:
        The files: Markdown, CSV, LaTeX, SVG, PDF, PNG.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / results.sweep.name
    page, table = stem.with_name(f"{stem.name}.md"), stem.with_name(f"{stem.name}.csv")
    pictures = figures.write_figure(results, stem)
    page.write_text(markdown(results))
    csv.write(results, table)
    paper = stem.with_name(f"{stem.name}.tex")
    paper.write_text("\n".join(latex(table) for table in tables(results)))
    return [page, table, paper, *pictures]


def markdown(results: SweepResults) -> str:
    """The page of a sweep."""
    sweep = results.sweep
    parts = [
        f"# Sweep {sweep.name}: {sweep.description}",
        "\n".join(f"- {fact}" for fact in _facts(results)),
        f"![{sweep.description}]({sweep.name}.svg)",
        figures.caption(results),
        "## What was found",
        "\n".join(f"- {line}" for line in [*findings(results), *verdicts(results)]),
        *(_shown(table) for table in tables(results)),
        NOTES,
        _shown(_arms(results)),
        *(part for quoted in sweep.quoted for part in _quoted(quoted)),
    ]
    return "\n\n".join(parts) + "\n"


def tables(results: SweepResults) -> Sequence[Table]:
    """What a paper might print: values down and arms across, then all numbers."""
    rows = [_cells(results, point) for point in results.points]
    name = results.sweep.name
    return [
        _overview(results),
        _table(f"{name}-numbers", "All numbers", _header(results), rows, words=1),
    ]


def _table(
    name: str,
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    words: int,
    kind: Kind = "measured",
) -> Table:
    """A table whose first columns, so many of them, are words."""
    columns = [Column(head, numeric=place >= words) for place, head in enumerate(header)]
    return Table(name, title, columns, [Row(row, kind) for row in rows])


def _shown(table: Table) -> str:
    return table_markdown(table).rstrip()


def _facts(results: SweepResults) -> list[str]:
    sweep, kept = results.sweep, results.kept
    warning = {
        "toy": "a toy world, for tests and studies of methods; never ranked",
        "mini world": "a mini world: never to be ranked with the real suite",
        "": "",
    }[results.world]
    fixed = ", ".join(f"{key} {written(value)}" for key, value in sweep.options.items())
    facts = [
        f"played by `{kept.command}`",
        f"made from `results/sweeps/{sweep.name}.json` (digest {kept.digest})",
        f"swept: {sweep.axis_name} (`{sweep.option}`) over {', '.join(map(written, sweep.values))}"
        + (f"; fixed for all arms: {fixed}" if fixed else ""),
        f"{len(kept.items)} items of {results.suite.name} (version {results.suite.version}), tasks "
        f"{', '.join(results.tasks)}, seed {sweep.seed}: the same for every point",
        f"{kept.points[0].batch} episodes planned together",
        f"machine: {kept.hardware['system']}, {kept.hardware['cpus']} CPUs",
    ]
    return [*facts, warning] if warning else facts


def _overview(results: SweepResults) -> Table:
    """Values down, arms across; references, which do not have the option, in a row of their own."""
    sweep = results.sweep
    found = {(point.arm.label, point.value): point for point in results.points}
    values = list(dict.fromkeys(p.value for p in results.points if p.value is not None))
    rows = [
        [written(value), *(_rate(results, found.get((arm.label, value))) for arm in sweep.arms)]
        for value in values
    ]
    if any(arm.reference for arm in sweep.arms):
        cells = [_rate(results, found.get((arm.label, None))) for arm in sweep.arms]
        rows.append(["(reference)", *cells])
    header = [sweep.axis_name, *(arm.label for arm in sweep.arms)]
    return _table(f"{sweep.name}-success", "Success, %, with 95 % intervals", header, rows, words=1)


def _rate(results: SweepResults, point: PointResult | None) -> str:
    if point is None:
        return "-"
    return f"{100 * point.rate:.1f} {_interval(results.interval(point))}"


def _header(results: SweepResults) -> list[str]:
    return [
        "arm",
        results.sweep.axis_name,
        "success",
        "95 %",
        "k/n",
        "Wilson",
        "trainings",
        *_task_columns(results),
        "collided",
        "steps to success",
        "queries/s",
        *(["attention on objects"] if results.sweep.attention else []),
        "+/-",
        "errors",
    ]


def _task_columns(results: SweepResults) -> list[str]:
    return results.tasks if 1 < len(results.tasks) <= MOST_TASKS else []


def _cells(results: SweepResults, point: PointResult) -> list[str]:
    pair = results.against_first(point)
    low, high = point.spread
    return [
        point.arm.label,
        "-" if point.value is None else written(point.value),
        f"{100 * point.rate:.1f}",
        _interval(results.interval(point)),
        f"{point.successes}/{point.episodes}",
        _interval(point.wilson),
        f"{100 * low:.1f}-{100 * high:.1f}" if len(point.trainings) > 1 else "-",
        *(f"{100 * point.task_rate(task):.1f}" for task in _task_columns(results)),
        "-" if point.collided is None else f"{100 * point.collided:.1f}",
        "-" if point.steps_to_success is None else f"{point.steps_to_success:.1f}",
        "-" if point.queries_per_s is None else f"{point.queries_per_s:.0f}",
        *([_attention(results, point)] if results.sweep.attention else []),
        "-" if pair is None else f"+{pair[0]}/-{pair[1]}",
        str(sum(point.errors)),
    ]


def _attention(results: SweepResults, point: PointResult) -> str:
    mass, interval = results.mean(point, "attention")
    return f"{100 * mass:.1f} {_interval(interval)}"


def _arms(results: SweepResults) -> Table:
    header = ["arm", "policy", "set to", "recipe", "parameters", "updates x windows"]
    header += ["demonstrations per task", "s per training"]
    rows = [_arm(results, arm) for arm in results.sweep.arms]
    return _table(f"{results.sweep.name}-arms", "Arms", header, rows, words=4)


def _arm(results: SweepResults, arm: Arm) -> list[str]:
    points = results.of_arm(arm)
    weights = [w for point in points if (w := point.played.weights) is not None]
    options = ", ".join(f"{key} {written(value)}" for key, value in arm.options.items())
    cells = [arm.label, points[0].played.policy, options or "-"]
    return cells + (_training(weights) if weights else ["-"] * 5)


def _training(weights: Sequence[TrainedWeights]) -> list[str]:
    """Ranges over the values, of the first training seed's weights."""
    first = weights[0]
    return [
        first.recipe,
        _range([w.parameters for w in weights]),
        f"{_range([w.updates for w in weights])} x {first.batch}",
        _range([w.demonstrations for w in weights]),
        _range([round(w.wall_s) for w in weights]),
    ]


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}-{high}"


def _quoted(quoted: Quoted) -> list[str]:
    rows = [[str(cell) for cell in row] for row in quoted.rows]
    title = f"Quoted, not measured here: {quoted.source}"
    parts = [_shown(_table("quoted", title, quoted.header, rows, words=1, kind="quoted"))]
    return [*parts, quoted.note] if quoted.note else parts


def _interval(interval: Interval) -> str:
    return f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
