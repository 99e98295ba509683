import dataclasses
import random

import numpy as np
import pytest

from tests.perturbed import check_looks, check_push
from vla_bench import (
    RunFolder,
    RunSpec,
    execute,
    load_card,
    make_policy,
    make_suite,
    plan_run,
    play,
)
from vla_bench.cards import PolicyCard, SuiteCard, find_cards
from vla_bench.errors import UserError
from vla_bench.execution.inline import InlineExecutor
from vla_bench.items import derive_seed
from vla_bench.perturbations.catalogue import KINDS, LEVELS, make_perturbation
from vla_bench.perturbations.rewording import SYNONYMS, reworded
from vla_bench.policies.base import Observation
from vla_bench.records import EpisodeRecord
from vla_bench.replay import replay_item
from vla_bench.settings import Settings

ALL = [f"{name}:{level}" for name in KINDS for level in LEVELS]
WORLDS = ["push-base:3", "push-object:3", "camera-shift:3", "lighting:3", "background:3"]


@pytest.fixture
def micro():
    return make_suite(load_card(SuiteCard, "micro"))


def spec(out, *perturbations, **changes):
    chosen = {"policy": "expert", "suite": "micro", "tasks": ["detour"], "episodes": 2, "trials": 1}
    return RunSpec(**{**chosen, "perturbations": perturbations, "out": out, **changes})


def outcomes(records):
    return {record.item: record.outcome() for record in records}


def observed(item, env, card, step=0):
    """What a policy that reads everything is shown at a step."""
    seen = env.observe()
    shown = Observation(item, step, item.instruction, seen["images"], seen["state"], {})
    return make_perturbation(item, card).observed(shown)


def test_a_perturbed_item_is_another_item_with_the_draws_of_its_clean_one(micro):
    clean = micro.items("detour")[3]
    perturbed = clean.under("action-noise:2")
    assert perturbed.digest != clean.digest == perturbed.clean_digest
    assert perturbed.under("none") == clean
    draws = [item.generator("noise").standard_normal(3).tolist() for item in (clean, perturbed)]
    assert draws[0] == draws[1]
    today = np.random.default_rng(derive_seed(clean.digest, "noise")).standard_normal(3).tolist()
    assert draws[0] == today


def test_without_perturbations_nothing_speaks_of_them(tmp_path):
    execute(plan_run(spec(tmp_path)))
    text = "".join((tmp_path / n).read_text() for n in ("episodes.jsonl", "manifest.json"))
    assert "perturb" not in text
    line = (tmp_path / "episodes.jsonl").read_text().splitlines()[0]
    assert EpisodeRecord.model_validate_json(line).perturbation == "none"
    assert EpisodeRecord.model_validate_json(line).model_dump_json() == line


def test_clean_episodes_are_the_same_with_and_without_perturbed_ones_between(tmp_path):
    clean = execute(plan_run(spec(tmp_path / "clean")))
    mixed = execute(plan_run(spec(tmp_path / "mixed", *ALL)))
    assert len(mixed) == len(clean) * (1 + len(ALL))
    assert outcomes(clean).items() <= outcomes(mixed).items()
    probes = {(r.index, r.probe) for r in mixed}
    assert len(probes) == len(clean)
    assert len({r.place for r in mixed}) == len(mixed)


def test_any_order_gives_the_same_records(tmp_path):
    planned = plan_run(spec(tmp_path, "action-noise:2", *WORLDS))
    first = execute(planned)
    policy = make_policy(planned.manifest.policy, planned.manifest.suite)
    items = random.Random(0).sample(planned.items, len(planned.items))
    settings = Settings.of(planned.manifest)
    shuffled = InlineExecutor(planned.suite, policy, settings, planned.folder, batch=3).run(items)
    assert outcomes(shuffled) == outcomes(first)


def test_a_run_can_be_given_more_perturbations(tmp_path):
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    execute(plan_run(spec(grown)))
    execute(plan_run(spec(grown, "push-base:1")))
    records = execute(plan_run(spec(grown, "push-base:1", "action-noise:2")))
    assert outcomes(records) == outcomes(
        execute(plan_run(spec(whole, "action-noise:2", "push-base:1", "push-base:1")))
    )
    assert (grown / "items.jsonl").read_text() == (whole / "items.jsonl").read_text()
    arms = [item.perturbation for item in RunFolder(grown).items()]
    assert arms == ["none", "action-noise:2", "push-base:1"] * 2
    execute(plan_run(spec(grown)))
    assert len(RunFolder(grown).items()) == len(RunFolder(grown).records()) == 6


@pytest.mark.parametrize(
    ("text", "suite", "message"),
    [
        ("action-nois:2", "micro", "no perturbation 'action-nois'; .*'action-noise'"),
        ("action-noise:4", "micro", "expected a level 1, 2 or 3; use --perturb action-noise:1"),
        ("action-noise", "micro", "expected a level 1, 2 or 3"),
        ("push-base:1", "line", "line has no push-base; it allows action-noise, .*paraphrase$"),
    ],
)
def test_what_cannot_be_is_refused_before_the_run(tmp_path, text, suite, message):
    policy = "walker" if suite == "line" else "expert"
    with pytest.raises(UserError, match=message):
        plan_run(spec(tmp_path / "r", text, policy=policy, suite=suite, tasks=[]))
    assert not (tmp_path / "r").exists()


def test_reset_refuses_an_item_that_it_would_not_perturb(micro):
    env = micro.make_env("detour")
    with pytest.raises(UserError, match="only `play` perturbs"):
        env.reset(options={"item": micro.items("detour")[0].under("push-base:1")})


@pytest.mark.parametrize("name", ["push-base", "push-object"])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_push_shows_from_its_step_on_and_in_no_other_episode(micro, name, index):
    check_push(micro, "detour", name, steps=31, index=index)


def test_camera_light_and_background_change_images_and_nothing_else(micro):
    check_looks(micro, "pick-red")


def test_a_camera_that_is_not_drawn_changes_no_other(micro):
    item = micro.items("pick-red")[0].under("camera-shift:2")
    images = []
    for cameras in (["wrist"], ["head", "wrist"]):
        env = micro.make_env("pick-red", cameras)
        env.begin(item)
        make_perturbation(item, micro.card).begin(env)
        images.append(env.observe()["images"]["wrist"])
    assert np.array_equal(*images)


def test_sensor_noise_depends_on_the_step_and_not_on_what_was_read_before(micro):
    item = micro.items("pick-red")[0].under("proprioception-noise:3")
    env = micro.make_env("pick-red", cameras=())
    env.begin(item)
    exact = env.observe()["state"]
    early = observed(item, env, micro.card, step=4)
    again = observed(item, env, micro.card, step=4)
    later = observed(item, env, micro.card, step=5)
    for name, values in exact.items():
        assert values.dtype == early.state[name].dtype == np.float32
        assert np.array_equal(early.state[name], again.state[name])
        assert np.all(early.state[name] != later.state[name])
        assert np.all(np.abs(early.state[name] - values) < 0.02 * 5)


@pytest.mark.parametrize("level", LEVELS)
def test_action_noise_has_its_strength_and_spares_the_gripper(micro, level):
    env = micro.make_env("pick-red", cameras=())
    noise = []
    for clean in micro.items("pick-red", episodes=100, trials=1):
        item = clean.under(f"action-noise:{level}")
        perturbation = make_perturbation(item, micro.card)
        perturbation.begin(env)
        still = np.array([0, 0, 0, 0, -1], np.float32)
        played = [perturbation.played(env, still, step) for step in range(20)]
        noise.append(np.stack(played) - still)
    assert not np.any(np.stack(noise)[..., 4])
    spread = np.std(np.stack(noise)[..., :4])
    assert spread == pytest.approx((0.05, 0.1, 0.2)[level - 1], rel=0.1)


def test_a_policy_that_reads_nothing_plays_on_unperturbed(micro):
    """Noise on sensors changes what is read, and nothing else."""
    card = load_card(PolicyCard, "hold")
    policy = make_policy(card, micro.card)
    settings = Settings(horizon=1, max_steps=10, outcome="latched", inputs=card.inputs)
    env, clean = micro.make_env("detour"), micro.items("detour")[0]
    records = [
        play(env, policy, clean.under(arm), settings).outcome()
        for arm in ("none", "proprioception-noise:3", "image-noise:3", "paraphrase:3")
    ]
    for record in records[1:]:
        assert {**record, "item": None, "perturbation": None} == {
            **records[0],
            "item": None,
            "perturbation": None,
        }


def instructions():
    for name in find_cards(SuiteCard):
        for task in load_card(SuiteCard, name).tasks.values():
            yield name, task.instruction


@pytest.mark.parametrize("level", LEVELS)
def test_other_words_for_every_task_of_every_card(level):
    """No rewording is the original's or another task's, and no noun is lost."""
    verbs = {word for verb in SYNONYMS for word in verb.split()}
    said = {}
    for suite, instruction in set(instructions()):
        if suite == "line":
            continue
        for seed in range(5):
            words = reworded(instruction, level, np.random.default_rng(seed))
            assert words != instruction
            assert set(instruction.split()) - verbs <= set(
                words.replace(",", "").replace(";", "").replace(":", "").split()
            )
            assert said.setdefault((suite, words), instruction) == instruction
    kept = {i for s, i in instructions()} & {words for _, words in said}
    assert not kept


def test_a_task_of_unknown_verbs_is_put_as_a_request():
    words = reworded("polish the lamp", 1, np.random.default_rng(0))
    assert "polish the lamp" in words
    assert words != "polish the lamp"


def test_the_policy_is_told_the_paraphrase_even_of_a_shuffled_instruction(micro):
    item = micro.items("pick-red")[0].under("paraphrase:1")
    told = []

    class Listener(type(make_policy(load_card(PolicyCard, "hold"), micro.card))):
        def plan(self, observations):
            told.append(observations[0].instruction)
            return super().plan(observations)

    card = load_card(PolicyCard, "hold")
    settings = Settings(horizon=1, max_steps=2, outcome="latched", inputs=card.inputs)
    for control in ("none", "shuffle-instructions"):
        chosen = dataclasses.replace(settings, input_control=control)
        play(micro.make_env("pick-red"), Listener(card, micro.card), item, chosen)
    assert told[0] == told[1] != item.instruction
    assert "the red ball" in told[0]
    assert told[2] == told[3] != told[0]
    assert told[2].startswith("get around the post and")


def test_a_perturbed_episode_can_be_replayed(tmp_path):
    execute(plan_run(spec(tmp_path, "push-base:2", video="all")))
    films = sorted(path.name for path in (tmp_path / "videos").iterdir())
    assert len(films) == 4
    assert films[1].startswith("detour_0_000_push-base-2_") or films[0].startswith(
        "detour_0_000_push"
    )
    for name in ("detour/0/1", "detour/0/1/push-base:2"):
        result = replay_item(tmp_path, name, tmp_path / "film.mp4")
        assert not result.differences
    assert result.record.perturbation == "push-base:2"
    with pytest.raises(UserError, match="no record of item 'detour/0/1/push-base:1'"):
        replay_item(tmp_path, "detour/0/1/push-base:1")


def test_levels_are_ordered_and_said():
    for kind in KINDS.values():
        numbers = [max(kind.levels[level - 1]) for level in LEVELS]
        assert numbers == sorted(numbers)
        assert len({kind.said(level) for level in LEVELS}) == 3


def test_the_command_line_plays_and_reports_both_arms(tmp_path, vla_bench):
    run = ("run", "--policy", "expert", "--suite", "micro", "--tasks", "detour", "--episodes", "2")
    done = vla_bench(*run, "--trials", "1", "--perturb", "push-base:2,paraphrase:1", "--out", "r")
    assert done.returncode == 0, done.stderr
    assert "6/6  detour 0/1 push-base:2  " in done.stdout
    assert "the same items under paraphrase:1" in done.stdout
    assert "`push-base:2`: one push" in (tmp_path / "r" / "report.md").read_text()
    listed = vla_bench("list", "perturbations", "--suite", "line")
    assert "paraphrase" in listed.stdout
    assert "push-base" not in listed.stdout
