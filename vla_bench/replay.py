"""Plays one recorded item again and compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vla_bench.errors import UserError, nearest
from vla_bench.items import WorkItem
from vla_bench.policies.base import Policy
from vla_bench.records import EpisodeRecord, RunFolder
from vla_bench.registry import make_policy, make_suite
from vla_bench.rollout import play
from vla_bench.settings import Settings
from vla_bench.suites.base import Suite, SuiteEnv
from vla_bench.video import Caption, Film


@dataclass(frozen=True)
class Replay:
    """What came of playing an item again."""

    record: EpisodeRecord
    video: Path
    differences: Sequence[str]
    """Fields that differ from the recorded ones, times aside."""


class Stage:
    """A run's suite, policy and settings, set up as they were when they are asked for.

    Args:
        run_folder: The run.

    Raises:
        UserError: There is no such run.
    """

    def __init__(self, run_folder: Path) -> None:
        self.folder = RunFolder(run_folder)
        self.manifest = self.folder.manifest
        self.records = self.folder.records()
        self._items = {item.digest: item for item in self.folder.items()}
        self.settings = Settings.of(self.manifest)

    @cached_property
    def suite(self) -> Suite:
        """The suite.

        Raises:
            UserError: It cannot be played here.
        """
        suite = make_suite(self.manifest.suite)
        suite.prepare()
        return suite

    @cached_property
    def policy(self) -> Policy:
        """The policy.

        Raises:
            UserError: Its weights are not here.
        """
        return make_policy(self.manifest.policy, self.manifest.suite, self.manifest.batch)

    def find(self, name: str) -> EpisodeRecord:
        """The record of an item.

        Args:
            name: Digest of the item or its start, or `task/trial/index[/perturbation]`.

        Raises:
            UserError: There is none, or there are several.
        """
        return _find(self.records, name)

    def item(self, record: EpisodeRecord) -> WorkItem:
        """The item that a record is of."""
        return self._items[record.item]

    def env(self, task: str, render_mode: str | None = None) -> SuiteEnv:
        """An environment of a task with the cameras that the policy reads."""
        return self.suite.make_env(task, self.manifest.policy.inputs.images, render_mode)


def replay_item(run_folder: Path, name: str, out: Path | None = None) -> Replay:
    """Plays a recorded item again under the run's own cards, and films it.

    Args:
        run_folder: The run.
        name: As in `Stage.find`.
        out: Video file; None for one in the run folder.

    Raises:
        UserError: There is no such record.
    """
    stage = Stage(run_folder)
    recorded = stage.find(name)
    item, settings = stage.item(recorded), stage.settings
    env = stage.env(item.task, "rgb_array")
    video = out or stage.folder.video(item)
    caption = Caption(item, stage.manifest.policy.name, settings.limit(env))
    with Film(video, stage.manifest.suite.control_hz, caption, _stop) as film:
        record = play(env, stage.policy, item, settings, film.capture)
        film.keep(record)
    env.close()
    return Replay(record, video, differences(recorded, record))


def _stop(line: str) -> None:
    raise UserError(line)


def differences(recorded: EpisodeRecord, now: EpisodeRecord) -> list[str]:
    """What a second record of an item says otherwise than the first, a line for each field."""
    old, new = recorded.outcome(), now.outcome()
    return [f"{key}: recorded {old[key]}, now {new[key]}" for key in differing(recorded, now)]


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
