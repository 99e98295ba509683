"""What the commands share: the console, exit statuses, `--set`, the table of a run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from vla_bench.errors import UserError

if TYPE_CHECKING:
    from vla_bench.reports.measured import MeasuredRun

WIDTH = 120
"""Columns of tables where there is no terminal."""
EXIT_OK, EXIT_USER_ERROR, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 0, 1, 3, 130
EXIT_WORSE, EXIT_UNDECIDED, EXIT_NOT_COMPARABLE = 4, 5, 6
console = Console(width=None if sys.stdout.isatty() else WIDTH)


def pairs(settings: list[str]) -> dict[str, str]:
    """What `--set key=value ...` says.

    Raises:
        UserError: One is no pair.
    """
    found = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key and equals):
            raise UserError(f"--set {setting}: expected key=value, e.g. --set suite.split=train")
        found[key] = value
    return found


def show(run: MeasuredRun) -> int:
    """Prints a run's tables, writes its report, returns how many episodes are missing."""
    from vla_bench.reports import perturbed, success

    rows = success.success_rows(run)
    table = Table(title=success.title(run.manifest))
    for column in success.header(rows):
        table.add_column(column, justify="left" if column == "task" else "right", overflow="fold")
    for row in rows:
        table.add_row(*success.cells(row))
    console.print(table)
    console.print(success.overall(rows), highlight=False)
    for arm, pairs in perturbed.paired_rows(run).items():
        table = Table(title=f"the same items under {arm}")
        for column in perturbed.HEADER:
            table.add_column(
                column,
                justify="left" if column == "task" else "right",
                overflow="fold",
                no_wrap="%" in column,
            )
        for pair in pairs:
            table.add_row(*perturbed.cells(pair))
        console.print(table)
    console.print(f"report: {success.write_report(run)}", soft_wrap=True, highlight=False)
    return run.missing
