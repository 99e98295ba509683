"""Settings of PosA-VLA's action head."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from vla_bench.policies.learned.head import PLACES, HeadSettings, Settings

AnchorLoss = Literal["none", "focal", "contrastive", "full"]
Refine = Literal["gate", "gate_residual", "concat"]
FocalTarget = Literal["binary", "soft_cornernet"]
PositiveSource = Literal["gt", "pred"]


class PosaConfig(HeadSettings):
    """What a head with anchored attention is built with and trained on."""

    kind: Literal["posa"] = "posa"
    heads: PositiveInt = 4
    """Attention heads."""
    layers: PositiveInt = 4
    """Blocks of the flow transformer. The paper's digest gives no number; full-size recipes take 12."""
    anchor_layers: PositiveInt = 2
    """Cross-attention layers between a text and the image before its map is read off. Not in the digest;
    two let what the first one found say what to look for."""
    anchors: Literal["both", "task", "end"] = "both"
    """Maps: where the gripper will next open or close, where it is now, or both."""
    anchor_loss: AnchorLoss = "full"
    """What the maps are trained on: the focal loss, the contrastive one, both, or the actions alone. A
    loss that is left out counts nothing; the other one keeps its weight."""
    anchor_weight: NonNegativeFloat = 1.0
    """Weight lambda of the anchor loss beside the action loss, the paper's."""
    anchor_updates: NonNegativeInt = 0
    """First updates, of which the anchor loss is the only loss (stage 1); not with `anchor_loss` none,
    nor without images. The paper's are 20 of 220 thousand: recipes take an eleventh of theirs."""
    alpha: float = Field(0.5, ge=0, le=1)
    """Weight of the focal loss; the contrastive one has the rest. The paper's."""
    sigma_task: PositiveFloat = 1 / 10
    """Width of the task anchor, a fraction of the image; the paper's."""
    sigma_end: PositiveFloat = 1 / 15
    """Width of the end-effector anchor, a fraction of the image; the paper's."""
    focal_target: FocalTarget = "binary"
    """The anchor cut at `threshold`, or as it is (Law and Deng 2018). The digest says focal loss and a
    threshold, which the first has a use for."""
    focal_gamma: NonNegativeFloat = 2.0
    """Exponent of the focal loss, which the digest leaves open: that of Lin et al. (2017)."""
    focal_balance: float | None = Field(None, ge=0, le=1)
    """Weight of positive cells, the others have the rest; none weighs all alike, as the digest names no
    such weight."""
    threshold: float = Field(0.7, gt=0, lt=1)
    """Height of an anchor from which a cell is positive; the paper's."""
    temperature: PositiveFloat = 0.07
    """Of the contrastive loss, which the digest leaves open: that of CLIP's training."""
    pos_src: PositiveSource = "gt"
    """Cells that stand for an image in the contrastive loss: the positive ones of the anchor, or of the
    map. Not in the digest; the anchor's are right from the first update on."""
    refine: Refine = "gate"
    """How maps act on dense features: as factors; as factors on top of them as they are; or beside them,
    as channels. Not in the digest; only the first one hides what is not attended to."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the maps, in the order of `PLACES`."""
        return PLACES if self.anchors == "both" else (self.anchors,)

    @property
    def sigmas(self) -> tuple[float, ...]:
        """Widths of the anchors, in the order of `channels`."""
        both = dict(zip(PLACES, (self.sigma_task, self.sigma_end), strict=True))
        return tuple(both[name] for name in self.channels)

    @property
    def anchor_terms(self) -> tuple[str, ...]:
        """The terms of the anchor loss."""
        if self.anchor_loss == "none":
            return ()
        return ("focal", "contrastive") if self.anchor_loss == "full" else (self.anchor_loss,)

    def updates_before_actions(self) -> int:
        """See `HeadSettings.updates_before_actions`."""
        return self.anchor_updates if self.anchor_terms else 0

    def sampling(self) -> PosaSampling:
        """See `HeadSettings.sampling`."""
        return PosaSampling()


class PosaSampling(Settings):
    """How a head with anchored attention plans."""

    steps: PositiveInt = 10
    """Euler steps N of the flow; the paper's."""
