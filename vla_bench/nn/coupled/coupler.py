"""A vision expert and how it reaches a language model: DeepVision-VLA's parts beyond its base."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_bench.nn.coupled.branch import BranchLayer, attention_weights, rotated
from vla_bench.nn.coupled.expert import Expert, ExpertTokens
from vla_bench.nn.coupled.joint import Bridge, ExpertPlaces, joint_bias
from vla_bench.nn.coupled.pruning import hashed, kept_tokens, on_grid
from vla_bench.nn.coupled.run import CoupledRun
from vla_bench.nn.coupled.settings import CouplingSettings, chosen_layers
from vla_bench.nn.coupled.stack import Language, Trace


@dataclass(frozen=True)
class LanguageSizes:
    """Sizes of the language model that an expert is coupled with."""

    width: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int


class Pruned(NamedTuple):
    """Which of the expert's patches go on."""

    kept: Tensor
    """int64 (B, K), ascending indices into the patches of all views."""
    maps: dict[str, Tensor]
    """(B, views, rows, columns) on the expert's grid: `pruning`, what patches were kept by; `kept`, 1
    or 0. Nothing if all are kept."""


class Coupler(nn.Module):
    """Owns the expert and what lies between it and the language model.

    Args:
        settings: How they are coupled.
        expert: The expert; layers behind the last coupled one are not needed.
        sizes: The language model's sizes.
        views: Camera images per observation, 1 or more.
    """

    def __init__(
        self, settings: CouplingSettings, expert: Expert, sizes: LanguageSizes, views: int
    ) -> None:
        super().__init__()
        self.settings, self.expert, self.views = settings, expert, views
        depth = len(expert.branches())
        self.chosen = chosen_layers(depth, settings.pairs, settings.expert_layers)
        self.middle = sizes.layers // 2
        self.bridges = nn.ModuleList(
            Bridge(
                expert_width=expert.width,
                heads=sizes.heads,
                key_value_heads=sizes.key_value_heads,
                head_width=sizes.head_width,
                start=settings.coupling_start,
            )
            for _ in self.chosen
        )
        if self.chosen:
            expert.norm = nn.Identity()
        if self.chosen and settings.expert_pos == "learned2d":
            tokens = expert.prefix + expert.side**2
            self.place = nn.Parameter(0.02 * torch.randn(tokens, expert.width))
            self.view_place = nn.Parameter(0.02 * torch.randn(views, 1, expert.width))
        if settings.fusion == "early":
            self.early = nn.Linear(expert.width, sizes.width)
            if settings.coupling_start == "gated":
                nn.init.zeros_(self.early.weight)
                nn.init.zeros_(self.early.bias)
        if settings.fusion == "mid_align":
            self.align = nn.Linear(sizes.width, expert.width)
            expert.requires_grad_(False)

    def added(self, images: Tensor, grid: tuple[int, int, int]) -> Tensor | None:
        """With early fusion, what is added to visual tokens (B, Nv, d) of a grid."""
        if self.settings.fusion != "early":
            return None
        added: Tensor = self.early(self._coarse(images, grid))
        return added

    def losses(self, trace: Trace, images: Tensor) -> dict[str, Tensor]:
        """With alignment, its loss while training: a scalar by name."""
        if self.settings.fusion != "mid_align" or not self.training:
            return {}
        with torch.no_grad():
            target = self._coarse(images, trace.language.grid)
        ours = self.align(trace.states[self.middle][:, trace.language.vision])
        distance = 1 - functional.cosine_similarity(ours.float(), target.float(), dim=-1).mean()
        return {"alignment": self.settings.align_weight * distance}

    def couple(self, trace: Trace, images: Tensor, guide: Tensor | None) -> dict[str, Tensor]:
        """Runs the language model's remaining layers together with the expert's chosen ones.

        Args:
            trace: The language model in front of its first coupled layer.
            images: uint8 (B, views, 3, h, w).
            guide: (B, views, rows, columns), what the shallow layers looked at, if that is what prunes.

        Returns:
            See `Pruned.maps`.
        """
        branches, first = self.expert.branches(), self.chosen[0]
        x = self.expert.run(self.expert.embed(images.flatten(0, 1)), branches[:first])
        pruned = self._pruned(x, branches[first], images, guide)
        tokens = ExpertTokens.of(pruned.kept, self.views, self.expert.prefix, self.expert.side**2)
        rotation = self.expert.rotation()
        run = CoupledRun(
            trace,
            tokens.pick(x.reshape(-1, self.views, *x.shape[1:])),
            bias=tokens.bias(),
            rotation=None if rotation is None else tokens.pick_rotation(rotation),
        )
        bias = joint_bias(
            trace.language.bias,
            trace.language.padding,
            tokens.view.shape[1],
            self.settings.expert_sees_llm,
        )
        places, done = self._places(tokens, trace.language), first
        for bridge, chosen in zip(self.bridges, self.chosen, strict=True):
            assert isinstance(bridge, Bridge)
            run.alone(branches[done:chosen])
            run.together(bridge, branches[chosen], places, bias)
            done = chosen + 1
        return pruned.maps

    @torch.no_grad()
    def _pruned(
        self, x: Tensor, entry: BranchLayer, images: Tensor, guide: Tensor | None
    ) -> Pruned:
        settings, side = self.settings, self.expert.side
        if not settings.agvp:
            everything = torch.arange(self.views * side**2, device=x.device)
            return Pruned(everything.expand(len(images), -1), {})
        if settings.agvp_source == "random":
            scores = hashed(images, side, side)
        elif settings.agvp_source == "cls":
            scores = self._class_map(x, entry)
        else:
            assert guide is not None
            scores = on_grid(guide, side, side, settings.agvp_interp)
        kept = kept_tokens(scores, settings.topk_ratio, settings.topk_scope)
        marks = torch.zeros_like(scores.flatten(1)).scatter(1, kept, 1.0)
        return Pruned(kept, {"pruning": scores, "kept": marks.view_as(scores)})

    def _class_map(self, x: Tensor, entry: BranchLayer) -> Tensor:
        """Attention of the class token where coupling begins, (B, views, side, side)."""
        projected = rotated(entry.project(x), self.expert.rotation())
        weights = attention_weights(projected.queries[:, :, :1], projected.keys, None)
        patches = weights[..., self.expert.prefix :].mean((1, 2))
        side = self.expert.side
        return patches.view(-1, self.views, side, side)

    def _places(self, tokens: ExpertTokens, language: Language) -> ExpertPlaces:
        if self.settings.expert_pos == "learned2d":
            return ExpertPlaces(embedding=tokens.pick(self.view_place + self.place))
        if language.finer is None:
            return ExpertPlaces()
        return ExpertPlaces(rotation=tokens.pick_rotation(language.finer))

    def _coarse(self, images: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """The expert's last features, averaged to the language model's grid, (B, Nv, expert width)."""
        side = self.expert.side
        features = self.expert.features(images.flatten(0, 1))
        features = features.transpose(1, 2).reshape(len(features), -1, side, side)
        coarse = functional.adaptive_avg_pool2d(features, grid[1:]).flatten(2).transpose(1, 2)
        return coarse.reshape(len(images), -1, coarse.shape[-1])
