"""Cards and manifests as a reader sees them: every field, what it means, what it says."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True)
class Fact:
    """A field."""

    name: str
    meaning: str
    value: str


def described(model: BaseModel, without: Collection[str] = ()) -> Sequence[Fact]:
    """The fields of a model in their order; not those that its dump leaves out.

    Args:
        model: A card, a manifest.
        without: Fields that are shown elsewhere.
    """
    shown = model.model_dump().keys() - {"path", *without}
    return [
        Fact(name.replace("_", " "), field.description or "", said(getattr(model, name)))
        for name, field in type(model).model_fields.items()
        if name in shown
    ]


def said(value: object) -> str:
    """A value in words."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, Mapping):
        parts = [f"{key} {_inner(entry)}" for key, entry in value.items()]
        return "; ".join(parts) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(said, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)


def _inner(value: object) -> str:
    text = said(value)
    return f"({text})" if isinstance(value, Mapping | BaseModel) else text


def short_names(names: Sequence[str]) -> Sequence[str]:
    """Names without the words that all of them begin or end with, e.g. for heads of narrow columns."""
    words = [name.split("-") for name in names]
    if len(words) < 2:
        return list(names)
    fewest = min(map(len, words)) - 1
    head = _alike(words, fewest)
    tail = _alike([name[::-1] for name in words], fewest - head)
    return ["-".join(name[head : len(name) - tail]) for name in words]


def _alike(words: Sequence[Sequence[str]], most: int) -> int:
    """How many leading words all have, at most `most`."""
    count = 0
    while count < most and len({name[count] for name in words}) == 1:
        count += 1
    return count
