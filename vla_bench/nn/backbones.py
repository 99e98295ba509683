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
from vla_bench.nn.coupled.settings import CouplingSettings
from vla_bench.nn.coupled.tiny import TinyCoupledBackbone
from vla_bench.nn.tiny import TinyBackbone

QWEN_LAYERS = 36
"""Language layers of Qwen3-VL-4B."""
EXPERT_LAYERS = {"dinov3": 32, "siglip": 24}
"""Layers of DINOv3 ViT-H+ and SigLIP 2 Large."""


class TinySizes(BaseModel):
    """What `TinyBackbone` is built with."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

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


class TinyConfig(TinySizes):
    """Settings of `TinyBackbone`."""

    name: Literal["tiny"] = "tiny"


class TinyCoupledConfig(TinySizes, CouplingSettings):
    """Settings of `TinyCoupledBackbone`."""

    name: Literal["tiny-coupled"] = "tiny-coupled"
    width: PositiveInt = 64
    """Size of a token."""
    layers: PositiveInt = 4
    """Transformer layers of the language model."""
    coupled: NonNegativeInt = 2
    """With `deep_mot`, the last n language layers that share attention with the expert; 0 is the base."""
    agvp_layers: tuple[NonNegativeInt, NonNegativeInt] = (1, 1)
    """First and last language layer, from 0, whose attention is averaged: those right below the coupled
    ones, without the first, as in the paper."""
    expert_res: PositiveInt = 128
    """Side of the square that the expert's images are resized to (px); a multiple of `expert_patch`."""
    expert_patch: PositiveInt = 8
    """Side of the expert's patches (px)."""
    expert_width: PositiveInt = 64
    """Size of an expert token."""
    expert_depth: PositiveInt = 3
    """Layers of the expert."""
    expert_heads: PositiveInt = 4
    """Attention heads of the expert."""

    @model_validator(mode="after")
    def _coupling_fits(self) -> Self:
        if self.expert_res % self.expert_patch:
            raise ValueError(
                f"expert_res {self.expert_res} is no multiple of expert_patch {self.expert_patch}"
            )
        if self.expert_width % self.expert_heads:
            raise ValueError(
                f"expert_width {self.expert_width} is no multiple of expert_heads {self.expert_heads}"
            )
        if self.expert_pos == "mrope":
            raise ValueError(
                "expert_pos mrope: tiny-coupled has no rotary positions; use learned2d or none"
            )
        self.check(self.layers, self.expert_depth)
        return self


class FullSizeConfig(BaseModel):
    """What the backbones with published weights have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    pretrained: bool = True
    """Whether to start from the published weights and tokenizer; else random weights and a stand-in for
    the tokenizer."""


class PrismaticConfig(FullSizeConfig):
    """Settings of `PrismaticBackbone`."""

    name: Literal["prismatic-qwen2.5-0.5b"] = "prismatic-qwen2.5-0.5b"
    queries: PositiveInt = 64
    """Action-query tokens."""
    lora_rank: NonNegativeInt = 64
    """Rank of the low-rank adapters; 0 trains all weights."""
    vision_layer: Literal[-2, -1] = -2
    """Block of each vision tower whose output is read: the last but one, or the last."""
    lora_vision: bool = True
    """Whether the vision towers carry adapters too."""


class ClipDinoConfig(FullSizeConfig):
    """Settings of `ClipDinoBackbone`."""

    name: Literal["clip-b16-dinov2-b"] = "clip-b16-dinov2-b"
    train_vision: bool = False
    """Whether the image towers are trained. Not in the paper's digest; frozen, they cost no memory for
    gradients and keep the space that CLIP shares with texts."""


class QwenCoupledConfig(FullSizeConfig, CouplingSettings):
    """Settings of `QwenCoupledBackbone`."""

    name: Literal["qwen3-vl-4b"] = "qwen3-vl-4b"
    lora_rank: NonNegativeInt = 64
    """Rank of the low-rank adapters of language model, tower and expert; what lies between them is always
    trained. 0 trains all weights, as the paper does."""
    queries: PositiveInt = 8
    """Action tokens; the plain head reads one per action of a chunk."""
    image_size: PositiveInt = 256
    """Side of the square that the language model's images are resized to (px); a multiple of 32."""
    expert: Literal["dinov3", "siglip"] = "dinov3"
    """DINOv3 ViT-H+ or SigLIP 2 Large; without any, `fusion = "none"`."""

    @model_validator(mode="after")
    def _coupling_fits(self) -> Self:
        if self.image_size % 32 or self.expert_res % 16:
            raise ValueError(
                f"image_size {self.image_size} and expert_res {self.expert_res}: expected multiples of "
                "32 and 16"
            )
        if self.expert == "siglip" and self.pairs and self.agvp and self.agvp_source == "cls":
            raise ValueError("agvp_source cls: SigLIP has no class token; use expert dinov3")
        self.check(QWEN_LAYERS, EXPERT_LAYERS[self.expert])
        return self


AnyBackbone = TinyConfig | TinyCoupledConfig | PrismaticConfig | QwenCoupledConfig | ClipDinoConfig
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
    if isinstance(config, TinyCoupledConfig):
        return _tiny_coupled(config, views, state_size)
    # transformers takes seconds to import and is an extra.
    try:
        from vla_bench.nn.clip_dino import ClipDinoBackbone
        from vla_bench.nn.coupled.qwen import QwenCoupledBackbone
        from vla_bench.nn.prismatic import PrismaticBackbone
    except ImportError as error:
        raise UserError(f"{config.name} {_lack(error)}") from None
    if isinstance(config, QwenCoupledConfig):
        return QwenCoupledBackbone(config, views=views, state_size=state_size, weights=weights)
    kind = PrismaticBackbone if isinstance(config, PrismaticConfig) else ClipDinoBackbone
    return kind(views=views, state_size=state_size, weights=weights, **settings)


def _tiny_coupled(config: TinyCoupledConfig, views: int, state_size: int) -> TinyCoupledBackbone:
    return TinyCoupledBackbone(
        views=views,
        state_size=state_size,
        sizes=config.model_dump(include=set(TinySizes.model_fields)),
        expert={
            "resolution": config.expert_res,
            "patch": config.expert_patch,
            "width": config.expert_width,
            "depth": config.needed_depth(config.expert_depth),
            "heads": config.expert_heads,
            "place_scale": config.place_scale,
        },
        coupling=config,
    )


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
