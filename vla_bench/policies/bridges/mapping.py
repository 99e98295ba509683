"""Observations as servers want them, and back again where we are the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bench.cards import PolicyInputs, SuiteCard
from vla_bench.items import WorkItem
from vla_bench.policies.base import Observation
from vla_bench.policies.bridges.errors import BridgeError
from vla_bench.policies.bridges.transforms import change_image, change_state
from vla_bench.policies.bridges.wire import ImageRow, Path, StateRow, Wire

ITEM, STEP, ACTION, INDEX = (
    "vla_bench/item",
    "vla_bench/step",
    "vla_bench/action",
    "vla_bench/index",
)
"""What only a server of ours is sent: the work item, the control step, an action to correct and its index
in the chunk. Our policies draw their noise from item and step."""


@dataclass(frozen=True)
class Message:
    """An observation in a server's terms."""

    images: Mapping[Path, NDArray[np.uint8]]
    state: Mapping[Path, NDArray[np.float32]]
    instruction: Path
    text: str
    """The instruction itself."""

    def nested(self) -> dict[str, Any]:
        """All of it in one map, keys of several parts as maps in maps."""
        message: dict[str, Any] = {}
        for path, value in [
            *self.images.items(),
            *self.state.items(),
            (self.instruction, self.text),
        ]:
            _place(message, path, value)
        return message


def write(observation: Observation, wire: Wire) -> Message:
    """An observation in a server's terms; images that were not rendered are left out."""
    shown = {**observation.state, **observation.privileged}
    return Message(
        {
            row.key: change_image(observation.images[row.camera], row.transforms)
            for row in wire.images
            if row.camera in observation.images
        },
        {row.key: _vector(shown, row) for row in wire.state},
        wire.instruction,
        observation.instruction,
    )


def extras(observation: Observation) -> dict[str, Any]:
    """What only a server of ours is sent."""
    return {ITEM: observation.item.model_dump_json(), STEP: observation.step}


def inputs_of(wire: Wire, suite: SuiteCard) -> PolicyInputs:
    """What a policy that is spoken to over a wire reads of a suite; sizes as the suite has them.

    An entry that the suite lacks is given the size 1, for the check of inputs to find it.
    """
    return PolicyInputs(
        images=list(dict.fromkeys(row.camera for row in wire.images)),
        state={name: suite.state.get(name, 1) for row in wire.state for name in row.entries},
    )


def read(
    message: Mapping[Any, Any],
    wire: Wire,
    inputs: PolicyInputs,
    suite: SuiteCard,
    item: WorkItem,
    step: int,
    *,
    images: bool = True,
) -> Observation:
    """The observation in a message, for a policy here; the rows of the wire change nothing.

    Args:
        message: What a client sent.
        wire: Where things stand in it.
        inputs: What the policy reads.
        suite: What the sizes of images are compared with.
        item: The episode.
        step: Control steps played so far.
        images: Whether images are expected.

    Raises:
        BridgeError: Something is missing, or has another shape or dtype than it should.
    """
    pictures = {
        row.camera: _picture(_taken(message, row.key), row, suite) for row in wire.images if images
    }
    entries = {name: part for row in wire.state for name, part in _entries(message, row, inputs)}
    text = _taken(message, wire.instruction)
    if not isinstance(text, str):
        raise BridgeError(f"{_name(wire.instruction)} is {type(text).__name__}, expected text")
    return Observation(
        item=item,
        step=step,
        instruction=text,
        images=pictures,
        state={name: entries[name] for name in inputs.state},
        privileged={name: entries[name] for name in inputs.privileged},
    )


def _vector(shown: Mapping[str, NDArray[Any]], row: StateRow) -> NDArray[np.float32]:
    parts = [change_state(shown[name], row.transforms.get(name)) for name in row.entries]
    vector: NDArray[np.float32] = np.concatenate(parts)
    return vector[row.only] if row.only else vector


def _place(message: dict[str, Any], path: Path, value: object) -> None:
    for key in path[:-1]:
        message = message.setdefault(key, {})
    message[path[-1]] = value


def _taken(message: Mapping[Any, Any], path: Path) -> Any:  # noqa: ANN401  whatever was sent
    found: Any = message
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            there = (
                ", ".join(sorted(map(str, found))[:12]) if isinstance(found, Mapping) else "none"
            )
            raise BridgeError(f"the observation has no {_name(path)}; found: {there}")
        found = found[key]
    return found


def _picture(image: object, row: ImageRow, suite: SuiteCard) -> NDArray[np.uint8]:
    wanted = (*suite.cameras[row.camera], 3)
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape == wanted):
        raise BridgeError(f"{_name(row.key)} is {_described(image)}, expected uint8 {wanted}")
    return image


def _entries(
    message: Mapping[Any, Any], row: StateRow, inputs: PolicyInputs
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    sizes = [{**inputs.state, **inputs.privileged}[name] for name in row.entries]
    vector = _taken(message, row.key)
    numeric = isinstance(vector, np.ndarray) and vector.dtype.kind in "fiu"
    if not numeric or vector.shape != (sum(sizes),):
        wanted = f"float32 ({sum(sizes)},): {', '.join(row.entries)}"
        raise BridgeError(f"{_name(row.key)} is {_described(vector)}, expected {wanted}")
    parts = np.split(vector.astype(np.float32), np.cumsum(sizes)[:-1])
    yield from zip(row.entries, parts, strict=True)


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return type(value).__name__


def _name(path: Sequence[str]) -> str:
    return " > ".join(path)
