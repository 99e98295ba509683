"""Training: the same weights twice, also after a kill; and what it refuses, leaving nothing behind."""

import csv
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.learned import POLICIES, SMALL, demonstrations, recipe
from vla_bench.errors import UserError
from vla_bench.learning import recipes, training, training_state
from vla_bench.learning.augmentation import shifted
from vla_bench.learning.training import rate, train
from vla_bench.learning.training_state import LOG, STATE, TrainingState
from vla_bench.learning.windows import WindowData, demonstrations_digest, split_episodes
from vla_bench.policies.learned.checkpoint import CONFIG, WEIGHTS, load_config, start_from
from vla_bench.policies.learned.model import ChunkModel
from vla_bench.policies.learned.recipe import load_recipe

ROOT = Path(__file__).parents[2]
FILES = {CONFIG, WEIGHTS, LOG}
KILLED_AT = 5
UPDATES, EVERY = SMALL["training.updates"], SMALL["training.every"]


def trained(out, on_update=None, policy="anchorvla", seed=0, **changes):
    small = recipe(policy, **changes)
    return train(small, demonstrations(small, seed=seed), out, on_update)


def rows_of(folder):
    with (folder / LOG).open(newline="") as file:
        return list(csv.DictReader(file))


def refuses(pattern, out, call, left=()):
    with pytest.raises(UserError, match=pattern) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert {p.name for p in out.iterdir()} == set(left) if out.exists() else not left


def stop_at(update):
    """Interrupts a training in this process, as an exception somewhere would."""

    def on_update(done, losses):
        if done == update:
            raise InterruptedError

    return on_update


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing disturbed."""
    return trained(tmp_path_factory.mktemp("training") / "whole")


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_recipe_gives_the_same_weights(tmp_path, policy, whole):
    first = whole if policy == "anchorvla" else trained(tmp_path / "first", policy=policy)
    again = trained(tmp_path / "again", policy=policy)
    assert (again / WEIGHTS).read_bytes() == (first / WEIGHTS).read_bytes()
    assert {p.name for p in again.iterdir()} == FILES
    other = trained(tmp_path / "other", policy=policy, training__seed=1)
    assert load_config(other).weights != load_config(first).weights


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, whole):
    """SIGKILL of a real process between two saved states; there is a residual module to train too."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tests.learning.test_training import trained\n"
        f"kill = lambda done, losses: done == {KILLED_AT} and os.kill(os.getpid(), signal.SIGKILL)\n"
        "trained(Path(sys.argv[1]), kill)\n"
    )
    out, environment = tmp_path / "killed", {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, str(out)]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert {p.name for p in out.iterdir()} == {STATE, LOG, ".lock"}
    updates = []
    trained(out, lambda done, losses: updates.append(done))
    assert updates == list(range(EVERY + 1, UPDATES + 1))
    assert (out / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert rows_of(out) == rows_of(whole)
    assert {p.name for p in out.iterdir()} == FILES


@pytest.mark.parametrize("at", ["log", "residual", "weights"])
def test_stopped_at_other_places_it_gives_the_same_weights(tmp_path, whole, monkeypatch, at):
    """Between the second log line and its state, after the last update, before the config."""

    save, saved = TrainingState.save, []

    def stop(*arguments):
        if at == "log" and not saved:
            saved.append(save(*arguments))
        else:
            raise InterruptedError

    with monkeypatch.context() as patched:
        place = {
            "log": (TrainingState, "save"),
            "residual": (training, "train_residual"),
            "weights": (training, "_config"),
        }[at]
        patched.setattr(*place, stop)
        with pytest.raises(InterruptedError):
            trained(tmp_path / "out")
    assert not (tmp_path / "out" / CONFIG).exists()
    assert len(rows_of(tmp_path / "out")) == {"log": 2, "residual": 3, "weights": 3}[at]
    out = trained(tmp_path / "out")
    assert (out / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert rows_of(out) == rows_of(whole)


def test_every_update_and_seed_draws_a_batch_of_its_own(tmp_path, monkeypatch):
    drawn, observations = [], WindowData.observations

    def spy(data, windows):
        drawn.append(tuple(windows.tolist()))
        return observations(data, windows)

    monkeypatch.setattr(WindowData, "observations", spy)
    for seed in (0, 1):
        changes = {"training__seed": seed, "training__every": UPDATES + 1}
        trained(tmp_path / str(seed), policy="l1", residual__windows=1, **changes)
    batches = [windows for windows in drawn if len(windows) == SMALL["training.batch"]]
    assert len(set(batches)) == 2 * UPDATES


def test_the_log(whole):
    rows = rows_of(whole)
    assert [int(row["update"]) for row in rows] == [3, 6, 8]
    figures = {"total", "reconstruction", "score", "gradient", "validation_error"}
    assert figures | {"error_oracle", "error_learned", "score_accuracy"} <= rows[0].keys()
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())


def test_the_config(whole):
    config, small = load_config(whole), recipe()
    assert config.recipe.digest == small.digest
    assert config.updates == UPDATES
    assert config.action.size == 5
    held_in, _ = split_episodes(demonstrations(small), 0.25, 0)
    assert config.demonstrations == demonstrations_digest(held_in)
    assert torch.__version__.startswith(config.versions["torch"].partition("+")[0])


def test_the_time_of_all_starts_is_counted_once(tmp_path):
    clock = time.perf_counter()
    with pytest.raises(InterruptedError):
        trained(tmp_path / "out", stop_at(7))
    time.sleep(0.3)
    trained(tmp_path / "out", lambda done, losses: time.sleep(0.2))
    elapsed = time.perf_counter() - clock
    spent = load_config(tmp_path / "out").wall_s
    assert 0.4 <= spent <= elapsed - 0.2


def test_two_trainings_into_one_folder(tmp_path):
    def another(done, losses):
        with pytest.raises(UserError, match="another training is writing to"):
            trained(tmp_path / "out")

    trained(tmp_path / "out", another, training__updates=1)
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES


def test_a_folder_that_is_finished_meanwhile_is_left_alone(tmp_path, monkeypatch):
    prepare, told = training.prepare_data, []

    def prepare_while_another_finishes(*given):
        monkeypatch.setattr(training, "prepare_data", prepare)
        trained(tmp_path / "out")
        return prepare(*given)

    monkeypatch.setattr(training, "prepare_data", prepare_while_another_finishes)
    trained(tmp_path / "out", lambda *now: told.append(now))
    assert not told
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES


def test_a_finished_folder_is_returned_at_once(whole):
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in whole.iterdir()}
    updates = []
    assert train(recipe(), [], whole, lambda *update: updates.append(update)) == whole
    assert recipes.make_weights(recipe(), Path("nowhere"), whole) == whole
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in whole.iterdir()} == before
    assert updates == []


def test_a_folder_of_another_recipe(tmp_path, whole):
    pattern = r"holds weights of another recipe \(anchorvla-micro, seed 0\); give another --out"
    refuses(pattern, whole, lambda: trained(whole, training__seed=1), FILES)
    refuses(pattern, whole, lambda: recipes.make_weights(recipe("l1"), Path(), whole), FILES)
    out = tmp_path / "unfinished"
    with pytest.raises(InterruptedError):
        trained(out, stop_at(KILLED_AT))
    pattern = "of another recipe or of other demonstrations; give another --out"
    refuses(pattern, out, lambda: trained(out, training__seed=1), {STATE, LOG})
    refuses(pattern, out, lambda: trained(out, seed=1), {STATE, LOG})
    damaged = (out / STATE).read_bytes()[:-100]
    (out / STATE).write_bytes(damaged)
    refuses(
        r"training\.safetensors is damaged: .* remove it", out, lambda: trained(out), {STATE, LOG}
    )
    (out / STATE).write_bytes(b"")
    refuses("is damaged", out, lambda: trained(out), {STATE, LOG})


def test_demonstrations_that_do_not_fit(tmp_path):
    out, small = tmp_path / "out", recipe()

    def attempt(episodes, used=small):
        return lambda: train(used, episodes, out)

    wrong = demonstrations(small, action_size=13)
    refuses("has actions of 13 numbers, micro takes 5; .*of micro", out, attempt(wrong))
    other = demonstrations(small, suite="ms-hab-mini")
    refuses("of suite ms-hab-mini, .* is for micro; give", out, attempt(other))
    silent = [
        replace(d, state={n: v for n, v in d.state.items() if n != "gripper"})
        for d in demonstrations(small)
    ]
    refuses("has no state entry 'gripper'; known: arm", out, attempt(silent))
    refuses(
        "anchors need as many action chunks",
        out,
        attempt(demonstrations(small), recipe(head__anchors=200)),
    )
    long = recipe(chunk_length=40)
    refuses(
        "no demonstration is as long as a chunk of 40", out, attempt(demonstrations(long), long)
    )
    train(small, demonstrations(small, suite=""), out)


def test_demonstrations_of_suites_that_a_suite_is_put_together_of(tmp_path):
    whole = recipe("focusvla", suite="libero", residual=False)
    train(whole, demonstrations(whole, suite="libero-goal", action_size=7), tmp_path / "whole")
    refuses(
        "of suite libero-90, .* is for libero; give",
        tmp_path / "other",
        lambda: train(
            whole, demonstrations(whole, suite="libero-90", action_size=7), tmp_path / "other"
        ),
    )


def test_a_gradient_that_is_not_finite(tmp_path):
    out = tmp_path / "out"
    pattern = r"gradient of update \d+ is not finite; lower training\.learning_rate"
    refuses(pattern, out, lambda: trained(out, training__learning_rate=1e30, training__warmup=0))


def test_half_precision(tmp_path):
    out = trained(tmp_path / "out", training__precision="bfloat16")
    assert all(t.isfinite().all() for t in load_file(out / WEIGHTS).values())


def test_images_are_read(tmp_path):
    """With images, augmentation, and a residual module that sees."""
    changes = {
        "inputs__images": ["head", "wrist"],
        "backbone__image_size": 16,
        "backbone__grid": 2,
        "training__image_shift": 2,
        "training__state_noise": 0.1,
        "residual__inputs": "state+images",
    }
    first, second = (trained(tmp_path / name, **changes) for name in ("first", "second"))
    assert (first / WEIGHTS).read_bytes() == (second / WEIGHTS).read_bytes()
    assert any(name.startswith("residual.see") for name in load_file(first / WEIGHTS))
    small = recipe(**changes)
    sparse = [
        replace(d, images={v: i[::2] for v, i in d.images.items()}, image_steps=d.image_steps[::2])
        for d in demonstrations(small)
    ]
    with pytest.raises(UserError, match=r"needs images of every step; .*--image-every 1"):
        train(small, sparse, tmp_path / "sparse")


SEEING = {"inputs__images": ["head"], "backbone__image_size": 16, "backbone__grid": 2}


def test_a_backbone_starts_from_other_weights(tmp_path):
    """The earlier policy was blind and another head's; what it has no part of starts at random."""
    start = trained(tmp_path / "start", policy="l1")
    model = ChunkModel(recipe(**SEEING), 5)
    fresh = {name: t.clone() for name, t in model.state_dict().items()}
    assert not start_from(model, start)
    earlier = load_file(start / WEIGHTS)
    for name, tensor in model.state_dict().items():
        inherited = name.startswith("backbone.") and name in earlier
        assert torch.equal(tensor, earlier[name].float() if inherited else fresh[name]), name
    assert any(name.startswith("backbone.stem") for name in fresh.keys() - earlier.keys())


def test_a_head_that_is_built_alike_starts_from_other_weights(tmp_path):
    start = trained(tmp_path / "start")
    model = ChunkModel(recipe(**SEEING), 5)
    assert start_from(model, start)
    earlier, begun = load_file(start / WEIGHTS), model.state_dict()
    for name in begun:
        if name.startswith("head."):
            assert torch.equal(begun[name], earlier[name].float()), name
    assert not start_from(ChunkModel(recipe(head__anchors=5), 5), start)


def test_a_training_that_starts_from_other_weights(tmp_path):
    start = trained(tmp_path / "start", policy="l1")
    small = recipe(**SEEING)
    others = demonstrations(small, seed=7)
    made, alone = tmp_path / "made", tmp_path / "alone"
    train(small, others, made, start=start)
    train(small, others, alone)
    assert load_config(made).state == load_config(start).state != load_config(alone).state
    assert load_config(made).actions == load_config(start).actions != load_config(alone).actions
    assert (made / WEIGHTS).read_bytes() != (alone / WEIGHTS).read_bytes()


def test_weights_that_a_backbone_cannot_start_from(tmp_path):
    start = trained(tmp_path / "start", policy="l1", backbone__width=32)
    small, out = recipe(), tmp_path / "out"
    refuses(
        "start cannot start recipe anchorvla-micro: .* does not fit; give both recipes the same",
        out,
        lambda: train(small, demonstrations(small), out, start=start),
    )


def test_shifted_images_keep_their_size_and_repeat_their_edges():
    images = torch.arange(36, dtype=torch.uint8).reshape(1, 1, 1, 6, 6).expand(64, 2, 3, 6, 6)
    shifts = torch.randint(-2, 3, (2, 64, 1), generator=torch.Generator().manual_seed(0))
    seen = set()
    for moved in shifted(images, shifts):
        assert (moved == moved[:1, :1]).all()
        (row, column) = divmod(int(moved[0, 0, 2, 2]), 6)
        rows = (torch.arange(6) + row - 2).clamp(0, 5)
        columns = (torch.arange(6) + column - 2).clamp(0, 5)
        assert torch.equal(moved[0, 0], images[0, 0, 0][rows][:, columns])
        seen.add((row - 2, column - 2))
    assert {r for r, _ in seen} == {c for _, c in seen} == {-2, -1, 0, 1, 2}


def test_the_learning_rate_rises_and_falls():
    config = recipe(training__updates=100, training__warmup=0.1).training
    rates = [rate(update, config) for update in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == 1
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.1, abs=0.001)
    assert rate(0, recipe(training__warmup=0).training) == 1


def test_validation_does_not_depend_on_how_it_is_batched(monkeypatch):
    small = recipe("l1")
    data = training.prepare_data(small, demonstrations(small)).validation
    model = ChunkModel(small, 5)
    plain = training.validate(model, data)
    monkeypatch.setattr(training, "VALIDATION_BATCH", 5)
    assert training.validate(model, data) == pytest.approx(plain, rel=0.05)
    assert plain["validation_error"] > 0


def test_a_young_average_forgets_the_start():
    """Decay is (1 + n) / (10 + n) until that is more than `ema`."""
    model = torch.nn.Linear(1, 1, bias=False)
    state = TrainingState(model, recipe(training__ema=0.5).training)
    state.set_rate(0.1)
    expected = model.weight.item()
    for n in range(1, 20):
        state.step(model.weight.sum())
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * model.weight.item()
        assert state.average["weight"].item() == pytest.approx(expected, abs=1e-6)
    current = model.weight.item()
    with state.averaged():
        assert model.weight.item() == pytest.approx(expected, abs=1e-6)
    assert model.weight.item() == current
    state.use_averaged()
    assert model.weight.item() == pytest.approx(expected, abs=1e-6)


def test_gradients_are_clipped():
    model = torch.nn.Linear(4, 1, bias=False)
    state = TrainingState(model, recipe(training__clip=0.5).training)
    assert state.step(100 * model.weight.sum()) == pytest.approx(200)
    assert float(model.weight.grad.norm()) == pytest.approx(0.5, rel=1e-4)


def test_from_the_expert_to_weights(tmp_path, monkeypatch):
    """What `vla-bench train` does: collects once, trains, and does neither again."""
    monkeypatch.chdir(tmp_path)
    small = recipe("l1", data__episodes=3, data__tasks=["pick-red"])
    told = []
    folder = recipes.collect_for(small, told.append)
    assert told[-1].kept == 3
    out = recipes.make_weights(small, folder)
    assert out == Path("results/weights/l1-micro")
    assert (
        recipes.collect_for(recipe("act", data__episodes=3, data__tasks=["pick-red"]), told.append)
        == folder
    )
    assert told[-1].tried == 0
    pattern = f"{folder} holds no demonstrations of detour; known: pick-red."
    missing = recipe("l1", data__episodes=3, data__tasks=["detour"])
    refuses(
        pattern, tmp_path / "new", lambda: recipes.make_weights(missing, folder, tmp_path / "new")
    )


def test_published_demonstrations_are_not_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="in the maniskill layout; give the folder"):
        recipes.collect_for(load_recipe("l1-ms-hab"), lambda _: None)
    assert not list(tmp_path.iterdir())


def test_weights_to_start_from_are_made_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = SMALL | {"data.episodes": 3, "data.tasks": '["pick-red"]'}
    Path("policies/recipes").mkdir(parents=True)
    settings = "".join(f"{key} = {value}\n" for key, value in small.items() if value != "q99")
    Path("policies/recipes/blind.toml").write_text(
        'extends = "l1-micro"\ndescription = "Starts others"\npolicy = "l1"\n' + settings
    )
    late = recipe("act", data__episodes=3, data__tasks=["pick-red"], training__start="blind")
    assert [earlier.name for earlier in recipes.builds_on(late)] == ["blind"]
    out = recipes.make_weights(late, recipes.collect_for(late, lambda _: None))
    assert load_config(out).state == load_config(Path("results/weights/blind")).state
    assert not recipes.builds_on(late)


def test_tasks_that_the_recipe_does_not_name_are_left_out(tmp_path, monkeypatch):
    small, given = recipe("l1", data__tasks=["either"]), []
    monkeypatch.setattr(recipes, "load_demonstrations", lambda *_, **__: demonstrations(small))
    monkeypatch.setattr(recipes, "train", lambda recipe, found, *rest: given.extend(found))
    recipes.make_weights(small, tmp_path, tmp_path / "out")
    assert {d.task for d in given} == {"either"}
    assert len(given) == 4
    assert json.dumps(small.data.model_dump(mode="json")["tasks"]) == '["either"]'
    assert training_state.STATE not in {p.name for p in tmp_path.iterdir()}


def test_what_a_recipe_builds_on_comes_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [earlier.name for earlier in recipes.builds_on(load_recipe("l1-ms-hab-mini"))]
    assert names == ["novice-ms-hab-mini", "blind-l1-ms-hab-mini"]
    assert not recipes.builds_on(load_recipe("novice-ms-hab-mini"))
    assert not recipes.builds_on(load_recipe("blind-l1-ms-hab-mini"), records=False)


def test_batches_that_cannot_tell_a_figure_are_left_out_of_its_mean():
    assert training._mean([0.5, math.nan, 1.0], [1, 5, 3]) == 0.875
    assert math.isnan(training._mean([math.nan], [4]))
