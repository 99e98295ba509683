"""Runs of one policy that differ from a base in one setting each: what does that setting do?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vla_bench.reports.comparable import shared_items
from vla_bench.reports.page.entries import Entry
from vla_bench.reports.page.pairs import COLUMNS, DIFFERENCES, compared, pooled
from vla_bench.reports.page.report import Section
from vla_bench.reports.page.settings import changes, told
from vla_bench.reports.page.values import of_suite, p_value
from vla_bench.reports.statistics.families import holm
from vla_bench.reports.statistics.pairs import mcnemar
from vla_bench.reports.tables.table import Column, Row, Table


def section(suite: str, entries: Sequence[Entry]) -> Section | None:
    """A table of single changes; None if no two runs differ in just one setting."""
    rows = [row for base, others in bases(entries) for row in _rows(base, others)]
    if not rows:
        return None
    columns = [
        Column("Change", numeric=False),
        Column("base", "success, %"),
        Column("changed", "success, %"),
        *COLUMNS,
        Column("p, Holm"),
    ]
    caption = (
        f"First: the base, second: the changed run. {DIFFERENCES} p: McNemar's exact test, "
        "Holm-adjusted over the changes of a base."
    )
    return Section(
        "One change at a time",
        [Table(f"{suite}-changes", "One change at a time", columns, rows, caption)],
    )


def bases(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Sequence[Entry]]]:
    """For each policy the run that most others differ from in one setting, with those others."""
    for policy in dict.fromkeys(entry.policy for entry in entries):
        runs = [entry for entry in entries if entry.policy == policy]
        beside = {base.label: [e for e in runs if _one_change(base, e)] for base in runs}
        base = max(runs, key=lambda entry: len(beside[entry.label]))
        if beside[base.label]:
            yield base, beside[base.label]


def _one_change(base: Entry, other: Entry) -> bool:
    return (
        base is not other
        and base.world == other.world
        and len(changes(base.settings, other.settings)) == 1
        and not base.recorded.isdisjoint(other.recorded)
    )


def _rows(base: Entry, others: Sequence[Entry]) -> Iterator[Row]:
    adjusted = holm([mcnemar(pooled(base, other)) for other in others])
    for other, p in zip(others, adjusted, strict=True):
        [name] = changes(base.settings, other.settings)
        values = [told(entry.settings.get(name)) for entry in (base, other)]
        yield Row(
            [
                f"{name}: {values[0]} to {values[1]}",
                of_suite(base),
                of_suite(other),
                *compared(base, other, shared_items(base.run, other.run)),
                p_value(p),
            ],
            other.kind,
            section=f"Base: {base.label}",
        )
