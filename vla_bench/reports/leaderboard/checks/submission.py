"""A run folder read with suspicion: every line that is not as it should be is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from vla_bench.items import WorkItem
from vla_bench.records import EpisodeRecord, RunManifest

ModelT = TypeVar("ModelT", bound=BaseModel)
MANIFEST, ITEMS, EPISODES = "manifest.json", "items.jsonl", "episodes.jsonl"


@dataclass(frozen=True)
class Submission:
    """What a run folder holds, as far as it could be read."""

    path: Path
    manifest: RunManifest
    items: Sequence[WorkItem]
    records: Sequence[tuple[str, EpisodeRecord]]
    """Where each stands, e.g. `episodes.jsonl, line 3`, and what it says."""
    whole: bool
    """Whether everything could be read; without, what is missing has no meaning."""

    @cached_property
    def by_digest(self) -> Mapping[str, WorkItem]:
        """The items by their digest."""
        return {item.digest: item for item in self.items}

    @cached_property
    def final(self) -> Mapping[str, EpisodeRecord]:
        """Item -> the record that counts: the last one, as harness errors are played again."""
        return {record.item: record for _, record in self.records}


def read(path: Path) -> tuple[Submission | None, list[str]]:
    """Reads a run folder.

    Returns:
        The submission, None without a readable manifest, and one line per problem.
    """
    problems: list[str] = []
    lacking = [name for name in (MANIFEST, ITEMS, EPISODES) if not (path / name).is_file()]
    if lacking:
        return None, [f"{name}: expected a file, found none" for name in lacking]
    manifest = _parsed(RunManifest, (path / MANIFEST).read_bytes(), MANIFEST, problems)
    items = _lines(WorkItem, path / ITEMS, problems)
    records = _lines(EpisodeRecord, path / EPISODES, problems)
    if manifest is None:
        return None, problems
    found = Submission(path, manifest, [item for _, item in items], records, not problems)
    return found, problems


def _lines(model: type[ModelT], path: Path, problems: list[str]) -> list[tuple[str, ModelT]]:
    found = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        where = f"{path.name}, line {number}"
        if line and (value := _parsed(model, line, where, problems)) is not None:
            found.append((where, value))
    if not found:
        problems.append(f"{path.name}: expected at least one line that can be read, found none")
    return found


def _parsed(model: type[ModelT], text: bytes, where: str, problems: list[str]) -> ModelT | None:
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        problems += _explained(error, where)
        return None


def _explained(error: ValidationError, where: str) -> Iterator[str]:
    for problem in error.errors():
        place = ".".join(map(str, problem["loc"]))
        found = (
            ""
            if problem["type"] in ("missing", "json_invalid")
            else f", found {problem['input']!r}"
        )
        yield f"{where}: {place + ': ' if place else ''}{problem['msg']}{found}"
