"""Films of two runs on the same item, beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from vla_bench.errors import UserError
from vla_bench.replay import replay_item
from vla_bench.reports.compare.comparison import Comparison
from vla_bench.reports.compare.splits import Split, spread
from vla_bench.reports.measured import MeasuredRun
from vla_bench.video import side_by_side

FOLDER = "films"


@dataclass(frozen=True)
class Shown:
    """An item that was to be shown."""

    split: Split
    film: str
    """The film, relative to the page; empty if there is none."""
    remarks: Sequence[str]
    """Why there is none, or in what an episode that was played again is not the recorded one."""

    def __str__(self) -> str:
        return "; ".join([self.film or self.split.place, *self.remarks])


def film(comparison: Comparison, count: int, out: Path) -> Iterator[Shown]:
    """Shows some items that just one run solves: with the runs' own films, or by playing them again.

    Playing takes its time: each is yielded when it is there.

    Args:
        comparison: The comparison.
        count: How many items.
        out: Folder of the page; the films go into a folder in it.
    """
    for split in spread(comparison.splits, count):
        yield _shown(comparison, split, out)


def _shown(comparison: Comparison, split: Split, out: Path) -> Shown:
    name = f"{FOLDER}/{split.place.replace('/', '_')}_{split.item}.mp4"
    remarks: list[str] = []
    try:
        with TemporaryDirectory() as kept:
            films = [
                _film(run, label, split, Path(kept) / f"{number}.mp4", remarks)
                for number, (run, label) in enumerate(
                    zip(comparison.runs, comparison.names, strict=True)
                )
            ]
            side_by_side(films, out / name)
    except UserError as error:
        return Shown(split, "", [*remarks, f"no film: {error}"])
    return Shown(split, name, remarks)


def _film(run: MeasuredRun, label: str, split: Split, new: Path, remarks: list[str]) -> Path:
    """The run's film of an item, or a new one."""
    if (old := run.video(split.item)) is not None:
        return old
    replay = replay_item(run.path, split.item, new)
    if replay.differences:
        remarks.append(
            f"{label} did not play as recorded when played again: {'; '.join(replay.differences)}"
        )
    return replay.video
