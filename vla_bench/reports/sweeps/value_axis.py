"""The horizontal axis of a sweep's figure: numbers, numbers over a wide range, or names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from vla_bench.sweeps.card import Value, written

WIDE = 8
"""Positive numbers whose ratio is at least this are drawn on a logarithmic axis."""
LABEL = 0.06
"""Room for a number under the axis, as a fraction of it."""
LETTERS = 40
"""Letters of all names that fit under the axis side by side; more stand aslant."""
ASIDE = 0.05
"""Room for all arms at one value, as a fraction of the axis."""
BEYOND = 0.07
"""Where references are, right of the last value, as a fraction of the axis."""


@dataclass(frozen=True)
class ValueAxis:
    """Where values are. Arms stand a little aside of each other, so that no interval hides another."""

    values: Sequence[Value]
    """In order."""
    kind: Literal["log", "linear", "names"]

    @classmethod
    def of(cls, found: Sequence[Value | None]) -> Self:
        """The axis for the values of some points, references among them."""
        values = list(dict.fromkeys(value for value in found if value is not None))
        numbers = sorted(
            v for v in values if isinstance(v, int | float) and not isinstance(v, bool)
        )
        if len(numbers) < len(values):
            return cls(values, "names")
        return cls(numbers, "log" if 0 < numbers[0] <= numbers[-1] / WIDE else "linear")

    def place(self, value: Value | None, nth: int, arms: int) -> float:
        """Horizontal position.

        Args:
            value: The value; None for a reference.
            nth: The arm, from 0.
            arms: How many there are.
        """
        aside = ASIDE * (nth - (arms - 1) / 2) / arms
        if value is None:
            return self._at(self.values[-1], BEYOND + aside)
        return self._at(value, aside)

    def _at(self, value: Value, fraction: float) -> float:
        """A place right of a value by a fraction of the axis."""
        if self.kind == "names":
            return self.values.index(value) + fraction * max(len(self.values), 2)
        first, last, number = float(self.values[0]), float(self.values[-1]), float(value)
        if self.kind == "log":
            return number * float((last / first) ** fraction)
        return number + fraction * ((last - first) or 1.0)

    def label(self, ax: Axes, name: str) -> None:
        """Ticks at the values, and the option's name below."""
        ax.set_xlabel(name)
        places = range(len(self.values)) if self.kind == "names" else map(float, self.values)
        if self.kind == "log":
            ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(list(places)))
        ax.xaxis.set_minor_locator(NullLocator())
        labels = self._labels()
        if self.kind == "names" and len(" ".join(labels)) > LETTERS:
            ax.set_xticklabels(labels, rotation=30, ha="right", rotation_mode="anchor")
        else:
            ax.set_xticklabels(labels)

    def _labels(self) -> list[str]:
        """The values in words; empty where one would stand on the one before it."""
        if self.kind == "names":
            return [written(value) for value in self.values]
        scale = math.log if self.kind == "log" else float
        places = [scale(float(value)) for value in self.values]
        room, labels, last = LABEL * (places[-1] - places[0]), [], -math.inf
        for value, place in zip(self.values, places, strict=True):
            shown = place - last >= room
            labels.append(written(value) if shown else "")
            last = place if shown else last
        return labels
