"""Policy servers in a thread, each with the shape of an upstream one and its recorded requests."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import zmq
from websockets.sync.server import serve

from vla_bench.policies.bridges.codecs import (
    Gr00tCodec,
    JsonNumpyCodec,
    OpenpiCodec,
    VlaEvalCodec,
)
from vla_bench.policies.bridges.envelope import Envelope, hello, seal, unseal


@contextmanager
def websocket(handler):
    """Serves clients with a function of a connection; yields the url."""
    options = {"compression": None, "max_size": None, "ping_interval": None}
    with serve(handler, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()


@contextmanager
def openpi(answer, metadata=None):
    """`answer` makes a reply, or text, out of a request."""
    codec = OpenpiCodec()

    def handler(socket):
        socket.send(codec.pack(metadata or {}))
        for frame in socket:
            reply = answer(codec.unpack(frame))
            socket.send(reply if isinstance(reply, str) else codec.pack(reply))

    with websocket(handler) as url:
        yield url


@contextmanager
def vla_eval(told, actions):
    """Tells `told`, answers with `actions`; yields the url and the list of what came in."""
    codec, heard = VlaEvalCodec("png"), []

    def handler(socket):
        for frame in socket:
            asked = unseal(codec, frame)
            heard.append(asked)
            if asked.kind == "hello":
                payload = {**hello(), "model_server": "fake", "capabilities": {}, **told}
                socket.send(seal(codec, Envelope("hello", payload, asked.number)))
            if asked.kind == "observation":
                socket.send(seal(codec, Envelope("action", {"actions": actions}, asked.number)))

    with websocket(handler) as url:
        yield url, heard


@contextmanager
def act_http(answer):
    """`answer` makes the body of a reply, and its status, out of a request's body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            assert self.path == "/act"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            reply, status = answer(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextmanager
def gr00t(answer):
    """`answer` makes a reply out of a request."""
    codec, socket = Gr00tCodec(), zmq.Context.instance().socket(zmq.REP)
    socket.setsockopt(zmq.LINGER, 0)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    over = threading.Event()

    def work():
        while not over.is_set():
            if socket.poll(50):
                socket.send(codec.pack(answer(codec.unpack(socket.recv()))))

    thread = threading.Thread(target=work)
    thread.start()
    yield f"tcp://127.0.0.1:{port}"
    over.set()
    thread.join()
    socket.close()


def twice_encoded(array):
    """A reply as OpenVLA's server writes it to clients that encode twice."""
    return json.dumps(JsonNumpyCodec().pack(array).decode()).encode()


CHUNK = np.linspace(-1, 1, 35, dtype=np.float32).reshape(5, 7)
