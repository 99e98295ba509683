"""MS-HAB with physics on a GPU. Skipped where there is none; what is here has yet to meet one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vla_bench import RunSpec, Settings, execute, load_card, make_policy, make_suite, plan_run
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.execution.waves import WaveExecutor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU: PhysX on CUDA"),
]
TASKS = list(load_card(SuiteCard, "ms-hab-mini").tasks)


@pytest.fixture(scope="module")
def suite():
    made = make_suite(load_card(SuiteCard, "ms-hab-mini-gpu"))
    made.prepare()
    return made


@pytest.mark.parametrize("task", TASKS)
def test_lanes_start_where_the_cpu_s_environment_does(suite, task):
    """Same pinned starts, whatever the physics; four lanes in apartments of their own."""
    cpu = make_suite(load_card(SuiteCard, "ms-hab-mini"))
    cpu.prepare()
    wave = suite.make_wave(task, ())
    wave.begin(suite.items(task, episodes=4, trials=1))
    seen = wave.observe()
    probes = {wave.world_probe(lane) for lane in range(4)}
    wave.close()
    env = cpu.make_env(task, ())
    for item, found in zip(cpu.items(task, episodes=4, trials=1), seen, strict=True):
        env.begin(item)
        expected = env.observe()
        for group in ("state", "privileged"):
            for name, value in expected[group].items():
                np.testing.assert_allclose(found[group][name], value, atol=1e-3, err_msg=name)
    env.close()
    assert len(probes) == 4


@pytest.mark.parametrize("task", TASKS)
def test_a_wave_of_lanes_in_different_apartments_plays_to_its_end(suite, task):
    policy = make_policy(load_card(PolicyCard, "random"), suite.card)
    settings = Settings(8, 24, "latched", policy.card.inputs)
    items = suite.items(task, episodes=6, trials=1)
    records = list(WaveExecutor(suite, policy, settings, None, batch=4).run(items))
    assert [r.reason for r in records] == ["timeout"] * 6, [r.error for r in records]
    assert len({r.states for r in records}) == 6
    assert all(np.isfinite(list(r.status.values())).all() for r in records)


def test_what_a_gripper_holds_stays_in_it(suite):
    wave = suite.make_wave("place-bowl", ())
    wave.begin(suite.items("place-bowl", episodes=4, trials=1))
    hold = np.zeros((4, 13), np.float32)
    hold[:, 7] = -1
    grasped = []
    for _ in range(30):
        wave.advance(hold)
        grasped.append([seen["state"]["is_grasped"][0] for seen in wave.observe(images=False)])
    wave.close()
    assert np.mean(grasped[5:]) > 0.8


def test_a_lane_is_not_moved_by_what_another_does(suite):
    items = suite.items("open-drawer", episodes=2, trials=1)
    wave = suite.make_wave("open-drawer", ())
    actions = np.zeros((2, 13), np.float32)
    actions[1] = 1
    wave.begin(items)
    before = wave.observe(images=False)
    for _ in range(10):
        wave.advance(actions)
    after = wave.observe(images=False)
    wave.close()
    moved = [
        np.abs(b["state"]["base_pose"] - a["state"]["base_pose"]).max()
        for a, b in zip(after, before, strict=True)
    ]
    assert moved[0] < 0.01 < 0.1 < moved[1]


def test_cameras_see_each_lane_s_own_apartment(suite):
    wave = suite.make_wave("pick-apple")
    wave.begin(suite.items("pick-apple", episodes=2, trials=1))
    first, second = (seen["images"] for seen in wave.observe())
    wave.close()
    for name, image in first.items():
        assert image.shape == (128, 128, 3)
        assert image.dtype == np.uint8
        assert image.std() > 10
        assert np.abs(image.astype(int) - second[name]).mean() > 1


def test_a_run(tmp_path):
    run = plan_run(
        RunSpec(
            "expert",
            "ms-hab-mini-gpu",
            tasks=["close-drawer"],
            episodes=4,
            trials=1,
            batch=4,
            out=tmp_path,
        )
    )
    records = execute(run)
    assert {r.reason for r in records} <= {"success", "timeout"}, [r.error for r in records]
    assert "gpu" in run.manifest.hardware
