"""The driver's side of a Ray worker: what it is doing, whether it is late, why it has died."""

from __future__ import annotations

import time
from collections.abc import Sequence

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from vla_bench.errors import UserError
from vla_bench.execution.crash import Seat, crash_report
from vla_bench.execution.worker import TURN_S, Report, Sign, Worker
from vla_bench.items import WorkItem

ANSWER_S = 10.0
"""A worker that does not even say where it is for this long has hung in native code (s)."""


class WorkerLost(Exception):
    """A worker is gone; says why in one line."""


class Member:
    """One worker, as the driver sees it.

    Args:
        actor: The worker, which is getting ready from now on.
        timeout_s: Longest time that one call of the simulator or the policy may take (s).

    Attributes:
        call: What it is doing: getting ready, or a turn of work; None if it waits for work.
        seat: Where it runs; None until it is ready.
        task: The task that its environments are of; None before the first.
        items: What it is playing, by digest.
    """

    def __init__(self, actor: ActorHandle[Worker], timeout_s: float) -> None:
        self.actor = actor
        self.timeout_s = timeout_s
        self.call: ObjectRef[Seat] | ObjectRef[Report] | None = actor.prepare.remote()
        self.seat: Seat | None = None
        self.task: str | None = None
        self.items: dict[str, WorkItem] = {}
        self._asked: ObjectRef[Sign] | None = None
        self._beats: int | None = None
        self._due: float = float("inf")

    @property
    def waits(self) -> bool:
        """Whether it is ready and has nothing to do until it is sent on."""
        return self.seat is not None and self.call is None

    def send(self, items: Sequence[WorkItem]) -> None:
        """Sends it on for another turn, which is a lease: it comes back soon, or gives a sign."""
        self.items |= {item.digest: item for item in items}
        self.call = self.actor.work.remote(items)
        self._asked, self._beats = None, None
        self._due = time.monotonic() + 2 * TURN_S

    def take(self) -> Report:
        """What its finished call brought; nothing when it has got ready.

        Raises:
            WorkerLost: The process is gone.
            UserError: Something on its node is for the user to mend.
        """
        call, self.call, self._due = self.call, None, float("inf")
        assert call is not None
        try:
            brought = ray.get(call)
        except RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise
        except RayError as error:
            raise WorkerLost(self._why(error)) from None
        if isinstance(brought, Seat):
            self.seat = brought
            return Report([], {}, [])
        for outcome in brought.outcomes:
            del self.items[outcome.digest]
        return brought

    def watch(self) -> None:
        """Asks a worker that does not come back for a sign, and again after the timeout.

        Raises:
            WorkerLost: It has not got on between the two, or gives no sign.
        """
        now = time.monotonic()
        if now < self._due:
            return
        asked = self._asked = self._asked or self.actor.sign.remote()
        if ray.wait([asked], timeout=0)[0]:
            self._judge(asked)
        elif now > self._due + self.timeout_s + ANSWER_S:
            raise WorkerLost(f"hung: no sign of life for {self.timeout_s:g} s")

    def kill(self) -> None:
        """Ends the process at once."""
        ray.kill(self.actor)

    def dismiss(self) -> None:
        """Ends a process that is needed no more, and what it left on this machine."""
        self.kill()
        if self.seat is not None:
            crash_report(self.seat)

    def _judge(self, asked: ObjectRef[Sign]) -> None:
        try:
            sign = ray.get(asked)
        except RayError:
            return  # the process is gone; its call says why
        if sign.beats == self._beats:
            raise WorkerLost(f"hung: a call took more than {self.timeout_s:g} s, at {sign.place}")
        self._asked, self._beats = None, sign.beats
        self._due = time.monotonic() + self.timeout_s

    def _why(self, error: RayError) -> str:
        if isinstance(error, OutOfMemoryError) or "running low on memory" in str(error):
            return "its worker was killed because its node ran out of memory"
        if "node has died" in str(error) or "node died" in str(error):
            return "the node of its worker left the cluster"
        crash = crash_report(self.seat) if self.seat else None
        return f"its worker died: {crash or 'killed from outside, or a crash in native code'}"
