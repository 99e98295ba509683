"""A report as values: what a renderer needs to write it, in whatever form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from vla_bench.reports.tables.table import Table


@dataclass(frozen=True)
class Picture:
    """A figure."""

    name: str
    """Stem of its files."""
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Film:
    """A film of an episode; it stays where it is."""

    path: Path
    caption: str
    command: str
    """Plays the episode again."""
    still: bytes | None
    """Its last picture, a JPEG; None if it cannot be had."""


@dataclass(frozen=True)
class Gallery:
    """Films, and the table that lists them."""

    table: Table
    films: Sequence[Film]


Part = Table | Picture | Gallery


@dataclass(frozen=True)
class Section:
    """Tables and figures about one question."""

    title: str
    parts: Sequence[Part]
    text: Sequence[str] = ()
    """Paragraphs before them."""

    def heads(self, part: Part) -> bool:
        """Whether a part has a title of its own below the section's."""
        return len(self.parts) > 1 and not isinstance(part, Gallery) and part.title != self.title


@dataclass(frozen=True)
class Chapter:
    """What there is to say about the runs of one suite."""

    name: str
    """Name of the suite."""
    title: str
    facts: Sequence[str]
    """The protocol, a line each."""
    warnings: Sequence[str]
    """What a reader has to know before any number."""
    sections: Sequence[Section]


@dataclass(frozen=True)
class Report:
    """The report of a set of runs."""

    title: str
    facts: Sequence[str]
    chapters: Sequence[Chapter] = field(default_factory=list)

    def parts(self) -> Iterator[Part]:
        """All tables, figures and galleries, in order."""
        for chapter in self.chapters:
            for section in chapter.sections:
                yield from section.parts

    @property
    def tables(self) -> Sequence[Table]:
        """All tables."""
        galleries = [part.table for part in self.parts() if isinstance(part, Gallery)]
        return [*(part for part in self.parts() if isinstance(part, Table)), *galleries]

    @property
    def pictures(self) -> Sequence[Picture]:
        """All figures."""
        return [part for part in self.parts() if isinstance(part, Picture)]
