"""A Ray worker: one process that plays the items it is handed."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.actor import ActorHandle

from vla_bench.cards import Resources
from vla_bench.clock import Clock
from vla_bench.execution.crash import Seat, leave_word
from vla_bench.execution.node import enter, prepare, same_versions
from vla_bench.execution.player import LocalPlanner, Planner, Player
from vla_bench.execution.served import Line, ServedPolicy, ServerPlanner
from vla_bench.execution.server import PolicyServer
from vla_bench.execution.slot import Slot, VideoChoice
from vla_bench.execution.work import Outcome
from vla_bench.items import WorkItem
from vla_bench.policies.base import Policy
from vla_bench.records import RunFolder, RunManifest
from vla_bench.registry import make_policy, make_suite
from vla_bench.settings import Settings

SIGNS = "signs"
"""Name of the thread that answers while the other one works."""
TURN_S = 1.0
"""A worker comes back to the driver after this time at the latest, to be sent on."""


@dataclass(frozen=True)
class Orders:
    """What every worker of a run has to know."""

    manifest: RunManifest
    """What the run is a run of."""
    video: VideoChoice
    """Which episodes to keep a video of."""
    step_timeout_s: float
    """Longest time that one call of the simulator or the policy may take (s)."""
    working_directory: str
    """Where the run was started; paths on cards and command lines start there."""

    @property
    def served(self) -> bool:
        """Whether policy servers plan for all workers."""
        return self.manifest.policy.resources.replicas > 0

    @property
    def needs(self) -> Resources:
        """What one worker needs: a policy of its own comes on top of the simulator."""
        suite, policy = self.manifest.suite.resources, self.manifest.policy.resources
        if self.served:
            return suite
        return Resources(
            cpus=max(suite.cpus, policy.cpus),
            gpus=suite.gpus + policy.gpus,
            memory_gb=suite.memory_gb + policy.memory_gb,
            node=suite.node,
        )

    @property
    def environments(self) -> int:
        """Environments of one worker: those planned together, or those that wait in turn for a server."""
        if self.served:
            return self.manifest.suite.resources.environments
        return self.manifest.batch


@dataclass(frozen=True)
class Report:
    """What a worker brings back from a turn."""

    outcomes: Sequence[Outcome]
    """What came of the episodes that ended."""
    films: Mapping[str, bytes]
    """File name -> video, of these episodes."""
    lost: Sequence[str]
    """What is to be said of videos that could not be made."""


@dataclass(frozen=True)
class Sign:
    """Whether a worker is getting on."""

    beats: int
    """Stands still while one call of the simulator or the policy lasts."""
    place: str
    """Where it is: the innermost functions, outermost first."""


class Worker:
    """Plays items until one has ended, again and again; the driver says which.

    Args:
        orders: What the run is.
        server: The policy server that plans for this worker; None for a policy of its own.
    """

    def __init__(self, orders: Orders, server: ActorHandle[PolicyServer] | None) -> None:
        self.orders = orders
        self.server = server

    def prepare(self) -> Seat:
        """Makes suite and policy. Everything is done in the thread that plays: renderers are bound to it.

        Raises:
            UserError: This node lacks something, or has other versions than the driver.
        """
        self.thread = threading.get_ident()
        self.crash_note = leave_word()
        manifest = self.orders.manifest
        enter(self.orders.working_directory)
        same_versions(manifest)
        suite = make_suite(manifest.suite)
        prepare(suite)
        policy, planner = self._policy()
        self.scratch = tempfile.TemporaryDirectory(prefix="vla-bench-")
        self.folder = RunFolder(Path(self.scratch.name))
        settings = Settings.of(manifest)
        self.lost: list[str] = []
        slots = [
            Slot(suite, policy, settings, self.folder, self.orders.video, self.lost.append)
            for _ in range(self.orders.environments)
        ]
        self.player = Player(slots, planner)
        return Seat.here()

    def work(self, items: Sequence[WorkItem]) -> Report:
        """Begins items and plays until an episode ends, or for about `TURN_S` seconds.

        Args:
            items: No more than there are free slots.
        """
        until = time.monotonic() + TURN_S
        begun = [self.player.begin(item) for item in items]
        outcomes = [outcome for outcome in begun if outcome is not None]
        while not outcomes and self.player.busy and time.monotonic() < until:
            outcomes = self.player.advance()
        lost = list(self.lost)
        self.lost.clear()
        return Report(outcomes, self._films(), lost)

    @ray.method(concurrency_group=SIGNS)
    def sign(self) -> Sign:
        """Called from another thread while this one works."""
        frame = sys._current_frames()[self.thread]
        innermost = traceback.extract_stack(frame)[-3:]
        names = [f"{f.name} ({Path(f.filename).name}:{f.lineno})" for f in innermost]
        return Sign(Clock.beats, " > ".join(names))

    def _policy(self) -> tuple[Policy, Planner]:
        manifest = self.orders.manifest
        if self.server is None:
            policy = make_policy(manifest.policy, manifest.suite, manifest.batch)
            return policy, LocalPlanner(policy)
        line = Line(self.server, self.orders.step_timeout_s)
        return ServedPolicy(manifest, line), ServerPlanner(line)

    def _films(self) -> dict[str, bytes]:
        """Takes the videos of episodes that have ended; one that is still written has another name."""
        films = {}
        for path in self.folder.videos.glob("[!.]*.mp4"):
            films[path.name] = path.read_bytes()
            path.unlink()
        return films
