"""A language model's forward pass, with or without an expert."""

from __future__ import annotations

import torch
from torch import Tensor

from vla_bench.nn.coupled.coupler import Coupler
from vla_bench.nn.coupled.pruning import relevance
from vla_bench.nn.coupled.run import Encoded
from vla_bench.nn.coupled.stack import Language, Trace


def encode(
    language: Language, coupler: Coupler | None, images: Tensor, need_attention: bool
) -> Encoded:
    """Runs all layers.

    Args:
        language: The layers and their sequence.
        coupler: The expert; None for the base.
        images: uint8 (B, views, 3, h, w).
        need_attention: Whether to return the action tokens' attention to vision.
    """
    trace = Trace(language, need_attention)
    pairs = 0 if coupler is None else coupler.settings.pairs
    guide = _Guide(trace, coupler)
    while trace.number < len(language.layers) - pairs:
        guide.step()
    maps, losses = {}, {}
    if coupler is not None:
        maps = coupler.couple(trace, images, guide.map()) if pairs else {}
        losses = coupler.losses(trace, images)
    return Encoded(trace.states, tuple(trace.attention), maps, losses)


class _Guide:
    """Steps through the uncoupled layers and gathers what prunes the expert's tokens."""

    def __init__(self, trace: Trace, coupler: Coupler | None) -> None:
        self.trace, self.seen = trace, list[Tensor]()
        self.layers: range = range(0)
        language = trace.language
        self.rows = language.actions
        if coupler is None or not coupler.settings.pairs or not coupler.settings.agvp:
            return
        if coupler.settings.agvp_source == "instruction":
            self.rows = language.instruction
        if coupler.settings.agvp_source in ("action", "instruction"):
            first, last = coupler.settings.agvp_layers
            self.layers = range(first, last + 1)

    def step(self) -> None:
        """Runs the next layer."""
        number = self.trace.number
        projected = self.trace.step()
        if number in self.layers:
            with torch.no_grad():
                counted = ~self.trace.language.padding[:, self.rows]
                self.seen.append(relevance(self.trace.seen(projected, self.rows), counted))

    def map(self) -> Tensor | None:
        """Mean over the layers, (B, views, rows, columns); None if nothing was to be gathered."""
        if not self.seen:
            return None
        mean = torch.stack(self.seen).mean(0)
        return mean.view(len(mean), *self.trace.language.grid)
