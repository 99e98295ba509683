"""A report as one HTML page that needs nothing beside it: styles and figures are in it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from vla_bench.reports.page.markdown import way
from vla_bench.reports.page.report import Gallery, Part, Picture, Report
from vla_bench.reports.tables.html import templates

NAMES = re.compile(r'(\bid="|url\(#|href="#)')
"""Where an SVG names its parts."""


def html(report: Report, folder: Path, drawings: Mapping[str, str]) -> str:
    """The page.

    Args:
        report: What to write.
        folder: Where it will be, for the way to the films.
        drawings: Name of a figure -> its SVG.
    """
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            report=report,
            drawings={name: _inline(name, svg) for name, svg in drawings.items()},
            kind=_kind,
            way=lambda film: way(film, folder),
            data_url=_data_url,
        )
    )


def _kind(part: Part) -> str:
    if isinstance(part, Picture):
        return "picture"
    return "gallery" if isinstance(part, Gallery) else "table"


def _inline(name: str, svg: str) -> Markup:
    """An SVG without its prologue, its parts named so that no other figure has the same names."""
    body = svg[svg.index("<svg") :]
    return Markup(NAMES.sub(rf"\g<1>{name}-", body))


def _data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
