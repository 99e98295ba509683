"""Commands that play episodes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vla_bench.cli.shared import (
    EXIT_INCOMPLETE,
    EXIT_OK,
    EXIT_UNDECIDED,
    EXIT_WORSE,
    console,
    pairs,
    show,
)

commands = typer.Typer()


class Video(StrEnum):
    """Which episodes to keep a video of."""

    failures = "failures"
    all = "all"
    none = "none"


class InputControl(StrEnum):
    """What is done to a policy's inputs, to ask whether it reads them."""

    none = "none"
    blank_images = "blank-images"
    shuffle_instructions = "shuffle-instructions"


@commands.command()
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
            options=pairs(settings or []),
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
    show(read_run(planned.folder.path))
    if any(record.reason == "harness_error" for record in records):
        console.print("some episodes failed in the harness: run the same command to retry them")
        raise typer.Exit(EXIT_INCOMPLETE)


@commands.command()
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


@commands.command()
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


@commands.command()
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
        options=pairs(settings or []),
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
