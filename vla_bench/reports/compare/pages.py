"""A comparison in the terminal, as Markdown and as a page; all say the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from vla_bench.errors import UserError
from vla_bench.reports.compare.comparison import Comparison
from vla_bench.reports.compare.films import Shown
from vla_bench.reports.compare.tables import paired_table, run_table, split_table
from vla_bench.reports.tables.csv_file import csv_text
from vla_bench.reports.tables.html import templates
from vla_bench.reports.tables.latex import latex
from vla_bench.reports.tables.markdown import markdown as markdown_table
from vla_bench.reports.tables.table import Table
from vla_bench.reports.tables.terminal import terminal

FEW = 10
"""Items listed in the terminal."""


def title(comparison: Comparison) -> str:
    """What is compared with what."""
    return f"{comparison.names[1]} against {comparison.names[0]}"


def answer(comparison: Comparison) -> str:
    """Whether there is a comparison at all."""
    if comparison.comparable:
        return f"Comparable: {comparison.items} items of one protocol are recorded in both."
    if comparison.items:
        return f"Not comparable, though {comparison.items} items are recorded in both:"
    return "Not comparable:"


def notes(comparison: Comparison) -> Iterator[tuple[str, Sequence[str]]]:
    """What there is to know before the numbers, under its heads; not where there are no numbers."""
    found = comparison.differences
    if comparison.items and found.warnings:
        yield "Warnings", found.warnings
    if comparison.items:
        yield "What differs", found.remarks or ["nothing else"]


def show(comparison: Comparison, console: Console) -> None:
    """Prints the comparison; of the items where the runs differ the first few."""
    console.print(Text(answer(comparison), style="bold"))
    _print_list(comparison.differences.refusals, console)
    console.print()
    console.print(terminal(run_table(comparison)))
    for head, lines in notes(comparison):
        console.print(Text(f"\n{head}", style="italic"))
        _print_list(lines, console)
    if not comparison.items:
        return
    for sentence in comparison.verdicts:
        console.print(Text(f"\n{sentence}", style="bold"))
    console.print()
    console.print(terminal(paired_table(comparison)))
    console.print(Text(f"\n{comparison.agreement}"))
    if comparison.splits:
        _print_splits(comparison, console)


def _print_list(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(Text(f"- {line}"), soft_wrap=True)


def _print_splits(comparison: Comparison, console: Console) -> None:
    splits = comparison.splits
    console.print()
    console.print(terminal(split_table(comparison, splits[:FEW], replays=False)))
    if (rest := len(splits) - FEW) > 0:
        console.print(f"... and {rest} more; --out DIR lists them all", highlight=False)
    console.print(Text(f"See a failure: {splits[0].replay}"), soft_wrap=True)


def write(comparison: Comparison, shown: Sequence[Shown], out: Path) -> Path:
    """Writes `compare.md`, `index.html` and the tables into a folder; returns the page."""
    page = out / "index.html"
    files = {"compare.md": markdown(comparison, shown), page.name: html(comparison, shown)}
    if comparison.items:
        paired, items = paired_table(comparison), _items(comparison)
        files |= {
            "paired.csv": csv_text(paired),
            "paired.tex": latex(paired),
            "items.csv": csv_text(items),
        }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text)
    except OSError as error:
        raise UserError(f"cannot write {out} ({error.strerror}); give another --out") from None
    return page


def markdown(comparison: Comparison, shown: Sequence[Shown]) -> str:
    """The comparison as a Markdown page, items and all."""
    parts = [f"# {title(comparison)}\n", f"**{answer(comparison)}**\n"]
    if refusals := comparison.differences.refusals:
        parts.append(_listed(refusals))
    parts.append(markdown_table(run_table(comparison)))
    for head, lines in notes(comparison):
        parts.append(f"## {head}\n\n{_listed(lines)}")
    if comparison.items:
        if comparison.verdicts:
            parts.append("\n\n".join(["## What follows", *comparison.verdicts]) + "\n")
        parts += [markdown_table(paired_table(comparison)), f"{comparison.agreement}\n"]
        if shown:
            parts.append("\n".join(["## Films", "", *map(_film_line, shown), ""]))
        if comparison.splits:
            parts.append(markdown_table(_items(comparison)))
    return "\n".join(parts)


def _listed(lines: Sequence[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)


def _film_line(one: Shown) -> str:
    named = f"[{one.split.place}]({one.film})" if one.film else one.split.place
    return f"- {'; '.join([named, *one.remarks])}"


def html(comparison: Comparison, shown: Sequence[Shown]) -> str:
    """The comparison as a page that needs no other file but its films."""
    return (
        templates()
        .get_template("compare.html.j2")
        .render(
            title=title(comparison),
            answer=answer(comparison),
            comparison=comparison,
            runs=run_table(comparison),
            notes=list(notes(comparison)),
            paired=paired_table(comparison) if comparison.items else None,
            items=_items(comparison),
            shown=shown,
        )
    )


def _items(comparison: Comparison) -> Table:
    return split_table(comparison, comparison.splits, replays=True)
