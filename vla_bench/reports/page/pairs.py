"""Runs compared two at a time, on the items that both have played."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from vla_bench.reports.comparable import shared_items
from vla_bench.reports.page.entries import Entry
from vla_bench.reports.page.report import Section
from vla_bench.reports.page.standing import Standing
from vla_bench.reports.page.values import count, p_value, points
from vla_bench.reports.statistics.pairs import Pairs, mean_difference
from vla_bench.reports.tables.table import Cell, Column, Row, Table

MOST = 8
"""Runs that are compared two at a time, the best."""
DIFFERENCES = (
    "Difference: second less first in percentage points, mean over tasks, each counting the same, with "
    "MOVER's 95 % interval of Newcombe's paired ones."
)


def section(suite: str, standing: Standing) -> Section | None:
    """Each pair of ranked runs; None without a ranking."""
    if standing.ranking is None:
        return None
    runs = standing.ranked[:MOST]
    rows = []
    for i, j in combinations(range(len(runs)), 2):
        first, second = runs[i], runs[j]
        p = standing.ranking.adjusted[i, j]
        rows.append(
            Row([first.label, second.label, *compared(first, second, standing.items), p_value(p)])
        )
    columns = [
        Column("First", numeric=False),
        Column("Second", numeric=False),
        *COLUMNS,
        Column("p, Holm"),
    ]
    caption = (
        f"{len(standing.items)} items. {DIFFERENCES} p: McNemar's exact test, Holm-adjusted over all "
        f"{len(standing.ranking.adjusted)} pairs of ranked runs."
    )
    title = "Pairs of runs"
    if len(standing.ranked) > MOST:
        title += f": the {MOST} with the highest means"
    return Section("Two at a time", [Table(f"{suite}-pairs", title, columns, rows, caption)])


COLUMNS = (
    Column("both", "items solved by"),
    Column("only first", "items solved by"),
    Column("only second", "items solved by"),
    Column("neither", "items solved by"),
    Column("difference"),
)
"""Heads of `compared`."""


def compared(first: Entry, second: Entry, items: Sequence[str]) -> Sequence[Cell]:
    """Counts and difference on some clean items that both have played."""
    tasks = pairs_by_task(first, second, items)
    counts = [
        sum(getattr(pairs, name) for pairs in tasks)
        for name in ("both", "only_first", "only_second", "neither")
    ]
    return [*map(count, counts), points(mean_difference(tasks))]


def pairs_by_task(first: Entry, second: Entry, items: Sequence[str]) -> Sequence[Pairs]:
    """Who solved what, for each task."""
    frame = first.run.clean.loc[list(items), ["task", "success"]].assign(
        other=second.outcomes(items)
    )
    return [
        Pairs.of(of_task["success"].to_numpy(), of_task["other"].to_numpy())
        for _, of_task in frame.groupby("task", observed=True, sort=False)
    ]


def pooled(first: Entry, second: Entry) -> Pairs:
    """Who solved what, on all clean items that both have played."""
    items = shared_items(first.run, second.run)
    return Pairs.of(first.outcomes(items), second.outcomes(items))
