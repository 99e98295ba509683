"""A third party's suite and policy: a point on a line, and a walker whose luck is known."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Sequence
from pathlib import Path

import gymnasium
import numpy as np

from vla_bench import Policy, Suite, SuiteEnv, UserError
from vla_bench.items import digest


def hang():
    time.sleep(1000)


def segfault():
    ctypes.string_at(0)


class LineEnv(SuiteEnv):
    """Success when the point has moved `distance` to the right; renders its position as grey."""

    def __init__(self, items, max_steps, cameras, render_mode):
        super().__init__(items, max_steps, render_mode)
        self.cameras = tuple(cameras)
        self.observed = self.rendered = 0
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        space = gymnasium.spaces.Dict
        images = {name: gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8) for name in cameras}
        box = gymnasium.spaces.Box
        self.observation_space = space(
            images=space(images),
            state=space(position=box(-np.inf, np.inf, (1,))),
            privileged=space(distance=box(-np.inf, np.inf, (1,))),
        )

    def begin(self, item):
        self.position, self.distance = 0.0, float(item.initial_state["distance"])

    def advance(self, action):
        self._fault()
        self.position += float(np.clip(action[0], -1, 1))
        return self.position >= self.distance

    def _fault(self):
        """What happens to the simulator in the middle of an episode: TOY_CRASH=HOW or HOW@DISTANCE."""
        how, _, where = os.environ.get("TOY_CRASH", "").partition("@")
        if not how or (where and self.distance != float(where)):
            return
        if how == "always":
            raise RuntimeError("the simulator fell over")
        if self.position > 0.5:
            {"segfault": segfault, "hang": hang, "exit": lambda: os._exit(7)}[how]()

    def status(self):
        overshot = self.position - self.distance
        return {"arrived": overshot >= 0, "overshot": overshot, "time_left": np.inf}

    def observe(self, images=True):
        self.observed += 1
        self.rendered += images
        image = np.full((8, 8, 3), int(abs(self.position) * 10) % 256, np.uint8)
        return {
            "images": dict.fromkeys(self.cameras, image) if images else {},
            "state": {"position": np.array([self.position], np.float32)},
            "privileged": {"distance": np.array([self.distance], np.float32)},
        }

    def state_bytes(self):
        return np.float64(self.position).tobytes()

    def world_probe(self):
        return digest(self.distance)

    def render(self):
        return np.full((32, 32, 3), int(abs(self.position) * 10) % 256, np.uint8)


class LineSuite(Suite):
    def asset_root(self):
        return Path.cwd()

    def prepare(self):
        pass

    def manifest(self, task):
        count = self.card.episodes * self.card.trials
        return [{"lane": f"lane-{i % 3}", "distance": 2 + i % 5} for i in range(count)]

    def make_env(self, task, cameras: Sequence[str] | None = None, render_mode=None):
        cameras = list(self.card.cameras) if cameras is None else cameras
        return LineEnv(self.items(task), self.card.max_steps, cameras, render_mode)


class Walker(Policy):
    """Walks right; with probability `1 - skill` it stays where it is. `fault` breaks the contract."""

    def __init__(self, card, suite):
        super().__init__(card, suite)
        self.walks = {}

    def reset(self, item):
        self.walks[item.digest] = item.generator("skill").random() < self.card.options["skill"]
        if os.environ.get("TOY_PAUSE"):
            time.sleep(float(os.environ["TOY_PAUSE"]))

    def plan(self, observations):
        fault = self.card.options["fault"]
        size = self.action_size + (fault == "size")
        chunk = np.zeros((len(observations), self.card.chunk_length, size), np.float32)
        for row, observation in zip(chunk, observations, strict=True):
            row[:, 0] = 0.5 * self.walks[observation.item.digest]
        if fault == "refusal":
            raise UserError("the walker will not walk; use --set fault=none")
        if fault == "hang":
            hang()
        if fault == "huge":
            chunk[:, 0, 0] = 1e9
        if fault == "nan":
            chunk[:, 1, 1] = np.nan
        if fault == "exception":
            raise ValueError("out of ideas")
        return chunk


class Drunkard(Walker):
    """Every step is as long as the item's own generator has it."""

    def plan(self, observations):
        chunks = super().plan(observations)
        for chunk, o in zip(chunks, observations, strict=True):
            chunk += o.item.generator(f"noise/{o.step}").normal(0, 0.3, chunk.shape)
        return chunks
