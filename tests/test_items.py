import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bench import load_card, make_suite
from vla_bench.cards import SuiteCard
from vla_bench.errors import UserError
from vla_bench.items import WorkItem, derive_seed, digest, items_digest


@pytest.fixture
def line():
    return make_suite(load_card(SuiteCard, "line"))


def test_fewer_episodes_are_the_first_ones(line):
    every = line.items("go-right")
    few = line.items("go-right", episodes=3, trials=2)
    assert [(i.trial, i.index) for i in few] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert {i.digest for i in few} <= {i.digest for i in every}


def test_trials_do_not_share_initial_states(line):
    # The manifest has one entry per trial and episode; trial 1 starts where trial 0 ends.
    items = line.items("go-right")
    assert len({i.digest for i in items}) == len(items) == 100


def test_digest_is_the_same_in_another_process(line):
    code = (
        "from vla_bench import *; from vla_bench.cards import SuiteCard;"
        "print(make_suite(load_card(SuiteCard, 'line')).items('go-right')[7].digest)"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    }
    assert printed == {line.items("go-right")[7].digest}


def test_another_seed_changes_seeds_but_not_initial_states(line):
    one, two = line.items("go-right", seed=0), line.items("go-right", seed=1)
    assert [i.initial_state for i in one] == [i.initial_state for i in two]
    assert not {i.seed for i in one} & {i.seed for i in two}
    assert items_digest(one) != items_digest(two)


@pytest.mark.parametrize("asked", [{"episodes": 51}, {"episodes": 0}, {"trials": 3}])
def test_more_than_the_protocol_has_is_refused(line, asked):
    with pytest.raises(UserError, match=r"line has 1 to"):
        line.items("go-right", **asked)


@given(st.lists(st.one_of(st.integers(), st.text()), min_size=1, max_size=5))
def test_seeds_fit_every_generator(parts):
    assert 0 <= derive_seed(*parts) < 2**31


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_digest_ignores_the_order_of_keys(value):
    assert digest(value) == digest(dict(reversed(value.items())))


def test_generators_of_two_purposes_are_independent():
    item = WorkItem(
        suite="s", version=1, task="t", trial=0, index=0, seed=1, instruction="", initial_state={}
    )
    first = item.generator("noise").integers(2**60)
    assert first == item.generator("noise").integers(2**60)
    assert first != item.generator("other").integers(2**60)
