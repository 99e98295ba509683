"""Finds out whether PhysX can run on a GPU here."""

from __future__ import annotations

from vla_bench.errors import UserError

CUDA_FIX = "install an NVIDIA driver and a CUDA build of torch; suites on CPU physics need neither"


def probe() -> str:
    """Says which GPU physics would run on.

    Raises:
        RuntimeError: There is none.
    """
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("torch finds no CUDA GPU")
    return f"PhysX can run on {torch.cuda.get_device_name()}"


def require_cuda(suite: str) -> None:
    """Raises UserError with the fix if there is no CUDA GPU for a suite's physics."""
    try:
        probe()
    except RuntimeError as error:
        raise UserError(
            f"{suite} needs a CUDA GPU for PhysX ({error}); {CUDA_FIX}: "
            f"use --suite {suite.removesuffix('-gpu')}"
        ) from None
