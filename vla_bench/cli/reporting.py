"""Commands that compare and report."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from vla_bench.cli.shared import (
    EXIT_INCOMPLETE,
    EXIT_NOT_COMPARABLE,
    EXIT_OK,
    EXIT_USER_ERROR,
    console,
    pairs,
    show,
)
from vla_bench.errors import UserError

commands = typer.Typer()
leaderboard = typer.Typer(help="Builds the leaderboard; checks a run for it.", no_args_is_help=True)
commands.add_typer(leaderboard, name="leaderboard")


@commands.command()
def sweep(
    names: Annotated[
        list[str] | None, typer.Argument(help="Ready sweeps, or paths of .toml files.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Instead of a name: sweeps this policy.")
    ] = None,
    suite: Annotated[str | None, typer.Option(help="On this suite.")] = None,
    option: Annotated[
        str | None, typer.Option(help="horizon, batch, delay, a policy option, or suite.OPTION.")
    ] = None,
    values: Annotated[str, typer.Option(help="Comma-separated values of the option.")] = "",
    delay: Annotated[
        str, typer.Option(help="Reaction delays, e.g. 0,1,2; short for --option delay --values.")
    ] = "",
    tasks: Annotated[str, typer.Option(help="Comma-separated tasks; all if left out.")] = "",
    episodes: Annotated[int | None, typer.Option(help="Episodes per task and trial.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials per task.")] = None,
    batch: Annotated[int, typer.Option(help="Episodes planned together.")] = 1,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value fixes another option.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Weights of the policy.")] = None,
    processes: Annotated[
        int | None, typer.Option(help="Trainings or runs at a time; one per core if left out.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few episodes and updates, to see that all works.")
    ] = False,
    report_only: Annotated[
        bool,
        typer.Option(
            "--report-only", help="Play nothing: reports from what is kept in results/sweeps."
        ),
    ] = False,
    out: Annotated[Path, typer.Option(help="Reports folder.")] = Path("reports"),
) -> None:
    """Plays one option over values on the same items; ends in a table and a figure; resumes."""
    from vla_bench import sweeps
    from vla_bench.reports.sweeps import kept, pages, results

    flags = sweeps.Flags(
        policy=policy,
        suite=suite,
        option=option,
        values=tuple(value for value in values.split(",") if value),
        tasks=tuple(task for task in tasks.split(",") if task),
        episodes=episodes,
        trials=trials,
        batch=batch,
        options=pairs(settings or []),
        weights=weights,
    )
    chosen = sweeps.choose(*sweeps.with_delays(names or [], flags, delay), quick=quick)
    if not report_only:
        plans = [sweeps.plan_sweep(sweep) for sweep in chosen]
        sweeps.run_sweeps(
            plans,
            (os.cpu_count() or 1) if processes is None else processes,
            lambda now: console.print(str(now), soft_wrap=True, highlight=False),
        )
        for plan in plans:
            kept.keep(plan, shlex.join(["vla-bench", *sys.argv[1:]]))
    for sweep in chosen:
        found = results.SweepResults(sweep, kept.read_kept(sweep))
        page, *_ = pages.write_report(found, out / "sweeps")
        console.print(f"report: {page}", soft_wrap=True, highlight=False)


@commands.command()
def report(
    run_folders: Annotated[
        list[Path] | None, typer.Argument(help="Run folders; all under results/runs if left out.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report of all of them: Markdown, HTML, CSV, LaTeX, figures."
        ),
    ] = None,
) -> None:
    """Shows the success table of each run and writes it beside the run; with --out, one report of all."""
    from vla_bench.reports.measured import read_runs

    folders = run_folders or sorted(p.parent for p in Path("results/runs").glob("*/manifest.json"))
    if not folders:
        raise UserError("no run under results/runs; start one with `vla-bench run`")
    runs = read_runs(folders)
    if out is None:
        missing = sum([show(run) for run in runs])
    else:
        from vla_bench.reports import page

        missing = sum(run.missing for run in runs)
        written = page.write(page.build(runs), out)
        console.print(f"report: {written}", soft_wrap=True, highlight=False)
    raise typer.Exit(EXIT_INCOMPLETE if missing else EXIT_OK)


@commands.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Run folder.")],
    second: Annotated[Path, typer.Argument(help="Run folder; differences are second less first.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for a page, Markdown, CSV and LaTeX of it all.")
    ] = None,
    films: Annotated[
        int, typer.Option(min=0, help="So many items that one run solves, both runs side by side.")
    ] = 0,
) -> None:
    """Compares two runs item by item. Exit status 6: they are not comparable, and it says why."""
    from vla_bench.reports.compare import comparison, pages
    from vla_bench.reports.compare.films import film

    if films and out is None:
        raise UserError(f"--films {films}: the films need a folder; add --out DIR")
    compared = comparison.compare(first, second)
    pages.show(compared, console)
    if out is not None:
        shown = []
        for one in film(compared, films, out):
            console.print(f"film: {one}", soft_wrap=True, highlight=False, markup=False)
            shown.append(one)
        page = pages.write(compared, shown, out)
        console.print(f"page: {page}", soft_wrap=True, highlight=False)
    raise typer.Exit(EXIT_OK if compared.comparable else EXIT_NOT_COMPARABLE)


@leaderboard.command("build")
def build_leaderboard(
    results: Annotated[
        Path, typer.Option(help="Folder with runs, elsewhere and published in it.")
    ] = Path("results"),
    out: Annotated[Path, typer.Option(help="Folder of the site.")] = Path("reports/leaderboard"),
) -> None:
    """Writes the site: runs made here, runs made elsewhere that pass the check, published numbers."""
    from vla_bench.reports.leaderboard.site import build

    files = build(results, out)
    console.print(f"{len(files)} files: {out / 'index.html'}", soft_wrap=True, highlight=False)


@leaderboard.command("check")
def check_submission(
    path: Annotated[Path, typer.Argument(help="Run folder, or a .csv file of quoted numbers.")],
    results: Annotated[
        Path, typer.Option(help="Our results; world probes are compared with those of its runs.")
    ] = Path("results"),
) -> None:
    """Says what is wrong with a run made elsewhere, one line each; exit status 1 if anything is."""
    from vla_bench.reports.leaderboard.checks.check import check

    found = check(path, results)
    for line in found.problems:
        console.print(f"problem: {line}", soft_wrap=True, highlight=False, markup=False)
    for line in found.unchecked:
        console.print(f"not checked: {line}", soft_wrap=True, highlight=False, markup=False)
    what = f"{path}: {found.checked + ', ' if found.checked else ''}{len(found.problems)} problems"
    console.print(what, soft_wrap=True, highlight=False, markup=False)
    raise typer.Exit(EXIT_USER_ERROR if found.problems else EXIT_OK)
