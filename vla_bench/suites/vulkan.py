"""Finds out whether SAPIEN can render here."""

from __future__ import annotations

from vla_bench.errors import UserError

VULKAN_FIX = (
    "install a Vulkan driver: with a GPU its vendor's; without one Mesa 23 or newer, on Debian 12 "
    "`apt-get install -t bookworm-backports mesa-vulkan-drivers`, elsewhere "
    "`apt-get install mesa-vulkan-drivers`"
)


def probe() -> str:
    """Says which device renders.

    Raises:
        RuntimeError: There is none.
    """
    import sapien
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    system = sapien.render.RenderSystem(sapien.Device(device))
    return f"SAPIEN renders on {system.device.name}"


def require_vulkan() -> None:
    """Raises UserError with the fix if SAPIEN finds no Vulkan driver; it needs one even for state."""
    try:
        probe()
    except RuntimeError as error:
        raise UserError(f"SAPIEN cannot render here ({error}); {VULKAN_FIX}") from None
