"""Runs rollouts in waves: as many episodes at a time as one environment has lanes, in lock step."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from vla_bench.errors import UserError
from vla_bench.execution.inline import InlineExecutor, Stopping, never
from vla_bench.execution.slot import VideoChoice
from vla_bench.execution.work import ATTEMPTS
from vla_bench.items import WorkItem
from vla_bench.planning import plan_chunks
from vla_bench.policies.base import Observation, Policy
from vla_bench.records import EpisodeRecord, RunFolder
from vla_bench.requests import Action, Lockstep, Reply, Request, played_steps
from vla_bench.rollout import lockstep
from vla_bench.settings import Settings
from vla_bench.suites.base import RawObservation, Suite
from vla_bench.suites.wave import LaneEnv, WaveEnv


def executor_of(suite: Suite) -> type[InlineExecutor] | type[WaveExecutor]:
    """The executor for a suite's items in this process."""
    return WaveExecutor if suite.in_waves else InlineExecutor


class WaveExecutor:
    """Plays items in the order given, `batch` items of one task at a time, each in a lane of its own.

    A wave lasts as long as its longest episode; a lane whose episode has ended gets actions of zeros. A
    wave that the simulator fails is cut in two, each half with a new environment; an item that fails by
    itself is begun again up to three times, then recorded as `harness_error`.

    Args:
        suite: Makes the environments.
        policy: Plays every item.
        settings: How items are played.
        folder: Not used: waves are not filmed.
        video: Must be `none`.
        batch: Lanes.
        stopping: Asked before each wave.

    Raises:
        UserError: Films are asked for.
    """

    def __init__(
        self,
        suite: Suite,
        policy: Policy,
        settings: Settings,
        folder: RunFolder,
        video: VideoChoice = "none",
        batch: int = 1,
        stopping: Stopping = never,
    ) -> None:
        if video != "none":
            raise UserError(
                f"--video {video}: episodes of {suite.card.name} are played in waves, which are not "
                f"filmed; leave --video out, then film one with `vla-bench replay`"
            )
        self.suite = suite
        self.policy = policy
        self.settings = settings
        self.batch = batch
        self.stopping = stopping
        self._env: WaveEnv | None = None

    def run(self, items: Iterable[WorkItem]) -> Generator[EpisodeRecord]:
        """Yields one record per item, as soon as it is there."""
        for _, of_task in groupby(items, key=attrgetter("task")):
            waiting = list(of_task)
            try:
                for start in range(0, len(waiting), self.batch):
                    if self.stopping():
                        return
                    yield from self._attempt(waiting[start : start + self.batch])
            finally:
                self._close()

    def _attempt(self, items: Sequence[WorkItem], failures: int = 0) -> Iterator[EpisodeRecord]:
        left = {item.digest: item for item in items}
        cause = None
        try:
            for record in self._wave(items):
                del left[record.item]
                yield record
        except UserError:
            raise
        except Exception as error:
            cause = f"{type(error).__name__}: {error}"
        if cause is not None:
            # A simulator that fell over may not close either.
            with suppress(Exception):
                self._close()
            self._env = None
            yield from self._again(list(left.values()), failures + 1, cause)

    def _again(
        self, items: Sequence[WorkItem], failures: int, cause: str
    ) -> Iterator[EpisodeRecord]:
        """Plays what a wave left when it failed."""
        if len(items) > 1:
            half = len(items) // 2
            yield from self._attempt(items[:half])
            yield from self._attempt(items[half:])
        elif failures < ATTEMPTS:
            yield from self._attempt(items, failures)
        else:
            horizon = self.settings.horizon
            for item in items:
                yield EpisodeRecord.failed(item, self.policy.card.name, horizon, cause)

    def _wave(self, items: Sequence[WorkItem]) -> Iterator[EpisodeRecord]:
        """Plays all lanes up to where each asks for something, answers, and so on."""
        if self._env is None:
            self._env = self.suite.make_wave(items[0].task, self.settings.inputs.images)
        wave = _Wave(self._env, items)
        live: dict[int, Lockstep] = {
            number: lockstep(_Lane(wave, number), self.policy, item, self.settings)
            for number, item in enumerate(items)
        }
        requests: dict[int, Request] = {}
        replies: Mapping[int, Reply | None] = dict.fromkeys(live)
        while True:
            for number, reply in replies.items():
                try:
                    requests[number] = _resume(live[number], reply)
                except StopIteration as end:
                    del live[number]
                    requests.pop(number, None)
                    record: EpisodeRecord = end.value
                    yield record
            if not live:
                return
            replies = self._answers(wave, requests)

    def _answers(self, wave: _Wave, requests: Mapping[int, Request]) -> Mapping[int, Reply]:
        """Plans for all lanes that wait for a plan; if none does, plays a control step of all."""
        due = {n: asked for n, asked in requests.items() if isinstance(asked, Observation)}
        if due:
            return dict(zip(due, plan_chunks(self.policy, list(due.values())), strict=True))
        actions = {n: asked for n, asked in requests.items() if not isinstance(asked, Observation)}
        steps = played_steps(lambda _: wave.advance(actions), list(actions.values()))
        return dict(zip(actions, steps, strict=True))

    def _close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None


def _resume(episode: Lockstep, reply: Reply | None) -> Request:
    return next(episode) if reply is None else episode.send(reply)


class _Wave:
    """A wave under way: begun when its first lane begins, observed at most once a step.

    What that costs is booked on the lane that comes first.
    """

    def __init__(self, env: WaveEnv, items: Sequence[WorkItem]) -> None:
        self.env = env
        self.items = items
        self._begun = False
        self._seen: dict[bool, Sequence[RawObservation]] = {}

    def begin(self) -> None:
        if not self._begun:
            self.env.begin(self.items)
            self._begun = True

    def advance(self, actions: Mapping[int, Action]) -> list[bool]:
        """One control step; returns whether the success conditions hold, for the lanes that act."""
        self._seen = {}
        size = next(iter(actions.values())).shape
        rows = [actions.get(n, np.zeros(size, np.float32)) for n in range(len(self.items))]
        successes = self.env.advance(np.stack(rows))
        return [bool(successes[n]) for n in actions]

    def observe(self, images: bool) -> Sequence[RawObservation]:
        if images not in self._seen:
            self._seen[images] = self.env.observe(images)
        return self._seen[images]


class _Lane(LaneEnv):
    """A lane whose wave is begun, observed and advanced for all lanes at once."""

    def __init__(self, shared: _Wave, lane: int) -> None:
        super().__init__(shared.env, lane)
        self.shared = shared

    def begin(self, item: WorkItem) -> None:
        """Begins the wave, unless another lane has."""
        self.shared.begin()

    def advance(self, action: NDArray[np.float32]) -> bool:
        """Nothing that a lane can do by itself."""
        raise NotImplementedError

    def observe(self, images: bool = True) -> RawObservation:
        """The lane's part of what is seen of all."""
        return self.shared.observe(images)[self.lane]
