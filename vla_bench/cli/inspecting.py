"""Commands that make pictures of how a policy planned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vla_bench.cli.shared import EXIT_INCOMPLETE, console
from vla_bench.errors import UserError

if TYPE_CHECKING:
    from vla_bench.inspecting.pictures import Drawn

commands = typer.Typer()
inspect = typer.Typer(
    help="Plays recorded items again and makes pictures of how the policy planned.",
    no_args_is_help=True,
)
commands.add_typer(inspect, name="inspect")

Run = Annotated[Path, typer.Argument(help="Run folder.")]
Items = Annotated[
    list[str] | None,
    typer.Argument(help="Items: digest (or its start), or task/trial/index.", metavar="[ITEM]..."),
]
Steps = Annotated[
    str,
    typer.Option(help="Control steps, e.g. 0,20: the last plan by then; three plans if left out."),
]
Out = Annotated[Path, typer.Option(help="Folder for the pictures; the run's own is made in it.")]
REPORTS = Path("reports") / "inspect"


@inspect.command()
def attention(run: Run, items: Items = None, steps: Steps = "", out: Out = REPORTS) -> None:
    """Where the policy looks: its maps over the images, beside where the gripper is and acts next."""
    from vla_bench.inspecting.pictures import draw_attention
    from vla_bench.replay import Stage

    _say(draw_attention(Stage(run), items or [], _numbers(steps), out))


@inspect.command()
def candidates(run: Run, items: Items = None, steps: Steps = "", out: Out = REPORTS) -> None:
    """What the policy chose from: where each candidate chunk takes the gripper, in the images."""
    from vla_bench.inspecting.pictures import draw_candidates
    from vla_bench.replay import Stage

    _say(draw_candidates(Stage(run), items or [], _numbers(steps), out))


@inspect.command()
def sensitivity(run: Run, items: Items = None, steps: Steps = "", out: Out = REPORTS) -> None:
    """How much plans change when the visual tokens of the task's objects are zeroed, layer by layer."""
    from vla_bench.inspecting.pictures import draw_sensitivity
    from vla_bench.replay import Stage

    _say(draw_sensitivity(Stage(run), items or [], _numbers(steps), out))


def _numbers(steps: str) -> list[int]:
    """What `--steps` says.

    Raises:
        UserError: It is no list of numbers.
    """
    try:
        return [int(step) for step in steps.split(",") if step]
    except ValueError:
        raise UserError(f"--steps {steps}: expected numbers, e.g. --steps 0,20") from None


def _say(drawn: Drawn) -> None:
    for file in drawn.files:
        console.print(str(file), soft_wrap=True, highlight=False)
    for line in drawn.differences:
        console.print(f"differs from the record: {line}", soft_wrap=True, highlight=False)
    if drawn.differences:
        raise typer.Exit(EXIT_INCOMPLETE)
