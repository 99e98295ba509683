"""The papers' studies on policies that see: every point can be planned, every recipe makes a model."""

import csv
import json
from functools import cache

import pytest

from vla_bench.cards import find_cards, load_card
from vla_bench.errors import UserError
from vla_bench.sweeps import Sweep, plan_sweep
from vla_bench.sweeps.card import VARIANT
from vla_bench.sweeps.looking import look

pytest.importorskip("torch")
from vla_bench.policies.learned.model import ChunkModel

STUDIES = sorted(
    n for n in find_cards(Sweep) if n.startswith(("focusvla", "posavla", "deepvision-vla"))
)


@cache
def plan_of(name):
    return plan_sweep(load_card(Sweep, name))


def recipes_of(plan):
    """The recipes of the first training seed, each once."""
    recipes = {p.training.out: p.training.recipe for p in plan.points if p.training}
    return [recipe for recipe in recipes.values() if recipe.training.seed == 0]


@pytest.mark.parametrize("name", STUDIES)
def test_every_point_can_be_planned_and_every_recipe_makes_a_model(name):
    plan = plan_of(name)
    assert len({point.folder for point in plan.points}) == len(plan.points)
    for recipe in recipes_of(plan):
        assert ChunkModel(recipe, 5).head is not None


@pytest.mark.parametrize("name", STUDIES)
def test_studies_of_policies_that_see_share_items_data_and_budget(name):
    plan = plan_of(name)
    sweep = plan.sweep
    assert len(plan.items) == 201
    assert sweep.training_seeds == [0, 1, 2]
    recipes = recipes_of(plan)
    for recipe in recipes:
        assert list(recipe.inputs.images) == ["head", "wrist"]
        assert not recipe.inputs.privileged
    budgets = {str((r.training, r.chunk_length, r.horizon)) for r in recipes}
    data = {str(r.data) for r in recipes}
    assert len(budgets) == (4 if sweep.option == "recipe.training.updates" else 1)
    assert len(data) == (3 if sweep.option == "recipe.data.episodes" else 1)


def test_variants_of_a_study_are_designs_of_their_own():
    for name in STUDIES:
        plan = plan_of(name)
        if plan.sweep.option == VARIANT:
            assert len(recipes_of(plan)) == len(plan.sweep.variants)


def test_studies_of_one_policy_share_weights():
    def trained(name):
        return {p.training.out for p in plan_of(name).points if p.training}

    anchors, demonstrations = trained("posavla-anchors"), trained("posavla-demonstrations")
    assert len(anchors & demonstrations) == 2 * 3
    assert trained("posavla-steps") <= anchors | demonstrations
    assert len(trained("focusvla-attention") & trained("focusvla-convergence")) == 3
    assert len(trained("deepvision-vla-coupling") & trained("deepvision-vla-pruning")) == 3


def test_a_sweep_measures_where_policies_look(vla_bench, tmp_path, monkeypatch):
    (tmp_path / "looks.toml").write_text(
        """
        extends = "focusvla-attention"
        episodes = 1
        batch = 3
        values = ["cascaded"]
        training_seeds = [0]
        claims = []

        [options]
        "recipe.training.updates" = 2
        "recipe.training.batch" = 4
        "recipe.data.episodes" = 2
        """
    )
    done = vla_bench("sweep", "./looks.toml", "--processes", 1)
    assert done.returncode == 0, done.stderr
    assert "looked 1/1" in done.stdout
    table = csv.DictReader((tmp_path / "reports/sweeps/looks.csv").open())
    rows = {row["variant"]: row for row in table}
    kept = json.loads((tmp_path / "results/sweeps/looks.json").read_text())
    for point in kept["points"]:
        (run,) = point["runs"]
        found = run["attention"]
        assert len(found["mass"]) == 3
        assert all(0 < mass < 1 for mass in found["mass"])
        assert 0 < found["even"] < 0.05
        mean = sum(found["mass"]) / 3
        assert float(rows[point["value"]]["attention"]) == pytest.approx(mean, abs=1e-5)
    page = (tmp_path / "reports/sweeps/looks.md").read_text()
    assert "attention on objects" in page
    assert "spread evenly it would be" in page
    folder = next((tmp_path / "results/runs/sweeps").iterdir())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="focusvla shows no map 'visoin'; did you mean 'vision'"):
        look(folder, "visoin")


def test_a_panel_of_attention_wants_a_map():
    with pytest.raises(UserError, match='name its map, attention = "MAP"'):
        load_card(Sweep, "focusvla-attention", {"attention": ""})
