"""A policy server: accepts clients, answers health checks, stops when it is told to."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.compatibility import mismatches
from vla_bench.errors import MismatchError, UserError
from vla_bench.policies.bridges.offer import Offer
from vla_bench.policies.bridges.serving.seat import Kitchen, Seat
from vla_bench.policies.bridges.serving.talks import OpenpiTalk, VlaEvalTalk
from vla_bench.policies.bridges.serving.wires import serving_wire
from vla_bench.registry import prepare_card

Dialect = Literal["openpi", "vla-eval"]
TALKS: dict[str, type[OpenpiTalk] | type[VlaEvalTalk]] = {
    "openpi": OpenpiTalk,
    "vla-eval": VlaEvalTalk,
}
FAREWELL_S = 5.0
"""Longest time for answers under way and for clients to take leave when the server stops (s)."""


@dataclass(frozen=True)
class ServeSpec:
    """What to serve, and where."""

    policy: PolicyCard
    """The policy's card, options overridden, not prepared for a suite yet."""
    suite: SuiteCard
    """Card of the suite whose observations it is sent."""
    dialect: Dialect
    """Protocol."""
    host: str = "127.0.0.1"
    """Address to listen at."""
    port: int = 8000
    """Port; 0 for one that is free."""
    api_key_env: str = ""
    """Environment variable with the key that clients have to show; empty for none."""


class PolicyHost:
    """Serves one policy until SIGTERM or Ctrl-C.

    Args:
        spec: What to serve, and where.

    Raises:
        UserError: The policy does not fit the suite, or the key is missing.
    """

    def __init__(self, spec: ServeSpec) -> None:
        self.spec = spec
        self.key = os.environ.get(spec.api_key_env, "") if spec.api_key_env else ""
        if spec.api_key_env and not self.key:
            raise UserError(
                f"--api-key-env {spec.api_key_env}: that variable is empty; put the key into it"
            )
        card = prepare_card(spec.policy, spec.suite)
        if found := [*mismatches(card, spec.suite)]:
            raise MismatchError("; ".join(found))
        self.kitchen = Kitchen(card, spec.suite)

    def run(self, on_ready: Callable[[str], None]) -> None:
        """Serves until it is told to stop; sends the answers under way. A second signal ends it at once.

        Args:
            on_ready: Told the url once clients are accepted, which is when the weights are loaded.

        Raises:
            UserError: It cannot listen there.
        """
        asyncio.run(self._serve(on_ready))

    async def _serve(self, on_ready: Callable[[str], None]) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        policy = await self.kitchen.take()
        self.wire = serving_wire(self.spec.dialect, policy.card.inputs)
        self.talk = TALKS[self.spec.dialect](self.kitchen, Offer.of(policy, self.wire))
        self.kitchen.give_back(policy)
        server = await self._listening()
        port = server.sockets[0].getsockname()[1]
        on_ready(f"ws://{self.spec.host}:{port}")
        await stop.wait()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self.kitchen.answered()
                server.close()
                await server.wait_closed()

    async def _listening(self) -> Server:
        spec = self.spec
        try:
            return await serve(
                self._client,
                spec.host,
                spec.port,
                process_request=self._request,
                compression=None,
                max_size=None,
                ping_interval=None,
                close_timeout=1,
            )
        except OSError as error:
            said = error.strerror or str(error)
            raise UserError(
                f"cannot listen at {spec.host}:{spec.port}: {said}; give another --port, or --port 0"
            ) from None

    async def _client(self, socket: ServerConnection) -> None:
        policy = await self.kitchen.take()
        try:
            await self.talk(socket, Seat(policy, self.wire))
        except ConnectionClosed:
            pass
        finally:
            self.kitchen.give_back(policy)

    def _request(self, socket: ServerConnection, request: Request) -> Response | None:
        """Health checks, and who may come in."""
        if request.path == "/healthz":
            return socket.respond(HTTPStatus.OK, "OK\n")
        if request.path == "/health":
            return socket.respond(HTTPStatus.OK, json.dumps({"status": "ok"}) + "\n")
        shown = request.headers.get("Authorization", "")
        if self.key and not hmac.compare_digest(shown.encode(), f"Api-Key {self.key}".encode()):
            return socket.respond(HTTPStatus.UNAUTHORIZED, "another API key is expected\n")
        return None
