"""What vla-eval's specifications of observations and actions mean in the words of our cards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vla_bench.cards import ActionConvention
from vla_bench.policies.bridges.errors import BridgeError
from vla_bench.policies.bridges.link import mapping_of
from vla_bench.policies.bridges.wire import Wire

Specs = Mapping[str, Mapping[str, Any]]
"""Name of a part -> `dims` (0 if not an array), `format`, perhaps `accepts`, as vla-eval sends them."""
GRIPPERS = {
    "binary_close_positive": "absolute, -1 opens",
    "binary_close_negative": "absolute, +1 opens",
}
ROTATIONS = {"axis_angle": "rotation vector"}
DELTA = "delta_xyz"
IMAGE, LANGUAGE, RAW = "rgb_hwc_uint8", "language", "raw"
"""Formats without dimensions; `raw` promises nothing."""


def specs_of(hello: Mapping[str, Any], name: str) -> Specs:
    """A table of specifications in a server's HELLO; empty if it declares none.

    Raises:
        BridgeError: It is no such table.
    """
    table = mapping_of(hello.get(name) or {})
    for part, spec in table.items():
        dims = spec.get("dims") if isinstance(spec, Mapping) else None
        if type(dims) is not int or not isinstance(spec.get("format"), str):
            raise BridgeError(f"the server's {name} of {part!r} has no dims and format")
    return table


def action_convention(specs: Specs, given: ActionConvention) -> ActionConvention:
    """The convention of a server's actions; what it does not declare is as on the card.

    Args:
        specs: The server's `action_spec`.
        given: What the client's card says.
    """
    declared = {name: str(spec["format"]) for name, spec in specs.items()}
    found: dict[str, str | int] = {}
    if (rotation := declared.get("rotation", RAW)) != RAW:
        found["rotation"] = ROTATIONS.get(rotation, rotation)
    if (gripper := declared.get("gripper", RAW)) != RAW:
        found["gripper"] = GRIPPERS.get(gripper, gripper)
    if (position := declared.get("position", RAW)) not in (RAW, DELTA):
        found["control"] = position
    sizes = [int(spec["dims"]) for spec in specs.values()]
    if "position" in specs and all(sizes):
        found["size"] = sum(sizes)
    return given.model_copy(update=found)


def missing(specs: Specs, wire: Wire) -> Iterator[str]:
    """What a server expects of an observation and is not sent, one clause each.

    Args:
        specs: The server's `observation_spec`; names of parts are free, formats are compared.
        wire: What is sent, rows that are not left out.
    """
    sent = [IMAGE] * len(wire.images) + [row.format for row in wire.state] + [LANGUAGE]
    said = ", ".join(form for form in sent if form)
    for name, spec in specs.items():
        wanted = set(spec.get("accepts") or [spec["format"]])
        if wanted == {RAW}:
            continue
        fitting = next((form for form in sent if form in wanted), None)
        if fitting is None:
            yield f"it expects {name} as {' or '.join(sorted(wanted))}, is sent {said}"
        elif fitting == IMAGE:
            sent.remove(IMAGE)


def action_spec(convention: ActionConvention) -> dict[str, dict[str, Any]]:
    """The specification of actions of a suite whose gripper and rotation vla-eval has words for.

    Empty for others.
    """
    grippers = {ours: theirs for theirs, ours in GRIPPERS.items()}
    rotations = {ours: theirs for theirs, ours in ROTATIONS.items()}
    gripper, rotation = convention.gripper or "", convention.rotation or ""
    if convention.size != 7 or gripper not in grippers or rotation not in rotations:
        return {}
    return {
        "position": {"name": "position", "dims": 3, "format": DELTA},
        "rotation": {"name": "rotation", "dims": 3, "format": rotations[rotation]},
        "gripper": {"name": "gripper", "dims": 1, "format": grippers[gripper]},
    }


def observation_spec(wire: Wire, sizes: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """The specification of what a policy of ours reads.

    Args:
        wire: Where it is read.
        sizes: State entry -> its size.
    """
    spec: dict[str, dict[str, Any]] = {
        row.camera: {"name": "image", "dims": 0, "format": IMAGE} for row in wire.images
    }
    for row in wire.state:
        dims = sum(sizes[name] for name in row.entries)
        name = "state" if row.format else "_".join(row.key)  # vla-eval's own benchmarks call it so
        spec[name] = {"name": "state", "dims": dims, "format": row.format or RAW}
    return {**spec, "language": {"name": "language", "dims": 0, "format": LANGUAGE}}
