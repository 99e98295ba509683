"""Addresses that are not those of a cluster: one line each, at once."""

import socket
import threading

import pytest

from vla_bench import UserError
from vla_bench.execution.cluster import cluster


@pytest.fixture
def web_server():
    """The address of something that is no Ray head, as a dashboard is not."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            caller, _ = server.accept()
            with caller:
                caller.recv(100)
                caller.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def said(address):
    with pytest.raises(UserError) as raised, cluster(address, 1):
        pass
    return str(raised.value)


def test_a_port_of_something_else_is_refused(web_server):
    assert "that is not the port of `ray start --head --port`" in said(web_server)


@pytest.mark.parametrize("address", ["here", "ray://here:10001", "http://here:8265", "here:"])
def test_an_address_is_host_and_port(address):
    assert "expected HOST:PORT or auto" in said(address)


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "refused" in said(f"127.0.0.1:{port}")
