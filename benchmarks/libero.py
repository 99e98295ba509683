"""CPU per episode of LIBERO as it comes over CPU per episode of the suite, on two tasks of each suite.

Both play the same whole episode of random chunks with both cameras at 256 px: reset, 10 settle steps, all
control steps, images read once per chunk (H = 8). States and images read must agree to the bit.

Run: `python benchmarks/libero.py [episodes]`
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vla_bench import SuiteCard, load_card, make_suite
from vla_bench.items import WorkItem
from vla_bench.suites.libero.env import LiberoEnv

# This script's own folder would hide the package `libero` behind the script.
sys.path[0] = str(Path(__file__).parents[1])
from tests.suites.official_libero import OfficialLibero  # noqa: E402  hidden until here

HORIZON = 8
SUITES = ("libero-spatial", "libero-object", "libero-goal", "libero-long")
TASKS = (2, 9)
"""Which two of each suite's ten."""


def main(episodes: int) -> None:
    """Prints a line per task and the ratios' spread."""
    ratios = []
    for name in SUITES:
        suite = make_suite(load_card(SuiteCard, name))
        suite.prepare()
        for task in [list(suite.card.tasks)[number] for number in TASKS]:
            env, official = suite.make_env(task), OfficialLibero(suite, task)
            for item in suite.items(task, episodes=episodes):
                ours, ours_s = _timed(_ours(env, item))
                theirs, theirs_s = _timed(_theirs(official, env.max_steps, item))
                assert ours == theirs, f"{task}: the suite computes something else than LIBERO"
                ratios.append(theirs_s / ours_s)
                print(
                    f"{name} {task}: LIBERO {theirs_s:.1f} s, vla-bench {ours_s:.1f} s, "
                    f"{ratios[-1]:.1f} times",
                    flush=True,
                )
            env.close()
            official.close()
    print(f"{min(ratios):.1f} to {max(ratios):.1f}, median {statistics.median(ratios):.1f}")


def _actions(item: WorkItem, steps: int) -> NDArray[np.float32]:
    return item.generator("benchmark").uniform(-1, 1, (steps, 7)).astype(np.float32)


def _timed(episode: Iterator[bytes]) -> tuple[list[bytes], float]:
    """What an episode yields, and the CPU time (s) of this process over it."""
    start = time.process_time()
    seen = list(episode)
    return seen, time.process_time() - start


def _ours(env: LiberoEnv, item: WorkItem) -> Iterator[bytes]:
    env.begin(item)
    for step, action in enumerate(_actions(item, env.max_steps)):
        if step % HORIZON == 0:
            yield env.state_bytes()
            yield from (image.tobytes() for image in env.observe()["images"].values())
        env.advance(action)
    yield env.state_bytes()


def _theirs(official: OfficialLibero, steps: int, item: WorkItem) -> Iterator[bytes]:
    seen = official.begin(item)
    for step, action in enumerate(_actions(item, steps)):
        if step % HORIZON == 0:
            yield official.state().tobytes()
            for key in ("agentview_image", "robot0_eye_in_hand_image"):
                yield seen[key][::-1, ::-1].tobytes()
        seen, _ = official.step(action)
    yield official.state().tobytes()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
