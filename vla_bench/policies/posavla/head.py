"""PosA-VLA's action head: maps trained on anchors, and a flow that reads what they let through."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vla_bench.errors import UserError
from vla_bench.nn.attention import KeysValues
from vla_bench.nn.backbone import Context
from vla_bench.nn.dit import ChunkSizes
from vla_bench.nn.flow import euler, interpolate, velocity_target
from vla_bench.policies.learned.head import PLACES, ActionHead, Settings, Windows
from vla_bench.policies.posavla.attention import AnchorAttention, Anchored, Refinement
from vla_bench.policies.posavla.settings import PosaConfig, PosaSampling
from vla_bench.policies.posavla.supervision import contrastive, focal, gaussians, hits, pooled
from vla_bench.policies.posavla.transformer import FlowTransformer


class PosaHead(ActionHead):
    """Anchor attention, refined features and a flow-matching transformer (PosA-VLA, section 3).

    Without images there are no maps: the flow reads the state and the instruction alone.

    Args:
        config: Settings.
        sizes: What the head is built for.
    """

    def __init__(self, config: PosaConfig, sizes: ChunkSizes) -> None:
        super().__init__()
        self.config, self.sizes = config, sizes
        self.attend = AnchorAttention(config, sizes)
        self.refine = Refinement(config, sizes)
        self.text = nn.Linear(sizes.text_width, sizes.width)
        self.transformer = FlowTransformer(sizes, config.heads, config.layers)
        self._anchors_only = False

    def begin(self, update: int) -> None:
        """The first updates train the maps alone (section 4.1)."""
        self._anchors_only = update < self.config.updates_before_actions()

    def loss(
        self, context: Context, windows: Windows, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """L = L_flow + lambda L_anchor, in the first updates L_anchor alone (section 3.4)."""
        found = self.attend(context)
        if not self.config.anchor_terms or not context.grid[0]:
            flow = self._flow(context, found, windows, generator)
            return {"total": flow, "flow": flow}
        terms = self._terms(found, context, windows)
        weights = {"focal": self.config.alpha, "contrastive": 1 - self.config.alpha}
        # Nought times the logits: a batch that tells nothing has a gradient too.
        anchor = 0 * found.logits.sum()
        untold = torch.full_like(anchor, torch.nan)
        for name, term in terms.items():
            anchor = anchor if term is None else anchor + weights[name] * term
        flow, total = untold, anchor
        if not self._anchors_only:
            flow = self._flow(context, found, windows, generator)
            total = flow + self.config.anchor_weight * anchor
        logged = {name: untold if term is None else term for name, term in terms.items()}
        return {"total": total, "flow": flow, "anchor": anchor, **logged}

    def _flow(
        self, context: Context, found: Anchored, windows: Windows, generator: torch.Generator
    ) -> Tensor:
        """Squared error of the velocity at a uniformly drawn time (section 3.4)."""
        data = windows.chunks
        t = torch.rand(len(data), generator=generator).to(data.device)
        noise = torch.randn(data.shape, generator=generator).to(data.device)
        velocity = self.transformer(interpolate(noise, data, t), t, self._remember(context, found))
        return windows.mean((velocity - velocity_target(noise, data)).square())

    def _terms(
        self, found: Anchored, context: Context, windows: Windows
    ) -> dict[str, Tensor | None]:
        """The terms of the anchor loss (section 3.3); None for one that the batch does not tell."""
        anchors, known = self._anchors(windows, found)
        terms: dict[str, Tensor | None] = {}
        if "focal" in self.config.anchor_terms:
            terms["focal"] = self._focal(found.logits, anchors, known)
        if "contrastive" in self.config.anchor_terms:
            terms["contrastive"] = self._contrastive(found, anchors, known, context.text)
        return terms

    def _anchors(self, windows: Windows, found: Anchored) -> tuple[Tensor, Tensor]:
        """Anchors, shaped as the maps, and which of them are known, bool (B, n, views)."""
        places = self._places(windows)
        sides = found.logits.shape[-2:]
        anchors = [gaussians(p, s, *sides) for p, s in zip(places, self.config.sigmas, strict=True)]
        return torch.stack(anchors, dim=1), torch.stack(places, dim=1).isfinite().all(-1)

    def _places(self, windows: Windows) -> list[Tensor]:
        """Each map's places, (B, views, 2).

        Raises:
            UserError: The demonstrations tell none.
        """
        if windows.places is None:
            raise UserError(
                "PosA-VLA's anchors need demonstrations that tell where the cameras stand; collect them "
                "again with this version, or train without anchors: --set head.anchor_loss=none"
            )
        return [windows.places[:, PLACES.index(name)] for name in self.config.channels]

    def _focal(self, logits: Tensor, anchors: Tensor, known: Tensor) -> Tensor:
        """Mean over the cells of the maps whose anchor is known."""
        config = self.config
        losses = focal(
            logits,
            anchors,
            config.focal_target,
            config.threshold,
            config.focal_gamma,
            config.focal_balance,
        )
        return (losses.mean((-1, -2)) * known).sum() / known.sum().clamp(min=1)

    def _contrastive(
        self, found: Anchored, anchors: Tensor, known: Tensor, text: Tensor
    ) -> Tensor | None:
        """Positive cells of all views against instructions; None if all instructions are the same.

        Both are taken as anchor attention embeds them: those of frozen encoders could not be trained.
        The first map stands for the image, the task's where there is one.
        """
        heights = found.maps.detach() if self.config.pos_src == "pred" else anchors
        positive = (heights[:, 0] >= self.config.threshold) & known[:, 0, :, None, None]
        positive = positive.flatten(1)
        told = positive.any(1)
        image, asked, text = pooled(found.cells[told], positive[told]), found.text[told], text[told]
        same = (text[:, None] == text).all(-1)
        if same.all():
            return None
        return contrastive(image, asked, same, self.config.temperature)

    def _remember(self, context: Context, found: Anchored) -> list[KeysValues]:
        tokens = [
            self.refine(context, found.maps),
            context.proprioception,
            self.text(context.text)[:, None],
        ]
        return self.transformer.remember(torch.cat(tokens, dim=1))

    def noise_size(self) -> Sequence[int]:
        """One chunk of noise."""
        return (self.sizes.chunk_length, self.sizes.action_size)

    def sample(self, context: Context, noise: Tensor, sampling: Settings) -> Tensor:
        """Euler steps from noise (section 3.4)."""
        assert isinstance(sampling, PosaSampling)
        memory = self._remember(context, self.attend(context))
        return euler(lambda x, t: self.transformer(x, t, memory), noise, sampling.steps)

    def attention(self, context: Context) -> dict[str, Tensor]:
        """The maps, on the grid of the visual tokens."""
        maps = self.attend(context).maps
        return {name: maps[:, k] for k, name in enumerate(self.config.channels)}

    def diagnose(self, context: Context, windows: Windows, noise: Tensor) -> dict[str, float]:
        """Share of the known places that their map is highest at; NaN if none is known."""
        if windows.places is None or not context.grid[0]:
            return {}
        found, rates = self.attention(context), {}
        for name, places, sigma in zip(
            found, self._places(windows), self.config.sigmas, strict=True
        ):
            known = places.isfinite().all(-1)
            hit = hits(found[name], places, sigma)
            rates[f"anchor_hits_{name}"] = float(hit[known].float().mean())
        return rates
