"""Writes a report into a folder."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context

from vla_bench.errors import UserError
from vla_bench.reports.drawing import STYLE, save
from vla_bench.reports.page.html import html
from vla_bench.reports.page.markdown import markdown
from vla_bench.reports.page.report import Report
from vla_bench.reports.tables.csv_file import csv_text
from vla_bench.reports.tables.latex import latex


def write(report: Report, folder: Path) -> Path:
    """Writes `index.html`, `report.md`, `tables/*.csv|tex` and `figures/*.svg|pdf|png`.

    Returns:
        The HTML page.

    Raises:
        UserError: The folder cannot be written.
    """
    try:
        return _write(report, folder)
    except OSError as error:
        raise UserError(
            f"cannot write the report into {folder} ({error.strerror}); give a writable folder with --out"
        ) from None


def _write(report: Report, folder: Path) -> Path:
    tables, figures = folder / "tables", folder / "figures"
    for place in (tables, figures):
        place.mkdir(parents=True, exist_ok=True)
    for table in report.tables:
        (tables / f"{table.name}.csv").write_text(csv_text(table))
        (tables / f"{table.name}.tex").write_text(latex(table))
    drawings = {}
    with rc_context(STYLE):
        for picture in report.pictures:
            # Laid out once for the three files.
            picture.figure.draw_without_rendering()
            picture.figure.set_layout_engine("none")
            svg, *_ = save(picture.figure, figures / picture.name)
            drawings[picture.name] = svg.read_text()
    (folder / "report.md").write_text(markdown(report, folder))
    page = folder / "index.html"
    page.write_text(html(report, folder, drawings))
    return page
