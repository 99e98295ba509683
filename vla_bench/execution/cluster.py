"""The Ray cluster that a run uses: one that is there, or one started here and taken down again."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import ray

from vla_bench import interrupts
from vla_bench.cards import Resources
from vla_bench.errors import UserError, first_line

GIB = 2**30
OBJECT_STORE = 256 * 2**20
"""Bytes of shared memory for observations and records under way; records go to disk at once."""
KNOCK_S = 10.0
"""Longest time for a cluster to accept a connection (s)."""
CONNECT_TRIES = "2"
"""Ray's own number makes minutes of a wrong address, and a page of a wrong token."""
NAMED_SHARE = 0.001
"""How much of a named resource a process takes: it only says where to go."""


@contextmanager
def cluster(address: str | None, cpus: float) -> Iterator[None]:
    """Connects to a cluster, or starts one on this machine and takes it down at the end.

    Args:
        address: `auto`, or an address of the cluster; None to start one.
        cpus: Cores that the run's processes reserve, for a cluster started here.

    Raises:
        UserError: There is no cluster at the address, or it runs another Ray or Python.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Ray would hide GPUs from processes that reserve none, and with them a GPU's renderer.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        # Ray crashes at the process's end if Ctrl-C cuts its start or its end short.
        with interrupts.held():
            _connect(address, cpus, quiet)
        yield
    finally:
        with interrupts.held():
            ray.shutdown()


def _connect(address: str | None, cpus: float, quiet: Mapping[str, Any]) -> None:
    try:
        if address not in (None, "auto"):
            _knock(address)
        if address is None:
            ray.init(
                address="local",
                num_cpus=max(int(-(-cpus // 1)), os.cpu_count() or 1),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE,
                **quiet,
            )
        else:
            os.environ.setdefault("RAY_gcs_server_port_wait_time_s", CONNECT_TRIES)
            ray.init(address=address, **quiet)
    except Exception as error:
        where = "on this machine" if address is None else f"at {address}"
        raise UserError(
            f"no Ray cluster {where}: {first_line(error)}; see docs/cluster.md"
        ) from None
    _silence()


def options(resources: Resources) -> dict[str, Any]:
    """What a process needs, as Ray's options of an actor."""
    wanted: dict[str, Any] = {"num_cpus": resources.cpus, "num_gpus": resources.gpus}
    if resources.memory_gb:
        wanted["memory"] = int(resources.memory_gb * GIB)
    if resources.node:
        wanted["resources"] = {resources.node: NAMED_SHARE}
    return wanted


def check_room(wanted: Sequence[tuple[str, Resources]]) -> None:
    """Makes sure that some node of the cluster could take each process alone.

    Args:
        wanted: What a process is called, and what it needs.

    Raises:
        UserError: No node is large enough.
    """
    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]  # type: ignore[no-untyped-call]
    for name, resources in wanted:
        need = _amounts(resources)
        if not any(all(node.get(key, 0) >= n for key, n in need.items()) for node in nodes):
            most = {key: max(node.get(key, 0) for node in nodes) for key in need}
            raise UserError(
                f"no node of the cluster has room for a {name}, which needs {_written(need)}; the most "
                f"that a node has: {_written(most)}; mend [resources] on its card, or start a larger node"
            )


def _amounts(resources: Resources) -> dict[str, float]:
    amounts = {
        "CPU": resources.cpus,
        "GPU": resources.gpus,
        "memory": resources.memory_gb * GIB,
        **({resources.node: NAMED_SHARE} if resources.node else {}),
    }
    return {key: amount for key, amount in amounts.items() if amount}


def _written(amounts: Mapping[str, float]) -> str:
    return ", ".join(
        f"{amount / GIB:.1f} GiB" if key == "memory" else f"{amount:g} {key}"
        for key, amount in amounts.items()
    )


def _knock(address: str) -> None:
    """Fails at once where Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()) or "/" in host:
        raise UserError("expected HOST:PORT or auto")
    with socket.create_connection((host, int(port)), timeout=KNOCK_S) as knocking:
        knocking.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        if knocking.recv(1) >= b" ":  # text; Ray would answer with a frame of HTTP/2, or of TLS
            raise UserError("that is not the port of `ray start --head --port`")
    if not _is_node():
        raise UserError(f"this machine is no node; run `ray start --address {address}` first")


def _is_node() -> bool:
    """Whether a node of some cluster runs here; Ray would look for one for a minute."""
    try:
        from ray._private.services import find_node_ids
    except ImportError:
        return True
    return bool(find_node_ids())  # type: ignore[no-untyped-call]


def _silence() -> None:
    """Ray prints a paragraph for each process that dies; the run's own line says it in one."""
    with suppress(ImportError):
        from ray._private import worker

        # What `log_to_driver` leaves on; there is no public switch.
        vars(worker)["print_to_stdstream"] = lambda *_, **__: None
