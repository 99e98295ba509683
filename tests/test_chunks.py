import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vla_bench.chunks import ChunkPlayer


def numbered(step, length):
    """A chunk whose action for step s is s: an off-by-one shows at once."""
    return np.arange(step, step + length, dtype=np.float32)[:, None]


@given(
    length=st.integers(1, 12),
    steps=st.integers(1, 60),
    ensembling=st.one_of(st.none(), st.floats(0, 2)),
    data=st.data(),
)
def test_every_step_gets_its_own_action(length, steps, ensembling, data):
    horizon = data.draw(st.integers(1, length))
    chunks = ChunkPlayer(horizon, ensembling)
    planned = []
    for step in range(steps):
        if chunks.due(step):
            planned.append(step)
            chunks.add(step, numbered(step, length))
        assert chunks.age(step) == step - planned[-1] < horizon
        np.testing.assert_allclose(chunks.action(step), [step], rtol=1e-6)
    assert planned == list(range(0, steps, horizon))


def test_ensembling_weighs_the_oldest_prediction_most():
    chunks = ChunkPlayer(1, ensembling=np.log(2))
    chunks.add(0, np.array([[0.0], [3.0]], np.float32))
    chunks.add(1, np.array([[0.0], [0.0]], np.float32))
    # Weights exp(0) for the older prediction 3, exp(-log 2) for the newer prediction 0.
    np.testing.assert_allclose(chunks.action(1), [2.0], rtol=1e-6)


def test_an_action_handed_out_is_not_a_view_of_the_chunk():
    chunks = ChunkPlayer(2)
    chunk = numbered(0, 2)
    chunks.add(0, chunk)
    chunks.action(0)[:] = 99
    assert chunk[0, 0] == 0
