"""Collecting, on the toy suite that draws its own images."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from vla_bench.cards import PolicyCard, SuiteCard, load_card
from vla_bench.errors import MismatchError, UserError
from vla_bench.items import WorkItem
from vla_bench.learning import progress
from vla_bench.learning.collect import CLEAN_EVERY, CollectSpec, collect
from vla_bench.learning.demonstrations import load_demonstrations
from vla_bench.learning.demonstrator import STEPS_AFTER_SUCCESS, Demonstrator
from vla_bench.registry import make_policy, make_suite, prepare_card
from vla_bench.suites.micro.env import MicroEnv
from vla_bench.suites.micro.suite import MicroSuite

GRIPPER = 4


def collected(out, **changes):
    """Collects and returns what was said on the way."""
    said = []
    options = {"suite": "micro", "out": out, "tasks": ["pick-red"], "episodes": 6, **changes}
    collect(CollectSpec(**options), said.append)
    return said


def content(path):
    """Every dataset and attribute of a file, by its path."""
    found = {}

    def note(name, node):
        found[name] = node[:].tolist() if isinstance(node, h5py.Dataset) else None
        found.update({f"{name}@{key}": str(value) for key, value in node.attrs.items()})

    with h5py.File(path) as file:
        found.update({f"@{key}": str(value) for key, value in file.attrs.items()})
        file.visititems(note)
    return found


def test_what_is_recorded_comes_back(tmp_path):
    collected(tmp_path)
    with h5py.File(tmp_path / "pick-red.h5") as file:
        assert file.attrs["suite"] == "micro"
        assert file.attrs["split"] == "train"
        assert file.attrs["noise"] == 0.1
        recorded = [
            (group["actions"][:], group["images/wrist"][:], group["privileged/objects"][:])
            for group in file.values()
        ]
    loaded = load_demonstrations(tmp_path)
    assert len(loaded) == len(recorded) == 6
    for demonstration, (actions, images, objects) in zip(loaded, recorded, strict=True):
        assert demonstration.suite == "micro"
        assert demonstration.instruction == "pick up the red ball"
        np.testing.assert_array_equal(demonstration.actions, actions)
        np.testing.assert_array_equal(demonstration.images["wrist"], images)
        np.testing.assert_array_equal(demonstration.state["objects"], objects)
        assert images.std() > 5


def test_executed_actions_lead_through_the_recorded_states(tmp_path):
    collected(tmp_path)
    card = load_card(SuiteCard, "micro").override({"split": "train"})
    with h5py.File(tmp_path / "pick-red.h5") as file:
        for group in file.values():
            env = make_suite(card).make_env("pick-red")
            env.begin(_item(card, group))
            held = []
            for step, action in enumerate(group["executed"][:]):
                seen = env.observe()
                for name, value in seen["state"].items():
                    np.testing.assert_array_equal(group[f"state/{name}"][step], value)
                np.testing.assert_array_equal(group["images/head"][step], seen["images"]["head"])
                np.testing.assert_allclose(group["gripper"][step], env.gripper_position(), 1e-6)
                view = env.viewpoints()["wrist"]
                for name in ("intrinsics", "extrinsics"):
                    recorded = group[f"views/wrist/{name}"][step]
                    np.testing.assert_allclose(recorded, getattr(view, name), rtol=0, atol=1e-5)
                held.append(env.advance(action))
            first = held.index(True) + 1
            assert group.attrs["success_step"] == first
            assert len(held) == first + STEPS_AFTER_SUCCESS


def _item(card, group):
    """The item of a recorded episode; its digest proves that it is the same."""
    for index in range(18):
        item = WorkItem(
            suite="micro",
            version=card.version,
            task="pick-red",
            trial=0,
            index=index,
            seed=int(group.attrs["seed"]),
            instruction=str(group.attrs["instruction"]),
            initial_state=json.loads(group.attrs["initial_state"]),
        )
        if item.digest == group.attrs["item"]:
            return item
    raise AssertionError("no such item")


def test_labels_differ_from_what_is_executed_just_where_the_noise_is(tmp_path):
    said = collected(tmp_path, episodes=11)
    assert all(now.success for now in said), "the test takes episodes for attempts"
    with h5py.File(tmp_path / "pick-red.h5") as file:
        for number, group in enumerate(file.values()):
            difference = np.abs(group["executed"][:] - group["actions"][:])
            assert not difference[:, GRIPPER].any()
            if number % CLEAN_EVERY == 0:
                assert not difference.any()
            else:
                # Where action and noise are both beyond full scale, clipping hides the noise.
                assert (difference[:, :GRIPPER] > 0).mean() > 0.7
                assert difference.max() < 0.6


def test_without_noise_nothing_differs(tmp_path):
    collected(tmp_path, noise=0.0)
    with h5py.File(tmp_path / "pick-red.h5") as file:
        for group in file.values():
            np.testing.assert_array_equal(group["executed"], group["actions"])


def test_options_of_the_suite(tmp_path):
    for name, push in (("default", {}), ("none", {"push": "0.0"}), ("same", {"push": "0.08"})):
        collected(tmp_path / name, options={**push, "split": "val"})
    default, none, same = (load_demonstrations(tmp_path / n) for n in ("default", "none", "same"))
    for demonstration, other in zip(default, same, strict=True):
        np.testing.assert_array_equal(demonstration.actions, other.actions)
    assert [d.actions.tolist() for d in default] != [d.actions.tolist() for d in none]
    with h5py.File(tmp_path / "none/pick-red.h5") as file:
        assert file.attrs["split"] == "train"


def test_same_command_twice(tmp_path):
    for name in ("a", "b"):
        collected(tmp_path / name, image_size=16)
    collected(tmp_path / "c", image_size=16, seed=1)
    first, second, other = (content(tmp_path / name / "pick-red.h5") for name in "abc")
    assert first == second
    assert "episode-0005/images/head" in first
    assert first["episode-0001/executed"] != other["episode-0001/executed"]


def test_images_of_one_step_in_so_many(tmp_path):
    collected(tmp_path / "all", image_size=16)
    collected(tmp_path / "some", image_size=16, image_every=4)
    collected(tmp_path / "none", image_every=0)
    everything, some, nothing = (load_demonstrations(tmp_path / n) for n in ("all", "some", "none"))
    for full, part, bare in zip(everything, some, nothing, strict=True):
        np.testing.assert_array_equal(full.actions, part.actions)
        np.testing.assert_array_equal(full.actions, bare.actions)
        np.testing.assert_array_equal(part.image_steps, np.arange(0, len(part.actions), 4))
        np.testing.assert_array_equal(full.images["head"][::4], part.images["head"])
        assert full.images["head"].shape == (len(full.actions), 16, 16, 3)
        assert not bare.images


def test_what_fails_is_dropped_and_another_is_tried(tmp_path, monkeypatch):
    advance, begun = MicroEnv.advance, []

    def begin(self, item, begin=MicroEnv.begin):
        begun.append(item)
        begin(self, item)

    monkeypatch.setattr(MicroEnv, "begin", begin)
    # The first and the third episode never succeed.
    monkeypatch.setattr(
        MicroEnv, "advance", lambda self, a: advance(self, a) and len(begun) not in (1, 3)
    )
    said = collected(tmp_path, episodes=3)
    assert [now.success for now in said] == [False, True, False, True, True]
    assert (said[-1].kept, said[-1].tried) == (3, 5)
    with h5py.File(tmp_path / "pick-red.h5") as file:
        kept = [group.attrs["item"] for group in file.values()]
    assert kept == [begun[index].digest for index in (1, 3, 4)]


def test_too_few_succeed(tmp_path):
    with pytest.raises(
        UserError, match=r"pick-red: 0 of 6 episodes succeeded, 2 are wanted.*--noise"
    ):
        collected(tmp_path, policy="hold", episodes=2)
    assert list(tmp_path.iterdir()) == []


def test_a_short_manifest_is_gone_through_again(tmp_path, monkeypatch):
    manifest = MicroSuite.manifest
    monkeypatch.setattr(MicroSuite, "manifest", lambda self, task: manifest(self, task)[:4])
    monkeypatch.setattr(MicroSuite, "items", lambda self, task: [])
    collected(tmp_path, episodes=6)
    with h5py.File(tmp_path / "pick-red.h5") as file:
        starts = [group.attrs["initial_state"] for group in file.values()]
        seeds = [group.attrs["seed"] for group in file.values()]
    assert starts[:2] == starts[4:]
    assert len(set(starts)) == 4
    assert len(set(seeds)) == 6


def test_no_episode_of_the_evaluation(tmp_path, monkeypatch):
    collected(tmp_path / "apart")
    with h5py.File(tmp_path / "apart/pick-red.h5") as file:
        starts = [json.loads(group.attrs["initial_state"]) for group in file.values()]
    evaluated = make_suite(load_card(SuiteCard, "micro")).manifest("pick-red")
    assert starts
    assert not [start for start in starts if start in evaluated]

    shared = {"split": "val", "draw": 7}
    train = [{"split": "train", "draw": 0}, shared]
    monkeypatch.setattr(
        MicroSuite,
        "manifest",
        lambda self, task: train if self.card.options["split"] == "train" else [shared],
    )
    with pytest.raises(UserError, match=r"initial states of the train split are evaluated on.*7"):
        collected(tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"suite": "line"}, "line has no train split"),
        ({"tasks": ["pick-rad"]}, "no task 'pick-rad' in micro; did you mean 'pick-red'"),
        ({"episodes": 0}, "--episodes 0"),
        ({"noise": -0.1}, "--noise -0.1"),
        ({"image_size": 0}, "--image-size 0"),
        ({"image_every": -1}, "--image-every -1"),
        ({"options": {"slop": "0"}}, "slop: micro has no such option; did you mean 'slip'"),
        ({"policy": "walker"}, "walker reads camera 'front'"),
    ],
)
def test_mistakes(tmp_path, changes, pattern):
    with pytest.raises((UserError, MismatchError), match=pattern):
        collected(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_collected_task_is_left_alone(tmp_path):
    collected(tmp_path)
    path = tmp_path / "pick-red.h5"
    before = (path.stat().st_ino, path.stat().st_mtime_ns)
    said = collected(tmp_path, tasks=["pick-red", "pick-blue"])
    assert [now.tried for now in said[:2]] == [0, 1]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before
    for changes in (
        {"options": {"push": "0.2"}},
        {"noise": 0.2},
        {"seed": 1},
        {"episodes": 5},
        {"image_size": 8},
    ):
        with pytest.raises(UserError, match=f"collected with {next(iter(changes))} .*delete it"):
            collected(tmp_path, **changes)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before


def test_a_collection_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    advance, steps = MicroEnv.advance, []

    def falls_over(self, action):
        steps.append(action)
        if len(steps) == 100:
            raise RuntimeError("the simulator fell over")
        return advance(self, action)

    monkeypatch.setattr(MicroEnv, "advance", falls_over)
    with pytest.raises(RuntimeError, match="fell over"):
        collected(tmp_path)
    assert list(tmp_path.iterdir()) == []
    collected(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pick-red.h5"]


@pytest.mark.parametrize(
    "how", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGKILL]
)
def test_a_killed_collection_resumes(tmp_path, how):
    arguments = ["collect", "--suite", "micro", "--tasks", "pick-red,pick-green"]
    arguments += ["--out", "killed", "--episodes", "400", "--image-every", "0"]
    command = [sys.executable, "-m", "vla_bench", *arguments]
    running = subprocess.Popen(
        # Where SIGINT is ignored (a background job) Python would not raise KeyboardInterrupt.
        command,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    partial = tmp_path / "killed/.pick-green.h5.part"
    deadline = time.monotonic() + 60
    while not partial.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    while running.poll() is None:
        # Python drops a KeyboardInterrupt that it raises in a finaliser; a user presses Ctrl-C again.
        os.kill(running.pid, how)
        with suppress(subprocess.TimeoutExpired):
            running.wait(timeout=1)
    assert running.returncode != 0, "it was done before it could be killed"
    assert [p.name for p in sorted((tmp_path / "killed").glob("*.h5"))] == ["pick-red.h5"]
    assert partial.exists() == (how is signal.SIGKILL)
    assert len(load_demonstrations(tmp_path / "killed")) == 400

    again = {"tasks": ["pick-red", "pick-green"], "episodes": 400, "image_every": 0}
    said = collected(tmp_path / "killed", **again)
    assert [(now.task, now.tried) for now in said[:2]] == [("pick-red", 0), ("pick-green", 1)]
    assert not [path for path in (tmp_path / "killed").iterdir() if path.name.startswith(".")]
    collected(tmp_path / "whole", **{**again, "tasks": ["pick-green"]})
    whole = content(tmp_path / "whole/pick-green.h5")
    assert content(tmp_path / "killed/pick-green.h5") == whole


def test_two_collections_of_one_task(tmp_path, monkeypatch):
    begin, nested = MicroEnv.begin, []

    def begin_and_try_another(self, item):
        begin(self, item)
        if not nested:
            nested.append(True)
            with pytest.raises(UserError, match="being collected by another process"):
                collected(tmp_path)
            nested.append("refused")

    monkeypatch.setattr(MicroEnv, "begin", begin_and_try_another)
    collected(tmp_path)
    assert nested == [True, "refused"]
    assert len(load_demonstrations(tmp_path)) == 6


def test_without_h5py(tmp_path):
    code = (
        "import sys; sys.modules['h5py'] = None; "
        "sys.argv = ['vla-bench', 'collect', '--suite', 'micro', '--out', 'data']; "
        "from vla_bench.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    expected = "error: demonstrations need h5py; run `pip install 'vla-bench[learning]'`"
    assert done.stderr.strip() == expected


def test_progress_on_a_terminal(tmp_path):
    from rich.console import Console

    with (tmp_path / "screen").open("w") as screen:
        console = Console(file=screen, force_terminal=True, width=100)
        with progress.shown(console) as on_progress:
            collect(
                CollectSpec("micro", tmp_path / "data", tasks=["pick-red"], episodes=3), on_progress
            )
    shown = Path(tmp_path / "screen").read_text()
    assert "pick-red  0 dropped" in shown
    assert "3/3" in shown


def test_a_novice_plays_first(tmp_path, monkeypatch):
    """The expert is recorded from where a learned policy has led the robot, in every process alike."""
    from vla_bench.learning.recipes import collect_for, make_weights
    from vla_bench.policies.learned.recipe import load_recipe

    monkeypatch.chdir(tmp_path)
    budget = {"training.updates": "2", "residual.updates": "2", "residual.windows": "8"}
    small = {**budget, "data.episodes": "3", "data.tasks": '["pick-red"]'}
    novice = make_weights(
        load_recipe("l1-micro", small), collect_for(load_recipe("l1-micro", small), print)
    )
    collected(tmp_path / "alone", image_every=0)
    for name in ("led", "again"):
        collected(tmp_path / name, image_every=0, novice=novice)
    alone, led, again = (content(tmp_path / n / "pick-red.h5") for n in ("alone", "led", "again"))
    assert led == again
    assert alone["@novice"] == ""
    assert len(led["@novice"]) == 16
    starts = [
        [episodes[f"episode-{i:04d}/privileged/objects"][0] for i in range(6)]
        for episodes in (alone, led)
    ]
    assert sum(a != b for a, b in zip(*starts, strict=True)) >= 5


def test_a_recipe_with_a_novice_collects_both_kinds(tmp_path, monkeypatch):
    from vla_bench.learning.recipes import collect_for
    from vla_bench.policies.learned.recipe import load_recipe

    monkeypatch.chdir(tmp_path)
    small = {"training.updates": "2", "residual.updates": "2", "residual.windows": "8"}
    small |= {"data.episodes": "2", "data.tasks": '["pick-red"]'}
    card = Path("policies/recipes/beginner.toml")
    card.parent.mkdir(parents=True)
    card.write_text(
        'extends = "l1-micro"\ndescription = "plays first"\n'
        "[data]\nepisodes = 2\ntasks = ['pick-red']\n"
        "[training]\nupdates = 2\n[residual]\nupdates = 2\nwindows = 8\n"
    )
    folder = collect_for(load_recipe("l1-micro", {**small, "data.novice": "beginner"}), print)
    found = load_demonstrations(folder)
    assert [d.source.split("/")[0] for d in found] == 2 * ["after-novice"] + 2 * ["expert"]


def test_a_novice_that_would_solve_the_episode_stops_before(tmp_path):
    """The expert as its own novice: it always solves the task first, and is recorded all the same."""
    suite = make_suite(load_card(SuiteCard, "micro").override({"split": "train"}))
    card = prepare_card(load_card(PolicyCard, "expert"), suite.card)
    expert, novice = make_policy(card, suite.card), make_policy(card, suite.card)
    with closing(suite.make_env("pick-red", ())) as env:
        alone = Demonstrator(env, expert, suite.card, None, 0)
        led = Demonstrator(env, expert, suite.card, None, 0, novice)
        for item in suite.items("pick-red", seed=0, episodes=8, trials=1):
            whole, rest = alone.play(item, 0.0, None), led.play(item, 0.0, None)
            assert whole.success_step is not None
            assert rest.success_step is not None
            assert len(rest.actions) <= len(whole.actions) + 2
            assert len(rest.actions) > 4
