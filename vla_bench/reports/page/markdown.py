"""A report in Markdown."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vla_bench.reports.page.report import Chapter, Part, Picture, Report
from vla_bench.reports.tables.markdown import markdown as table_text
from vla_bench.reports.tables.table import Table


def markdown(report: Report, folder: Path) -> str:
    """The page.

    Args:
        report: What to write.
        folder: Where it will be, for the way to the films.
    """
    parts = [f"# {report.title}", _list(report.facts)]
    for chapter in report.chapters:
        parts += _chapter(chapter, folder)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _chapter(chapter: Chapter, folder: Path) -> Iterator[str]:
    yield f"## {chapter.title}"
    yield from (f"> **{warning}**" for warning in chapter.warnings)
    yield _list(chapter.facts)
    for section in chapter.sections:
        yield f"### {section.title}"
        yield from section.text
        for part in section.parts:
            yield from _part(part, folder, headed=section.heads(part))


def _part(part: Part, folder: Path, headed: bool) -> Iterator[str]:
    if isinstance(part, Table):
        yield from _titled(part.title, headed)
        yield table_text(part, heading="")
        yield f"[CSV](tables/{part.name}.csv), [LaTeX](tables/{part.name}.tex)"
    elif isinstance(part, Picture):
        yield from _titled(part.title, headed)
        yield f"![{part.title}](figures/{part.name}.svg)"
        yield f"{part.caption} [PDF](figures/{part.name}.pdf), [PNG](figures/{part.name}.png)"
    else:
        yield table_text(part.table, heading="")
        yield _list([f"[{film.caption}]({way(film.path, folder)})" for film in part.films])


def _titled(title: str, headed: bool) -> Iterator[str]:
    if headed:
        yield f"#### {title}"


def way(path: Path, folder: Path) -> str:
    """The way from a folder to a file."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
