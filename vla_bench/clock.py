"""The clock of an episode, which stands still while other episodes play."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class Clock:
    """Sums the time spent on one episode. Runs from the start.

    Attributes:
        beats: Bookings of all clocks of this process: stands still when an episode hangs.
        spent: Seconds by what they were spent on; `wall_s` and `cpu_s` are all of them.
    """

    beats: ClassVar[int] = 0

    def __init__(self) -> None:
        names = ("wall_s", "cpu_s", "policy_s", "simulation_s", "observation_s")
        self.spent = dict.fromkeys(names, 0.0)
        self.resume()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Books the wall-clock time of a block under a name."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Books time that was measured elsewhere."""
        self.beat()
        self.spent[name] += seconds

    @classmethod
    def beat(cls) -> None:
        """Shows that this process is getting on."""
        cls.beats += 1

    def pause(self) -> None:
        """Other episodes play from here on."""
        self.add("wall_s", time.perf_counter() - self._wall)
        self.add("cpu_s", time.process_time() - self._cpu)

    def resume(self) -> None:
        """It is this episode's turn again."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()
