"""A small vision-language backbone that trains on two CPU cores."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vla_bench.nn.attention import Layer
from vla_bench.nn.backbone import Backbone, Context, Masked

WORDS = 512
"""Size of the hashed vocabulary; 0 is padding."""
STATE_WIDTH = 256
"""Hidden units of the network that embeds the state vector."""
STEM_WIDTHS = (16, 32)
"""Channels of the convolutions that halve the image twice."""


class TinyBackbone(Backbone):
    """A convolutional stem and a transformer over [text | vision | state | action queries].

    Args:
        views: Camera images per observation; may be 0.
        state_size: Entries of the state vector.
        image_size: Side of the square that images are resized to (px); a multiple of `4 * grid`.
        grid: Visual tokens per side of an image.
        width: Size of a token.
        layers: Transformer layers; 0 leaves the visual tokens and the state as they are embedded.
        heads: Attention heads.
        queries: Action-query tokens.
        film: Whether the instruction scales and shifts the stem's channels (FiLM, Perez et al. 2018), so
            that the raw features too say what is meant.
        stem_norm: Whether each channel of the stem is normalised over its image, so that a bare
            background weighs nothing beside a small object.
        place_scale: Standard deviation of the visual tokens' initial place embeddings.
    """

    def __init__(
        self,
        *,
        views: int,
        state_size: int,
        image_size: int = 64,
        grid: int = 4,
        width: int = 96,
        layers: int = 3,
        heads: int = 4,
        queries: int = 8,
        film: bool = False,
        stem_norm: bool = False,
        place_scale: float = 0.02,
    ) -> None:
        super().__init__()
        self.width, self.layers = width, layers
        self.raw_width = self.text_width = width
        self.views, self.image_size, self.grid = views, image_size, grid
        if views:
            self.stem = _stem(image_size // (4 * grid), width, stem_norm)
            self.place = nn.Parameter(place_scale * torch.randn(views * grid * grid, width))
        self.words = nn.Embedding(WORDS, width, padding_idx=0)
        self.state = _StateEncoder(state_size, width)
        self.queries = nn.Parameter(0.02 * torch.randn(queries, width))
        self.blocks = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.film = _Film(width) if film and views else None

    def forward(
        self,
        images: Tensor,
        instructions: Sequence[str],
        proprioception: Tensor,
        need_attention: bool = False,
        masked: Masked | None = None,
    ) -> Context:
        """See `Backbone.forward`."""
        words = hash_words(instructions).to(proprioception.device)
        text = self.words(words)
        raw, vision = self._see(images, text.sum(1))
        state = self.state(proprioception, text.sum(1))[:, None]
        queries = self.queries.expand(len(words), -1, -1)
        x = torch.cat([text, vision, state, queries], dim=1)
        first, last = words.shape[1], words.shape[1] + vision.shape[1]
        x = masked.applied(x, 0, first) if masked else x
        bias = _padding_bias(words, x.shape[1])
        states, attention = [x], []
        for number, block in enumerate(self.blocks, 1):
            if need_attention:
                attention.append(self._attention(block, x, bias, words.shape[1], vision.shape[1]))
            x = block(x, bias)
            x = self.norm(x) if number == self.layers else x
            x = masked.applied(x, number, first) if masked else x
            states.append(x)
        described, phrases = self.described(instructions)
        return Context(
            vision=tuple(s[:, first:last] for s in states),
            queries=tuple(s[:, last + 1 :] for s in states),
            proprioception=states[-1][:, last : last + 1] + state,
            raw_vision=raw,
            grid=(self.views, self.grid, self.grid),
            attention=tuple(attention),
            text=described,
            phrases=phrases,
        )

    def describe(self, texts: Sequence[str]) -> Tensor:
        """The mean of the words; see `Backbone.describe`."""
        words = hash_words(texts).to(self.words.weight.device)
        mean: Tensor = self.words(words).sum(1) / (words != 0).sum(1, keepdim=True).clamp(min=1)
        return mean

    def _see(self, images: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the stem and visual tokens, both (B, visual tokens, width)."""
        batch = images.shape[0]
        if not self.views:
            empty = torch.zeros(batch, 0, self.width, device=images.device)
            return empty, empty
        pixels = resized(images.flatten(0, 1).float().div_(127.5).sub_(1.0), self.image_size)
        seen = self.stem(pixels) if self.film is None else self.film(self.stem, pixels, text)
        raw = seen.flatten(2).transpose(1, 2).reshape(batch, -1, self.width)
        return raw, raw + self.place

    def _attention(self, block: nn.Module, x: Tensor, bias: Tensor, text: int, seen: int) -> Tensor:
        assert isinstance(block, Layer)
        normed = block.attention_norm(x)
        weights = block.attention.weights(normed, block.attention.project(normed), bias)
        return weights[:, :, text + seen + 1 :, text : text + seen]


class _StateEncoder(nn.Module):
    """Embeds the state vector; the instruction scales and shifts both hidden layers.

    Which of several objects is meant is a product of word and state, which sums of the two learn slowly
    (FiLM, Perez et al. 2018).
    """

    def __init__(self, state_size: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            [nn.Linear(state_size, STATE_WIDTH), nn.Linear(STATE_WIDTH, STATE_WIDTH)]
        )
        self.film = nn.ModuleList(nn.Linear(width, 2 * STATE_WIDTH) for _ in self.layers)
        self.out = nn.Linear(STATE_WIDTH, width)

    def forward(self, state: Tensor, text: Tensor) -> Tensor:
        """(B, state size) and the summed words (B, width) -> (B, width)."""
        text = self.norm(text)
        for layer, film in zip(self.layers, self.film, strict=True):
            scale, shift = film(text).chunk(2, dim=-1)
            state = nn.functional.silu(layer(state) * (1 + scale) + shift)
        out: Tensor = self.out(state)
        return out


class _Film(nn.Module):
    """Runs the stem, its channels scaled and shifted by the instruction before each activation.

    Which colour counts is a product of word and pixel, which attention over both learns slowly.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.modulations = nn.ModuleList(nn.Linear(width, 2 * size) for size in STEM_WIDTHS)

    def forward(self, stem: nn.Sequential, pixels: Tensor, text: Tensor) -> Tensor:
        """Images (B x views, 3, side, side), words (B, width) -> (B x views, width, rows, columns)."""
        text = self.norm(text).repeat_interleave(len(pixels) // len(text), 0)
        modulations = iter(self.modulations)
        for layer in stem:
            if isinstance(layer, nn.GELU):
                scale, shift = next(modulations)(text)[..., None, None].chunk(2, dim=1)
                pixels = pixels * (1 + scale) + shift
            pixels = layer(pixels)
        return pixels


def resized(pixels: Tensor, side: int) -> Tensor:
    """Means over areas, (..., height, width) -> (..., side, side)."""
    height, width = pixels.shape[-2:]
    if height == width == side:
        return pixels
    if (height, width) != (2 * side, 2 * side):
        return nn.functional.interpolate(pixels, (side, side), mode="area")
    # The same sums in the same order as torch's own, in half the time.
    upper, lower = pixels[..., ::2, :], pixels[..., 1::2, :]
    total = upper[..., ::2] + upper[..., 1::2]
    return total.add_(lower[..., ::2]).add_(lower[..., 1::2]).div_(4)


def _stem(patch: int, width: int, normed: bool) -> nn.Sequential:
    first, second = STEM_WIDTHS
    return nn.Sequential(
        nn.Conv2d(3, first, 3, stride=2, padding=1),
        *([nn.GroupNorm(first, first)] if normed else []),
        nn.GELU(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        *([nn.GroupNorm(second, second)] if normed else []),
        nn.GELU(),
        nn.Conv2d(second, width, patch, stride=patch),
    )


def hash_words(instructions: Sequence[str]) -> Tensor:
    """Lower-case words as numbers in [1, WORDS), padded with 0 to the longest instruction.

    Returns:
        int64 (B, words); the same text gives the same numbers in every process.
    """
    rows = [
        [1 + zlib.crc32(word.encode()) % (WORDS - 1) for word in re.findall(r"\w+", text.lower())]
        for text in instructions
    ]
    longest = max((len(row) for row in rows), default=0)
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows], dtype=torch.int64)


def _padding_bias(words: Tensor, tokens: int) -> Tensor:
    """(B, 1, 1, tokens): minus infinity at padding, so that batch neighbours' lengths do not matter."""
    bias = torch.zeros(len(words), 1, 1, tokens, device=words.device)
    bias[:, 0, 0, : words.shape[1]].masked_fill_(words == 0, float("-inf"))
    return bias
