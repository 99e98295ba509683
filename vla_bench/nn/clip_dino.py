"""The full-size backbone of PosA-VLA: CLIP-B/16 for text and patches, DINOv2-B for dense features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model

from vla_bench.nn.backbone import Backbone, Context, Masked
from vla_bench.nn.clip_dino_weights import (
    Tokenizer,
    fetch_clip,
    fetch_dino,
    published_tokenizer,
    stand_in_tokenizer,
)
from vla_bench.nn.pixels import Channels, fitted, scaled
from vla_bench.nn.prismatic_vision import DINO_MEAN, DINO_STD, TowerSizes

CLIP_MEAN: Channels = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Channels = (0.26862954, 0.26130258, 0.27577711)

VISION_BASE = TowerSizes(width=768, layers=12, heads=12, feed_forward=3072)
TEXT_BASE = TowerSizes(width=512, layers=12, heads=8, feed_forward=2048)


@dataclass(frozen=True)
class ClipDinoSizes:
    """Sizes of the published models."""

    clip: TowerSizes = VISION_BASE
    text: TowerSizes = TEXT_BASE
    dino: TowerSizes = VISION_BASE
    width: int = 512
    """Of the space that CLIP projects texts and images to."""
    image_size: int = 224
    clip_patch: int = 16
    dino_patch: int = 14
    vocabulary: int = 49_408
    longest_text: int = 77


class ClipDinoBackbone(Backbone):
    """CLIP's text and patches, DINOv2's dense features, and an embedded state (PosA-VLA, section 3.1).

    There is no language model: the context has no layers, its visual tokens are CLIP's patches in the
    space that CLIP shares with texts, its only action query is the instruction, and its raw visual
    features are DINOv2's, on a grid of their own.

    Args:
        views: Camera images per observation; may be 0.
        state_size: Entries of the state vector.
        train_vision: Whether the image towers are trained; the text tower never is.
        pretrained: Whether to use the published tokenizer and weights; else a stand-in and random ones.
        weights: False leaves out the published weights, where a checkpoint is about to be loaded.
        sizes: Sizes; others than the published ones are for tests.

    Raises:
        UserError: Published files cannot be downloaded.
    """

    def __init__(
        self,
        *,
        views: int,
        state_size: int,
        train_vision: bool = False,
        pretrained: bool = True,
        weights: bool = True,
        sizes: ClipDinoSizes | None = None,
    ) -> None:
        super().__init__()
        self.sizes = sizes = sizes or ClipDinoSizes()
        self.views, self.layers = views, 0
        self.width = self.text_width = sizes.width
        self.raw_width = sizes.dino.width
        self.tokenize: Tokenizer = (
            published_tokenizer()
            if pretrained
            else stand_in_tokenizer(sizes.vocabulary, sizes.longest_text)
        )
        self.clip: CLIPModel = (
            fetch_clip() if pretrained and weights else CLIPModel(_clip_config(sizes))
        )
        self.clip.requires_grad_(False)
        del self.clip.logit_scale  # of CLIP's own training
        if views:
            self.dino: Dinov2Model = (
                fetch_dino() if pretrained and weights else Dinov2Model(_dino_config(sizes))
            )
            self.dino.embeddings.register_parameter("mask_token", None)
            self.dino.requires_grad_(train_vision)
            self.clip.vision_model.requires_grad_(train_vision)
            self.clip.visual_projection.requires_grad_(train_vision)
        else:
            del self.clip.vision_model, self.clip.visual_projection
        self.state = nn.Sequential(
            nn.Linear(state_size, sizes.width), nn.GELU(), nn.Linear(sizes.width, sizes.width)
        )

    def forward(
        self,
        images: Tensor,
        instructions: Sequence[str],
        proprioception: Tensor,
        need_attention: bool = False,
        masked: Masked | None = None,
    ) -> Context:
        """See `Backbone.forward`; there are no layers whose attention could be had."""
        text, phrases = self.described(instructions)
        vision, dense = self._see(images)
        vision = masked.applied(vision, 0, first=0) if masked else vision
        sides = [self.sizes.image_size // p for p in (self.sizes.clip_patch, self.sizes.dino_patch)]
        return Context(
            vision=(vision,),
            queries=(text[:, None],),
            proprioception=self.state(proprioception.to(text.dtype))[:, None],
            raw_vision=dense,
            grid=(self.views, sides[0], sides[0]),
            raw_grid=(self.views, sides[1], sides[1]),
            text=text,
            phrases=phrases,
        )

    def describe(self, texts: Sequence[str]) -> Tensor:
        """CLIP's embedding of each text; see `Backbone.describe`."""
        rows = [self.tokenize(text) for text in texts]
        longest = max(len(row) for row in rows)
        device = self.clip.text_projection.weight.device
        # Attention is causal: what fills a row up behind its last token changes nothing before it.
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
        last = torch.tensor([len(row) - 1 for row in rows], device=device)
        states = self.clip.text_model(input_ids=ids).last_hidden_state
        described: Tensor = self.clip.text_projection(
            states[torch.arange(len(rows), device=device), last]
        )
        return described

    def _see(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """CLIP's projected patches (B, cells, width) and DINOv2's features (B, its cells, its width)."""
        if not self.views:
            empty = self.state[0].weight.new_zeros(len(images), 0, self.raw_width)
            return empty[..., : self.width], empty
        pixels = fitted(images.flatten(0, 1), self.sizes.image_size)
        dtype = self.dino.dtype
        clip = self.clip.vision_model
        patches = clip(pixel_values=scaled(pixels, CLIP_MEAN, CLIP_STD).to(dtype)).last_hidden_state
        patches = self.clip.visual_projection(clip.post_layernorm(patches[:, 1:]))
        dense = self.dino(pixel_values=scaled(pixels, DINO_MEAN, DINO_STD).to(dtype))
        dense = dense.last_hidden_state[:, 1:]
        seen, dense = (x.unflatten(0, (-1, self.views)).flatten(1, 2) for x in (patches, dense))
        return seen, dense


def _clip_config(sizes: ClipDinoSizes) -> CLIPConfig:
    return CLIPConfig(
        projection_dim=sizes.width,
        vision_config={
            **_tower(sizes.clip),
            "image_size": sizes.image_size,
            "patch_size": sizes.clip_patch,
        },
        text_config={
            **_tower(sizes.text),
            "vocab_size": sizes.vocabulary,
            "max_position_embeddings": sizes.longest_text,
        },
    )


def _tower(sizes: TowerSizes) -> dict[str, int]:
    return {
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.feed_forward,
    }


def _dino_config(sizes: ClipDinoSizes) -> Dinov2Config:
    return Dinov2Config(
        hidden_size=sizes.dino.width,
        num_hidden_layers=sizes.dino.layers,
        num_attention_heads=sizes.dino.heads,
        mlp_ratio=sizes.dino.feed_forward // sizes.dino.width,
        # Its position table is that of the published model, which is resampled at each call.
        image_size=518,
        patch_size=sizes.dino_patch,
    )
