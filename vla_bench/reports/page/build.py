"""Builds the report of some runs: a chapter per suite."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import rc_context

from vla_bench.reports.drawing import STYLE
from vla_bench.reports.measured import MeasuredRun
from vla_bench.reports.page import (
    ablations,
    against,
    costs,
    curves,
    disturbed,
    failures,
    gallery,
    head,
    heat,
    layouts,
    pairs,
    success,
)
from vla_bench.reports.page.entries import Entry, entries_of
from vla_bench.reports.page.report import Chapter, Report, Section
from vla_bench.reports.page.standing import standing_of


def build(runs: Sequence[MeasuredRun]) -> Report:
    """The report of some runs.

    Args:
        runs: At least one; runs of one suite make a chapter, in the order of their first.
    """
    suites = list(dict.fromkeys(run.manifest.suite.name for run in runs))
    with rc_context(STYLE):
        chapters = [
            _chapter(suite, entries_of([run for run in runs if run.manifest.suite.name == suite]))
            for suite in suites
        ]
    episodes = sum(len(run.episodes) - run.missing for run in runs)
    return Report(
        title=f"Report: {', '.join(suites)}",
        facts=[f"{len(runs)} runs of {len(suites)} suite(s), {episodes} recorded episodes"],
        chapters=chapters,
    )


def _chapter(suite: str, entries: Sequence[Entry]) -> Chapter:
    standing = standing_of(entries)
    ordered = success.in_order(entries, standing)
    found: list[Section | None] = [
        success.section(suite, ordered, standing),
        layouts.section(suite, ordered),
        against.section(suite, ordered),
        heat.section(suite, ordered, success.tasks_of(entries)),
        pairs.section(suite, standing),
        ablations.section(suite, entries),
        *curves.sections(suite, entries),
        disturbed.section(suite, entries),
        failures.section(suite, ordered),
        costs.section(suite, ordered),
        gallery.section(suite, ordered),
        head.section(suite, ordered),
    ]
    versions = sorted({entry.run.manifest.suite.version for entry in entries})
    return Chapter(
        name=suite,
        title=f"{suite} (version {', '.join(map(str, versions))})",
        facts=head.facts(entries),
        warnings=head.warnings(entries),
        sections=[section for section in found if section is not None],
    )
