"""Shows how a run is getting on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vla_bench.items import CLEAN
from vla_bench.records import EpisodeRecord

ON_CTRL_C = "finishing the episodes under way; Ctrl-C again stops at once"
STATUS_EVERY_S = 30.0
"""Between two lines that say how the workers are getting on."""


class Shown(ABC):
    """What is told how a run is getting on."""

    def __init__(self) -> None:
        self.counts = _Counts()

    def on_record(self, record: EpisodeRecord) -> None:
        """Counts and shows one record."""
        self.counts.add(record)
        self.show(record)

    @abstractmethod
    def show(self, record: EpisodeRecord) -> None:
        """Shows one record."""

    @abstractmethod
    def on_status(self, status: str) -> None:
        """Shows how workers and policy servers are getting on."""

    @abstractmethod
    def on_interrupt(self) -> None:
        """Says what the first Ctrl-C does."""


@contextmanager
def shown(total: int, console: Console) -> Iterator[Shown]:
    """Yields what is to be told of every record.

    Args:
        total: Number of episodes of the run.
        console: Where to write.
    """
    if console.is_terminal:
        with _bar(console) as progress:
            yield _Bar(progress, total)
    else:
        yield _Lines(total, console)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"),
        console=console,
    )


class _Bar(Shown):
    def __init__(self, progress: Progress, total: int) -> None:
        super().__init__()
        self.progress = progress
        self.bar = progress.add_task("starting", total=total, status="")

    def show(self, record: EpisodeRecord) -> None:
        description = f"{record.task}{_arm(record)}  {self.counts}"
        self.progress.update(self.bar, advance=1, description=description)

    def on_status(self, status: str) -> None:
        self.progress.update(self.bar, status=status)

    def on_interrupt(self) -> None:
        self.progress.update(self.bar, status=ON_CTRL_C)


class _Lines(Shown):
    def __init__(self, total: int, console: Console) -> None:
        super().__init__()
        self.total = total
        self.console = console
        self.told = 0.0

    def show(self, record: EpisodeRecord) -> None:
        cause = f"  {record.error}" if record.error else ""
        place = f"{record.task} {record.trial}/{record.index}{_arm(record)}"
        self._print(
            f"{self.counts.total}/{self.total}  {place}  "
            f"{record.reason} after {record.steps} steps, {record.wall_s:.1f} s{cause}"
        )

    def on_status(self, status: str) -> None:
        if time.monotonic() > self.told + STATUS_EVERY_S:
            self.told = time.monotonic()
            self._print(status)

    def on_interrupt(self) -> None:
        self._print(ON_CTRL_C)

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)


def _arm(record: EpisodeRecord) -> str:
    return "" if record.perturbation == CLEAN else f" {record.perturbation}"


class _Counts:
    """Counts all episodes, and successes among the clean ones."""

    def __init__(self) -> None:
        self.total = self.clean = self.successes = 0

    def add(self, record: EpisodeRecord) -> None:
        self.total += 1
        if record.perturbation == CLEAN:
            self.clean += 1
            self.successes += record.success

    def __str__(self) -> str:
        kind = "" if self.clean == self.total else "clean ones "
        return f"{self.successes}/{self.clean} {kind}succeeded"
