"""Finds out whether PhysX can run on a GPU here."""

from __future__ import annotations

from zipfile import BadZipFile

from vla_bench.errors import UserError, first_line

CUDA_FIX = "install an NVIDIA driver and a CUDA build of torch"


def probe() -> str:
    """Says which GPU physics run on; SAPIEN downloads PhysX's GPU library when it is first asked to.

    Raises:
        RuntimeError: There is none.
        OSError: The library cannot be downloaded or loaded.
    """
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("torch finds none")
    from sapien import physx

    try:
        physx.enable_gpu()
    except BadZipFile as error:
        raise OSError(f"PhysX's GPU library: {error}") from None
    return f"PhysX runs on {torch.cuda.get_device_name()}"


def require_cuda(suite: str) -> None:
    """Raises UserError with the fix if a suite's physics cannot run on a GPU here."""
    try:
        probe()
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"{suite} needs a CUDA GPU for PhysX ({first_line(error)}); {CUDA_FIX}, "
            f"or use --suite {suite.removesuffix('-gpu')}"
        ) from None
