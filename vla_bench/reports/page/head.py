"""What a reader needs before any number: protocol, runs, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence

from vla_bench.reports.page.entries import Entry
from vla_bench.reports.page.report import Section
from vla_bench.reports.page.values import count
from vla_bench.reports.success import facts as facts_of
from vla_bench.reports.tables.table import Column, Row, Table

MOST_NAMED = 3
"""Runs that a fact names; of more it says how many."""


def facts(entries: Sequence[Entry]) -> Sequence[str]:
    """The protocol, a line each; a line that does not hold for all runs names those for which it does."""
    holds: dict[str, list[str]] = {}
    for entry in entries:
        for fact in facts_of(entry.run):
            holds.setdefault(fact, []).append(entry.label)
    return [
        fact if len(labels) == len(entries) else f"{fact} ({_named(labels)})"
        for fact, labels in holds.items()
    ]


def _named(labels: Sequence[str]) -> str:
    return "; ".join(labels) if len(labels) <= MOST_NAMED else f"{len(labels)} runs"


def warnings(entries: Sequence[Entry]) -> Sequence[str]:
    """Missing episodes, harness errors, mismatches, and a world that is not the real one."""
    found = []
    if any(entry.run.mini for entry in entries):
        found.append(
            "A mini world, made by this project: never to be ranked with the real suite, and no "
            "published numbers stand beside these."
        )
    for entry in entries:
        run = entry.run
        if run.missing:
            found.append(
                f"{entry.label}: {run.missing} of {len(run.episodes)} episodes are missing."
            )
        if run.harness_errors:
            found.append(
                f"{entry.label}: {run.harness_errors} of {len(run.episodes)} episodes failed in the "
                "harness; they count as failures of the policy."
            )
        found += [
            f"{entry.label}: a mismatch was allowed: {line}." for line in run.manifest.mismatches
        ]
    return found


def section(suite: str, entries: Sequence[Entry]) -> Section:
    """The runs, and the records that the numbers are made from."""
    columns = [
        Column("Run", numeric=False),
        Column("folder", numeric=False),
        Column("policy card", numeric=False),
        Column("weights", numeric=False),
        Column("seed"),
        Column("played", "episodes"),
        Column("missing", "episodes"),
        Column("harness errors", "episodes"),
        Column("records", numeric=False),
    ]
    rows = [
        Row(
            [
                entry.label,
                entry.run.name,
                entry.run.manifest.policy.digest,
                str(entry.run.manifest.policy.options.get("weights_digest", "-")),
                count(entry.run.manifest.seed),
                count(len(entry.run.episodes) - entry.run.missing),
                count(entry.run.missing),
                count(entry.run.harness_errors),
                entry.run.records_digest,
            ],
            entry.kind,
        )
        for entry in entries
    ]
    caption = (
        "Episodes: clean and perturbed. Digests: 16 hex digits of SHA-256, of the policy's card with its "
        "overrides, of its weights, and of episodes.jsonl."
    )
    return Section("Runs", [Table(f"{suite}-runs", "Runs", columns, rows, caption)])
