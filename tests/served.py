"""Policy servers as processes of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

TOY = Path(__file__).parent / "toy"


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
