"""The tables of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from vla_bench.reports.compare.comparison import Comparison
from vla_bench.reports.compare.splits import Split
from vla_bench.reports.paired import PairedRow
from vla_bench.reports.statistics.pairs import mean_difference
from vla_bench.reports.success import setting
from vla_bench.reports.tables.table import Cell, Column, Row, Table, Value

COUNTED = (
    "Items that both runs have recorded, by who succeeds; a harness error counts as a failure."
)
ESTIMATED = (
    "Success rates in %, their difference (second less first) in percentage points with its 95 % "
    "interval, Newcombe's for paired rates."
)
MEAN = (
    "Over all tasks each item counts the same, in the mean each task; the mean's interval is MOVER's "
    "over those of the tasks."
)


def run_table(comparison: Comparison) -> Table:
    """What the two runs are runs of."""
    sides = []
    for run in comparison.runs:
        card, suite = run.manifest.policy, run.manifest.suite
        sides.append(
            [
                f"{card.name} (version {card.version})",
                f"{suite.name} (version {suite.version}{', a mini world' if run.mini else ''})",
                setting(run.manifest),
                str(run.manifest.seed),
                f"{int(run.clean['recorded'].sum())} of {len(run.clean)}",
                str(run.path),
            ]
        )
    heads = ["policy", "suite", "setting", "seed", "clean episodes recorded", "folder"]
    return Table(
        "runs",
        "The runs",
        [
            Column("", numeric=False),
            *(Column(which, numeric=False) for which in ("first", "second")),
        ],
        [
            Row(["run", *comparison.names]),
            *(Row(list(line)) for line in zip(heads, *sides, strict=True)),
        ],
    )


def paired_table(comparison: Comparison) -> Table:
    """Who succeeds on how many items, per task and over all; of runs that may not be compared no more."""
    shown = comparison.comparable
    counts = ["items", "both", "only first", "only second", "neither"]
    columns = [Column("task", numeric=False), *map(Column, counts)]
    if shown:
        columns += [Column("first, %"), Column("second, %"), Column("difference, points")]
    else:
        columns += [Column("first succeeds"), Column("second succeeds")]
    if comparison.total.harness_errors:
        columns.append(Column("harness errors"))
    rows = [*comparison.rows, *([comparison.total] if len(comparison.rows) > 1 else [])]
    cells = [_paired(row, comparison) for row in rows]
    if shown and len(comparison.rows) > 1:
        cells.append(_mean(comparison, len(columns)))
    title = (
        "Paired outcomes" if shown else "Counts only: not comparable, so no difference and no test"
    )
    return Table("paired", title, columns, [Row(line) for line in cells], _caption(comparison))


def _caption(comparison: Comparison) -> str:
    said = [COUNTED]
    if any(len(run.episodes) > len(run.clean) for run in comparison.runs):
        said.append("Perturbed episodes are left out.")
    if comparison.comparable:
        said.append(ESTIMATED)
        if len(comparison.rows) > 1:
            said.append(MEAN)
    return " ".join(said)


def _paired(row: PairedRow, comparison: Comparison) -> list[Cell]:
    pairs = row.pairs
    counts = [pairs.total, pairs.both, pairs.only_first, pairs.only_second, pairs.neither]
    cells: list[Cell] = [row.task, *(Value(count, 0) for count in counts)]
    if comparison.comparable:
        cells += [Value(100 * won / pairs.total) for won in row.solved]
        cells.append(_points(*pairs.difference))
    else:
        cells += [Value(won, 0) for won in row.solved]
    if comparison.total.harness_errors:
        cells.append(Value(row.harness_errors, 0))
    return cells


def _mean(comparison: Comparison, width: int) -> list[Cell]:
    tasks = [row.pairs for row in comparison.rows]
    rates = [
        sum(row.solved[which] / row.pairs.total for row in comparison.rows) / len(tasks)
        for which in (0, 1)
    ]
    values = [Value(100 * rate) for rate in rates]
    cells: list[Cell] = [f"mean of {len(tasks)} tasks", *[""] * 5, *values]
    cells.append(_points(*mean_difference(tasks)))
    return [*cells, *[""] * (width - len(cells))]


def _points(value: float, interval: tuple[float, float]) -> Value:
    low, high = interval
    return Value(100 * value, interval=(100 * low, 100 * high), signed=True)


def split_table(comparison: Comparison, splits: Sequence[Split], *, replays: bool) -> Table:
    """Items that just one run solves, by task.

    Args:
        comparison: The comparison.
        splits: Those of its items that are to be shown.
        replays: Whether to add the command that shows each failure.
    """
    columns = [Column("item", numeric=False), Column("solved by", numeric=False)]
    for which in ("first", "second"):
        columns += [Column("ended", which, numeric=False), Column("steps", which)]
    if replays:
        columns.append(Column("see the failure", numeric=False))
    rows = [
        Row(
            [
                split.place.removeprefix(f"{split.task}/"),
                ("first", "second")[split.solver],
                *_side(split, 0),
                *_side(split, 1),
                *([split.replay] if replays else []),
            ],
            section=split.task,
        )
        for split in splits
    ]
    caption = "An item is named by its trial and index within the task."
    return Table("items", "Items that just one run solves", columns, rows, caption)


def _side(split: Split, which: int) -> list[Cell]:
    return [split.ends[which], Value(split.steps[which], 0)]
