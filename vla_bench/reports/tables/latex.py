"""A table in LaTeX, for a paper: booktabs, nothing else needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vla_bench.reports.tables.table import KIND_MARKS, Cell, Row, Table, Value

SPECIAL = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "π": r"$\pi$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}
"""What has a meaning of its own in LaTeX, or is not in its basic fonts."""


def latex(table: Table) -> str:
    """A `table` environment; rows that were not measured here are in italics and carry a mark."""
    columns = "".join("r" if column.numeric else "l" for column in table.columns)
    caption = " ".join(part for part in (f"{table.title}.", table.caption) if part)
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{escaped(caption)}}}",
        f"  \\label{{tab:{table.name}}}",
        f"  \\begin{{tabular}}{{{columns}}}",
        "    \\toprule",
        *(_groups(table) if table.grouped else []),
        _line([escaped(column.title) for column in table.columns]),
        *_body(table),
        "    \\bottomrule",
        "  \\end{tabular}",
        *_notes(table),
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _groups(table: Table) -> Iterator[str]:
    cells, rules, first = [], [], 1
    for group, width in table.groups():
        cells.append(f"\\multicolumn{{{width}}}{{c}}{{{escaped(group)}}}")
        if group:
            rules.append(f"\\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    yield _line(cells)
    yield "    " + " ".join(rules)


def _body(table: Table) -> Iterator[str]:
    for section, rows in table.sections():
        yield "    \\midrule"
        if section:
            width = len(table.columns)
            yield _line([f"\\multicolumn{{{width}}}{{l}}{{\\emph{{{escaped(section)}}}}}"])
        for row in rows:
            yield _line([_cell(table, row, cell) for cell in row.cells])


def _cell(table: Table, row: Row, cell: Cell) -> str:
    text = escaped(str(cell))
    if isinstance(cell, Value) and cell.best:
        text = f"\\textbf{{{text}}}"
    elif row.kind != "measured" and text:
        text = f"\\textit{{{text}}}"
    if cell is row.cells[0] and row.kind != "measured":
        text += escaped(KIND_MARKS[row.kind])
    marks = table.marks(cell)
    return f"{text}\\textsuperscript{{{marks}}}" if marks else text


def _notes(table: Table) -> Iterator[str]:
    if table.legend or table.footnotes:
        yield "  \\par\\smallskip\\footnotesize\\raggedright"
    for mark, meaning in table.legend.items():
        yield f"  {escaped(mark)} {escaped(meaning)}\\par"
    for note, mark in table.footnotes.items():
        yield f"  \\textsuperscript{{{mark}}} {escaped(note)}\\par"


def _line(cells: Sequence[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"


def escaped(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(SPECIAL.get(character, character) for character in text)
