"""Settings of the coupling of a language model with a vision expert; shared by all sizes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from vla_bench.nn.coupled.joint import Start
from vla_bench.nn.coupled.pruning import Interpolation, Scope

Fusion = Literal["none", "early", "mid_align", "deep_mot"]
Choice = Literal["last", "first", "uniform"]
Source = Literal["action", "instruction", "cls", "random"]


class CouplingSettings(BaseModel):
    """How a vision expert reaches the language model (DeepVision-VLA, arXiv 2603.15618)."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    fusion: Fusion = "deep_mot"
    """`none`: no expert, the base QwenVLA-OFT; `early`: its last features are added to the visual tokens
    that enter the language model; `mid_align`: the language model's middle layer learns to predict them,
    and no expert plays; `deep_mot`: the deep layers of both attend together."""
    coupled: NonNegativeInt = 16
    """With `deep_mot`, the last n language layers that share attention with the expert; 0 is the base."""
    expert_layers: Choice = "last"
    """Which n layers of the expert are coupled."""
    expert_res: PositiveInt = 512
    """Side of the square that the expert's images are resized to (px)."""
    expert_sees_llm: bool = True
    """Whether the expert's tokens see the language model's; the paper has information flow both ways."""
    expert_pos: Literal["none", "learned2d", "mrope"] = "learned2d"
    """Places of the expert's tokens in shared attention: none, a learned embedding of view, row and
    column, or the language model's own rotary positions. The paper does not say; the language model's
    distances were never trained between such tokens, so the default learns its own."""
    coupling_start: Start = "gated"
    """`gated`: at first both branches compute what they did alone, and gates that start at zero let the
    other one in; `open`: shared attention alone, as the paper writes it, which a pretrained model would
    first have to recover from."""
    agvp: bool = True
    """With `deep_mot`, whether the expert's tokens are pruned before they are coupled."""
    agvp_source: Source = "action"
    """What says which tokens matter: attention of the action tokens or of the instruction to vision,
    attention of the expert's class token, or nothing."""
    agvp_layers: tuple[NonNegativeInt, NonNegativeInt] = (4, 19)
    """First and last language layer, from 0, whose attention is averaged (as it is: not normalised per
    layer, of which the paper says nothing)."""
    agvp_interp: Interpolation = "bilinear"
    """How attention is brought to the expert's grid. `nearest` keeps the ranks of lone peaks."""
    topk_ratio: float = Field(0.5, gt=0, le=1)
    """Fraction of the expert's patches that is kept."""
    topk_scope: Scope = "view"
    """Whether patches compete within their view or with those of all views. The paper does not say;
    within their view no camera goes dark."""
    action_attn: Literal["bidir", "causal"] = "bidir"
    """Whether action tokens see each other both ways, or only earlier ones. The prompt is causal."""
    align_weight: NonNegativeFloat = 0.5
    """With `mid_align`, what the distance (1 - cosine) to the expert's features counts in the loss. The
    paper's weight is unknown; this is of the order of the action loss."""

    @property
    def pairs(self) -> int:
        """Coupled pairs of layers."""
        return self.coupled if self.fusion == "deep_mot" else 0

    @property
    def uses_expert(self) -> bool:
        """Whether there is an expert at all."""
        return self.fusion in ("early", "mid_align") or self.pairs > 0

    def needed_depth(self, depth: int) -> int:
        """How many of an expert's layers ever run."""
        return self.pairs if self.pairs and self.expert_layers == "first" else depth

    def check(self, layers: int, expert_depth: int) -> None:
        """Refuses settings that do not fit a language model and an expert.

        Raises:
            ValueError: Says which, and what would fit.
        """
        most = min(layers, expert_depth)
        if self.pairs > most:
            raise ValueError(
                f"coupled {self.pairs} is more than the {layers} language and {expert_depth} expert "
                f"layers; use --set backbone.coupled={most}"
            )
        first, last = self.agvp_layers
        reads_layers = self.pairs and self.agvp and self.agvp_source in ("action", "instruction")
        if reads_layers and not first <= last < layers - self.pairs:
            free = layers - self.pairs
            raise ValueError(
                f"agvp_layers [{first}, {last}]: expected a first and a last one of the {free} uncoupled "
                f"layers, 0 to {free - 1}; "
                + (
                    f"use --set backbone.agvp_layers=[{min(first, free - 1)},{free - 1}]"
                    if free
                    else f"use --set backbone.coupled={layers - 1}"
                )
            )


def chosen_layers(depth: int, count: int, which: Choice) -> list[int]:
    """Layers of an expert that are coupled, from 0; `uniform` ends with the last one."""
    if which == "first":
        return list(range(count))
    if which == "last":
        return list(range(depth - count, depth))
    return [(k + 1) * depth // count - 1 for k in range(count)]
