"""Finds what does not fit between a policy, a suite and this machine, before the first episode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import nearest
from vla_bench.machine import installed_version


def mismatches(policy: PolicyCard, suite: SuiteCard) -> list[str]:
    """Everything that does not fit, one sentence each: expected, found, and what mends it."""
    return [
        *_suite(policy, suite),
        *_inputs(policy, suite),
        *_action(policy, suite),
        *engine(suite),
    ]


def _suite(policy: PolicyCard, suite: SuiteCard) -> Iterator[str]:
    if policy.suites and suite.name not in policy.suites:
        yield (
            f"policy {policy.name} is made for {', '.join(policy.suites)}, not for {suite.name}; "
            f"use --suite {policy.suites[0]}"
        )


def _inputs(policy: PolicyCard, suite: SuiteCard) -> Iterator[str]:
    for camera in policy.inputs.images:
        if camera not in suite.cameras:
            yield (
                f"policy {policy.name} reads camera {camera!r}, {suite.name} has no such camera; "
                f"{nearest(camera, suite.cameras)}"
            )
    yield from _entries(policy, "state", policy.inputs.state, suite.name, suite.state)
    yield from _entries(
        policy, "privileged", policy.inputs.privileged, suite.name, suite.privileged
    )


def _entries(
    policy: PolicyCard, kind: str, wanted: Mapping[str, int], suite: str, given: Mapping[str, int]
) -> Iterator[str]:
    for name, size in wanted.items():
        if name not in given:
            yield (
                f"policy {policy.name} reads {kind} entry {name!r}, {suite} has no such entry; "
                f"{nearest(name, given)}"
            )
        elif given[name] != size:
            yield (
                f"policy {policy.name} expects {kind} entry {name!r} of size {size}, "
                f"{suite} gives {given[name]}; mend inputs.{kind}.{name} in {policy.path}"
            )


def _action(policy: PolicyCard, suite: SuiteCard) -> Iterator[str]:
    for name in type(suite.action).model_fields:
        wanted, found = getattr(policy.action, name), getattr(suite.action, name)
        if wanted is not None and wanted != found:
            yield (
                f"policy {policy.name} returns actions with {name} {wanted!r}, {suite.name} takes "
                f"{found!r}; mend action.{name} in {policy.path} or its adapter"
            )


def engine(suite: SuiteCard) -> Iterator[str]:
    """Packages whose version is not the one that the suite's protocol is pinned to."""
    for name, version in suite.engine.items():
        found = installed_version(name)
        if found != version:
            yield (
                f"{suite.name} is pinned to {name} {version}, found {found}; "
                f"run `pip install {name}=={version}`"
            )
