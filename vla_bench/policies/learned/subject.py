"""What is profiled: the model of a recipe or checkpoint, and queries of it with made-up observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vla_bench.cards import PolicyCard, SuiteCard, find_cards, load_card
from vla_bench.errors import UserError
from vla_bench.nn.backbone import Context
from vla_bench.nn.backbones import FullSizeConfig
from vla_bench.policies.learned.checkpoint import find_weights, load_config, load_model
from vla_bench.policies.learned.model import ChunkModel
from vla_bench.policies.learned.policy import sampling_of
from vla_bench.policies.learned.recipe import Recipe, load_recipe

SUITE = "ms-hab-mini"
FULL_SIZE_SUITES = ("ms-hab", "libero-spatial")
"""Where full-size policies play; the first of them that a policy has a recipe for is profiled."""


@dataclass(frozen=True)
class ProfileSpec:
    """What to profile: the command line of `vla-bench profile` as a value."""

    policy: str
    """Name of a policy, or path of its card."""
    suite: str | None = None
    """Name of a suite; None for `ms-hab-mini`, at full size for the first of `FULL_SIZE_SUITES`."""
    weights: str | None = None
    """A checkpoint folder; None for the weights that a run plays or, where there are none or settings
    override the recipe, for the recipe of policy and suite with random weights."""
    full_size: bool = False
    """Whether the backbone has to be the full-size one."""
    batch: int = 1
    """Queries answered by one call."""
    queries: int = 20
    """Calls timed; 0 leaves times and memory out, and no weights are made."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Overrides of the policy card's options, or of the recipe."""


@dataclass(frozen=True)
class Subject:
    """A policy on a suite, not built yet."""

    card: PolicyCard
    suite: SuiteCard
    recipe: Recipe
    folder: str | None
    """The checkpoint; None for random weights."""

    def model(self) -> ChunkModel:
        """The model with random weights; sizes alone on the meta device."""
        assert self.suite.action.size is not None
        return ChunkModel(_offline(self.recipe), self.suite.action.size).eval()

    def weights_digest(self) -> str:
        """Digest of the checkpoint's weights; empty for random ones."""
        if self.folder is None:
            return ""
        return load_config(find_weights(self.card, self.suite.name)).weights[:16]

    def loaded(self, device: str) -> ChunkModel:
        """The model as it plays."""
        if self.folder is None:
            return self.model().to(device)
        folder = find_weights(self.card, self.suite.weights_of)
        return load_model(folder, load_config(folder), device)


class Queries:
    """Queries of a model with made-up observations, on the model's device.

    Args:
        subject: What the model was made of.
        model: The model.
        batch: Queries answered by one call.
    """

    def __init__(self, subject: Subject, model: ChunkModel, batch: int) -> None:
        self.model, self.sampling = model, sampling_of(subject.card)
        recipe, device = subject.recipe, next(model.parameters()).device
        views = recipe.inputs.images
        size = subject.suite.cameras[views[0]] if views else (1, 1)
        self.images = torch.zeros(batch, len(views), 3, *size, dtype=torch.uint8, device=device)
        self.instructions = [next(iter(subject.suite.tasks.values())).instruction] * batch
        self.state = torch.zeros(batch, recipe.state_size, device=device)
        self.noise = torch.randn(batch, *model.head.noise_size(), device=device)
        self.action = torch.zeros(1, subject.suite.action.size or 0, device=device)
        self.k = torch.zeros(1, dtype=torch.int64, device=device)
        self.pooled = torch.zeros(1, 2 * model.backbone.width, device=device)

    def plan(self) -> object:
        """Chunks for the whole batch, as the policy plans them."""
        return self.model.plan(
            self.images, self.instructions, self.state, self.noise, self.sampling
        )

    def encode(self) -> Context:
        """The backbone's part of `plan`."""
        return self.model.encode(self.images, self.instructions, self.state)

    def sample(self, context: Context) -> Tensor:
        """The head's part of `plan`."""
        return self.model.head.sample(context, self.noise, self.sampling)

    @torch.no_grad()
    def correct(self) -> object:
        """One correction by the residual correction module, which the model must have."""
        module = self.model.residual
        assert module is not None
        images = self.images[:1] if module.config.inputs == "state+images" else None
        return module(self.state[:1], self.action, self.k, self.pooled, images)


def find_subject(spec: ProfileSpec) -> Subject:
    """Loads the cards and the recipe that a command line names.

    Raises:
        UserError: The policy is not a learned one, or there is no such recipe, checkpoint or setting.
    """
    card = load_card(PolicyCard, spec.policy)
    if card.adapter != "learned":
        raise UserError(f"{card.name} has no model to profile; choose a learned policy, e.g. l1")
    default = _full_size_suite(card) if spec.full_size else SUITE
    suite = load_card(SuiteCard, spec.suite or default)
    options = {key: text for key, text in spec.settings.items() if key in card.options}
    changes = {key: text for key, text in spec.settings.items() if key not in options}
    card = card.override({**options, **({"weights": spec.weights} if spec.weights else {})})
    if not changes and not spec.full_size:
        card = card.override({"weights": _played(card, suite)})
    folder = str(card.options["weights"]) or None
    recipe = _recipe(card, suite, changes)
    if spec.full_size and not isinstance(recipe.backbone, FullSizeConfig):
        raise UserError(
            f"recipe {recipe.name} has the {recipe.backbone.name} backbone; "
            f"--full-size is for --suite {_full_size_suite(card)}"
        )
    return Subject(card, suite, recipe, folder)


def _full_size_suite(card: PolicyCard) -> str:
    known = find_cards(Recipe)
    suites = (suite for suite in FULL_SIZE_SUITES if f"{card.name}-{suite}" in known)
    return next(suites, FULL_SIZE_SUITES[0])


def _played(card: PolicyCard, suite: SuiteCard) -> str:
    """The weights that a run plays; empty where there are none yet."""
    if card.options["weights"]:
        return str(card.options["weights"])
    try:
        return find_weights(card, suite.name).name
    except UserError:
        return ""


def _recipe(card: PolicyCard, suite: SuiteCard, changes: Mapping[str, str]) -> Recipe:
    if not card.options["weights"]:
        return load_recipe(f"{card.name}-{suite.name}", changes)
    if changes:
        raise UserError(
            f"--set {next(iter(changes))}: weights have a recipe of their own; leave --weights out"
        )
    return load_config(find_weights(card, suite.weights_of)).recipe


def _offline(recipe: Recipe) -> Recipe:
    """The recipe with random weights where it would download some."""
    if not isinstance(recipe.backbone, FullSizeConfig):
        return recipe
    backbone = recipe.backbone.model_copy(update={"pretrained": False})
    return recipe.model_copy(update={"backbone": backbone})
