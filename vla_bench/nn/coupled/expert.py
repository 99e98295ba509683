"""Vision experts: transformers over the patches of a finer image, and their tokens once pruned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_bench.nn.attention import Layer
from vla_bench.nn.coupled.branch import BranchLayer, PlainLayer, Rotation
from vla_bench.nn.tiny import resized


class Expert(nn.Module, ABC):
    """A vision transformer whose layers can be run one by one.

    Attributes:
        width: Size of a token.
        side: Patches per side of an image.
        prefix: Class and register tokens in front of the patches; the first is the class token.
        norm: Applied to the last layer's patches, if they are read.
    """

    width: int
    side: int
    prefix: int
    norm: nn.Module

    @abstractmethod
    def branches(self) -> list[BranchLayer]:
        """The layers, first to last."""

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, h, w) -> what the first layer reads, (N, prefix + side * side, width)."""

    @abstractmethod
    def rotation(self) -> Rotation | None:
        """Rotary positions of a view's tokens, (prefix + side * side, head width); None if none."""

    def run(self, x: Tensor, layers: Sequence[BranchLayer]) -> Tensor:
        """Some layers over all tokens of one image, (N, prefix + side * side, width)."""
        rotation = self.rotation()
        for layer in layers:
            x = layer.run(x, rotation, None)
        return x

    def features(self, images: Tensor) -> Tensor:
        """The last features of the patches, uint8 (N, 3, h, w) -> (N, side * side, width)."""
        features: Tensor = self.norm(self.run(self.embed(images), self.branches()))
        return features[:, self.prefix :]


class TinyExpert(Expert):
    """A vision transformer of plain layers with learned positions.

    Args:
        resolution: Side of the square that images are resized to (px).
        patch: Side of a patch (px).
        width: Size of a token.
        depth: Layers.
        heads: Attention heads.
        place_scale: Standard deviation of the patches' initial place embeddings.
    """

    def __init__(
        self,
        *,
        resolution: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        place_scale: float = 0.02,
    ) -> None:
        super().__init__()
        self.width, self.side, self.prefix = width, resolution // patch, 1
        self.resolution = resolution
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.first = nn.Parameter(0.02 * torch.randn(1, width))
        self.place = nn.Parameter(place_scale * torch.randn(self.side**2, width))
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def branches(self) -> list[BranchLayer]:
        """See `Expert.branches`."""
        return [PlainLayer(layer) for layer in self.layers if isinstance(layer, Layer)]

    def embed(self, images: Tensor) -> Tensor:
        """See `Expert.embed`."""
        pixels = resized(images.float().div_(127.5).sub_(1.0), self.resolution)
        patches = self.patches(pixels).flatten(2).transpose(1, 2) + self.place
        return torch.cat([self.first.expand(len(images), -1, -1), patches], dim=1)

    def rotation(self) -> Rotation | None:
        """None: positions are learned."""
        return None


@dataclass(frozen=True)
class ExpertTokens:
    """The expert's tokens that are coupled: class and register tokens of all views, then kept patches."""

    view: Tensor
    """int64 (B, m): the view of each token."""
    place: Tensor
    """int64 (B, m): its place within its view, class and register tokens included."""

    @classmethod
    def of(cls, kept: Tensor, views: int, prefix: int, patches: int) -> ExpertTokens:
        """Of kept patches, indices (B, K) into the patches of all views."""
        device = kept.device
        view = torch.arange(views, device=device).repeat_interleave(prefix)
        place = torch.arange(prefix, device=device).repeat(views)
        return cls(
            view=torch.cat([view.expand(len(kept), -1), kept // patches], dim=1),
            place=torch.cat([place.expand(len(kept), -1), prefix + kept % patches], dim=1),
        )

    def pick(self, x: Tensor) -> Tensor:
        """Of (B, views, prefix + patches, d) or (views, prefix + patches, d) the tokens, (B, m, d)."""
        index = self.view * x.shape[-2] + self.place
        if x.dim() == 3:
            return x.flatten(0, 1)[index]
        return x.flatten(1, 2).gather(1, index[..., None].expand(-1, -1, x.shape[-1]))

    def pick_rotation(self, rotation: Rotation) -> Rotation:
        """The tokens' rotary positions, each (B, 1, m, d).

        Args:
            rotation: (prefix + patches, d), the same in all views, or (views, prefix + patches, d).
        """
        cos, sin = (x[self.place] if x.dim() == 2 else self.pick(x) for x in rotation)
        return cos[:, None], sin[:, None]

    def bias(self) -> Tensor:
        """(B, 1, m, m): minus infinity between tokens of different views, as in the expert alone."""
        apart = self.view[:, None, :, None] != self.view[:, None, None, :]
        return torch.zeros_like(apart, dtype=torch.float32).masked_fill(apart, float("-inf"))
