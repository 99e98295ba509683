"""What a focused head is built with: the paper's switches, and what the paper leaves open."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import PositiveInt, field_validator, model_validator

from vla_bench.policies.learned.head import HeadSettings, Settings

Vision = Literal["vlm", "ds", "llm_input", "vlm+ds", "vlm+llm_input"]


class FocusConfig(HeadSettings):
    """What a focused head is built with. The defaults are the paper's final method."""

    kind: Literal["focus"] = "focus"
    heads: PositiveInt = 4
    """Attention heads."""
    attention: Literal["mixed", "cascaded"] = "cascaded"
    """One softmax over actions, action queries and vision (eqs 1-5, VLA-Adapter), or three (eqs 6-8)."""
    cascade: Literal["parallel", "sequential"] = "parallel"
    """Whether the three attentions of a layer read the same latents, as equation 6 is written, or each
    what the ones before it have added, as "sequentially integrates" can be read too."""
    topk: int | float = 0.5
    """Visual tokens kept: their number if whole, their share if not (1.0 keeps all). Half is the paper's
    256 of 512."""
    topk_scope: Literal["head_query", "query", "shared"] = "head_query"
    """What chooses its own tokens: each head and latent, as equation 9 is written; each latent; or
    nothing smaller than the observation, which the single mask of figure 8a may mean."""
    gate: Literal["none", "1param", "head", "elem"] = "elem"
    """What weakens vision: nothing, one parameter a layer as in VLA-Adapter, or a sigmoid of the latents
    for each attention head or each channel (eq. 11)."""
    one_param: Literal["logits", "output"] = "logits"
    """What the single parameter scales: the logits, as in VLA-Adapter, where zero means that all visual
    tokens weigh the same; or the attended vision, where a gate near zero removes it."""
    gate_init: Literal["half", "open"] = "half"
    """Where a gate starts: a sigmoid at about a half, as in Gated Attention; or nearly open."""
    vision: Vision = "vlm+ds"
    """Where visual keys and values are from, `keys+values` if they differ: `vlm`, the language model's
    layer of the same depth; `ds`, the vision tower's raw features (DINOv2 and SigLIP at full size);
    `llm_input`, the visual tokens that enter the language model."""
    pool2x2: bool = False
    """Whether four neighbouring visual tokens become their mean, figure 3b's constraint."""
    ffn_residual: bool = True
    """Whether latents pass around the feed-forward layer (eq. 8); else into it (VLA-Adapter's code)."""

    @property
    def sources(self) -> tuple[str, str]:
        """Sources of visual keys and values."""
        keys, _, values = self.vision.partition("+")
        return keys, values or keys

    @field_validator("topk", mode="before")
    @classmethod
    def _number_or_share(cls, topk: object) -> object:
        number = isinstance(topk, int) and not isinstance(topk, bool) and topk >= 1
        if number or (isinstance(topk, float) and 0 < topk <= 1):
            return topk
        raise ValueError(
            f"expected a whole number of visual tokens, 1 or more, or a share of them, above 0 and at "
            f"most 1.0, found {topk!r}"
        )

    @model_validator(mode="after")
    def _switches_fit(self) -> Self:
        if self.cascade == "sequential" and self.attention == "mixed":
            raise ValueError("cascade sequential needs attention cascaded, found mixed")
        if self.one_param == "output" and self.gate != "1param":
            raise ValueError(f"one_param output needs gate 1param, found {self.gate}")
        if self.gate_init == "open" and self.gate == "none":
            raise ValueError("gate_init open needs a gate, found none")
        return self

    def sampling(self) -> FocusSampling:
        """See `HeadSettings.sampling`."""
        return FocusSampling()


class FocusSampling(Settings):
    """A focused head has nothing to choose: one forward pass."""
