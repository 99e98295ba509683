"""Qwen3-VL's vision tower, over a batch of images of one size."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers.models.qwen3_vl.modeling_qwen3_vl import (
    Qwen3VLVisionBlock,
    Qwen3VLVisionModel,
)

from vla_bench.nn.coupled.branch import Rotation
from vla_bench.nn.coupled.qwen_layers import VisionBlock
from vla_bench.nn.pixels import fitted, scaled
from vla_bench.nn.prismatic_vision import SIGLIP_MEAN, SIGLIP_STD

PATCH, MERGE, FRAMES = 16, 2, 2
"""Side of a patch (px), patches per side of a cell, and frames of a patch."""


class Seen(NamedTuple):
    """What the tower makes of N images, each of cells of merged patches in the order row, column."""

    raw: Tensor
    """(N, cells, merged patches * tower width): the last block's patches."""
    tokens: Tensor
    """(N, cells, d): what the language model reads."""
    deep: list[Tensor]
    """(N, cells, d) for each of the language model's first layers, added behind it (DeepStack)."""


class QwenVision(nn.Module):
    """Runs the tower's blocks on whole batches; its own code runs image after image.

    Args:
        tower: The published tower, or one of other sizes.
        image_size: Side of the square that images are resized to (px).
    """

    def __init__(self, tower: Qwen3VLVisionModel, image_size: int) -> None:
        super().__init__()
        self.tower, self.image_size = tower, image_size
        self.side = image_size // (PATCH * MERGE)
        self.raw_width = tower.config.hidden_size * MERGE**2

    def forward(self, images: Tensor) -> Seen:
        """Of uint8 images (N, 3, h, w)."""
        x = self.tower.patch_embed(self._patches(images).flatten(0, 1))
        x = x.reshape(len(images), -1, x.shape[-1]) + self._places().to(x.dtype)
        rotation, deep = self._rotation(x), []
        mergers = dict(
            zip(self.tower.deepstack_visual_indexes, self.tower.deepstack_merger_list, strict=True)
        )
        for number, block in enumerate(self.tower.blocks):
            assert isinstance(block, Qwen3VLVisionBlock)
            x = VisionBlock(block).run(x, rotation, None)
            if number in mergers:
                deep.append(self._merged(mergers[number], x))
        raw = x.reshape(len(x), -1, self.raw_width)
        return Seen(raw, self._merged(self.tower.merger, x), deep)

    def _patches(self, images: Tensor) -> Tensor:
        """(N, patches, channels * frames * patch * patch); the patches of a cell follow each other."""
        pixels = scaled(fitted(images, self.image_size), SIGLIP_MEAN, SIGLIP_STD)
        parts = pixels.reshape(len(images), 3, *(2 * (self.side, MERGE, PATCH)))
        ordered = parts.permute(0, 2, 5, 3, 6, 1, 4, 7).flatten(1, 4)
        # A still image is a film of identical frames.
        frames = ordered[:, :, :, None].expand(-1, -1, -1, FRAMES, -1, -1)
        return frames.flatten(2)

    def _places(self) -> Tensor:
        """The learned positions, interpolated to the image's patches: (patches, width)."""
        table = self.tower.pos_embed.weight
        old = self.tower.num_grid_per_side
        grid = table.T.reshape(1, -1, old, old)
        side = self.side * MERGE
        size = (side, side)
        fine = nn.functional.interpolate(grid, size, mode="bilinear", align_corners=True)
        return self._by_cell(fine[0].permute(1, 2, 0))

    def _rotation(self, x: Tensor) -> Rotation:
        steps = torch.arange(self.side * MERGE, device=x.device)
        grid = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
        cos, sin = self.tower.rotary_pos_emb(x, self._by_cell(grid))
        return cos, sin

    def _by_cell(self, grid: Tensor) -> Tensor:
        """(rows, columns, d) -> (patches, d), the patches of a cell one after the other."""
        cells = grid.reshape(self.side, MERGE, self.side, MERGE, -1)
        return cells.transpose(1, 2).flatten(0, 3)

    def _merged(self, merger: nn.Module, x: Tensor) -> Tensor:
        tokens: Tensor = merger(x.flatten(0, 1))
        return tokens.reshape(len(x), -1, tokens.shape[-1])
