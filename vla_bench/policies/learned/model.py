"""Backbone, action head and residual correction module as one torch module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vla_bench.nn.backbone import Context
from vla_bench.nn.backbones import make_backbone
from vla_bench.nn.dit import ChunkSizes
from vla_bench.policies.learned.head import Settings
from vla_bench.policies.learned.heads import make_head
from vla_bench.policies.learned.recipe import Recipe
from vla_bench.policies.learned.residual import ResidualModule


class ChunkModel(nn.Module):
    """Plans chunks in normalised units.

    Args:
        recipe: Says what it is made of.
        action_size: Entries of an action.
        weights: Whether a pretrained backbone fetches its weights; False where a checkpoint is loaded.
    """

    def __init__(self, recipe: Recipe, action_size: int, *, weights: bool = True) -> None:
        super().__init__()
        self.recipe = recipe
        views, state_size = len(recipe.inputs.images), recipe.state_size
        self.backbone = make_backbone(
            recipe.backbone, views=views, state_size=state_size, weights=weights
        )
        width = self.backbone.width
        self.head = make_head(
            recipe.head,
            ChunkSizes(
                action_size=action_size,
                chunk_length=recipe.chunk_length,
                width=width,
                layers=self.backbone.layers,
                views=views,
                raw_width=self.backbone.raw_width,
                text_width=self.backbone.text_width,
            ),
        )
        self.residual: ResidualModule | None = None
        if recipe.residual is not None:
            self.residual = ResidualModule(
                recipe.residual,
                state_size=state_size,
                action_size=action_size,
                context_width=2 * width,
                views=views,
            )

    def encode(self, images: Tensor, instructions: Sequence[str], state: Tensor) -> Context:
        """The backbone's context; arguments as in `Backbone.forward`."""
        context: Context = self.backbone(images, instructions, state)
        return context

    @torch.no_grad()
    def plan(
        self,
        images: Tensor,
        instructions: Sequence[str],
        state: Tensor,
        noise: Tensor,
        sampling: Settings,
    ) -> tuple[Tensor, Tensor]:
        """Plans chunks.

        Args:
            images: uint8 (B, views, 3, h, w).
            instructions: B instructions.
            state: (B, state size), normalised.
            noise: (B, *head.noise_size()), standard normal.
            sampling: The head's sampling settings.

        Returns:
            Chunks (B, P, A), normalised, and the pooled context (B, 2 width), which corrections read.
        """
        context = self.encode(images, instructions, state)
        return self.head.sample(context, noise, sampling), context.pooled()
