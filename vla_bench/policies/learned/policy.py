"""Plays a checkpoint: observations to tensors, one forward pass for a batch, chunks back to actions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import UserError, nearest
from vla_bench.policies.base import ActionChunks, Observation, Policy
from vla_bench.policies.learned.checkpoint import find_weights, load_config, load_model
from vla_bench.policies.learned.diagnostics import LearnedDiagnostics
from vla_bench.policies.learned.head import Settings
from vla_bench.policies.learned.heads import SAMPLING
from vla_bench.policies.learned.recipe import Recipe

RESERVED = frozenset({"weights", "weights_digest", "head", "residual", "device", "threads"})
"""Options of a learned policy's card that are not the head's sampling settings."""


class LearnedPolicy(Policy):
    """A policy whose weights, inputs and chunk length come from a checkpoint.

    Args:
        card: The policy's card, completed by `prepare`.
        suite: Card of the suite.
    """

    def __init__(self, card: PolicyCard, suite: SuiteCard) -> None:
        super().__init__(card, suite)
        folder = find_weights(card, suite.weights_of)
        self.config = load_config(folder)
        if self.config.weights[:16] != card.options["weights_digest"]:
            raise UserError(
                f"{folder} holds weights {self.config.weights[:16]}, the run was made with "
                f"{card.options['weights_digest']}; restore them, or start a new run"
            )
        self.device = choose_device(str(card.options["device"]))
        torch.set_num_threads(threads_of(card))
        self.model = load_model(folder, self.config, self.device)
        self.sampling = sampling_of(card)
        self.residual = self.model.residual if card.options["residual"] else None
        self.correction_images = (
            self.residual is not None and self.residual.config.inputs == "state+images"
        )
        self.actions = self.config.action_normaliser()
        self.state = self.config.state_normaliser()
        self._pooled: dict[str, Tensor] = {}

    @classmethod
    def prepare(cls, card: PolicyCard, suite: SuiteCard) -> PolicyCard:
        """Takes inputs, chunk length, horizon and action convention from the checkpoint.

        Raises:
            UserError: There are no weights for the suite, or they do not fit the card.
        """
        sampling = sampling_of(card)
        choose_device(str(card.options["device"]))
        threads_of(card)
        folder = find_weights(card, suite.weights_of)
        config = load_config(folder)
        recipe = config.recipe
        _check(folder, recipe, card, suite)
        recipe.head.check(sampling)
        return card.model_copy(
            update={
                "chunk_length": recipe.chunk_length,
                "horizon": recipe.horizon,
                "inputs": recipe.inputs,
                "action": config.action,
                "options": {
                    **card.options,
                    "weights": card.options["weights"] or folder.name,
                    "weights_digest": config.weights[:16],
                },
            }
        )

    @property
    def corrects(self) -> bool:
        """Whether the residual correction module is on."""
        return self.residual is not None

    def plan(self, observations: Sequence[Observation]) -> ActionChunks:
        """A forward pass for each instruction; a chunk's noise is drawn from its item and step alone."""
        by_instruction: dict[str, list[int]] = {}
        for place, observation in enumerate(observations):
            by_instruction.setdefault(observation.instruction, []).append(place)
        chunks = np.empty((len(observations), self.card.chunk_length, self.action_size), np.float32)
        for places in by_instruction.values():
            chunks[places] = self._pass([observations[place] for place in places])
        return chunks

    def _pass(self, observations: Sequence[Observation]) -> ActionChunks:
        # Sums are rounded otherwise in a pass of another size: the last observation fills it up.
        # Place matters too where the size is no power of two, and with two on CPUs without AVX-512.
        size = 1 if self.batch == 1 else max(4, 1 << (self.batch - 1).bit_length())
        padded = [*observations, *[observations[-1]] * (size - len(observations))]
        chunks, pooled = self.model.plan(*self.tensors(padded), self.sampling)
        if self.residual is not None:
            for observation, context in zip(padded, pooled, strict=True):
                self._pooled[observation.item.digest] = context
        planned: ActionChunks = self.actions.inverse(chunks).float().cpu().numpy()
        return planned[: len(observations)]

    def tensors(
        self, observations: Sequence[Observation]
    ) -> tuple[Tensor, Sequence[str], Tensor, Tensor]:
        """What the model is given: images, instructions, state and noise, as in `ChunkModel.plan`."""
        instructions = [observation.instruction for observation in observations]
        images, state = self._images(observations), self._state(observations)
        return images, instructions, state, self._noise(observations)

    def diagnostics(self) -> LearnedDiagnostics:
        """Where it looks, what it chose from, and what it plans with less to see."""
        return LearnedDiagnostics(self)

    @torch.no_grad()
    def correct(
        self, observation: Observation, action: NDArray[np.float32], k: int
    ) -> NDArray[np.float32]:
        """Adds what the residual correction module says for this step."""
        assert self.residual is not None
        # A plan may leave the range of the demonstrations; clipped, it would come back another.
        planned = self.actions.forward(torch.from_numpy(action)[None].to(self.device), clip=False)
        delta = self.residual(
            self._state([observation]),
            planned,
            torch.tensor([k], device=self.device),
            self._pooled[observation.item.digest][None],
            self._images([observation]) if self.correction_images else None,
        )
        corrected: NDArray[np.float32] = self.actions.inverse(planned + delta)[0].cpu().numpy()
        return corrected

    def _images(self, observations: Sequence[Observation]) -> Tensor:
        """uint8 (B, views, 3, h, w), views in the order of the recipe."""
        views = self.config.recipe.inputs.images
        if not views:
            return torch.zeros(len(observations), 0, 3, 1, 1, dtype=torch.uint8, device=self.device)
        stacked = np.stack([[o.images[view] for view in views] for o in observations])
        return torch.from_numpy(stacked).permute(0, 1, 4, 2, 3).to(self.device)

    def _state(self, observations: Sequence[Observation]) -> Tensor:
        """Normalised state vectors, (B, state size)."""
        entries = self.config.recipe.state_entries
        rows = [
            np.concatenate([{**o.state, **o.privileged}[name] for name in entries])
            for o in observations
        ]
        state = torch.from_numpy(np.stack(rows).astype(np.float32)).to(self.device)
        return self.state.forward(state)

    def _noise(self, observations: Sequence[Observation]) -> Tensor:
        size = tuple(self.model.head.noise_size())
        draws = [
            o.item.generator(f"noise at step {o.step}").standard_normal(size) for o in observations
        ]
        return torch.from_numpy(np.stack(draws).astype(np.float32)).to(self.device)


def _check(folder: Path, recipe: Recipe, card: PolicyCard, suite: SuiteCard) -> None:
    """Refuses weights that are not for the suite, or not of the policy that the card names."""
    if recipe.suite != suite.weights_of:
        raise UserError(
            f"{folder} was trained for {recipe.suite}, its statistics are not those of "
            f"{suite.name}; use --suite {recipe.suite}, or other --weights"
        )
    if recipe.policy != card.name:
        raise UserError(
            f"{folder} holds weights of {recipe.policy}, not of {card.name}; "
            f"use --policy {recipe.policy}"
        )
    if recipe.head.kind != card.options["head"]:
        raise UserError(
            f"{folder} has a head of kind {recipe.head.kind!r}, the card of {card.name} says "
            f"{card.options['head']!r}; use --set head={recipe.head.kind}"
        )
    if card.options["residual"] and recipe.residual is None:
        raise UserError(f"{folder} has no residual correction module; use --set residual=false")


def sampling_of(card: PolicyCard) -> Settings:
    """The sampling settings that a card's options hold.

    Raises:
        UserError: An option has an unknown value.
    """
    options = {key: value for key, value in card.options.items() if key not in RESERVED}
    kind = str(card.options["head"])
    if kind not in SAMPLING:
        raise UserError(f"--set head={kind}: there is no such head; {nearest(kind, SAMPLING)}")
    try:
        return SAMPLING[kind].model_validate(options)
    except ValidationError as error:
        problem = error.errors()[0]
        key = problem["loc"][0]
        raise UserError(
            f"--set {key}={problem['input']}: {problem['msg']}; see {card.name}.toml"
        ) from None


def threads_of(card: PolicyCard) -> int:
    """How many threads torch is to use.

    Raises:
        UserError: Fewer than one.
    """
    threads = int(str(card.options["threads"]))
    if threads < 1:
        raise UserError(f"--set threads={threads}: expected 1 or more; use --set threads=1")
    return threads


def choose_device(name: str) -> str:
    """`auto` is a GPU where there is one."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise UserError(f"--set device={name}: expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--set device=cuda: no GPU is to be had here; use --set device=cpu")
    return name
