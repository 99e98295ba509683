"""When a gripper opens or closes: what the phases of a manipulation have in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HOLD = 3
"""Steps that a new command has to last for: shorter ones are chatter."""


def gripper_events(commands: NDArray[np.float32]) -> NDArray[np.int64]:
    """Steps at which a gripper is told to open or to close.

    A command is read by its sign, as one to open or one to close. A new one counts from its first step,
    if it is then given at least `HOLD` times in a row; the first of an episode is not new. Which steps
    PosA-VLA took is not published.

    Args:
        commands: (T, grippers), the commanded entries of the actions.

    Returns:
        int64 (events,), rising; of several grippers the events of all.
    """
    events = {step for column in commands.T for step in _switches(column >= 0)}
    return np.array(sorted(events), np.int64)


def _switches(opens: NDArray[np.bool_]) -> list[int]:
    starts = [0, *(np.flatnonzero(np.diff(opens)) + 1).tolist()]
    ends = [*starts[1:], len(opens)]
    found: list[int] = []
    now = opens[0]
    for start, end in zip(starts, ends, strict=True):
        if end - start >= HOLD and opens[start] != now:
            found.append(start)
            now = opens[start]
    return found
