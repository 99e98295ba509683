import dataclasses
import json
import re
import shlex

import numpy as np
import pytest

from vla_bench import (
    Policy,
    RunFolder,
    RunSpec,
    Settings,
    execute,
    load_card,
    make_suite,
    plan_run,
    play,
)
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.delays import find_delay, steps_of
from vla_bench.errors import UserError
from vla_bench.replay import replay_item

RUN = ("run", "--policy", "walker", "--suite", "line", "--episodes", "3", "--trials", "1")


def micro(out, **changes):
    """Random actions in chunks of eight."""
    return plan_run(RunSpec("random", "micro", episodes=3, trials=1, out=out, **changes))


def outcomes(records):
    return [record.outcome() for record in records]


class Noting(Policy):
    """Plans chunks whose actions are 0.1, 0.2, and so on, and notes what it is shown and when."""

    def __init__(self, card, suite):
        super().__init__(card, suite)
        self.noted = []

    def plan(self, observations):
        shown = observations[0]
        self.planned = shown.step
        position = float(shown.state["position"][0])
        self.noted.append(
            ("plan", shown.step, round(position, 4), int(shown.images["front"][0, 0, 0]))
        )
        actions = 0.1 * np.arange(1, self.card.chunk_length + 1, dtype=np.float32)
        return np.repeat(actions[None, :, None], 2, axis=2)


class Correcting(Noting):
    def correct(self, observation, action, k):
        self.noted.append(
            ("correct", observation.step, k, self.planned, round(float(action[0]), 4))
        )
        return action


@pytest.fixture
def line():
    return make_suite(load_card(SuiteCard, "line"))


def played(line, kind, env=None, **changes):
    """Plays an item without end with chunks of four; returns the policy and the record."""
    policy = kind(load_card(PolicyCard, "walker"), line.card)
    env = env or line.make_env("go-right")
    env.advance = lambda action: type(env).advance(env, action) and False
    settings = Settings(2, 12, "latched", policy.card.inputs)
    record = play(env, policy, line.items("go-right")[4], dataclasses.replace(settings, **changes))
    return policy, record


def test_a_plan_is_shown_the_world_of_its_observation(line):
    policy, record = played(line, Noting, delay=3)
    # Three steps of waiting; four actions, of which the last two cover two steps of the next thought;
    # one step of waiting; the two actions of the second chunk that were not for those steps; and so on.
    assert policy.noted == [("plan", 0, 0.0, 0), ("plan", 5, 0.3, 3), ("plan", 8, 1.0, 10)]
    assert (record.steps, record.queries) == (12, 3)


def test_what_is_shown_does_not_change_while_the_robot_thinks(line):
    env = line.make_env("go-right")
    env.begin(line.items("go-right")[4])
    shared = env.observe()

    def into_the_same_arrays(images=True):
        fresh = type(env).observe(env, images)
        for kind, entries in fresh.items():
            for name, array in entries.items():
                shared[kind][name][...] = array
        return shared

    plain, _ = played(line, Noting, delay=3)
    env.observe = into_the_same_arrays
    reused, _ = played(line, Noting, env, delay=3, observe_every_step=True)
    assert reused.noted == plain.noted


def test_nothing_is_corrected_while_the_robot_waits_and_a_correction_knows_its_chunk(line):
    policy, _ = played(line, Correcting, delay=3)
    corrected = [note[1:] for note in policy.noted if note[0] == "correct"]
    assert corrected == [
        *((3, 0, 0, 0.1), (4, 1, 0, 0.2), (5, 2, 0, 0.3), (6, 3, 0, 0.4)),
        *((8, 2, 5, 0.3), (9, 3, 5, 0.4)),
        (11, 2, 8, 0.3),
    ]


def test_a_robot_that_thinks_beyond_the_end_of_the_episode_stays_where_it_is(line):
    policy, record = played(line, Noting, delay=99)
    assert (record.reason, record.steps, record.queries) == ("timeout", 12, 0)
    assert record.status["overshot"] == -6.0
    assert policy.noted == []


def test_no_delay_is_the_run_without_the_option(tmp_path):
    plain, zero = micro(tmp_path / "a", horizon=4), micro(tmp_path / "b", horizon=4, delay="0")
    assert zero.manifest == plain.manifest
    assert outcomes(execute(zero)) == outcomes(execute(plain))


@pytest.mark.parametrize("delay", [1, 3, 9])
def test_a_delayed_run_gives_the_same_records_alone_and_in_a_batch(tmp_path, delay):
    first = outcomes(execute(micro(tmp_path / "a", horizon=4, delay=delay)))
    assert outcomes(execute(micro(tmp_path / "b", horizon=4, delay=delay))) == first
    assert outcomes(execute(micro(tmp_path / "c", horizon=4, delay=delay, batch=4))) == first
    undelayed = outcomes(execute(micro(tmp_path / "d", horizon=4)))
    assert all(a["actions"] != b["actions"] for a, b in zip(first, undelayed, strict=True))
    assert [a["probe"] for a in first] == [b["probe"] for b in undelayed]


def test_a_delayed_run_is_resumed_as_such_and_says_so(tmp_path, vla_bench):
    command = (*RUN, "--delay", "3", "--out", "r")
    done = vla_bench(*command)
    assert done.returncode == 0, done.stderr
    assert "walker on line, H=2, D=3" in done.stdout
    folder = RunFolder(tmp_path / "r")
    whole = outcomes(folder.records())
    lines = folder.episodes.read_text().splitlines(keepends=True)
    folder.episodes.write_text("".join(lines[:2]))
    assert vla_bench(*command).returncode == 0
    assert outcomes(folder.records()) == whole
    assert (folder.manifest.delay, folder.manifest.latency) == (3, None)
    assert "- reaction delay 3 control steps (150 ms)\n" in (folder.path / "report.md").read_text()
    assert not replay_item(folder.path, "go-on/0/1").differences
    other = vla_bench(*RUN, "--out", "r")
    assert (other.returncode, len(other.stderr.splitlines())) == (1, 1)
    assert "holds another run (delay 3, now 0)" in other.stderr


@pytest.mark.parametrize("delay", ["-1", "1.5", "much", "", "measured:", "measured"])
def test_what_is_no_delay_is_one_line(vla_bench, tmp_path, delay):
    failed = vla_bench(*RUN, f"--delay={delay}", "--out", "r")
    assert failed.returncode == 1
    assert f"--delay {delay}".strip() in failed.stderr
    assert "expected a number of control steps from 0, or measured:DEVICE" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert not (tmp_path / "r").exists()


def test_a_policy_without_a_model_has_no_measured_delay(line):
    with pytest.raises(UserError, match="walker has no model to profile; give control steps"):
        find_delay("measured:cpu", load_card(PolicyCard, "walker"), line.card)


@pytest.mark.parametrize(
    ("ms", "hz", "steps"),
    [(0.1, 10, 1), (100, 10, 1), (100.1, 10, 2), (50, 20, 1), (50.1, 20, 2), (173.2, 20, 4)],
)
def test_a_latency_is_rounded_up_to_control_steps(ms, hz, steps):
    assert steps_of(ms, hz) == steps


def test_a_sweep_over_delays_shares_its_undelayed_point(vla_bench, tmp_path):
    from vla_bench.sweeps import Arm, Sweep, plan_sweep

    def points(**changes):
        arms = [Arm(label="W", policy="walker", options={"skill": 1.0})]
        fields = {"name": "s", "description": "d", "suite": "line", "episodes": 2, "arms": arms}
        return plan_sweep(Sweep(**fields, **changes)).points

    zero, two = points(option="delay", values=[0, 2], options={"horizon": 4})
    (undelayed,) = points(option="horizon", values=[4])
    assert zero.folder == undelayed.folder != two.folder
    assert (zero.spec.delay, two.spec.delay) == (0, 2)
    with pytest.raises(UserError, match="delay=-1: expected a whole number from 0"):
        points(option="delay", values=[-1])


@pytest.mark.parametrize("values", [("0,2", "20"), ("0", "2", "20"), ("0,2,20",)])
def test_a_sweep_over_delays_from_the_command_line(vla_bench, tmp_path, values):
    flags = ("--policy", "walker", "--suite", "line", "--episodes", 2, "--trials", 1)
    fixed = ("--set", "skill=1.0", "--processes", 1, "--out", "pages")
    done = vla_bench("sweep", *flags, *fixed, "--delay", *values)
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "pages/sweeps/walker-line-delay.csv").read_text().splitlines()
    assert [row.split(",")[1:4] for row in rows[1:]] == [
        ["0", "1", "4"],
        ["2", "1", "4"],
        ["20", "1", "0"],
    ]
    assert (tmp_path / "pages/sweeps/walker-line-delay.svg").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("skill", "--delay", "1"), "found also 'skill'"),
        (("--option", "horizon", "--delay", "1"), "leave those two out"),
        (("--delay", "0,some"), "delay=some: expected a whole number from 0"),
    ],
)
def test_a_mistaken_sweep_over_delays_is_one_line(vla_bench, words, said):
    failed = vla_bench("sweep", "--policy", "walker", "--suite", "line", *words)
    assert failed.returncode == 1
    assert said in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    pytest.importorskip("torch")
    from tests.learned import checkpoint

    return checkpoint(tmp_path_factory.mktemp("weights") / "anchorvla")


@pytest.fixture
def kept(weights, tmp_path, monkeypatch):
    """Keeps a profile of the weights as if it had been measured on a device."""
    from vla_bench.policies.learned.kept_profiles import keep_profile
    from vla_bench.policies.learned.profile import profile_policy
    from vla_bench.policies.learned.subject import ProfileSpec

    monkeypatch.chdir(tmp_path)
    spec = ProfileSpec("anchorvla", "micro", str(weights), queries=1)
    profile = profile_policy(spec)

    def keep(device="cpu", ms=153.2, batch=1, **changes):
        timed = {"device": device, "latency_p50_ms": ms, "batch": batch}
        timing = profile.timing.model_copy(update=timed)
        return keep_profile(profile.model_copy(update={"timing": timing, **changes}))

    return keep


def learned(weights, **changes):
    fields = {"weights": str(weights), "episodes": 1, "trials": 1, "tasks": ["detour"]}
    return plan_run(RunSpec("anchorvla", "micro", **fields, **changes)).manifest


def test_a_measured_delay_is_that_of_the_policys_profile(weights, kept):
    kept()
    kept("NVIDIA H100 80GB HBM3", ms=15.0)
    on_cpu = learned(weights, delay="measured:cpu")
    assert (on_cpu.delay, on_cpu.latency.ms, on_cpu.latency.device) == (2, 153.2, "cpu")
    on_gpu = learned(weights, delay="measured:h100")
    assert (on_gpu.delay, on_gpu.latency.device) == (1, "NVIDIA H100 80GB HBM3")
    # What a run is depends on the steps, not on where they come from.
    assert on_cpu.identity() == learned(weights, delay=2).identity() != learned(weights).identity()
    kept(ms=201.0)
    assert learned(weights, delay="measured:cpu").delay == 3


def test_two_devices_of_one_name_are_told_apart(weights, kept):
    kept("NVIDIA H100 80GB HBM3")
    kept("NVIDIA H200")
    with pytest.raises(
        UserError, match=r"2 profiles fit: NVIDIA H.*write more of the device's name"
    ):
        learned(weights, delay="measured:nvidia")
    assert learned(weights, delay="measured:h200").delay == 2


def test_profiles_of_something_else_are_not_taken(weights, kept):
    assert kept(batch=4) is None
    assert kept(weights_digest="") is None
    with pytest.raises(UserError, match="found no profile of anchorvla"):
        learned(weights, delay="measured:cpu")
    kept(weights_digest="0123")
    kept(suite="ms-hab")
    kept(sampling={"steps": 1, "select": "argmax"})
    with pytest.raises(UserError) as error:
        learned(weights, delay="measured:cpu")
    for words in ("weights 0123", "anchorvla on ms-hab, ", "steps 1, select argmax, on cpu"):
        assert words in str(error.value).partition("found")[2]
    kept("NVIDIA H200")
    with pytest.raises(UserError, match=r"found anchorvla on micro, [^;]*, on NVIDIA H200\. "):
        learned(weights, delay="measured:cpu")


def test_a_damaged_profile_is_named(weights, kept):
    kept().write_text("{}")
    with pytest.raises(UserError, match=r"anchorvla_micro_\w+\.json is not a profile"):
        learned(weights, delay="measured:cpu")


def test_the_command_that_is_told_makes_the_profile(weights, vla_bench, tmp_path):
    run = ("run", "--policy", "anchorvla", "--suite", "micro", "--tasks", "detour", "--out", "r")
    run += ("--episodes", 1, "--trials", 1, "--weights", weights, "--set", "steps=1")
    failed = vla_bench(*run, "--delay", "measured:cpu")
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 1
    command = shlex.split(re.search(r"`vla-bench (.*?)`", failed.stderr)[1])
    assert vla_bench(*command, "--queries", 2).returncode == 0
    done = vla_bench(*run, "--delay", "measured:cpu")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert manifest["delay"] == steps_of(manifest["latency"]["ms"], 10)
    assert re.search(
        r"- reaction delay \d+ control steps \(\d+ ms; measured: [\d.]+ ms on cpu\)",
        (tmp_path / "r" / "report.md").read_text(),
    )


def test_a_profile_is_of_the_weights_that_a_run_plays(tmp_path, weights, monkeypatch):
    from vla_bench.policies.learned.subject import ProfileSpec, find_subject

    def digest(**changes):
        return find_subject(ProfileSpec("anchorvla", "micro", **changes)).weights_digest()

    monkeypatch.chdir(tmp_path)
    assert digest() == ""
    (tmp_path / "results" / "weights").mkdir(parents=True)
    (tmp_path / "results" / "weights" / "anchorvla-micro").symlink_to(weights)
    assert len(digest()) == 16
    assert digest(settings={"horizon": "2"}) == ""
