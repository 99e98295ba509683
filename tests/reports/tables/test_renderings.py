import csv
import io
import re
from xml.etree import ElementTree

import pytest

from vla_bench.reports.tables.csv_file import csv_text
from vla_bench.reports.tables.html import html
from vla_bench.reports.tables.latex import escaped, latex
from vla_bench.reports.tables.markdown import markdown
from vla_bench.reports.tables.table import Column, Row, Table, Value

MISFIT = "printed as 33.5; the mean of its tasks is 29.1"
TABLE = Table(
    "success",
    "Success & failure",
    [
        Column("policy", numeric=False),
        Column("pick_apple", group="set table"),
        Column("mean", group="set table"),
    ],
    [
        Row(
            ["ours | 50 %", Value(85.26, interval=(80.0, 89.04), best=True), Value(None)],
            section="RGB",
        ),
        Row(
            ["pi0 <b>", Value(13.0, spread=1.6), Value(33.5, notes=(MISFIT, "n = 1800"))],
            kind="quoted",
            section="RGB",
        ),
        Row(["other", Value(-0.04, signed=True), Value(1, digits=0, notes=(MISFIT,))]),
    ],
    caption="Means over 300 episodes.",
)
SHOWN = ["85.3 [80.0, 89.0]", "13.0 ± 1.6", "33.5", "+0.0", "1"]


def test_a_number_prints_with_what_belongs_to_it() -> None:
    cells = [cell for row in TABLE.rows for cell in row.cells if isinstance(cell, Value)]
    assert str(Value(94.0, interval=(83.8, 97.9), count=(47, 50))) == "94.0 [83.8, 97.9] 47/50"
    assert [str(cell) for cell in cells if cell.number is not None] == SHOWN
    assert str(Value(None)) == "-"


@pytest.mark.parametrize("render", [markdown, latex, html])
def test_all_renderings_say_the_same_numbers(render) -> None:
    text = re.sub("<[^>]*>", "", str(render(TABLE))).replace("$\\pm$", "±")
    for shown in SHOWN:
        assert shown in text
    assert MISFIT in text
    assert "quoted, not measured" in text


def test_csv_reads_back() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(TABLE))))
    assert rows[0]["policy"] == "ours | 50 %"
    assert float(rows[0]["set table: pick_apple"]) == 85.26
    assert float(rows[0]["set table: pick_apple high"]) == 89.04
    assert rows[0]["set table: mean"] == ""
    assert float(rows[1]["set table: pick_apple spread"]) == 1.6
    assert rows[1]["kind"] == "quoted"
    assert rows[1]["notes"] == f"{MISFIT}; n = 1800"


def test_footnotes_are_marked_once_each() -> None:
    assert TABLE.footnotes == {MISFIT: "a", "n = 1800": "b"}
    page = markdown(TABLE)
    assert "*33.5*<sup>a,b</sup>" in page
    assert page.count(MISFIT) == 1


def test_markdown_lines_have_equal_columns() -> None:
    lines = [line for line in markdown(TABLE).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {4}


def test_latex_escapes_and_closes_what_it_opens() -> None:
    text = latex(TABLE)
    assert "Success \\& failure" in text
    assert "\\textbf{85.3 [80.0, 89.0]}" in text
    assert "\\cmidrule(lr){2-3}" in text
    for environment in ("table", "tabular"):
        assert text.count(f"\\begin{{{environment}}}") == text.count(f"\\end{{{environment}}}") == 1
    assert (
        escaped("a_b^{c}~\\")
        == "a\\_b\\textasciicircum{}\\{c\\}\\textasciitilde{}\\textbackslash{}"
    )


def test_html_is_well_formed_and_escaped() -> None:
    text = str(html(TABLE))
    tree = ElementTree.fromstring(text)
    assert "pi0 &lt;b&gt;" in text
    widths = {len(list(row)) for row in tree.iter("tr") if "data-kind" in row.attrib}
    assert widths == {3}
    assert [row.get("data-kind") for row in tree.iter("tr") if row.get("data-kind")] == [
        "measured",
        "quoted",
        "measured",
    ]


def test_a_short_row_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Table("t", "t", [Column("a"), Column("b")], [Row(["x"])])
