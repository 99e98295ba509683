"""Tables of the FocusVLA paper: LIBERO, its ablations, its tasks one by one, RoboTwin."""

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
from vla_bench.reports.published.numbers import Quoted
from vla_bench.reports.tables.table import Cell, Column

PAPER = "focusvla"
SUITES = {
    "libero-spatial": "Spatial",
    "libero-object": "Object",
    "libero-goal": "Goal",
    "libero-long": "Long",
}
"""Suite -> what the paper calls it."""
WEIGHTS = {
    "multi": "weights of its own for each suite",
    "single": "the same weights for all four suites",
}
ABLATIONS = {
    "attention": "attention pattern",
    "patch": "visual tokens kept",
    "channel": "gate",
    "representation": "visual representation",
}
TASKS = {
    "beat-block-hammer": "Beat Block Hammer",
    "blocks-ranking-rgb": "Blocks Ranking RGB",
    "click-alarmclock": "Click Alarmclock",
    "hanging-mug": "Hanging Mug",
    "move-pillbottle-pad": "Move Pillbottle Pad",
    "place-object-basket": "Place Object Basket",
    "stack-blocks-two": "Stack Blocks Two",
    "average": "Average",
}
"""RoboTwin's tasks in the paper's order -> their titles."""
DIFFICULTIES = {"easy": "Easy", "hard": "Hard"}

_SUITE_COLUMNS = [
    *(number(suite, title, suite=suite) for suite, title in SUITES.items()),
    number("average", "Average", suite="libero"),
    episodes("episodes", "Episodes"),
]

LIBERO = Layout(
    name="focusvla-table-1",
    title="LIBERO, success in %",
    paper=PAPER,
    table="Table 1",
    rows=["method", "weights"],
    heads=[setting("parameters", "Parameters"), *_SUITE_COLUMNS],
    section=lambda figure: WEIGHTS[figure.setting["weights"]],
    caption="Average: mean of the four suites. Episodes: of a suite.",
)

ABLATION = Layout(
    name="focusvla-table-2",
    title="FocusVLA's ablations on LIBERO, success in %",
    paper=PAPER,
    table="Table 2",
    rows=["ablation", "attention", "tokens", "gate", "representation"],
    heads=[
        setting("attention", "Attention"),
        setting("tokens", "Visual tokens", numeric=True),
        setting("gate", "Gate"),
        setting("representation", "Representation"),
        *_SUITE_COLUMNS,
    ],
    section=lambda figure: ABLATIONS[figure.setting["ablation"]],
    caption="DS: features of DINOv2 and SigLIP. Average: mean of the four suites. Episodes: of a suite.",
)


def _suite(figures: Sequence[Quoted], notes: Notes) -> Cell:
    return SUITES[figures[0].suite]


LIBERO_TASKS = Layout(
    name="focusvla-table-4",
    title="LIBERO task by task, success in %",
    paper=PAPER,
    table="Table 4",
    rows=["method", "suite"],
    heads=[
        Head("suite", Column("Suite", numeric=False), _suite),
        *(number(f"task {n}", str(n), "Task", task=f"task {n}") for n in range(1, 11)),
        number("average", "Average", task="average"),
        episodes("episodes", "Episodes"),
    ],
    caption="Average: mean of the ten tasks. Episodes: of a task.",
)

ROBOTWIN = Layout(
    name="focusvla-table-5",
    title="RoboTwin, success in %",
    paper=PAPER,
    table="Table 5",
    rows=["method"],
    heads=[
        *(
            number(f"{task}/{level}", head, title, task=task, difficulty=level)
            for task, title in TASKS.items()
            for level, head in DIFFICULTIES.items()
        ),
        *(
            episodes(f"episodes/{level}", head, "Episodes", difficulty=level)
            for level, head in DIFFICULTIES.items()
        ),
    ],
    tasks_as_rows=True,
    caption="Hard: with domain randomisation. Average: mean of the seven tasks. Episodes: of a task.",
)
