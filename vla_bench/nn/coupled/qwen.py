"""DeepVision-VLA's full-size backbone: Qwen3-VL-4B and a vision expert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from vla_bench.nn.backbone import Backbone, Context, Masked
from vla_bench.nn.coupled.coupler import Coupler, LanguageSizes
from vla_bench.nn.coupled.encode import encode
from vla_bench.nn.coupled.masks import sequence_mask
from vla_bench.nn.coupled.qwen_layers import TextLayer
from vla_bench.nn.coupled.qwen_models import QWEN, QwenSizes, make_expert, make_qwen
from vla_bench.nn.coupled.qwen_sequence import Layout
from vla_bench.nn.coupled.qwen_vision import QwenVision
from vla_bench.nn.coupled.stack import Language
from vla_bench.nn.prismatic_text import published_tokenizer, stand_in_tokenizer

if TYPE_CHECKING:
    from vla_bench.nn.backbones import QwenCoupledConfig


class QwenCoupledBackbone(Backbone):
    """Qwen3-VL-4B whose last layers share attention with a vision expert's (DeepVision-VLA).

    The sequence is [chat | images | question | state | actions]. Without an expert it is the base,
    QwenVLA-OFT. That the state is a token of the sequence is OpenVLA-OFT's way; the paper does not say.

    Args:
        config: Settings.
        views: Camera images per observation; may be 0.
        state_size: Entries of the state vector.
        weights: False leaves out the published weights, where a checkpoint is about to be loaded.
        sizes: Sizes; others than the published ones are for tests.

    Raises:
        UserError: Published files cannot be downloaded.
    """

    def __init__(
        self,
        config: QwenCoupledConfig,
        *,
        views: int,
        state_size: int,
        weights: bool = True,
        sizes: QwenSizes | None = None,
    ) -> None:
        super().__init__()
        sizes, download = sizes or QwenSizes(), config.pretrained and weights
        self.config, self.views, self.width, self.layers = config, views, sizes.width, sizes.layers
        self.text_width = sizes.width
        self.tokenize = (
            published_tokenizer(QWEN) if config.pretrained else stand_in_tokenizer(sizes.vocabulary)
        )
        model = make_qwen(sizes, download=download)
        vision = QwenVision(model.visual, config.image_size)
        self.language, self.raw_width = model.language_model, vision.raw_width
        self.side = vision.side
        if views:
            self.vision = vision
        adapt(self, config.lora_rank)
        self.coupler = self._coupler(sizes, download=download) if views else None
        self.queries = nn.Parameter(0.02 * torch.randn(config.queries, sizes.width))
        self.state = nn.Sequential(
            nn.Linear(state_size, sizes.width), nn.GELU(), nn.Linear(sizes.width, sizes.width)
        )

    def _coupler(self, sizes: QwenSizes, *, download: bool) -> Coupler | None:
        config = self.config
        if not config.uses_expert:
            return None
        tower = sizes.expert(config.expert)
        expert = make_expert(
            config.expert,
            tower,
            resolution=config.expert_res,
            depth=config.needed_depth(tower.layers),
            download=download,
        )
        adapt(expert, config.lora_rank)
        language = LanguageSizes(
            sizes.width, sizes.layers, sizes.heads, sizes.key_value_heads, sizes.head_width
        )
        return Coupler(config, expert, language, self.views)

    def forward(
        self,
        images: Tensor,
        instructions: Sequence[str],
        proprioception: Tensor,
        need_attention: bool = False,
        masked: Masked | None = None,
    ) -> Context:
        """See `Backbone.forward`."""
        layout = Layout.of(
            self.tokenize,
            instructions,
            views=self.views,
            side=self.side,
            actions=len(self.queries),
            device=self.queries.device,
        )
        grid = (self.views, self.side, self.side)
        raw, vision, deep = self._see(images)
        if self.coupler is not None and (added := self.coupler.added(images, grid)) is not None:
            vision = vision + added
        state = self.state(proprioception.to(self.queries.dtype))[:, None]
        x = self._embedded(layout, vision, state)
        cos, sin = self._rotary(x, layout.positions())
        padding, actions = layout.padding, slice(layout.question.stop + 1, None)
        language = Language(
            layers=[TextLayer(layer) for layer in self.language.layers],
            x=x,
            bias=sequence_mask(padding, len(self.queries), self.config.action_attn),
            padding=padding,
            vision=layout.vision,
            instruction=layout.question,
            actions=actions,
            grid=grid,
            norm=self.language.norm,
            rotation=(cos[:, None], sin[:, None]),
            finer=self._finer(x, layout),
            added=dict(enumerate(deep)),
            masked=masked,
        )
        encoded = encode(language, self.coupler, images, need_attention)
        text, phrases = self.described(instructions)
        return Context(
            vision=tuple(s[:, layout.vision] for s in encoded.states),
            queries=tuple(s[:, actions] for s in encoded.states),
            proprioception=state,
            raw_vision=raw,
            grid=grid,
            attention=encoded.attention,
            maps=encoded.maps,
            losses=encoded.losses,
            text=text,
            phrases=phrases,
        )

    def parts(self) -> dict[str, nn.Module]:
        """See `Backbone.parts`; what the coupler is made of counts apart too."""
        own = self.coupler.named_children() if self.coupler is not None else ()
        return super().parts() | {f"coupler.{name}": part for name, part in own}

    def describe(self, texts: Sequence[str]) -> Tensor:
        """The mean of the embedded tokens; see `Backbone.describe`."""
        rows = [self.tokenize(text.strip().lower() or "none") for text in texts]
        device = self.queries.device
        means = [
            self.language.embed_tokens(torch.tensor(row, device=device)).mean(0) for row in rows
        ]
        return torch.stack(means)

    def _see(self, images: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Raw features, visual tokens and what is added behind the first layers, each (B, Nv, ...)."""
        batch = len(images)
        if not self.views:
            none = self.queries.new_zeros(batch, 0, self.raw_width)
            return none, none[..., : self.width], []
        raw, tokens, deep = self.vision(images.flatten(0, 1))
        return (
            raw.reshape(batch, -1, raw.shape[-1]),
            tokens.reshape(batch, -1, tokens.shape[-1]),
            [part.reshape(batch, -1, part.shape[-1]) for part in deep],
        )

    def _embedded(self, layout: Layout, vision: Tensor, state: Tensor) -> Tensor:
        """(B, n, d)."""
        batch, embed = len(layout.lengths), self.language.embed_tokens

        def alike(ids: Tensor) -> Tensor:
            embedded: Tensor = embed(ids).expand(batch, -1, -1)
            return embedded

        parts = [alike(layout.chat)]
        for tokens in vision.chunk(self.views, dim=1) if self.views else ():
            parts += [alike(layout.before), tokens, alike(layout.after)]
        queries = self.queries.expand(batch, -1, -1)
        return torch.cat([*parts, embed(layout.questions), state, queries], dim=1)

    def _finer(self, x: Tensor, layout: Layout) -> tuple[Tensor, Tensor] | None:
        if self.coupler is None or self.config.expert_pos != "mrope":
            return None
        expert = self.coupler.expert
        return self._rotary(x, layout.finer(expert.side, expert.prefix))

    def _rotary(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of positions (3, rows, n): each (rows, n, head width)."""
        cos, sin = self.language.rotary_emb(x, positions)
        return cos, sin


def adapt(module: nn.Module, rank: int) -> None:
    """Freezes all weights and puts low-rank adapters beside linear layers; rank 0 does nothing."""
    if not rank:
        return
    names = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, init_lora_weights="gaussian", target_modules=names
    )
    inject_adapter_in_model(config, module)
