"""Small recipes, contexts, made-up demonstrations and quick trainings for the learned policies."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from vla_bench.learning.demonstrations import Demonstration
from vla_bench.learning.training import train
from vla_bench.nn.backbone import Context
from vla_bench.nn.dit import ChunkSizes
from vla_bench.nn.tiny import TinyBackbone
from vla_bench.policies.focusvla.config import FocusConfig
from vla_bench.policies.learned.head import Windows
from vla_bench.policies.learned.heads import make_head
from vla_bench.policies.learned.recipe import load_recipe
from vla_bench.suites.viewpoint import Viewpoint

POLICIES = ["anchorvla", "diffusion", "diffusion-x0", "l1", "act", "focusvla", "posavla"]
TASKS = ("detour", "either")
SMALL = {
    "backbone.width": 16,
    "backbone.layers": 1,
    "backbone.heads": 2,
    "backbone.queries": 2,
    "head.heads": 2,
    "chunk_length": 4,
    "horizon": 2,
    "normalise_actions": "q99",
    "residual.width": 8,
    "residual.context_size": 8,
    "residual.updates": 5,
    "residual.batch": 8,
    "residual.windows": 32,
    "training.updates": 8,
    "training.batch": 8,
    "training.every": 3,
    "training.validation": 0.25,
}
OWN = {
    "anchorvla": {"head.anchors": 4},
    "posavla": {
        "head.layers": 1,
        "head.anchor_updates": 3,
        "backbone.image_size": 16,
        "backbone.grid": 2,
    },
}


def recipe(policy="anchorvla", **changes):
    """The policy's recipe for micro, made small; `training__seed=1` overrides `training.seed`."""
    settings = SMALL | OWN.get(policy, {})
    settings |= {key.replace("__", "."): value for key, value in changes.items()}
    return load_recipe(f"{policy}-micro", {key: _toml(value) for key, value in settings.items()})


def _toml(value):
    if isinstance(value, list | tuple):
        return str(list(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def demonstrations(recipe, count=4, steps=9, seed=0, suite="micro", action_size=5):
    """Smooth made-up episodes of two tasks, `count` of each, with what the recipe reads."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count * len(TASKS)):
        task = TASKS[number % len(TASKS)]
        phase = np.linspace(0, 1, steps + number % 3)[:, None] + rng.uniform(0, 3)
        actions = np.sin(phase * np.arange(1, action_size + 1)).astype(np.float32)
        entries = {**recipe.inputs.state, **recipe.inputs.privileged}
        state = {
            name: np.cos(phase * (2 + np.arange(size))).astype(np.float32)
            for name, size in entries.items()
        }
        shape = (len(phase), 8, 8, 3)
        images = {v: rng.integers(0, 256, shape).astype(np.uint8) for v in recipe.inputs.images}
        source = f"{task}.h5/episode-{number:04d}"
        made.append(
            Demonstration(
                source=source,
                task=task,
                instruction=f"do {task}",
                actions=actions,
                state=state,
                images=images,
                image_steps=np.arange(len(phase)),
                suite=suite,
            )
        )
    return [located(d) for d in made] if recipe.policy == "posavla" else made


def located(demonstration, events=None):
    """The episode with a gripper that moves to the right, one pixel a step, from pixel (0, 3)."""
    steps, rows = len(demonstration.actions), len(demonstration.image_steps)
    gripper = np.stack([np.arange(steps), np.zeros(steps), np.ones(steps)], axis=1)
    pixels = np.array([(1.0, 0, 0), (0, 1, 3), (0, 0, 1)])
    view = Viewpoint(pixels[None].repeat(rows, 0), np.eye(4)[None].repeat(rows, 0), 8, 8)
    return replace(
        demonstration,
        gripper=gripper.astype(np.float32),
        events=np.array([steps // 2] if events is None else events, np.int64),
        views=dict.fromkeys(demonstration.images, view),
    )


def checkpoint(out, policy="anchorvla", **changes):
    """Weights of a recipe after a few updates."""
    small = recipe(policy, **changes)
    return train(small, demonstrations(small), out)


def draws(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def context(batch, width=16, layers=2, queries=2, vision=3, seed=0):
    """A context of noise."""

    def states(tokens, first):
        return tuple(draws(seed + first + i, batch, tokens, width) for i in range(layers + 1))

    return Context(
        vision=states(vision, 100),
        queries=states(queries, 200),
        proprioception=draws(seed + 300, batch, 1, width),
        raw_vision=draws(seed + 400, batch, vision, width),
        grid=(1, 1, vision),
        text=draws(seed + 500, batch, width),
        phrases={"gripper": draws(seed + 600, width)},
    )


def head(config, seed=0, action_size=2, chunk_length=5, width=16, layers=2):
    """A head with random weights, also where training starts with zeros."""
    torch.manual_seed(seed)
    sizes = ChunkSizes(action_size, chunk_length, width, layers, raw_width=width, text_width=width)
    return livened(make_head(config, sizes).eval())


def livened(module):
    """The module with random weights where training starts with zeros, so that all its parts matter."""
    for name, parameter in module.named_parameters():
        if "modulation" in name or "vision_gate" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return module


def windows(batch, action_size=2, chunk_length=5, seed=7):
    """Whole windows of noise within [-1, 1]."""
    chunks = draws(seed, batch, chunk_length, action_size).clamp(-1, 1)
    return Windows(chunks, torch.ones(batch, chunk_length, dtype=torch.bool))


@torch.no_grad()
def looks_at_its_mark(backbone, planted, slot):
    """Plants a mark at a backbone's first or last visual token (slot 0 or -1), and checks that a head
    which looks for it finds it there: no token of text, state or queries is taken for a visual one.
    """

    def plant(module, inputs, output):
        output = output.clone()
        output[(slot, slice(None), slot, slot) if output.ndim == 4 else (slice(None), slot)] = 7.0
        return output

    made = make_head(
        FocusConfig(heads=1, vision="llm_input", topk=1),
        ChunkSizes(2, 5, backbone.width, backbone.layers, 2, backbone.raw_width),
    )
    for block in made.blocks:
        for layer, weight, bias in ((block.query, 0.0, 1.0), (block.vision_keys, 1.0, 0.0)):
            torch.nn.init.eye_(layer.weight).mul_(weight)
            torch.nn.init.constant_(layer.bias, bias)
    hook = backbone.get_submodule(planted).register_forward_hook(plant)
    images = torch.zeros(1, 2, 3, 28, 28, dtype=torch.uint8)
    seen = made.attention(backbone(images, ["pick up the red ball"], torch.zeros(1, 5)))["vision"]
    hook.remove()
    assert seen[0, slot, slot, slot] == seen.sum() == 1


class TwoRoutes:
    """Two equally good routes round an obstacle, and heads trained on them.

    A chunk goes forward as far as the state says, and to the left or to the right, half and half:
    by the toss of a coin, or, if it is `told`, as the state says.
    """

    steps, size, width = 8, 2, 32

    def __init__(self, config, updates=500, seed=0, told=False):
        self.told = told
        torch.manual_seed(seed)
        self.backbone = TinyBackbone(
            views=0, state_size=2, width=self.width, layers=1, heads=2, queries=2
        )
        self.head = make_head(config, ChunkSizes(self.size, self.steps, self.width, 1))
        generator = torch.Generator().manual_seed(seed)
        self.head.fit(self.draw(2000, generator)[1].chunks.numpy(), seed)
        parameters = [*self.backbone.parameters(), *self.head.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
        for _ in range(updates):
            state, drawn = self.draw(64, generator)
            optimiser.zero_grad()
            self.head.loss(self.encode(state), drawn, generator)["total"].backward()
            optimiser.step()
            schedule.step()

    def draw(self, count, generator):
        """States (count, 2) and what was demonstrated in them."""
        state = 2 * torch.rand(count, 2, generator=generator) - 1
        coin = torch.rand(count, 1, generator=generator) - 0.5
        side = torch.sign(state[:, :1] if self.told else coin)
        chunks = torch.stack([side * self.sideways(state), self.forward(state)], -1)
        return state, Windows(chunks, torch.ones(count, self.steps, dtype=torch.bool))

    def time(self):
        return (torch.arange(self.steps) + 0.5) / self.steps

    def sideways(self, state):
        return (0.6 + 0.2 * state[:, 1:]) * torch.sin(math.pi * self.time())

    def forward(self, state):
        return 0.5 * state[:, :1] * self.time()

    def encode(self, state):
        images = torch.zeros(len(state), 0, 3, 1, 1, dtype=torch.uint8)
        return self.backbone(images, ["go"] * len(state), state)

    @torch.no_grad()
    def plan(self, sampling, count=200):
        """States and planned chunks (count, steps, 2)."""
        state, _ = self.draw(count, torch.Generator().manual_seed(99))
        noise = draws(5, count, *self.head.noise_size())
        return state, self.head.sample(self.encode(state), noise, sampling)

    def score(self, sampling):
        """The share of planned chunks that follow one of the two routes."""
        state, chunks = self.plan(sampling)
        errors = [(chunks[..., 0] - side * self.sideways(state)).abs().amax(1) for side in (-1, 1)]
        ahead = (chunks[..., 1] - self.forward(state)).abs().amax(1)
        return float(((torch.minimum(*errors) < 0.25) & (ahead < 0.25)).float().mean())
