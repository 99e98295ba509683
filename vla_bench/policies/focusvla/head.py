"""FocusVLA's action head: one forward pass of focused attention, trained with an absolute error."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vla_bench.errors import UserError
from vla_bench.nn.backbone import Context
from vla_bench.nn.dit import ChunkSizes
from vla_bench.policies.focusvla.block import FocusBlock, Seen
from vla_bench.policies.focusvla.config import FocusConfig
from vla_bench.policies.learned.head import ActionHead, Settings, Windows


class FocusHead(ActionHead):
    """Layer t reads layer t of the backbone (FocusVLA, section 3.3, on VLA-Adapter's policy).

    The latents, one an action, start from learned numbers. VLA-Adapter's code starts from zeros, with
    noise while it trains: without its rotary places, equal latents would plan equal actions.

    Args:
        config: Settings.
        sizes: What the head is built for.
    """

    def __init__(self, config: FocusConfig, sizes: ChunkSizes) -> None:
        super().__init__()
        self.config, width = config, sizes.width
        start = sizes.action_size * width
        self.latents = nn.Parameter(0.02 * torch.randn(sizes.chunk_length, start))
        self.enter = nn.Sequential(nn.LayerNorm(start), nn.Linear(start, width), nn.ReLU())
        if "ds" in config.sources:
            self.raw = nn.Linear(sizes.raw_width, width)
        self.blocks = nn.ModuleList(FocusBlock(width, config) for _ in range(sizes.layers))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sizes.action_size))

    def loss(
        self, context: Context, windows: Windows, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Mean absolute error."""
        return {"total": windows.mean((self._regress(context)[0] - windows.chunks).abs())}

    def noise_size(self) -> Sequence[int]:
        """None."""
        return ()

    def sample(self, context: Context, noise: Tensor, sampling: Settings) -> Tensor:
        """The regressed chunk."""
        return self._regress(context)[0]

    def attention(self, context: Context) -> dict[str, Tensor]:
        """The visual attention of actions, with `pool2x2` on the coarser grid.

        Returns:
            `vision`, the mean weight of a token over heads, actions and layers; `layer 1` and so on,
            that of a layer; `kept`, how often a token has any. Weights sum to 1 with cascaded attention,
            and to vision's share of the one softmax with mixed attention.
        """
        layers = self._regress(context)[1]
        if not layers:
            return {}
        maps = {f"layer {n}": weights.mean((1, 2)) for n, weights in enumerate(layers, start=1)}
        stacked = torch.stack(layers)
        maps = {"vision": stacked.mean((0, 2, 3)), **maps}
        maps["kept"] = (stacked > 0).float().mean((0, 2, 3))
        grid = self._grid(context)
        return {name: weights.reshape(-1, *grid) for name, weights in maps.items()}

    def _regress(self, context: Context) -> tuple[Tensor, list[Tensor]]:
        """Chunks (B, P, A), and each layer's weights of vision (B, heads, P, Nv)."""
        x = self.enter(self.latents).expand(len(context.proprioception), -1, -1)
        sources = self._sources(context)
        keys, values = (sources[name] for name in self.config.sources)
        found = []
        for t, block in enumerate(self.blocks):
            queries = torch.cat([context.queries[t + 1], context.proprioception], dim=1)
            x, weights = block(x, Seen(queries, keys[t], values[t]))
            found.append(weights)
        return self.leave(x), found

    def _sources(self, context: Context) -> dict[str, Sequence[Tensor]]:
        """What each source says at each layer."""
        layers = len(self.blocks)
        names = set(self.config.sources)
        made: dict[str, Sequence[Tensor]] = {}
        if "vlm" in names:
            made["vlm"] = [self._pooled(v, context) for v in context.vision[1:]]
        if "llm_input" in names:
            made["llm_input"] = [self._pooled(context.vision[0], context)] * layers
        if "ds" in names:
            made["ds"] = [self._pooled(self.raw(context.raw_vision), context)] * layers
        return made

    def _pooled(self, vision: Tensor, context: Context) -> Tensor:
        """Visual tokens, or the means of four neighbours in their view."""
        if not self.config.pool2x2:
            return vision
        views, rows, columns = self._grid(context)
        parted = vision.reshape(len(vision), views, rows, 2, columns, 2, vision.shape[-1])
        return parted.mean((3, 5)).flatten(1, 3)

    def _grid(self, context: Context) -> tuple[int, int, int]:
        """Views, rows and columns of the visual tokens that are attended to."""
        views, rows, columns = context.grid
        if not self.config.pool2x2:
            return context.grid
        if rows % 2 or columns % 2:
            raise UserError(
                f"head.pool2x2=true: expected an even grid of visual tokens, found {rows} x {columns}; "
                "use --set head.pool2x2=false"
            )
        return views, rows // 2, columns // 2
