"""Films one episode beside the loop that plays it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from threading import Thread
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vla_bench.errors import UserError, first_line
from vla_bench.records import EpisodeRecord
from vla_bench.suites.base import SuiteEnv
from vla_bench.video.caption import Caption
from vla_bench.video.ffmpeg import Encoder, command

WAITING = 32
"""Pictures that may wait for the encoder; then the episode waits for it."""
HELD_S = 1.0
"""How long the last picture stays, with what came of the episode (s)."""

OnLost = Callable[[str], None]
"""Told, in one line, of a film that could not be made."""


def warn(line: str) -> None:
    """Tells the user that a run goes on without a film."""
    print(f"warning: {line}; the episode is recorded", file=sys.stderr, flush=True)


class _Shot(NamedTuple):
    picture: NDArray[np.uint8]
    step: int
    first: int | None
    holds: bool


class Film:
    """An episode as an MP4 that appears under its name only when it is complete.

    A thread writes captions and feeds the encoder, a process of its own; the loop waits for them only
    while `WAITING` pictures wait, and at the end. An encoder that fails costs the film, not the episode.

    Args:
        path: The .mp4 file to write.
        fps: Frames per second: the suite's control steps, for real time.
        caption: What is written under the pictures.
        on_lost: Told why there is no film, if there is none.
    """

    def __init__(self, path: Path, fps: int, caption: Caption, on_lost: OnLost = warn) -> None:
        self.path = path
        self.fps = fps
        self.caption = caption
        self.on_lost = on_lost
        self._partial = path.with_name(f".{path.name}")
        self._shots: Queue[_Shot | None] = Queue(WAITING)
        self._thread = Thread(target=self._make, name="film", daemon=True)
        self._first: int | None = None
        self._record: EpisodeRecord | None = None
        self._lost = ""

    def __enter__(self) -> Self:
        command()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._partial.touch()
        except OSError as error:
            raise UserError(
                f"cannot write {self.path} ({error.strerror}); use --video none"
            ) from None
        self._thread.start()
        return self

    def capture(self, env: SuiteEnv, step: int, holds: bool) -> None:
        """Adds the environment's current view.

        Args:
            env: The environment.
            step: Control steps played.
            holds: Whether the success conditions hold.
        """
        if holds and self._first is None:
            self._first = step
        # An environment may render into the same array again.
        self._shots.put(_Shot(np.array(env.render(), np.uint8), step, self._first, holds))

    def keep(self, record: EpisodeRecord) -> None:
        """The episode has ended, and its film is wanted."""
        self._record = record

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shots.put(None)
        self._thread.join()
        if self._record is None or self._lost:
            self._partial.unlink(missing_ok=True)
        else:
            self._partial.replace(self.path)
        if self._record is not None and self._lost:
            self.on_lost(f"no film of {self._record.place}: {self._lost}")

    def _make(self) -> None:
        """What the thread does; it takes all pictures, come what may, so that nobody waits in vain."""
        shots = iter(self._shots.get, None)
        try:
            self._encode(shots)
        except Exception as error:
            self._lost = first_line(error)
            for _ in shots:
                pass

    def _encode(self, shots: Iterator[_Shot]) -> None:
        shot = next(shots, None)
        if shot is None:
            return
        frame = self.caption.running(*shot)
        with Encoder(self._partial, self.fps, frame.shape[:2]) as encoder:
            encoder.write(frame)
            for shot in shots:
                encoder.write(self.caption.running(*shot))
            if self._record is None:
                return
            last = self.caption.ended(shot.picture, self._record)
            for _ in range(round(HELD_S * self.fps)):
                encoder.write(last)
            encoder.finish()
