"""Our MS-HAB against the official one, on the same files with the same actions.

Put the official mshab package on PYTHONPATH to run this; it is not on PyPI.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vla_bench import Settings, load_card, make_policy, make_suite, play
from vla_bench.cards import PolicyCard, SuiteCard

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(
        importlib.util.find_spec("mshab") is None,
        reason="the official mshab package is not on PYTHONPATH",
    ),
]
OFFICIAL = Path(__file__).with_name("official_mshab.py")
TASKS = [
    "pick-apple",
    "place-apple",
    "pick-bowl",
    "place-bowl",
    "open-fridge",
    "open-drawer",
    "close-drawer",
]


def ours(env, item, actions):
    """What `official_mshab.play` returns, from our environment."""
    states, images, success, forces, world = [], [], [False], [], []

    def keep():
        raw = env.observe()
        state, privileged = raw["state"], raw["privileged"]
        parts = [state["qpos"], state["qvel"], state["tcp_pose"], privileged["object_pose"]]
        parts += [privileged["goal_position"], state["is_grasped"]]
        states.append(np.concatenate(parts))
        images.append([raw["images"][name] for name in ("head", "wrist") if raw["images"]])
        [lane] = env.wave.lanes
        forces.append(lane.force)
        bodies = [lane.robot.get_qpos(), lane.robot.get_qvel()]
        if lane.target is not None:
            pose = lane.target.entity.pose
            bodies.append(np.concatenate([pose.p, pose.q]))
        if lane.articulation is not None:
            bodies.append(lane.articulation.get_qpos())
        world.append(np.concatenate(bodies))

    env.begin(item)
    keep()
    for action in actions:
        success.append(env.advance(action))
        keep()
    return {
        "states": np.array(states),
        "images": np.array(images),
        "success": np.array(success),
        "forces": np.array(forces),
        "world": np.array(world),
    }


def official(suite, task, items, actions, cameras, folder):
    request = {
        **suite.card.tasks[task].parameters,
        "split": suite.card.options["split"],
        "cameras": cameras,
        "episodes": [
            {**item.initial_state, "actions": played.tolist()}
            for item, played in zip(items, actions, strict=True)
        ],
    }
    (folder / "request.json").write_text(json.dumps(request))
    subprocess.run(
        [sys.executable, OFFICIAL, folder / "request.json", folder / "answer.npz"],
        check=True,
        capture_output=True,
        env={**os.environ, "MS_ASSET_DIR": str(suite.asset_root())},
    )
    return np.load(folder / "answer.npz")


def random_actions(item, steps=60):
    """Arm and base flail, the head stays still as the official wrapper has it."""
    actions = item.generator("parity").uniform(-1, 1, (steps, 13)).astype(np.float32)
    actions[:, 8:10] = 0
    return actions


def compare(theirs, number, mine):
    # SAPIEN's own float32 poses against torch's: the physics is equal to the bit, the frames nearly.
    np.testing.assert_array_equal(mine["world"], theirs[f"{number}/world"])
    np.testing.assert_allclose(mine["states"], theirs[f"{number}/states"], atol=2e-6)
    np.testing.assert_array_equal(mine["success"], theirs[f"{number}/success"])
    np.testing.assert_allclose(mine["forces"], theirs[f"{number}/forces"], rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(mine["images"], theirs[f"{number}/images"])


@pytest.mark.parametrize("task", TASKS)
def test_random_actions(task, tmp_path):
    suite = make_suite(load_card(SuiteCard, "ms-hab-mini"))
    suite.prepare()
    items = suite.items(task, trials=1)[:3]
    actions = [random_actions(item) for item in items]
    theirs = official(suite, task, items, actions, [], tmp_path)
    env = suite.make_env(task, ())
    for number, (item, played) in enumerate(zip(items, actions, strict=True)):
        compare(theirs, number, ours(env, item, played))
    env.close()


def expert_actions(suite, item):
    """The actions with which the expert solves an item, and a few more."""
    policy = make_policy(load_card(PolicyCard, "expert"), suite.card)
    env = suite.make_env(item.task, ())
    actions = []

    def advance(action, advance=env.advance):
        actions.append(np.array(action))
        return advance(action)

    env.advance = advance
    inputs = policy.card.inputs
    record = play(env, policy, item, Settings(1, 200, "latched", inputs))
    env.close()
    assert record.success
    return [*actions, *[np.zeros(13, np.float32)] * 5]


@pytest.mark.parametrize("task", TASKS)
def test_expert_actions(task, tmp_path):
    suite = make_suite(load_card(SuiteCard, "ms-hab-mini"))
    suite.prepare()
    item = suite.items(task, trials=1)[0]
    actions = np.array(expert_actions(suite, item))
    theirs = official(suite, task, [item], [actions], [], tmp_path)
    env = suite.make_env(task, ())
    mine = ours(env, item, actions)
    env.close()
    assert mine["success"].any()
    compare(theirs, 0, mine)


@pytest.mark.parametrize("task", ["pick-apple", "place-bowl", "open-fridge", "close-drawer"])
def test_images(task, tmp_path):
    suite = make_suite(load_card(SuiteCard, "ms-hab-mini"))
    suite.prepare()
    item = suite.items(task, trials=1)[1]
    actions = random_actions(item, steps=12)
    theirs = official(suite, task, [item], [actions], ["head", "wrist"], tmp_path)
    env = suite.make_env(task)
    mine = ours(env, item, actions)
    env.close()
    assert mine["images"].shape == (13, 2, 128, 128, 3)
    compare(theirs, 0, mine)
