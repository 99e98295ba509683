"""The two vision towers of the prismatic backbone, channel-concatenated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import (
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from vla_bench.nn.pixels import Channels, fitted, scaled

REGISTERS = 4
"""Register tokens of the DINOv2 tower; they and the class token are not patches."""
DINO_MEAN: Channels = (0.485, 0.456, 0.406)
DINO_STD: Channels = (0.229, 0.224, 0.225)
SIGLIP_MEAN, SIGLIP_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class TowerSizes:
    """A vision transformer's sizes."""

    width: int
    layers: int
    heads: int
    feed_forward: int


DINO_LARGE = TowerSizes(width=1024, layers=24, heads=16, feed_forward=4096)
SIGLIP_SO400M = TowerSizes(width=1152, layers=27, heads=16, feed_forward=4304)


class VisionTowers(nn.Module):
    """DINOv2 and SigLIP features of the same patches.

    The towers end with the block whose output is read: what follows would never run.

    Args:
        dino: Sizes of the DINOv2 tower.
        siglip: Sizes of the SigLIP tower.
        image_size: Side of the square that images are resized to (px).
        patch: Side of a patch (px).
        vision_layer: Block that is read, counted from the end: -1 or -2. No final norm is applied.
    """

    def __init__(
        self,
        *,
        dino: TowerSizes,
        siglip: TowerSizes,
        image_size: int,
        patch: int,
        vision_layer: int,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.width = dino.width + siglip.width
        self.dino = _dino(dino, image_size, patch, vision_layer)
        self.siglip = _siglip(siglip, image_size, patch, vision_layer)

    def forward(self, images: Tensor) -> Tensor:
        """Features of uint8 images (N, 3, h, w): (N, patches, both widths), rows before columns."""
        pixels = fitted(images, self.image_size)
        dtype = self.dino.dtype
        first = self.dino(pixel_values=scaled(pixels, DINO_MEAN, DINO_STD).to(dtype))
        second = self.siglip(pixel_values=scaled(pixels, SIGLIP_MEAN, SIGLIP_STD).to(dtype))
        patches = first.last_hidden_state[:, 1 + REGISTERS :]
        features: Tensor = torch.cat([patches, second.last_hidden_state], dim=-1)
        return features


def _dino(
    sizes: TowerSizes, image_size: int, patch: int, vision_layer: int
) -> Dinov2WithRegistersModel:
    config = Dinov2WithRegistersConfig(
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers + 1 + vision_layer,
        num_attention_heads=sizes.heads,
        mlp_ratio=sizes.feed_forward // sizes.width,
        image_size=image_size,
        patch_size=patch,
        num_register_tokens=REGISTERS,
    )
    tower = Dinov2WithRegistersModel(config)
    tower.embeddings.register_parameter("mask_token", None)
    tower.register_module("layernorm", nn.Identity())
    return tower


def _siglip(sizes: TowerSizes, image_size: int, patch: int, vision_layer: int) -> SiglipVisionModel:
    config = SiglipVisionConfig(
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers + 1 + vision_layer,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.feed_forward,
        image_size=image_size,
        patch_size=patch,
        vision_use_head=False,
        # The published backbone was trained on timm's tower, whose GELU is exact.
        hidden_act="gelu",
    )
    tower = SiglipVisionModel(config)
    tower.register_module("post_layernorm", nn.Identity())
    return tower
