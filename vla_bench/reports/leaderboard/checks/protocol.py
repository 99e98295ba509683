"""Whether a run kept the protocol: the suite's card as it is here, its engine, its worlds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vla_bench.cards import SuiteCard, find_cards, load_card
from vla_bench.errors import UserError, nearest
from vla_bench.reports.comparable import NEVER_MATTERS, changed_entries
from vla_bench.reports.leaderboard.checks.submission import MANIFEST, Submission
from vla_bench.reports.measured import read_run

FILE_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
"""A policy's page is a file of its name."""


def card_here(run: Submission) -> SuiteCard:
    """The card of the run's suite as it is here, following the same published protocol.

    Raises:
        UserError: There is none.
    """
    name = run.manifest.suite.name
    known = find_cards(SuiteCard)
    if name not in known:  # nor a path, which `load_card` would follow
        raise UserError(f"no suite named {name!r} here; {nearest(name, known)}")
    card = load_card(SuiteCard, name)
    followed = run.manifest.suite.options.get("protocol")
    return card.override({"protocol": str(followed)}) if followed in card.protocols else card


def problems(run: Submission, card: SuiteCard) -> Iterator[str]:
    """What differs from the card here, and what the engine's pins say; one line each."""
    manifest = run.manifest
    one, other = (
        suite.model_dump(mode="json", exclude=set(NEVER_MATTERS))
        for suite in (manifest.suite, card)
    )
    for line in changed_entries(one, other):
        yield f"{MANIFEST}: suite.{line} on the card here"
    if not FILE_NAME.fullmatch(manifest.policy.name):
        yield (
            f"{MANIFEST}: policy.name: expected letters, digits, dashes, dots and underscores, "
            f"found {manifest.policy.name!r}"
        )
    for package, pinned in manifest.suite.engine.items():
        found = manifest.versions.get(package, "none")
        if found != pinned:
            yield f"{MANIFEST}: versions.{package}: expected {pinned}, as pinned, found {found}"
    for line in manifest.mismatches:
        yield f"{MANIFEST}: mismatches: expected none, found {line}"
    if not 1 <= manifest.horizon <= manifest.policy.chunk_length:
        yield (
            f"{MANIFEST}: horizon: expected 1 to {manifest.policy.chunk_length} (the chunk), "
            f"found {manifest.horizon}"
        )


def other_worlds(run: Submission, results: Path) -> tuple[Sequence[str], int]:
    """Compares the world probes with those of our runs.

    Returns:
        One line per item whose world differs, and on how many items they could be compared.
    """
    ours = _probes(run, results)
    pairs = [
        (record, ours[digest])
        for digest, record in run.final.items()
        if digest in ours and record.probe
    ]
    return [
        f"probe of {record.place}: expected {probe}, as in our runs, found {record.probe}: another world"
        for record, probe in pairs
        if record.probe != probe
    ], len(pairs)


def _probes(run: Submission, results: Path) -> Mapping[str, str]:
    """Item -> probe, of our runs of the suite."""
    found: dict[str, str] = {}
    for path in sorted((results / "runs").glob("*/manifest.json")):
        if f'"{run.manifest.suite.name}"' not in path.read_text():
            continue
        try:
            ours = read_run(path.parent)
        except UserError:
            continue  # a damaged run of our own is not the submission's fault
        if not ours.manifest.mismatches:
            probes = ours.episodes.loc[ours.episodes["recorded"], "probe"]
            found.update((str(item), probe) for item, probe in probes.items() if probe)
    return found
