"""The flow transformer: velocities of noisy action chunks, given tokens and a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vla_bench.nn.attention import Attention, KeysValues, feed_forward
from vla_bench.nn.dit import ChunkSizes
from vla_bench.nn.embeddings import sinusoidal

TIME_SCALE = 1000
"""Times in [0, 1] are embedded as if they were so many denoising steps."""


class FlowTransformer(nn.Module):
    """Action tokens attend to one another and to the context; AdaLN on time (PosA-VLA, section 3.4).

    Args:
        sizes: What it is built for.
        heads: Attention heads.
        layers: Blocks.
    """

    def __init__(self, sizes: ChunkSizes, heads: int, layers: int) -> None:
        super().__init__()
        self.width = width = sizes.width
        self.embed = nn.Linear(sizes.action_size, width)
        self.place = nn.Parameter(0.02 * torch.randn(sizes.chunk_length, width))
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.memory_norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, sizes.action_size)

    def remember(self, tokens: Tensor) -> list[KeysValues]:
        """Projects context tokens (B, n, width) once per query, for every block."""
        tokens = self.memory_norm(tokens)
        return [block.across.project(tokens) for block in self._blocks()]

    def forward(self, noisy: Tensor, t: Tensor, memory: list[KeysValues]) -> Tensor:
        """Velocities, shaped as the chunks.

        Args:
            noisy: (B, P, A), on the path from noise to data.
            t: Times in [0, 1], (B,).
            memory: From `remember`.
        """
        condition = self.time(sinusoidal(TIME_SCALE * t, self.width))
        x = self.embed(noisy) + self.place
        for block, context in zip(self._blocks(), memory, strict=True):
            x = block(x, context, condition)
        velocity: Tensor = self.out(self.norm(x))
        return velocity

    def _blocks(self) -> list[_Block]:
        return [block for block in self.blocks if isinstance(block, _Block)]


class _Block(nn.Module):
    """Self-attention, cross-attention and feed-forward, each with AdaLN-zero modulation."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.within, self.across = Attention(width, heads), Attention(width, heads)
        self.feed_forward = feed_forward(width)
        last = nn.Linear(width, 9 * width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.modulation = nn.Sequential(nn.SiLU(), last)

    def forward(self, x: Tensor, context: KeysValues, condition: Tensor) -> Tensor:
        """(B, P, width) -> the same."""
        parts = self.modulation(condition)[:, None].chunk(9, dim=-1)
        parts_of = [parts[i : i + 3] for i in (0, 3, 6)]

        def normed(part: int) -> Tensor:
            shift, scale, _ = parts_of[part]
            out: Tensor = self.norm(x) * (1 + scale) + shift
            return out

        own = normed(0)
        x = x + parts_of[0][2] * self.within(own, self.within.project(own))
        x = x + parts_of[1][2] * self.across(normed(1), context)
        out: Tensor = x + parts_of[2][2] * self.feed_forward(normed(2))
        return out
