"""Whether a run's items are those that its manifest and the suite's protocol ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vla_bench.cards import SuiteCard
from vla_bench.errors import UserError, first_line
from vla_bench.items import CLEAN, WorkItem, derive_seed, group_by_task, items_digest
from vla_bench.registry import make_suite
from vla_bench.reports.leaderboard.checks.submission import ITEMS, MANIFEST, Submission


def problems(run: Submission) -> Iterator[str]:
    """Digests, seeds, and whether the episodes are the first ones of every trial; one line each."""
    yield from _digests(run)
    for task, items in group_by_task(run.items).items():
        if task not in run.manifest.suite.tasks:
            yield f"{ITEMS}: task {task}: expected a task of {run.manifest.suite.name}"
            continue
        clean = [item for item in items if item.perturbation == CLEAN]
        yield from _first_of_every_trial(task, clean)
        yield from _said_by_the_card(run, task, clean)
        without = sum(item.clean_digest not in run.by_digest for item in items)
        if without:
            yield f"{ITEMS}: {task}: {without} perturbed items lack the clean one beside them"


def compared_with_suite(run: Submission, card: SuiteCard) -> tuple[list[str], str]:
    """Compares the items with those that the suite makes here.

    Args:
        run: The submission.
        card: The suite's card as it is here.

    Returns:
        One line per problem, and why it could not be checked; empty if it could.
    """
    try:
        suite = make_suite(card)
        suite.prepare()
        found = [
            line
            for task, items in group_by_task(run.items).items()
            if task in card.tasks
            for line in _unlike(task, items, suite.items(task, seed=run.manifest.seed))
        ]
    except UserError as error:
        return [], f"initial states against {card.name}'s own: {first_line(error)}"
    return found, ""


def _digests(run: Submission) -> Iterator[str]:
    if len(run.by_digest) < len(run.items):
        yield f"{ITEMS}: {len(run.items) - len(run.by_digest)} items stand there twice"
    made = {task: items_digest(part) for task, part in group_by_task(run.items).items()}
    for task in {**run.manifest.items, **made}:
        expected, found = made.get(task, "no item"), run.manifest.items.get(task, "nothing")
        if expected != found:
            yield f"{MANIFEST}: items.{task}: expected {expected} of {ITEMS}, found {found}"


def _first_of_every_trial(task: str, items: Sequence[WorkItem]) -> Iterator[str]:
    """Episodes that were picked are no sample of the protocol."""
    places = {(item.trial, item.index) for item in items}
    trials = 1 + max((trial for trial, _ in places), default=-1)
    episodes = 1 + max((index for _, index in places), default=-1)
    absent = [(t, i) for t in range(trials) for i in range(episodes) if (t, i) not in places]
    if absent:
        trial, index = absent[0]
        yield (
            f"{ITEMS}: {task}: expected the first {episodes} episodes of {trials} trials, found none for "
            f"trial {trial}, index {index}, and {len(absent)} lacking in all"
        )


def _said_by_the_card(run: Submission, task: str, items: Sequence[WorkItem]) -> Iterator[str]:
    card, seed = run.manifest.suite, run.manifest.seed
    suite = card.suite_of(task)
    for item in items:
        expected = {
            "suite": suite,
            "version": card.version,
            "instruction": card.tasks[task].instruction,
            "seed": derive_seed(seed, suite, task, item.trial, item.index),
        }
        for name, value in expected.items():
            if getattr(item, name) != value:
                where = f"{ITEMS}: {task}/{item.trial}/{item.index}"
                yield f"{where}: {name}: expected {value}, found {getattr(item, name)}"


def _unlike(task: str, items: Sequence[WorkItem], made: Sequence[WorkItem]) -> Iterator[str]:
    expected = {(item.trial, item.index): item for item in made}
    for item in items:
        where = f"{ITEMS}: {task}/{item.trial}/{item.index}"
        ours = expected.get((item.trial, item.index))
        if ours is None:
            yield f"{where}: the protocol has no such episode"
        elif item.perturbation == CLEAN and item.initial_state != ours.initial_state:
            yield (
                f"{where}: initial_state: expected {dict(ours.initial_state)}, "
                f"found {dict(item.initial_state)}"
            )
