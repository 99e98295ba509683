import io

from rich.console import Console

from vla_bench.reports.tables.table import Column, Row, Table, Value
from vla_bench.reports.tables.terminal import terminal

LONG = "put-both-the-cream-cheese-box-and-the-butter-in-the-basket"


def printed(table, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(terminal(table))
    return console.export_text()


def table(*rows, **said):
    columns = [Column("task", numeric=False), Column("success, %", "first run")]
    return Table("name", "Title", columns, rows, **said)


def test_numbers_stay_whole_and_long_names_break_at_hyphens() -> None:
    rate = Value(42.0, interval=(12.3, 65.4))
    text = printed(table(Row([LONG, rate])), 50)
    assert str(rate) in text
    parts = [line.split("│")[0].strip() for line in text.splitlines() if "│" in line]
    assert len(parts) > 1
    assert "".join(parts) == LONG
    assert all(part.endswith("-") for part in parts[:-1])


def test_section_caption_footnote_and_kind_are_there() -> None:
    rows = [
        Row(["one", Value(1.0, notes=("as printed",))], section="here"),
        Row(["two", Value(None)], kind="quoted", section="there"),
    ]
    text = printed(table(*rows, caption="What it is."), 80)
    for part in ("Title", "here", "there", "1.0 a)", "a) as printed", "two (quoted, not measured)"):
        assert part in text
    assert text.rstrip().endswith("a) as printed")
    assert "What it is." in text
