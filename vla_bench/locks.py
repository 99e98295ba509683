"""Locks: one process at a time writes a run, a recording or weights."""

from __future__ import annotations

from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from vla_bench.errors import UserError

TIMEOUT_S = 5
"""A killed process holds its lock for a moment longer, until the system has taken it down."""


def acquire(path: Path, busy: str) -> BaseFileLock:
    """Takes a lock, which the caller releases.

    Args:
        path: The lock file; its folder is there.
        busy: What to tell the user if another process holds it.

    Raises:
        UserError: Another process holds it.
        OSError: The file cannot be written.
    """
    lock = FileLock(path, timeout=TIMEOUT_S)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(busy) from None
    return lock
