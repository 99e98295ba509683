"""Whether the records of a run can be what came of its items."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

from vla_bench.chunks import ChunkPlayer
from vla_bench.items import WorkItem
from vla_bench.records import EpisodeRecord, RunManifest
from vla_bench.reports.leaderboard.checks.submission import EPISODES, Submission

ERRORS = ("policy_error", "harness_error")


def problems(run: Submission) -> Iterator[str]:
    """One record per item, each of them possible; one line per problem."""
    seen: dict[str, EpisodeRecord] = {}
    for where, record in run.records:
        item = run.by_digest.get(record.item)
        if item is None:
            yield f"{where}: item: expected one of items.jsonl, found {record.item}"
            continue
        before = seen.get(record.item)
        if before is not None and before.reason != "harness_error":
            yield f"{where}: item {record.item}: expected one record, found another of {record.place}"
        seen[record.item] = record
        for line in (*_said_by_the_item(item, record), *_possible(record, run.manifest)):
            yield f"{where}: {line}"
    missing = [item for item in run.items if item.digest not in seen]
    if missing:
        item = missing[0]
        yield (
            f"{EPISODES}: expected a record of each of {len(run.items)} items, found none of "
            f"{len(missing)}, the first {item.task}/{item.trial}/{item.index}"
        )


def _said_by_the_item(item: WorkItem, record: EpisodeRecord) -> Iterator[str]:
    for name, expected in item.model_dump(exclude={"instruction"}).items():
        if getattr(record, name) != expected:
            yield f"{name}: expected {expected} of the item, found {getattr(record, name)}"


def _possible(record: EpisodeRecord, manifest: RunManifest) -> Iterator[str]:
    for name, expected in (("policy", manifest.policy.name), ("horizon", manifest.horizon)):
        if getattr(record, name) != expected:
            yield f"{name}: expected {expected} of the manifest, found {getattr(record, name)}"
    if record.success != (record.reason == "success"):
        yield f"success: expected {record.reason == 'success'} with reason {record.reason}"
    if (record.error is not None) != (record.reason in ERRORS):
        yield f"error: expected {'a cause' if record.error is None else 'none'} with {record.reason}"
    if record.reason == "harness_error":
        return
    if not record.probe:
        yield "probe: expected the digest of the settled world, found none"
    if record.task in manifest.suite.tasks:
        yield from _length(record, manifest)
    yield from _queries(record, manifest)


def _length(record: EpisodeRecord, manifest: RunManifest) -> Iterator[str]:
    limit, latched = manifest.suite.steps_of(record.task), manifest.suite.outcome == "latched"
    if not 0 <= record.steps <= limit:
        yield f"steps: expected at most {limit}, found {record.steps}"
    elif record.steps < limit and (record.reason == "timeout" or (record.success and not latched)):
        yield f"steps: expected {limit} with {record.reason}, found {record.steps}"
    first = record.first_success
    if first is not None and not 1 <= first <= record.steps:
        yield f"first_success: expected 1 to {record.steps} (steps), found {first}"
    if record.success and first is None:
        yield "first_success: expected a step with success, found none"
    if latched and first is not None and (not record.success or first != record.steps):
        yield (
            f"first_success: {first} of {record.steps} steps: a latched outcome is success and ends the "
            f"episode there, found {record.reason}"
        )


def _queries(record: EpisodeRecord, manifest: RunManifest) -> Iterator[str]:
    chunk, delay = manifest.policy.chunk_length, manifest.delay
    most = queries(record.steps, manifest.horizon, chunk, delay)
    least = most
    if record.reason == "policy_error":
        # The step that it broke off at was not played; its plan may have been.
        most, least = queries(record.steps + 1, manifest.horizon, chunk, delay), 0
    if not least <= record.queries <= most:
        expected = str(most) if least == most else f"{least} to {most}"
        yield (
            f"queries: expected {expected} in {record.steps} steps at H={manifest.horizon}"
            f"{f', D={delay}' if delay else ''}, found {record.queries}"
        )


@cache
def queries(steps: int, horizon: int, chunk_length: int, delay: int) -> int:
    """How many chunks an episode of so many steps plans."""
    chunks, count = ChunkPlayer(horizon, delay=delay), 0
    chunk = np.zeros((chunk_length, 1), np.float32)
    for step in range(steps):
        # As in an episode: what arrives is added, and what is asked for may arrive at once.
        for ask in (False, True):
            if ask and chunks.due(step):
                chunks.ask(step)
            if chunks.arrives(step):
                chunks.add(chunk)
                count += 1
    return count
