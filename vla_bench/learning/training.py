"""Trains a policy from demonstrations; resumes after a kill, and gives the same weights twice."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vla_bench.cards import ActionConvention, SuiteCard, find_cards, load_card
from vla_bench.errors import UserError
from vla_bench.learning.augmentation import augmented
from vla_bench.learning.demonstrations import Demonstration
from vla_bench.learning.residual_training import train_residual
from vla_bench.learning.training_state import TrainingLog, TrainingState
from vla_bench.learning.windows import (
    WindowData,
    demonstrations_digest,
    split_episodes,
    state_rows,
)
from vla_bench.locks import acquire
from vla_bench.machine import installed_versions
from vla_bench.nn.normalisation import Normaliser, Statistics
from vla_bench.policies.learned.checkpoint import (
    CONFIG,
    CheckpointConfig,
    load_config,
    save_checkpoint,
    start_from,
    statistics_digest,
)
from vla_bench.policies.learned.model import ChunkModel
from vla_bench.policies.learned.recipe import Recipe, TrainingConfig

VALIDATION_WINDOWS, VALIDATION_BATCH = 512, 64
LEAST_RATE = 0.1
"""Where the learning rate ends, as a fraction of its peak."""
RARE = 0.05
"""Share of the images with a task anchor below which the log says so."""
OnUpdate = Callable[[int, dict[str, float]], None]
"""Called with the updates made so far and the latest losses."""


@dataclass(frozen=True)
class TrainingData:
    """Demonstrations, split and in the model's units."""

    training: WindowData
    validation: WindowData
    actions: Statistics
    state: Statistics
    digest: str


def train(
    recipe: Recipe,
    demonstrations: Sequence[Demonstration],
    out: Path,
    on_update: OnUpdate | None = None,
    start: Path | None = None,
) -> Path:
    """Trains a policy's weights, or goes on with a training that was interrupted.

    Args:
        recipe: What to train and how.
        demonstrations: Episodes of the recipe's suite, from its train split.
        out: Checkpoint folder; it is complete once it holds `config.json`.
        on_update: Told about every update.
        start: Checkpoint that the policy starts from, and that says how state and actions are scaled.

    Returns:
        `out`.

    Raises:
        UserError: The demonstrations do not fit the recipe, `out` holds something else, or another
            training is writing to it.
    """
    if finished(out, recipe):
        return out
    action = recipe.action or load_card(SuiteCard, recipe.suite).action
    _check(demonstrations, recipe, action)
    began = time.perf_counter()
    torch.set_num_threads(recipe.training.threads)
    data = prepare_data(recipe, demonstrations, start)
    with _alone(out):
        if finished(out, recipe):  # by another training, while this one read the data or waited
            return out
        model, spent = _train_policy(recipe, data, action, out, start, on_update)
        if model.residual is not None:
            train_residual(model, data.training, recipe)
        config = _config(recipe, data, action, spent + time.perf_counter() - began)
        save_checkpoint(out, model, config)
        TrainingState.remove(out)
    return out


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keeps other trainings out of a checkpoint folder."""
    out.mkdir(parents=True, exist_ok=True)
    lock = acquire(out / ".lock", f"another training is writing to {out}; give another --out")
    try:
        yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def prepare_data(
    recipe: Recipe, demonstrations: Sequence[Demonstration], start: Path | None = None
) -> TrainingData:
    """Splits demonstrations by episode; statistics are those of the training part.

    Weights that the policy starts from expect state and actions scaled as they were for them.
    """
    config = recipe.training
    training, validation = split_episodes(demonstrations, config.validation, config.seed)
    if start is None:
        actions = Statistics.of(np.concatenate([d.actions for d in training]))
        state = Statistics.of(np.concatenate([state_rows(d, recipe) for d in training]))
    else:
        earlier = load_config(start)
        actions, state = earlier.actions, earlier.state
    normalisers = (
        Normaliser(actions, recipe.normalise_actions),
        Normaliser(state, recipe.normalise_state),
    )
    return TrainingData(
        WindowData(training, recipe, *normalisers, balanced=config.balance),
        WindowData(validation, recipe, *normalisers),
        actions,
        state,
        demonstrations_digest(training),
    )


def _check(
    demonstrations: Sequence[Demonstration], recipe: Recipe, action: ActionConvention
) -> None:
    suites = {"", recipe.suite, *_parts(recipe)}
    for demonstration in demonstrations:
        if demonstration.suite not in suites:
            raise UserError(
                f"{demonstration.source} is of suite {demonstration.suite}, recipe {recipe.name} "
                f"is for {recipe.suite}; give --demonstrations of {recipe.suite}"
            )
        size = demonstration.actions.shape[1]
        if size != action.size:
            raise UserError(
                f"{demonstration.source} has actions of {size} numbers, {recipe.suite} takes "
                f"{action.size}; give --demonstrations of {recipe.suite}"
            )


def _parts(recipe: Recipe) -> set[str]:
    """Suites whose tasks the recipe's suite is put together of."""
    if recipe.suite not in find_cards(SuiteCard):
        return set()
    tasks = load_card(SuiteCard, recipe.suite).tasks.values()
    return {task.suite for task in tasks if task.suite is not None}


def finished(out: Path, recipe: Recipe) -> bool:
    """Whether a checkpoint folder holds the weights of a recipe.

    Raises:
        UserError: It holds those of another recipe.
    """
    if not (out / CONFIG).exists():
        return False
    found = load_config(out).recipe
    if found.digest != recipe.digest:
        raise UserError(
            f"{out} holds weights of another recipe ({found.name}, seed {found.training.seed}); "
            "give another --out, or remove it"
        )
    return True


def _train_policy(
    recipe: Recipe,
    data: TrainingData,
    action: ActionConvention,
    out: Path,
    start: Path | None,
    on_update: OnUpdate | None,
) -> tuple[ChunkModel, float]:
    """The model with averaged weights, and the seconds that earlier starts took."""
    config = recipe.training
    assert action.size is not None
    torch.manual_seed(config.seed)
    model = ChunkModel(recipe, action.size)
    if start is None or not start_from(model, start):
        model.head.fit(data.training.whole_chunks(), config.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    state = TrainingState(model, config)
    identity = f"{recipe.digest} {data.digest}" + (
        f" {load_config(start).weights}" if start else ""
    )
    first = state.resume(out, identity)
    log = TrainingLog(out, first)
    began = time.perf_counter()
    for update in range(first, config.updates):
        losses = _update(model, data.training, state, config, update)
        if on_update is not None:
            on_update(update + 1, losses)
        if (update + 1) % config.every == 0 or update + 1 == config.updates:
            with state.averaged():
                losses.update(validate(model, data.validation))
            losses.update(_rare_anchors(data.training))
            log.write(update + 1, losses)
            spent = state.earlier_s + time.perf_counter() - began
            state.save(out, identity, update + 1, spent)
    state.use_averaged()
    return model, state.earlier_s


def _update(
    model: ChunkModel, data: WindowData, state: TrainingState, config: TrainingConfig, update: int
) -> dict[str, float]:
    """One optimiser step; its batch and noise depend on the seed and the update's number alone."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + update)
    steps = torch.randint(len(data), (config.batch,), generator=generator)
    device = next(model.parameters()).device
    model.train()
    model.head.begin(update)
    observed, windows = augmented(data.observations(steps), data.windows(steps), config, generator)
    state.set_rate(config.learning_rate * rate(update, config))
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        context = model.encode(
            observed.images.to(device), observed.instructions, observed.state.to(device)
        )
        losses: dict[str, Tensor] = model.head.loss(context, windows.to(device), generator)
        losses["total"] = losses["total"] + sum(context.losses.values())
    norm = state.step(losses["total"])
    if not math.isfinite(norm):
        raise UserError(
            f"the gradient of update {update} is not finite; lower training.learning_rate, or use "
            "--set training.precision=float32"
        )
    losses |= context.losses
    return {name: float(loss.detach()) for name, loss in losses.items()} | {"gradient": norm}


def rate(update: int, config: TrainingConfig) -> float:
    """Learning rate as a fraction of its peak: a linear rise, then half a cosine."""
    rise = max(1, round(config.warmup * config.updates))
    if update < rise:
        return (update + 1) / rise
    progress = (update - rise) / max(1, config.updates - rise)
    return LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * progress))


def _rare_anchors(data: WindowData) -> dict[str, float]:
    """Tasks of which next to no image shows a task anchor: whatever is to be learnt of it is not."""
    shares = data.task_anchors.items()
    return {f"task_anchors/{task}": share for task, share in shares if share < RARE}


@torch.no_grad()
def validate(model: ChunkModel, data: WindowData) -> dict[str, float]:
    """Error of sampled chunks on held-back demonstrations, and what the head has to add."""
    model.eval()
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randperm(len(data), generator=generator)[:VALIDATION_WINDOWS]
    rows, sizes = [], []
    for first in range(0, len(drawn), VALIDATION_BATCH):
        batch = drawn[first : first + VALIDATION_BATCH]
        rows.append(_validate_batch(model, data, batch, generator))
        sizes.append(len(batch))
    return {name: _mean([row[name] for row in rows], sizes) for name in rows[0]}


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    """Weighted mean without the batches that could not tell, which say NaN; NaN if none could."""
    told = [(v, w) for v, w in zip(values, weights, strict=True) if not math.isnan(v)]
    return sum(v * w for v, w in told) / sum(w for _, w in told) if told else math.nan


def _validate_batch(
    model: ChunkModel, data: WindowData, batch: Tensor, generator: torch.Generator
) -> dict[str, float]:
    device = next(model.parameters()).device
    observed, windows = data.observations(batch), data.windows(batch).to(device)
    noise = torch.randn((len(batch), *model.head.noise_size()), generator=generator).to(device)
    context = model.encode(
        observed.images.to(device), observed.instructions, observed.state.to(device)
    )
    sampling = model.recipe.head.sampling()
    error = windows.mean((model.head.sample(context, noise, sampling) - windows.chunks).abs())
    return {"validation_error": float(error), **model.head.diagnose(context, windows, noise)}


def _config(
    recipe: Recipe, data: TrainingData, action: ActionConvention, wall_s: float
) -> CheckpointConfig:
    return CheckpointConfig(
        recipe=recipe.portable(),
        action=action,
        actions=data.actions,
        state=data.state,
        statistics=statistics_digest(recipe, data.actions, data.state),
        demonstrations=data.digest,
        weights="",
        updates=recipe.training.updates,
        wall_s=round(wall_s, 1),
        versions=installed_versions({"torch": "", "numpy": "", "scikit-learn": ""}),
    )
