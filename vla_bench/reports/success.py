"""The success table: one row per task, computed from episode records and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vla_bench.items import CLEAN
from vla_bench.records import RunManifest
from vla_bench.reports import perturbed
from vla_bench.reports.measured import STATUS, MeasuredRun
from vla_bench.reports.statistics.intervals import mean_interval, wilson


@dataclass(frozen=True)
class SuccessRow:
    """Success of one policy on one task. A harness error counts as an episode without success, and is
    shown: a rate that leaves episodes out can be made as high as one likes.
    """

    suite: str
    """The suite that the task is part of."""
    task: str
    successes: int
    episodes: int
    """Recorded episodes, harness errors included."""
    steps_to_success: float | None
    """Mean control steps to the first success, over successful episodes."""
    policy_errors: int
    harness_errors: int
    missing: int
    """Episodes of the run that have no record yet."""
    collisions: int | None = None
    """Episodes in which the robot collided; None if the suite does not say."""

    @property
    def rate(self) -> float | None:
        """Success rate in [0, 1]; None without an episode."""
        return self.successes / self.episodes if self.episodes else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % Wilson interval of the rate."""
        return wilson(self.successes, self.episodes) if self.episodes else None


def success_rows(run: MeasuredRun) -> list[SuccessRow]:
    """One row per task of a run, of its clean episodes only."""
    return rows_of(run.clean)


def rows_of(episodes: pd.DataFrame) -> list[SuccessRow]:
    """One row per task of some episodes of a run, in their order."""
    tasks = episodes.groupby("task", observed=True, sort=False)
    return [_row(str(task), frame) for task, frame in tasks]


def _row(task: str, frame: pd.DataFrame) -> SuccessRow:
    reasons, won = frame["reason"].value_counts(), frame[frame["success"]]
    return SuccessRow(
        suite=str(frame["suite"].iloc[0]),
        task=task,
        successes=len(won),
        episodes=int(frame["recorded"].sum()),
        steps_to_success=float(won["first_success"].mean()) if len(won) else None,
        policy_errors=int(reasons.get("policy_error", 0)),
        harness_errors=int(reasons.get("harness_error", 0)),
        missing=int((~frame["recorded"]).sum()),
        collisions=_collisions(frame),
    )


def _collisions(frame: pd.DataFrame) -> int | None:
    said = frame.get(f"{STATUS}collided", pd.Series(dtype=float)).dropna()
    return int(said.sum()) if len(said) else None


HEADER = (
    "task",
    "success",
    "k/n",
    "95 % interval",
    "steps to success",
    "policy errors",
    "harness errors",
    "missing",
)


def header(rows: Sequence[SuccessRow]) -> tuple[str, ...]:
    """The columns of a table; collisions only if the suite tells of them."""
    return (*HEADER, "collisions") if any(r.collisions is not None for r in rows) else HEADER


def cells(row: SuccessRow) -> tuple[str, ...]:
    """A row as text, in the order of `header`."""
    interval = row.interval
    collisions = () if row.collisions is None else (_share(row.collisions, row.episodes),)
    return (
        row.task,
        "-" if row.rate is None else f"{100 * row.rate:.1f} %",
        f"{row.successes}/{row.episodes}",
        "-" if interval is None else f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]",
        "-" if row.steps_to_success is None else f"{row.steps_to_success:.1f}",
        str(row.policy_errors),
        str(row.harness_errors),
        str(row.missing),
        *collisions,
    )


def _share(count: int, episodes: int) -> str:
    return f"{100 * count / episodes:.1f} %"


def overall(rows: Sequence[SuccessRow]) -> str:
    """The mean over tasks of the tasks' success rates with its 95 % interval, in words; of a run of
    several suites that of each, then their mean.
    """
    suites = _by_suite(rows)
    if not suites:
        return "no episode yet"
    parts = [f"mean of {len(of_suite)} tasks" for of_suite in suites.values()]
    if len(suites) == 1:
        return f"{parts[0]}: {_percent(mean_rate(rows))}, 95 % interval"
    each = [
        f"{suite}, {part}: {_percent(mean_rate(suites[suite]))}"
        for suite, part in zip(suites, parts, strict=True)
    ]
    return "; ".join([*each, f"mean of the {len(suites)} suites: {_percent(mean_rate(rows))}"]) + (
        ", 95 % intervals"
    )


def _percent(mean: tuple[float, tuple[float, float]] | None) -> str:
    assert mean is not None
    rate, (low, high) = mean
    return f"{100 * rate:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def mean_rate(rows: Sequence[SuccessRow]) -> tuple[float, tuple[float, float]] | None:
    """The mean over tasks of the tasks' success rates and its 95 % interval; None without an episode.

    Of several suites first the mean of each, so that each suite counts the same.
    """
    means = [_mean_of_tasks(of_suite) for of_suite in _by_suite(rows).values()]
    if not means:
        return None
    rates = [rate for rate, _ in means]
    return sum(rates) / len(rates), mean_interval(rates, [interval for _, interval in means])


def _by_suite(rows: Sequence[SuccessRow]) -> dict[str, list[SuccessRow]]:
    """The tasks with episodes, by their suite."""
    suites: dict[str, list[SuccessRow]] = {}
    for row in rows:
        if row.episodes:
            suites.setdefault(row.suite, []).append(row)
    return suites


def _mean_of_tasks(rows: Sequence[SuccessRow]) -> tuple[float, tuple[float, float]]:
    rates = [row.rate for row in rows if row.rate is not None]
    intervals = [row.interval for row in rows if row.interval is not None]
    return sum(rates) / len(rates), mean_interval(rates, intervals)


def title(manifest: RunManifest) -> str:
    """What a run is a run of, in one line."""
    return f"{manifest.policy.name} on {manifest.suite.name}, {setting(manifest)}"


def setting(manifest: RunManifest) -> str:
    """Execution horizon, reaction delay and input control of a run."""
    delay = f", D={manifest.delay}" if manifest.delay else ""
    control = "" if manifest.input_control == "none" else f", {manifest.input_control}"
    return f"H={manifest.horizon}{delay}{control}"


def markdown(run: MeasuredRun) -> str:
    """The success table of a run as a Markdown page."""
    manifest, rows = run.manifest, success_rows(run)
    lines = [
        f"# {manifest.policy.name} on {manifest.suite.name} (version {manifest.suite.version})",
        "",
        *(f"- {fact}" for fact in facts(run)),
        "",
        "| " + " | ".join(header(rows)) + " |",
        "|" + "---|" * len(header(rows)),
        *("| " + " | ".join(cells(row)) + " |" for row in rows),
        "",
        f"{overall(rows)}. Intervals: Wilson's for a task, MOVER's for their mean. A harness error "
        "counts as an episode without success.",
        "",
        *perturbed.markdown(run),
    ]
    return "\n".join(lines)


def facts(run: MeasuredRun) -> list[str]:
    """What a reader has to know of a run's protocol, a line each."""
    manifest = run.manifest
    engine = ", ".join(f"{name} {manifest.versions[name]}" for name in manifest.suite.engine)
    arms = sorted(set(run.episodes["arm"]) - {CLEAN})
    lines = [
        f"{len(run.clean)} episodes in {run.clean['trial'].nunique()} trial(s), "
        f"seed {manifest.seed}",
        f"execution horizon {manifest.horizon} of chunks of {manifest.policy.chunk_length}",
        f"at most {_limits(manifest)} steps; outcome {manifest.suite.outcome}",
        f"engine: {engine or 'nothing pinned'}",
    ]
    if "protocol" in manifest.suite.options:
        name = str(manifest.suite.options["protocol"])
        lines.append(f"protocol {name}: {manifest.suite.protocols[name].description}")
    if manifest.batch > 1:
        lines.append(f"{manifest.batch} episodes planned together")
    if manifest.delay or manifest.latency:
        lines.append(f"reaction delay {_delay(manifest)}")
    if manifest.input_control != "none":
        lines.append(f"INPUT CONTROL: {manifest.input_control}")
    if arms:
        lines.append(f"the same again under {', '.join(arms)}, which the first table leaves out")
    if run.mini:
        lines.append("a mini world: never to be ranked with the real suite")
    if manifest.suite.options.get("physics") == "gpu":
        lines.append("physics on a GPU: never to be ranked with physics on the CPU")
    return [*lines, *(f"MISMATCH allowed: {mismatch}" for mismatch in manifest.mismatches)]


def _delay(manifest: RunManifest) -> str:
    ms, latency = 1000 * manifest.delay / manifest.suite.control_hz, manifest.latency
    measured = f"; measured: {latency.ms:.1f} ms on {latency.device}" if latency else ""
    return f"{manifest.delay} control steps ({ms:g} ms{measured})"


def _limits(manifest: RunManifest) -> str:
    """The steps of an episode; of several suites those of each."""
    suite = manifest.suite
    return " or ".join(map(str, sorted({suite.steps_of(task) for task in manifest.items})))


def write_report(run: MeasuredRun) -> Path:
    """Writes `report.md` into the run folder and returns its path."""
    path = run.path / "report.md"
    path.write_text(markdown(run))
    return path
