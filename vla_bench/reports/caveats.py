"""What a reader has to know of a run to read its success rate right."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence

from vla_bench.cards import SuiteCard, search_path
from vla_bench.records import RunManifest

SETS = "_assets.toml"
"""File beside the suites' cards that says what known sets of downloaded files are."""


def caveats(manifest: RunManifest) -> Sequence[str]:
    """Footnotes of a run: privileged inputs, and files that are not known to be the official ones."""
    names = manifest.policy.inputs.privileged
    found = [f"reads privileged state: {', '.join(names)}"] if names else []
    if manifest.assets:
        said = known_sets().get(manifest.assets, "a set of files that nobody has described")
        found.append(f"{said} (assets {manifest.assets})")
    return found


def known_sets() -> Mapping[str, str]:
    """What sets of downloaded files are, by digest; the first description found is taken."""
    sets: dict[str, str] = {}
    for folder in reversed(search_path(SuiteCard)):
        path = folder / SETS
        if path.is_file():
            sets |= tomllib.loads(path.read_text())["sets"]
    return sets
