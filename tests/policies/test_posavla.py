"""PosA-VLA's head: every switch matters, stages train what they should, the flow lands on its data."""

import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from tests.learned import context, draws, head, livened, recipe, windows
from vla_bench.cards import PolicyCard, load_card
from vla_bench.errors import UserError
from vla_bench.nn.dit import ChunkSizes
from vla_bench.nn.tiny import TinyBackbone
from vla_bench.policies.l1.head import L1Config
from vla_bench.policies.learned.head import Windows
from vla_bench.policies.learned.heads import make_head
from vla_bench.policies.learned.model import ChunkModel
from vla_bench.policies.learned.policy import sampling_of
from vla_bench.policies.learned.recipe import load_recipe
from vla_bench.policies.posavla.settings import PosaConfig, PosaSampling
from vla_bench.profiling import count_flops

BATCH, VIEWS, SIDE, WIDTH = 6, 2, 4, 16
SMALL = {"heads": 2, "layers": 1}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def posa(**settings):
    return head(PosaConfig(**{**SMALL, **settings}))


def seen(raw_side=SIDE, instructions=2):
    """A context of two views with every so many samples of the same instruction."""
    plain = context(BATCH, vision=VIEWS * SIDE**2)
    which = torch.arange(BATCH) % instructions
    return replace(
        plain,
        grid=(VIEWS, SIDE, SIDE),
        raw_grid=(VIEWS, raw_side, raw_side),
        raw_vision=draws(400, BATCH, VIEWS * raw_side**2, WIDTH),
        text=plain.text[which],
    )


def shown(seed=1):
    """Windows whose places are known."""
    places = torch.rand(BATCH, 2, VIEWS, 2, generator=generator(seed))
    return replace(windows(BATCH), places=places)


def losses(made, context, windows):
    return made.loss(context, windows, generator())


def test_the_maps_are_probabilities_on_the_grid_of_the_visual_tokens():
    maps = posa().attention(seen(raw_side=6))
    assert list(maps) == ["task", "end"]
    for drawn in maps.values():
        assert drawn.shape == (BATCH, VIEWS, SIDE, SIDE)
        assert ((drawn > 0) & (drawn < 1)).all()


def test_the_task_map_asks_for_the_instruction_and_the_other_one_for_the_gripper():
    made, before = posa(), seen()
    asked = replace(before, text=before.text.flip(1))
    called = replace(before, phrases={"gripper": before.phrases["gripper"].flip(0)})
    maps = made.attention(before)
    for changed, name, other in ((asked, "task", "end"), (called, "end", "task")):
        now = made.attention(changed)
        assert (now[name] - maps[name]).abs().max() > 1e-3
        torch.testing.assert_close(now[other], maps[other])


def test_a_view_is_looked_at_by_itself():
    made, before = posa(), seen()
    vision = before.vision[0].clone()
    vision[:, SIDE**2 :] = draws(9, BATCH, SIDE**2, WIDTH)
    now, then = (
        made.attention(c)["task"]
        for c in (replace(before, vision=(vision, *before.vision[1:])), before)
    )
    torch.testing.assert_close(now[:, 0], then[:, 0])
    assert (now[:, 1] - then[:, 1]).abs().max() > 1e-3


def gates(made, value):
    """Fixes all maps at a value: minus infinity's sigmoid is 0."""
    made.attend.bias.data.fill_(value)
    made.attend.key[1].weight.data.zero_()
    made.attend.key[1].bias.data.zero_()
    return made


@torch.no_grad()
def planned(made, context):
    noise = draws(1, BATCH, 5, 2)
    return made.sample(context, noise, PosaSampling(steps=2))


@pytest.mark.parametrize(("refine", "hidden"), [("gate", 1), ("gate_residual", 0), ("concat", 0)])
def test_what_no_map_shows_is_hidden_by_the_gate_alone(refine, hidden):
    made, before = gates(posa(refine=refine), -100.0), seen(raw_side=6)
    other = replace(before, raw_vision=before.raw_vision.flip(1))
    change = float((planned(made, before) - planned(made, other)).abs().max())
    assert (change < 1e-6) == bool(hidden)


def test_a_map_lets_through_the_features_of_its_own_cells():
    """With a map of one cell, only that cell's quarter of the finer dense grid is read."""
    made = gates(posa(anchors="task"), 0.0)
    before = seen(raw_side=2 * SIDE)
    maps = torch.zeros(BATCH, 1, VIEWS, SIDE, SIDE)
    maps[:, :, 1, 0, 3] = 1
    raw = before.raw_vision.clone().requires_grad_()
    made.refine(replace(before, raw_vision=raw), maps).square().sum().backward()
    read = raw.grad.abs().sum((0, 2)).unflatten(0, (VIEWS, 2 * SIDE, 2 * SIDE)) > 0
    assert not read[0].any()
    assert read[1, :2, 6:].all()
    assert not read[1, 3:].any()
    assert not read[1, :, :5].any()


CHANGES = [
    {"anchor_loss": "none"},
    {"anchor_loss": "focal"},
    {"anchor_loss": "contrastive"},
    {"anchor_weight": 0.5},
    {"alpha": 0.8},
    {"sigma_task": 0.3},
    {"sigma_end": 0.3},
    {"focal_target": "soft_cornernet"},
    {"focal_gamma": 1.0},
    {"focal_balance": 0.25},
    {"threshold": 0.2},
    {"temperature": 0.2},
    {"pos_src": "pred", "threshold": 0.5},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_every_switch_of_the_loss_changes_it(changes):
    base = {"threshold": 0.5} if "pos_src" in changes else {}
    totals = [
        float(losses(posa(**s), seen(), shown())["total"].detach())
        for s in (base, {**base, **changes})
    ]
    assert abs(totals[0] - totals[1]) > 1e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"anchors": "task"},
        {"anchors": "end"},
        {"refine": "gate_residual"},
        {"refine": "concat"},
        {"layers": 2},
        {"anchor_layers": 1},
    ],
    ids=str,
)
def test_every_switch_of_the_architecture_changes_the_plan(changes):
    assert (planned(posa(), seen()) - planned(posa(**changes), seen())).abs().max() > 1e-4


def test_the_anchor_loss_is_the_weighted_sum_of_its_terms():
    found = losses(posa(alpha=0.3, anchor_weight=2.0), seen(), shown())
    anchor = 0.3 * found["focal"] + 0.7 * found["contrastive"]
    torch.testing.assert_close(found["anchor"], anchor)
    torch.testing.assert_close(found["total"], found["flow"] + 2 * anchor)
    alone = losses(posa(anchor_loss="focal", alpha=0.3), seen(), shown())
    torch.testing.assert_close(alone["anchor"], 0.3 * found["focal"])
    assert "contrastive" not in alone
    assert set(losses(posa(anchor_loss="none"), seen(), windows(BATCH))) == {"total", "flow"}


@pytest.mark.parametrize(("anchors", "used"), [("task", 0), ("end", 1)])
def test_a_single_map_is_trained_on_its_own_places(anchors, used):
    made, drawn = posa(anchors=anchors), shown()
    moved = replace(drawn, places=drawn.places.clone())
    moved.places[:, 1 - used] = 0.1
    before, after = (losses(made, seen(), w)["total"] for w in (drawn, moved))
    torch.testing.assert_close(before, after)
    moved.places[:, used] = 0.1
    assert abs(float((losses(made, seen(), moved)["total"] - before).detach())) > 1e-4
    assert list(made.attention(seen())) == [anchors]
    assert set(made.diagnose(seen(), drawn, None)) == {f"anchor_hits_{anchors}"}


def gradients(made, found):
    made.zero_grad()
    found["total"].backward()
    return {n: float(p.grad.abs().sum()) for n, p in made.named_parameters() if p.grad is not None}


def test_unknown_places_give_no_gradient():
    made, drawn = posa(anchor_updates=9), shown()
    made.begin(0)
    nowhere = replace(drawn, places=torch.full_like(drawn.places, math.nan))
    assert not any(gradients(made, losses(made, seen(), nowhere)).values())
    half = replace(drawn, places=drawn.places.clone())
    half.places[:, 1] = math.nan
    alone = losses(posa(anchors="task"), seen(), drawn)
    torch.testing.assert_close(losses(posa(), seen(), half)["focal"], alone["focal"])
    made.attend.bias.grad = None
    losses(made, seen(), half)["total"].backward()
    assert made.attend.bias.grad.ne(0).flatten().tolist() == [True, False]


def test_batches_of_one_instruction_have_no_contrastive_loss():
    found = losses(posa(), seen(instructions=1), shown())
    assert found["contrastive"].isnan()
    torch.testing.assert_close(found["anchor"], 0.5 * found["focal"])
    made = posa(anchor_loss="contrastive", anchor_updates=9)
    made.begin(0)
    assert not any(gradients(made, losses(made, seen(instructions=1), shown())).values())


def test_samples_without_positive_cells_are_skipped():
    drawn, made = shown(), posa()
    drawn.places[0] = math.nan
    found = losses(made, seen(), drawn)["contrastive"]
    rest = replace(seen(), **{n: getattr(seen(), n)[1:] for n in ("text",)})
    rest = replace(rest, vision=tuple(v[1:] for v in rest.vision))
    anchored = made.attend(rest)
    anchors, known = made._anchors(replace(drawn, places=drawn.places[1:]), anchored)
    torch.testing.assert_close(found, made._contrastive(anchored, anchors, known, rest.text))


def test_the_first_stage_trains_the_maps_and_nothing_else():
    made = posa(anchor_updates=3).train()
    optimiser = torch.optim.AdamW(made.parameters(), lr=1e-2, weight_decay=0.1)
    before = {n: t.clone() for n, t in made.state_dict().items()}
    for update in range(4):
        made.begin(update)
        optimiser.zero_grad()
        found = losses(made, seen(), shown())
        found["total"].backward()
        optimiser.step()
        moved = {n.split(".")[0] for n, t in made.state_dict().items() if not t.equal(before[n])}
        assert bool(found["flow"].isnan()) == (update < 3)
        assert moved == ({"attend"} if update < 3 else {"attend", "refine", "text", "transformer"})


@pytest.mark.parametrize("changes", [{"anchor_loss": "none"}, {}], ids=["no loss", "no images"])
def test_without_an_anchor_loss_there_is_one_stage(changes):
    made = posa(anchor_updates=3, **changes)
    made.begin(0)
    looked = seen() if changes else context(BATCH, vision=0)
    looked = looked if changes else replace(looked, grid=(0, SIDE, SIDE), raw_grid=(0, SIDE, SIDE))
    found = losses(made, looked, windows(BATCH))
    assert set(found) == {"total", "flow"}
    assert float(found["total"]) > 0
    assert planned(made, looked).shape == (BATCH, 5, 2)
    assert made.diagnose(looked, windows(BATCH), None) == {}


def test_the_policy_for_ms_hab_mini_goes_on_with_the_head_of_the_blind_one():
    names = ("blind-posavla-ms-hab-mini", "posavla-ms-hab-mini")
    blind, seeing = (load_recipe(name) for name in names)
    assert seeing.training.start == blind.name
    assert seeing.head == blind.head
    shapes = [
        {n: t.shape for n, t in ChunkModel(r, 13).head.state_dict().items()}
        for r in (blind, seeing)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_the_straight_field_is_exact_for_any_number_of_steps(steps):
    made, data, noise = posa(), windows(BATCH).chunks, draws(1, BATCH, 5, 2)
    made.transformer.forward = lambda x, t, memory: data - noise
    torch.testing.assert_close(made.sample(seen(), noise, PosaSampling(steps=steps)), data)
    made.transformer.forward = lambda x, t, memory: (data - x) / (1 - t[:, None, None])
    landed = made.sample(seen(), noise, PosaSampling(steps=steps))
    torch.testing.assert_close(landed, data, rtol=1e-4, atol=1e-4)


def test_euler_steps_cost_what_they_multiply_and_the_context_is_read_once():
    made, before, noise = posa(), seen(), draws(1, BATCH, 5, 2)
    one, two, three = (
        count_flops(lambda n=n: made.sample(before, noise, PosaSampling(steps=n)))
        for n in (1, 2, 3)
    )
    assert three - two == two - one > 0
    assert one > 2 * (two - one)


def test_the_flow_loss_asks_for_data_less_noise_on_the_straight_path():
    made, drawn, asked = posa(anchor_loss="none"), windows(BATCH), []
    drawn.valid[:, 3:] = False

    def velocity(x, t, memory):
        asked.append(t)
        noise = (x - t[:, None, None] * drawn.chunks) / (1 - t[:, None, None])
        wrong = drawn.chunks - noise + 0.5
        wrong[:, 3:] = 100.0
        return wrong

    made.transformer.forward = velocity
    assert float(losses(made, seen(), drawn)["flow"]) == pytest.approx(0.25, rel=1e-2)
    assert ((asked[0] >= 0) & (asked[0] < 1)).all()
    assert asked[0].std() > 0.1


def test_the_time_the_state_and_the_instruction_are_read():
    made, before = posa(), seen()
    memory = made._remember(before, made.attend(before))
    noisy = draws(1, BATCH, 5, 2)
    first, last = (made.transformer(noisy, torch.full((BATCH,), t), memory) for t in (0.0, 0.9))
    assert (first - last).abs().max() > 1e-3
    dark = gates(posa(), -100.0)
    for changed in (
        {"proprioception": before.proprioception.flip(2)},
        {"text": before.text.flip(1)},
    ):
        assert (
            planned(dark, before) - planned(dark, replace(before, **changed))
        ).abs().max() > 1e-4


COLOURS = ("red", "green", "blue")


def scenes(count, seed):
    """Three coloured squares and a white one, which is the gripper; a text names a colour."""
    draw, side = generator(seed), 32
    images = torch.full((count, 1, 3, side, side), 100, dtype=torch.uint8)
    places, which = torch.zeros(count, 2, 1, 2), torch.randint(3, (count,), generator=draw)
    for n in range(count):
        for k, cell in enumerate(torch.randperm(64, generator=draw)[:4].tolist()):
            y, x = 4 * (cell // 8), 4 * (cell % 8)
            images[n, 0, :, y : y + 4, x : x + 4] = 255 if k == 3 else 0
            images[n, 0, k % 3, y : y + 4, x : x + 4] = 255
            for channel, kind in enumerate((int(which[n]), 3)):
                if kind == k:
                    places[n, channel, 0] = torch.tensor([(x + 2) / side, (y + 2) / side])
    texts = [f"pick up the {COLOURS[k]} ball" for k in which.tolist()]
    return images, texts, torch.zeros(count, 2), places


def batch_of(drawn, rows):
    images, texts, state, places = drawn
    rows = rows.tolist()
    chunks = torch.zeros(len(rows), 4, 2)
    shown = Windows(chunks, torch.ones(len(rows), 4, dtype=torch.bool), places=places[rows])
    return (images[rows], [texts[r] for r in rows], state[rows]), shown


def test_maps_learn_where_the_named_object_and_the_gripper_are():
    """The bar of the real thing: nine in ten held-out frames, for both maps."""
    torch.manual_seed(0)
    sizes = {"image_size": 32, "grid": 8, "width": 32, "layers": 0, "heads": 2, "queries": 2}
    backbone = TinyBackbone(views=1, state_size=2, **sizes)
    config = PosaConfig(heads=2, layers=1, anchor_updates=100)
    made = make_head(config, ChunkSizes(2, 4, 32, 0, 1, 32, 32))
    optimiser = torch.optim.AdamW([*backbone.parameters(), *made.parameters()], lr=3e-3)
    drawn, draw = scenes(600, 0), generator()
    for update in range(100):
        made.begin(update)
        observed, shown = batch_of(drawn, torch.randint(600, (32,), generator=draw))
        optimiser.zero_grad()
        made.loss(backbone(*observed), shown, draw)["total"].backward()
        optimiser.step()
    observed, shown = batch_of(scenes(200, 1), torch.arange(200))
    with torch.no_grad():
        rates = made.diagnose(backbone(*observed), shown, None)
    assert rates["anchor_hits_task"] > 0.9
    assert rates["anchor_hits_end"] > 0.9


def test_hit_rates_count_known_places_alone():
    made, drawn = posa(), shown()
    maps = made.attention(seen())["task"]
    highest = maps.flatten(-2).argmax(-1)
    there = torch.stack([highest % SIDE + 0.5, highest // SIDE + 0.5], -1) / SIDE
    drawn.places[:, 0] = torch.nan
    drawn.places[0, 0, 0] = there[0, 0]
    drawn.places[1, 0, 1] = (there[1, 1] + 0.5) % 1
    rates = made.diagnose(seen(), drawn, None)
    assert rates["anchor_hits_task"] == 0.5
    drawn.places[:] = torch.nan
    assert math.isnan(made.diagnose(seen(), drawn, None)["anchor_hits_task"])


def test_demonstrations_without_views():
    with pytest.raises(
        UserError, match=r"collect them again .*--set head\.anchor_loss=none$"
    ) as caught:
        losses(posa(), seen(), windows(BATCH))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "pattern"),
    [
        ({"head.anchor_loss": "some"}, r"head\.posa\.anchor_loss: .*'full'"),
        ({"head.anchors": "none"}, r"head\.posa\.anchors: .*'both', 'task' or 'end'"),
        ({"head.refine": "mask"}, r"head\.posa\.refine: .*'concat'"),
        ({"head.pos_src": "both"}, r"head\.posa\.pos_src: .*'gt' or 'pred'"),
        ({"head.alpha": "2"}, r"head\.posa\.alpha: .*less than or equal to 1"),
        ({"head.sigma_task": "0"}, r"head\.posa\.sigma_task: .*greater than 0"),
        ({"head.sigma": "0.1"}, r"unknown key 'head\.posa\.sigma', did you mean 'sigma_"),
        (
            {"head.anchor_updates": "1200"},
            r"leaves none of .* 1200 .*head\.anchor_updates=109$",
        ),
    ],
)
def test_settings_that_cannot_be(settings, pattern):
    with pytest.raises(UserError, match=pattern) as caught:
        load_recipe("posavla-micro", settings)
    assert "\n" not in str(caught.value)


def test_steps_that_cannot_be():
    card = load_card(PolicyCard, "posavla").override({"steps": "0"})
    with pytest.raises(UserError, match=r"--set steps=0: .*greater than 0"):
        sampling_of(card)
    with pytest.raises(ValidationError):
        PosaSampling(steps=0)


def test_other_heads_need_a_backbone_with_layers():
    sizes = ChunkSizes(2, 4, 16, 0, raw_width=16, text_width=16)
    with pytest.raises(UserError, match=r"head\.kind=l1: it reads a backbone's layers"):
        make_head(L1Config(heads=2), sizes)
    assert livened(make_head(PosaConfig(heads=2), sizes))


def test_without_an_anchor_loss_any_number_of_first_updates_will_do():
    made = recipe("posavla", head__anchor_loss="none", head__anchor_updates=900)
    assert made.head.updates_before_actions() == 0
