"""The hooks of `vla-bench inspect` for learned policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vla_bench.nn.backbone import Context, Masked
from vla_bench.policies.base import Observation
from vla_bench.policies.diagnostics import CandidateChunks, Diagnostics, Floats, Grid

if TYPE_CHECKING:
    from vla_bench.policies.learned.policy import LearnedPolicy

BACKBONE_MAP = "action queries, last layer"
"""Name of the map of heads that have none of their own."""


class LearnedDiagnostics(Diagnostics):
    """Asks a checkpoint's backbone and head.

    Args:
        policy: The policy; what it plans next is not touched.
    """

    def __init__(self, policy: LearnedPolicy) -> None:
        self.policy, self.head = policy, policy.model.head
        self.sees = bool(policy.config.recipe.inputs.images)
        self.layers = policy.model.backbone.layers if self.sees else None

    @torch.no_grad()
    def attention(self, observation: Observation) -> Mapping[str, Floats]:
        """The head's maps; where it has none, the backbone's, or what its action queries attend to."""
        if not self.sees:
            return {}
        context = self._context(observation, need_attention=True)
        maps = self.head.attention(context) or context.maps or backbone_maps(context)
        return {name: _array(shown[0]) for name, shown in maps.items()}

    @torch.no_grad()
    def candidates(self, observation: Observation) -> CandidateChunks | None:
        """See `Diagnostics.candidates`."""
        policy = self.policy
        _, _, _, noise = policy.tensors([observation])
        found = self.head.candidates(self._context(observation), noise, policy.sampling)
        if found is None:
            return None
        chunks = policy.actions.inverse(found.chunks[0])
        return CandidateChunks(_array(chunks), _array(found.scores[0]), int(found.chosen[0]))

    @torch.no_grad()
    def grid(self, observation: Observation) -> Grid:
        """See `Diagnostics.grid`."""
        return self._context(observation).grid

    @torch.no_grad()
    def plan_masked(
        self, observation: Observation, layer: int, tokens: NDArray[np.bool_]
    ) -> Floats:
        """See `Diagnostics.plan_masked`; at layer 0 the vision tower's features are zeroed, too."""
        policy = self.policy
        images, instructions, state, noise = policy.tensors([observation] * len(tokens))
        zeroed = torch.from_numpy(tokens).to(policy.device)
        masked = Masked(layer, zeroed.flatten(1))
        context = policy.model.backbone(images, instructions, state, masked=masked)
        if layer == 0:
            context = without_raw(context, zeroed)
        return _array(self.head.sample(context, noise, policy.sampling))

    def _context(self, observation: Observation, need_attention: bool = False) -> Context:
        images, instructions, state, _ = self.policy.tensors([observation])
        context: Context = self.policy.model.backbone(images, instructions, state, need_attention)
        return context


def backbone_maps(context: Context) -> dict[str, Tensor]:
    """Attention from action queries to vision in the last layer, mean over heads and queries."""
    if not context.attention:
        return {}
    mean = context.attention[-1].mean((1, 2))
    return {BACKBONE_MAP: mean.reshape(-1, *context.grid)}


def without_raw(context: Context, cells: Tensor) -> Context:
    """The context without `raw_vision` in some cells, bool (B, views, rows, columns) as in its grid."""
    _, rows, columns = context.raw_grid or context.grid
    zeroed = functional.interpolate(cells.float(), (rows, columns)).bool().flatten(1)
    return replace(context, raw_vision=context.raw_vision.masked_fill(zeroed[..., None], 0.0))


def _array(values: Tensor) -> Floats:
    found: Floats = values.float().cpu().numpy()
    return found
