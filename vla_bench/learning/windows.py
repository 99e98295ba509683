"""Training windows: an observation, the action chunk that follows it, and where the episode ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_bench.errors import UserError, nearest
from vla_bench.items import digest
from vla_bench.learning.demonstrations import Demonstration
from vla_bench.learning.places import places_of, task_anchor_shares
from vla_bench.nn.normalisation import Normaliser
from vla_bench.policies.learned.head import Windows
from vla_bench.policies.learned.recipe import Recipe

BLANK = -1
"""In place of the number of an image: none was recorded, a black one is shown."""
STILL = 1e-4
"""Mean distance from its median (normalised units) below which an action entry does not move."""


@dataclass(frozen=True)
class Observations:
    """A batch of what a policy reads.

    Attributes:
        images: uint8 (B, views, 3, h, w).
        instructions: B instructions.
        state: (B, state size), normalised.
    """

    images: Tensor
    instructions: list[str]
    state: Tensor


class WindowData:
    """All steps of some demonstrations as tensors; a window starts at any step that has images, or at
    any step at all if the recipe says so (`training.blank_images`).

    Args:
        demonstrations: Episodes.
        recipe: Says which entries are read and how long a chunk is.
        actions: Maps actions to the model's units.
        state: Maps state vectors to the model's units.
        balanced: Whether an error of each action entry counts by how little that entry moves.

    Attributes:
        task_anchors: By task the share of images that show a task anchor; none if none is told.
    """

    def __init__(
        self,
        demonstrations: Sequence[Demonstration],
        recipe: Recipe,
        actions: Normaliser,
        state: Normaliser,
        balanced: bool = False,
    ) -> None:
        lengths = [len(d.actions) for d in demonstrations]
        self.chunk_length = recipe.chunk_length
        self.instructions = [d.instruction for d in demonstrations]
        self.episode = torch.repeat_interleave(
            torch.arange(len(lengths)), torch.tensor(lengths, dtype=torch.int64)
        )
        self.end = torch.tensor(lengths).cumsum(0)[self.episode]
        self.actions = actions.forward(
            torch.from_numpy(np.concatenate([d.actions for d in demonstrations]))
        )
        self.weights = _inverse_spread(self.actions) if balanced else torch.ones(1)
        self.state = state.forward(
            torch.from_numpy(np.concatenate([state_rows(d, recipe) for d in demonstrations]))
        )
        seen = _steps_with_images(demonstrations, recipe, lengths)
        self.images = _images(demonstrations, recipe, len(seen))
        places = _places(demonstrations, recipe)
        self.places = None if places is None else torch.from_numpy(places)
        self.task_anchors = {} if places is None else task_anchor_shares(demonstrations, places)
        self.has_all_images = len(seen) == sum(lengths)
        self.starts, self._image = seen, torch.arange(len(seen))
        if recipe.training.blank_images:
            self.starts = torch.arange(sum(lengths))
            self._image = torch.full_like(self.starts, BLANK).index_put((seen,), self._image)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.starts)

    def observations(self, windows: Tensor) -> Observations:
        """What the policy reads at the start of some windows, int64 (B,)."""
        steps, image = self.starts[windows], self._image[windows]
        images = self.images[image]
        images[image == BLANK] = 0
        return Observations(
            images=images,
            instructions=[self.instructions[episode] for episode in self.episode[steps].tolist()],
            state=self.state[steps],
        )

    def windows(self, windows: Tensor) -> Windows:
        """The chunks of some windows, int64 (B,), past an episode's end its last action; and places."""
        chunks = self._chunks(self.starts[windows])
        if self.places is None:
            return chunks
        image = self._image[windows]
        places = self.places[image]
        places[image == BLANK] = torch.nan
        return replace(chunks, places=places)

    def _chunks(self, steps: Tensor) -> Windows:
        reach = steps[:, None] + torch.arange(self.chunk_length)
        end = self.end[steps][:, None]
        return Windows(self.actions[reach.minimum(end - 1)], reach < end, self.weights)

    def whole_chunks(self) -> NDArray[np.float32]:
        """All chunks that end within their episode, (N, P, A)."""
        steps = torch.arange(len(self.episode))
        steps = steps[steps + self.chunk_length <= self.end]
        chunks: NDArray[np.float32] = self._chunks(steps).chunks.numpy()
        return chunks


def _inverse_spread(actions: Tensor) -> Tensor:
    """Weights (A,) of mean 1 over the entries that move, 0 for the others; `actions` are (N, A).

    If no entry moves, all weigh the same.
    """
    spread = (actions - actions.median(dim=0).values).abs().mean(dim=0)
    moves = spread > STILL
    if not moves.any():
        return torch.ones_like(spread)
    inverse = torch.where(moves, 1 / spread.clamp(min=STILL), 0.0)
    return inverse / inverse[moves].mean()


def state_rows(demonstration: Demonstration, recipe: Recipe) -> NDArray[np.float32]:
    """A demonstration's state vectors as the recipe orders them, float32 (T, state size).

    Raises:
        UserError: An entry is missing or has another size.
    """
    sizes = {**recipe.inputs.state, **recipe.inputs.privileged}
    for name, size in sizes.items():
        if name not in demonstration.state:
            hint = nearest(name, demonstration.state)
            raise UserError(f"{demonstration.source} has no state entry {name!r}; {hint}")
        found = demonstration.state[name].shape[1]
        if found != size:
            raise UserError(
                f"{demonstration.source}: state entry {name!r} has {found} numbers, recipe "
                f"{recipe.name} expects {size}; mend inputs in {recipe.path}"
            )
    parts = [demonstration.state[name] for name in sizes]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _steps_with_images(
    demonstrations: Sequence[Demonstration], recipe: Recipe, lengths: Sequence[int]
) -> Tensor:
    """Rows whose images were recorded, int64 (rows,); all rows if no images are read."""
    if not recipe.inputs.images:
        return torch.arange(sum(lengths))
    first = np.cumsum([0, *lengths[:-1]])
    steps = [d.image_steps + offset for d, offset in zip(demonstrations, first, strict=True)]
    return torch.from_numpy(np.concatenate(steps))


def _images(demonstrations: Sequence[Demonstration], recipe: Recipe, rows: int) -> Tensor:
    """uint8 (rows, views, 3, h, w)."""
    views = recipe.inputs.images
    if not views:
        return torch.zeros(rows, 0, 3, 1, 1, dtype=torch.uint8)
    columns = [np.concatenate([d.images[view] for d in demonstrations]) for view in views]
    return torch.from_numpy(np.stack(columns, axis=1)).permute(0, 1, 4, 2, 3).contiguous()


def _places(demonstrations: Sequence[Demonstration], recipe: Recipe) -> NDArray[np.float32] | None:
    """float32 (rows, 2, views, 2), NaN for episodes that tell none; None if no episode tells any."""
    found = [places_of(d, recipe.inputs.images) for d in demonstrations]
    if all(places is None for places in found):
        return None
    shape = (2, len(recipe.inputs.images), 2)
    parts = [
        np.full((len(d.image_steps), *shape), np.nan, np.float32) if places is None else places
        for d, places in zip(demonstrations, found, strict=True)
    ]
    return np.concatenate(parts)


def split_episodes(
    demonstrations: Sequence[Demonstration], fraction: float, seed: int
) -> tuple[list[Demonstration], list[Demonstration]]:
    """Training and validation episodes; of every task at least one of each.

    Raises:
        UserError: A task has a single demonstration.
    """
    training: list[Demonstration] = []
    validation: list[Demonstration] = []
    draw = np.random.default_rng(seed)
    for task in dict.fromkeys(d.task for d in demonstrations):
        episodes = [d for d in demonstrations if d.task == task]
        if len(episodes) < 2:
            raise UserError(
                f"task {task} has 1 demonstration, training and validation need one each"
            )
        count = min(max(1, round(fraction * len(episodes))), len(episodes) - 1)
        held = set(draw.permutation(len(episodes))[:count].tolist())
        training += [d for i, d in enumerate(episodes) if i not in held]
        validation += [d for i, d in enumerate(episodes) if i in held]
    return training, validation


def demonstrations_digest(demonstrations: Sequence[Demonstration]) -> str:
    """Identity of a set of demonstrations: their names and actions."""
    return digest([[d.source, digest(d.actions.tobytes().hex())] for d in demonstrations])
