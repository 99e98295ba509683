"""Who sees whom in the sequence [prompt | state | actions] of a language model."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def sequence_mask(padding: Tensor, actions: int, action_attn: Literal["bidir", "causal"]) -> Tensor:
    """A causal mask, except that action tokens may see each other both ways.

    Padding is seen by itself alone, so that no row is without a token to see.

    Args:
        padding: bool (B, n), of the whole sequence, action tokens last.
        actions: Number of action tokens.
        action_attn: Whether action tokens see later ones.

    Returns:
        Float32 (B, 1, n, n): 0, or minus infinity where a token (row) does not see another one (column).
    """
    tokens = padding.shape[1]
    seen = torch.ones(tokens, tokens, dtype=torch.bool, device=padding.device).tril()
    if action_attn == "bidir":
        seen[tokens - actions :, tokens - actions :] = True
    itself = torch.eye(tokens, dtype=torch.bool, device=padding.device)
    allowed = (seen & ~padding[:, None]) | itself
    return torch.zeros(allowed.shape, device=padding.device).masked_fill(~allowed, float("-inf"))[
        :, None
    ]
