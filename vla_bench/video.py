"""Writes an episode as an MP4, frame by frame."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import imageio.v2 as imageio

from vla_bench.errors import UserError
from vla_bench.suites.base import SuiteEnv


class VideoWriter:
    """A video that appears under its name only when it is complete.

    Args:
        path: The .mp4 file to write.
        fps: Frames per second: the suite's control steps, for real time.
    """

    def __init__(self, path: Path, fps: int) -> None:
        self.path = path
        self.fps = fps
        self._partial = path.with_name(f".{path.name}")
        self._keep = True
        self._writer: Any = None

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = imageio.get_writer(
                self._partial, format="FFMPEG", fps=self.fps, macro_block_size=16
            )
        except OSError as error:
            raise UserError(
                f"cannot write {self.path} ({error.strerror}); use --video none"
            ) from None
        return self

    def capture(self, env: SuiteEnv) -> None:
        """Adds the environment's current view."""
        self._writer.append_data(env.render())

    def discard(self) -> None:
        """The video will not be kept."""
        self._keep = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()
        if error is None and self._keep:
            self._partial.replace(self.path)
        else:
            self._partial.unlink(missing_ok=True)
