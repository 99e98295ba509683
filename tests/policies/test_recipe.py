"""Recipes: those that are shipped are sound, and what a user overrides is checked."""

import pytest

from tests.learned import recipe
from vla_bench.cards import PolicyCard, SuiteCard, find_cards, load_card
from vla_bench.errors import UserError
from vla_bench.policies.learned.model import ChunkModel
from vla_bench.policies.learned.policy import sampling_of
from vla_bench.policies.learned.recipe import Recipe, load_recipe

ALL = sorted(find_cards(Recipe))
FULL_SIZE_WIDTHS = {"prismatic-qwen2.5-0.5b": 896, "clip-b16-dinov2-b": 512, "qwen3-vl-4b": 2560}


@pytest.mark.parametrize("name", ALL)
def test_shipped_recipes_fit_their_suite_and_policy(name):
    loaded = load_recipe(name)
    assert name.endswith(f"-{loaded.suite}")
    card = load_card(PolicyCard, loaded.policy)
    assert card.options["head"] == loaded.head.kind
    loaded.head.check(sampling_of(card))
    if loaded.suite not in find_cards(SuiteCard):
        assert loaded.action is not None
        return
    suite = load_card(SuiteCard, loaded.suite)
    assert set(loaded.inputs.images) <= set(suite.cameras)
    assert loaded.inputs.state.items() <= suite.state.items()
    assert loaded.inputs.privileged.items() <= suite.privileged.items()
    assert set(loaded.data.tasks) <= set(suite.tasks)
    assert set(loaded.data.suite_options) <= set(suite.options)


@pytest.mark.parametrize("name", ALL)
def test_shipped_recipes_make_a_model(name):
    loaded = load_recipe(name)
    if loaded.backbone.name.startswith("tiny"):
        assert (ChunkModel(loaded, 5).residual is None) == (loaded.residual is None)
    else:
        width = FULL_SIZE_WIDTHS[loaded.backbone.name]
        assert width % getattr(loaded.head, "heads", 1) == 0


def test_overrides():
    plain = load_recipe("anchorvla-micro")
    changed = load_recipe(
        "anchorvla-micro", {"head.anchors": "10", "training.learning_rate": "1e-4"}
    )
    assert (changed.head.anchors, changed.training.learning_rate) == (10, 1e-4)
    assert changed.head.negatives == plain.head.negatives
    assert changed.digest != plain.digest
    assert load_recipe("anchorvla-micro", {}).digest == plain.digest
    same = load_recipe("anchorvla-micro", {"head.anchors": "20"})
    assert same.digest == plain.digest


def test_what_takes_the_place_of_another_kind_keeps_none_of_its_settings():
    loaded = load_recipe("anchorvla-micro", {"head.kind": "l1", "head.heads": "2"})
    assert loaded.head.model_dump() == {"kind": "l1", "heads": 2}
    full = load_recipe("posavla-libero-spatial")
    assert full.backbone.name == "clip-b16-dinov2-b"
    assert load_recipe("anchorvla-micro", {"head.kind": "anchored"}).head.negatives == 1


def test_a_recipe_can_do_without_its_bases_residual_module():
    loaded = load_recipe("l1-micro", {"residual": "false"})
    assert loaded.residual is None
    assert ChunkModel(loaded, 5).residual is None


@pytest.mark.parametrize(
    ("settings", "pattern"),
    [
        ({"head.anchorz": "5"}, r"unknown key 'head\.anchored\.anchorz', did you mean 'anchors'"),
        ({"residual.widht": "5"}, r"unknown key 'residual\.widht', did you mean 'width'"),
        ({"training.updats": "5"}, r"unknown key 'training\.updats', did you mean 'updates'"),
        ({"training.updates": "many"}, r"training\.updates: .*valid integer.*, found 'many'"),
        ({"training.updates": "0"}, r"training\.updates: .*greater than 0, found 0"),
        (
            {"head.kind": "dit"},
            "head: Input tag 'dit' .*'anchored', 'diffusion', 'l1', 'act'",
        ),
        ({"backbone.width": "30"}, "width 30 is odd, or no multiple of its 4 heads"),
        ({"backbone.image_size": "50"}, "image_size 50 is no multiple of 16, four times the grid"),
        ({"horizon": "40"}, "horizon 40 is beyond chunk_length 16$"),
        ({"residual.inputs": "state+images"}, r"state\+images, but inputs\.images is empty$"),
        ({"training": "5", "training.updates": "4"}, r"--set training\.updates: training is given"),
    ],
)
def test_overrides_that_cannot_be(settings, pattern):
    with pytest.raises(UserError, match=pattern) as caught:
        load_recipe("anchorvla-micro", settings)
    assert "\n" not in str(caught.value)


def test_heads_that_do_not_divide_the_width():
    with pytest.raises(
        UserError, match=r"head\.heads=12: expected a divisor .* 16; .*head\.heads=4"
    ):
        ChunkModel(recipe(head__heads=12), 5)


def test_a_name_that_is_nearly_right():
    with pytest.raises(
        UserError, match=r"no recipe named 'anchorvla-mirco'; did you mean 'anchorvla-micro'"
    ):
        load_recipe("anchorvla-mirco")
