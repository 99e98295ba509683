"""Layers of `transformers` in three steps, so that their attention can be shared."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.models.dinov3_vit.modeling_dinov3_vit import DINOv3ViTAttention, DINOv3ViTLayer
from transformers.models.qwen3_vl.modeling_qwen3_vl import (
    Qwen3VLTextDecoderLayer,
    Qwen3VLVisionBlock,
)
from transformers.models.siglip.modeling_siglip import SiglipAttention, SiglipEncoderLayer

from vla_bench.nn.coupled.branch import BranchLayer, Projected, split


@dataclass(frozen=True)
class TextLayer(BranchLayer):
    """A layer of Qwen3-VL's language model."""

    layer: Qwen3VLTextDecoderLayer

    def project(self, x: Tensor) -> Projected:
        """See `BranchLayer.project`."""
        attention, normed = self.layer.self_attn, self.layer.input_layernorm(x)
        shape = (*x.shape[:-1], -1, attention.head_dim)
        queries = attention.q_norm(attention.q_proj(normed).view(shape)).transpose(1, 2)
        keys = attention.k_norm(attention.k_proj(normed).view(shape)).transpose(1, 2)
        return Projected(queries, keys, attention.v_proj(normed).view(shape).transpose(1, 2))

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """See `BranchLayer.finish`."""
        x = x + self.layer.self_attn.o_proj(attended)
        out: Tensor = x + self.layer.mlp(self.layer.post_attention_layernorm(x))
        return out


@dataclass(frozen=True)
class VisionBlock(BranchLayer):
    """A block of Qwen3-VL's vision tower."""

    block: Qwen3VLVisionBlock

    def project(self, x: Tensor) -> Projected:
        """See `BranchLayer.project`."""
        attention = self.block.attn
        parts = attention.qkv(self.block.norm1(x)).chunk(3, dim=-1)
        queries, keys, values = (split(part, attention.num_heads) for part in parts)
        return Projected(queries, keys, values)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """See `BranchLayer.finish`."""
        x = x + self.block.attn.proj(attended)
        out: Tensor = x + self.block.mlp(self.block.norm2(x))
        return out


def _projected(attention: DINOv3ViTAttention | SiglipAttention, normed: Tensor) -> Projected:
    heads = attention.num_heads
    return Projected(
        split(attention.q_proj(normed), heads),
        split(attention.k_proj(normed), heads),
        split(attention.v_proj(normed), heads),
    )


@dataclass(frozen=True)
class DinoLayer(BranchLayer):
    """A layer of DINOv3."""

    layer: DINOv3ViTLayer

    def project(self, x: Tensor) -> Projected:
        """See `BranchLayer.project`."""
        return _projected(self.layer.attention, self.layer.norm1(x))

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """See `BranchLayer.finish`."""
        x = x + self.layer.layer_scale1(self.layer.attention.o_proj(attended))
        out: Tensor = x + self.layer.layer_scale2(self.layer.mlp(self.layer.norm2(x)))
        return out


@dataclass(frozen=True)
class SiglipLayer(BranchLayer):
    """A layer of SigLIP."""

    layer: SiglipEncoderLayer

    def project(self, x: Tensor) -> Projected:
        """See `BranchLayer.project`."""
        return _projected(self.layer.self_attn, self.layer.layer_norm1(x))

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """See `BranchLayer.finish`."""
        x = x + self.layer.self_attn.out_proj(attended)
        out: Tensor = x + self.layer.mlp(self.layer.layer_norm2(x))
        return out
