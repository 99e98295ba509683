"""The discordance floor: how much two runs of the same thing differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vla_bench.errors import UserError
from vla_bench.execution.inline import Stopping, never
from vla_bench.execution.parallel import OnStatus, Parallel
from vla_bench.records import EpisodeRecord, RunFolder
from vla_bench.replay import differing
from vla_bench.reports.statistics.intervals import wilson
from vla_bench.reports.statistics.pairs import Pairs
from vla_bench.runs import OnRecord, PlannedRun, execute, plan_again


@dataclass(frozen=True)
class Floor:
    """What came of playing the items of a run once more, at least one of them."""

    pairs: Pairs
    """Successes of the first run and of the second."""
    identical: int
    """Items of which both records agree in all but times."""
    fields: Mapping[str, int]
    """Field of a record -> number of items whose records disagree in it."""
    harness_errors: int
    """Items that the harness could not play the second time; they count as failures."""
    left_out: int = 0
    """Items of the first run that it has no episode of."""

    @property
    def complete(self) -> bool:
        """Whether the harness could play every item both times."""
        return not (self.harness_errors or self.left_out)

    @property
    def bound(self) -> float:
        """Upper end of the 95 % Wilson interval of the share of discordant items."""
        return wilson(self.pairs.discordant, self.pairs.total)[1]

    def lines(self) -> list[str]:
        """The floor in words, and what it means."""
        total, discordant = self.pairs.total, self.pairs.discordant
        lines = [
            f"same success: {total - discordant} of {total} items; discordant: {discordant} "
            f"(first run only {self.pairs.only_first}, second only {self.pairs.only_second}), "
            f"at most {100 * self.bound:.1f} % (Wilson, 95 %)",
            f"same record in full, digests of states and actions included: {self.identical} of {total}",
        ]
        if self.fields:
            told = ", ".join(f"{name} {count}" for name, count in self.fields.items())
            lines.append(f"items that differ, by field: {told}")
        if self.harness_errors:
            lines.append(f"harness errors, counted as failures: {self.harness_errors}")
        if self.left_out:
            lines.append(f"left out, as the first run has no episode of them: {self.left_out}")
        return [*lines, self._meaning()]

    def _meaning(self) -> str:
        if self.identical == self.pairs.total:
            return (
                f"bit-identical: the floor is 0 of {self.pairs.total} items, "
                f"at most {100 * self.bound:.1f} %"
            )
        return (
            f"differences of success rates below {100 * self.bound:.1f} points "
            f"cannot be told from noise on these items"
        )


def plan(
    run: Path,
    out: Path | None = None,
    episodes: int | None = None,
    parallel: Parallel | None = None,
) -> PlannedRun:
    """Plans a second run of what a run folder holds.

    Args:
        run: The run; items that it has no episode of are left out.
        out: Folder of the second run; None for `RUN-aa`.
        episodes: Episodes per task and trial, the first ones; None for all.
        parallel: How it is spread over processes.

    Raises:
        UserError: Nothing is to be played, or something differs that has to be equal.
    """
    folder = RunFolder(run)
    played = {record.item for record in _played(folder)}
    planned = plan_again(folder, out or run.with_name(f"{run.resolve().name}-aa"), parallel)
    if planned.folder.path.resolve() == run.resolve():
        raise UserError(f"--out {out}: the second run needs a folder of its own")
    if episodes is not None and episodes < 1:
        raise UserError(f"--episodes {episodes}: expected a number of episodes; use --episodes 1")
    items = [
        item
        for item in planned.items
        if item.digest in played and (episodes is None or item.index < episodes)
    ]
    if not items:
        raise UserError(f"{run} holds no episode; finish it with the same `vla-bench run`")
    return replace(planned, items=items)


def measure(
    run: Path,
    planned: PlannedRun,
    on_record: OnRecord | None = None,
    on_status: OnStatus | None = None,
    stopping: Stopping = never,
) -> Floor:
    """Plays the second run and compares.

    Args:
        run: The first run.
        planned: What `plan` made of it.
        on_record: Called with each record.
        on_status: Told how a run on several processes is getting on.
        stopping: Asked before each item.

    Raises:
        KeyboardInterrupt: The run was stopped before its end; the same call goes on with it.
    """
    records = execute(planned, on_record, on_status, stopping)
    if len(records) < len(planned.items):
        raise KeyboardInterrupt
    folder = RunFolder(run)
    first = {record.item: record for record in _played(folder)}
    left_out = len(folder.items()) - len(first)
    return compare([(first[record.item], record) for record in records], left_out)


def compare(pairs: Sequence[tuple[EpisodeRecord, EpisodeRecord]], left_out: int = 0) -> Floor:
    """Counts on how many items two records agree.

    Args:
        pairs: The first and the second record of each item.
        left_out: Items of which there is no pair.
    """
    fields = [differing(first, second) for first, second in pairs]
    return Floor(
        pairs=Pairs.of([first.success for first, _ in pairs], [now.success for _, now in pairs]),
        identical=sum(not names for names in fields),
        fields=Counter(name for names in fields for name in names),
        harness_errors=sum(second.reason == "harness_error" for _, second in pairs),
        left_out=left_out,
    )


def _played(folder: RunFolder) -> list[EpisodeRecord]:
    return [record for record in folder.records() if record.reason != "harness_error"]
