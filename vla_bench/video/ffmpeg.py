"""The ffmpeg that comes with imageio-ffmpeg: writes H.264 that browsers play."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from numpy.typing import NDArray

from vla_bench import interrupts
from vla_bench.errors import UserError

# One thread: the bytes of a film do not depend on the number of cores.
H264: Sequence[str] = (
    *("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-threads", "1"),
    *("-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", "-y"),
)
"""How films are written."""


class FilmError(Exception):
    """ffmpeg failed; says why in one line."""


def command(*arguments: str) -> list[str]:
    """A command line of ffmpeg that says nothing but what went wrong.

    Raises:
        UserError: There is no ffmpeg.
    """
    try:
        return [get_ffmpeg_exe(), "-v", "error", *arguments]
    except RuntimeError:
        raise UserError(
            "no ffmpeg; run `pip install imageio-ffmpeg`, or use --video none"
        ) from None


def why(status: int, said: bytes) -> str:
    """What ended a process, from its exit status and its last words."""
    if status < 0:
        return f"ffmpeg was killed ({signal.Signals(-status).name})"
    lines = said.decode(errors="replace").strip().splitlines() or [f"status {status}"]
    return "ffmpeg: " + re.sub(r"^\[[^]]*\] ", "", lines[-1])


class Encoder:
    """Writes frames into an MP4, which is of use only after `finish`.

    Args:
        path: The file.
        fps: Frames per second.
        size: Height and width of a frame, both even.
    """

    def __init__(self, path: Path, fps: int, size: Sequence[int]) -> None:
        height, width = size
        frames = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}")
        # A file, not a pipe that nobody reads.
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  closed at the end
        # Ctrl-C in a terminal is for the run, which finishes its episodes: ffmpeg gets a process group of
        # its own, and no signal before it has one.
        with interrupts.out_of_reach():
            self._process = subprocess.Popen(
                command(*frames, "-r", str(fps), "-i", "-", *H264, str(path)),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._words,
                process_group=0,
            )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin

    def __enter__(self) -> Self:
        return self

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Adds a frame, uint8 (H, W, 3), once ffmpeg has taken it.

        Raises:
            FilmError: ffmpeg is gone.
        """
        try:
            self._pipe.write(frame.data)
        except OSError:
            self.finish()

    def finish(self) -> None:
        """Completes the file.

        Raises:
            FilmError: ffmpeg is gone, or could not write.
        """
        # Why a pipe is broken, its reader's last words say better.
        with suppress(OSError):
            self._pipe.close()
        status = self._process.wait()
        self._words.seek(0)
        said = self._words.read()
        if status:
            raise FilmError(why(status, said))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        with suppress(OSError):
            self._pipe.close()
        self._process.wait()
        self._words.close()
