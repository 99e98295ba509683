"""Published success rates, row by row as their papers print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vla_bench.reports.published.checks import remarks
from vla_bench.reports.published.numbers import AVERAGE, Quoted, read_paper

FOLDER = "published"
Key = tuple[object, ...]
"""Paper and place of a figure."""
SECONDARY = "quoted from a summary of the paper, a secondary source"


@dataclass(frozen=True)
class Citation:
    """A row of a paper's table: one method on one suite."""

    figures: Sequence[Quoted]
    """At least one; its average and its tasks, as far as they are printed."""
    notes: Mapping[Key, Sequence[str]]
    """Figure -> what a reader has to know."""

    @property
    def method(self) -> str:
        """The policy, as the paper names it."""
        return self.figures[0].method

    @property
    def suite(self) -> str:
        """The suite, by our name."""
        return self.figures[0].suite

    @property
    def source(self) -> str:
        """Paper and table."""
        return self.figures[0].citation

    @property
    def table(self) -> tuple[str, str]:
        """The paper's file, and what the paper calls the table."""
        return self.figures[0].paper, self.figures[0].table

    @property
    def setting(self) -> str:
        """What tells it from the other rows of its table."""
        return ", ".join(f"{key} {value}" for key, value in self.figures[0].setting.items())

    @property
    def average(self) -> Quoted | None:
        """The mean as printed, if it is."""
        return next((figure for figure in self.figures if figure.task == AVERAGE), None)

    @property
    def tasks(self) -> Mapping[str, Quoted]:
        """Task -> its figure."""
        return {f.task: f for f in self.figures if f.task and f.task != AVERAGE}

    def noted(self, figure: Quoted) -> Sequence[str]:
        """The footnotes of a figure."""
        return self.notes[_key(figure)]


@dataclass(frozen=True)
class Published:
    """All that the papers' files say."""

    figures: Sequence[Quoted]
    notes: Mapping[Key, Sequence[str]]
    citations: Sequence[Citation]
    """Their success rates."""

    def noted(self, figure: Quoted) -> Sequence[str]:
        """What a reader has to know of a figure."""
        return self.notes[_key(figure)]

    def of_suite(self, suite: str) -> Sequence[Citation]:
        """The success rates on a suite."""
        return [citation for citation in self.citations if citation.suite == suite]

    def compares(self, citation: Citation) -> bool:
        """Whether its table compares methods, and not variants of one."""
        return any(
            c.table == citation.table and c.method != citation.method for c in self.citations
        )

    def of_policy(self, policy: str) -> Sequence[Citation]:
        """The success rates of a policy: the method whose name differs in nothing but dashes and case."""
        return [c for c in self.citations if _plain(c.method) == _plain(policy)]


def read_published(results: Path) -> Published:
    """Reads the papers' numbers of a results folder.

    Raises:
        UserError: A file is not as it should be.
    """
    figures: list[Quoted] = []
    notes: dict[Key, list[str]] = {}
    for path in sorted((results / FOLDER).glob("*.csv")):
        of_paper = read_paper(path.resolve())
        figures += of_paper
        for figure in of_paper:
            told = [figure.note] if figure.note else []
            notes[_key(figure)] = told + [SECONDARY] * (figure.origin == "digest")
        for figure, remark in remarks(of_paper):
            notes[_key(figure)].append(remark)
    return Published(figures, notes, _citations(figures, notes))


def _citations(figures: Sequence[Quoted], notes: Mapping[Key, Sequence[str]]) -> list[Citation]:
    rows: dict[tuple[object, ...], list[Quoted]] = {}
    for figure in figures:
        if figure.metric == "success-rate":
            setting = frozenset(figure.setting.items())
            row = (figure.paper, figure.table, figure.method, figure.suite, setting)
            rows.setdefault(row, []).append(figure)
    return [Citation(row, notes) for row in rows.values()]


def _key(figure: Quoted) -> Key:
    return (figure.paper, *figure.place)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
