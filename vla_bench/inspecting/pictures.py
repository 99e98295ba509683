"""The diagnostics as files: a picture and its numbers for each item."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from vla_bench.errors import UserError
from vla_bench.inspecting.attention import Maps, attend, shares
from vla_bench.inspecting.attention_figure import attention_figure
from vla_bench.inspecting.candidates import fan_out
from vla_bench.inspecting.candidates_figure import candidates_figure
from vla_bench.inspecting.playing import Played
from vla_bench.inspecting.sensitivity import study
from vla_bench.inspecting.sensitivity_figure import sensitivity_figure
from vla_bench.records import EpisodeRecord
from vla_bench.replay import Stage
from vla_bench.reports.drawing import STYLE

DPI = 130
DIGITS = 6
EPISODES = 12
"""Episodes of a sensitivity study unless items are given, spread evenly over the run."""


@dataclass(frozen=True)
class Drawn:
    """What a command made."""

    files: Sequence[Path]
    differences: Sequence[str] = field(default_factory=list)
    """What went otherwise than recorded."""


def draw_attention(stage: Stage, items: Sequence[str], steps: Sequence[int], out: Path) -> Drawn:
    """A picture of where the policy looks for each item, the first one if none is named.

    Args:
        stage: The run.
        items: As in `Stage.find`.
        steps: As in `play_again`.
        out: Folder; a folder in it is named after the run.
    """
    cameras = stage.settings.inputs.images

    def draw(record: EpisodeRecord) -> Drawn:
        played = attend(stage, record, steps)
        numbers = {
            "shares": [dataclasses.asdict(share) for share in shares(played, cameras)],
            "steps": [_seen(played, number, cameras) for number in range(len(played.moments))],
        }
        files = _write(
            lambda: attention_figure(played, stage.policy.card.name, cameras),
            _head(stage, [record]) | numbers,
            _stem(stage, out, "attention", record),
        )
        return Drawn(files, played.differences)

    return _each(draw, _named(stage, items) or [_first(stage)])


def draw_candidates(stage: Stage, items: Sequence[str], steps: Sequence[int], out: Path) -> Drawn:
    """A picture of what the policy chose from for each item; arguments as for `draw_attention`."""
    cameras = stage.settings.inputs.images

    def draw(record: EpisodeRecord) -> Drawn:
        played, fans = fan_out(stage, record, steps)
        numbers = {
            "steps": [
                {
                    "step": fan.moment.look.step,
                    "scores": fan.moment.shown.scores.tolist(),
                    "chosen": fan.moment.shown.chosen,
                    "spread_m": fan.spread,
                    "paths_m": fan.paths.tolist(),
                }
                for fan in fans
            ]
        }
        files = _write(
            lambda: candidates_figure(played, fans, stage.policy.card.name, cameras),
            _head(stage, [record]) | numbers,
            _stem(stage, out, "candidates", record),
        )
        return Drawn(files, played.differences)

    return _each(draw, _named(stage, items) or [_first(stage)])


def draw_sensitivity(stage: Stage, items: Sequence[str], steps: Sequence[int], out: Path) -> Drawn:
    """One picture of what plans owe to the task's objects, over all items that are named.

    Args:
        stage: The run.
        items: As in `Stage.find`; none for `EPISODES` of the run.
        steps: As in `play_again`.
        out: Folder; a folder in it is named after the run.
    """
    records = _named(stage, items) or _spread(stage)
    found = study(stage, records, steps)
    numbers = {
        "plans": sum(map(len, found.trials)),
        "left_out": found.left_out,
        "layers": [dataclasses.asdict(layer) for layer in found.layers()],
    }
    policy, suite = stage.policy.card.name, stage.manifest.suite.name
    files = _write(
        lambda: sensitivity_figure(found, policy, suite, stage.settings.inputs.images),
        _head(stage, records) | numbers,
        _stem(stage, out, "sensitivity", records[0] if len(records) == 1 else None),
    )
    return Drawn(files, found.differences)


def _named(stage: Stage, items: Sequence[str]) -> list[EpisodeRecord]:
    return [stage.find(name) for name in items]


def _first(stage: Stage) -> EpisodeRecord:
    return _spread(stage)[0]


def _spread(stage: Stage) -> list[EpisodeRecord]:
    """Some of the episodes that were played, evenly over the run."""
    played = [record for record in stage.records if record.steps]
    if not played:
        raise UserError(f"{stage.folder.path} holds no episode yet; run it first")
    count = min(EPISODES, len(played))
    return [played[number * len(played) // count] for number in range(count)]


def _each(draw: Callable[[EpisodeRecord], Drawn], records: Sequence[EpisodeRecord]) -> Drawn:
    drawn = [draw(record) for record in records]
    return Drawn(
        [file for one in drawn for file in one.files],
        [line for one in drawn for line in one.differences],
    )


def _head(stage: Stage, records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """What all files of numbers begin with."""
    policy = stage.manifest.policy
    return {
        "run": stage.folder.path.name,
        "policy": policy.name,
        "weights": policy.options.get("weights_digest"),
        "suite": stage.manifest.suite.name,
        "items": {record.place: record.item for record in records},
    }


def _seen(played: Played[Maps], number: int, cameras: Sequence[str]) -> dict[str, Any]:
    """A step of an item: where gripper and anchor are in each image (px), and the maps."""
    moment = played.moments[number]
    step, views = moment.look.step, moment.look.viewpoints
    points = {"gripper_px": moment.look.gripper, "anchor_px": played.anchor(step)}
    places = {
        name: {
            camera: views[camera].project(point).tolist() for camera in cameras if camera in views
        }
        for name, point in points.items()
        if point is not None
    }
    return {"step": step, **places, "maps": {k: v.tolist() for k, v in moment.shown.items()}}


def _stem(stage: Stage, out: Path, what: str, record: EpisodeRecord | None) -> Path:
    name = f"{what}-{record.place.replace('/', '-').replace(':', '-')}" if record else what
    return out / stage.folder.path.resolve().name / name


def _write(figure: Callable[[], Figure], numbers: dict[str, Any], stem: Path) -> list[Path]:
    """Writes a figure as PNG and what it shows as JSON."""
    picture, text = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.json")
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with rc_context(STYLE):
            figure().savefig(picture, dpi=DPI)
        text.write_text(json.dumps(_rounded(numbers)) + "\n")
    except OSError as error:
        raise UserError(
            f"cannot write {picture} ({error.strerror}); give a writable folder with --out"
        ) from None
    return [picture, text]


def _rounded(value: Any) -> Any:  # noqa: ANN401  whatever JSON can say
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if value == value else None
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value
