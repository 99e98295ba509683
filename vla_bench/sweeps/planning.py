"""From a sweep to its points: everything is checked, nothing is trained or played."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vla_bench.cards import PolicyCard, SuiteCard, load_card
from vla_bench.errors import UserError, nearest
from vla_bench.items import WorkItem, digest, items_digest
from vla_bench.registry import make_suite
from vla_bench.runs import RunSpec, plan_run
from vla_bench.sweeps.card import RECIPE, Arm, Sweep, Value, place, written
from vla_bench.sweeps.points import SUITE, Choices, Point, SweepPlan, Training

OF_THE_RUN = {"horizon": 1, "batch": 1, "delay": 0}
"""Options of a run rather than of a card, and their least values."""


def plan_sweep(sweep: Sweep) -> SweepPlan:
    """Checks a sweep and lists its points. Trains and plays nothing.

    Raises:
        UserError: Anything the user has to mend first; what depends on weights that are yet to be
            trained shows only when they are played.
    """
    suite = load_card(SuiteCard, sweep.suite)
    points = [
        point
        for arm in sweep.arms
        for value in sweep.values_of(arm)
        for point in _points(sweep, suite, arm, value)
    ]
    _check_claims(sweep, points)
    return SweepPlan(sweep, suite, points, _items(suite, points))


def _points(sweep: Sweep, suite: SuiteCard, arm: Arm, value: Value | None) -> Iterator[Point]:
    try:
        policy = load_card(PolicyCard, arm.policy)
        choices = _sorted(sweep.settings(arm, value), arm, policy, suite)
        cards = [policy.override(choices.policy).digest, suite.override(choices.suite).digest]
        run = {"seed": sweep.seed, "batch": sweep.batch, **choices.run}
        for training in _trainings(sweep, arm, choices):
            identity = digest([*cards, run, training.out.name if training else ""], 8)
            yield Point(sweep, arm, value, choices, training, identity)
    except UserError as error:
        raise UserError(f"sweep {sweep.name}, {place(arm.label, value)}: {error}") from None


def _sorted(
    settings: Mapping[str, Value], arm: Arm, policy: PolicyCard, suite: SuiteCard
) -> Choices:
    of_policy = [*policy.options, "temporal_ensembling"]
    of_suite = [SUITE + name for name in suite.options]
    choices = Choices()
    for key, value in settings.items():
        if key in OF_THE_RUN:
            # A delay of 0 is left out, so that the run is that of a sweep without one.
            if count := _count(key, value):
                choices.run[key] = count
        elif key.startswith(RECIPE):
            if arm.recipe is None:
                raise UserError(f"{key} is an option of a recipe, and the arm trains none")
            choices.recipe[key.removeprefix(RECIPE)] = written(value)
        elif key in of_suite:
            choices.suite[key.removeprefix(SUITE)] = written(value)
        elif key in of_policy:
            choices.policy[key] = written(value)
        else:
            known = [*OF_THE_RUN, *of_policy, *of_suite]
            raise UserError(f"{policy.name} has no option {key!r}; {nearest(key, known)}")
    return choices


def _count(key: str, value: Value) -> int:
    least = OF_THE_RUN[key]
    if type(value) is not int or value < least:
        raise UserError(f"{key}={value}: expected a whole number from {least}, such as 4")
    return value


def _trainings(sweep: Sweep, arm: Arm, choices: Choices) -> Iterator[Training | None]:
    """One training per seed, or None where the weights are there already."""
    if arm.recipe is None:
        yield None
        return
    try:
        from vla_bench.policies.learned.recipe import load_recipe
    except ModuleNotFoundError as error:
        raise UserError(
            f"training needs the module {error.name!r}; run `pip install 'vla-bench[learning]'`"
        ) from None
    for seed in sweep.training_seeds:
        recipe = load_recipe(arm.recipe, {**choices.recipe, "training.seed": str(seed)})
        if (recipe.policy, recipe.suite) != (arm.policy, sweep.suite):
            raise UserError(
                f"recipe {recipe.name} is for {recipe.policy} on {recipe.suite}, not for "
                f"{arm.policy} on {sweep.suite}; see `vla-bench list recipes`"
            )
        horizon = choices.run.get("horizon", 1)
        if horizon > recipe.chunk_length:
            raise UserError(
                f"horizon {horizon}: recipe {recipe.name} plans chunks of {recipe.chunk_length} "
                f"actions; use 1 to {recipe.chunk_length}"
            )
        yield Training(recipe)


def _check_claims(sweep: Sweep, points: Sequence[Point]) -> None:
    places = {point.place for point in points}
    for claim in sweep.claims:
        for name in sorted({*claim.plus, *claim.minus} - places):
            raise UserError(
                f"sweep {sweep.name}: a claim is about {name!r}, which is no point of it; "
                f"{nearest(name, places)}"
            )


def _items(suite: SuiteCard, points: Sequence[Point]) -> list[WorkItem]:
    """The items that all points play.

    Raises:
        UserError: Two points play different episodes, so that they cannot be compared.
    """
    items_of: dict[str, list[WorkItem]] = {}
    for point in points:
        key = digest(point.choices.suite)
        if point.training is None:
            items_of[key] = list(plan_run(point.spec).items)
        elif key not in items_of:
            items_of[key] = _items_of(point.spec, suite.override(point.choices.suite))
        wanted = next(iter(items_of.values()))
        if items_digest(items_of[key]) != items_digest(wanted):
            raise UserError(
                f"{point.name} plays other episodes than {points[0].place}; sweep an option that "
                f"leaves the episodes as they are"
            )
    return wanted


def _items_of(spec: RunSpec, suite: SuiteCard) -> list[WorkItem]:
    made = make_suite(suite)
    made.prepare()
    for task in spec.tasks:
        if task not in suite.tasks:
            raise UserError(f"no task {task!r} in {suite.name}; {nearest(task, suite.tasks)}")
    return [
        item
        for task in suite.tasks
        if task in spec.tasks or not spec.tasks
        for item in made.items(task, seed=spec.seed, episodes=spec.episodes, trials=spec.trials)
    ]
