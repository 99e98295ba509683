"""Weights of every learned policy, trained once for all tests of this folder; policy servers."""

import functools
from contextlib import ExitStack

import pytest

from tests.learned import checkpoint
from tests.served import process


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A function from a policy and overrides of its recipe to a checkpoint folder; read only."""
    folder = tmp_path_factory.mktemp("weights")

    @functools.cache
    def make(policy="anchorvla", **changes):
        return checkpoint(folder / str(len(list(folder.iterdir()))), policy, **changes)

    return make


@pytest.fixture(scope="module")
def serve():
    """Starts `vla-bench serve` with some options; returns the url and the process."""
    with ExitStack() as stack:

        def start(*arguments, **environment):
            return stack.enter_context(
                process("-m", "vla_bench", "serve", "--port", 0, *arguments, **environment)
            )

        yield start
