"""Recipes: cards that say how a policy's weights are made."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from vla_bench.cards import ActionConvention, Named, PolicyInputs, load_card
from vla_bench.errors import UserError
from vla_bench.nn.backbones import BackboneConfig
from vla_bench.nn.normalisation import Mode
from vla_bench.policies.learned.head import Settings
from vla_bench.policies.learned.heads import HeadConfig
from vla_bench.policies.learned.residual import ResidualConfig


class DataConfig(Settings):
    """Which demonstrations a policy is trained on."""

    layout: Literal["auto", "vla-bench", "maniskill", "libero", "robotwin"] = "auto"
    """Layout of the files."""
    tasks: tuple[str, ...] = ()
    """Tasks; all of the suite if empty."""
    episodes: PositiveInt = 200
    """Demonstrations per task, the first ones."""
    novice: str = ""
    """Recipe whose policy plays first in as many further episodes, until the expert takes over."""
    image_size: PositiveInt = 64
    """Side that images are kept at (px)."""
    image_every: NonNegativeInt = 1
    """Images are recorded at every so many steps, 0 for never; windows start where there are images."""
    noise: NonNegativeFloat = 0.1
    """Action noise while recording, a fraction of the full scale; for recipes that collect their own."""
    suite_options: dict[str, str] = Field({})
    """Overrides of the suite's options while recording, e.g. larger disturbances."""
    seed: int = 0
    """Seed of the recording."""

    @property
    def per_task(self) -> int:
        """Demonstrations per task, those after a novice included."""
        return self.episodes * (2 if self.novice else 1)

    @property
    def published(self) -> bool:
        """Whether the demonstrations are files that others published, and are not recorded here."""
        return self.layout not in ("auto", "vla-bench")


class TrainingConfig(Settings):
    """How long and how the policy is trained."""

    start: str = ""
    """Recipe whose weights the policy starts from, or none: its backbone, its action head if that is
    built alike, and how state and actions are scaled."""
    updates: PositiveInt = 3000
    """Optimiser steps."""
    batch: PositiveInt = 64
    """Windows per update."""
    learning_rate: PositiveFloat = 5e-4
    """Peak learning rate of AdamW; it decays as a cosine to a tenth."""
    warmup: float = Field(0.05, ge=0, le=1)
    """Fraction of the updates over which the learning rate rises."""
    weight_decay: NonNegativeFloat = 1e-4
    """Decoupled weight decay."""
    clip: PositiveFloat = 1.0
    """Largest norm of the gradient."""
    ema: float = Field(0.999, ge=0, lt=1)
    """Decay of the averaged weights, which are the ones kept."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the forward pass."""
    balance: bool = False
    """Whether an error of each action entry counts by how little that entry moves in the demonstrations.
    If not, the loss hardly sees an entry that is seldom large, like the turning of the base."""
    validation: float = Field(0.05, gt=0, lt=1)
    """Fraction of the demonstrations held back; never evaluation items."""
    image_shift: NonNegativeInt = 3
    """Images are shifted by up to this many pixels, as augmentation."""
    blank_images: bool = False
    """Whether steps without recorded images are learned from too, with black ones. Recording images takes
    most of the time; what the state alone tells is learned from every step."""
    state_noise: NonNegativeFloat = 0.0
    """Standard deviation of noise added to the normalised state, as augmentation."""
    seed: NonNegativeInt = 0
    """Seed of the initial weights, batches and noise."""
    threads: PositiveInt = 1
    """Threads of torch on a CPU; the weights depend on them in the last bits."""
    every: PositiveInt = 250
    """Updates between two lines of the log, validations and saved states."""


class Recipe(Named):
    """How one policy is trained for one suite."""

    folder = "policies/recipes"
    noun = "recipe"

    description: str
    """One sentence."""
    policy: str
    """Card of the policy that plays the weights."""
    suite: str
    """Suite that they are for."""
    inputs: PolicyInputs
    """Observation entries that the policy reads."""
    action: ActionConvention | None = None
    """What an action means; the suite's card says it if left out."""
    chunk_length: PositiveInt
    """Actions P of a chunk."""
    horizon: PositiveInt
    """Default execution horizon H."""
    normalise_actions: Mode = "minmax"
    """Statistic that maps actions to [-1, 1]."""
    normalise_state: Mode = "meanstd"
    """Statistic that scales the state vector."""
    backbone: BackboneConfig
    """What reads images, instruction and state."""
    head: HeadConfig
    """What plans chunks."""
    residual: ResidualConfig | None = None
    """The residual correction module; none if left out, or `false`, which a base's table gives way to."""
    data: DataConfig = DataConfig()
    """Demonstrations."""
    training: TrainingConfig = TrainingConfig()
    """Training."""

    @field_validator("residual", mode="before")
    @classmethod
    def _none(cls, residual: object) -> object:
        return None if residual is False else residual

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.horizon > self.chunk_length:
            raise ValueError(f"horizon {self.horizon} is beyond chunk_length {self.chunk_length}")
        first, updates = self.head.updates_before_actions(), self.training.updates
        if first >= updates:
            raise ValueError(
                f"head.anchor_updates {first} leaves none of the training.updates {updates} for the "
                f"actions; use --set head.anchor_updates={updates // 11}"
            )
        # A backbone without action queries has the instruction in their place.
        queries = getattr(self.backbone, "queries", 1)
        if self.head.kind == "oft" and queries != self.chunk_length:
            raise ValueError(
                f"backbone.queries {queries}: a head of kind oft reads one action token per action; "
                f"use --set backbone.queries={self.chunk_length}"
            )
        if self.residual and self.residual.inputs == "state+images" and not self.inputs.images:
            raise ValueError("residual.inputs is state+images, but inputs.images is empty")
        return self

    @property
    def state_size(self) -> int:
        """Entries of the state vector: proprioceptive ones, then privileged ones."""
        return sum({**self.inputs.state, **self.inputs.privileged}.values())

    @property
    def state_entries(self) -> list[str]:
        """Names of the entries of the state vector, in order."""
        return [*self.inputs.state, *self.inputs.privileged]


def load_recipe(name_or_path: str, settings: Mapping[str, str] | None = None) -> Recipe:
    """Loads a recipe by name, or by path if the argument ends in `.toml`.

    Args:
        name_or_path: What the user wrote.
        settings: Overrides: dotted key -> value in TOML's notation, e.g. `training.updates` -> `100`.

    Raises:
        UserError: There is no such recipe, or it is not valid.
    """
    changes: dict[str, Any] = {}
    for key, text in (settings or {}).items():
        *tables, last = key.split(".")
        table = changes
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise UserError(f"--set {key}: {name} is given a value of its own; leave one out")
        table[last] = _value(text)
    return load_card(Recipe, name_or_path, changes)


def _value(text: str) -> Any:  # noqa: ANN401  whatever TOML can say
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
