"""A gate: is a policy worse than the one of a finished run? Stops as soon as that is settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vla_bench.errors import UserError
from vla_bench.execution.inline import Stopping, never
from vla_bench.execution.parallel import OnStatus, Parallel
from vla_bench.items import CLEAN, WorkItem, derive_seed, group_by_task
from vla_bench.records import EpisodeRecord, RunFolder
from vla_bench.reports.statistics.pairs import Pairs, mean_difference
from vla_bench.reports.statistics.sequential import ALPHA, Verdict, decide, e_value
from vla_bench.runs import (
    OnRecord,
    PlannedRun,
    RunSpec,
    check_assets,
    execute,
    plan_cards,
    policy_card,
)

ROUNDS = 10
"""Looks at the results; between two of them a tenth of each task's items is played."""


@dataclass(frozen=True)
class Look:
    """What the items played so far say; the baseline is the first policy of each pair."""

    tasks: Mapping[str, Pairs]
    """The items played of each task."""
    items: int
    """Items that would be played if nothing came of it before."""
    margin: float
    """How much less often the candidate may succeed, in [0, 1]."""
    harness_errors: int = 0
    """Items that the harness could not play; nothing is decided while there are any."""

    @property
    def pairs(self) -> Pairs:
        """The items played of all tasks."""
        return sum(self.tasks.values(), Pairs(0, 0, 0, 0))

    @property
    def worse(self) -> float:
        """E-value against "the candidate succeeds at least as often"."""
        return e_value(self.pairs.swapped)

    @property
    def not_worse(self) -> float:
        """E-value against "the candidate succeeds less often, by the margin or more"."""
        return e_value(self.pairs, self.margin)

    @property
    def verdict(self) -> Verdict:
        """What is settled."""
        return Verdict.undecided if self.harness_errors else decide(self.pairs, self.margin)

    @property
    def difference(self) -> tuple[float, tuple[float, float]]:
        """Mean over the tasks of the candidate's rate less the baseline's, and its 95 % interval.

        Of use once all items are played: where a gate has stopped early, it is biased.
        """
        return mean_difference(list(self.tasks.values()))

    def lines(self) -> list[str]:
        """The verdict in words, and what it rests on."""
        pairs, points = self.pairs, f"{100 * self.margin:g} points"
        lines = [
            f"{pairs.total} of {self.items} items played: only the baseline succeeds on "
            f"{pairs.only_first}, only the candidate on {pairs.only_second}, both on {pairs.both}, "
            f"neither on {pairs.neither}",
            f"e-values: {self.worse:.3g} for worse, {self.not_worse:.3g} for not worse by {points}; "
            f"{1 / ALPHA:g} settles it",
        ]
        if self.harness_errors:
            return [
                *lines,
                f"{self.harness_errors} harness errors: run the same command to retry them",
            ]
        return [*lines, self._conclusion(points)]

    def _conclusion(self, points: str) -> str:
        if self.verdict is Verdict.worse:
            return "FAIL: the candidate is worse than the baseline"
        if self.verdict is Verdict.not_worse:
            return f"PASS: the candidate is not worse by {points} or more"
        value, (low, high) = self.difference
        return (
            f"UNDECIDED: the mean over the tasks differs by {100 * value:+.1f} points "
            f"[{100 * low:+.1f}, {100 * high:+.1f}] (95 %, paired)"
        )


@dataclass(frozen=True)
class Gate:
    """A gate that can start."""

    baseline: Mapping[str, bool]
    """Item digest -> whether the baseline succeeded."""
    candidate: PlannedRun
    margin: float

    def rounds(self) -> list[list[WorkItem]]:
        """The items cut into `ROUNDS`, in an order that is random and always the same.

        Each round has as many items of each task as of any other that has as many items in all: the
        sequential test asks for that.
        """
        tasks = [
            sorted(items, key=lambda item: derive_seed("gate", item.digest))
            for items in group_by_task(self.candidate.items).values()
        ]
        cut = [
            [
                item
                for items in tasks
                for item in items[len(items) * r // ROUNDS : len(items) * (r + 1) // ROUNDS]
            ]
            for r in range(ROUNDS)
        ]
        return [items for items in cut if items]

    def look(self, records: Sequence[EpisodeRecord]) -> Look:
        """What the candidate's records say."""
        pairs: dict[str, Pairs] = {}
        for record in records:
            pair = Pairs.of(self.baseline[record.item], record.success)
            pairs[record.task] = pairs.get(record.task, Pairs(0, 0, 0, 0)) + pair
        errors = sum(record.reason == "harness_error" for record in records)
        return Look(pairs, len(self.candidate.items), self.margin, errors)


def plan(
    baseline: Path,
    policy: str,
    *,
    options: Mapping[str, str] | None = None,
    weights: str | None = None,
    horizon: int | None = None,
    margin: float = 0.1,
    parallel: Parallel | None = None,
    out: Path | None = None,
) -> Gate:
    """Plans a candidate on the clean items of a finished run, with its suite card, seed, batch and delay.

    Args:
        baseline: Folder of the finished run.
        policy: The candidate: name of a policy, or path of its card.
        options: Overrides of options on its card.
        weights: Its weights; None for what the card says.
        horizon: Its execution horizon; None for its card's.
        margin: How much less often it may succeed and still pass, in [0, 1).
        parallel: How it is spread over processes.
        out: Its run folder; None for one beside the baseline's.

    Raises:
        UserError: The baseline is not finished, or the candidate cannot play its items.
    """
    if not 0 <= margin < 1:
        raise UserError(f"--margin {100 * margin:g}: expected percentage points; use --margin 10")
    options = options or {}
    if of_suite := next((key for key in options if key.startswith("suite.")), None):
        raise UserError(f"--set {of_suite}: the suite is that of {baseline}; leave it out")
    folder = RunFolder(baseline)
    manifest = folder.manifest
    items = [item for item in folder.items() if item.perturbation == CLEAN]
    outcomes = _outcomes(folder, items)
    spec = RunSpec(
        policy=policy,
        suite=manifest.suite.name,
        tasks=list(manifest.items),
        seed=manifest.seed,
        horizon=horizon,
        batch=manifest.batch,
        parallel=parallel,
        delay=manifest.delay,
        input_control=manifest.input_control,
        weights=weights,
        options=options,
        out=out,
    )
    planned = plan_cards(policy_card(spec), manifest.suite, spec)
    check_assets(folder, planned.manifest)
    _check_items(items, planned)
    if out is None:
        name = f"{baseline.resolve().name}-gate-{planned.manifest.identity()[:8]}"
        planned = replace(planned, folder=RunFolder(baseline.with_name(name)))
    return Gate(outcomes, replace(planned, items=items), margin)


def _outcomes(folder: RunFolder, items: Sequence[WorkItem]) -> dict[str, bool]:
    played = {r.item: r.success for r in folder.records() if r.reason != "harness_error"}
    outcomes = {item.digest: played[item.digest] for item in items if item.digest in played}
    if len(outcomes) < len(items) or not items:
        raise UserError(
            f"{folder.path} holds {len(outcomes)} of {len(items)} episodes; finish it with the same "
            f"`vla-bench run`"
        )
    return outcomes


def _check_items(items: Sequence[WorkItem], planned: PlannedRun) -> None:
    here = {item.digest for item in planned.items}
    for item in items:
        if item.digest not in here:
            raise UserError(
                f"{item.task} {item.trial}/{item.index} is another episode than in the baseline: the "
                f"files of {item.suite} have changed; run the baseline again"
            )


def play(
    gate: Gate,
    on_record: OnRecord | None = None,
    on_status: OnStatus | None = None,
    stopping: Stopping = never,
) -> Look:
    """Plays the candidate round by round until something is settled or no item is left.

    A folder of a gate that has stopped early lists all items: its reports say how many are missing.

    Args:
        gate: What `plan` made.
        on_record: Called with each record, those of an earlier start included.
        on_status: Told how a run on several processes is getting on.
        stopping: Asked before each item.

    Returns:
        The last look.

    Raises:
        KeyboardInterrupt: It was stopped within a round; the same call goes on with it.
    """
    run = gate.candidate
    with run.folder as folder:
        folder.open_run(run.manifest, run.items)
    records: list[EpisodeRecord] = []
    for items in gate.rounds():
        played = execute(replace(run, items=items), on_record, on_status, stopping)
        if len(played) < len(items):
            raise KeyboardInterrupt
        records += played
        look = gate.look(records)
        if look.harness_errors or look.verdict is not Verdict.undecided:
            break
    return look
