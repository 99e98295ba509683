"""Qwen3-VL-4B and its experts: downloaded, or built with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from transformers import (
    DINOv3ViTConfig,
    DINOv3ViTModel,
    Qwen3VLConfig,
    Qwen3VLModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from vla_bench.errors import UserError
from vla_bench.nn.coupled.expert import Expert
from vla_bench.nn.coupled.qwen_experts import DinoExpert, SiglipExpert
from vla_bench.nn.prismatic_vision import TowerSizes

QWEN = "Qwen/Qwen3-VL-4B-Instruct"
EXPERTS = {
    "dinov3": "facebook/dinov3-vith16plus-pretrain-lvd1689m",
    "siglip": "google/siglip2-large-patch16-512",
}
"""Hugging Face repositories. That of DINOv3 asks to accept its licence first."""
REGISTERS = 4
"""Register tokens of DINOv3."""
SIGLIP_SIDE = 512
"""Side of the images that SigLIP's positions were learned on (px)."""
Model = TypeVar("Model")
VISION_LARGE = TowerSizes(width=1024, layers=24, heads=16, feed_forward=4096)
"""Of Qwen3-VL-4B's tower and of SigLIP 2 Large."""
DINO_HUGE = TowerSizes(width=1280, layers=32, heads=20, feed_forward=5120)
"""Of DINOv3 ViT-H+."""


@dataclass(frozen=True)
class QwenSizes:
    """Sizes of Qwen3-VL-4B and of the two experts."""

    width: int = 2560
    layers: int = 36
    heads: int = 32
    key_value_heads: int = 8
    head_width: int = 128
    feed_forward: int = 9728
    vocabulary: int = 151_936
    rotary_parts: tuple[int, int, int] = (24, 20, 20)
    """Pairs of a head's entries that turn with time, row and column."""
    vision: TowerSizes = VISION_LARGE
    vision_places: int = 2304
    deep_stack: tuple[int, ...] = (5, 11, 17)
    """Blocks of the tower whose features are added behind the first language layers."""
    dino: TowerSizes = DINO_HUGE
    siglip: TowerSizes = VISION_LARGE

    def expert(self, name: str) -> TowerSizes:
        """Of the expert of a name."""
        return self.dino if name == "dinov3" else self.siglip


def make_qwen(sizes: QwenSizes, *, download: bool) -> Qwen3VLModel:
    """The language model and its vision tower, without the head that predicts words.

    Raises:
        UserError: It cannot be downloaded.
    """
    if download:
        return fetched(QWEN, lambda: Qwen3VLModel.from_pretrained(QWEN, dtype=torch.float32))
    vision = sizes.vision
    return Qwen3VLModel(
        Qwen3VLConfig(
            text_config={
                "hidden_size": sizes.width,
                "num_hidden_layers": sizes.layers,
                "num_attention_heads": sizes.heads,
                "num_key_value_heads": sizes.key_value_heads,
                "head_dim": sizes.head_width,
                "intermediate_size": sizes.feed_forward,
                "vocab_size": sizes.vocabulary,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 5e6,
                    "mrope_section": list(sizes.rotary_parts),
                    "mrope_interleaved": True,
                },
            },
            vision_config={
                "depth": vision.layers,
                "hidden_size": vision.width,
                "intermediate_size": vision.feed_forward,
                "num_heads": vision.heads,
                "out_hidden_size": sizes.width,
                "num_position_embeddings": sizes.vision_places,
                "deepstack_visual_indexes": list(sizes.deep_stack),
            },
        )
    )


def make_expert(
    name: Literal["dinov3", "siglip"],
    sizes: TowerSizes,
    *,
    resolution: int,
    depth: int,
    download: bool,
) -> Expert:
    """A vision expert.

    Args:
        name: Which one.
        sizes: Its sizes.
        resolution: Side of the square that its images are resized to (px).
        depth: Layers that are used, the first ones.
        download: Whether to start from its published weights.

    Raises:
        UserError: It cannot be downloaded.
    """
    if name == "dinov3":
        return DinoExpert(_dino(sizes, download=download), resolution, depth)
    return SiglipExpert(_siglip(sizes, download=download), resolution, depth)


def _dino(sizes: TowerSizes, *, download: bool) -> DINOv3ViTModel:
    if download:
        repository = EXPERTS["dinov3"]
        # Its augmentation of positions is for its own pre-training.
        return fetched(
            repository, lambda: DINOv3ViTModel.from_pretrained(repository, pos_embed_rescale=None)
        )
    return DINOv3ViTModel(
        DINOv3ViTConfig(
            hidden_size=sizes.width,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            intermediate_size=sizes.feed_forward,
            use_gated_mlp=True,
            hidden_act="silu",
            num_register_tokens=REGISTERS,
            pos_embed_rescale=None,
        )
    )


def _siglip(sizes: TowerSizes, *, download: bool) -> SiglipVisionModel:
    if download:
        repository = EXPERTS["siglip"]
        return fetched(repository, lambda: SiglipVisionModel.from_pretrained(repository))
    return SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=sizes.width,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            intermediate_size=sizes.feed_forward,
            image_size=SIGLIP_SIDE,
            patch_size=16,
            vision_use_head=False,
        )
    )


def fetched(repository: str, fetch: Callable[[], Model]) -> Model:
    """What a download gives.

    Raises:
        UserError: It fails; says what can be done.
    """
    try:
        return fetch()
    except (OSError, ValueError) as error:
        raise UserError(
            f"could not download {repository} ({type(error).__name__}); check the network, accept its "
            "licence on huggingface.co if it asks for that, and run the same command again, or do "
            "without: --set backbone.pretrained=false"
        ) from None
