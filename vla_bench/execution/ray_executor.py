"""Runs rollouts on Ray: workers that simulate, and policy servers if the policy's card asks for them."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray

from vla_bench.errors import UserError
from vla_bench.execution.cluster import check_room, cluster, options
from vla_bench.execution.crew import Member, WorkerLost
from vla_bench.execution.inline import Stopping, never
from vla_bench.execution.parallel import OnStatus, Parallel
from vla_bench.execution.servers import PolicyServers
from vla_bench.execution.slot import VideoChoice
from vla_bench.execution.work import Failure, WorkQueue
from vla_bench.execution.worker import SIGNS, Orders, Report, Worker
from vla_bench.items import WorkItem
from vla_bench.records import EpisodeRecord, RunFolder, RunManifest
from vla_bench.video.film import warn

ROUND_S = 0.5
"""The driver looks after late workers at least this often."""
STATUS_S = 5.0
"""Between two reports of how the run is getting on."""
FALSE_STARTS = 5
"""So many workers in a row may die while they get ready before the run is given up."""


class RayExecutor:
    """Plays items on workers, each of which keeps the environments of its task.

    Args:
        manifest: What the run is a run of.
        parallel: How it is spread.
        folder: Where videos go.
        video: Which episodes to keep a video of.
        stopping: Asked before each item.
        on_status: Told how the run is getting on.
    """

    def __init__(
        self,
        manifest: RunManifest,
        parallel: Parallel,
        folder: RunFolder,
        video: VideoChoice = "none",
        stopping: Stopping = never,
        on_status: OnStatus | None = None,
    ) -> None:
        self.manifest = manifest
        self.parallel = parallel
        self.folder = folder
        self.stopping = stopping
        self.on_status = on_status
        self.orders = Orders(manifest, video, parallel.step_timeout_s, str(Path.cwd()))
        self.crew: list[Member] = []
        self._false_starts = 0
        self._told = time.monotonic()

    def run(self, items: Iterable[WorkItem]) -> Generator[EpisodeRecord]:
        """Yields one record per item, as soon as it is there.

        Raises:
            UserError: There is no cluster, or no room on it, or something on a node has to be mended.
        """
        queue = WorkQueue(items, self.manifest.policy.name, self.manifest.horizon)
        workers = min(self.parallel.workers, len(queue))
        policy, worker = self.manifest.policy.resources, self.orders.needs
        cpus = workers * worker.cpus + policy.replicas * policy.cpus
        with cluster(self.parallel.address, cpus):
            check_room([("worker", worker), *[("policy server", policy)] * policy.replicas])
            self.servers = PolicyServers(self.orders, workers)
            self.crew = [self._hire(place) for place in range(workers)]
            try:
                yield from self._play(queue)
            finally:
                for member in self.crew:
                    member.dismiss()

    def _hire(self, place: int) -> Member:
        # Ray's annotations do not know of concurrency groups.
        remote: Any = ray.remote
        worker = remote(concurrency_groups={SIGNS: 1}, **options(self.orders.needs))(Worker)
        actor = worker.remote(self.orders, self.servers.at(place))
        return Member(actor, self.parallel.step_timeout_s)

    def _play(self, queue: WorkQueue) -> Iterator[EpisodeRecord]:
        while True:
            for member in self.crew:
                if member.waits:
                    self._send_on(member, queue)
            playing = any(member.items for member in self.crew)
            if not playing and (self.stopping() or not queue):
                return
            for place in self._finished():
                yield from self._settle(place, queue)
            for place in range(len(self.crew)):
                yield from self._watch(place, queue)
            self._tell()

    def _send_on(self, member: Member, queue: WorkQueue) -> None:
        items = [] if self.stopping() else self._items_for(member, queue)
        if items or member.items:
            member.send(items)

    def _items_for(self, member: Member, queue: WorkQueue) -> Sequence[WorkItem]:
        """What a worker begins next: items of its task as long as there are any."""
        if not member.items and not queue.left(member.task):
            member.task = queue.choose_task([m.task for m in self.crew if m is not member])
        items: list[WorkItem] = []
        playing = list(member.items.values())
        while len(playing) < self.orders.environments and not any(map(queue.suspect, playing)):
            item = queue.take(member.task, member, alone=not playing)
            if item is None:
                break
            items.append(item)
            playing.append(item)
        return items

    def _finished(self) -> Sequence[int]:
        """Places of the workers that have come back, after a moment at most."""
        calls = {m.call: place for place, m in enumerate(self.crew) if m.call is not None}
        if not ray.wait(list(calls), timeout=ROUND_S)[0]:
            return []
        finished, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        return [calls[call] for call in finished]

    def _settle(self, place: int, queue: WorkQueue) -> Iterator[EpisodeRecord]:
        member = self.crew[place]
        try:
            report = member.take()
        except WorkerLost as lost:
            yield from self._replace(place, str(lost), queue)
            return
        self._false_starts = 0
        self._keep_films(report)
        for outcome in report.outcomes:
            record = queue.settle(outcome, member)
            if record is not None:
                yield record

    def _keep_films(self, report: Report) -> None:
        """Before the records: an episode that is recorded is not filmed again."""
        for name, film in report.films.items():
            try:
                self.folder.add_video(name, film)
            except OSError as error:
                warn(f"no film {name}: {error.strerror}")
        for line in report.lost:
            warn(line)

    def _watch(self, place: int, queue: WorkQueue) -> Iterator[EpisodeRecord]:
        try:
            self.crew[place].watch()
        except WorkerLost as lost:
            self.crew[place].kill()
            yield from self._replace(place, str(lost), queue)

    def _replace(self, place: int, cause: str, queue: WorkQueue) -> Iterator[EpisodeRecord]:
        """Puts a new worker in a place, and gives back what the old one was playing."""
        lost = self.crew[place]
        if lost.seat is None:
            self._false_starts += 1
            if self._false_starts == FALSE_STARTS:
                raise UserError(
                    f"{FALSE_STARTS} workers died while they got ready: {cause}; on a cluster, make sure "
                    f"that $RAY_AUTH_MODE is the same here as on its nodes (docs/cluster.md)"
                )
        self.crew[place] = self._hire(place)
        for item in lost.items.values():
            record = queue.settle(Failure(item, cause), lost)
            if record is not None:
                yield record

    def _tell(self) -> None:
        if self.on_status is None or time.monotonic() < self._told + STATUS_S:
            return
        self._told = time.monotonic()
        ready = sum(member.seat is not None for member in self.crew)
        parts = [f"{ready} of {len(self.crew)} workers", self.servers.status()]
        self.on_status(", ".join(part for part in parts if part))
