"""Numbers that papers print, read from `results/published/*.csv`: quoted, never measured here."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from vla_bench.cards import search_roots
from vla_bench.errors import UserError, nearest

FOLDER = "results/published"
"""Where the files are, below each folder that cards are searched in; one file for each paper."""
AVERAGE = "average"
"""The task of a figure that is a mean over tasks, or over suites."""
UNITS: Mapping[str, tuple[str, ...]] = {
    "success-rate": ("%",),
    "inference-rate": ("Hz",),
    "speed-up": ("x",),
    "parameters": ("K", "M", "B"),
    "flops-per-episode": ("TFLOPs",),
    "latency": ("ms",),
    "episode-length": ("steps",),
    "training-steps": ("k",),
    "gain": ("points",),
}
"""Metric -> the units that it may be printed in."""


class Quoted(BaseModel):
    """One figure of a paper: a row of its file, column by column."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    paper: str
    """Name of the paper's file."""
    source: str = Field(min_length=1)
    """The paper's short name and its arXiv number, with the version if known."""
    table: str = Field(min_length=1)
    """Table, figure or section of the paper."""
    method: str = Field(min_length=1)
    """Policy, as the paper names it."""
    suite: str = ""
    """Suite by our name where we have it; empty for what belongs to the model alone."""
    task: str = ""
    """Task by our name where we have it, or `average`."""
    setting: dict[str, str] = {}
    """What else tells a figure from the others of its table."""
    metric: str
    """What was measured."""
    unit: str
    """Unit of value and spread."""
    value: Decimal
    """The figure with the digits that the paper prints."""
    spread: Decimal | None = Field(None, ge=0)
    """Standard deviation over trials, if printed."""
    trials: int | None = Field(None, gt=0)
    """Trials that value and spread are over; None if unknown."""
    episodes: int | None = Field(None, gt=0)
    """Episodes behind the figure, of all trials and tasks; None if unknown."""
    mean_of: int | None = Field(None, gt=1)
    """How many tasks or suites an average is the mean of; None if unknown."""
    origin: Literal["paper", "digest"]
    """`digest`: from somebody's summary of the paper, a secondary source."""
    note: str = ""
    """What a reader has to know."""

    @field_validator("spread", "trials", "episodes", "mean_of", mode="before")
    @classmethod
    def _empty_is_unknown(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("setting", mode="before")
    @classmethod
    def _pairs(cls, text: object) -> object:
        if not isinstance(text, str):
            return text
        pairs = [part.partition("=") for part in text.split(";") if part.strip()]
        if not all(key.strip() and value.strip() for key, _, value in pairs):
            raise ValueError(f"expected `key=value; key=value`, found {text!r}")
        return {key.strip(): value.strip() for key, _, value in pairs}

    @model_validator(mode="after")
    def _sensible(self) -> Quoted:
        if self.metric not in UNITS:
            raise ValueError(f"no metric {self.metric!r}; {nearest(self.metric, UNITS)}")
        if self.unit not in UNITS[self.metric]:
            raise ValueError(f"{self.metric} is in {' or '.join(UNITS[self.metric])}")
        if self.metric == "success-rate" and not 0 <= self.value <= 100:
            raise ValueError(f"a success rate of {self.value} %")
        if self.mean_of is not None and self.task != AVERAGE:
            raise ValueError(f"mean_of is for task {AVERAGE!r} only")
        return self

    @property
    def number(self) -> float:
        """The value as a float, in its unit."""
        return float(self.value)

    @property
    def digits(self) -> int:
        """Decimals that the paper prints."""
        exponent = self.value.as_tuple().exponent
        return max(0, -exponent) if isinstance(exponent, int) else 0

    @property
    def citation(self) -> str:
        """Paper and table in words, and whether it was read there."""
        told = "; from a digest" if self.origin == "digest" else ""
        return f"{self.source}, {self.table}{told}"

    @property
    def place(self) -> tuple[object, ...]:
        """What no two figures may share."""
        setting = frozenset(self.setting.items())
        return (self.table, self.method, self.suite, self.task, setting, self.metric)


COLUMNS = tuple(name for name in Quoted.model_fields if name != "paper")
"""The columns of a file, in this order."""


def quoted(
    *,
    paper: str | None = None,
    table: str | None = None,
    method: str | None = None,
    suite: str | None = None,
    task: str | None = None,
    metric: str | None = None,
) -> Sequence[Quoted]:
    """Published figures in the order of their files; what is left out may be anything.

    Raises:
        UserError: A file is not as it should be.
    """
    asked = {
        "paper": paper,
        "table": table,
        "method": method,
        "suite": suite,
        "task": task,
        "metric": metric,
    }
    wanted = {name: value for name, value in asked.items() if value is not None}
    return [
        figure
        for path in find_papers().values()
        for figure in read_paper(path)
        if all(getattr(figure, name) == value for name, value in wanted.items())
    ]


def find_papers() -> Mapping[str, Path]:
    """The file of each paper, by name; found as cards are."""
    found: dict[str, Path] = {}
    for root in search_roots():
        for path in sorted((root / FOLDER).glob("*.csv")):
            found.setdefault(path.stem, path.resolve())
    return dict(sorted(found.items()))


@cache
def read_paper(path: Path) -> Sequence[Quoted]:
    """The figures of one file.

    Raises:
        UserError: It has other columns, a row that is not valid, or a figure twice.
    """
    figures: dict[tuple[object, ...], Quoted] = {}
    for line, fields in _rows(path):
        try:
            figure = Quoted.model_validate({"paper": path.stem, **fields})
        except ValidationError as error:
            problems = "; ".join(_explain(problem) for problem in error.errors())
            raise UserError(f"{path}, line {line}: {problems}") from None
        if figures.setdefault(figure.place, figure) is not figure:
            raise UserError(f"{path}, line {line}: the figure is in the file already")
    return tuple(figures.values())


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = tuple(next(reader, ()))
            if header != COLUMNS:
                raise UserError(f"{path}, line 1: expected the columns {','.join(COLUMNS)}")
            for cells in reader:
                if len(cells) != len(COLUMNS):
                    raise UserError(
                        f"{path}, line {reader.line_num}: {len(cells)} cells for "
                        f"{len(COLUMNS)} columns; a cell with a comma goes in quotes"
                    )
                yield reader.line_num, dict(zip(COLUMNS, map(str.strip, cells), strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{path}, line {reader.line_num + 1}: {error}") from None


def _explain(problem: ErrorDetails) -> str:
    column = ".".join(map(str, problem["loc"]))
    if problem["type"] == "value_error":
        text = str(problem["ctx"]["error"])
    else:
        text = f"{problem['msg']}, found {problem['input']!r}"
    return f"{column}: {text}" if column else text
