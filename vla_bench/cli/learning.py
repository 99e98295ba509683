"""Commands about learned policies: demonstrations, training, costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vla_bench.cli.shared import console, pairs
from vla_bench.errors import UserError

if TYPE_CHECKING:
    from vla_bench.policies.learned.recipe import Recipe

commands = typer.Typer()


@commands.command()
def collect(
    suite: Annotated[str, typer.Option(help="Name of a suite, or path of its card.")],
    out: Annotated[Path, typer.Option(help="Folder of the files, one per task.")],
    policy: Annotated[str, typer.Option(help="Name of an expert, or path of its card.")] = "expert",
    tasks: Annotated[str, typer.Option(help="Comma-separated tasks; all if left out.")] = "",
    episodes: Annotated[int, typer.Option(help="Successful episodes per task.")] = 100,
    noise: Annotated[
        float, typer.Option(help="Noise on the executed actions, a fraction of full scale.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    image_size: Annotated[
        int | None, typer.Option(help="Pixels on a side of the images; as rendered if left out.")
    ] = None,
    image_every: Annotated[
        int, typer.Option(help="Keep the images of one step in so many; 0 keeps none.")
    ] = 1,
    novice: Annotated[
        Path | None,
        typer.Option(help="Weights of a policy that plays first, until the expert takes over."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value overrides an option of the suite's card."),
    ] = None,
) -> None:
    """Collects demonstrations: an expert on a suite's train split, with noise on its actions."""
    from vla_bench.learning import progress
    from vla_bench.learning.collect import CollectSpec
    from vla_bench.learning.collect import collect as collect_files

    spec = CollectSpec(
        suite=suite,
        out=out,
        policy=policy,
        tasks=[task for task in tasks.split(",") if task],
        episodes=episodes,
        noise=noise,
        seed=seed,
        options=pairs(settings or []),
        novice=novice,
        image_size=image_size,
        image_every=image_every,
    )
    with progress.shown(console) as on_progress:
        files = collect_files(spec, on_progress)
    console.print(f"{len(files)} files in {out}", soft_wrap=True, highlight=False)


@commands.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or path of its file.")],
    demonstrations: Annotated[
        Path | None,
        typer.Option(help="File or folder; the suite's expert is recorded if left out."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Weights folder; results/weights/RECIPE if left out.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value overrides an entry, e.g. training.updates=100."),
    ] = None,
) -> None:
    """Trains a policy's weights by a recipe, or goes on with an interrupted training."""
    from vla_bench.learning.recipes import builds_on
    from vla_bench.policies.learned.recipe import load_recipe

    loaded = load_recipe(recipe, pairs(settings or []))
    for earlier in builds_on(loaded, records=demonstrations is None):
        console.print(f"{earlier.name} comes first: {earlier.description}", highlight=False)
        _follow(earlier, None, None)
    made = _follow(loaded, demonstrations, out)
    console.print(
        f"weights: {made}; `vla-bench run --policy {loaded.policy} --suite {loaded.suite} "
        f"--weights {made}`",
        soft_wrap=True,
        highlight=False,
    )


def _follow(recipe: Recipe, demonstrations: Path | None, out: Path | None) -> Path:
    """Records what a recipe asks for unless it is given, then trains."""
    from vla_bench.learning import progress, recipes

    if demonstrations is None:
        with progress.shown(console) as on_episode:
            demonstrations = recipes.collect_for(recipe, on_episode)
    with progress.training(recipe.training.updates, console) as on_update:
        return recipes.make_weights(recipe, demonstrations, out, on_update)


@commands.command()
def profile(
    policy: Annotated[str, typer.Option(help="Name of a learned policy, or path of its card.")],
    suite: Annotated[
        str | None, typer.Option(help="Name of a suite; ms-hab-mini, at full size ms-hab.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Checkpoint; a run's, or else random weights, if left out.")
    ] = None,
    full_size: Annotated[
        bool, typer.Option("--full-size", help="The recipe with the full-size backbone.")
    ] = False,
    batch: Annotated[int, typer.Option(help="Queries answered by one call.")] = 1,
    queries: Annotated[int, typer.Option(help="Calls timed; 0 only counts.")] = 20,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value overrides the policy's card or the recipe."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="File to write the figures to.")] = None,
) -> None:
    """Counts parameters and FLOPs of a policy, and times its queries."""
    from vla_bench.reports import costs

    try:
        from vla_bench.policies.learned.kept_profiles import keep_profile
        from vla_bench.policies.learned.profile import profile_policy
        from vla_bench.policies.learned.subject import ProfileSpec
    except ModuleNotFoundError as error:
        raise UserError(
            f"profile needs the module {error.name!r}; run `pip install 'vla-bench[learning]'`"
        ) from None
    spec = ProfileSpec(policy, suite, weights, full_size, batch, queries, pairs(settings or []))
    measured = profile_policy(spec)
    table = Table(title=costs.title(measured), show_header=False)
    for row in costs.rows(measured):
        table.add_row(*row)
    console.print(table)
    for note in costs.footnotes(measured):
        console.print(note, soft_wrap=True, highlight=False)
    if measured.quoted:
        table = Table("figure", "quoted", "here", "why", title=costs.QUOTED)
        for comparison in costs.quoted_rows(measured):
            table.add_row(*comparison)
        console.print(table)
    if json is not None:
        json.write_text(measured.model_dump_json(indent=1) + "\n")
    if kept := keep_profile(measured):
        console.print(f"kept for `--delay measured:DEVICE`: {kept}", soft_wrap=True)
