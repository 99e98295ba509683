"""Fixtures: the toy suite and policy of `tests/toy` are found as a third party's are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOY = Path(__file__).parent / "toy"


@pytest.fixture(autouse=True)
def _toy_on_the_search_path(monkeypatch):
    monkeypatch.setenv("VLA_BENCH_PATH", str(TOY))


@pytest.fixture
def vla_bench(tmp_path):
    """Runs the command line in a process of its own; returns the finished process."""

    def call(*arguments, timeout=600, cwd=tmp_path, **environment):
        return subprocess.run(
            [sys.executable, "-m", "vla_bench", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd,
            env={**os.environ, **environment},
        )

    return call
