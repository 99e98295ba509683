"""Windows: what is cut from demonstrations, and what is held back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.learned import TASKS, demonstrations, recipe
from vla_bench.errors import UserError
from vla_bench.learning.training import prepare_data
from vla_bench.learning.windows import (
    WindowData,
    demonstrations_digest,
    split_episodes,
    state_rows,
)
from vla_bench.nn.normalisation import Normaliser, Statistics

SMALL = recipe()
LENGTH = SMALL.chunk_length


def numbered(lengths, views=()):
    """Episodes whose action row t is (episode, t, ...), and whose images hold t."""
    made = demonstrations(SMALL, count=(len(lengths) + 1) // 2)[: len(lengths)]
    return [
        replace(
            d,
            actions=np.stack([np.full(n, i), np.arange(n)], axis=1).astype(np.float32),
            state={name: rows[:1].repeat(n, 0) for name, rows in d.state.items()},
            images={
                v: np.broadcast_to(np.arange(n)[:, None, None, None], (n, 8, 8, 3)).astype(np.uint8)
                for v in views
            },
            image_steps=np.arange(n),
        )
        for i, (d, n) in enumerate(zip(made, lengths, strict=True))
    ]


def windows_of(episodes, used=SMALL, balanced=False):
    plain = [
        Normaliser(Statistics.of(np.concatenate(rows)), "none")
        for rows in ([d.actions for d in episodes], [state_rows(d, used) for d in episodes])
    ]
    return WindowData(episodes, used, *plain, balanced=balanced)


def test_no_window_crosses_the_end_of_its_episode():
    lengths = (7, LENGTH, 2, 9)
    data = windows_of(numbered(lengths))
    assert len(data) == sum(lengths)
    found = data.windows(torch.arange(len(data)))
    episode, step = found.chunks[..., 0], found.chunks[..., 1]
    assert (episode == episode[:, :1]).all()
    starts = torch.cat([torch.arange(n) for n in lengths])
    ends = torch.cat([torch.full((n,), n) for n in lengths])
    reach = starts[:, None] + torch.arange(LENGTH)
    assert torch.equal(found.valid, reach < ends[:, None])
    assert torch.equal(step, reach.minimum(ends[:, None] - 1).float())


def test_a_balanced_loss_counts_entries_by_how_little_they_move():
    episodes = numbered((4, 4))
    for episode in episodes:
        # Mean distances from the median, over 0, 1, 2, 3: 1 and 0.25.
        episode.actions[:, 0] = np.arange(4)
        episode.actions[:, 1] = 0.25 * np.arange(4)
    every = torch.arange(8)
    equal = windows_of(episodes).windows(every)
    balanced = windows_of(episodes, balanced=True).windows(every)
    errors = torch.zeros_like(balanced.chunks)
    errors[..., 1] = 1.0
    assert equal.mean(errors) == pytest.approx(0.5)
    assert balanced.weights.tolist() == pytest.approx([0.4, 1.6])
    assert balanced.mean(errors) == pytest.approx(0.8)


def test_a_balanced_loss_leaves_out_entries_that_never_move():
    episodes = numbered((4, 4, 4, 4))
    for episode in episodes:
        episode.actions[:, 1] = 0.7
    prepared = prepare_data(recipe(training__balance=True), episodes)
    assert prepared.training.weights.tolist() == pytest.approx([1.0, 0.0])
    assert prepared.validation.weights.tolist() == [1.0]


def test_a_balanced_loss_where_nothing_moves():
    episodes = numbered((4, 4))
    for episode in episodes:
        episode.actions[:] = 0.7
    assert windows_of(episodes, balanced=True).weights.tolist() == [1.0, 1.0]


def test_vocabularies_are_made_of_whole_chunks_only():
    lengths = (7, LENGTH, 2, 9)
    chunks = windows_of(numbered(lengths)).whole_chunks()
    assert chunks.shape == (sum(max(0, n - LENGTH + 1) for n in lengths), LENGTH, 2)
    assert (np.diff(chunks[..., 0], axis=1) == 0).all()
    assert (np.diff(chunks[..., 1], axis=1) == 1).all()


def test_windows_start_where_there_are_images():
    seeing = recipe(inputs__images=["head"], backbone__image_size=16, backbone__grid=2)
    first, second = numbered((7, 5), views=["head"])
    kept = [np.array([0, 3, 6]), np.array([1, 4])]
    episodes = [
        replace(d, images={"head": d.images["head"][steps]}, image_steps=steps)
        for d, steps in zip((first, second), kept, strict=True)
    ]
    data = windows_of(episodes, seeing)
    assert len(data) == 5
    seen = data.observations(torch.arange(5))
    assert seen.images.shape == (5, 1, 3, 8, 8)
    assert seen.images[:, 0, 0, 0, 0].tolist() == [0, 3, 6, 1, 4]
    chunks = data.windows(torch.arange(5)).chunks
    assert chunks[:, 0].tolist() == [[0, 0], [0, 3], [0, 6], [1, 1], [1, 4]]
    assert seen.instructions == [first.instruction] * 3 + [second.instruction] * 2


def test_steps_without_images_show_black_ones():
    seeing = recipe(
        inputs__images=["head"],
        backbone__image_size=16,
        backbone__grid=2,
        training__blank_images=True,
    )
    first, second = numbered((7, 5), views=["head"])
    kept = [np.array([1, 4]), np.array([2])]
    episodes = [
        replace(d, images={"head": d.images["head"][rows]}, image_steps=rows)
        for d, rows in zip((first, second), kept, strict=True)
    ]
    data = windows_of(episodes, seeing)
    assert len(data) == 12
    assert not data.has_all_images
    shown = data.observations(torch.arange(12)).images[:, 0, 0, 0, 0]
    assert shown.tolist() == [0, 1, 0, 0, 4, 0, 0, 0, 0, 2, 0, 0]
    again = data.observations(torch.tensor([4, 11])).images[:, 0, 0, 0, 0]
    assert again.tolist() == [4, 0]


def test_views_keep_the_order_of_the_recipe():
    seeing = recipe(inputs__images=["wrist", "head"])
    (episode,) = numbered((5,), views=["head", "wrist"])
    dark = replace(episode, images={**episode.images, "wrist": 0 * episode.images["wrist"]})
    images = windows_of([dark], seeing).observations(torch.tensor([4])).images
    assert images[0, :, 0, 0, 0].tolist() == [0, 4]


def test_the_state_vector_is_in_the_order_of_the_recipe():
    episode = demonstrations(SMALL, count=1)[0]
    rows = state_rows(episode, SMALL)
    assert rows.shape == (len(episode.actions), SMALL.state_size)
    assert rows.dtype == np.float32
    expected = [episode.state[name] for name in SMALL.state_entries]
    np.testing.assert_array_equal(rows, np.concatenate(expected, axis=1))
    assert SMALL.state_entries[-2:] == ["objects", "post"]


def test_missing_and_misshapen_state_entries():
    episode = demonstrations(SMALL, count=1)[0]
    state = dict(episode.state)
    state["fingertips"] = state.pop("fingertip")
    with pytest.raises(UserError, match=r"no state entry 'fingertip'; did you mean 'fingertips'\?"):
        state_rows(replace(episode, state=state), SMALL)
    state = {**episode.state, "fingertip": episode.state["arm"][:, :1]}
    with pytest.raises(UserError, match=r"'fingertip' has 1 numbers, .* expects 2; .*\.toml"):
        state_rows(replace(episode, state=state), SMALL)


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.99])
def test_a_held_back_episode_is_not_trained_on(fraction):
    episodes = demonstrations(SMALL, count=6)
    training, validation = split_episodes(episodes, fraction, 0)
    sources = [{d.source for d in part} for part in (training, validation)]
    assert not sources[0] & sources[1]
    assert sources[0] | sources[1] == {d.source for d in episodes}
    for part in (training, validation):
        assert {d.task for d in part} == set(TASKS)
    assert len(validation) == {0.01: 2, 0.25: 4, 0.99: 10}[fraction]


def test_the_split_depends_on_the_seed_alone():
    episodes = demonstrations(SMALL, count=6)
    chosen = [{d.source for d in split_episodes(episodes, 0.25, s)[1]} for s in (0, 0, 1, 2, 3)]
    assert chosen[0] == chosen[1]
    assert any(other != chosen[0] for other in chosen[2:])


def test_a_task_with_one_demonstration():
    with pytest.raises(UserError, match=r"task detour has 1 demonstration, .* need one each"):
        split_episodes(demonstrations(SMALL, count=1), 0.1, 0)


def test_statistics_and_digest_are_of_the_training_episodes():
    episodes = demonstrations(SMALL, count=6)
    config = SMALL.training
    training, validation = split_episodes(episodes, config.validation, config.seed)
    spoilt = [
        replace(d, actions=1000 + d.actions) if any(d is v for v in validation) else d
        for d in episodes
    ]
    data, other = prepare_data(SMALL, episodes), prepare_data(SMALL, spoilt)
    assert (
        data.actions
        == other.actions
        == Statistics.of(np.concatenate([d.actions for d in training]))
    )
    assert data.state == other.state
    assert data.digest == other.digest == demonstrations_digest(training)
    assert data.digest != demonstrations_digest(episodes)
    assert len(data.training) == sum(len(d.actions) for d in training)
    assert len(data.validation) == sum(len(d.actions) for d in validation)
    np.testing.assert_array_equal(data.training.whole_chunks(), other.training.whole_chunks())


def test_the_digest_tells_names_and_actions():
    episodes = demonstrations(SMALL)
    renamed = [replace(episodes[0], source="else.h5/episode-0000"), *episodes[1:]]
    moved = [replace(episodes[0], actions=episodes[0].actions + 1e-3), *episodes[1:]]
    digests = {demonstrations_digest(d) for d in (episodes, renamed, moved, episodes[::-1])}
    assert len(digests) == 4
    assert demonstrations_digest(demonstrations(SMALL)) == demonstrations_digest(episodes)
