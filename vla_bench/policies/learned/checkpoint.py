"""Checkpoints: a folder with `config.json`, `weights.safetensors` and a model card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vla_bench.cards import ActionConvention, PolicyCard, SuiteCard, find_cards
from vla_bench.errors import UserError, nearest
from vla_bench.nn.backbones import FullSizeConfig
from vla_bench.nn.normalisation import Normaliser, Statistics
from vla_bench.policies.learned.model import ChunkModel
from vla_bench.policies.learned.recipe import Recipe, load_recipe

CONFIG, WEIGHTS = "config.json", "weights.safetensors"
LOCAL = Path("results") / "weights"
"""Where `vla-bench train` puts weights, and where a run looks for those that are not shipped."""


class CheckpointConfig(BaseModel):
    """What `config.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format: Literal[1] = 1
    """Version of this layout."""
    recipe: Recipe
    """How the weights were made, and what they are the weights of."""
    action: ActionConvention
    """What the actions mean."""
    actions: Statistics
    """Of the demonstrated actions."""
    state: Statistics
    """Of the demonstrated state vectors."""
    statistics: str
    """Digest of both statistics and of the modes they are read in."""
    demonstrations: str
    """Digest of the names and actions of the demonstrations trained on."""
    weights: str
    """SHA-256 of the weight file."""
    updates: int
    """Updates made."""
    wall_s: float
    """Wall-clock time of the training (s)."""
    versions: dict[str, str]
    """Packages that the weights were trained with."""

    def action_normaliser(self) -> Normaliser:
        """Maps actions to the model's units and back."""
        return Normaliser(self.actions, self.recipe.normalise_actions)

    def state_normaliser(self) -> Normaliser:
        """Maps state vectors to the model's units."""
        return Normaliser(self.state, self.recipe.normalise_state)


def statistics_digest(recipe: Recipe, actions: Statistics, state: Statistics) -> str:
    """Identity of a normalisation: the numbers and how they are read."""
    text = f"{actions.digest} {recipe.normalise_actions} {state.digest} {recipe.normalise_state}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def find_weights(card: PolicyCard, suite: str) -> Path:
    """The checkpoint folder that a card's `weights` option names, or the one for the suite.

    Raises:
        UserError: There is none; says what can be done.
    """
    wanted = str(card.options["weights"])
    if wanted:
        for folder in (Path(wanted), shipped_folder() / wanted, LOCAL / wanted):
            if (folder / CONFIG).is_file():
                return folder
        shipped = shipped_names()
        raise UserError(
            f"--weights {wanted}: no {CONFIG} there; give a folder written by `vla-bench train`"
            + (f" or shipped weights, {nearest(wanted, shipped)}" if shipped else "")
        )
    name = f"{card.name}-{suite}"
    for folder in (shipped_folder() / name, LOCAL / name):
        if (folder / CONFIG).is_file():
            return folder
    raise UserError(_no_weights(card.name, suite))


def _no_weights(policy: str, suite: str) -> str:
    name = f"{policy}-{suite}"
    ways = ["give a folder with --weights"]
    if name in find_cards(Recipe):
        given = " --demonstrations DIR" if load_recipe(name).data.published else ""
        ways.insert(0, f"train them with `vla-bench train {name}{given}`")
    shipped = shipped_names()
    if ours := [name for name in find_cards(SuiteCard) if f"{policy}-{name}" in shipped]:
        ways.append(f"run it now with --suite {' or '.join(ours)}, whose weights are shipped")
    return f"{policy} has no weights for {suite}; {', or '.join(ways)}"


def shipped_folder() -> Path:
    """The folder of the weights that the package carries."""
    return Path(str(resources.files("vla_bench"))) / "weights"


def shipped_names() -> list[str]:
    """Names of the weights that the package carries."""
    return sorted(path.parent.name for path in shipped_folder().glob(f"*/{CONFIG}"))


def load_config(folder: Path) -> CheckpointConfig:
    """Reads and checks a checkpoint's `config.json`.

    Raises:
        UserError: It is not one of ours, or its statistics are not those it was trained with.
    """
    path = folder / CONFIG
    try:
        config = CheckpointConfig.model_validate_json(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        if problem["loc"] == ("format",):
            raise UserError(
                f"{path} is of format {problem['input']}, this version reads format 1; "
                "upgrade vla-bench, or train again with `vla-bench train`"
            ) from None
        place = ".".join(map(str, problem["loc"])) or "the file"
        raise UserError(
            f"{path} is not a checkpoint of this version: {place}: {problem['msg']}; "
            "train it again with `vla-bench train`"
        ) from None
    found = statistics_digest(config.recipe, config.actions, config.state)
    if found != config.statistics:
        raise UserError(
            f"{path}: its statistics have digest {found}, the weights were trained with "
            f"{config.statistics}; restore the file, or train again"
        )
    return config


def load_model(folder: Path, config: CheckpointConfig, device: str) -> ChunkModel:
    """Builds the model of a checkpoint and loads its weights.

    Raises:
        UserError: The weight file is missing, damaged, or of another architecture.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise UserError(f"{path} is missing; restore it, or train again with `vla-bench train`")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != config.weights:
        raise UserError(
            f"{path} has SHA-256 {found[:12]}, {CONFIG} says {config.weights[:12]}: "
            "the two are not from the same training; restore them, or train again"
        )
    assert config.action.size is not None
    model = ChunkModel(config.recipe, config.action.size)
    try:
        _fill(model, load_file(path), path)
    except SafetensorError as error:
        raise UserError(f"{path} is damaged: {error}; train again with `vla-bench train`") from None
    return model.to(device).eval()


def _fill(model: ChunkModel, tensors: dict[str, Tensor], path: Path) -> None:
    wanted = kept_tensors(model)
    for name in sorted(wanted.keys() ^ tensors.keys()):
        problem = f"expected no {name}" if name in tensors else f"{name} is missing"
        raise UserError(
            f"{path} is of another architecture than its recipe: {problem}; restore {CONFIG}, or "
            "train again"
        )
    for name, tensor in wanted.items():
        if tensor.shape != tensors[name].shape:
            raise UserError(
                f"{path} is of another architecture than its recipe: {name} has shape "
                f"{tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}; restore {CONFIG}, or "
                "train again"
            )
        with torch.no_grad():
            tensor.copy_(tensors[name])


def start_from(model: ChunkModel, folder: Path) -> bool:
    """Copies a checkpoint's backbone into a model that may also have parts of its own, e.g. for images.

    Its action head is copied too if the model's is built alike.

    Returns:
        Whether the head was copied.

    Raises:
        UserError: The checkpoint's backbone does not fit.
    """
    config = load_config(folder)
    found = load_model(folder, config, "cpu")
    earlier = found.backbone.state_dict()
    wanted = model.backbone.state_dict()
    for name, tensor in earlier.items():
        if name not in wanted or wanted[name].shape != tensor.shape:
            raise UserError(
                f"{folder} cannot start recipe {model.recipe.name}: {name} of its backbone does not fit; "
                f"give both recipes the same backbone and state entries"
            )
    model.backbone.load_state_dict(earlier, strict=False)
    alike = config.recipe.head == model.recipe.head and _shapes(found.head) == _shapes(model.head)
    if alike:
        model.head.load_state_dict(found.head.state_dict())
    return alike


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    """Shapes of a module's parameters and buffers, by name."""
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def kept_tensors(model: ChunkModel) -> dict[str, Tensor]:
    """What a checkpoint holds: trained parameters and buffers, but no frozen pretrained weights."""
    backbone = model.recipe.backbone
    # Frozen weights that were drawn at random can be had nowhere else.
    published = isinstance(backbone, FullSizeConfig) and backbone.pretrained
    frozen = {name for name, p in model.named_parameters() if published and not p.requires_grad}
    return {name: t for name, t in model.state_dict().items() if name not in frozen}


def save_checkpoint(folder: Path, model: ChunkModel, config: CheckpointConfig) -> None:
    """Writes weights in half precision, then the config that names them.

    Args:
        folder: Made if it does not exist.
        model: The trained model.
        config: Its config; `weights` is filled in here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in kept_tensors(model).items()
    }
    _write(folder / WEIGHTS, lambda path: path.write_bytes(save(halves)))
    weights = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    text = config.model_copy(update={"weights": weights}).model_dump_json(indent=1) + "\n"
    _write(folder / CONFIG, lambda path: path.write_text(text))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Writes under another name first, so that a file is whole or absent."""
    temporary = path.with_suffix(".tmp")
    write(temporary)
    temporary.replace(path)
