"""Anchor attention: maps of where texts are in the images, and features that the maps refine."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_bench.nn.attention import Attention
from vla_bench.nn.backbone import Context
from vla_bench.nn.dit import ChunkSizes
from vla_bench.nn.embeddings import sinusoidal
from vla_bench.policies.posavla.settings import PosaConfig

FINEST = 1000
"""Parts that a side of an image is divided into where places are embedded."""


class Anchored(NamedTuple):
    """What anchor attention says; n is the number of maps."""

    logits: Tensor
    """(B, n, views, rows, columns): the sigmoid of these is the maps."""
    cells: Tensor
    """(B, views x rows x columns, width): embedded visual tokens, the attention's keys."""
    text: Tensor
    """(B, width): the embedded instruction."""

    @property
    def maps(self) -> Tensor:
        """In [0, 1], shaped as the logits; a softmax over cells could not reach 0.7 on a broad region."""
        return self.logits.sigmoid()


class AnchorAttention(nn.Module):
    """Texts attend to each view's visual tokens; then their products are the maps (section 3.2).

    The task's map asks for the instruction, the end effector's for the word "gripper".

    Args:
        config: Settings.
        sizes: What the head is built for.
    """

    def __init__(self, config: PosaConfig, sizes: ChunkSizes) -> None:
        super().__init__()
        self.channels, width = config.channels, sizes.width
        self.query = nn.Sequential(
            nn.LayerNorm(sizes.text_width), nn.Linear(sizes.text_width, width)
        )
        self.key = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.view = nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.anchor_layers))
        self.layers = nn.ModuleList(
            Attention(width, config.heads) for _ in range(config.anchor_layers)
        )
        self.bias = nn.Parameter(torch.zeros(len(self.channels), 1))

    def forward(self, context: Context) -> Anchored:
        """Looks for the texts in every view by itself."""
        views, rows, columns = context.grid
        cells = self.key(context.vision[0])
        text = self.query(context.text)
        if not views:
            return Anchored(
                text.new_zeros(len(text), len(self.channels), *context.grid), cells, text
            )
        x, keys = self._queries(context, text), cells.unflatten(1, (views, rows * columns))
        view = self.view(sinusoidal(torch.arange(views, device=x.device), x.shape[-1]))
        x = (x[:, None] + view[:, None]).flatten(0, 1)
        keys = (keys + view[:, None]).flatten(0, 1)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            assert isinstance(layer, Attention)
            x = x + layer(norm(x), layer.project(keys))
        logits = x @ keys.transpose(1, 2) * x.shape[-1] ** -0.5 + self.bias
        shape = (len(text), views, len(self.channels), rows, columns)
        return Anchored(logits.reshape(shape).transpose(1, 2).float(), cells.float(), text.float())

    def _queries(self, context: Context, text: Tensor) -> Tensor:
        """(B, n, width)."""
        gripper = self.query(context.phrases["gripper"]).expand_as(text)
        both = {"task": text, "end": gripper}
        return torch.stack([both[name] for name in self.channels], dim=1)


class Refinement(nn.Module):
    """Dense features through the maps, as tokens (section 3.3).

    Args:
        config: Settings.
        sizes: What the head is built for.
    """

    def __init__(self, config: PosaConfig, sizes: ChunkSizes) -> None:
        super().__init__()
        self.refine, count, raw = config.refine, len(config.channels), sizes.raw_width
        self.norm = nn.LayerNorm(raw)
        seen = raw + count if self.refine == "concat" else raw * count
        self.project = nn.Linear(seen, sizes.width)
        self.place = nn.Linear(3 * sizes.width, sizes.width)

    def forward(self, context: Context, maps: Tensor) -> Tensor:
        """Tokens (B, dense cells, width).

        Args:
            context: Holds the dense features.
            maps: (B, n, views, rows, columns) on the grid of the visual tokens.
        """
        dense = self.norm(context.raw_vision)
        factors = resized(maps, context.raw_grid).flatten(2).transpose(1, 2)
        if self.refine == "concat":
            refined = torch.cat([dense, factors], dim=-1)
        else:
            scale = factors + 1 if self.refine == "gate_residual" else factors
            refined = (scale[..., None] * dense[:, :, None]).flatten(2)
        tokens: Tensor = self.project(refined) + self.place(self._places(context))
        return tokens

    def _places(self, context: Context) -> Tensor:
        """(dense cells, 3 width): each cell's view, row and column; gated features lose their own."""
        sides = context.raw_grid
        device, width = context.raw_vision.device, self.place.out_features
        view = torch.arange(sides[0], device=device, dtype=torch.float32)
        row, column = (
            FINEST * (torch.arange(side, device=device) + 0.5) / side for side in sides[1:]
        )
        parts = torch.meshgrid(view, row, column, indexing="ij")
        return torch.cat([sinusoidal(part.flatten(), width) for part in parts], dim=-1)


def resized(maps: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Maps (B, n, views, rows, columns) on another grid of the same views."""
    if maps.shape[2:] == grid:
        return maps
    if not grid[0]:
        return maps.new_zeros(*maps.shape[:2], *grid)
    flat = functional.interpolate(maps.flatten(1, 2), grid[1:], mode="bilinear")
    return flat.reshape(*maps.shape[:2], *grid)
