"""How many more requests a second travel raw than as PNG, in one run: prints the ratio.

One observation with two 256x256 images, there and a chunk of actions back, over a websocket on this
machine. The server answers at once, so that only the way is measured: `raw` is what our clients send,
`png` what those of vla-eval send unless told otherwise. They take turns, and their medians are compared.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time

import numpy as np
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from vla_bench.policies.bridges.codecs import VlaEvalCodec
from vla_bench.policies.bridges.envelope import ACTION, OBSERVATION, Envelope, seal, unseal

OPTIONS = {"compression": None, "max_size": None, "ping_interval": None}
TURNS = 5


def answer(socket: ServerConnection) -> None:
    codec, chunk = VlaEvalCodec(), np.zeros((16, 7), np.float32)
    for frame in socket:
        asked = unseal(codec, frame)
        socket.send(seal(codec, Envelope(ACTION, {"actions": chunk}, asked.number)))


def picture(generator: np.random.Generator) -> np.ndarray:
    """A smooth scene with some noise on it, as a renderer draws: a PNG of about half the size."""
    y, x = np.mgrid[0:256, 0:256] / 256
    waves = generator.uniform(1, 9, (3, 2))
    scene = np.stack([np.sin(a * x + b * y) for a, b in waves], axis=-1)
    noisy = 127 + 90 * scene + generator.normal(0, 2, scene.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def rate(url: str, codec: VlaEvalCodec, seconds: float) -> float:
    """Requests a second."""
    generator = np.random.default_rng(0)
    payload = {
        "images": {"agentview": picture(generator), "wrist": picture(generator)},
        "states": np.zeros(8, np.float32),
        "task_description": "pick up the alphabet soup and place it in the basket",
    }
    with connect(url, proxy=None, **OPTIONS) as socket:
        requests, start = 0, time.perf_counter()
        while time.perf_counter() < start + seconds:
            socket.send(seal(codec, Envelope(OBSERVATION, payload, requests)))
            assert unseal(codec, socket.recv()).number == requests
            requests += 1
        return requests / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn")
    seconds = parser.parse_args().seconds
    with serve(answer, "127.0.0.1", 0, **OPTIONS) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        turns = [
            (rate(url, VlaEvalCodec("raw"), seconds), rate(url, VlaEvalCodec("png"), seconds))
            for _ in range(TURNS)
        ]
        server.shutdown()
    raw, png = (statistics.median(column) for column in zip(*turns, strict=True))
    print(f"raw {raw:.0f}/s, PNG {png:.1f}/s, ratio {raw / png:.1f}")


if __name__ == "__main__":
    main()
