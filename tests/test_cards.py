import pytest

from vla_bench.cards import PolicyCard, SuiteCard, find_cards, load_card
from vla_bench.errors import UserError

CARD = """
version = 1
adapter = "hold"
description = "."
chunk_length = 4
horizon = 2
"""


def write(folder, text, name="mine"):
    path = folder / f"{name}.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("kind", [PolicyCard, SuiteCard])
def test_every_card_that_ships_is_valid(kind):
    for name in find_cards(kind):
        assert load_card(kind, name).name == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CARD + "horizn = 3", "unknown key 'horizn', did you mean 'horizon'?"),
        (CARD + "[inputs]\nimage = []", "unknown key 'inputs.image', did you mean 'images'?"),
        (CARD.replace("version = 1", ""), "key 'version' is missing"),
        (CARD.replace("horizon = 2", "horizon = 9"), "horizon 9 is beyond chunk_length 4"),
        (CARD.replace("horizon = 2", "horizon = 0"), "greater than 0, found 0"),
        (CARD + "version = ", "not valid TOML"),
        (CARD + 'extends = "mine-not"', "extends 'mine-not', which is no card"),
    ],
)
def test_a_wrong_card_is_one_clear_line(tmp_path, text, said):
    with pytest.raises(UserError) as error:
        load_card(PolicyCard, write(tmp_path, text))
    assert said in str(error.value)
    assert "mine.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UserError, match="did you mean 'random'"):
        load_card(PolicyCard, "randm")


def test_search_path_prefers_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "policies").mkdir()
    write(tmp_path / "policies", CARD.replace('"."', '"ours"'), "hold")
    monkeypatch.chdir(tmp_path)
    assert load_card(PolicyCard, "hold").description == "ours"


def test_extends_overlays_tables(tmp_path):
    write(tmp_path, CARD + "[options]\na = 1\nb = 2", "base")
    path = write(tmp_path, 'extends = "base"\nhorizon = 4\n[options]\nb = 3')
    card = load_card(PolicyCard, path)
    assert (card.name, card.horizon, card.options) == ("mine", 4, {"a": 1, "b": 3})


def test_overrides_keep_the_type_and_change_the_digest(tmp_path):
    card = load_card(PolicyCard, write(tmp_path, CARD + '[options]\ngain = 1.0\nname = "x"'))
    changed = card.override({"gain": "2", "name": "nan"})
    assert changed.options == {"gain": 2.0, "name": "nan"}
    assert changed.digest != card.digest
    with pytest.raises(UserError, match="expected a float"):
        card.override({"gain": "fast"})
    with pytest.raises(UserError, match="did you mean 'gain'"):
        card.override({"gian": "2"})


def test_digest_does_not_depend_on_where_the_card_lies(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = load_card(PolicyCard, write(tmp_path / "a", CARD))
    assert first.digest == load_card(PolicyCard, write(tmp_path / "b", CARD)).digest


def test_temporal_ensembling_is_an_option(tmp_path):
    card = load_card(PolicyCard, write(tmp_path, CARD))
    assert card.override({"temporal_ensembling": "0.01"}).temporal_ensembling == 0.01
    assert card.override({"temporal_ensembling": "off"}).temporal_ensembling is None
    with pytest.raises(UserError, match="expected a number >= 0, or off"):
        card.override({"temporal_ensembling": "much"})


def test_a_suite_of_several_has_their_tasks_and_their_steps():
    whole = load_card(SuiteCard, "libero")
    for part in ("libero-spatial", "libero-long"):
        card = load_card(SuiteCard, part)
        for task in card.tasks:
            assert whole.suite_of(task) == card.suite_of(task) == part
            assert whole.steps_of(task) == card.max_steps
    assert whole.max_steps == 520


def test_a_part_that_is_no_card_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "micro"\nparts = ["libero-spacial"]\n')
    with pytest.raises(
        UserError, match=r"has the part 'libero-spacial'.*did you mean 'libero-spatial'"
    ):
        load_card(SuiteCard, str(path))


def test_a_protocol_goes_before_options_that_are_set_one_by_one():
    card = load_card(SuiteCard, "libero-object")
    followed = card.override({"rotation": "continuous", "protocol": "vla-eval"})
    assert followed.options["protocol"] == "vla-eval"
    assert followed.options["gripper"] == "binary"
    assert followed.options["rotation"] == "continuous"
    assert card.override({"protocol": "openpi"}).cameras["wrist"] == (224, 224)
    with pytest.raises(UserError, match="did you mean 'openpi'"):
        card.override({"protocol": "openpie"})
