"""Ctrl-C: the first asks a run to finish what is under way, the second stops it at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred(on_first: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Holds the first Ctrl-C back; yields a function that says whether there was one.

    Args:
        on_first: Called at the first one, e.g. to say what a second one would do.
    """
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        on_first()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
