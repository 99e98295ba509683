"""Backbones by name: their settings, and the one function that builds them."""

from __future__ import annotations

import importlib
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from vla_bench.errors import UserError, first_line
from vla_bench.nn.backbone import Backbone
from vla_bench.nn.tiny import TinyBackbone


class TinyConfig(BaseModel):
    """Settings of `TinyBackbone`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Literal["tiny"] = "tiny"
    image_size: PositiveInt = 64
    """Side of the square that images are resized to (px); a multiple of `4 * grid`."""
    grid: PositiveInt = 4
    """Visual tokens per side of an image."""
    width: PositiveInt = 96
    """Size of a token."""
    layers: NonNegativeInt = 3
    """Transformer layers; 0 for a head that does without, such as PosA-VLA's."""
    heads: PositiveInt = 4
    """Attention heads."""
    queries: PositiveInt = 8
    """Action-query tokens."""
    film: bool = False
    """Whether the instruction scales and shifts the channels of the stem."""
    stem_norm: bool = False
    """Whether each channel of the stem is normalised over its image, so that small objects count."""
    place_scale: PositiveFloat = 0.02
    """Standard deviation of the visual tokens' initial place embeddings."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.image_size % (4 * self.grid):
            raise ValueError(
                f"image_size {self.image_size} is no multiple of {4 * self.grid}, four times the grid"
            )
        if self.width % 2 or self.width % self.heads:
            raise ValueError(f"width {self.width} is odd, or no multiple of its {self.heads} heads")
        return self


class PrismaticConfig(BaseModel):
    """Settings of `PrismaticBackbone`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Literal["prismatic-qwen2.5-0.5b"] = "prismatic-qwen2.5-0.5b"
    queries: PositiveInt = 64
    """Action-query tokens."""
    vision_layer: Literal[-2, -1] = -2
    """Block of each vision tower whose output is read: the last but one, or the last."""
    lora_rank: NonNegativeInt = 64
    """Rank of the low-rank adapters; 0 trains all weights."""
    lora_vision: bool = True
    """Whether the vision towers carry adapters too."""
    pretrained: bool = True
    """Whether to start from the published weights and tokenizer; else random weights and bytes."""


class ClipDinoConfig(BaseModel):
    """Settings of `ClipDinoBackbone`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Literal["clip-b16-dinov2-b"] = "clip-b16-dinov2-b"
    train_vision: bool = False
    """Whether the image towers are trained. Not in the paper's digest; frozen, they cost no memory for
    gradients and keep the space that CLIP shares with texts."""
    pretrained: bool = True
    """Whether to start from the published weights and tokenizer; else random weights and hashed words."""


AnyBackbone = TinyConfig | PrismaticConfig | ClipDinoConfig
BackboneConfig = Annotated[AnyBackbone, Field(discriminator="name")]
"""Settings of any backbone, told apart by `name`."""


def make_backbone(
    config: AnyBackbone, *, views: int, state_size: int, weights: bool = True
) -> Backbone:
    """The backbone that a config declares.

    Args:
        config: Settings.
        views: Camera images per observation.
        state_size: Entries of the state vector.
        weights: Whether published weights are fetched where the config asks for them; False where a
            checkpoint that holds all of them is about to be loaded.

    Raises:
        UserError: A package or download that the backbone needs is missing.
    """
    settings = config.model_dump(exclude={"name"})
    if isinstance(config, TinyConfig):
        return TinyBackbone(views=views, state_size=state_size, **settings)
    # transformers takes seconds to import and is an extra.
    try:
        from vla_bench.nn.clip_dino import ClipDinoBackbone
        from vla_bench.nn.prismatic import PrismaticBackbone
    except ImportError as error:
        raise UserError(f"{config.name} {_lack(error)}") from None
    kind = PrismaticBackbone if isinstance(config, PrismaticConfig) else ClipDinoBackbone
    return kind(views=views, state_size=state_size, weights=weights, **settings)


def _lack(error: ImportError) -> str:
    """What keeps transformers from being imported, and what mends it."""
    if error.name is not None:
        return f"needs the module {error.name!r}; run `pip install 'vla-bench[full-size]'`"
    # It imports any torchvision that is there, and does not say so when that one is broken.
    try:
        importlib.import_module("torchvision")
    except Exception as cause:
        return (
            f"cannot use transformers, because the torchvision here does not fit torch "
            f"({first_line(cause)}); nothing here reads it: run `pip uninstall torchvision`"
        )
    return f"cannot be imported: {first_line(error)}"
