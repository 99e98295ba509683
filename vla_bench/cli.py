"""The command line: one thin function per command."""

from __future__ import annotations

import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from vla_bench.errors import UserError

if TYPE_CHECKING:
    from vla_bench.policies.learned.recipe import Recipe
    from vla_bench.reports.measured import MeasuredRun

app = typer.Typer(
    help="Evaluates vision-language-action policies: the same number twice, with an interval.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
leaderboard = typer.Typer(help="Builds the leaderboard; checks a run for it.", no_args_is_help=True)
app.add_typer(leaderboard, name="leaderboard")
WIDTH = 120
"""Columns of tables where there is no terminal."""
EXIT_OK, EXIT_USER_ERROR, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 0, 1, 3, 130
EXIT_WORSE, EXIT_UNDECIDED, EXIT_NOT_COMPARABLE = 4, 5, 6
console = Console(width=None if sys.stdout.isatty() else WIDTH)


class Video(StrEnum):
    """Which episodes to keep a video of."""

    failures = "failures"
    all = "all"
    none = "none"


class Noun(StrEnum):
    """What `list` can list."""

    policies = "policies"
    suites = "suites"
    tasks = "tasks"
    recipes = "recipes"
    sweeps = "sweeps"
    perturbations = "perturbations"


class InputControl(StrEnum):
    """What is done to a policy's inputs, to ask whether it reads them."""

    none = "none"
    blank_images = "blank-images"
    shuffle_instructions = "shuffle-instructions"


@app.command()
def run(
    policy: Annotated[str, typer.Option(help="Name of a policy, or path of its card.")],
    suite: Annotated[str, typer.Option(help="Name of a suite, or path of its card.")],
    tasks: Annotated[str, typer.Option(help="Comma-separated tasks; all if left out.")] = "",
    episodes: Annotated[
        int | None, typer.Option(help="Episodes per task and trial; the card's number if left out.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials per task; the card's number if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    horizon: Annotated[
        int | None, typer.Option(help="Execution horizon H: actions played of each chunk.")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that simulate, on Ray; 0 runs in this one.")
    ] = 0,
    ray_address: Annotated[
        str | None,
        typer.Option(help="Ray cluster, or auto; one is started here if left out."),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(help="Policy servers that plan for all workers; 0: one policy per worker."),
    ] = None,
    step_timeout: Annotated[
        float, typer.Option(help="Seconds that one call of simulator or policy may take.")
    ] = 120.0,
    batch: Annotated[int, typer.Option(help="Episodes played at a time and planned together.")] = 1,
    delay: Annotated[
        str, typer.Option(help="Control steps from observation to chunk, or measured:DEVICE.")
    ] = "0",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value overrides an option of the policy's card."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Weights of the policy; short for --set weights=PATH.")
    ] = None,
    input_control: Annotated[
        InputControl, typer.Option(help="Takes an input away, to ask whether the policy reads it.")
    ] = InputControl.none,
    perturb: Annotated[
        str,
        typer.Option(help="Comma-separated NAME:LEVEL; every episode again under each of them."),
    ] = "",
    video: Annotated[Video, typer.Option(help="Which episodes to film.")] = Video.none,
    out: Annotated[Path | None, typer.Option(help="Run folder; resumed if it exists.")] = None,
    allow_mismatch: Annotated[
        bool, typer.Option("--allow-mismatch", help="Run although something does not fit.")
    ] = False,
) -> None:
    """Runs a policy on a suite, or resumes such a run."""
    from vla_bench import interrupts, progress, runs
    from vla_bench.execution import parallel
    from vla_bench.reports.measured import read_run

    planned = runs.plan_run(
        runs.RunSpec(
            policy=policy,
            suite=suite,
            tasks=[task for task in tasks.split(",") if task],
            episodes=episodes,
            trials=trials,
            seed=seed,
            horizon=horizon,
            batch=batch,
            parallel=parallel.chosen(workers, ray_address, step_timeout),
            replicas=replicas,
            delay=delay,
            input_control=input_control.value,
            perturbations=[name for name in perturb.split(",") if name],
            options=_pairs(settings or []),
            weights=weights,
            video=video.value,
            out=out,
            allow_mismatch=allow_mismatch,
        )
    )
    console.print(
        f"{len(planned.items)} episodes, run folder {planned.folder.path}", soft_wrap=True
    )
    with (
        progress.shown(len(planned.items), console) as shown,
        interrupts.deferred(shown.on_interrupt) as stopping,
    ):
        records = runs.execute(planned, shown.on_record, shown.on_status, stopping)
    if stopping() and len(records) < len(planned.items):
        raise KeyboardInterrupt
    _show(read_run(planned.folder.path))
    if any(record.reason == "harness_error" for record in records):
        console.print("some episodes failed in the harness: run the same command to retry them")
        raise typer.Exit(EXIT_INCOMPLETE)


@app.command("list")
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


@app.command()
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


@app.command()
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
        options=_pairs(settings or []),
        novice=novice,
        image_size=image_size,
        image_every=image_every,
    )
    with progress.shown(console) as on_progress:
        files = collect_files(spec, on_progress)
    console.print(f"{len(files)} files in {out}", soft_wrap=True, highlight=False)


@app.command()
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

    loaded = load_recipe(recipe, _pairs(settings or []))
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


@app.command()
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
        options=_pairs(settings or []),
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


@app.command()
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


@app.command()
def replay(
    run_folder: Annotated[Path, typer.Argument(help="Run folder.")],
    item: Annotated[str, typer.Argument(help="Item digest (or its start), or task/trial/index.")],
    out: Annotated[Path | None, typer.Option(help="Video to write.")] = None,
) -> None:
    """Plays one recorded item again, with a video, and compares it with its record."""
    from vla_bench.replay import replay_item

    result = replay_item(run_folder, item, out)
    console.print(f"video: {result.video}", soft_wrap=True)
    if result.differences:
        for line in result.differences:
            console.print(f"differs: {line}", soft_wrap=True)
        raise typer.Exit(EXIT_INCOMPLETE)
    console.print(f"{result.record.reason} after {result.record.steps} steps, as recorded")


@app.command()
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
    spec = ProfileSpec(policy, suite, weights, full_size, batch, queries, _pairs(settings or []))
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


@app.command()
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
        missing = sum([_show(run) for run in runs])
    else:
        from vla_bench.reports import page

        missing = sum(run.missing for run in runs)
        written = page.write(page.build(runs), out)
        console.print(f"report: {written}", soft_wrap=True, highlight=False)
    raise typer.Exit(EXIT_INCOMPLETE if missing else EXIT_OK)


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


@app.command()
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


@app.command()
def aa(
    run_folder: Annotated[Path, typer.Argument(help="Run folder.")],
    episodes: Annotated[
        int | None, typer.Option(help="Episodes per task and trial, the first; all if left out.")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that simulate, on Ray; 0 runs in this one.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the second run; RUN-aa if left out.")
    ] = None,
) -> None:
    """Plays a run once more: how often does the same policy on the same items end otherwise?"""
    from vla_bench import floor, interrupts, progress
    from vla_bench.execution import parallel

    planned = floor.plan(run_folder, out, episodes, parallel.chosen(workers))
    console.print(
        f"{len(planned.items)} episodes once more, run folder {planned.folder.path}", soft_wrap=True
    )
    with (
        progress.shown(len(planned.items), console) as shown,
        interrupts.deferred(shown.on_interrupt) as stopping,
    ):
        found = floor.measure(run_folder, planned, shown.on_record, shown.on_status, stopping)
    for line in found.lines():
        console.print(line, soft_wrap=True, highlight=False)
    raise typer.Exit(EXIT_OK if found.complete else EXIT_INCOMPLETE)


@app.command()
def gate(
    run_folder: Annotated[Path, typer.Argument(help="Run folder of the baseline, finished.")],
    policy: Annotated[str, typer.Option(help="The candidate: name of a policy, or its card.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value overrides an option of the candidate's card."),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Weights of the candidate.")] = None,
    horizon: Annotated[
        int | None, typer.Option(help="Execution horizon H; the candidate card's if left out.")
    ] = None,
    margin: Annotated[
        float, typer.Option(help="Percentage points by which the candidate may be worse and pass.")
    ] = 10.0,
    workers: Annotated[
        int, typer.Option(help="Processes that simulate, on Ray; 0 runs in this one.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Run folder of the candidate; beside RUN if left out.")
    ] = None,
) -> None:
    """Is a policy worse than that of a run? Plays its items until that is settled.

    Exit status 0: not worse; 4: worse; 5: undecided after all items; 3: harness errors, run it again.
    """
    from vla_bench import gates, interrupts, progress
    from vla_bench.execution import parallel

    planned = gates.plan(
        run_folder,
        policy,
        options=_pairs(settings or []),
        weights=weights,
        horizon=horizon,
        margin=margin / 100,
        parallel=parallel.chosen(workers),
        out=out,
    )
    candidate = planned.candidate
    console.print(
        f"at most {len(candidate.items)} episodes, run folder {candidate.folder.path}",
        soft_wrap=True,
    )
    with (
        progress.shown(len(candidate.items), console) as shown,
        interrupts.deferred(shown.on_interrupt) as stopping,
    ):
        look = gates.play(planned, shown.on_record, shown.on_status, stopping)
    for line in look.lines():
        console.print(line, soft_wrap=True, highlight=False)
    if look.harness_errors:
        raise typer.Exit(EXIT_INCOMPLETE)
    exits = {"not worse": EXIT_OK, "worse": EXIT_WORSE, "undecided": EXIT_UNDECIDED}
    raise typer.Exit(exits[look.verdict])


def _pairs(settings: list[str]) -> dict[str, str]:
    pairs = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key and equals):
            raise UserError(f"--set {setting}: expected key=value, e.g. --set suite.split=train")
        pairs[key] = value
    return pairs


def _show(run: MeasuredRun) -> int:
    """Prints a run's tables, writes its report, returns how many episodes are missing."""
    from vla_bench.reports import perturbed, success

    rows = success.success_rows(run)
    table = Table(title=success.title(run.manifest))
    for column in success.header(rows):
        table.add_column(column, justify="left" if column == "task" else "right", overflow="fold")
    for row in rows:
        table.add_row(*success.cells(row))
    console.print(table)
    console.print(success.overall(rows), highlight=False)
    for arm, pairs in perturbed.paired_rows(run).items():
        table = Table(title=f"the same items under {arm}")
        for column in perturbed.HEADER:
            table.add_column(
                column,
                justify="left" if column == "task" else "right",
                overflow="fold",
                no_wrap="%" in column,
            )
        for pair in pairs:
            table.add_row(*perturbed.cells(pair))
        console.print(table)
    console.print(f"report: {success.write_report(run)}", soft_wrap=True, highlight=False)
    return run.missing


def main() -> None:
    """Entry point: a user's mistake is one line and exit status 1, never a traceback."""
    try:
        status = app(standalone_mode=False) or EXIT_OK
    except UserError as error:
        status = _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        status = EXIT_INTERRUPTED
    except Exception as error:
        # Newer versions of Typer raise usage errors of a private copy of click, known by this method.
        usage_error = getattr(error, "format_message", None)
        if usage_error is None:
            raise
        status = _fail(f"{usage_error()}; see `vla-bench --help`")
    if status == EXIT_INTERRUPTED:
        print("interrupted; run the same command again to go on", file=sys.stderr)
    sys.exit(status)


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return EXIT_USER_ERROR
