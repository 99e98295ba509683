"""The driver's side of the policy servers of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError

from vla_bench.errors import UserError, first_line
from vla_bench.execution.cluster import options
from vla_bench.execution.server import PolicyServer, Rates
from vla_bench.execution.worker import Orders


class PolicyServers:
    """As many servers as the policy's card asks for, perhaps none; one that dies is started anew.

    Args:
        orders: What the run is.
        workers: Workers of the run.

    Raises:
        UserError: The policy cannot be made.
    """

    def __init__(self, orders: Orders, workers: int) -> None:
        resources = orders.manifest.policy.resources
        server: Any = ray.remote(PolicyServer).options(max_restarts=-1, **options(resources))
        self._servers: list[ActorHandle[PolicyServer]] = [
            server.remote(
                orders.manifest,
                orders.working_directory,
                len(range(place, workers, resources.replicas)) * orders.environments,
            )
            for place in range(min(resources.replicas, workers))
        ]
        self._asked: dict[ObjectRef[Rates], int] = {}
        self._rates = [Rates(0, 0.0, 0.0)] * len(self._servers)
        self._queries, self._since = 0, time.monotonic()
        try:
            ray.get([server.prepare.remote() for server in self._servers])
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            raise UserError(f"the policy server does not start: {first_line(error)}") from None

    def at(self, place: int) -> ActorHandle[PolicyServer] | None:
        """The server of the worker at a place; None if workers have policies of their own."""
        return self._servers[place % len(self._servers)] if self._servers else None

    def status(self) -> str:
        """What the servers said last, in a few words; asks them anew."""
        if not self._servers:
            return ""
        self._hear()
        rates: Sequence[Rates] = self._rates
        self._asked |= {
            server.measured.remote(): place
            for place, server in enumerate(self._servers)
            if place not in self._asked.values()
        }
        queries, now = sum(rate.queries for rate in rates), time.monotonic()
        per_s = max(queries - self._queries, 0) / (now - self._since)
        self._queries, self._since = queries, now
        filled = sum(rate.filled for rate in rates) / len(rates)
        forward_ms = 1e3 * sum(rate.forward_s for rate in rates) / len(rates)
        return f"{per_s:.0f} plans/s, {filled:.1f} in a pass of {forward_ms:.0f} ms"

    def _hear(self) -> None:
        answered, _ = (
            ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)
            if self._asked
            else ([], [])
        )
        for answer in answered:
            place = self._asked.pop(answer)
            try:
                self._rates[place] = ray.get(answer)
            except RayError:
                continue  # it is being started anew
