"""Size and training of the weights that a run played."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from vla_bench.records import RunManifest


class TrainedWeights(BaseModel):
    """What a table says about weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    recipe: str
    """Name of the recipe, and of the one whose weights it starts from."""
    parameters: int
    """Parameters of backbone, head and residual module."""
    updates: int
    """Updates of the policy's training."""
    batch: int
    """Windows per update."""
    demonstrations: int
    """Demonstrations per task."""
    wall_s: float
    """Wall-clock time of the training, its residual module included (s)."""


def weights_of(manifest: RunManifest) -> TrainedWeights | None:
    """Facts about the weights of a run; None if its policy has none."""
    if "weights_digest" not in manifest.policy.options:
        return None
    from vla_bench.policies.learned.checkpoint import find_weights, load_config
    from vla_bench.policies.learned.model import ChunkModel

    config = load_config(find_weights(manifest.policy, manifest.suite.name))
    assert config.action.size is not None
    model = ChunkModel(config.recipe, config.action.size, weights=False)
    start = config.recipe.training.start
    return TrainedWeights(
        recipe=config.recipe.name + (f", starts from {start}" if start else ""),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        updates=config.updates,
        batch=config.recipe.training.batch,
        demonstrations=config.recipe.data.per_task,
        wall_s=config.wall_s,
    )
