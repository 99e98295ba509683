"""The tiny backbone: nothing leaks between batch neighbours, and every slot holds what it says."""

import subprocess
import sys

import pytest
import torch

from tests.learned import draws
from vla_bench.cards import SuiteCard, find_cards, load_card
from vla_bench.nn import tiny
from vla_bench.nn.attention import Attention, Layer
from vla_bench.nn.backbone import Masked
from vla_bench.nn.embeddings import sinusoidal
from vla_bench.nn.tiny import WORDS, TinyBackbone, hash_words, resized

INSTRUCTIONS = ["pick up the red ball", "go", "", "go round the post and pick up the red ball"]
BATCH, VIEWS, STATE, LAYERS, QUERIES, GRID = len(INSTRUCTIONS), 2, 5, 2, 3, 2


def backbone(views=VIEWS, seed=0, **options):
    torch.manual_seed(seed)
    sizes = {"image_size": 16, "grid": GRID, "width": 16, "layers": LAYERS, "heads": 2, **options}
    return TinyBackbone(views=views, state_size=STATE, queries=QUERIES, **sizes).eval()


def images(side=16, views=VIEWS, seed=0, batch=BATCH):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (batch, views, 3, side, side), generator=generator).to(torch.uint8)


def parts(context):
    return [*context.vision, *context.queries, context.proprioception, context.raw_vision]


@pytest.mark.parametrize("views", [0, 1, 2])
def test_shapes(views):
    seen = backbone(views)(images(views=views), INSTRUCTIONS, draws(1, BATCH, STATE), True)
    tokens = views * GRID * GRID
    assert [tuple(v.shape) for v in seen.vision] == [(BATCH, tokens, 16)] * (LAYERS + 1)
    assert [tuple(q.shape) for q in seen.queries] == [(BATCH, QUERIES, 16)] * (LAYERS + 1)
    assert [tuple(a.shape) for a in seen.attention] == [(BATCH, 2, QUERIES, tokens)] * LAYERS
    assert seen.proprioception.shape == (BATCH, 1, 16)
    assert seen.raw_vision.shape == (BATCH, tokens, 16)
    assert seen.grid == (views, GRID, GRID)
    assert seen.pooled().shape == (BATCH, 32)


def test_a_batch_equals_its_samples_one_by_one():
    """Instructions of other lengths are padded; padding is never attended to."""
    model, pixels, state = backbone(), images(), draws(1, BATCH, STATE)
    together = model(pixels, INSTRUCTIONS, state, need_attention=True)
    for i, text in enumerate(INSTRUCTIONS):
        alone = model(pixels[i : i + 1], [text], state[i : i + 1], need_attention=True)
        for whole, one in zip(parts(together), parts(alone), strict=True):
            torch.testing.assert_close(whole[i : i + 1], one, rtol=1e-4, atol=1e-5)
        for whole, one in zip(together.attention, alone.attention, strict=True):
            torch.testing.assert_close(whole[i : i + 1], one, rtol=1e-4, atol=1e-5)


def test_every_input_is_read():
    model, state = backbone(), draws(1, BATCH, STATE)
    plain = model(images(), INSTRUCTIONS, state).pooled()
    changed = [
        model(images(seed=1), INSTRUCTIONS, state),
        model(images(), INSTRUCTIONS[::-1], state),
        model(images(), INSTRUCTIONS, state + 1),
    ]
    for other in changed:
        assert ((other.pooled() - plain).abs().amax(1) > 1e-3).all()


OPTIONS = {"film": True, "stem_norm": True, "place_scale": 0.5}


def test_options_that_are_off_change_nothing():
    plain, off = backbone(), backbone(film=False, stem_norm=False, place_scale=0.02)
    assert list(plain.state_dict()) == list(off.state_dict())
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, off.state_dict()[name])
    state = draws(1, BATCH, STATE)
    found = (model(images(), INSTRUCTIONS, state) for model in (plain, off))
    assert torch.equal(*(context.pooled() for context in found))


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_changes_what_is_made_of_an_image(option):
    plain, other = backbone(), backbone(**{option: OPTIONS[option]})
    state = draws(1, BATCH, STATE)
    first, second = (model(images(), INSTRUCTIONS, state).vision[0] for model in (plain, other))
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("film", [False, True])
def test_the_instruction_reaches_visual_features_if_it_is_told_to(film):
    model, state = backbone(film=film), draws(1, BATCH, STATE)
    here, there = (model(images(), texts, state) for texts in (INSTRUCTIONS, INSTRUCTIONS[::-1]))
    changed = (here.raw_vision - there.raw_vision).abs().amax((1, 2))
    assert ((changed > 1e-3) == film).all()


def test_a_small_object_weighs_more_in_a_normalised_stem():
    bare = torch.full((1, 1, 3, 64, 64), 230, dtype=torch.uint8)
    ball = bare.clone()
    ball[..., 30:34, 30:34] = torch.tensor([214, 48, 49], dtype=torch.uint8)[:, None, None]

    def share(**options):
        model = backbone(views=1, image_size=64, **options)
        seen, empty = (model(i, ["go"], torch.zeros(1, STATE)).raw_vision for i in (ball, bare))
        return (seen - empty).norm() / empty.norm()

    assert share(stem_norm=True) > 2 * share()


@pytest.mark.parametrize("views", [0, 2])
def test_a_batch_equals_its_samples_with_all_options(views):
    model, state = backbone(views, **OPTIONS), draws(1, BATCH, STATE)
    pixels = images(views=views)
    together = model(pixels, INSTRUCTIONS, state)
    for i, text in enumerate(INSTRUCTIONS):
        alone = model(pixels[i : i + 1], [text], state[i : i + 1])
        for whole, one in zip(parts(together), parts(alone), strict=True):
            torch.testing.assert_close(whole[i : i + 1], one, rtol=1e-4, atol=1e-5)


def test_images_of_other_sizes_are_resized():
    model, state = backbone(), draws(1, BATCH, STATE)
    large = images().repeat_interleave(4, -1).repeat_interleave(4, -2)
    resized, plain = (model(i, INSTRUCTIONS, state) for i in (large, images()))
    torch.testing.assert_close(resized.pooled(), plain.pooled(), rtol=1e-4, atol=1e-5)
    wide = model(images()[..., :11], INSTRUCTIONS, state)
    assert wide.vision[0].shape == plain.vision[0].shape


def test_attention_is_a_part_of_a_softmax():
    model, state = backbone(), draws(1, BATCH, STATE)
    seen = model(images(), INSTRUCTIONS, state, need_attention=True)
    for weights in seen.attention:
        assert (weights > 0).all()
        assert (weights.sum(-1) < 1).all()
    without = model(images(), INSTRUCTIONS, state)
    assert without.attention == ()
    assert torch.equal(without.pooled(), seen.pooled())


def test_attention_is_what_the_layer_computes():
    torch.manual_seed(0)
    attention, x, bias = Attention(16, 2), draws(0, 3, 6, 16), draws(1, 3, 1, 1, 6)
    known = attention.project(x)
    by_hand = attention.weights(x, known, bias) @ known.values
    expected = attention.out(by_hand.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x, known, bias), expected, rtol=1e-4, atol=1e-6)


def test_markers_are_found_in_their_slots():
    """A unique embedding planted at the first and last slot of vision and queries, layers untouched."""
    model = backbone()
    for block in model.blocks:
        assert isinstance(block, Layer)
        for module in (block.attention.out, block.feed_forward[2]):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)
    with torch.no_grad():
        model.place.zero_()
        for parameter in model.stem.parameters():
            parameter.zero_()
        model.place[0], model.place[-1] = 7.0, 8.0
        model.queries[0], model.queries[-1] = 5.0, 6.0
    embedded = []
    model.state.register_forward_hook(lambda module, inputs, output: embedded.append(output))
    seen = model(images(), INSTRUCTIONS, draws(1, BATCH, STATE))
    for layer in range(LAYERS):
        vision, queries = seen.vision[layer], seen.queries[layer]
        assert (vision[:, 0] == 7).all()
        assert (vision[:, -1] == 8).all()
        assert (vision[:, 1:-1] == 0).all()
        assert (queries[:, 0] == 5).all()
        assert (queries[:, -1] == 6).all()
    (state,) = embedded
    torch.testing.assert_close(seen.proprioception[:, 0], state + model.norm(state))


def test_visual_tokens_are_in_the_order_view_row_column():
    model = backbone()
    pixels = torch.zeros(1, VIEWS, 3, 16, 16, dtype=torch.uint8)
    plain = model(pixels, ["go"], torch.zeros(1, STATE)).raw_vision
    pixels[0, 1, :, 11:13, 3:5] = 255
    changed = model(pixels, ["go"], torch.zeros(1, STATE)).raw_vision
    hot = (changed - plain).abs().sum(-1)[0].reshape(VIEWS, GRID, GRID)
    assert hot[1, 1, 0] > 0
    assert hot.sum() == hot[1, 1, 0]


def test_words():
    found = hash_words(["Pick, up!", "", "up"])
    assert found.shape == (3, 2)
    assert found.dtype == torch.int64
    assert found[1].tolist() == [0, 0]
    assert found[2].tolist() == [found[0, 1], 0]
    assert hash_words(["", ""]).shape == (2, 0)
    assert hash_words(["pick up"]).tolist() == found[:1].tolist()
    assert found[0].min() >= 1
    assert found.max() < WORDS


def test_words_are_the_same_in_another_process():
    """Python's own `hash` differs from process to process."""
    program = (
        f"from vla_bench.nn.tiny import hash_words; print(hash_words({INSTRUCTIONS!r}).tolist())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert other.stdout.strip() == str(hash_words(INSTRUCTIONS).tolist()), other.stderr


@pytest.mark.parametrize("suite", find_cards(SuiteCard))
def test_no_two_words_of_a_suite_share_a_number(suite):
    texts = [task.instruction.lower() for task in load_card(SuiteCard, suite).tasks.values()]
    words = sorted({word for text in texts for word in tiny.re.findall(r"\w+", text)})
    numbers = hash_words(words)[:, 0].tolist()
    shared = {n for n in numbers if numbers.count(n) > 1}
    told_apart = {tuple(hash_words([text])[0].tolist()) for text in texts}
    assert len(told_apart) == len(set(texts)), [
        word for word, n in zip(words, numbers, strict=True) if n in shared
    ]


def test_sinusoids():
    found = sinusoidal(torch.tensor([0, 3]), 6, longest=100.0)
    angles = torch.tensor([3.0, 3 / 100 ** (1 / 3), 3 / 100 ** (2 / 3)])
    torch.testing.assert_close(found[0], torch.tensor([0.0, 0, 0, 1, 1, 1]))
    torch.testing.assert_close(found[1], torch.cat([angles.sin(), angles.cos()]))


@pytest.mark.parametrize("side", [64, 128, 192, 256, 100])
def test_images_are_resized_as_torch_does_it(side):
    pixels = torch.randint(0, 256, (3, side, side, 3), generator=torch.Generator().manual_seed(0))
    for laid_out in (pixels.permute(0, 3, 1, 2), pixels.permute(0, 3, 1, 2).contiguous()):
        scaled = laid_out.float() / 127.5 - 1.0
        wanted = torch.nn.functional.interpolate(scaled, (64, 64), mode="area")
        assert torch.equal(resized(scaled, 64), wanted)


@torch.no_grad()
@pytest.mark.parametrize("layer", range(LAYERS + 1))
def test_masked_tokens_are_zero_at_their_layer_alone(layer):
    model, pixels, state = backbone(), images(), draws(1, BATCH, STATE)
    tokens = torch.zeros(BATCH, VIEWS * GRID * GRID, dtype=torch.bool)
    tokens[0, 1] = tokens[2, 3:6] = True
    whole = model(pixels, INSTRUCTIONS, state)
    seen = model(pixels, INSTRUCTIONS, state, masked=Masked(layer, tokens))
    for number, (before, after) in enumerate(zip(whole.vision, seen.vision, strict=True)):
        if number == layer:
            assert not after[tokens].any()
            assert torch.equal(after[~tokens], before[~tokens])
        elif number < layer:
            assert torch.equal(after, before)
    assert torch.equal(seen.raw_vision, whole.raw_vision)
    changed = [
        not torch.equal(a, b) for a, b in zip(seen.queries[-1], whole.queries[-1], strict=True)
    ]
    assert changed == [layer < LAYERS, False, layer < LAYERS, False]


def test_a_text_is_described_alike_beside_longer_ones():
    model = backbone()
    together = model.describe([*INSTRUCTIONS, "gripper"])
    assert together.shape == (BATCH + 1, model.text_width)
    assert torch.isfinite(together).all(), "one of them is empty"
    torch.testing.assert_close(model.describe(INSTRUCTIONS[:1])[0], together[0])
    seen = model(images(), ["go", "stop", "go", "gripper"], draws(1, BATCH, STATE))
    assert torch.equal(seen.text[0], seen.text[2])
    assert not torch.equal(seen.text[0], seen.text[1])
    torch.testing.assert_close(seen.text[3], seen.phrases["gripper"])
    torch.testing.assert_close(seen.phrases["gripper"], together[-1])
    assert seen.raw_grid == seen.grid


@pytest.mark.parametrize("views", [0, 2])
def test_without_layers_tokens_stay_as_they_are_embedded(views):
    torch.manual_seed(0)
    sizes = {"image_size": 16, "grid": GRID, "width": 16, "heads": 2}
    model = TinyBackbone(views=views, state_size=STATE, layers=0, **sizes).eval()
    pixels, state = images(views=views), draws(1, BATCH, STATE)
    first, second = (model(x, INSTRUCTIONS, state) for x in (pixels, 255 - pixels))
    assert len(first.vision) == len(first.queries) == 1
    assert torch.equal(first.pooled(), second.pooled()), "no token has looked at another one"
    if views:
        assert not torch.equal(first.vision[0], second.vision[0])
