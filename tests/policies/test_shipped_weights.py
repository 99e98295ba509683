"""The weights in the package: small, described, made by their recipe, and able to act."""

from pathlib import Path

import pytest

from vla_bench import Settings, load_card, make_policy, make_suite, play
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.policies.learned.checkpoint import load_config, shipped_folder
from vla_bench.policies.learned.recipe import load_recipe
from vla_bench.records import RunFolder
from vla_bench.registry import prepare_card
from vla_bench.reports.sweeps.trained_weights import weights_of

SHIPPED = {
    "libero-object": ["anchorvla", "l1"],
    "ms-hab-mini": ["act", "anchorvla", "diffusion", "diffusion-x0", "l1"],
}
RECIPES = [f"{name}-{suite}" for suite, names in SHIPPED.items() for name in names]
MEGABYTES = 12
RUNS = Path(__file__).parents[2] / "results" / "runs"


def test_they_are_small():
    files = [path for path in shipped_folder().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MEGABYTES * 1e6
    folders = {path.parent.name for path in files if path.name == "config.json"}
    assert folders == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_their_recipe_is_the_one_of_today(name):
    folder = shipped_folder() / name
    config, recipe = load_config(folder), load_recipe(name)
    assert config.recipe.digest == recipe.digest
    assert config.updates == recipe.training.updates
    page = (folder / "README.md").read_text()
    assert f"vla-bench train {recipe.name}" in page
    assert config.demonstrations in page


@pytest.mark.parametrize("name", RECIPES)
def test_the_recorded_runs_played_them(name):
    manifest = RunFolder(RUNS / name).manifest
    config = load_config(shipped_folder() / name)
    assert manifest.policy.options["weights_digest"] == config.weights[:16]
    weights, mini = weights_of(manifest), name.endswith("ms-hab-mini")
    assert weights.recipe == (f"{name}, starts from blind-{name}" if mini else name)
    assert weights.demonstrations == (120 if mini else 50)


def test_anchorvla_closes_drawers():
    suite = make_suite(load_card(SuiteCard, "ms-hab-mini"))
    suite.prepare()
    card = prepare_card(load_card(PolicyCard, "anchorvla"), suite.card)
    assert list(card.inputs.images) == ["head", "wrist"]
    policy = make_policy(card, suite.card)
    settings = Settings(card.horizon, suite.card.max_steps, "latched", card.inputs)
    env = suite.make_env("close-drawer", card.inputs.images)
    items = suite.items("close-drawer", episodes=5, trials=1)
    records = [play(env, policy, item, settings) for item in items]
    env.close()
    assert sum(record.success for record in records) >= 3


def test_anchorvla_solves_a_task_of_libero(libero_assets):
    suite = make_suite(load_card(SuiteCard, "libero-object"))
    suite.prepare()
    card = prepare_card(load_card(PolicyCard, "anchorvla"), suite.card)
    policy = make_policy(card, suite.card)
    settings = Settings(card.horizon, None, "latched", card.inputs)
    task = "pick-up-the-salad-dressing-and-place-it-in-the-basket"
    env = suite.make_env(task)
    records = [play(env, policy, item, settings) for item in suite.items(task, episodes=4)]
    env.close()
    assert sum(record.success for record in records) >= 2


def test_anchorvla_gives_the_same_record_behind_a_server(serve):
    suite = make_suite(load_card(SuiteCard, "ms-hab-mini"))
    suite.prepare()
    [item] = suite.items("close-drawer", episodes=1, trials=1)
    env = suite.make_env("close-drawer", ["head", "wrist"])

    def outcome(name, **options):
        card = prepare_card(load_card(PolicyCard, name).override(options), suite.card)
        settings = Settings(card.horizon, 10, "latched", card.inputs)
        record = play(env, make_policy(card, suite.card), item, settings)
        return record.model_copy(update={"policy": ""}).outcome()

    here = outcome("anchorvla")
    assert here["queries"] == 3
    shown = ("--policy", "anchorvla", "--suite", "ms-hab-mini", "--dialect")
    for dialect in ("openpi", "vla-eval"):
        assert outcome(dialect, url=serve(*shown, dialect)[0]) == here
    env.close()
