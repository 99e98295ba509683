"""Costs that the AnchorVLA paper reports, beside those of our reconstruction of it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from vla_bench.reports.published import Quoted, quoted

PAPER = "anchorvla"
STEPS = 200
"""Control steps of the paper's episodes."""


def printed(table: str, metric: str, **setting: str) -> Quoted:
    """The one figure of a table with this setting."""
    [figure] = [
        figure
        for figure in quoted(paper=PAPER, table=table, metric=metric)
        if setting.items() <= figure.setting.items()
    ]
    return figure


class Comparison(BaseModel):
    """One figure of the paper and ours."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    figure: str
    """What it is, with its unit."""
    quoted: float
    """What the paper reports; not measured here."""
    ours: float
    """What is counted here."""
    why: str
    """Why the two differ."""
    source: str
    """Where the quoted figure is from."""


@dataclass(frozen=True)
class Ours:
    """Our counts: parameters, FLOPs and lengths."""

    total: int
    towers: int
    language: int
    residual: int
    query: int
    correction: int
    chunk_length: int

    def episode(self, horizon: int) -> float:
        """FLOPs of an episode of the paper's length."""
        return STEPS / horizon * self.query + STEPS * self.correction


def compare(ours: Ours) -> list[Comparison]:
    """The paper's figures beside ours."""
    model = printed("Table 3", "parameters", residual="w/")
    module = printed("Table 3", "parameters", residual="module alone")
    reactive = printed("Figure 4b", "flops-per-episode", horizon="1")
    chunked = printed("Figure 4b", "flops-per-episode", horizon="5")
    return [
        Comparison(
            figure="parameters, M",
            quoted=model.number,
            ours=ours.total / 1e6,
            why=f"ours counts all; vision towers ({ours.towers / 1e6:.0f} M with adapters) and language "
            f"model ({ours.language / 1e6:.0f} M) alone are more than the quoted total",
            source=model.citation,
        ),
        Comparison(
            figure="residual parameters, K",
            quoted=module.number,
            ours=ours.residual / 1e3,
            why="the paper gives the size but not the inputs; ours are sized to match",
            source=module.citation,
        ),
        Comparison(
            figure="TFLOPs per query",
            quoted=reactive.number / STEPS,
            ours=ours.query / 1e12,
            why="the paper gives neither the denoising steps of this figure (ours: see title; its "
            f"main setting is 10: --set steps=10) nor the chunk length (ours is {ours.chunk_length}); "
            "the head's share is nearly proportional to both; nor the head's sizes, nor what counts",
            source=f"{reactive.citation}, over {STEPS} steps",
        ),
        Comparison(
            figure=f"TFLOPs per episode of {STEPS} steps, H=1",
            quoted=reactive.number,
            ours=ours.episode(1) / 1e12,
            why=f"{STEPS} times the above",
            source=reactive.citation,
        ),
        Comparison(
            figure=f"TFLOPs per episode of {STEPS} steps, H=5",
            quoted=chunked.number,
            ours=ours.episode(5) / 1e12,
            why="the quoted one is a fifth of that at H=1, so that corrections count as 0; ours adds "
            f"{STEPS * ours.correction / 1e9:.3g} GFLOPs for them",
            source=chunked.citation,
        ),
    ]
