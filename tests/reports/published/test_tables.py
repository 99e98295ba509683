"""The quoted part of each layout is the paper's table, cell by cell, as typed here from the papers."""

from __future__ import annotations

from pathlib import Path

import pytest

from vla_bench.reports.published import LAYOUTS, MeasuredRow
from vla_bench.reports.tables.csv_file import csv_text
from vla_bench.reports.tables.html import html
from vla_bench.reports.tables.latex import latex
from vla_bench.reports.tables.markdown import markdown
from vla_bench.reports.tables.table import Value

PRINTED = Path(__file__).parent / "printed"


def cells(line):
    return [cell.strip() for cell in line.split("|")]


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_quoted_rows_are_the_papers(name):
    table = LAYOUTS[name]()
    head, *expected = map(cells, (PRINTED / f"{name}.txt").read_text().splitlines())
    width = len(head)
    heads = [f"{c.group}: {c.title}" if c.group else c.title for c in table.columns]
    assert heads[:width] == head
    assert all("Episodes" in head for head in heads[width:])
    rows = [list(map(str, row.cells)) for row in table.rows]
    if name == "focusvla-table-5":
        assert rows.pop() == ["Episodes", "-", "-", "-", "-", "100", "300", "100", "300"]
    assert [row[:width] for row in rows] == expected
    assert {row.kind for row in table.rows} == {"quoted"}


def test_every_table_of_the_papers_is_here():
    assert (
        {path.stem for path in PRINTED.iterdir()}
        == set(LAYOUTS)
        == {layout.name for layout in LAYOUTS.values()}
    )


@pytest.mark.parametrize("name", LAYOUTS)
def test_rows_of_ours_come_first_and_are_told_apart(name):
    layout = LAYOUTS[name]
    keys = [head.key for head in layout.heads if head.column.numeric]
    mine = MeasuredRow("ours", {key: Value(50.0, interval=(40.0, 60.0)) for key in keys})
    theirs = MeasuredRow("a guest", {keys[0]: Value(1.0)}, kind="elsewhere")
    alone, table = layout(), layout([mine, theirs])
    if layout.tasks_as_rows:
        assert [c.group for c in table.columns[1:6:2]] == [
            "ours", "a guest (run elsewhere, with records)", "DP (quoted, not measured)",
        ]  # fmt: skip
        assert [row.cells[5:] for row in table.rows] == [row.cells[1:] for row in alone.rows]
        assert str(table.rows[0].cells[1]) == "50.0 [40.0, 60.0]"
        return
    assert [row.kind for row in table.rows[:3]] == ["measured", "elsewhere", "quoted"]
    assert [row.cells for row in table.rows[2:]] == [row.cells for row in alone.rows]
    sections = [row.section for row in table.rows]
    assert sections[:2] == ["Measured here", "Run elsewhere, with records"]
    assert all(section.startswith("Quoted: ") and "arXiv" in section for section in sections[2:])
    given = [column.numeric for column in table.columns[1:]]
    shown = [str(cell) for cell in table.rows[0].cells[1:]]
    assert shown == ["50.0 [40.0, 60.0]" if numeric else "-" for numeric in given]


def test_a_quoted_number_is_never_best():
    for layout in LAYOUTS.values():
        for row in layout().rows:
            assert not any(isinstance(cell, Value) and cell.best for cell in row.cells)


def test_a_cell_without_a_column_is_a_mistake():
    with pytest.raises(ValueError, match="anchorvla-table-1 has no column 'pick-pear'"):
        LAYOUTS["anchorvla-table-1"]([MeasuredRow("ours", {"pick-pear": Value(1.0)})])


def test_what_does_not_fit_is_a_footnote():
    table = LAYOUTS["anchorvla-table-1"]()
    notes = {str(row.cells[0]): row.cells[9].notes for row in table.rows}
    assert notes["RDT"] == ("the paper prints 42.9; the mean of its 6 tasks is 42.68",)
    assert notes["AnchorVLA"] == ()
    [bowl] = [row.cells[4] for row in table.rows if str(row.cells[2]) == "5"]
    assert bowl.notes == ("no number of successes in 300 episodes gives this rate",)


def test_a_note_on_a_row_is_marked_once():
    [pi0] = [row for row in LAYOUTS["anchorvla-table-1"]().rows if row.cells[0] == "pi0"]
    notes = [note for cell in pi0.cells if isinstance(cell, Value) for note in cell.notes]
    assert sum("name is missing" in note for note in notes) == 1


@pytest.mark.parametrize("render", [markdown, csv_text, latex, html])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_form_says_that_it_is_quoted(name, render):
    text = str(render(LAYOUTS[name]()))
    assert "quoted" in text
    assert "42.9" in text or not name.startswith("anchorvla")
