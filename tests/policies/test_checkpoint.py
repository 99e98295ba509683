"""Checkpoints: what is written is read again, and what is damaged or foreign is refused in one line."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.learned import demonstrations, recipe
from vla_bench.cards import PolicyCard, load_card
from vla_bench.errors import UserError
from vla_bench.learning.training import prepare_data
from vla_bench.policies.learned import checkpoint
from vla_bench.policies.learned.checkpoint import (
    CONFIG,
    WEIGHTS,
    find_weights,
    load_config,
    load_model,
    save_checkpoint,
)


@pytest.fixture
def copied(weights, tmp_path):
    """A checkpoint to spoil."""
    return shutil.copytree(weights(), tmp_path / "copied")


def edit(folder, change, resign=False):
    """Changes the config in place; `resign` makes it name the weight file as it is."""
    data = json.loads((folder / CONFIG).read_text())
    change(data)
    if resign:
        data["weights"] = checkpoint.hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / CONFIG).write_text(json.dumps(data))


def load(folder):
    return load_model(folder, load_config(folder), "cpu")


def refuses(folder, pattern):
    with pytest.raises(UserError, match=pattern) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_round_trip(copied, tmp_path):
    config, model = load_config(copied), load(copied)
    stored = load_file(copied / WEIGHTS)
    assert {t.dtype for t in stored.values()} == {torch.float16}
    assert stored.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, stored[name].float())
    assert {"head.anchors", "head.counts", "residual.projection"} <= stored.keys()
    assert not model.training
    save_checkpoint(tmp_path / "again", model, config)
    assert load_config(tmp_path / "again") == config
    assert {p.name for p in (tmp_path / "again").iterdir()} == {CONFIG, WEIGHTS}


def test_it_names_its_statistics_and_demonstrations(copied):
    small, config = recipe(), load_config(copied)
    data = prepare_data(small, demonstrations(small))
    assert (config.actions, config.state) == (data.actions, data.state)
    assert config.demonstrations == data.digest
    assert config.statistics == checkpoint.statistics_digest(small, data.actions, data.state)
    other = recipe(normalise_actions="meanstd")
    assert config.statistics != checkpoint.statistics_digest(other, data.actions, data.state)
    actions = config.action_normaliser()
    rows = demonstrations(small)[0].actions
    assert actions.mode == "q99"
    assert abs(actions.inverse(actions.forward(rows, clip=False)) - rows).max() < 1e-5


def test_weights_are_missing(copied):
    (copied / WEIGHTS).unlink()
    refuses(copied, r"weights\.safetensors is missing; restore it, or train again")


def test_weights_are_cut_short(copied):
    whole = (copied / WEIGHTS).read_bytes()
    (copied / WEIGHTS).write_bytes(whole[:-10])
    refuses(copied, r"has SHA-256 \w{12}, config\.json says \w{12}: .* not from the same training")
    edit(copied, lambda data: None, resign=True)
    refuses(copied, r"weights\.safetensors is damaged: .*; train again")
    (copied / WEIGHTS).write_bytes(b"")
    edit(copied, lambda data: None, resign=True)
    refuses(copied, "is damaged")


def test_weights_of_another_training(copied, weights):
    shutil.copy(weights(training__seed=1) / WEIGHTS, copied / WEIGHTS)
    refuses(copied, "the two are not from the same training; restore them, or train again")


def test_another_width(copied):
    edit(copied, lambda data: data["recipe"]["backbone"].update(width=18))
    refuses(copied, r"of another architecture than its recipe: \S+ has shape .*16.*, expected .*18")


def test_another_number_of_layers(copied):
    edit(copied, lambda data: data["recipe"]["backbone"].update(layers=2))
    refuses(copied, r"another architecture than its recipe: backbone\.blocks\.1\.\S+ is missing")


def test_a_tensor_of_another_name(copied):
    tensors = load_file(copied / WEIGHTS)
    tensors["head.out.extra"] = tensors["head.out.bias"].clone()
    save_file(tensors, copied / WEIGHTS)
    edit(copied, lambda data: None, resign=True)
    refuses(copied, r"another architecture than its recipe: expected no head\.out\.extra")


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (
            lambda d: d.update(format=2, extra=1),
            "is of format 2, this version reads format 1; upgrade",
        ),
        (
            lambda d: d.update(extra=1),
            r"not a checkpoint of this version: extra: .*; train it again",
        ),
        (lambda d: d.pop("actions"), "not a checkpoint of this version: actions: Field required"),
        (lambda d: d["recipe"]["head"].update(kind="dit"), r"recipe\.head: .*'dit'"),
        (lambda d: d["recipe"].update(horizon=99), "recipe: .*horizon 99 is beyond chunk_length 4"),
        (
            lambda d: d["actions"]["q99"].__setitem__(0, 9.0),
            "its statistics have digest .*; restore",
        ),
        (lambda d: d["state"]["mean"].__setitem__(0, 9.0), "its statistics have digest"),
        (lambda d: d["state"]["mean"].pop(), "state: .*expected one number per dimension"),
        (lambda d: d["recipe"].update(normalise_actions="minmax"), "its statistics have digest"),
    ],
)
def test_configs_that_were_tampered_with(copied, change, pattern):
    edit(copied, change)
    refuses(copied, pattern)


def test_configs_that_are_no_json(copied):
    (copied / CONFIG).write_text((copied / CONFIG).read_text()[:100])
    refuses(copied, "not a checkpoint of this version: the file: Invalid JSON")
    (copied / CONFIG).write_bytes(b"\xff\xfe")
    refuses(copied, r"config\.json cannot be read")


def test_a_checkpoint_is_whole_or_has_no_config(copied, tmp_path, monkeypatch):
    def full_disk(path, data):
        path.write_text("half")
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(tmp_path / "out", load(copied), load_config(copied))
    assert not {CONFIG, WEIGHTS} & {p.name for p in (tmp_path / "out").iterdir()}


# Where weights are looked for


@pytest.fixture
def shelves(tmp_path, monkeypatch):
    """Empty places for shipped and for local weights; returns a function that puts some there."""
    monkeypatch.chdir(tmp_path)
    shipped = tmp_path / "shipped"
    monkeypatch.setattr(checkpoint, "shipped_folder", lambda: shipped)

    def put(name, local=False):
        folder = (checkpoint.LOCAL if local else shipped) / name
        folder.mkdir(parents=True)
        (folder / CONFIG).write_text("{}")
        return folder

    return put


def card(name="anchorvla", weights=""):
    return load_card(PolicyCard, name).override({"weights": str(weights)})


def not_found(card, suite, pattern):
    with pytest.raises(UserError, match=pattern) as caught:
        find_weights(card, suite)
    assert "\n" not in str(caught.value)


def test_weights_are_found(shelves, tmp_path):
    local = shelves("anchorvla-micro", local=True)
    assert find_weights(card(), "micro") == local
    shipped = shelves("anchorvla-micro")
    assert find_weights(card(), "micro") == shipped
    assert find_weights(card(weights="anchorvla-micro"), "ms-hab") == shipped
    elsewhere = shelves("mine", local=True)
    assert find_weights(card(weights=elsewhere), "micro") == elsewhere
    assert find_weights(card(weights="mine"), "micro") == elsewhere


def test_no_weights_for_a_suite(shelves):
    train = (
        "anchorvla has no weights for ms-hab; "
        "train them with `vla-bench train anchorvla-ms-hab --demonstrations DIR`"
    )
    not_found(card(), "ms-hab", train + ", or give a folder with --weights$")
    shelves("anchorvla-ms-hab-mini")
    hint = ", or run it now with --suite ms-hab-mini, whose weights are shipped$"
    not_found(card(), "ms-hab", train + ", or give a folder with --weights" + hint)
    not_found(
        card(), "line", "^anchorvla has no weights for line; give a folder with --weights, or run"
    )


def test_weights_of_a_longer_name_are_not_taken_for_ours(shelves):
    shelves("diffusion-x0-micro")
    not_found(card("diffusion"), "ms-hab", r"give a folder with --weights$")


def test_weights_that_are_not_there(shelves, tmp_path):
    (tmp_path / "empty").mkdir()
    not_found(
        card(weights="empty"),
        "micro",
        r"--weights empty: no config\.json there; .*`vla-bench train`$",
    )
    shelves("anchorvla-micro")
    not_found(
        card(weights="anchorvla-mirco"), "micro", "shipped weights, did you mean 'anchorvla-micro'"
    )
