"""From the adapter named on a card to its class, imported only when it is needed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from vla_bench.cards import Card, PolicyCard, SuiteCard
from vla_bench.errors import UserError, nearest
from vla_bench.items import digest
from vla_bench.policies.base import Policy
from vla_bench.suites.base import Suite

POLICIES = {
    "act-http": "vla_bench.policies.bridges.act_http:ActHttpPolicy",
    "expert": "vla_bench.policies.expert.policy:ExpertPolicy",
    "gr00t": "vla_bench.policies.bridges.gr00t:Gr00tPolicy",
    "hold": "vla_bench.policies.hold:HoldPolicy",
    "learned": "vla_bench.policies.learned.policy:LearnedPolicy",
    "openpi": "vla_bench.policies.bridges.openpi:OpenpiPolicy",
    "random": "vla_bench.policies.random:RandomPolicy",
    "starvla": "vla_bench.policies.bridges.starvla:StarvlaPolicy",
    "vla-eval": "vla_bench.policies.bridges.vla_eval:VlaEvalPolicy",
}
BRIDGES = frozenset({"act-http", "gr00t", "openpi", "starvla", "vla-eval"})
"""Adapters that speak to policy servers."""
SUITES = {
    "libero": "vla_bench.suites.libero.suite:LiberoSuite",
    "micro": "vla_bench.suites.micro.suite:MicroSuite",
    "ms-hab": "vla_bench.suites.ms_hab.suite:MsHabSuite",
}
POLICIES_GROUP = "vla_bench.policies"
SUITES_GROUP = "vla_bench.suites"
"""Entry-point groups in which third-party packages name their adapters."""


def prepare_card(card: PolicyCard, suite: SuiteCard) -> PolicyCard:
    """A policy's card, completed for one suite by the policy itself; not to be completed again.

    Raises:
        UserError: The policy cannot complete it, or what came of it is no valid card.
    """
    prepared = _policy_class(card).prepare(card, suite)
    try:
        return PolicyCard.model_validate(prepared.model_dump())
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"]) or "card"
        raise UserError(
            f"policy {card.name}, prepared for {suite.name}: {place}: {problem['msg']}"
        ) from None


def make_policy(card: PolicyCard, suite: SuiteCard, batch: int = 1) -> Policy:
    """The policy that a card declares, for one suite; `prepare_card` completes the card first.

    Args:
        card: The policy's card.
        suite: Card of the suite.
        batch: Episodes that the run plans together; see `Policy.batch`.
    """
    policy = _policy_class(card)(card, suite)
    policy.batch = batch
    return policy


def _policy_class(card: PolicyCard) -> type[Policy]:
    found = _load(card, POLICIES, POLICIES_GROUP, Policy)
    assert isinstance(found, type)
    assert issubclass(found, Policy)
    return found


def make_suite(card: SuiteCard) -> Suite:
    """The suite that a card declares."""
    made = _load(card, SUITES, SUITES_GROUP, Suite)(card)
    assert isinstance(made, Suite)
    return made


def _load(card: Card, known: dict[str, str], group: str, base: type) -> Callable[..., object]:
    adapters = {**{e.name: e.value for e in metadata.entry_points(group=group)}, **known}
    target = adapters.get(card.adapter, card.adapter)
    module_name, _, class_name = target.rpartition(":")
    if not module_name:
        raise UserError(
            f"{card.path}: no adapter named {card.adapter!r}; {nearest(card.adapter, adapters)} "
            f"Or write package.module:Class, or ./file.py:Class"
        )
    found = getattr(_import(card, module_name), class_name, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UserError(f"{card.path}: {target} is not a {base.__name__} class")
    return found


def _import(card: Card, module_name: str) -> ModuleType:
    if module_name.endswith(".py"):
        return _import_file((card.path.parent / module_name).resolve(), card)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(f"{card.name} needs the module {error.name!r}; {_install(card)}") from None


def _install(card: Card) -> str:
    if card.adapter in SUITES:
        return f"run `pip install 'vla-bench[{card.adapter}]'`"
    if card.adapter in BRIDGES:
        return "run `pip install 'vla-bench[bridges]'`"
    return "install the package that holds it"


def _import_file(path: Path, card: Card) -> ModuleType:
    if not path.is_file():
        raise UserError(f"{card.path}: adapter {card.adapter!r}: there is no {path}")
    name = f"vla_bench_adapter_{path.stem}_{digest(str(path), 8)}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise UserError(
                f"{path} cannot be imported: {type(error).__name__}: {error}"
            ) from error
    return sys.modules[name]
