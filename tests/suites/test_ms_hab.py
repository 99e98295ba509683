"""The MS-HAB suite on its mini world, in the real simulator."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.perturbed import check_looks, check_push
from vla_bench import Policy, Settings, load_card, make_policy, make_suite, play
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.environments import environment_id
from vla_bench.execution.inline import InlineExecutor
from vla_bench.items import items_digest
from vla_bench.suites.ms_hab.mini import MINI_WORLD_VERSION

GOLDEN = Path(__file__).with_name("ms_hab_mini_golden.json")
TASKS = list(load_card(SuiteCard, "ms-hab-mini").tasks)


@pytest.fixture(scope="module")
def suite():
    made = make_suite(load_card(SuiteCard, "ms-hab-mini"))
    made.prepare()
    return made


def policy_for(suite, name, **changes):
    return make_policy(load_card(PolicyCard, name).model_copy(update=changes), suite.card)


def settings_for(policy, **changes):
    base = Settings(horizon=8, max_steps=60, outcome="latched", inputs=policy.card.inputs)
    return dataclasses.replace(base, **changes)


@pytest.mark.parametrize("task", TASKS)
def test_an_episode_does_not_depend_on_what_ran_before(suite, task):
    policy = policy_for(suite, "random")
    items = suite.items(task, episodes=5, trials=1)
    env = suite.make_env(task, ())
    forwards = [play(env, policy, item, settings_for(policy)) for item in items]
    backwards = [play(env, policy, item, settings_for(policy)) for item in reversed(items)]
    env.close()
    fresh = suite.make_env(task, ())
    alone = play(fresh, policy, items[4], settings_for(policy))
    fresh.close()
    assert [r.outcome() for r in forwards] == [r.outcome() for r in reversed(backwards)]
    assert alone.outcome() == forwards[4].outcome()
    assert len({r.states for r in forwards}) == 5


def test_an_episode_is_the_same_in_another_process(suite):
    code = (
        "import json; from tests.suites.test_ms_hab import *;"
        "s = make_suite(load_card(SuiteCard, 'ms-hab-mini')); p = policy_for(s, 'random');"
        "env = s.make_env('place-bowl', ()); item = s.items('place-bowl')[2];"
        "print(json.dumps(play(env, p, item, settings_for(p)).outcome()))"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        ).stdout.splitlines()[-1]
        for seed in ("1", "2")
    ]
    policy = policy_for(suite, "random")
    env = suite.make_env("place-bowl", ())
    here = play(env, policy, suite.items("place-bowl")[2], settings_for(policy)).outcome()
    env.close()
    assert [json.loads(line) for line in printed] == [here, here]


class Watcher(Policy):
    """Plays random chunks and keeps every image that it reads."""

    def reset(self, item):
        self.seen = {}

    def plan(self, observations):
        observation = observations[0]
        self.seen[observation.step] = {k: v.copy() for k, v in observation.images.items()}
        draw = observation.item.generator(f"{observation.step}").uniform(-1, 1, (1, 8, 13))
        return draw.astype(np.float32)


def test_rendering_only_what_is_read_changes_nothing(suite):
    card = load_card(PolicyCard, "random")
    inputs = card.inputs.model_copy(update={"images": ["head", "wrist"], "state": {"qpos": 12}})
    card = card.model_copy(update={"inputs": inputs})
    item = suite.items("close-drawer")[0]
    records, images, steps = [], [], []
    env = suite.make_env("close-drawer")
    for every in (False, True):
        watcher = Watcher(card, suite.card)
        states = []
        settings = settings_for(watcher, max_steps=32, observe_every_step=every)
        sink = lambda e, *_, states=states: states.append(e.state_bytes())  # noqa: E731
        records.append(play(env, watcher, item, settings, sink))
        images.append(watcher.seen)
        steps.append(states)
    env.close()
    blind_env = suite.make_env("close-drawer", ())
    blind = Watcher(
        card.model_copy(update={"inputs": card.inputs.model_copy(update={"images": []})}),
        suite.card,
    )
    unseen = play(blind_env, blind, item, settings_for(blind, max_steps=32))
    blind_env.close()
    assert steps[0] == steps[1]
    assert records[0].outcome() == records[1].outcome() == unseen.outcome()
    assert list(images[0]) == [0, 8, 16, 24]
    for step, seen in images[0].items():
        for camera, image in seen.items():
            np.testing.assert_array_equal(image, images[1][step][camera])
            assert image.shape == (128, 128, 3)
            assert image.std() > 10  # a picture of something


def test_states_are_the_same_with_and_without_images(suite):
    env = suite.make_env("pick-apple")
    env.begin(suite.items("pick-apple")[0])
    for step in range(6):
        before, full, after = env.observe(images=False), env.observe(), env.observe(images=False)
        assert (before["images"], sorted(full["images"])) == ({}, ["head", "wrist"])
        for group in ("state", "privileged"):
            assert before[group].keys() == full[group].keys()
            for name, entry in full[group].items():
                assert before[group][name].tobytes() == entry.tobytes(), (step, name)
                assert after[group][name].tobytes() == entry.tobytes(), (step, name)
        env.advance(np.full(13, 0.3, np.float32))
    env.close()


def test_episodes_in_step_are_the_same_as_one_after_the_other(suite):
    policy = policy_for(suite, "random")
    items = suite.items("place-bowl", episodes=4, trials=1)
    settings = settings_for(policy, max_steps=24)
    records = [
        {
            r.item: r.outcome()
            for r in InlineExecutor(suite, policy, settings, None, batch=n).run(items)
        }
        for n in (1, 3)
    ]
    assert records[0] == records[1]
    assert len({outcome["states"] for outcome in records[0].values()}) == 4
    assert all(outcome["status"]["force"] >= 0 for outcome in records[0].values())


def test_two_cameras_see_different_things(suite):
    env = suite.make_env("pick-apple")
    env.begin(suite.items("pick-apple")[0])
    images = env.observe()["images"]
    env.close()
    assert np.abs(images["head"].astype(int) - images["wrist"]).mean() > 5


@pytest.mark.parametrize("task", TASKS)
def test_gymnasium_accepts_the_environment(suite, task):
    env = gymnasium.make(environment_id(suite.card), task=task, disable_env_checker=True)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_head_joints_stay_still(suite):
    env = suite.make_env("open-fridge", ())
    env.begin(suite.items("open-fridge")[0])
    before = env.observe()["state"]["qpos"]
    action = np.zeros(13, np.float32)
    action[8:10] = 1
    for _ in range(10):
        env.advance(action)
    after = env.observe()["state"]["qpos"]
    env.close()
    np.testing.assert_allclose(after[[1, 3]], before[[1, 3]], atol=1e-4)
    assert action[8] == 1  # the caller's array is left alone


@pytest.mark.parametrize("task", TASKS)
def test_manifest_is_pinned_and_covers_the_apartments(suite, task):
    states = suite.manifest(task)
    assert len({json.dumps(s, sort_keys=True) for s in states}) == len(states) == 300
    assert len({s["scene"] for s in states[:4]}) == 4


def test_a_changed_world_is_a_new_version_of_the_suite(suite):
    assert suite.card.version == MINI_WORLD_VERSION


@pytest.mark.parametrize("task", TASKS)
def test_the_pinned_world_has_not_moved(suite, task):
    """Items and world probes of version 1 of ms-hab-mini: if these change, so must the version."""
    golden = json.loads(GOLDEN.read_text())[task]
    items = suite.items(task)
    assert items_digest(items) == golden["items"]
    env = suite.make_env(task, ())
    for item, probe in zip(items, golden["probes"], strict=False):
        env.begin(item)
        assert env.world_probe() == probe
    env.close()


def test_train_and_val_share_no_apartment():
    card = load_card(SuiteCard, "ms-hab-mini")
    scenes = [
        {s["scene"] for s in make_suite(card.override({"split": split})).manifest("pick-apple")}
        for split in ("train", "val")
    ]
    assert not scenes[0] & scenes[1]


def test_the_real_suite_reads_the_same_formats(vla_bench, suite, tmp_path):
    run = vla_bench(
        *("run", "--policy", "hold", "--suite", "ms-hab", "--tasks", "close-drawer"),
        *("--episodes", "2", "--trials", "1", "--out", "out"),
        MS_ASSET_DIR=str(suite.asset_root()),
    )
    assert run.returncode == 0, run.stderr
    assert "0/2" in run.stdout


def test_a_missing_simulator_is_one_line(vla_bench, tmp_path):
    (tmp_path / "mani_skill.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'mani_skill'\", name='mani_skill')"
    )
    failed = vla_bench(
        *("run", "--policy", "hold", "--suite", "ms-hab-mini"), PYTHONPATH=str(tmp_path)
    )
    assert failed.returncode == 1
    assert "pip install 'vla-bench[ms-hab]'" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


def test_missing_assets_are_one_line(vla_bench, tmp_path):
    failed = vla_bench(
        "run", "--policy", "hold", "--suite", "ms-hab", MS_ASSET_DIR=str(tmp_path / "none")
    )
    assert failed.returncode == 1
    assert "run `vla-bench assets ms-hab`" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


def test_no_vulkan_is_one_line(vla_bench):
    failed = vla_bench(
        *("run", "--policy", "hold", "--suite", "ms-hab-mini", "--episodes", "1"),
        VK_ICD_FILENAMES="/nonexistent.json",
        VK_DRIVER_FILES="/nonexistent.json",
    )
    assert failed.returncode == 1
    assert "install a Vulkan driver" in failed.stderr.splitlines()[-1]
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("name", [pytest.param("hold", marks=pytest.mark.long), "random"])
def test_doing_nothing_and_flailing_never_succeed(suite, name):
    policy = policy_for(suite, name)
    for task in TASKS:
        env = suite.make_env(task, ())
        for item in suite.items(task, episodes=3, trials=1):
            record = play(env, policy, item, settings_for(policy, max_steps=200))
            assert (record.success, record.reason, record.steps) == (False, "timeout", 200)
        env.close()


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("pick-apple", "push-base"),
        ("pick-apple", "push-object"),
        ("open-fridge", "push-object"),
        ("close-drawer", "push-object"),
    ],
)
def test_a_push_shows_from_its_step_on_and_in_no_other_episode(suite, task, name):
    check_push(suite, task, name, steps=62)


def test_camera_light_and_background_change_images_and_nothing_else(suite):
    check_looks(suite, "pick-apple", index=1)
