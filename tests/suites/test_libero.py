"""The LIBERO suites in the real simulator, against LIBERO's own code."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.perturbed import check_looks, check_push
from vla_bench import RunSpec, Settings, doctor, load_card, make_policy, make_suite, plan_run, play
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import MismatchError, UserError
from vla_bench.registry import prepare_card
from vla_bench.suites.libero import golden
from vla_bench.suites.libero import suite as libero_suite
from vla_bench.suites.libero.env import rotation_vector

CARD = load_card(SuiteCard, "libero")
PARTS = ("libero-spatial", "libero-object", "libero-goal", "libero-long")
CAMERAS = {"agentview": "agentview_image", "wrist": "robot0_eye_in_hand_image"}
STATE = {
    "tcp_position": lambda seen: seen["robot0_eef_pos"],
    "tcp_rotation": lambda seen: _axis_angle(seen["robot0_eef_quat"]),
    "gripper_qpos": lambda seen: seen["robot0_gripper_qpos"],
    "qpos": lambda seen: seen["robot0_joint_pos"],
}
DRAWER = "open-the-top-drawer-and-put-the-bowl-inside"
MICROWAVE = "kitchen-scene6-put-the-yellow-and-white-mug-in-the-microwave-and-close-it"
SOLVED = {
    "libero-spatial": "pick-up-the-black-bowl-from-table-center-and-place-it-on-the-plate",
    "libero-object": "pick-up-the-butter-and-place-it-in-the-basket",
    "libero-goal": "put-the-bowl-on-the-plate",
    "libero-long": "living-room-scene1-put-both-the-alphabet-soup-and-the-cream-cheese-box-in-the-basket",
}
"""A task of each suite that the expert solves."""


def _axis_angle(quaternion):
    from robosuite.utils.transform_utils import quat2axisangle

    return quat2axisangle(quaternion.copy())


@pytest.fixture(scope="module")
def suite(libero_assets):
    made = make_suite(CARD)
    made.prepare()
    return made


def settings_for(policy, **changes):
    base = Settings(8, 24, "latched", policy.card.inputs)
    return dataclasses.replace(base, **changes)


def policy_for(suite, name):
    card = prepare_card(load_card(PolicyCard, name), suite.card)
    return make_policy(card, suite.card)


def compare(env, official, item, actions, images_every=8):
    """Plays the same actions in both and demands equal bits; returns whether the last step succeeded."""
    seen = official.begin(item)
    env.begin(item)
    success = False
    for step in range(len(actions) + 1):
        drawn = step % images_every == 0 or step == len(actions)
        observed = env.observe(images=drawn)
        np.testing.assert_array_equal(env.world.state(), official.state())
        for name, of in STATE.items():
            np.testing.assert_array_equal(observed["state"][name], of(seen).astype(np.float32))
        for name, key in CAMERAS.items():
            if drawn:
                np.testing.assert_array_equal(observed["images"][name], seen[key][::-1, ::-1])
        if step < len(actions):
            seen, success = official.step(actions[step])
            assert env.advance(actions[step]) == success
    return success


@pytest.fixture
def both(suite):
    """Ours and LIBERO's own environment of a task."""
    from tests.suites.official_libero import OfficialLibero

    made = []

    def make(task):
        made.extend([suite.make_env(task), OfficialLibero(suite, task)])
        return made[-2:]

    yield make
    for environment in made:
        environment.close()


SAMPLED = range(0, len(CARD.tasks), 5)
"""Tasks of every suite that each run of the tests plays; `pytest -m long` plays the others."""


@pytest.mark.parametrize(
    "number",
    [
        n if n in SAMPLED else pytest.param(n, marks=pytest.mark.long)
        for n in range(len(CARD.tasks))
    ],
)
def test_savings_change_no_bit_of_what_libero_computes(suite, both, number):
    task = list(CARD.tasks)[number]
    actions = np.random.default_rng(number).uniform(-1, 1, (20, 7)).astype(np.float32)
    compare(*both(task), suite.items(task)[number], actions)


@pytest.mark.parametrize(
    "part", [p if p == "libero-object" else pytest.param(p, marks=pytest.mark.long) for p in PARTS]
)
def test_a_scripted_success_is_one_in_libero_too(suite, both, part):
    task = SOLVED[part]
    item, policy = suite.items(task)[0], policy_for(suite, "expert")
    env, official = both(task)
    actions = expert_actions(env, policy, item)
    assert compare(env, official, item, actions, images_every=50)
    assert official.env.check_success()


def expert_actions(env, policy, item):
    policy.reset(item)
    env.begin(item)
    actions = []
    for step in range(env.max_steps):
        actions.append(_plan(policy, env.observe(images=False), item, step))
        if env.advance(actions[-1]):
            return actions
    raise AssertionError(f"the expert failed at {item.task}")


def _plan(policy, seen, item, step):
    from vla_bench.policies.base import Observation

    shown = Observation(item, step, item.instruction, {}, seen["state"], seen["privileged"])
    return policy.plan([shown])[0, 0]


@pytest.mark.parametrize("option", ["lazy_cameras", "soft_reset", "split_step"])
@pytest.mark.parametrize("task", [DRAWER, MICROWAVE])
def test_each_saving_can_be_switched_off_and_changes_nothing(suite, option, task):
    plain = make_suite(CARD.override({option: "false"}))
    policy = policy_for(suite, "random")
    records, pictures = [], []
    for made in (suite, plain):
        env = made.make_env(task)
        for item in made.items(task)[:2]:
            records.append(play(env, policy, item, settings_for(policy)).outcome())
            pictures.append(env.observe()["images"]["wrist"])
        env.close()
    assert records[:2] == records[2:]
    np.testing.assert_array_equal(pictures[:2], pictures[2:])


@pytest.mark.parametrize("task", [SOLVED["libero-object"], DRAWER, MICROWAVE])
def test_an_episode_does_not_depend_on_what_ran_before(suite, task):
    watcher = WatchingRandom(suite)
    items = suite.items(task, episodes=4)
    env = suite.make_env(task)
    forwards = [watcher.play(env, item) for item in items]
    backwards = [watcher.play(env, item) for item in reversed(items)]
    env.close()
    fresh = suite.make_env(task)
    alone = watcher.play(fresh, items[3])
    fresh.close()
    assert forwards == backwards[::-1]
    assert alone == forwards[3]
    assert len({record["probe"] for record, _ in forwards}) == 4


class WatchingRandom:
    """Plays at random and keeps a digest of the images that it was shown."""

    def __init__(self, suite):
        self.policy = policy_for(suite, "random")
        inputs = self.policy.card.inputs.model_copy(update={"images": list(CAMERAS)})
        self.settings = settings_for(self.policy, inputs=inputs)
        self.plan, self.policy.plan = self.policy.plan, self._plan

    def _plan(self, observations):
        self.seen += [image.tobytes() for o in observations for image in o.images.values()]
        return self.plan(observations)

    def play(self, env, item):
        self.seen = []
        outcome = play(env, self.policy, item, self.settings).outcome()
        assert len(self.seen) == 6
        return outcome, [hash(image) for image in self.seen]


def test_an_episode_is_the_same_in_another_process_and_when_resumed(vla_bench, suite, tmp_path):
    """Once in this process, once in a run that is begun with one episode and gone on with to three."""
    task = MICROWAVE
    policy = policy_for(suite, "random")
    env = suite.make_env(task, ())
    settings = settings_for(policy, max_steps=None, horizon=policy.card.horizon)
    here = [play(env, policy, item, settings) for item in suite.items(task, episodes=2)]
    env.close()
    for episodes in (1, 2):
        run = vla_bench(
            "run", "--policy", "random", "--suite", "libero-long", "--tasks", task,
            "--episodes", episodes, "--out", tmp_path / "run",
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
    there = [
        json.loads(line) for line in (tmp_path / "run" / "episodes.jsonl").read_text().splitlines()
    ]
    for record in here:
        [same] = [r for r in there if r["index"] == record.index]
        assert {key: same[key] for key in record.outcome()} == record.outcome()


EVERY_TASK = """
import sys
import numpy as np
from vla_bench import load_card, make_suite
from vla_bench.cards import SuiteCard
suite = make_suite(load_card(SuiteCard, "libero"))
suite.prepare()
for task in list(suite.card.tasks)[: int(sys.argv[1])]:
    env = suite.make_env(task)
    env.begin(suite.items(task)[0])
    print(env.world_probe())
    for _ in range(20):
        env.advance(np.zeros(7, np.float32))
    images = env.observe()["images"]
    assert all(image.std() > 15 for image in images.values()), task
    env.close()
"""


def _every_task(count=40, **variables):
    """Plays the first tasks in a process of its own; the world probes of their first episodes."""
    done = subprocess.run(
        [sys.executable, "-c", EVERY_TASK, str(count)],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "WARNING" not in done.stdout + done.stderr
    return done.stdout.split()


@pytest.mark.long
def test_all_tasks_run_with_egl_and_start_as_with_osmesa(suite):
    known = [golden.golden(part).tasks for part in PARTS]
    probes = [task.episodes[0].probe for tasks in known for task in tasks.values()]
    assert _every_task(MUJOCO_GL="egl", PYOPENGL_PLATFORM="egl") == probes


def test_the_four_together_play_the_items_of_each(suite):
    for name in PARTS:
        part = make_suite(load_card(SuiteCard, name))
        for task in part.card.tasks:
            assert suite.items(task, seed=3) == part.items(task, seed=3)
            assert suite.card.steps_of(task) == part.card.max_steps
    assert len(CARD.tasks) == 40
    assert len(load_card(SuiteCard, "libero-90").tasks) == 90


def test_an_episode_leaves_the_global_generator_alone(suite):
    env = suite.make_env(DRAWER, ())
    before = np.random.get_state()[1].copy()
    env.begin(suite.items(DRAWER)[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    env.close()


def test_training_starts_are_drawn_and_never_evaluated_on(suite):
    train = make_suite(CARD.override({"split": "train"}))
    task = SOLVED["libero-object"]
    env, evaluated = train.make_env(task, ()), suite.make_env(task, ())
    probes = []
    for item in train.items(task)[:2] * 2:
        env.begin(item)
        probes.append(env.world_probe())
    evaluated.begin(suite.items(task)[0])
    assert probes[:2] == probes[2:]
    assert len({*probes, evaluated.world_probe()}) == 3
    # The arm's joints are drawn as in LIBERO's own files: 0.02 rad about the same pose.
    arm = (
        env.observe(images=False)["state"]["qpos"]
        - evaluated.observe(images=False)["state"]["qpos"]
    )
    assert 0.001 < np.abs(arm).max() < 0.15
    assert train.manifest(task)[0] not in suite.manifest(task)
    env.close()
    evaluated.close()


def test_it_is_a_gymnasium_environment(suite):
    env = suite.make_env(SOLVED["libero-goal"], render_mode="rgb_array")
    check_env(env, skip_render_check=True)
    assert env.render().shape == (256, 512, 3)
    env.close()


@pytest.mark.parametrize("protocol", list(CARD.protocols))
def test_a_protocol_is_followed_and_recorded(suite, protocol):
    made = make_suite(CARD.override({"protocol": protocol}))
    task = SOLVED["libero-spatial"]
    env = made.make_env(task)
    [item] = made.items(task, episodes=1)
    env.begin(item)
    seen = env.observe()
    sides = {image.shape for image in seen["images"].values()}
    assert sides == {(224, 224, 3) if protocol in ("openvla-oft", "openpi") else (256, 256, 3)}
    angle = np.linalg.norm(seen["state"]["tcp_rotation"])
    assert angle <= np.pi + 1e-6 or protocol != "vla-eval"
    assert item.initial_state["protocol"] == protocol
    assert (item.digest == suite.items(task)[0].digest) == (protocol == "plain")
    env.close()


def test_a_binary_gripper_never_holds(suite):
    task = SOLVED["libero-object"]
    widths = {}
    for protocol in ("plain", "vla-eval"):
        made = make_suite(CARD.override({"protocol": protocol}))
        env = made.make_env(task, ())
        env.begin(made.items(task)[0])
        for _ in range(10):
            env.advance(np.zeros(7, np.float32))
        fingers = env.observe(images=False)["state"]["gripper_qpos"]
        widths[protocol] = float(fingers[0] - fingers[1])
        env.close()
    assert widths["plain"] > 0.07
    assert widths["vla-eval"] < 0.02


def test_rotation_vectors_are_robosuite_s():
    rng = np.random.default_rng(0)
    for quaternion in rng.normal(size=(200, 4)):
        unit = quaternion / np.linalg.norm(quaternion)
        np.testing.assert_array_equal(rotation_vector(unit), _axis_angle(np.roll(unit, -1)))
    np.testing.assert_array_equal(rotation_vector(np.array([1.0, 0, 0, 0])), np.zeros(3))


@pytest.mark.parametrize("part", PARTS)
def test_worlds_start_where_they_should(suite, part):
    known = golden.golden(part)
    assert known.engine == CARD.engine
    assert {len(task.episodes) for task in known.tasks.values()} == {50}
    for number, task in enumerate(load_card(SuiteCard, part).tasks):
        if number % 3 == 0:
            found = suite.settled(task, episodes=2)
            expected = known.tasks[task]
            for index, (seed, probe, positions) in enumerate(found):
                assert (seed, probe) == (
                    expected.episodes[index].seed,
                    expected.episodes[index].probe,
                )
                assert expected.moved(index, positions) is None


@pytest.fixture
def moved_task(suite, monkeypatch):
    """Name of a task whose golden world says that everything stands 2 cm elsewhere on each axis."""
    known = golden.golden("libero-spatial")
    task = list(known.tasks)[5]
    episode = known.tasks[task].episodes[0]
    shifted = episode.model_copy(update={"positions": [p + 200 for p in episode.positions]})
    entry = known.tasks[task].model_copy(update={"episodes": [shifted]})
    moved = known.model_copy(update={"tasks": {**known.tasks, task: entry}})
    monkeypatch.setattr(libero_suite, "golden", lambda _: moved)
    return task


def test_a_world_that_moved_stops_the_run_and_is_named(moved_task, tmp_path):
    spec = RunSpec("random", "libero-spatial", tasks=[moved_task], episodes=1, out=tmp_path)
    with pytest.raises(MismatchError, match=f"{moved_task}: .* stands 34.* mm from where it stood"):
        plan_run(spec)
    allowed = plan_run(dataclasses.replace(spec, allow_mismatch=True))
    assert moved_task in allowed.manifest.mismatches[0]


def test_doctor_names_the_task_whose_world_moved(moved_task):
    card = load_card(SuiteCard, "libero-spatial")
    few = {task: card.tasks[task] for task in list(card.tasks)[4:6]}
    [finding] = doctor.worlds(make_suite(card.model_copy(update={"tasks": few})))
    assert not finding.ok
    assert finding.found.count("stands") == 1
    assert moved_task in finding.found


def test_another_mujoco_stops_the_run_with_the_command_that_mends_it(suite, monkeypatch, tmp_path):
    from vla_bench import compatibility

    monkeypatch.setattr(
        compatibility, "installed_version", lambda n: {**CARD.engine, "mujoco": "3.8.1"}[n]
    )
    spec = RunSpec(policy="random", suite="libero-object", episodes=1, out=tmp_path)
    with pytest.raises(MismatchError, match=r"found 3\.8\.1; run `pip install mujoco==3\.3\.2`"):
        plan_run(spec)
    allowed = plan_run(
        dataclasses.replace(spec, allow_mismatch=True, tasks=[SOLVED["libero-object"]])
    )
    assert "mujoco 3.3.2, found 3.8.1" in allowed.manifest.mismatches[0]


def _fails(vla_bench, *arguments, **environment):
    done = vla_bench(
        "run", "--policy", "random", "--suite", "libero-object", "--episodes", 1, *arguments,
        **environment,
    )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_what_is_missing_gets_one_clear_line(vla_bench, libero_assets, tmp_path):
    missing = _fails(vla_bench, VLA_BENCH_LIBERO_ASSETS=str(tmp_path))
    assert "vla-bench assets libero-object" in missing
    assert "$VLA_BENCH_LIBERO_ASSETS" in missing
    typo = _fails(vla_bench, "--tasks", "pick-up-the-buter-and-place-it-in-the-basket")
    assert "did you mean 'pick-up-the-butter-and-place-it-in-the-basket'?" in typo
    unknown = _fails(vla_bench, "--set", "suite.protocol=openpie")
    assert "did you mean 'openpi'?" in unknown
    assert "expected egl or osmesa" in _fails(vla_bench, MUJOCO_GL="glfw")
    # A mesh that is gone.
    folder = tmp_path / "assets"
    shutil.copytree(libero_assets, folder, copy_function=os.symlink)
    [gone] = folder.glob("stable_hope_objects/butter/butter.xml")
    gone.unlink()
    task = SOLVED["libero-object"]
    broken = _fails(vla_bench, "--tasks", task, VLA_BENCH_LIBERO_ASSETS=str(folder))
    assert f"{task} cannot be built from" in broken


def test_without_any_opengl_one_line_says_what_to_install(suite, monkeypatch):
    from vla_bench.suites.libero import opengl

    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr("ctypes.util.find_library", lambda _: None)
    with pytest.raises(UserError, match="apt-get install libosmesa6"):
        opengl.choose()


@pytest.mark.parametrize("damage", ["cut", "gone", "foreign"])
def test_a_damaged_file_of_initial_states_is_named(suite, monkeypatch, tmp_path, damage):
    from vla_bench.suites.libero import files

    task = CARD.tasks[SOLVED["libero-object"]]
    folder, name = task.parameters["folder"], task.parameters["file"]
    original = files.package_root() / "init_files" / folder / f"{name}.pruned_init"
    copy = tmp_path / "init_files" / folder / original.name
    copy.parent.mkdir(parents=True)
    if damage == "cut":
        copy.write_bytes(original.read_bytes()[:3000])
    if damage == "foreign":
        import zipfile

        with zipfile.ZipFile(copy, "w") as archive:
            archive.writestr("archive/data.pkl", b"cos\nsystem\n(S'true'\ntR.")
    monkeypatch.setattr(files, "package_root", lambda: tmp_path)
    with pytest.raises(UserError, match=r"pruned_init cannot be read.*pip install"):
        files.states_of(task)


def test_nothing_is_asked_and_nothing_written_to_the_home_folder(libero_assets, tmp_path):
    _every_task(1, HOME=str(tmp_path), VLA_BENCH_LIBERO_ASSETS=str(libero_assets))
    assert not (tmp_path / ".libero").exists()


def test_closing_an_environment_leaves_the_pictures_of_others_alone(suite):
    first, second = SOLVED["libero-object"], SOLVED["libero-spatial"]
    early = suite.make_env(first)
    late = suite.make_env(second)

    def seen():
        late.begin(suite.items(second)[0])
        return late.observe()["images"]

    before = seen()
    early.begin(suite.items(first)[0])
    early.observe()
    seen()
    early.close()
    after = seen()
    late.close()
    for camera in before:
        assert np.array_equal(before[camera], after[camera])


@pytest.mark.parametrize(
    "task",
    ["put-the-bowl-on-the-stove", "open-the-middle-drawer-of-the-cabinet", "turn-on-the-stove"],
)
def test_a_push_shows_from_its_step_on_and_in_no_other_episode(libero_assets, task):
    """On an object, on a drawer, on a knob."""
    check_push(make_suite(load_card(SuiteCard, "libero-goal")), task, "push-object", steps=62)


def test_camera_light_and_background_change_images_and_nothing_else(libero_assets):
    goal = make_suite(load_card(SuiteCard, "libero-goal"))
    check_looks(goal, "put-the-bowl-on-the-stove")


def test_the_base_stands_fast(libero_assets):
    spec = RunSpec("hold", "libero-goal", perturbations=["push-base:1"])
    with pytest.raises(UserError, match=r"libero-goal has no push-base; it allows .*push-object"):
        plan_run(spec)
