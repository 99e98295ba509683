"""Registers every suite with Gymnasium when imported.

`import vla_bench.environments; gymnasium.make("vla_bench/ms-hab-mini-v1", task="pick-apple")`
"""

from __future__ import annotations

import gymnasium

from vla_bench.cards import SuiteCard, find_cards, load_card
from vla_bench.registry import make_suite
from vla_bench.suites.base import SuiteEnv


def environment_id(card: SuiteCard) -> str:
    """The Gymnasium id of a suite: a changed world is a new version."""
    return f"vla_bench/{card.name}-v{card.version}"


def register() -> None:
    """Registers every suite whose card can be found."""
    for name in find_cards(SuiteCard):
        gymnasium.register(
            environment_id(load_card(SuiteCard, name)),
            entry_point="vla_bench.environments:make",
            kwargs={"suite": name},
        )


def make(suite: str, task: str | None = None, render_mode: str | None = None) -> SuiteEnv:
    """Builds an environment of a suite.

    Args:
        suite: Name of the suite.
        task: Name of the task; the suite's first if left out.
        render_mode: "rgb_array" if `render` will be called.
    """
    made = make_suite(load_card(SuiteCard, suite))
    made.prepare()
    return made.make_env(task or next(iter(made.card.tasks)), render_mode=render_mode)


register()
