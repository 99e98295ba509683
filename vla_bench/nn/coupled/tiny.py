"""A small DeepVision-VLA backbone that trains on two CPU cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vla_bench.nn.attention import Layer
from vla_bench.nn.backbone import Context, Masked
from vla_bench.nn.coupled.branch import PlainLayer
from vla_bench.nn.coupled.coupler import Coupler, LanguageSizes
from vla_bench.nn.coupled.encode import encode
from vla_bench.nn.coupled.expert import TinyExpert
from vla_bench.nn.coupled.masks import sequence_mask
from vla_bench.nn.coupled.settings import CouplingSettings
from vla_bench.nn.coupled.stack import Language
from vla_bench.nn.tiny import TinyBackbone, hash_words


class TinyCoupledBackbone(TinyBackbone):
    """`TinyBackbone` as a language model: [vision | text | state | actions], causal up to the actions.

    Its action queries are the action tokens. Without views it has no expert, and its weights are a part
    of those of the same backbone with views.

    Args:
        views: Camera images per observation; may be 0.
        state_size: Entries of the state vector.
        sizes: Of `TinyBackbone`.
        expert: Of `TinyExpert`.
        coupling: How the two are coupled.
    """

    def __init__(
        self,
        *,
        views: int,
        state_size: int,
        sizes: Mapping[str, Any],
        expert: Mapping[str, Any],
        coupling: CouplingSettings,
    ) -> None:
        super().__init__(views=views, state_size=state_size, **sizes)
        self.coupling = coupling
        heads = self._layers()[0].layer.attention.heads
        self.coupler: Coupler | None = None
        if views and coupling.uses_expert:
            self.coupler = Coupler(
                coupling,
                TinyExpert(**expert),
                LanguageSizes(self.width, self.layers, heads, heads, self.width // heads),
                views,
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
        words = hash_words(instructions).to(proprioception.device)
        text = self.words(words)
        raw, vision = self._see(images, text.sum(1))
        grid = (self.views, self.grid, self.grid)
        if self.coupler is not None and (added := self.coupler.added(images, grid)) is not None:
            vision = vision + added
        state = self.state(proprioception, text.sum(1))[:, None]
        queries = self.queries.expand(len(words), -1, -1)
        seen, told = vision.shape[1], vision.shape[1] + words.shape[1]
        padding = torch.nn.functional.pad(words == 0, (seen, queries.shape[1] + 1))
        language = Language(
            layers=self._layers(),
            x=torch.cat([vision, text, state, queries], dim=1),
            bias=sequence_mask(padding, queries.shape[1], self.coupling.action_attn),
            padding=padding,
            vision=torch.arange(seen, device=words.device),
            instruction=slice(seen, told),
            actions=slice(told + 1, None),
            grid=grid,
            norm=self.norm,
            masked=masked,
        )
        encoded = encode(language, self.coupler, images, need_attention)
        states = encoded.states
        described, phrases = self.described(instructions)
        return Context(
            vision=tuple(s[:, :seen] for s in states),
            queries=tuple(s[:, told + 1 :] for s in states),
            proprioception=states[-1][:, told : told + 1] + state,
            raw_vision=raw,
            grid=grid,
            attention=encoded.attention,
            maps=encoded.maps,
            losses=encoded.losses,
            text=described,
            phrases=phrases,
        )

    def _layers(self) -> list[PlainLayer]:
        return [PlainLayer(block) for block in self.blocks if isinstance(block, Layer)]
