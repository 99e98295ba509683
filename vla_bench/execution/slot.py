"""A place where one episode after the other is played, each up to its next plan."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Literal

from vla_bench.errors import UserError
from vla_bench.execution.work import Failure, Outcome
from vla_bench.items import WorkItem
from vla_bench.planning import Answer
from vla_bench.policies.base import Observation, Policy
from vla_bench.records import EpisodeRecord, RunFolder
from vla_bench.rollout import Rollout, rollout
from vla_bench.settings import Settings
from vla_bench.suites.base import Suite, SuiteEnv
from vla_bench.video import Caption, Film
from vla_bench.video.film import OnLost, warn

VideoChoice = Literal["failures", "all", "none"]


class Slot:
    """Plays items in an environment that it keeps from one item of a task to the next.

    Args:
        suite: Makes the environment.
        policy: The policy, for all but `plan`.
        settings: How items are played.
        folder: Where videos go.
        video: Which episodes to keep a video of.
        on_lost: Told of a video that could not be made.

    Attributes:
        observation: What the episode under way needs a plan for; None if there is no episode.
    """

    def __init__(
        self,
        suite: Suite,
        policy: Policy,
        settings: Settings,
        folder: RunFolder,
        video: VideoChoice,
        on_lost: OnLost = warn,
    ) -> None:
        self.suite = suite
        self.policy = policy
        self.settings = settings
        self.folder = folder
        self.video = video
        self.on_lost = on_lost
        self.observation: Observation | None = None
        self._task = ""
        self._env: SuiteEnv | None = None
        self._episode: Rollout | None = None

    def begin(self, item: WorkItem) -> Outcome | None:
        """Starts an item; returns what came of it if it has ended, None if it needs a plan."""
        self._item = item
        return self._advance(self._start)

    def go_on(self, answer: Answer) -> Outcome | None:
        """Plays on with a plan; returns what came of the episode if it has ended, None if not."""
        assert self._episode is not None
        return self._advance(partial(self._episode.send, answer))

    def close(self) -> None:
        """Breaks off the episode under way, if there is one, and frees the environment."""
        episode, env = self._episode, self._env
        self.observation = self._episode = self._env = None
        if episode is not None:
            episode.close()
        if env is not None:
            env.close()

    def _advance(self, resume: Callable[[], Observation]) -> Outcome | None:
        self.observation = None
        try:
            self.observation = resume()
        except StopIteration as end:
            record: EpisodeRecord = end.value
            return record
        except UserError:
            raise
        except Exception as error:
            # A simulator that fell over may not close either.
            with suppress(Exception):
                self.close()
            return Failure(self._item, f"{type(error).__name__}: {error}")
        return None

    def _start(self) -> Observation:
        if self._task != self._item.task:
            self.close()
        if self._env is None:
            self._task = self._item.task
            render_mode = None if self.video == "none" else "rgb_array"
            cameras = self.settings.inputs.images
            self._env = self.suite.make_env(self._task, cameras, render_mode)
        play = rollout if self.video == "none" else self._filmed
        self._episode = play(self._env, self.policy, self._item, self.settings)
        return next(self._episode)

    def _filmed(self, env: SuiteEnv, policy: Policy, item: WorkItem, settings: Settings) -> Rollout:
        caption = Caption(item, policy.card.name, settings.limit(env))
        path, fps = self.folder.video(item), self.suite.card.control_hz
        with Film(path, fps, caption, self.on_lost) as film:
            record = yield from rollout(env, policy, item, settings, film.capture)
            if self.video == "all" or not record.success:
                film.keep(record)
        return record
