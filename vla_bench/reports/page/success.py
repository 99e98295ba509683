"""The success table of a suite: a row per run, a column per task, the mean, and the order if any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from statistics import fmean, pstdev

from vla_bench.reports.caveats import caveats
from vla_bench.reports.page.entries import Entry
from vla_bench.reports.page.report import Section
from vla_bench.reports.page.standing import Standing
from vla_bench.reports.page.values import ESTIMAND, count, of_suite, of_task, rate
from vla_bench.reports.statistics.families import LEVEL
from vla_bench.reports.success import mean_rate
from vla_bench.reports.tables.table import Cell, Column, Row, Table, Value

LONG = 24
"""Letters of a task's name that is shortened."""
MOST_TASKS = 12
"""More tasks than this have a table of their own, a row each."""


def section(suite: str, entries: Sequence[Entry], standing: Standing) -> Section:
    """Success, by task and over all tasks."""
    tasks = tasks_of(entries)
    tables = [_overview(suite, entries, standing, tasks if len(tasks) <= MOST_TASKS else [])]
    if len(tasks) > MOST_TASKS:
        tables.append(_by_task(suite, entries, tasks))
    return Section("Success", tables, [_order(standing)])


def tasks_of(entries: Sequence[Entry]) -> Sequence[str]:
    """All tasks, in the order of the runs."""
    return list(dict.fromkeys(row.task for entry in entries for row in entry.rows))


def short(tasks: Sequence[str]) -> Sequence[str]:
    """Names of tasks without the words that all begin or end with, if they are long."""
    if max(map(len, tasks), default=0) <= LONG:
        return tasks
    words = [task.split("-") for task in tasks]
    first = _alike(words)
    last = _alike([of_task[first:][::-1] for of_task in words])
    return ["-".join(of_task[first : len(of_task) - last] or of_task) for of_task in words]


def _alike(words: Sequence[Sequence[str]]) -> int:
    """How many words all begin with."""
    columns = zip(*words, strict=False)
    return len(list(takewhile(lambda column: len(set(column)) == 1, columns)))


def in_order(entries: Sequence[Entry], standing: Standing) -> Sequence[Entry]:
    """The ranked runs, highest mean first, then the others likewise."""
    others = [entry for entry in entries if entry not in standing.ranked]
    return [*standing.ranked, *sorted(others, key=lambda entry: -(entry.mean or (0.0,))[0])]


def _order(standing: Standing) -> str:
    if standing.ranking is None:
        return "No two of these runs may be ranked with each other."
    return (
        f"{len(standing.ranked)} runs are ranked, by McNemar's exact test on the {len(standing.items)} "
        f"items that all of them have played, Holm-adjusted over all pairs at a family level of {LEVEL}. "
        "Rank: the best and the worst that a run may have. Runs that share a letter do not differ "
        "significantly. A rate is bold only where no other run may be better."
    )


def _overview(
    suite: str, entries: Sequence[Entry], standing: Standing, tasks: Sequence[str]
) -> Table:
    suites = list(dict.fromkeys(row.suite for entry in entries for row in entry.rows))
    trials = any(len(entry.trials) > 1 for entry in entries)
    columns = [
        Column("Run", numeric=False),
        Column("mean"),
        *([Column("over trials")] if trials else []),
        *([Column("rank"), Column("letters", numeric=False)] if standing.ranking else []),
        Column("harness errors"),
        Column("missing"),
        *(Column(name, "mean of a suite") for name in suites if len(suites) > 1),
        *(Column(name, "task") for name in short(tasks)),
    ]
    rows = []
    for entry in in_order(entries, standing):
        of = {row.task: row for row in entry.rows}
        mean = of_suite(entry, best=_best(entry, standing))
        cells: list[Cell] = [
            entry.label,
            replace(mean, notes=(*mean.notes, *caveats(entry.run.manifest))),
        ]
        cells += [over_trials(entry)] if trials else []
        cells += _standing(entry, standing)
        cells += [
            count(sum(row.harness_errors for row in entry.rows)),
            count(sum(row.missing for row in entry.rows)),
        ]
        if len(suites) > 1:
            cells += [
                rate(mean_rate([r for r in entry.rows if r.suite == name])) for name in suites
            ]
        cells += [of_task(of.get(task)) for task in tasks]
        head = "" if standing.ranking is None or entry in standing.ranked else "Not ranked"
        rows.append(Row(cells, entry.kind, head))
    caption = (
        f"Success in % with 95 % intervals: Wilson's for a task, with k/n; MOVER's for the mean. "
        f"Estimand: {ESTIMAND}. A harness error counts as a failure."
    )
    if len(suites) > 1:
        caption += " All tasks: mean of the suites' means."
    if short(tasks) != tasks:
        caption += f" Task names without what they have in common, as in {tasks[0]}."
    if trials:
        caption += (
            " Over trials: mean ± standard deviation of the trials' means, as papers print it."
        )
    return Table(f"{suite}-success", f"Success on {suite}", columns, rows, caption)


def _best(entry: Entry, standing: Standing) -> bool:
    return entry in standing.ranked and standing.rank_set(entry) == (1, 1)


def _standing(entry: Entry, standing: Standing) -> Iterator[Cell]:
    if standing.ranking is None:
        return
    if entry not in standing.ranked:
        yield from (Value(None, notes=(standing.unranked[entry.label],)), "")
        return
    low, high = standing.rank_set(entry)
    yield from (str(low) if low == high else f"{low}-{high}", standing.letters(entry))


def over_trials(entry: Entry) -> Value:
    """Mean and standard deviation over trials, not corrected, as in papers; nothing of one trial."""
    if len(entry.trials) < 2:
        return Value(None)
    trials = [100 * rate for rate in entry.trials]
    return Value(fmean(trials), spread=pstdev(trials))


def _by_task(suite: str, entries: Sequence[Entry], tasks: Sequence[str]) -> Table:
    rows = [
        Row([entry.label, of_task(row)], entry.kind, section=task)
        for task in tasks
        for entry in entries
        for row in entry.rows
        if row.task == task
    ]
    return Table(
        f"{suite}-tasks",
        f"Success on {suite}, task by task",
        [Column("Run", numeric=False), Column("success, %")],
        rows,
        "95 % intervals: Wilson's.",
    )
