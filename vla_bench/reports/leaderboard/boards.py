"""The tables of the front page: one per suite and protocol, by track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from vla_bench.cards import SuiteCard, find_cards, load_card
from vla_bench.reports.caveats import caveats
from vla_bench.reports.comparable import differences
from vla_bench.reports.leaderboard.citations import Citation, Published
from vla_bench.reports.leaderboard.entries import Entry
from vla_bench.reports.leaderboard.ranking import Standings, standings
from vla_bench.reports.tables.table import marks_in_order

TRACKS: Mapping[tuple[str, bool], str] = {
    ("real", False): "Real suites",
    ("real", True): "Real suites, physics on a GPU",
    ("mini", False): "Mini worlds",
    ("mini", True): "Mini worlds, physics on a GPU",
}
"""Track and whether the physics is on a GPU -> what it is called; never ranked with each other."""
REMARKS: Mapping[str, str] = {
    "Mini worlds": "Made by the project from primitives: never ranked with the real suites.",
    "Real suites, physics on a GPU": "A track of its own: physics on a GPU is another engine.",
    "Mini worlds, physics on a GPU": "A track of its own, never ranked with the real suites.",
}
NOT_PLAYED = "Quoted only"
"""Track of the suites that cannot be played here."""


@dataclass(frozen=True)
class Board:
    """Runs on one suite under one protocol, and what papers print of the suite."""

    suite: str
    track: str
    card: SuiteCard | None
    """None where the suite cannot be played here."""
    standings: Standings
    citations: Sequence[Citation]
    """Rows of papers' tables that compare methods by their mean over the suite."""
    number: int = 1
    """Which of the suite's protocols it is, from 1."""
    unlike: Sequence[str] = ()
    """What sets its protocol apart from the suite's first one."""

    @property
    def name(self) -> str:
        """A name for links."""
        return self.suite if self.number == 1 else f"{self.suite}-{self.number}"

    @property
    def entries(self) -> Sequence[Entry]:
        """Its runs, in the order of the table."""
        return [place.entry for place in self.standings.places]

    @property
    def caption(self) -> str:
        """What is ranked, under which protocol."""
        if self.card is None:
            return "This suite cannot be played here."
        if not self.entries:
            return "No run with records yet."
        found = self.standings
        engine = ", ".join(f"{name} {v}" for name, v in self.entries[0].manifest.engine.items())
        apart = f" Unlike the first protocol: {'; '.join(self.unlike)}." if self.unlike else ""
        on = f", on the {found.items} episodes that each of them has played" if found.ranked else ""
        ranked = f"{found.ranked or 'No'} runs are ranked{on}"
        return f"{ranked}. Engine: {engine or 'nothing pinned'}.{apart}"

    @cached_property
    def marks(self) -> Mapping[str, str]:
        """Footnote -> its mark, in the order of the rows."""
        notes = [note for entry in self.entries for note in caveats(entry.manifest)]
        for citation in self.citations:
            notes += citation.noted(citation.average) if citation.average else []
        return dict(zip(dict.fromkeys(notes), marks_in_order(), strict=False))

    def marked(self, entry: Entry) -> str:
        """Marks of the footnotes to a run, as `a,b`."""
        noted = caveats(entry.manifest)
        return ",".join(mark for note, mark in self.marks.items() if note in noted)


def track_of(card: SuiteCard) -> str:
    """The track that a suite belongs to."""
    return TRACKS[card.track, card.options.get("physics") == "gpu"]


def make_boards(entries: Sequence[Entry], published: Published) -> Sequence[Board]:
    """The boards in the order of the front page: by track, those with runs first."""
    boards = [
        board
        for suite in dict.fromkeys(entry.suite for entry in entries)
        for board in _of_suite([e for e in entries if e.suite == suite], published)
    ]
    played = {board.suite for board in boards}
    quoted = dict.fromkeys(citation.suite for citation in published.citations)
    others = [_quoted(suite, published) for suite in quoted if suite not in played]
    boards += [board for board in others if board.citations]
    tracks = [*TRACKS.values(), NOT_PLAYED]
    return sorted(boards, key=lambda board: tracks.index(board.track))


def _of_suite(entries: Sequence[Entry], published: Published) -> Sequence[Board]:
    protocols: dict[str, list[Entry]] = {}
    for entry in entries:
        protocols.setdefault(entry.protocol_digest, []).append(entry)
    most_first = sorted(protocols.values(), key=lambda runs: -len(runs))
    first = most_first[0][0]
    return [
        Board(
            suite=first.suite,
            track=track_of(runs[0].manifest.suite),
            card=runs[0].manifest.suite,
            standings=standings(runs),
            citations=_with_mean(first.suite, published) if number == 1 else [],
            number=number,
            unlike=differences(first.run, runs[0].run).refusals if number > 1 else (),
        )
        for number, runs in enumerate(most_first, 1)
    ]


def _quoted(suite: str, published: Published) -> Board:
    card = load_card(SuiteCard, suite) if suite in find_cards(SuiteCard) else None
    track = track_of(card) if card else NOT_PLAYED
    return Board(suite, track, card, standings([]), _with_mean(suite, published))


def _with_mean(suite: str, published: Published) -> Sequence[Citation]:
    return [c for c in published.of_suite(suite) if c.average and published.compares(c)]
