"""Action heads by kind: their settings, and the one function that builds them."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from vla_bench.errors import UserError
from vla_bench.nn.dit import ChunkSizes
from vla_bench.policies.act.head import ActConfig, ActHead, ActSampling
from vla_bench.policies.anchorvla.head import AnchoredConfig, AnchoredHead, AnchoredSampling
from vla_bench.policies.deepvision.head import OftConfig, OftHead, OftSampling
from vla_bench.policies.diffusion.head import DiffusionConfig, DiffusionHead, DiffusionSampling
from vla_bench.policies.focusvla.config import FocusConfig, FocusSampling
from vla_bench.policies.focusvla.head import FocusHead
from vla_bench.policies.l1.head import L1Config, L1Head, L1Sampling
from vla_bench.policies.learned.head import ActionHead, Settings
from vla_bench.policies.posavla.head import PosaHead
from vla_bench.policies.posavla.settings import PosaConfig, PosaSampling

AnyHead = (
    AnchoredConfig | DiffusionConfig | L1Config | ActConfig | FocusConfig | PosaConfig | OftConfig
)
HeadConfig = Annotated[AnyHead, Field(discriminator="kind")]
"""Settings of any head, told apart by `kind`."""

SAMPLING: dict[str, type[Settings]] = {
    "anchored": AnchoredSampling,
    "diffusion": DiffusionSampling,
    "l1": L1Sampling,
    "act": ActSampling,
    "focus": FocusSampling,
    "posa": PosaSampling,
    "oft": OftSampling,
}
"""Sampling settings by kind of head."""

HEADS: dict[type[Settings], type[ActionHead]] = {
    AnchoredConfig: AnchoredHead,
    DiffusionConfig: DiffusionHead,
    L1Config: L1Head,
    ActConfig: ActHead,
    FocusConfig: FocusHead,
    PosaConfig: PosaHead,
    OftConfig: OftHead,
}
"""Heads by what they are built with."""


def make_head(config: AnyHead, sizes: ChunkSizes) -> ActionHead:
    """The head that a config declares.

    Raises:
        UserError: The backbone's width does not divide by the head's number of attention heads, or the
            head reads layers that the backbone does not have.
    """
    if not sizes.layers and not isinstance(config, PosaConfig):
        raise UserError(
            f"head.kind={config.kind}: it reads a backbone's layers, and this backbone has none; use "
            "--set head.kind=posa, or --set backbone.name=tiny"
        )
    heads: int = getattr(config, "heads", 1)  # a plain head has no attention
    if sizes.width % heads:
        raise UserError(
            f"head.heads={heads}: expected a divisor of the backbone's width {sizes.width}; "
            f"use --set head.heads={math.gcd(heads, sizes.width)}"
        )
    return HEADS[type(config)](config, sizes)
