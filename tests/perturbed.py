"""What every simulator's perturbations are held to."""

from __future__ import annotations

import numpy as np

from vla_bench.perturbations.catalogue import make_perturbation

LOOKS = ("camera-shift:2", "lighting:2", "background:2")


def begin(env, item, card):
    """Starts an episode as the episode loop does."""
    env.begin(item)
    perturbation = make_perturbation(item, card)
    perturbation.begin(env)
    return perturbation


def states(env, item, card, steps):
    """The world's state before the first step and after each, while nothing is commanded."""
    perturbation = begin(env, item, card)
    still = np.zeros(card.action.size, np.float32)
    still[list(env.grippers)] = 1
    found = [env.state_bytes()]
    for step in range(steps):
        env.advance(perturbation.played(env, still, step))
        found.append(env.state_bytes())
    return found


def images(env, item, card):
    """What the cameras see at the start."""
    begin(env, item, card)
    return env.observe()["images"]


def first_difference(one, other):
    """Steps after which two episodes differ for the first time; None if never."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), None)


def check_looks(suite, task, index=0):
    """Each perturbation of looks changes every image, no state, and nothing of another episode."""
    card, clean = suite.card, suite.items(task)[index]
    env, bystander = suite.make_env(task), suite.make_env(task)
    seen = images(env, clean, card)
    images(bystander, clean, card)
    undisturbed = states(env, clean, card, 2)
    for perturbation in LOOKS:
        item = clean.under(perturbation)
        changed, again = images(env, item, card), images(env, item, card)
        elsewhere = bystander.observe()["images"]
        assert states(env, item, card, 2) == undisturbed
        after = images(env, clean, card)
        for camera, image in seen.items():
            assert np.any(changed[camera] != image), (perturbation, camera)
            assert np.array_equal(changed[camera], again[camera])
            assert np.array_equal(elsewhere[camera], image)
            assert np.array_equal(after[camera], image)
    env.close()
    bystander.close()


def check_push(suite, task, name, steps, index=0):
    """A push shows from one step on, the same at every level, and not in the episode after it."""
    card, clean = suite.card, suite.items(task)[index]
    env = suite.make_env(task, cameras=())
    undisturbed = states(env, clean, card, steps)
    pushed = [states(env, clean.under(f"{name}:{level}"), card, steps) for level in (1, 2, 3)]
    at = {first_difference(undisturbed, p) for p in pushed}
    assert len(at) == 1
    assert at.pop() in range(int(0.5 * card.control_hz) + 1, 3 * card.control_hz + 1)
    assert len({p[-1] for p in pushed}) == 3
    assert states(env, clean, card, steps) == undisturbed
    env.close()
