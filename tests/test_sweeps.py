from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from vla_bench.cards import find_cards, load_card
from vla_bench.errors import UserError
from vla_bench.sweeps import Arm, Claim, Flags, Sweep, choose, plan_sweep

STUDIES = ("horizon", "denoising-steps", "residual", "anchors", "truncation", "delay")


def sweep(**changes):
    fields = {
        "name": "s",
        "description": "d",
        "suite": "line",
        "episodes": 2,
        "trials": 1,
        "option": "skill",
        "values": [0.1, 0.9],
        "arms": [Arm(label="Walker", policy="walker")],
    }
    return Sweep(**{**fields, **changes})


def records(folder):
    return [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]


def run_folder(root, row):
    return root / "results" / "runs" / "sweeps" / row["runs"]


def test_points_are_arms_times_values_on_the_same_items():
    plan = plan_sweep(load_card(Sweep, "skill"))
    assert [point.place for point in plan.points] == [
        "Walker@0.1",
        "Walker@0.5",
        "Walker@0.9",
        "Drunkard@0.1",
        "Drunkard@0.9",
        "Holder",
    ]
    assert len(plan.items) == 2 * 2 * 10
    assert {point.spec.horizon for point in plan.points} == {4}
    assert plan.points[1].spec.options == {"skill": "0.5"}
    assert plan.points[-1].spec.options == {}
    assert len({point.folder for point in plan.points}) == 6


def test_the_same_run_has_one_folder_in_all_sweeps_and_another_run_another():
    fixed = plan_sweep(sweep(options={"horizon": 1}, values=[0.7])).points[0]
    arms = [Arm(label="W", policy="walker")]
    same = sweep(name="t", option="horizon", values=[1], episodes=3, arms=arms)
    assert plan_sweep(same).points[0].folder == fixed.folder
    other = plan_sweep(sweep(options={"horizon": 2}, values=[0.7])).points[0]
    assert other.folder != fixed.folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"option": "skil"}, r"Walker@0\.1: walker has no option 'skil'; did you mean 'skill'\?"),
        ({"option": "suite.frixion"}, "did you mean 'suite.friction'"),
        ({"option": "horizon", "values": [2.5]}, "horizon=2.5: expected a whole number"),
        ({"option": "horizon", "values": [9]}, "use --horizon 1 to 4"),
        ({"values": ["much"]}, "skill=much: expected a float"),
        ({"option": "recipe.head.anchors"}, "recipe.head.anchors is an option of a recipe"),
        ({"tasks": ["go-rihgt"]}, "no task 'go-rihgt' in line; did you mean 'go-right'"),
        ({"arms": [Arm(label="W", policy="waker")]}, "no policy named 'waker'; did you mean"),
        (
            {"claims": [Claim(text="t", plus=["Walker@0.8"])]},
            "'Walker@0.8', which is no point of it; did you mean 'Walker@0.9'",
        ),
    ],
)
def test_mistakes_are_named_before_anything_runs(changes, message):
    with pytest.raises(UserError, match=message) as error:
        plan_sweep(sweep(**changes))
    assert "\n" not in str(error.value)


VARIANTS = {
    "plain": {"skill": 0.9},
    "eager": {"skill": 0.9, "horizon": 1},
    "clumsy": {"skill": 0.1, "suite.friction": 0.5},
}


def test_a_variant_is_a_named_set_of_options():
    varied = {"option": "variant", "variants": VARIANTS, "values": list(VARIANTS)}
    points = plan_sweep(sweep(**varied)).points
    assert [point.place for point in points] == ["Walker@plain", "Walker@eager", "Walker@clumsy"]
    assert [point.spec.horizon for point in points] == [None, 1, None]
    assert points[2].spec.options == {"skill": "0.1", "suite.friction": "0.5"}
    plain = plan_sweep(sweep(values=[0.9])).points[0]
    assert points[0].folder == plain.folder
    all_of_them = {name: value for name, value in varied.items() if name != "values"}
    card = {"name": "s", "description": "d", "suite": "line", **all_of_them}
    assert Sweep(**card, arms=[Arm(label="W", policy="walker")]).values == list(VARIANTS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": ["plian"]}, r"no \[variants\.plian\]; did you mean 'plain'"),
        ({"variants": {}}, "tables .variants.NAME. go with option 'variant'"),
        ({"option": "skill"}, "tables .variants.NAME. go with option 'variant'"),
    ],
)
def test_variants_that_are_not_there_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        sweep(**{"option": "variant", "variants": VARIANTS, "values": ["plain"], **changes})


def test_a_variant_of_a_recipe_trains_other_weights():
    pytest.importorskip("torch")
    variants = {
        "short": {"recipe.chunk_length": 8},
        "wide": {"recipe.backbone.width": 64, "recipe.training.updates": 7},
    }
    arms = [Arm(label="L1", policy="l1", recipe="l1-micro")]
    changes = {"option": "variant", "variants": variants, "values": list(variants), "arms": arms}
    plan = plan_sweep(sweep(suite="micro", training_seeds=[0, 1], **changes))
    recipes = [point.training.recipe for point in plan.points]
    assert [r.chunk_length for r in recipes] == [8, 8, 16, 16]
    assert [r.backbone.width for r in recipes] == [48, 48, 64, 64]
    assert [r.training.updates for r in recipes] == [1000, 1000, 7, 7]
    assert [r.training.seed for r in recipes] == [0, 1, 0, 1]
    assert len({point.training.out for point in plan.points}) == 4


def test_a_sweep_without_variants_keeps_its_identity():
    """Results that are kept in the repository name it."""
    assert sweep().played == sweep(variants={}).played
    varied = {"option": "variant", "values": ["a"]}
    one, other = (sweep(**varied, variants={"a": {"skill": skill}}) for skill in (0.1, 0.2))
    assert one.played != other.played


def test_values_that_change_the_episodes_are_refused():
    arms = [Arm(label="Expert", policy="expert")]
    pushed = sweep(suite="micro", arms=arms, option="suite.push", values=[0.0, 0.1])
    assert len(plan_sweep(pushed).items) == 5 * 2
    split = sweep(suite="micro", arms=arms, option="suite.split", values=["val", "train"])
    with pytest.raises(UserError, match="Expert@train plays other episodes than Expert@val"):
        plan_sweep(split)


def test_two_arms_of_one_label_are_refused():
    with pytest.raises(ValueError, match="two arms have one label"):
        sweep(arms=[Arm(label="W", policy="walker"), Arm(label="W", policy="drunkard")])


def test_names_and_flags_do_not_mix():
    flags = Flags("walker", "line", "horizon", ["1", "4"])
    assert choose([], flags)[0].values == [1, 4]
    assert choose(["skill"], Flags())[0].name == "skill"
    with pytest.raises(UserError, match="not both"):
        choose(["skill"], flags)
    with pytest.raises(UserError, match="not both"):
        choose(["skill"], Flags(episodes=3))
    with pytest.raises(UserError, match="--option horizon --values 1,2,4,8"):
        choose([], Flags(policy="walker"))
    with pytest.raises(UserError, match="did you mean 'skill'"):
        choose(["skil"], Flags())


def test_the_studies_share_weights_and_give_all_the_same_budget():
    pytest.importorskip("torch")
    plans = {name: plan_sweep(load_card(Sweep, name)) for name in STUDIES}
    assert set(STUDIES) <= set(find_cards(Sweep))
    folders = {
        name: {p.training.out for p in plan.points if p.training} for name, plan in plans.items()
    }
    base = {out for out in folders["horizon"] if out.name.startswith("anchorvla")}
    assert len(base) == 3
    assert all(base <= others for others in folders.values())
    assert folders["residual"] == folders["horizon"] == folders["denoising-steps"]
    runs = {name: {p.folder for p in plan.points} for name, plan in plans.items()}
    assert len(runs["residual"] & runs["horizon"]) == 3 * 6
    assert all(runs["horizon"] & others for others in runs.values())
    recipes = [p.training.recipe for plan in plans.values() for p in plan.points]
    assert len({str((r.training.model_copy(update={"seed": 0}), r.data)) for r in recipes}) == 1
    assert {r.training.seed for r in recipes} == {0, 1, 2}
    assert {len(plan.items) for plan in plans.values()} == {200}
    assert len({tuple(i.digest for i in plan.items) for plan in plans.values()}) == 1


def test_recipes_of_other_policies_and_horizons_beyond_the_chunk_are_refused():
    pytest.importorskip("torch")
    arm = Arm(label="A", policy="anchorvla", recipe="l1-micro")
    with pytest.raises(UserError, match="l1-micro is for l1 on micro, not for anchorvla on micro"):
        plan_sweep(sweep(suite="micro", option="horizon", values=[1], arms=[arm]))
    arm = Arm(label="A", policy="anchorvla", recipe="anchorvla-micro")
    with pytest.raises(UserError, match="horizon 17: recipe anchorvla-micro plans chunks of 16"):
        plan_sweep(sweep(suite="micro", option="horizon", values=[17], arms=[arm]))
    with pytest.raises(UserError, match=r"head\.anchored\.anchor.*did you mean 'anchors'"):
        plan_sweep(sweep(suite="micro", option="recipe.head.anchor", values=[3], arms=[arm]))


def test_a_sweep_ends_in_a_table_that_agrees_with_the_records(vla_bench, tmp_path):
    done = vla_bench("sweep", "skill", "--processes", 2)
    assert done.returncode == 0, done.stderr
    rows = {
        (row["arm"], row["skill"]): row
        for row in csv.DictReader((tmp_path / "reports/sweeps/skill.csv").open())
    }
    assert len(rows) == 6
    row, played = rows["Drunkard", "0.1"], records(run_folder(tmp_path, rows["Drunkard", "0.1"]))
    walker = records(run_folder(tmp_path, rows["Walker", "0.1"]))
    first = {r["item"]: r["success"] for r in walker}
    won = [r for r in played if r["success"]]
    assert (int(row["successes"]), int(row["episodes"])) == (len(won), 40)
    assert 0 < len(won) < 40
    assert float(row["success"]) == len(won) / 40
    right = [r["success"] for r in played if r["task"] == "go-right"]
    assert float(row["success_go-right"]) == sum(right) / 20
    steps = sum(r["first_success"] for r in won) / len(won)
    assert float(row["steps_to_success"]) == pytest.approx(steps, abs=1e-6)
    rate = sum(r["queries"] for r in played) / sum(r["policy_s"] for r in played)
    assert float(row["queries_per_s"]) == pytest.approx(rate, abs=1e-5)
    pairs = [(r["success"], first[r["item"]]) for r in played]
    assert int(row["only_this"]) == pairs.count((True, False)) > 0
    assert int(row["only_first"]) == pairs.count((False, True))
    assert row["collided"] == ""
    page = (tmp_path / "reports/sweeps/skill.md").read_text()
    assert "played by `vla-bench sweep skill --processes 2`" in page
    assert "SEEN: skill helps" in page
    assert "NOT SEEN: skill hurts" in page
    assert "UNDECIDED: drink does not matter" in page
    assert "Quoted, not measured here: A paper, table 1" in page
    assert f"| {len(won)}/40 |" in page
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        assert (tmp_path / f"reports/sweeps/skill.{kind}").read_bytes().startswith(start)


def test_a_report_is_made_again_without_the_runs(vla_bench, tmp_path):
    assert vla_bench("sweep", "skill", "--processes", 2).returncode == 0
    reports = sorted((tmp_path / "reports/sweeps").iterdir())
    made = [path.read_bytes() for path in reports]
    shutil.rmtree(tmp_path / "results/runs")
    shutil.rmtree(tmp_path / "reports")
    assert vla_bench("sweep", "skill", "--report-only").returncode == 0
    assert [path.read_bytes() for path in reports] == made
    assert not (tmp_path / "results/runs").exists()


def test_variants_and_steps_to_success_reach_the_report(vla_bench, tmp_path):
    (tmp_path / "ways.toml").write_text(
        """
        description = "two ways to walk"
        suite = "line"
        episodes = 5
        trials = 1
        option = "variant"
        axis = "way"
        panels = ["success", "steps_to_success"]

        [variants.prompt]
        skill = 1.0

        [variants.late]
        skill = 0.8
        delay = 2

        [[arms]]
        label = "Walker"
        policy = "walker"

        [[claims]]
        text = "who reacts at once is quicker"
        measure = "steps_to_success"
        plus = ["Walker@late"]
        minus = ["Walker@prompt"]
        """
    )
    done = vla_bench("sweep", "./ways.toml", "--processes", 1)
    assert done.returncode == 0, done.stderr
    table = csv.DictReader((tmp_path / "reports/sweeps/ways.csv").open())
    rows = {row["variant"]: row for row in table}
    assert list(rows) == ["prompt", "late"]
    quicker = [float(rows[way]["steps_to_success"]) for way in ("late", "prompt")]
    page = (tmp_path / "reports/sweeps/ways.md").read_text()
    assert f"{quicker[0] - quicker[1]:+.1f} steps to success [" in page
    assert "SEEN: who reacts at once is quicker (Walker@late - Walker@prompt is +" in page
    svg = (tmp_path / "reports/sweeps/ways.svg").read_text()
    assert "curve steps_to_success Walker" in svg
    assert vla_bench("sweep", "./ways.toml", "--report-only").returncode == 0
    assert (tmp_path / "reports/sweeps/ways.md").read_text() == page


def test_what_was_kept_is_no_answer_to_another_question(vla_bench, tmp_path):
    none = vla_bench("sweep", "skill", "--report-only")
    assert none.returncode == 1
    assert "has not been played here; run `vla-bench sweep skill`" in none.stderr
    assert vla_bench("sweep", "skill", "--processes", 2).returncode == 0
    kept = tmp_path / "results/sweeps/skill.json"
    other = json.loads(kept.read_text())
    kept.write_text(json.dumps({**other, "played": "0" * 16}))
    changed = vla_bench("sweep", "skill", "--report-only")
    assert changed.returncode == 1
    assert "is of another sweep than skill.toml asks for" in changed.stderr
    kept.write_text(json.dumps({**other, "points": 3}))
    damaged = vla_bench("sweep", "skill", "--report-only")
    assert len(damaged.stderr.splitlines()) == 1


def test_a_sweep_from_flags(vla_bench, tmp_path):
    flags = ("--policy", "walker", "--suite", "line", "--option", "horizon", "--values", "1,2,4")
    done = vla_bench(
        *("sweep", *flags, "--episodes", 3, "--trials", 1, "--set", "skill=1.0"),
        *("--processes", 1, "--out", "pages"),
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "pages/sweeps/walker-line-horizon.csv").open()))
    assert [(row["horizon"], row["successes"]) for row in rows] == [
        ("1", "6"),
        ("2", "6"),
        ("4", "6"),
    ]
    wrong = vla_bench("sweep", *flags[:-3], "hrizon", "--values", "1")
    assert wrong.returncode == 1
    assert "did you mean 'horizon'" in wrong.stderr
    assert len(wrong.stderr.splitlines()) == 1


def test_a_killed_sweep_goes_on_and_plays_nothing_again(vla_bench, tmp_path):
    command = [sys.executable, "-m", "vla_bench", "sweep", "skill", "--processes", "2"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "TOY_PAUSE": "0.05"}, stdout=subprocess.DEVNULL
    )
    runs = tmp_path / "results" / "runs" / "sweeps"
    deadline = time.monotonic() + 120
    while sum(len(path.read_bytes()) > 0 for path in runs.glob("*/episodes.jsonl")) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)
    before = {path: path.read_bytes() for path in runs.glob("*/episodes.jsonl")}
    assert 0 < sum(data.count(b"\n") for data in before.values()) < 6 * 40
    done = vla_bench("sweep", "skill", "--processes", 2)
    assert done.returncode == 0, done.stderr
    for path, data in before.items():
        kept = data[: data.rfind(b"\n") + 1]
        assert path.read_bytes().startswith(kept)
    assert [len(records(path.parent)) for path in runs.glob("*/episodes.jsonl")] == [40] * 6
    after = {path: path.read_bytes() for path in runs.glob("*/episodes.jsonl")}
    assert vla_bench("sweep", "skill", "--processes", 1).returncode == 0
    assert after == {path: path.read_bytes() for path in runs.glob("*/episodes.jsonl")}


def test_a_failing_point_ends_the_sweep_in_one_line_and_keeps_the_rest(vla_bench, tmp_path):
    flags = ("--policy", "walker", "--suite", "line", "--episodes", 2, "--trials", 1)
    values = ("--option", "fault", "--values", "none,refusal", "--processes", 1)
    done = vla_bench("sweep", *flags, *values)
    assert done.returncode == 1
    assert "walker-line-fault: walker@refusal: " in done.stderr
    assert "the walker will not walk" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    (finished,) = (tmp_path / "results" / "runs" / "sweeps").glob("*/episodes.jsonl")
    assert len(records(finished.parent)) == 4


def test_other_weights_in_a_run_folder_are_named(vla_bench, tmp_path):
    flags = ("--policy", "walker", "--suite", "line", "--option", "skill", "--values", "0.5")
    flags += ("--episodes", 2, "--trials", 1, "--processes", 1)
    assert vla_bench("sweep", *flags).returncode == 0
    (manifest,) = (tmp_path / "results" / "runs" / "sweeps").glob("*/manifest.json")
    changed = json.loads(manifest.read_text())
    changed["policy"]["version"] = 7
    manifest.write_text(json.dumps(changed))
    again = vla_bench("sweep", *flags)
    assert again.returncode == 1
    assert "remove it to play it again" in again.stderr


def test_a_sweep_that_trains(vla_bench, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "tiny.toml").write_text(
        """
        description = "two trainings"
        suite = "micro"
        tasks = ["pick-red"]
        episodes = 2
        trials = 1
        batch = 2
        option = "recipe.chunk_length"
        values = [4, 8]
        training_seeds = [0, 1]
        panels = ["success", "collided"]

        [options]
        horizon = 2
        "recipe.training.updates" = 10
        "recipe.training.batch" = 16
        "recipe.residual.updates" = 5
        "recipe.residual.windows" = 50
        "recipe.data.episodes" = 5

        [[arms]]
        label = "L1"
        policy = "l1"
        recipe = "l1-micro"

        [[arms]]
        label = "plain"
        policy = "l1"
        recipe = "l1-micro"
        options = { residual = false }
        """
    )
    done = vla_bench("sweep", "./tiny.toml", "--processes", 2)
    assert done.returncode == 0, done.stderr
    assert "collected 1/1" in done.stdout
    assert "trained 4/4" in done.stdout
    assert "played 8/8" in done.stdout
    weights = sorted((tmp_path / "results" / "weights" / "sweeps").glob("*/config.json"))
    assert len(weights) == 4
    rows = list(csv.DictReader((tmp_path / "reports/sweeps/tiny.csv").open()))
    assert [(row["arm"], row["trainings"], row["episodes"]) for row in rows] == [
        ("L1", "2", "4"),
        ("L1", "2", "4"),
        ("plain", "2", "4"),
        ("plain", "2", "4"),
    ]
    assert all(0 <= float(row["collided"]) <= 1 for row in rows)
    page = (tmp_path / "reports/sweeps/tiny.md").read_text()
    assert "| 10 x 16 |" in page
    again = vla_bench("sweep", "./tiny.toml", "--processes", 2)
    assert again.returncode == 0
    assert "trained" not in again.stdout
