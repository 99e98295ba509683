"""Profiles that `vla-bench profile` has kept, from which a run takes its policy's latency."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.delays import PROFILES
from vla_bench.errors import UserError
from vla_bench.items import digest
from vla_bench.policies.learned.policy import sampling_of
from vla_bench.policies.learned.profile import Profile
from vla_bench.records import RunManifest

MOST_NAMED = 3
"""Profiles of other things that an error names."""


def keep_profile(profile: Profile) -> Path | None:
    """Keeps a profile in place of an earlier one of the same.

    Returns:
        Its file; None for a profile that says nothing of a run's latency: of random weights, of several
        queries at a time, or not timed.
    """
    if not _tells_latency(profile):
        return None
    assert profile.timing is not None
    which = digest([profile.weights_digest, profile.sampling, profile.timing.device], 8)
    path = PROFILES / f"{profile.policy}_{profile.suite}_{which}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(profile.model_dump_json(indent=1) + "\n")
    return path


def find_profile(device: str, policy: PolicyCard, suite: SuiteCard) -> Profile:
    """The kept profile of a policy with its weights and sampling settings on a suite and a device.

    Args:
        device: `cpu`, or a part of the GPU's name.
        policy: The policy's card, prepared for the suite.
        suite: The suite's card.

    Raises:
        UserError: There is none, or more than one; says how to make it.
    """
    kept = {path: profile for path, profile in _kept().items() if profile.policy == policy.name}
    wanted = (suite.name, policy.options["weights_digest"], sampling_of(policy).model_dump())
    alike = {p: k for p, k in kept.items() if (k.suite, k.weights_digest, k.sampling) == wanted}
    found = {p: k for p, k in alike.items() if device.lower() in _device(k).lower()}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise UserError(
            f"--delay measured:{device}: {len(found)} profiles fit: "
            + ", ".join(f"{_device(k)} ({p})" for p, k in found.items())
            + "; write more of the device's name, or remove the others"
        )
    others = list((alike or kept).values())[:MOST_NAMED]
    raise UserError(
        f"--delay measured:{device}: looked in {PROFILES} for "
        f"{_described(policy.name, *wanted, device)}; found "
        + ("; ".join(map(_what, others)) or f"no profile of {policy.name}")
        + f". Make it on that device with `{_command(device, policy, suite)}`"
    )


def profile_of(manifest: RunManifest) -> Profile | None:
    """The kept profile of what a run played, on the first device by name; None if there is none."""
    policy = manifest.policy
    if "weights_digest" not in policy.options:
        return None
    wanted = (policy.name, manifest.suite.name, policy.options["weights_digest"])
    sampling = sampling_of(policy).model_dump()
    alike = [
        kept
        for kept in _kept().values()
        if (kept.policy, kept.suite, kept.weights_digest) == wanted and kept.sampling == sampling
    ]
    return min(alike, key=_device, default=None)


def _kept() -> Mapping[Path, Profile]:
    """The profiles that tell a latency, by file."""
    found = {}
    for path in sorted(PROFILES.glob("*.json")):
        try:
            profile = Profile.model_validate_json(path.read_text())
        except ValidationError:
            raise UserError(
                f"{path} is not a profile of this version of vla-bench, or damaged; remove it"
            ) from None
        if _tells_latency(profile):
            found[path] = profile
    return found


def _tells_latency(profile: Profile) -> bool:
    return bool(profile.weights_digest) and profile.timing is not None and profile.timing.batch == 1


def _device(profile: Profile) -> str:
    assert profile.timing is not None
    return profile.timing.device


def _what(profile: Profile) -> str:
    of = profile.policy, profile.suite, profile.weights_digest, profile.sampling
    return _described(*of, _device(profile))


def _described(
    policy: str, suite: str, weights: object, sampling: Mapping[str, object], device: str
) -> str:
    settings = "".join(f", {key} {value}" for key, value in sampling.items())
    return f"{policy} on {suite}, weights {weights}{settings}, on {device}"


def _command(device: str, policy: PolicyCard, suite: SuiteCard) -> str:
    """The command that makes a profile."""
    kind = "cpu" if device.lower() == "cpu" else "cuda"
    settings = {**sampling_of(policy).model_dump(), "device": kind}
    words: Sequence[str] = [
        *("vla-bench", "profile", "--policy", policy.name, "--suite", suite.name),
        *("--weights", str(policy.options["weights"])),
        *(word for key, value in settings.items() for word in ("--set", f"{key}={value}")),
    ]
    return shlex.join(words)
