"""The layers of a language model and an expert, run in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vla_bench.nn.coupled.branch import (
    BranchLayer,
    Projected,
    Rotation,
    attention_weights,
    rotated,
)
from vla_bench.nn.coupled.joint import Bridge, ExpertPlaces, Side, joined
from vla_bench.nn.coupled.stack import Trace


class CoupledRun:
    """The expert's kept tokens beside a language model that has come to its coupled layers.

    Args:
        trace: The language model.
        x: (B, m, expert width), the expert's tokens.
        bias: (B, 1, m, m), who sees whom in the expert alone.
        rotation: The expert's own rotary positions of these tokens.
    """

    def __init__(self, trace: Trace, x: Tensor, *, bias: Tensor, rotation: Rotation | None) -> None:
        self.trace, self.x, self.bias, self.rotation = trace, x, bias, rotation

    def alone(self, layers: Sequence[BranchLayer]) -> None:
        """Runs layers of the expert that are not coupled."""
        for layer in layers:
            self.x = layer.run(self.x, self.rotation, self.bias)

    def together(
        self, bridge: Bridge, layer: BranchLayer, places: ExpertPlaces, bias: Tensor
    ) -> None:
        """Runs a layer of each with shared attention; `bias` is from `joint_bias`."""
        language, unplaced = self.trace.project(), layer.project(self.x)
        mapped = bridge.mapped(unplaced, places)
        ours, theirs = bridge(
            Side(language, self.trace.language.bias),
            Side(rotated(unplaced, self.rotation), self.bias),
            mapped,
            bias,
        )
        if self.trace.need_attention:
            self.trace.attention.append(self._seen(bridge, language, mapped, bias))
        self.x = layer.finish(self.x, theirs)
        self.trace.finish(ours)

    def _seen(self, bridge: Bridge, language: Projected, mapped: Projected, bias: Tensor) -> Tensor:
        """Shares of the action tokens' attention that the visual tokens get, as gates blend them."""
        rows, count = self.trace.language.actions, mapped.queries.shape[2]
        weights = attention_weights(
            language.queries[:, :, rows],
            joined(mapped, language).keys,
            bias[:, :, count:][:, :, rows],
        )
        shared = weights[..., count:][..., self.trace.language.vision]
        if bridge.gates is None:
            return shared
        return torch.lerp(self.trace.seen(language, rows), shared, torch.tanh(bridge.gates[0]))


class Encoded(NamedTuple):
    """What a language model made of a sequence, with an expert's help."""

    states: list[Tensor]
    """L+1 tensors (B, n, d): what each layer read, and what the last one gave."""
    attention: tuple[Tensor, ...]
    """L tensors (B, heads, action tokens, Nv), if asked for."""
    maps: dict[str, Tensor]
    """(B, views, rows, columns): see `Pruned.maps`."""
    losses: dict[str, Tensor]
    """Scalars to add to the loss of the actions."""
