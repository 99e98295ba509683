"""Plays one recorded item again and compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vla_bench.errors import UserError, nearest
from vla_bench.records import EpisodeRecord, RunFolder
from vla_bench.registry import make_policy, make_suite
from vla_bench.rollout import play
from vla_bench.settings import Settings
from vla_bench.video import Caption, Film


@dataclass(frozen=True)
class Replay:
    """What came of playing an item again."""

    record: EpisodeRecord
    video: Path
    differences: Sequence[str]
    """Fields that differ from the recorded ones, times aside."""


def replay_item(run_folder: Path, name: str, out: Path | None = None) -> Replay:
    """Plays a recorded item again under the run's own cards, and films it.

    Args:
        run_folder: The run.
        name: Digest of the item or its start, or `task/trial/index`, or with `/perturbation` after it.
        out: Video file; None for one in the run folder.

    Raises:
        UserError: There is no such record.
    """
    folder = RunFolder(run_folder)
    manifest = folder.manifest
    recorded = _find(folder.records(), name)
    suite = make_suite(manifest.suite)
    suite.prepare()
    item = next(item for item in folder.items() if item.digest == recorded.item)
    policy = make_policy(manifest.policy, manifest.suite, manifest.batch)
    env = suite.make_env(item.task, manifest.policy.inputs.images, "rgb_array")
    video = out or folder.video(item)
    settings = Settings.of(manifest)
    caption = Caption(item, manifest.policy.name, settings.limit(env))
    with Film(video, manifest.suite.control_hz, caption, _stop) as film:
        record = play(env, policy, item, settings, film.capture)
        film.keep(record)
    env.close()
    old, new = recorded.outcome(), record.outcome()
    differences = [
        f"{key}: recorded {old[key]}, now {new[key]}" for key in differing(recorded, record)
    ]
    return Replay(record, video, differences)


def _stop(line: str) -> None:
    raise UserError(line)


def differing(recorded: EpisodeRecord, now: EpisodeRecord) -> list[str]:
    """Fields in which a second record of an item differs from the first, times aside."""
    old, new = recorded.outcome(), now.outcome()
    # A record of an older version may lack fields.
    return [key for key in old if key in recorded.model_fields_set and old[key] != new[key]]


def _find(records: Sequence[EpisodeRecord], name: str) -> EpisodeRecord:
    places = {r.place: r for r in records}
    found = [r for r in records if r.item.startswith(name)] if "/" not in name else []
    if name in places:
        return places[name]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise UserError(f"{name} is the start of {len(found)} items; give more digits")
    raise UserError(f"no record of item {name!r}; {nearest(name, places)}")
