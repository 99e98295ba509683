"""All perturbations by name, and what a user may write: `NAME:LEVEL`, comma-separated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from vla_bench.errors import UserError, nearest
from vla_bench.items import CLEAN, WorkItem
from vla_bench.perturbations.base import Perturbation
from vla_bench.perturbations.boundary import (
    ActionNoise,
    ImageNoise,
    Paraphrase,
    ProprioceptionNoise,
)
from vla_bench.perturbations.world import Background, Lighting, PushBase, PushObject, ShiftedCamera

if TYPE_CHECKING:
    from vla_bench.cards import SuiteCard
    from vla_bench.suites.base import Suite

KINDS: dict[str, type[Perturbation]] = {
    kind.name: kind
    for kind in (
        ActionNoise,
        ProprioceptionNoise,
        ImageNoise,
        Paraphrase,
        PushBase,
        PushObject,
        ShiftedCamera,
        Lighting,
        Background,
    )
}
LEVELS = (1, 2, 3)
HEADER = ("name", "what", "levels", "where")


def make_perturbation(item: WorkItem, suite: SuiteCard) -> Perturbation:
    """The perturbation of an item; of a clean one that which changes nothing."""
    if item.perturbation == CLEAN:
        return Perturbation(item, suite)
    kind, level = kind_and_level(item.perturbation)
    return kind(item, suite, level)


def kind_and_level(text: str) -> tuple[type[Perturbation], int]:
    """What `NAME:LEVEL` stands for.

    Raises:
        UserError: It stands for nothing.
    """
    name, _, level = text.partition(":")
    if name not in KINDS:
        raise UserError(
            f"--perturb {text}: no perturbation {name!r}; {nearest(name, KINDS)} "
            f"See `vla-bench list perturbations`"
        )
    if level not in map(str, LEVELS):
        raise UserError(f"--perturb {text}: expected a level 1, 2 or 3; use --perturb {name}:1")
    return KINDS[name], int(level)


def allowed(suite: Suite) -> list[str]:
    """Names of the perturbations that a suite can be put under."""
    return [
        name for name, kind in KINDS.items() if not kind.of_world or name in suite.perturbations
    ]


def arms(wanted: Iterable[str], suite: Suite) -> Sequence[str]:
    """The perturbations that a user asks for, sorted, each once.

    Raises:
        UserError: One is unknown, or the suite does not allow it.
    """
    known = allowed(suite)
    for text in wanted:
        name = kind_and_level(text)[0].name
        if name not in known:
            raise UserError(
                f"--perturb {text}: {suite.card.name} has no {name}; it allows {', '.join(known)}"
            )
    return sorted(set(wanted))


def rows(suite: Suite | None = None) -> list[tuple[str, ...]]:
    """The perturbations in words, in the order of `HEADER`; of one suite those that it allows."""
    names = list(KINDS) if suite is None else allowed(suite)
    return [
        (
            name,
            KINDS[name].description,
            "\n".join(f"{level}: {KINDS[name].said(level)}" for level in LEVELS),
            "simulators that can" if KINDS[name].of_world else "every suite",
        )
        for name in names
    ]
