"""What a process that crashed in native code leaves behind: the Python line that it was at."""

from __future__ import annotations

import faulthandler
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_FAULT = re.compile(r"Fatal Python error: (?P<what>.+)")
_LINE = re.compile(r'File "(?P<file>.+)", line (?P<line>\d+) in (?P<name>.+)')


@dataclass(frozen=True)
class Seat:
    """Where a process runs."""

    host: str
    """Name of the machine."""
    pid: int
    """Process id there."""

    @classmethod
    def here(cls) -> Seat:
        """This process."""
        return cls(os.uname().nodename, os.getpid())

    @property
    def note(self) -> Path:
        """Where it leaves word of a crash, on its machine."""
        return Path(tempfile.gettempdir()) / f"vla-bench-{self.pid}.crash"


def leave_word() -> IO[str]:
    """Lets a crash of this process be noted; the file is to be kept open."""
    file = Seat.here().note.open("w")
    faulthandler.enable(file, all_threads=False)
    return file


def crash_report(seat: Seat) -> str | None:
    """What a dead process noted, in one line; None if nothing, or if it ran on another machine.

    The note is gone afterwards.
    """
    if seat.host != Seat.here().host or not seat.note.is_file():
        return None
    said = seat.note.read_text()
    seat.note.unlink()
    fault, place = _FAULT.search(said), _LINE.search(said)
    if fault is None:
        return None
    at = f", at {place['name']} ({Path(place['file']).name}:{place['line']})" if place else ""
    return f"{fault['what'].lower()}{at}"
