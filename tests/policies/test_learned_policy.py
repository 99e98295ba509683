"""A checkpoint as a policy: what the run is told, what batching must not change, what is refused."""

import json

import numpy as np
import pytest
import torch

from tests.learned import POLICIES, livened, recipe
from vla_bench import Settings, load_card, make_policy, make_suite
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import UserError
from vla_bench.execution.inline import InlineExecutor
from vla_bench.policies.base import Observation
from vla_bench.policies.learned.checkpoint import CONFIG
from vla_bench.policies.learned.policy import LearnedPolicy
from vla_bench.runs import RunSpec, execute, plan_run

SUITE = load_card(SuiteCard, "micro")
SEEING = {"inputs__images": ("wrist", "head"), "backbone__image_size": 16, "backbone__grid": 2}
BATCH = 16


def prepared(folder, name="anchorvla", suite=SUITE, **options):
    settings = {key: str(value).lower() for key, value in options.items()}
    card = load_card(PolicyCard, name).override({**settings, "weights": str(folder)})
    return LearnedPolicy.prepare(card, suite)


def policy(folder, name="anchorvla", **options):
    return LearnedPolicy(prepared(folder, name, **options), SUITE)


@pytest.fixture(scope="module")
def observed():
    """What is seen at the start of episodes of different tasks, at different steps."""
    suite, seen = make_suite(SUITE), []
    for task in SUITE.tasks:
        env = suite.make_env(task)
        for item in suite.items(task, episodes=4, trials=1):
            raw, _ = env.reset(options={"item": item})
            seen.append(
                Observation(
                    item,
                    len(seen),
                    item.instruction,
                    raw["images"],
                    raw["state"],
                    raw["privileged"],
                )
            )
    return seen[:BATCH]


@pytest.mark.parametrize("name", [*POLICIES, "seeing"])
def test_a_batch_plans_what_each_item_gets_alone(weights, observed, name):
    changes = SEEING if name == "seeing" else {}
    name = "anchorvla" if name == "seeing" else name
    made = policy(weights(name, **changes), name)
    torch.manual_seed(0)
    livened(made.model)
    together = made.plan(observed)
    assert together.shape == (BATCH, 4, 5)
    assert together.dtype == np.float32
    assert np.ptp(together, axis=0).max() > 0.01
    for index, observation in enumerate(observed):
        alone = made.plan([observation])
        np.testing.assert_allclose(alone[0], together[index], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(made.plan(observed), together)
    backwards = made.plan(observed[::-1])
    np.testing.assert_allclose(backwards[::-1], together, rtol=1e-4, atol=1e-5)


def test_noise_is_of_the_item_and_the_step_alone(weights, observed):
    made = policy(weights("diffusion"), "diffusion")
    first, second = observed[:2]
    noise = made._noise([first, second])
    assert torch.equal(made._noise([second, first]), noise[[1, 0]])
    assert torch.equal(made._noise([first])[0], noise[0])
    later = Observation(first.item, first.step + 1, first.instruction)
    assert not torch.equal(made._noise([later])[0], noise[0])
    assert abs(float(made._noise(observed).std()) - 1) < 0.1


def test_the_card_is_completed_by_the_checkpoint(weights):
    folder, small = weights(), recipe()
    card = prepared(folder)
    assert (card.chunk_length, card.horizon) == (small.chunk_length, small.horizon) == (4, 2)
    assert card.inputs == small.inputs
    assert card.action == SUITE.action
    config = json.loads((folder / CONFIG).read_text())
    assert card.options["weights_digest"] == config["weights"][:16]
    assert card.options["weights"] == str(folder)


def test_weights_that_changed_since_the_run_was_planned(weights):
    card = prepared(weights())
    swapped = card.model_copy(update={"options": {**card.options, "weights_digest": "0" * 16}})
    with pytest.raises(UserError, match=r"holds weights .* the run was made with 0000000000000000"):
        LearnedPolicy(swapped, SUITE)


# The residual module at play


def corrected(made, observation, action, k=0):
    made.plan([observation])
    return made.correct(observation, action, k)


def test_a_module_that_says_nothing_changes_nothing(weights, observed):
    """Also where a plan leaves the range of the demonstrations, which `forward` would clip to."""
    made = policy(weights())
    torch.nn.init.zeros_(made.residual.layers[4].weight)
    torch.nn.init.zeros_(made.residual.layers[4].bias)
    for action in (np.full(5, 0.3, np.float32), np.full(5, -3.0, np.float32)):
        np.testing.assert_allclose(corrected(made, observed[0], action), action, atol=1e-5)


def test_corrections_are_in_the_units_of_the_statistics(weights, observed):
    made = policy(weights())
    torch.nn.init.zeros_(made.residual.layers[4].weight)
    torch.nn.init.constant_(made.residual.layers[4].bias, 0.5)
    action = np.full(5, 0.3, np.float32)
    statistics = made.config.actions
    half = (statistics.q99 - statistics.q01) / 2
    expected = action + half * 0.25 * np.tanh(0.5)
    np.testing.assert_allclose(corrected(made, observed[0], action), expected, rtol=1e-4, atol=1e-5)


def test_corrections_are_of_their_own_episode(weights, observed):
    made = policy(weights())
    torch.nn.init.normal_(made.residual.layers[4].weight)
    action = np.full(5, 0.3, np.float32)
    alone = [corrected(made, o, action, 1) for o in observed[:3]]
    made.plan(observed)
    together = [made.correct(o, action, 1) for o in observed[:3]]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    assert np.ptp(alone, axis=0).max() > 1e-3
    assert abs(made.correct(observed[0], action, 2) - alone[0]).max() > 1e-4


def test_the_residual_module_is_a_switch(weights):
    on, off = policy(weights()), policy(weights(), residual=False)
    assert (on.corrects, off.corrects) == (True, False)
    assert not on.correction_images
    changes = {**SEEING, "residual__inputs": "state+images"}
    assert policy(weights(**changes)).correction_images
    assert not policy(weights(**changes), residual=False).correction_images


def test_a_module_that_sees_is_shown_images(weights, observed):
    made = policy(weights(**SEEING, residual__inputs="state+images"))
    torch.nn.init.normal_(made.residual.layers[4].weight)
    action, first = np.full(5, 0.3, np.float32), observed[0]
    found = corrected(made, first, action)
    dark = {name: 0 * image for name, image in first.images.items()}
    blind = Observation(first.item, 0, first.instruction, dark, first.state, first.privileged)
    assert abs(made.correct(blind, action, 0) - found).max() > 1e-4


# What is refused before anything is played


@pytest.mark.parametrize(
    ("name", "option", "value", "pattern"),
    [
        ("anchorvla", "select", "best", r"--set select=best: Input should be 'argmax', .*'prior'"),
        ("anchorvla", "steps", 99, "--set steps=99: expected 1 to 10, .* use --set steps=10"),
        ("anchorvla", "steps", 0, "--set steps=0: Input should be greater than 0"),
        ("anchorvla", "steps", "few", "--set steps=few: expected a int"),
        ("diffusion", "steps", 51, "--set steps=51: expected 1 to 50, .* use --set steps=50"),
        ("diffusion", "respace", "tail", "--set respace=tail: Input should be 'linspace' or"),
        ("l1", "steps", 2, "--set steps: l1 has no such option"),
        ("l1", "head", "l2", "--set head=l2: there is no such head; known: act, anchored"),
        ("l1", "threads", 0, "--set threads=0: expected 1 or more"),
        ("l1", "device", "gpu", "--set device=gpu: expected auto, cpu or cuda"),
        ("l1", "device", "cuda", "no GPU is to be had here; use --set device=cpu"),
        ("act", "residual", "maybe", "--set residual=maybe: expected a bool"),
    ],
)
def test_options(weights, name, option, value, pattern):
    if value == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match=pattern) as caught:
        prepared(weights(name), name, **{option: value})
    assert "\n" not in str(caught.value)


def test_sampling_options_reach_the_head(weights, observed):
    folder = weights()
    plans = {
        key: policy(folder, steps=key[0], select=key[1]).plan(observed)
        for key in [(2, "argmax"), (10, "argmax"), (2, "first"), (2, "random"), (2, "softmax")]
    }
    first = plans.pop((2, "argmax"))
    assert all(abs(plan - first).max() > 1e-3 for plan in plans.values())


def test_weights_without_a_residual_module(weights, tmp_path):
    text = (weights("l1") / CONFIG).read_text()
    data = json.loads(text)
    data["recipe"]["residual"] = None
    (tmp_path / CONFIG).write_text(json.dumps(data))
    with pytest.raises(
        UserError, match="has no residual correction module; use --set residual=false"
    ):
        prepared(tmp_path, "l1", residual=True)
    assert not prepared(tmp_path, "l1", residual=False).options["residual"]


def test_weights_for_another_suite(weights):
    mini = load_card(SuiteCard, "ms-hab-mini")
    pattern = (
        "was trained for micro, its statistics are not those of ms-hab-mini; use --suite micro"
    )
    with pytest.raises(UserError, match=pattern):
        prepared(weights(), suite=mini)


def test_weights_of_another_policy(weights):
    pattern = "holds weights of l1, not of anchorvla; use --policy l1"
    with pytest.raises(UserError, match=pattern):
        prepared(weights("l1"))


def test_another_head_than_the_weights_have(weights):
    pattern = "head of kind 'l1', the card of l1 says 'act'; use --set head=l1"
    with pytest.raises(UserError, match=pattern):
        prepared(weights("l1"), "l1", head="act")


@pytest.mark.parametrize(
    ("spec", "pattern"),
    [
        ({"options": {"steps": "99"}}, "expected 1 to 10"),
        ({"options": {"select": "best"}}, "--set select=best"),
        ({"weights": "nowhere"}, r"no config\.json there"),
        ({"suite": "ms-hab", "weights": None}, "has no weights for ms-hab; train them with"),
        ({"horizon": 5}, "--horizon 5: policy anchorvla plans chunks of 4 actions"),
    ],
)
def test_a_run_is_refused_before_its_folder_is_made(weights, tmp_path, monkeypatch, spec, pattern):
    monkeypatch.chdir(tmp_path)
    plain = {
        "policy": "anchorvla",
        "suite": "micro",
        "weights": str(weights()),
        "out": tmp_path / "run",
    }
    with pytest.raises(UserError, match=pattern) as caught:
        plan_run(RunSpec(**{**plain, **spec}))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["anchorvla", "act"])
def test_runs_alone_and_in_batches_play_the_same(weights, tmp_path, name):
    records = {}
    for batch in (1, 3):
        spec = RunSpec(
            policy=name,
            suite="micro",
            tasks=["pick-red"],
            episodes=4,
            trials=1,
            batch=batch,
            weights=str(weights(name)),
            out=tmp_path / str(batch),
        )
        records[batch] = execute(plan_run(spec))
    assert [r.reason for r in records[1]] == ["timeout"] * 4
    for one, other in zip(records[1], records[3], strict=True):
        assert (one.item, one.steps, one.success) == (other.item, other.steps, other.success)
        for key, value in one.status.items():
            assert other.status[key] == pytest.approx(value, abs=1e-2), key


def test_company_in_a_forward_pass_changes_no_bit(weights, tmp_path):
    command = {"tasks": ["pick-red", "either"], "episodes": 4, "trials": 1, "batch": 3}
    spec = RunSpec("anchorvla", "micro", weights=str(weights()), out=tmp_path / "a", **command)
    planned = plan_run(spec)
    outcomes = {r.item: r.outcome() for r in execute(planned)}
    policy = make_policy(planned.manifest.policy, planned.manifest.suite, batch=3)
    settings = Settings.of(planned.manifest)
    for items in (planned.items[::-1], planned.items[1::2], planned.items[6:]):
        executor = InlineExecutor(planned.suite, policy, settings, planned.folder, batch=3)
        again = {r.item: r.outcome() for r in executor.run(items)}
        assert again.items() <= outcomes.items()


@pytest.mark.parametrize("batch", [2, 3, 5, 8, 16, 32])
@pytest.mark.parametrize("name", ["anchorvla", "l1", "diffusion", "act"])
def test_neither_place_nor_neighbours_nor_their_instructions_change_a_bit(
    weights, observed, name, batch
):
    planner = policy(weights(name), name)
    planner.batch = batch
    alone = [planner.plan([observation])[0] for observation in observed]
    draw = np.random.default_rng(0)
    for _ in range(12):
        chosen = draw.permutation(len(observed))[:batch]
        chunks = planner.plan([observed[i] for i in chosen])
        assert all(np.array_equal(alone[i], c) for i, c in zip(chosen, chunks, strict=True))


def test_the_command_line_says_it_in_one_line(vla_bench, tmp_path):
    done = vla_bench("run", "--policy", "anchorvla", "--suite", "ms-hab")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "error: anchorvla has no weights for ms-hab; train them with `vla-bench train"
    )
    assert "--weights" in line
    assert not list(tmp_path.iterdir())
