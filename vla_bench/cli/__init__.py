"""The command line: one thin function per command, in modules by what they are about."""

from __future__ import annotations

import sys

import typer

from vla_bench.cli import inspecting, learning, looking, playing, reporting, serving
from vla_bench.cli.shared import EXIT_INTERRUPTED, EXIT_OK, EXIT_USER_ERROR
from vla_bench.errors import UserError

app = typer.Typer(
    help="Evaluates vision-language-action policies: the same number twice, with an interval.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for module in (playing, reporting, inspecting, learning, looking, serving):
    app.add_typer(module.commands)


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
