"""From a recipe to weights: collects the demonstrations if there are none, then trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vla_bench.errors import UserError, nearest
from vla_bench.items import digest
from vla_bench.learning.collect import CollectSpec, OnProgress, collect
from vla_bench.learning.demonstrations import Demonstration, load_demonstrations
from vla_bench.learning.training import OnUpdate, finished, train
from vla_bench.policies.learned.checkpoint import LOCAL
from vla_bench.policies.learned.recipe import Recipe, load_recipe

DEMONSTRATIONS = Path("results") / "demonstrations"


def collect_for(recipe: Recipe, on_progress: OnProgress) -> Path:
    """Records the demonstrations that a recipe asks for, once for all recipes that ask for the same.

    Returns:
        Their folder.

    Raises:
        UserError: The recipe learns from published files.
    """
    if recipe.data.published:
        raise UserError(
            f"{recipe.name} learns from published demonstrations, in the {recipe.data.layout} layout; "
            "give the folder with their files with --demonstrations"
        )
    folder = demonstrations_folder(recipe)
    plain = _collection(recipe, folder / "expert")
    collect(plain, on_progress)
    if recipe.data.novice:
        weights = _weights_of(recipe.data.novice, on_progress)
        further = replace(plain, out=folder / "after-novice", novice=weights, seed=plain.seed + 1)
        collect(further, on_progress)
    return folder


def make_weights(
    recipe: Recipe, demonstrations: Path, out: Path | None = None, on_update: OnUpdate | None = None
) -> Path:
    """Trains a recipe's weights; goes on where an earlier start was interrupted.

    Args:
        recipe: The recipe, overrides applied.
        demonstrations: File or folder.
        out: Checkpoint folder; None for `results/weights/<recipe>`.
        on_update: Told about every update.

    Returns:
        The checkpoint folder.

    Raises:
        UserError: Anything the user has to mend first.
    """
    out = out or LOCAL / recipe.name
    if finished(out, recipe):
        return out
    loaded = load_demonstrations(
        demonstrations,
        layout=recipe.data.layout,
        cameras=recipe.inputs.images,
        image_size=recipe.data.image_size,
        limit=recipe.data.per_task,
    )
    chosen = _of_tasks(loaded, recipe, demonstrations)
    start = recipe.training.start
    earlier = _weights_of(start, lambda _: None) if start else None
    return train(recipe, chosen, out, on_update, earlier)


def builds_on(recipe: Recipe, records: bool = True) -> list[Recipe]:
    """Recipes whose weights this one needs and which are not trained yet, in the order to train them.

    Args:
        recipe: The recipe.
        records: Whether its demonstrations are recorded too, which may take a novice.
    """
    needed: dict[str, Recipe] = {}
    novice = recipe.data.novice if records else ""
    for name in filter(None, (novice, recipe.training.start)):
        earlier = load_recipe(name)
        if not finished(LOCAL / earlier.name, earlier):
            needed |= {other.name: other for other in [*builds_on(earlier), earlier]}
    return list(needed.values())


def _weights_of(name: str, on_progress: OnProgress) -> Path:
    """The weights of a recipe that another one builds on, made now if they are not there."""
    recipe = load_recipe(name)
    out = LOCAL / recipe.name
    return out if finished(out, recipe) else make_weights(recipe, collect_for(recipe, on_progress))


def _of_tasks(loaded: list[Demonstration], recipe: Recipe, path: Path) -> list[Demonstration]:
    """Those of the tasks that the recipe names; all if it names none."""
    found = {d.task for d in loaded}
    for task in recipe.data.tasks:
        if task not in found:
            raise UserError(
                f"{path} holds no demonstrations of {task}; {nearest(task, found)} Change data.tasks, "
                "or give other --demonstrations"
            )
    return [d for d in loaded if d.task in (recipe.data.tasks or found)]


def demonstrations_folder(recipe: Recipe) -> Path:
    """Where a recipe's own demonstrations are kept: the same for recipes that ask for the same."""
    identity = digest([recipe.suite, recipe.data.model_dump()], 8)
    return DEMONSTRATIONS / f"{recipe.suite}-{identity}"


def _collection(recipe: Recipe, out: Path) -> CollectSpec:
    data = recipe.data
    return CollectSpec(
        suite=recipe.suite,
        out=out,
        tasks=data.tasks,
        episodes=data.episodes,
        noise=data.noise,
        seed=data.seed,
        options=data.suite_options,
        image_size=data.image_size,
        image_every=data.image_every,
    )
