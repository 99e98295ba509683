"""What a run was set to, as names and values: what tells runs apart, and what they differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vla_bench.cards import Option
from vla_bench.records import RunManifest

Setting = str | int | float | bool | None
Settings = Mapping[str, Setting]
MACHINE = frozenset({"device", "threads"})
"""Settings of a policy that should change no result."""
SAID_BY_WEIGHTS = "weights_digest"
"""Differs wherever `weights` does."""


def settings_of(manifest: RunManifest) -> Settings:
    """Execution horizon, delay, input control, and the options of policy and suite."""
    policy = manifest.policy
    return {
        "horizon": manifest.horizon,
        "delay": manifest.delay,
        "input control": manifest.input_control,
        "batch": manifest.batch,
        "seed": manifest.seed,
        "temporal_ensembling": policy.temporal_ensembling,
        **{name: _fixed(value) for name, value in policy.options.items() if name not in MACHINE},
        **{f"suite.{name}": _fixed(value) for name, value in manifest.suite.options.items()},
    }


def _fixed(value: Option) -> Setting:
    """An option as one value; of a list its entries in a row."""
    return " ".join(map(str, value)) if isinstance(value, list) else value


def changes(one: Settings, other: Settings) -> Sequence[str]:
    """Names of the settings that differ; weights count once."""
    names = [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
    return [name for name in names if name != SAID_BY_WEIGHTS or "weights" not in names]


def told_apart(settings: Sequence[Settings], unsaid: Sequence[str] = ()) -> Sequence[str]:
    """For each of some settings `name=value, ...` of those that are not the same in all."""
    names = dict.fromkeys(name for one in settings for name in changes(settings[0], one))
    said = [name for name in names if name not in unsaid]
    return [
        ", ".join(f"{name}={told(one[name])}" for name in said if one.get(name) not in (None, ""))
        for one in settings
    ]


def told(value: Setting) -> str:
    """A value in words; of a path its last part."""
    return Path(value).name if isinstance(value, str) and value else str(value)
