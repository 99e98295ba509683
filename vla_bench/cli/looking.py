"""Commands about what there is: cards, the machine, assets."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table

from vla_bench.cli.shared import EXIT_OK, EXIT_USER_ERROR, console
from vla_bench.errors import UserError

commands = typer.Typer()


class Noun(StrEnum):
    """What `list` can list."""

    policies = "policies"
    suites = "suites"
    tasks = "tasks"
    recipes = "recipes"
    sweeps = "sweeps"
    perturbations = "perturbations"


@commands.command("list")
def list_(
    noun: Annotated[Noun, typer.Argument(help="What to list.")],
    suite: Annotated[
        str | None, typer.Option(help="For tasks and perturbations: those of one suite.")
    ] = None,
) -> None:
    """Lists policies, suites, tasks, recipes, sweeps or perturbations."""
    from vla_bench.cards import PolicyCard, SuiteCard, find_cards, load_card

    table = Table(show_edge=False, pad_edge=False)
    if noun is Noun.tasks:
        for column in ("suite", "task", "instruction"):
            table.add_column(column)
        for name in [suite] if suite else find_cards(SuiteCard):
            for task, card in load_card(SuiteCard, name).tasks.items():
                table.add_row(name, task, card.instruction)
    elif noun is Noun.recipes:
        from vla_bench.policies.learned.recipe import Recipe

        for column in ("name", "suite", "description"):
            table.add_column(column)
        for name in find_cards(Recipe):
            recipe = load_card(Recipe, name)
            table.add_row(name, recipe.suite, recipe.description)
    elif noun is Noun.sweeps:
        from vla_bench.sweeps import Sweep

        for column in ("name", "suite", "option", "description"):
            table.add_column(column)
        for name in find_cards(Sweep):
            sweep_card = load_card(Sweep, name)
            table.add_row(name, sweep_card.suite, sweep_card.option, sweep_card.description)
    elif noun is Noun.perturbations:
        from vla_bench.perturbations import catalogue
        from vla_bench.registry import make_suite

        for column in catalogue.HEADER:
            table.add_column(column)
        of_suite = make_suite(load_card(SuiteCard, suite)) if suite else None
        for row in catalogue.rows(of_suite):
            table.add_row(*row)
    else:
        kind = PolicyCard if noun is Noun.policies else SuiteCard
        for column in ("name", "version", "description"):
            table.add_column(column)
        for name in find_cards(kind):
            found = load_card(kind, name)
            table.add_row(name, str(found.version), found.description)
    console.print(table)


@commands.command()
def doctor() -> None:
    """Says what is installed, which renderer works, which assets are here, and what mends each lack."""
    from vla_bench.doctor import findings

    broken = False
    for finding in findings():
        mark = "[green]ok[/]" if finding.ok else "[red]no[/]"
        console.print(f"{mark}  {finding.name}: {finding.found}", soft_wrap=True, highlight=False)
        if finding.fix and not finding.ok:
            console.print(f"      {finding.fix}", soft_wrap=True, highlight=False, markup=False)
        broken = broken or (finding.required and not finding.ok)
    raise typer.Exit(EXIT_USER_ERROR if broken else EXIT_OK)


@commands.command()
def assets(
    suite: Annotated[str, typer.Argument(help="Name of a suite.")],
    yes: Annotated[bool, typer.Option("--yes", help="Accept the licences without asking.")] = False,
) -> None:
    """Downloads the files that a suite needs, after showing their licences."""
    from vla_bench.assets import describe, fetch
    from vla_bench.cards import SuiteCard, load_card
    from vla_bench.registry import make_suite

    made = make_suite(load_card(SuiteCard, suite))
    downloads = made.downloads()
    if not downloads:
        made.prepare()
        console.print(f"{suite} needs no download; its files are in {made.asset_root()}")
        return
    console.print(f"{suite} needs, in {made.asset_root()}:", soft_wrap=True)
    for line in describe(downloads):
        console.print(f"  {line}", soft_wrap=True)
    if not yes and not typer.confirm("Download them under these terms?"):
        raise UserError("nothing was downloaded; pass --yes to accept the terms")
    for download in downloads:
        console.print(f"{download.name}: {fetch(download, made.asset_root())}", soft_wrap=True)
