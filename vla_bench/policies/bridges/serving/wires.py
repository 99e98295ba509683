"""Where a server of ours looks for what its policy reads."""

from __future__ import annotations

from collections.abc import Mapping

from vla_bench.cards import PolicyCard, PolicyInputs, load_card
from vla_bench.policies.bridges.wire import ImageRow, StateRow, Wire

PLACES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "openpi": (("observation/{}",), ("observation/{}",)),
    "vla-eval": (("images", "{}"), ("state", "{}")),
}
"""Dialect -> where cameras and state entries stand that the dialect has no name of its own for."""


def serving_wire(dialect: str, inputs: PolicyInputs) -> Wire:
    """The dialect's names, those on its card, for what the policy reads; else the suite's own.

    Args:
        dialect: `openpi` or `vla-eval`.
        inputs: What the policy reads.
    """
    card = load_card(PolicyCard, dialect)
    assert card.wire is not None
    sizes = {**inputs.state, **inputs.privileged}
    images = {row.camera: row for row in card.wire.images if row.camera in inputs.images}
    state = _covering(card.wire.state, set(sizes))
    covered = {name for row in state for name in row.entries}
    camera, entry = PLACES[dialect]
    return Wire(
        images=[
            ImageRow(key=images[name].key, camera=name, when=images[name].when)
            if name in images
            else ImageRow(key=_named(camera, name), camera=name)
            for name in inputs.images
        ],
        state=[
            *state,
            *(
                StateRow(key=_named(entry, name), entries=[name])
                for name in sizes
                if name not in covered
            ),
        ],
        instruction=card.wire.instruction,
    )


def observation_parameters(wire: Wire) -> dict[str, bool]:
    """What a vla-eval client is to be asked for."""
    rows = [*wire.images, *wire.state]
    return {name: True for row in rows for name in row.when if not name.startswith("!")}


def _covering(rows: list[StateRow], known: set[str]) -> list[StateRow]:
    """Rows that nothing is changed in, of entries that the policy reads, none of them twice."""
    chosen: list[StateRow] = []
    for row in rows:
        taken = {name for other in chosen for name in other.entries}
        plain = not row.transforms and not row.only
        if plain and set(row.entries) <= known - taken:
            chosen.append(row)
    return chosen


def _named(place: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(part.format(name) for part in place)
