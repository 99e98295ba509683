"""Where a policy server is, and how patient to be with it: options of a policy's card."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from vla_bench.cards import Option
from vla_bench.policies.bridges.errors import BridgeError


@dataclass(frozen=True)
class Address:
    """Where a policy server is, and how patient to be with it."""

    url: str
    """Such as `ws://127.0.0.1:8000`."""
    timeout_s: float
    """Longest time to wait for a connection or an answer (s)."""
    api_key_env: str = ""
    """Environment variable that holds the server's API key; empty for none."""

    @classmethod
    def of(cls, options: Mapping[str, Option], *schemes: str) -> Self:
        """The address that a card's options give.

        Args:
            options: The card's options.
            schemes: What the url may begin with.

        Raises:
            BridgeError: It is no such address, or holds a secret, which the manifest would show.
        """
        url = str(options["url"])
        parts = urlsplit(url)
        if parts.scheme not in schemes or not parts.hostname or not _port(url):
            raise BridgeError(f"--set url={url}: expected {schemes[0]}://HOST:PORT")
        if parts.username or parts.password or parts.query:
            raise BridgeError(
                "--set url: secrets do not belong there; put the API key into an environment variable "
                "and give its name with --set api_key_env=NAME"
            )
        timeout = float(str(options["timeout_s"]))
        if not 0 < timeout < float("inf"):
            raise BridgeError(f"--set timeout_s={timeout:g}: expected seconds, e.g. 120")
        return cls(url, timeout, str(options["api_key_env"]))

    @property
    def host(self) -> str:
        """Host name."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Port."""
        return urlsplit(self.url).port or 0

    @property
    def headers(self) -> dict[str, str]:
        """The header that shows the API key.

        Raises:
            BridgeError: The environment variable is not set.
        """
        key = self.api_key
        return {"Authorization": f"Api-Key {key}"} if key else {}

    @property
    def api_key(self) -> str:
        """The API key; empty for none.

        Raises:
            BridgeError: The environment variable is not set.
        """
        if not self.api_key_env:
            return ""
        key = os.environ.get(self.api_key_env, "")
        if not key:
            raise BridgeError(
                f"the environment variable {self.api_key_env} is empty; put the server's API key into it"
            )
        return key


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None
