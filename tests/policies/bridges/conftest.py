"""Policy servers that break their word, in processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.served import process

HERE = Path(__file__).parent


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
