"""Commands that make policies available to other programs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from vla_bench.cli.shared import console, pairs
from vla_bench.errors import UserError

commands = typer.Typer()


class Dialect(StrEnum):
    """Protocol of a policy server."""

    openpi = "openpi"
    vla_eval = "vla-eval"


@commands.command()
def serve(
    policy: Annotated[str, typer.Option(help="Name of a policy, or path of its card.")],
    suite: Annotated[str, typer.Option(help="Name of the suite that it is to be used on.")],
    dialect: Annotated[Dialect, typer.Option(help="Protocol.")] = Dialect.openpi,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for one that is free.")] = 8000,
    api_key_env: Annotated[
        str, typer.Option(help="Environment variable with the key that clients have to show.")
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value overrides an option of the policy's card."),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Weights of the policy.")] = None,
) -> None:
    """Serves a policy to other harnesses and robots, until SIGTERM or Ctrl-C."""
    from vla_bench import runs

    try:
        from vla_bench.policies.bridges.serving.server import PolicyHost, ServeSpec
    except ModuleNotFoundError as error:
        raise UserError(
            f"serve needs the module {error.name!r}; run `pip install 'vla-bench[bridges]'`"
        ) from None
    spec = runs.RunSpec(policy=policy, suite=suite, options=pairs(settings or []), weights=weights)
    served = ServeSpec(
        runs.policy_card(spec),
        runs.suite_card(spec),
        dialect.value,
        host,
        port,
        api_key_env,
    )

    def ready(url: str) -> None:
        console.print(
            f"serving {policy} for {suite} at {url} ({dialect.value}); Ctrl-C stops it",
            soft_wrap=True,
            highlight=False,
        )

    PolicyHost(served).run(ready)
