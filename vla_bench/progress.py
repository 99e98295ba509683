"""Shows how a run is getting on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vla_bench.items import CLEAN
from vla_bench.records import EpisodeRecord
from vla_bench.runs import OnRecord


@contextmanager
def shown(total: int, console: Console) -> Iterator[OnRecord]:
    """Yields a function to be called with every record.

    Args:
        total: Number of episodes of the run.
        console: Where to write.
    """
    if console.is_terminal:
        with _bar(console) as progress:
            yield _on_terminal(progress, total)
    else:
        yield _in_lines(total, console)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _on_terminal(progress: Progress, total: int) -> OnRecord:
    bar = progress.add_task("starting", total=total)
    counts = _Counts()

    def on_record(record: EpisodeRecord) -> None:
        counts.add(record)
        progress.update(bar, advance=1, description=f"{record.task}{_arm(record)}  {counts}")

    return on_record


def _in_lines(total: int, console: Console) -> OnRecord:
    counts = _Counts()

    def on_record(record: EpisodeRecord) -> None:
        counts.add(record)
        cause = f"  {record.error}" if record.error else ""
        console.print(
            f"{counts.total}/{total}  {record.task} {record.trial}/{record.index}{_arm(record)}  "
            f"{record.reason} after {record.steps} steps, {record.wall_s:.1f} s{cause}",
            highlight=False,
            soft_wrap=True,
        )

    return on_record


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
