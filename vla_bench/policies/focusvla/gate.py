"""Channel-level focus (FocusVLA, eq. 11), and the gates that it is compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vla_bench.policies.focusvla.config import FocusConfig

OPEN = 4.0
"""Where an open gate starts, before its sigmoid or hyperbolic tangent."""


class Gate(nn.Module):
    """No gate at all."""

    def logits(self, scores: Tensor) -> Tensor:
        """Logits of vision from scores, any shape."""
        return scores

    def forward(self, x: Tensor, looked: Tensor) -> Tensor:
        """Weakens what vision contributes.

        Args:
            x: (B, P, width), the latents that attended.
            looked: (B, P, width), heads one after the other.
        """
        return looked


class LogitGate(Gate):
    """VLA-Adapter's gate tanh(g) on the logits (eq. 1): at g = 0 all visual tokens weigh the same."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(start))

    def logits(self, scores: Tensor) -> Tensor:
        """See `Gate.logits`."""
        return scores * torch.tanh(self.value)


class ScalarGate(Gate):
    """One sigmoid on the attended vision."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(start))

    def forward(self, x: Tensor, looked: Tensor) -> Tensor:
        """See `Gate.forward`."""
        return looked * torch.sigmoid(self.value)


class LearnedGate(Gate):
    """Sigmoids of the latents on the attended vision, after the attention (Gated Attention, 2025).

    Args:
        width: Size of a token.
        parts: Sigmoids: one a head, or one a channel.
        is_open: Whether they start nearly open, for all latents alike.
    """

    def __init__(self, width: int, parts: int, *, is_open: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(width, parts)
        if is_open:
            nn.init.zeros_(self.linear.weight)
            nn.init.constant_(self.linear.bias, OPEN)

    def forward(self, x: Tensor, looked: Tensor) -> Tensor:
        """See `Gate.forward`."""
        gate = torch.sigmoid(self.linear(x))
        parted = looked.reshape(*gate.shape, looked.shape[-1] // gate.shape[-1])
        return (parted * gate[..., None]).flatten(-2)


def make_gate(config: FocusConfig, width: int) -> Gate:
    """The gate that a config declares."""
    is_open = config.gate_init == "open"
    if config.gate == "1param":
        start = OPEN if is_open else 0.0
        return LogitGate(start) if config.one_param == "logits" else ScalarGate(start)
    if config.gate == "none":
        return Gate()
    return LearnedGate(width, config.heads if config.gate == "head" else width, is_open=is_open)
