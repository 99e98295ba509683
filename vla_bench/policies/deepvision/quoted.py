"""Sizes of DeepVision-VLA's parts as they are published, beside those of our reconstruction of it."""

from __future__ import annotations

from vla_bench.policies.learned.quoted import Comparison, Counted

LANGUAGE, EXPERT = "backbone.language", "backbone.coupler.expert"


def compare(ours: Counted) -> list[Comparison]:
    """The published figures beside ours, in M parameters, of the parts that there are."""
    adapters = "ours has low-rank adapters beside its linear layers"
    figures = {
        LANGUAGE: (
            "language model",
            4000.0,
            f"{adapters}; without them it is 4,022 M, which the name of the model rounds",
            "Qwen3-VL-4B, by its name",
        ),
        EXPERT: (
            "vision expert",
            800.0,
            f"{adapters}; without them DINOv3 ViT-H+ is 840 M, which a digest of the paper rounds",
            "DeepVision-VLA (arXiv 2603.15618), a digest of it",
        ),
    }
    return [
        Comparison(
            figure=f"{name}, M",
            quoted=quoted,
            ours=ours.parameters[part].total / 1e6,
            why=why,
            source=source,
        )
        for part, (name, quoted, why, source) in figures.items()
        if part in ours.parameters
    ]
