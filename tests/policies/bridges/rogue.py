"""A policy server for the toy suite that keeps its word for some requests only.

The path of the url says what it does: /DIALECT/FAULT/AFTER. AFTER requests are answered as promised.
From then on every request meets with the fault, whichever connection it comes over.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import numpy as np
from websockets.sync.server import serve

from vla_bench.policies.bridges.codecs import OpenpiCodec, VlaEvalCodec
from vla_bench.policies.bridges.envelope import Envelope, hello, seal, unseal

CHUNK = np.full((4, 2), 0.1, np.float32)
answered = Counter()


def fault_of(path):
    """What goes wrong with a request; empty for nothing yet."""
    _, _, fault, after = path.split("/")
    answered[path] += 1
    return fault if answered[path] > int(after) else ""


def actions(fault):
    """A chunk that does not reach the goal, or what comes instead."""
    if fault == "die":
        os._exit(9)
    if fault == "slow":
        time.sleep(1)
    if fault == "error":
        raise RuntimeError("out of memory")
    if fault == "nan":
        return np.full_like(CHUNK, np.nan)
    return {"size": CHUNK[:, :1], "length": CHUNK[:2], "text": "up"}.get(fault, CHUNK)


def openpi(socket, path):
    codec = OpenpiCodec()
    socket.send(codec.pack({"model": "rogue"}))
    for frame in socket:
        codec.unpack(frame)
        fault = fault_of(path)
        try:
            reply = {"actions": actions(fault)}
        except RuntimeError as error:
            socket.send(f"Traceback (most recent call last):\n  File ...\nRuntimeError: {error}\n")
            socket.close(1011, "Internal server error.")
            return
        if fault == "dialect":
            socket.send(VlaEvalCodec().pack(reply))
        elif fault == "hang-up":
            return
        else:
            socket.send(codec.pack(reply))


def vla_eval(socket, path):
    codec = VlaEvalCodec("png")
    for frame in socket:
        asked = unseal(codec, frame)
        if asked.kind == "hello":
            answer = Envelope("hello", {**hello(), "model_server": "rogue"}, asked.number)
        elif asked.kind == "observation":
            fault = fault_of(path)
            try:
                answer = Envelope("action", {"actions": actions(fault)}, asked.number)
            except RuntimeError as error:
                answer = Envelope("error", {"error": f"observation_failed: {error}"}, asked.number)
            if fault == "number":
                answer = Envelope(answer.kind, answer.payload, asked.number + 1)
        else:
            continue
        socket.send(seal(codec, answer))


def handler(socket):
    path = socket.request.path
    {"openpi": openpi, "vla-eval": vla_eval}[path.split("/")[1]](socket, path)


with serve(handler, "127.0.0.1", 0, compression=None, max_size=None, ping_interval=None) as server:
    print(f"ws://127.0.0.1:{server.socket.getsockname()[1]}", flush=True)
    server.serve_forever()
