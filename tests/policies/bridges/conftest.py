"""Policy servers as processes of their own: ours, and rogues that break their word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOY = HERE.parents[1] / "toy"


@contextmanager
def process(*arguments, **environment):
    """A server that says its url on its first line; yields the url and the process."""
    command = [sys.executable, *map(str, arguments)]
    env = {**os.environ, "VLA_BENCH_PATH": str(TOY), **environment}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as running:
        try:
            line = running.stdout.readline()
            found = re.search(r"\w+://[\w.]+:\d+", line)
            assert found, running.stderr.read() if running.poll() is not None else line
            yield found[0], running
        finally:
            running.kill()


@pytest.fixture(scope="module")
def serve():
    """Starts `vla-bench serve` with some options; returns the url."""
    with ExitStack() as stack:

        def start(*arguments, **environment):
            return stack.enter_context(
                process("-m", "vla_bench", "serve", "--port", 0, *arguments, **environment)
            )

        yield start


@pytest.fixture(scope="module")
def rogues():
    """The url of a server that misbehaves as the path says."""
    with process(HERE / "rogue.py") as (url, _):
        yield url


@pytest.fixture
def mortal():
    """The url of another one, which may die of it."""
    with process(HERE / "rogue.py") as (url, _):
        yield url
