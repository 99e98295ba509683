"""Ctrl-C: the first asks a run to finish what is under way, the second stops it at once."""

from __future__ import annotations

import signal
import threading
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


@contextmanager
def held() -> Iterator[None]:
    """Keeps Ctrl-C waiting to the end of a piece of work that must not be cut in two.

    Outside the main thread, where none can arrive, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        for number in waiting:
            signal.raise_signal(number)


@contextmanager
def out_of_reach() -> Iterator[None]:
    """Keeps Ctrl-C from processes that are started within, from their first moment on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
