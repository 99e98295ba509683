import numpy as np
import pytest

from vla_bench import Observation, Policy, load_card, make_suite
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import PolicyError
from vla_bench.planning import plan_chunks


@pytest.fixture
def suite():
    return make_suite(load_card(SuiteCard, "line"))


@pytest.fixture
def observations(suite):
    return [Observation(item, 0, item.instruction) for item in suite.items("go-right")[:3]]


def policy_that(suite, plans):
    """A policy whose `plan` is the given function."""
    kind = type("Made", (Policy,), {"plan": lambda self, observations: plans(observations)})
    return kind(load_card(PolicyCard, "walker"), suite.card)


def test_every_observation_is_answered_with_its_own_chunk(suite, observations):
    def by_place(batch):
        return [np.full((4, 2), o.item.index) for o in batch]

    answers = plan_chunks(policy_that(suite, by_place), observations)
    assert [answer.chunk[0, 0] for answer in answers] == [0, 1, 2]
    assert {(a.chunk.shape, a.chunk.dtype.name) for a in answers} == {((4, 2), "float32")}


def test_a_chunk_outlives_the_buffer_that_it_came_in(suite, observations):
    buffer = np.zeros((3, 4, 2), np.float32)

    def refilled(batch):
        buffer[:] += 1
        return buffer

    policy = policy_that(suite, refilled)
    first, second = plan_chunks(policy, observations), plan_chunks(policy, observations)
    assert (first[0].chunk[0, 0], second[0].chunk[0, 0]) == (1, 2)


def test_an_exception_is_the_answer_to_all(suite, observations):
    def fails(batch):
        raise ValueError("out of ideas")

    answers = plan_chunks(policy_that(suite, fails), observations)
    assert [str(a) for a in answers if isinstance(a, PolicyError)] == [
        "ValueError: out of ideas"
    ] * 3


@pytest.mark.parametrize("shape", [(1, 4, 2), (3, 4, 3), (3, 5, 2), (4, 2)])
def test_a_wrong_shape_ends_the_episodes(suite, observations, shape):
    policy = policy_that(suite, lambda batch: np.zeros(shape))
    for answer in plan_chunks(policy, observations):
        assert isinstance(answer, PolicyError)
        assert f"plan returned shape {shape}, expected (3, 4, 2)" in str(answer)
