"""What a learned policy costs per query, per step and per episode: `vla-bench profile`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn

from vla_bench.errors import UserError
from vla_bench.nn.backbones import FullSizeConfig
from vla_bench.policies.anchorvla import quoted as anchorvla
from vla_bench.policies.deepvision import quoted as deepvision
from vla_bench.policies.focusvla import quoted as focusvla
from vla_bench.policies.learned.policy import choose_device, sampling_of
from vla_bench.policies.learned.quoted import Comparison, Counted
from vla_bench.policies.learned.subject import ProfileSpec, Queries, Subject, find_subject
from vla_bench.policies.posavla import quoted as posavla
from vla_bench.profiling import (
    Figures,
    Flops,
    Parameters,
    PeakMemory,
    Timing,
    count_flops,
    measure_time,
)

COMPARED: Mapping[str, Callable[[Counted], list[Comparison]]] = {
    "anchorvla": anchorvla.compare,
    "deepvision": deepvision.compare,
    "focusvla": focusvla.compare,
    "posavla": posavla.compare,
}
"""Policy -> what sets its paper's figures beside those of the full size."""


class Profile(Figures):
    """What a policy costs."""

    policy: str
    """Name of the policy."""
    suite: str
    """Name of the suite."""
    recipe: str
    """Name of the recipe: sizes, chunk length, inputs."""
    weights: str
    """Checkpoint folder, or `random`."""
    weights_digest: str
    """Digest of the weights; empty for random ones."""
    chunk_length: int
    """Actions P of a chunk."""
    sampling: dict[str, str | int | float | bool]
    """How the head plans."""
    parameters: dict[str, Parameters]
    """Of the `model`, its `backbone`, `head` and `residual`, and the backbone's parts."""
    flops: Flops
    """Floating-point operations."""
    timing: Timing | None
    """Of queries; none if they were not timed."""
    residual_ms: float | None
    """Median wall-clock time of one correction (ms)."""
    peak_memory: int | None
    """Peak memory of building and querying the model (bytes)."""
    quoted: list[Comparison]
    """Figures of the method's paper beside these; quoted, not measured here."""


def profile_policy(spec: ProfileSpec) -> Profile:
    """Counts parameters and FLOPs, and times queries.

    Raises:
        UserError: The policy is not a learned one, or a setting is wrong.
    """
    _check(spec)
    subject = find_subject(spec)
    recipe, card = subject.recipe, subject.card
    flops, parameters = _count(subject)
    timing = residual_ms = memory = None
    if spec.queries:
        timing, residual_ms, memory = _measure(subject, spec)
    return Profile(
        policy=card.name,
        suite=subject.suite.name,
        recipe=recipe.name,
        weights=subject.folder or "random",
        weights_digest=subject.weights_digest(),
        chunk_length=recipe.chunk_length,
        sampling=sampling_of(card).model_dump(),
        parameters=parameters,
        flops=flops,
        timing=timing,
        residual_ms=residual_ms,
        peak_memory=memory,
        quoted=_quoted(subject, parameters, flops, timing),
    )


def _check(spec: ProfileSpec) -> None:
    if spec.batch < 1:
        raise UserError(f"--batch {spec.batch}: expected a number of queries; use --batch 1")
    if spec.queries < 0:
        raise UserError(f"--queries {spec.queries}: expected 0 or more; 0 times nothing")


def _count(subject: Subject) -> tuple[Flops, dict[str, Parameters]]:
    with torch.device("meta"):
        model = subject.model()
        queries = Queries(subject, model, batch=1)
        context = queries.encode()
        corrects = model.residual is not None and bool(subject.card.options["residual"])
        flops = Flops(
            backbone=count_flops(queries.encode),
            head=count_flops(lambda: queries.sample(context)),
            residual=count_flops(queries.correct) if corrects else 0,
            max_steps=subject.suite.max_steps,
            queries=math.ceil(subject.suite.max_steps / subject.recipe.horizon),
        )
    modules: dict[str, nn.Module | None]
    modules = {"model": model, "backbone": model.backbone, "head": model.head}
    modules |= {"residual": model.residual} if corrects else {}
    modules |= {f"backbone.{name}": part for name, part in model.backbone.parts().items()}
    return flops, {name: Parameters.of(module) for name, module in modules.items()}


def _measure(subject: Subject, spec: ProfileSpec) -> tuple[Timing, float | None, int]:
    device = choose_device(str(subject.card.options["device"]))
    torch.set_num_threads(int(str(subject.card.options["threads"])))
    memory = PeakMemory(torch.device(device))
    model = subject.loaded(device)
    queries = Queries(subject, model, spec.batch)
    like = next(model.parameters())
    horizon = subject.recipe.horizon
    timing = measure_time(
        queries.plan, calls=spec.queries, batch=spec.batch, horizon=horizon, like=like
    )
    correction_ms = None
    if model.residual is not None and subject.card.options["residual"]:
        step = measure_time(queries.correct, calls=spec.queries, batch=1, horizon=1, like=like)
        correction_ms = step.latency_p50_ms
    return timing, correction_ms, memory.bytes()


def _quoted(
    subject: Subject, parameters: Mapping[str, Parameters], flops: Flops, timing: Timing | None
) -> list[Comparison]:
    recipe = subject.recipe
    if recipe.policy not in COMPARED or not isinstance(recipe.backbone, FullSizeConfig):
        return []
    latency = timing.latency_p50_ms if timing else None
    return COMPARED[recipe.policy](Counted(parameters, flops, recipe.chunk_length, latency))
