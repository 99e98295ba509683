"""The full-size backbone: two vision towers and Qwen2.5-0.5B, as in VLA-Adapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2Model

from vla_bench.nn.backbone import Backbone, Context, Masked
from vla_bench.nn.prismatic_text import prompt, published_tokenizer, stand_in_tokenizer
from vla_bench.nn.prismatic_vision import (
    DINO_LARGE,
    SIGLIP_SO400M,
    TowerSizes,
    VisionTowers,
)
from vla_bench.nn.prismatic_weights import fetch_weights, fill


@dataclass(frozen=True)
class PrismaticSizes:
    """Sizes of the published backbone."""

    dino: TowerSizes = DINO_LARGE
    siglip: TowerSizes = SIGLIP_SO400M
    image_size: int = 224
    patch: int = 14
    width: int = 896
    layers: int = 24
    heads: int = 14
    key_value_heads: int = 2
    feed_forward: int = 4864
    vocabulary: int = 151_936


class PrismaticBackbone(Backbone):
    """DINOv2-L and SigLIP-SO400M patches in Qwen2.5-0.5B (Karamcheti et al. 2024; VLA-Adapter, 2025).

    The sequence is [first text token | patches | rest of the text | action queries], its attention
    causal; shorter sequences of a batch are padded at the end, where nothing that is read sees it.

    Args:
        views: Camera images per observation; may be 0.
        state_size: Entries of the state vector.
        queries: Action-query tokens; their embeddings start at zero.
        vision_layer: Block of each tower that is read, counted from the end.
        lora_rank: Rank of low-rank adapters on the linear layers of language model, projector and
            towers, whose own weights are then frozen; 0 trains all weights.
        lora_vision: Whether the towers have adapters too; without, they are frozen.
        pretrained: Whether to use the published tokenizer and weights; else a stand-in and random ones.
        weights: False leaves out the published weights, where a checkpoint is about to be loaded.
        sizes: Sizes; others than the published ones are for tests.

    Raises:
        UserError: Published files cannot be downloaded, or do not fit.
    """

    def __init__(
        self,
        *,
        views: int,
        state_size: int,
        queries: int = 64,
        vision_layer: Literal[-2, -1] = -2,
        lora_rank: int = 64,
        lora_vision: bool = True,
        pretrained: bool = True,
        weights: bool = True,
        sizes: PrismaticSizes | None = None,
    ) -> None:
        super().__init__()
        sizes = sizes or PrismaticSizes()
        self.sizes, self.views = sizes, views
        self.width, self.layers = sizes.width, sizes.layers
        self.raw_width, self.text_width = sizes.dino.width + sizes.siglip.width, sizes.width
        self.tokenize = (
            published_tokenizer() if pretrained else stand_in_tokenizer(sizes.vocabulary)
        )
        self.language = _language_model(sizes)
        if views:
            self.towers = VisionTowers(
                dino=sizes.dino,
                siglip=sizes.siglip,
                image_size=sizes.image_size,
                patch=sizes.patch,
                vision_layer=vision_layer,
            )
            self.projector = _projector(self.towers.width, sizes.width)
        if pretrained and weights:
            fill(self, fetch_weights(sizes.image_size // sizes.patch if views else 0))
        if lora_rank:
            _add_adapters(self, lora_rank, towers=lora_vision)
        self.queries = nn.Parameter(torch.zeros(queries, sizes.width))
        self.state = nn.Sequential(
            nn.Linear(state_size, sizes.width), nn.GELU(), nn.Linear(sizes.width, sizes.width)
        )

    def forward(
        self,
        images: Tensor,
        instructions: Sequence[str],
        proprioception: Tensor,
        need_attention: bool = False,
        masked: Masked | None = None,
    ) -> Context:
        """See `Backbone.forward`."""
        raw, vision = self._see(images)
        x, slots = self._sequence(instructions, vision)
        x = masked.applied(x, 0, first=1) if masked else x
        kernel = _attention_kernel(self.language, "eager" if need_attention else "sdpa")
        with kernel, _masking(self.language, masked):
            out = self.language(
                inputs_embeds=x,
                # A mask of its own keeps the model from inspecting values, which meta tensors lack.
                attention_mask={"full_attention": _causal(x) if need_attention else None},
                use_cache=False,
                output_hidden_states=True,
                output_attentions=need_attention,
            )
        last = 1 + vision.shape[1]
        rows = slots[:, :, None].expand(-1, -1, self.width)
        side = self.sizes.image_size // self.sizes.patch
        text, phrases = self.described(instructions)
        return Context(
            vision=tuple(state[:, 1:last] for state in out.hidden_states),
            queries=tuple(state.gather(1, rows) for state in out.hidden_states),
            proprioception=self.state(proprioception.to(x.dtype))[:, None],
            raw_vision=raw,
            grid=(self.views, side, side),
            attention=tuple(_rows(a[..., 1:last], slots) for a in out.attentions or ()),
            text=text,
            phrases=phrases,
        )

    def describe(self, texts: Sequence[str]) -> Tensor:
        """The mean of the embedded tokens; see `Backbone.describe`."""
        rows = [self.tokenize(text.strip().lower() or "none") for text in texts]
        device = self.queries.device
        means = [
            self.language.embed_tokens(torch.tensor(row, device=device)).mean(0) for row in rows
        ]
        return torch.stack(means)

    def _see(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the towers (B, Nv, their width) and visual tokens (B, Nv, d)."""
        if not self.views:
            raw = self.queries.new_zeros(len(images), 0, self.raw_width)
            return raw, raw[..., : self.width]
        raw = self.towers(images.flatten(0, 1)).unflatten(0, (-1, self.views)).flatten(1, 2)
        return raw, self.projector(raw)

    def _sequence(self, instructions: Sequence[str], vision: Tensor) -> tuple[Tensor, Tensor]:
        """Embedded sequences (B, n, d) and the positions of their action queries (B, Nq)."""
        device = self.queries.device
        rows = [self.tokenize(prompt(instruction)) for instruction in instructions]
        longest = max(len(row) for row in rows)
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        text = self.language.embed_tokens(ids)
        queries = self.queries.expand(len(rows), -1, -1)
        slots = (lengths + vision.shape[1])[:, None] + torch.arange(queries.shape[1], device=device)
        x = torch.cat([text[:, :1], vision, text[:, 1:], torch.zeros_like(queries)], dim=1)
        return x.scatter(1, slots[:, :, None].expand_as(queries), queries), slots


def _language_model(sizes: PrismaticSizes) -> Qwen2Model:
    config = Qwen2Config(
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.key_value_heads,
        intermediate_size=sizes.feed_forward,
        vocab_size=sizes.vocabulary,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )
    return Qwen2Model(config)


def _projector(vision_width: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(vision_width, 4 * vision_width),
        nn.GELU(),
        nn.Linear(4 * vision_width, width),
        nn.GELU(),
        nn.Linear(width, width),
    )


def _add_adapters(module: nn.Module, rank: int, towers: bool) -> None:
    """Freezes all weights and puts low-rank adapters beside linear layers, as VLA-Adapter does."""
    names = [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear) and (towers or not name.startswith("towers."))
    ]
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, init_lora_weights="gaussian", target_modules=names
    )
    inject_adapter_in_model(config, module)


@contextmanager
def _attention_kernel(model: Qwen2Model, kernel: str) -> Iterator[None]:
    """Fused kernels do not return attention weights."""
    model.set_attn_implementation(kernel)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


@contextmanager
def _masking(model: Qwen2Model, masked: Masked | None) -> Iterator[None]:
    """Zeroes visual tokens, which begin at index 1, in what a layer gives; the last one's are normed."""
    if masked is None or masked.layer == 0:
        yield
        return
    layer = masked.layer
    made_by = model.norm if layer == len(model.layers) else model.layers[layer - 1]

    def zero(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        return masked.applied(out, layer, first=1)

    # Before the model's own hook, which keeps the states that it returns.
    hook = made_by.register_forward_hook(zero, prepend=True)
    try:
        yield
    finally:
        hook.remove()


def _causal(x: Tensor) -> Tensor:
    """(1, 1, n, n), minus infinity above the diagonal."""
    full = torch.full((x.shape[1], x.shape[1]), float("-inf"), device=x.device, dtype=x.dtype)
    return full.triu(1)[None, None]


def _rows(attention: Tensor, slots: Tensor) -> Tensor:
    """Of (B, heads, n, Nv) the rows at `slots` (B, Nq)."""
    index = slots[:, None, :, None].expand(-1, attention.shape[1], -1, attention.shape[-1])
    return attention.gather(2, index)
