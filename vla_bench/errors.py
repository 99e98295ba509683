"""Errors a user can act on: one line that says what was wrong and which command mends it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A user's mistake: printed as one line, exit status 1, nothing run."""


class MismatchError(UserError):
    """A policy, a suite and the installed engines do not fit together."""


class MissingAssetsError(UserError):
    """A suite's files are not on this machine."""


class PolicyError(Exception):
    """A policy broke its contract during an episode; the episode is recorded as `policy_error`."""


class PlanLost(Exception):
    """A plan that was asked for will not come; the episode has to begin again."""


def first_line(error: Exception) -> str:
    """What an error says, without what follows its first line; its kind if it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def nearest(name: str, known: Iterable[str]) -> str:
    """Ends an error about an unknown name: the nearest known name, or all of them.

    Args:
        name: What the user wrote.
        known: The names that exist.

    Returns:
        A clause such as ``did you mean 'ms-hab'?`` or ``known: a, b``.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names)}." if names else "none is known."
