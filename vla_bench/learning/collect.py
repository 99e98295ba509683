"""Collects demonstrations: an expert on a suite's train split, with noise on what is executed.

The observation of every step, the expert's intended action and the executed one are recorded, and the
expert plays on for a few steps after success, so that the data hold what to do at the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vla_bench.cards import PolicyCard, SuiteCard, load_card
from vla_bench.compatibility import mismatches
from vla_bench.errors import MismatchError, UserError, nearest
from vla_bench.items import WorkItem, derive_seed, digest, make_items
from vla_bench.learning.demonstrator import Demonstrator
from vla_bench.learning.noise import moving_entries
from vla_bench.learning.recording import Header, RecordingWriter, check_same
from vla_bench.machine import installed_versions
from vla_bench.policies.base import Policy
from vla_bench.registry import make_policy, make_suite, prepare_card
from vla_bench.suites.base import Suite

ATTEMPTS_PER_EPISODE = 3
ATTEMPTS_AFTER_NOVICE = 10
"""A novice may drop what the expert needs."""
CLEAN_EVERY = 5
"""One episode in so many is played without noise, the first one included."""


@dataclass(frozen=True)
class CollectSpec:
    """What to collect: the command line of `vla-bench collect` as a value."""

    suite: str
    """Name of a suite, or path of its card; it must have an option `split`."""
    out: Path
    """Folder of the files, one per task."""
    policy: str = "expert"
    """Name of the expert, or path of its card."""
    tasks: Sequence[str] = ()
    """Tasks to collect; none means all."""
    episodes: int = 100
    """Successful episodes per task."""
    noise: float = 0.1
    """Standard deviation of the action noise, as a fraction of full scale."""
    seed: int = 0
    """Seed of every draw."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Overrides of the suite's options while recording, e.g. larger disturbances."""
    novice: Path | None = None
    """Weights of a policy that plays first in every episode; the expert takes over at a drawn step."""
    image_size: int | None = None
    """Pixels on a side of the stored images; None stores them as rendered."""
    image_every: int = 1
    """Images are stored of one step in so many, of none if 0: rendering takes most of the time."""


@dataclass(frozen=True)
class Progress:
    """How a task is getting on, after each episode that was tried."""

    task: str
    kept: int
    """Episodes kept so far."""
    tried: int
    """Episodes tried so far; 0 if the task's file is there already."""
    wanted: int
    """Episodes to keep."""
    steps: int
    """Control steps of the last episode."""
    success: bool
    """Whether the last episode was kept."""
    wall_s: float
    """Wall-clock time of the last episode (s)."""


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Cast:
    """Who plays."""

    expert: Policy
    """Is recorded."""
    novice: Policy | None
    """Plays first, unrecorded."""


def collect(spec: CollectSpec, on_progress: OnProgress) -> list[Path]:
    """Collects the tasks one after the other; a task whose file is there already is left alone.

    Args:
        spec: What to collect.
        on_progress: Called after every episode that was tried, and once for a task that is there.

    Returns:
        The files, in the order of the suite's tasks.

    Raises:
        UserError: Anything the user has to mend first; or too few episodes succeed.
    """
    _check(spec)
    evaluated = load_card(SuiteCard, spec.suite)
    if "split" not in evaluated.options:
        raise UserError(
            f"suite {evaluated.name} has no train split (no option `split` on its card), and its "
            f"evaluation episodes are not for training; collect on another suite"
        )
    card = evaluated.override({**spec.options, "split": "train"})
    tasks = _tasks(spec.tasks, card)
    policy_card = prepare_card(load_card(PolicyCard, spec.policy), card)
    if found := mismatches(policy_card, card):
        raise MismatchError("; ".join(found))
    suite, held_out = make_suite(card), make_suite(evaluated)
    suite.prepare()
    cast = Cast(make_policy(policy_card, card), _novice(spec, card))
    return [_collect_task(spec, suite, held_out, cast, task, on_progress) for task in tasks]


def _novice(spec: CollectSpec, card: SuiteCard) -> Policy | None:
    if spec.novice is None:
        return None
    # torch is slow to import, and most collections have no novice.
    from vla_bench.policies.learned.checkpoint import load_config

    played_by = load_card(PolicyCard, load_config(spec.novice).recipe.policy)
    novice = prepare_card(played_by.override({"weights": str(spec.novice)}), card)
    return make_policy(novice, card)


def _check(spec: CollectSpec) -> None:
    if spec.episodes < 1:
        raise UserError(f"--episodes {spec.episodes}: expected 1 or more; use --episodes 100")
    if not 0 <= spec.noise <= 1:
        raise UserError(f"--noise {spec.noise}: expected a fraction of full scale; use --noise 0.1")
    if spec.image_size is not None and spec.image_size < 1:
        raise UserError(f"--image-size {spec.image_size}: expected pixels; use --image-size 64")
    if spec.image_every < 0:
        raise UserError(f"--image-every {spec.image_every}: expected steps; use --image-every 1")


def _tasks(wanted: Sequence[str], suite: SuiteCard) -> list[str]:
    for task in wanted:
        if task not in suite.tasks:
            raise UserError(f"no task {task!r} in {suite.name}; {nearest(task, suite.tasks)}")
    return [task for task in suite.tasks if task in wanted or not wanted]


def _items(train: Suite, held_out: Suite, task: str, spec: CollectSpec) -> list[WorkItem]:
    """The episodes to try; a manifest that is too short is gone through again, with other seeds."""
    attempts = ATTEMPTS_AFTER_NOVICE if spec.novice else ATTEMPTS_PER_EPISODE
    manifest, count = train.manifest(task), attempts * spec.episodes
    states = [manifest[i % len(manifest)] for i in range(count)]
    evaluation = {digest(state) for state in held_out.manifest(task)}
    shared = [state for state in states if digest(state) in evaluation]
    if shared:
        raise UserError(
            f"{train.card.name} {task}: {len(shared)} initial states of the train split are evaluated "
            f"on, e.g. {shared[0]}; mend the suite's `manifest`"
        )
    return make_items(
        suite=train.card.name,
        version=train.card.version,
        seed=derive_seed(spec.seed, "demonstrations"),
        task=task,
        instruction=train.card.tasks[task].instruction,
        manifest=states,
        trials=1,
        episodes=count,
        episodes_per_trial=count,
    )


def _collect_task(
    spec: CollectSpec,
    suite: Suite,
    held_out: Suite,
    cast: Cast,
    task: str,
    on_progress: OnProgress,
) -> Path:
    """The file of one task."""
    path = spec.out / f"{task}.h5"
    header = _header(spec, suite.card, cast, task)
    if path.exists():
        check_same(path, header, spec.episodes)
        on_progress(Progress(task, spec.episodes, 0, spec.episodes, 0, True, 0.0))
        return path
    items = _items(suite, held_out, task, spec)
    cameras = None if spec.image_every or cast.novice else cast.expert.card.inputs.images
    with closing(suite.make_env(task, cameras)) as env, RecordingWriter(path, header) as writer:
        player = Demonstrator(
            env, cast.expert, suite.card, spec.image_size, spec.image_every, cast.novice
        )
        _record(spec, player, items, writer, on_progress)
    return path


def _record(
    spec: CollectSpec,
    player: Demonstrator,
    items: Sequence[WorkItem],
    writer: RecordingWriter,
    on_progress: OnProgress,
) -> None:
    """Plays episodes until enough of them have succeeded."""
    moving: NDArray[np.bool_] | None = None
    for index, item in enumerate(items):
        start = time.perf_counter()
        # The noise spares what the expert only switches: episodes without noise tell.
        clean = index % CLEAN_EVERY == 0 or moving is None
        episode = player.play(item, 0.0 if clean else spec.noise, moving)
        success = episode.success_step is not None
        if success:
            writer.write(episode)
            if clean:
                found = moving_entries(episode.actions)
                moving = found if moving is None else moving & found
        wall, steps = time.perf_counter() - start, len(episode.actions)
        on_progress(
            Progress(item.task, writer.count, index + 1, spec.episodes, steps, success, wall)
        )
        if writer.count == spec.episodes:
            return
    raise UserError(
        f"{items[0].task}: {writer.count} of {len(items)} episodes succeeded, {spec.episodes} are "
        f"wanted; use a smaller --noise than {spec.noise}, or fewer --episodes"
    )


def _header(spec: CollectSpec, card: SuiteCard, cast: Cast, task: str) -> Header:
    versions = {f"version_{k}": v for k, v in installed_versions(card.engine).items()}
    return {
        "suite": card.name,
        "suite_version": card.version,
        "task": task,
        "instruction": card.tasks[task].instruction,
        "split": str(card.options["split"]),
        "options": json.dumps(dict(spec.options), sort_keys=True) if spec.options else "",
        "policy": spec.policy,
        "novice": str(cast.novice.card.options["weights_digest"]) if cast.novice else "",
        "noise": spec.noise,
        "seed": spec.seed,
        "image_size": spec.image_size or 0,
        "image_every": spec.image_every,
        "control_hz": card.control_hz,
        **versions,
    }
