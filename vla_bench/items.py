"""Work items: frozen values that say exactly which episode is to be played."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from pydantic import BaseModel, ConfigDict

CLEAN = "none"
"""`perturbation` of an item that is played undisturbed."""
InitialState = dict[str, str | int]
"""What a suite needs to put its world into an episode's start, e.g. scene, plan uid, spawn index."""


def digest(value: object, length: int = 16) -> str:
    """Hex digest of a JSON-serialisable value, the same on every machine and in every process."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def derive_seed(*parts: str | int) -> int:
    """A seed in [0, 2**31) that depends on every part and on nothing else."""
    return int(digest(list(parts)), 16) % 2**31


def place_of(task: str, trial: int, index: int, perturbation: str) -> str:
    """An episode's name within its run: `task/trial/index`, and `/perturbation` if there is one."""
    arm = "" if perturbation == CLEAN else f"/{perturbation}"
    return f"{task}/{trial}/{index}{arm}"


class WorkItem(BaseModel):
    """One episode to be played. Its digest is its identity."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    suite: str
    """Name of the suite."""
    version: int
    """Version of the suite's world and protocol."""
    task: str
    """Name of the task, lower-case with hyphens."""
    trial: int
    """Trial number, from 0."""
    index: int
    """Position of the episode within its task and trial, from 0."""
    seed: int
    """Seed of every draw of this episode, the simulator's and the policy's."""
    instruction: str
    """What the robot is told to do."""
    initial_state: InitialState
    """The pinned start of the episode."""
    perturbation: str = CLEAN
    """Perturbation and its level, `NAME:LEVEL`; `none` for the clean episode."""

    @cached_property
    def digest(self) -> str:
        """Identity of the item: 16 hex digits over all its fields."""
        return digest(self.model_dump())

    @property
    def place(self) -> str:
        """The item's name within its run."""
        return place_of(self.task, self.trial, self.index, self.perturbation)

    @property
    def order(self) -> tuple[int, int, str]:
        """Where it comes among the items of its task."""
        return self.trial, self.index, self.perturbation

    @cached_property
    def clean_digest(self) -> str:
        """Digest of the same episode without a perturbation: pairs the two and seeds their draws."""
        return self.digest if self.perturbation == CLEAN else self.under(CLEAN).digest

    def under(self, perturbation: str) -> WorkItem:
        """The same episode under a perturbation."""
        return WorkItem(**{**self.model_dump(), "perturbation": perturbation})

    def generator(self, purpose: str) -> np.random.Generator:
        """A random generator for one purpose, e.g. a policy's noise; independent per purpose.

        A perturbed episode draws what its clean one does, so that the two are matched.
        """
        return np.random.default_rng(derive_seed(self.clean_digest, purpose))


def make_items(
    *,
    suite: str,
    version: int,
    seed: int,
    task: str,
    instruction: str,
    manifest: Sequence[InitialState],
    trials: int,
    episodes: int,
    episodes_per_trial: int,
) -> list[WorkItem]:
    """Cuts a task's ordered manifest of initial states into the items of a run.

    Args:
        suite: Suite name.
        version: Suite version.
        seed: The run's seed.
        task: Task name.
        instruction: The task's instruction.
        manifest: The task's initial states, all trials one after the other.
        trials: How many trials are wanted.
        episodes: How many episodes of each trial are wanted; the first ones are taken.
        episodes_per_trial: How many initial states of the manifest belong to one trial.

    Returns:
        Items ordered by trial, then by index.
    """
    return [
        WorkItem(
            suite=suite,
            version=version,
            task=task,
            trial=trial,
            index=index,
            seed=derive_seed(seed, suite, task, trial, index),
            instruction=instruction,
            initial_state=dict(manifest[trial * episodes_per_trial + index]),
        )
        for trial in range(trials)
        for index in range(episodes)
    ]


def items_digest(items: Sequence[WorkItem]) -> str:
    """Digest of an ordered list of items: two runs with the same digest played the same episodes."""
    return digest([item.digest for item in items])


def group_by_task(items: Sequence[WorkItem]) -> Mapping[str, list[WorkItem]]:
    """Items by task, tasks in order of first appearance."""
    groups: dict[str, list[WorkItem]] = {}
    for item in items:
        groups.setdefault(item.task, []).append(item)
    return groups
