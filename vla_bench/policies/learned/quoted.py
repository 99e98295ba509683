"""Figures that a method's paper reports beside ours: what every method's own `quoted.py` is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from vla_bench.profiling import Flops, Parameters
from vla_bench.reports.published import Quoted, quoted


class Comparison(BaseModel):
    """One figure of the paper and ours."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    figure: str
    """What it is, with its unit."""
    quoted: float
    """What the paper reports; not measured here."""
    ours: float
    """What is counted here."""
    why: str
    """Why the two differ."""
    source: str
    """Where the quoted figure is from."""


@dataclass(frozen=True)
class Counted:
    """What a comparison can read: our counts of a full-size policy."""

    parameters: Mapping[str, Parameters]
    """Of the `model`, its `backbone`, `head` and `residual`, and the backbone's parts."""
    flops: Flops
    """Floating-point operations."""
    chunk_length: int
    """Actions P of a chunk."""
    latency_ms: float | None = None
    """Median time of a query (ms); None if queries were not timed."""


def printed(paper: str, table: str, metric: str, **setting: str) -> Quoted:
    """The one figure of a paper's table with this setting."""
    [figure] = [
        figure
        for figure in quoted(paper=paper, table=table, metric=metric)
        if setting.items() <= figure.setting.items()
    ]
    return figure
