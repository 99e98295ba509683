"""Which sweeps a command line asks for."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from vla_bench.cards import load_card
from vla_bench.errors import UserError
from vla_bench.sweeps.card import Arm, Sweep, Value


@dataclass(frozen=True)
class Flags:
    """A sweep of one policy, from the command line."""

    policy: str | None = None
    """Name of the policy, or path of its card."""
    suite: str | None = None
    """Name of the suite, or path of its card."""
    option: str | None = None
    """The swept option."""
    values: Sequence[str] = ()
    """Its values, in TOML's notation."""
    tasks: Sequence[str] = ()
    """Tasks; none means all."""
    episodes: int | None = None
    """Episodes per task and trial."""
    trials: int | None = None
    """Trials per task."""
    batch: int = 1
    """Episodes planned together."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Fixed options, in TOML's notation."""
    weights: str | None = None
    """Weights of the policy."""


def with_delays(names: Sequence[str], flags: Flags, delay: str) -> tuple[Sequence[str], Flags]:
    """Names and flags, `--delay 0,1,2` or `--delay 0 1 2` put as the option and values it is short for.

    Args:
        names: What stands on the command line without an option.
        flags: The flags.
        delay: What follows `--delay`; empty if it is not there.

    Raises:
        UserError: There are an option, values or names beside it.
    """
    if not delay:
        return names, flags
    if flags.option or flags.values:
        raise UserError("--delay is short for --option delay --values; leave those two out")
    if wrong := [name for name in names if not name.isdigit()]:
        raise UserError(
            f"--delay sweeps a policy that is given by flags, found also {wrong[0]!r}; leave it out, or "
            f"--delay"
        )
    values = [*(value for value in delay.split(",") if value), *names]
    return [], replace(flags, option="delay", values=tuple(values))


def choose(names: Sequence[str], flags: Flags, *, quick: bool = False) -> list[Sweep]:
    """The sweeps that a command line asks for: by name, or one by flags.

    Args:
        names: Names of sweeps, or paths of their files.
        flags: Flags of a sweep without a name.
        quick: Whether to shorten them.

    Raises:
        UserError: There is no such sweep, flags are missing, or names and flags are both there.
    """
    if names and flags != Flags():
        raise UserError("a sweep is named or given by flags, not both; leave one of them out")
    sweeps = [load_card(Sweep, name) for name in names] if names else [_ad_hoc(flags)]
    return [sweep.quick() for sweep in sweeps] if quick else sweeps


def _ad_hoc(flags: Flags) -> Sweep:
    if not (flags.policy and flags.suite and flags.option and flags.values):
        raise UserError(
            "name a sweep (see `vla-bench list sweeps`), or give all of --policy --suite --option "
            "--values, e.g. --option horizon --values 1,2,4,8"
        )
    options = {**flags.options, **({"weights": flags.weights} if flags.weights else {})}
    label, suite = Path(flags.policy).stem, Path(flags.suite).stem
    try:
        return Sweep(
            name=f"{label}-{suite}-{flags.option.replace('.', '-')}",
            description=f"{flags.option} of {label}",
            suite=flags.suite,
            tasks=list(flags.tasks),
            episodes=flags.episodes,
            trials=flags.trials,
            batch=flags.batch,
            option=flags.option,
            values=[parsed(text) for text in flags.values],
            options={key: parsed(text) for key, text in options.items()},
            arms=[Arm(label=label, policy=flags.policy)],
        )
    except ValidationError as error:
        problem = error.errors()[0]
        raise UserError(f"--{problem['loc'][0]} {problem['input']}: {problem['msg']}") from None


def parsed(text: str) -> Value:
    """A value in TOML's notation; what is not valid there is a string."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, bool | int | float | str) else text
