"""What papers print: their numbers, checked, and their tables with rows of ours in them."""

from collections.abc import Mapping

from vla_bench.reports.published import anchorvla, focusvla
from vla_bench.reports.published.layout import Layout, MeasuredRow
from vla_bench.reports.published.numbers import Quoted, quoted

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        anchorvla.MS_HAB,
        anchorvla.DENOISING,
        anchorvla.RESIDUAL,
        focusvla.LIBERO,
        focusvla.ABLATION,
        focusvla.LIBERO_TASKS,
        focusvla.ROBOTWIN,
    )
}
"""The papers' tables by name."""

__all__ = ["LAYOUTS", "Layout", "MeasuredRow", "Quoted", "quoted"]
