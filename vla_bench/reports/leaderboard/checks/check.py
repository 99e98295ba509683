"""Checks a submission: a run folder, or a file of quoted numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vla_bench.errors import UserError
from vla_bench.reports.leaderboard.checks import claims, items, outcomes, protocol, submission
from vla_bench.reports.published.checks import remarks
from vla_bench.reports.published.numbers import read_paper


@dataclass(frozen=True)
class Findings:
    """What a check came to."""

    problems: Sequence[str]
    """One line each: where, what is expected, what is found."""
    unchecked: Sequence[str] = ()
    """What could not be checked here, and why."""
    checked: str = ""
    """What was checked, in one line."""


def check(path: Path, results: Path) -> Findings:
    """Checks a run folder or a CSV file of quoted numbers.

    Args:
        path: The folder or file.
        results: Our results: world probes are compared with those of its runs.

    Raises:
        UserError: There is nothing at `path`.
    """
    if path.suffix == ".csv" and path.is_file():
        return _check_quoted(path)
    if not path.is_dir():
        raise UserError(f"{path}: expected a run folder, or a .csv file of quoted numbers")
    run, problems = submission.read(path)
    if run is None:
        return Findings(problems)
    unchecked: list[str] = []
    if run.whole:
        problems += [*items.problems(run), *outcomes.problems(run), *claims.problems(run)]
    else:
        unchecked.append("items against records: not every line could be read")
    _protocol(run, results, problems, unchecked)
    checked = f"{len(run.items)} items, {len(run.records)} records"
    return Findings(problems, unchecked, checked)


def _protocol(
    run: submission.Submission, results: Path, problems: list[str], unchecked: list[str]
) -> None:
    try:
        card = protocol.card_here(run)
    except UserError as error:
        problems.append(f"{submission.MANIFEST}: suite: {error}")
        return
    problems += protocol.problems(run, card)
    unlike, reason = items.compared_with_suite(run, card)
    problems += unlike
    worlds, compared = protocol.other_worlds(run, results)
    problems += worlds
    unchecked += [reason] if reason else []
    if compared < len(run.final):
        unchecked.append(
            f"world probes of {len(run.final) - compared} of {len(run.final)} items: "
            f"no run under {results / 'runs'} has them"
        )


def _check_quoted(path: Path) -> Findings:
    try:
        figures = read_paper(path.resolve())
    except UserError as error:
        return Findings([str(error)])
    problems = [
        f"{figure.source}, {figure.table}, {figure.method}, {figure.suite} {figure.task}: {remark}"
        for figure, remark in remarks(figures)
    ]
    return Findings(problems, checked=f"{len(figures)} figures")
