"""A table in HTML, to be put into a page that has the style sheet."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vla_bench.reports.tables.table import KINDS, Cell, Table, Value


@cache
def templates() -> Environment:
    """The report's templates; what is put into them is escaped."""
    environment = Environment(
        loader=PackageLoader("vla_bench.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["KINDS"] = KINDS
    environment.filters["html_table"] = html
    return environment


def html(table: Table, heading: int = 2) -> Markup:
    """A section: title, caption, table and footnotes.

    A row carries its kind as class and in `data-kind`, a number's cell its value in `data-sort`.

    Args:
        table: What to print.
        heading: Level of the title; 0 leaves it out.
    """
    template = templates().get_template("table.html.j2")
    return Markup(template.render(table=table, heading=heading, sort_key=_sort_key))


def _sort_key(cell: Cell) -> str:
    """What a column is sorted by; empty where nothing was measured."""
    if not isinstance(cell, Value):
        return cell
    return "" if cell.number is None else f"{cell.number:.6g}"
