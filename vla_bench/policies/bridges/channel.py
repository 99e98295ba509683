"""A websocket to a policy server, with every failure said in one line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from vla_bench.clock import Clock
from vla_bench.policies.bridges.address import Address
from vla_bench.policies.bridges.errors import BridgeError

PATIENCE_S = 0.2
"""Who waits for a server shows this often that it is alive."""


class Channel:
    """A connection that is never opened anew: what a server knows of an episode is lost with it.

    Args:
        address: Where the server is.

    Raises:
        BridgeError: There is no websocket server, or it does not let us in.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._open = ExitStack()
        with refusals(address):
            # No compression, pings or proxy: images do not shrink, a server that compiles does not answer
            # pings, and policy servers are near.
            self._socket: ClientConnection = self._open.enter_context(
                connect(
                    address.url,
                    compression=None,
                    max_size=None,
                    ping_interval=None,
                    proxy=None,
                    open_timeout=address.timeout_s,
                    close_timeout=PATIENCE_S,
                    additional_headers=address.headers,
                )
            )

    def send(self, data: bytes) -> None:
        """Sends one message.

        Raises:
            BridgeError: The connection is gone.
        """
        with self._dropped():
            self._socket.send(data)

    def receive(self) -> bytes | str:
        """Waits for one message: bytes, or text.

        Raises:
            BridgeError: The connection is gone, or nothing comes in time.
        """
        until = time.monotonic() + self.address.timeout_s
        with self._dropped():
            while True:
                left = until - time.monotonic()
                try:
                    return self._socket.recv(timeout=max(0.0, min(left, PATIENCE_S)))
                except TimeoutError:
                    Clock.beat()
                if left < 0:
                    raise BridgeError(
                        f"no answer from the policy server at {self.address.url} for "
                        f"{self.address.timeout_s:g} s; --set timeout_s waits longer"
                    )

    def close(self) -> None:
        """Ends the connection."""
        with suppress(Exception):
            self._open.close()

    @contextmanager
    def _dropped(self) -> Iterator[None]:
        try:
            yield
        except (ConnectionClosed, OSError) as error:
            said = f": {error}" if isinstance(error, OSError) else _closing(error)
            raise BridgeError(
                f"the policy server at {self.address.url} dropped the connection{said}"
            ) from None


@contextmanager
def refusals(address: Address) -> Iterator[None]:
    """Says in one line why there is no connection."""
    where = f"no policy server at {address.url}"
    try:
        yield
    except InvalidStatus as error:
        status = error.response.status_code
        if status in (401, 403):
            raise BridgeError(
                f"the policy server at {address.url} wants another API key (HTTP {status}); put it into "
                f"an environment variable and give its name with --set api_key_env=NAME"
            ) from None
        raise BridgeError(
            f"{where}: HTTP {status} instead of a websocket; try another port"
        ) from None
    except (InvalidHandshake, InvalidMessage, EOFError, ConnectionClosed) as error:
        raise BridgeError(f"{where}: something else answers there ({error})") from None
    except TimeoutError:
        raise BridgeError(f"{where}: no answer for {address.timeout_s:g} s") from None
    except OSError as error:
        said = error.strerror or str(error)
        raise BridgeError(f"{where}: {said}; start it, or --set url=ws://HOST:PORT") from None


def _closing(error: ConnectionClosed) -> str:
    frame = error.rcvd
    if frame is None:
        return " without a word"
    return f" (code {frame.code}{': ' if frame.reason else ''}{frame.reason})"
