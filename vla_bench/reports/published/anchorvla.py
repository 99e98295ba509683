"""Tables of the AnchorVLA paper: ManiSkill-HAB, denoising steps with and without anchors, residual."""

from __future__ import annotations

from collections.abc import Sequence

from vla_bench.reports.published.layout import (
    Head,
    Layout,
    Notes,
    episodes,
    number,
    setting,
)
from vla_bench.reports.published.numbers import Quoted, quoted
from vla_bench.reports.tables.table import Cell, Column

PAPER = "anchorvla"


def _task(name: str, group: str, title: str) -> Head:
    return number(name, title, group, task=name)


MS_HAB = Layout(
    name="anchorvla-table-1",
    title="ManiSkill-HAB SetTable, success in %",
    paper=PAPER,
    table="Table 1",
    rows=["method", "input", "horizon"],
    heads=[
        setting("input", "Input"),
        setting("horizon", "H", numeric=True),
        _task("pick-apple", "Pick", "Apple, fridge"),
        _task("pick-bowl", "Pick", "Bowl, counter"),
        _task("place-apple", "Place", "Apple, table"),
        _task("place-bowl", "Place", "Bowl, table"),
        _task("open-fridge", "Open", "Door, fridge"),
        _task("close-drawer", "Close", "Drawer, counter"),
        number("average", "Average", task="average"),
        episodes("episodes", "Episodes"),
    ],
    caption="Success within 200 steps: mean ± standard deviation over trials (of the trials themselves: "
    "divided by their number), in the paper three of 100 episodes. H: execution horizon. Average: mean "
    "of the tasks. Episodes: of a task.",
)

DENOISING = Layout(
    name="anchorvla-table-2",
    title="Denoising steps with and without anchors, pick bowl",
    paper=PAPER,
    table="Table 2",
    rows=["anchor", "steps"],
    heads=[
        setting("steps", "Denoising steps", numeric=True),
        number("success-rate", "Success (%)", metric="success-rate"),
        number("inference-rate", "Inference (Hz)", metric="inference-rate"),
        number("speed-up", "Speed-up", metric="speed-up"),
        episodes("episodes", "Episodes"),
    ],
    label=lambda figure: f"{figure.setting['anchor']} anchor",
    caption="Speed-up: in inference, over no anchor and 50 steps.",
)


def _parameters(figures: Sequence[Quoted], notes: Notes) -> Cell:
    """As the paper prints it: the model's, and how many of them are the residual module's."""
    [total] = [figure for figure in figures if figure.metric == "parameters"]
    if total.setting["residual"] == "w/o":
        return f"{total.value}{total.unit} (base)"
    [module] = [
        figure
        for figure in quoted(paper=PAPER, table=total.table, metric="parameters")
        if figure.setting["residual"] == "module alone"
    ]
    return f"{total.value}{total.unit} (+{module.value}{module.unit})"


RESIDUAL = Layout(
    name="anchorvla-table-3",
    title="With and without residual correction, pick bowl",
    paper=PAPER,
    table="Table 3",
    rows=["residual"],
    only={"residual": ["w/o", "w/"]},
    heads=[
        number("success-rate", "Success (%)", metric="success-rate"),
        number("inference-rate", "Inference (Hz)", metric="inference-rate"),
        Head("parameters", Column("Parameters", numeric=False), _parameters),
        episodes("episodes", "Episodes"),
    ],
    label=lambda figure: f"{figure.method} {figure.setting['residual']} residual",
)
