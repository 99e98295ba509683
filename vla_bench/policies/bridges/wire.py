"""What a policy server calls things, and how it wants them: a table of a policy's card, data only."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, NonNegativeInt, field_validator

from vla_bench.policies.bridges.transforms import (
    check_action_transform,
    check_image_transform,
    check_state_transform,
)

Path = Annotated[
    tuple[str, ...], BeforeValidator(lambda key: (key,) if isinstance(key, str) else key)
]
"""A key, or the keys of nested maps from the outermost on."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class _Row(_Table):
    key: Path
    """Where it stands in the message."""
    when: list[str] = []
    """Sent only if the server's observation parameters say yes to all of these; `!name` is a no."""
    format: str = ""
    """What vla-eval's specifications call it; empty where no server compares."""


class ImageRow(_Row):
    """One image of a message."""

    camera: str
    """The suite's camera."""
    transforms: list[str] = []
    """Named changes in order: `rotate180`, `resize 224`, `resize_with_pad 224`, `chw`."""

    @field_validator("transforms")
    @classmethod
    def _known(cls, transforms: list[str]) -> list[str]:
        for transform in transforms:
            check_image_transform(transform)
        return transforms


class StateRow(_Row):
    """One vector of a message: entries of the suite's state, one after the other."""

    entries: list[str]
    """Names of entries."""
    only: list[NonNegativeInt] = []
    """Which numbers of that vector are sent; empty for all."""
    transforms: dict[str, str] = {}
    """Entry -> named change, such as `shortest_rotation` or `quaternion_xyzw`."""

    @field_validator("transforms")
    @classmethod
    def _known(cls, transforms: dict[str, str]) -> dict[str, str]:
        for transform in transforms.values():
            check_state_transform(transform)
        return transforms


class Wire(_Table):
    """How observations and actions are written for a policy server."""

    images: list[ImageRow] = []
    """Images, in the order in which the server wants its views."""
    state: list[StateRow] = []
    """Vectors of proprioception."""
    instruction: Path = ("prompt",)
    """Where the instruction stands."""
    actions: list[str] = []
    """Parts that make up an action, in order, where the server's reply names parts."""
    action_transforms: list[str] = []
    """Named changes of an action chunk in order, such as `gripper_from_open_01`."""
    ignored_parameters: list[str] = []
    """Observation parameters that ask for nothing that we could give, such as a simulator's seed."""

    @field_validator("action_transforms")
    @classmethod
    def _known(cls, transforms: list[str]) -> list[str]:
        for transform in transforms:
            check_action_transform(transform)
        return transforms

    @property
    def parameters(self) -> set[str]:
        """Observation parameters that some row depends on."""
        return {name.lstrip("!") for row in [*self.images, *self.state] for name in row.when}
