"""Parameters that the FocusVLA paper reports, beside those of our reconstruction of it."""

from __future__ import annotations

from vla_bench.policies.learned.quoted import Comparison, Counted, printed

PAPER = "focusvla"
RANK = 64
"""Of VLA-Adapter's low-rank adapters, whose training the paper follows."""


def compare(ours: Counted) -> list[Comparison]:
    """The paper's figures beside ours."""
    adapters = ours.parameters["backbone"].trainable
    head = ours.parameters["head"].trainable
    return [
        _row(
            "policy",
            head,
            "the paper does not list its parts; ours add up to it with one query projection for three "
            "attentions, one layer each to fuse, to gate and to feed forward, and one for raw features",
        ),
        _row(
            "VLM (LoRA)",
            adapters,
            f"rank {RANK} on every linear layer of the published modules, unread ones included, is "
            f"{published_adapters() / 1e6:.1f} M; ours has no layers whose output is never read, has the "
            "towers' queries, keys and values apart, and counts action queries and state",
        ),
        _row("all trainable", head + adapters, "the sum of both"),
    ]


def _row(part: str, count: int, why: str) -> Comparison:
    figure = printed(PAPER, "Table 3", "parameters", part=part)
    return Comparison(
        figure=f"trainable parameters, {part}, M",
        quoted=figure.number,
        ours=count / 1e6,
        why=why,
        source=figure.citation,
    )


def published_adapters() -> int:
    """Adapters of rank 64 on every linear layer of VLA-Adapter's modules as they were published.

    The towers are timm's: 24 and 27 blocks with queries, keys and values in one layer, SigLIP with its
    pooling head. The language model is Qwen2.5-0.5B with its output layer.
    """
    dino = 24 * _block(1024, 4096)
    # One block more, but its queries are of a single learned token and apart from keys and values.
    pooling = _block(1152, 4304) - _pair(1152, 3 * 1152) + _pair(1152, 1152) + _pair(1152, 2 * 1152)
    siglip = 27 * _block(1152, 4304) + pooling
    projector = _pair(2176, 4 * 2176) + _pair(4 * 2176, 896) + _pair(896, 896)
    language = 24 * (2 * _pair(896, 896) + 2 * _pair(896, 128) + 3 * _pair(896, 4864))
    return dino + siglip + projector + language + _pair(896, 151_936)


def _pair(inputs: int, outputs: int) -> int:
    return RANK * (inputs + outputs)


def _block(width: int, hidden: int) -> int:
    return _pair(width, 3 * width) + _pair(width, width) + 2 * _pair(width, hidden)
