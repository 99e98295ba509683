"""What may go wrong between this program and a policy in another one."""

from __future__ import annotations


class BridgeError(Exception):
    """An exchange failed; says why in one line."""


class CodecError(BridgeError):
    """A message cannot be written in a dialect, or is not one of it."""


class WrongDialectError(CodecError):
    """A message is well-formed, but in another dialect."""
