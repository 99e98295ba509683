"""The full-size vision experts: DINOv3 ViT-H+ and SigLIP 2 Large."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DINOv3ViTModel, SiglipVisionModel
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from vla_bench.nn.coupled.branch import BranchLayer, Rotation
from vla_bench.nn.coupled.expert import Expert
from vla_bench.nn.coupled.qwen_layers import DinoLayer, SiglipLayer
from vla_bench.nn.pixels import fitted, scaled
from vla_bench.nn.prismatic_vision import DINO_MEAN, DINO_STD, SIGLIP_MEAN, SIGLIP_STD

PATCH = 16
"""Side of both experts' patches (px)."""


class DinoExpert(Expert):
    """DINOv3 (Simeoni et al. 2025); its class and register tokens stay with the patches.

    Args:
        model: The published model, or one of other sizes.
        resolution: Side of the square that images are resized to (px).
        depth: Layers that are used, the first ones.
    """

    def __init__(self, model: DINOv3ViTModel, resolution: int, depth: int) -> None:
        super().__init__()
        config = model.config
        self.width, self.resolution = config.hidden_size, resolution
        self.side = resolution // PATCH
        self.prefix = 1 + config.num_register_tokens
        self.embeddings, self.rope = model.embeddings, model.rope_embeddings
        self.embeddings.register_parameter("mask_token", None)
        self.layers, self.norm = model.model.layer[:depth], model.norm

    def branches(self) -> list[BranchLayer]:
        """See `Expert.branches`."""
        return [DinoLayer(layer) for layer in self.layers]

    def embed(self, images: Tensor) -> Tensor:
        """See `Expert.embed`."""
        pixels = scaled(fitted(images, self.resolution), DINO_MEAN, DINO_STD)
        embedded: Tensor = self.embeddings(pixels)
        return embedded

    def rotation(self) -> Rotation | None:
        """See `Expert.rotation`; class and register tokens are not rotated."""
        like = self.embeddings.cls_token
        cos, sin = self.rope(like.new_empty(1, 3, self.resolution, self.resolution))
        still = cos.new_ones(self.prefix, cos.shape[-1])
        return torch.cat([still, cos]), torch.cat([torch.zeros_like(still), sin])


class SiglipExpert(Expert):
    """SigLIP 2 (Tschannen et al. 2025), which has neither class nor register tokens.

    Args:
        model: The published model, or one of other sizes; its positions are interpolated.
        resolution: Side of the square that images are resized to (px).
        depth: Layers that are used, the first ones.
    """

    def __init__(self, model: SiglipVisionModel, resolution: int, depth: int) -> None:
        super().__init__()
        config = model.config
        self.width, self.resolution = config.hidden_size, resolution
        self.side, self.prefix = resolution // PATCH, 0
        self.embeddings = model.embeddings
        self.layers, self.norm = model.encoder.layers[:depth], model.post_layernorm

    def branches(self) -> list[BranchLayer]:
        """See `Expert.branches`."""
        return [SiglipLayer(x) for x in self.layers if isinstance(x, SiglipEncoderLayer)]

    def embed(self, images: Tensor) -> Tensor:
        """See `Expert.embed`."""
        pixels = scaled(fitted(images, self.resolution), SIGLIP_MEAN, SIGLIP_STD)
        embedded: Tensor = self.embeddings(pixels, interpolate_pos_encoding=True)
        return embedded

    def rotation(self) -> Rotation | None:
        """None: positions are learned."""
        return None
