"""From what the user asked for to a finished run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vla_bench import input_controls
from vla_bench.cards import PolicyCard, SuiteCard, load_card
from vla_bench.compatibility import mismatches
from vla_bench.errors import MismatchError, UserError, nearest
from vla_bench.execution.inline import InlineExecutor
from vla_bench.execution.slot import VideoChoice
from vla_bench.input_controls import InputControl
from vla_bench.items import CLEAN, WorkItem
from vla_bench.machine import hardware, installed_versions
from vla_bench.perturbations import catalogue
from vla_bench.records import EpisodeRecord, RunFolder, RunManifest
from vla_bench.registry import make_policy, make_suite, prepare_card
from vla_bench.settings import Settings
from vla_bench.suites.base import Suite

OnRecord = Callable[[EpisodeRecord], None]


@dataclass(frozen=True)
class RunSpec:
    """What to run: the command line of `vla-bench run` as a value."""

    policy: str
    """Name of a policy, or path of its card."""
    suite: str
    """Name of a suite, or path of its card."""
    tasks: Sequence[str] = ()
    """Tasks to run; none means all."""
    episodes: int | None = None
    """Episodes per task and trial, the first ones of the manifest; None for the card's number."""
    trials: int | None = None
    """Trials per task; None for the card's number."""
    seed: int = 0
    """Seed of the run."""
    horizon: int | None = None
    """Execution horizon H; None for the policy card's."""
    batch: int = 1
    """Episodes of one task that are played at a time and planned together."""
    input_control: InputControl = "none"
    """What to do to the policy's inputs, to ask whether it reads them."""
    perturbations: Sequence[str] = ()
    """`NAME:LEVEL` each: every item is played clean, and again under each of these."""
    weights: str | None = None
    """The policy card's option `weights`; None for what the card says."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Overrides of card options, `suite.` before the name for a suite's."""
    video: VideoChoice = "none"
    """Which episodes to keep a video of."""
    out: Path | None = None
    """Run folder; None for one under `results/runs/` named after the run."""
    allow_mismatch: bool = False
    """Run although policy, suite and engines do not fit together."""


@dataclass(frozen=True)
class PlannedRun:
    """A run that has been checked and can start."""

    suite: Suite
    manifest: RunManifest
    items: Sequence[WorkItem]
    folder: RunFolder
    video: VideoChoice


def plan_run(spec: RunSpec) -> PlannedRun:
    """Loads the cards, checks that everything fits, and lists the items. Runs nothing.

    Raises:
        UserError: Anything the user has to mend first.
    """
    if spec.batch < 1:
        raise UserError(f"--batch {spec.batch}: expected a number of episodes; use --batch 1")
    policy, suite_card = _cards(spec)
    tasks = _tasks(spec.tasks, suite_card)
    input_controls.check(spec.input_control, suite_card, tasks)
    policy = prepare_card(policy, suite_card)
    horizon = _horizon(spec.horizon, policy)
    found = mismatches(policy, suite_card)
    _refuse(found, spec)
    suite = make_suite(suite_card)
    arms = (CLEAN, *catalogue.arms(spec.perturbations, suite))
    suite.prepare()
    found += [moved for task in tasks if (moved := suite.moved(task))]
    _refuse(found, spec)
    items = [
        item
        for task in tasks
        for clean in suite.items(task, seed=spec.seed, episodes=spec.episodes, trials=spec.trials)
        for item in map(clean.under, arms)
    ]
    manifest = RunManifest(
        policy=policy.portable(),
        suite=suite_card.portable(),
        seed=spec.seed,
        horizon=horizon,
        batch=spec.batch,
        input_control=spec.input_control,
        items={},
        mismatches=found,
        versions=installed_versions(suite_card.engine),
        hardware=hardware(),
    )
    folder = RunFolder(spec.out or _default_folder(manifest))
    return PlannedRun(suite, manifest, items, folder, spec.video)


def _refuse(found: Sequence[str], spec: RunSpec) -> None:
    if found and not spec.allow_mismatch:
        raise MismatchError("; ".join(found) + " (or pass --allow-mismatch)")


def execute(run: PlannedRun, on_record: OnRecord | None = None) -> list[EpisodeRecord]:
    """Plays the items that the run folder does not hold yet.

    Args:
        run: A planned run.
        on_record: Called with each record, those of an earlier start included.

    Returns:
        The records of all items of the run, in the order of the items.
    """
    wanted = {item.digest: item for item in run.items}
    with run.folder as folder:
        folder.open_run(run.manifest, run.items)
        folder.repair()
        done = {r.item: r for r in folder.records() if r.item in wanted}
        for record in done.values():
            if record.reason != "harness_error" and on_record is not None:
                on_record(record)
        left = [i for i in run.items if i.digest not in done or _retried(done[i.digest])]
        if left:
            policy = make_policy(run.manifest.policy, run.manifest.suite)
            settings = Settings.of(run.manifest)
            executor = InlineExecutor(
                run.suite, policy, settings, folder, run.video, run.manifest.batch
            )
            for record in executor.run(left):
                folder.append(record)
                done[record.item] = record
                if on_record is not None:
                    on_record(record)
    return [done[digest] for digest in wanted]


def _retried(record: EpisodeRecord) -> bool:
    return record.reason == "harness_error"


def _cards(spec: RunSpec) -> tuple[PolicyCard, SuiteCard]:
    policy, suite = load_card(PolicyCard, spec.policy), load_card(SuiteCard, spec.suite)
    of_policy: dict[str, str] = {}
    of_suite: dict[str, str] = {}
    for key, value in spec.options.items():
        if key.startswith("suite."):
            of_suite[key.removeprefix("suite.")] = value
        else:
            of_policy[key.removeprefix("policy.")] = value
    if spec.weights is not None:
        if "weights" not in policy.options:
            raise UserError(f"policy {policy.name} takes no weights; leave --weights out")
        of_policy["weights"] = spec.weights
    return policy.override(of_policy), suite.override(of_suite)


def _horizon(wanted: int | None, policy: PolicyCard) -> int:
    horizon = policy.horizon if wanted is None else wanted
    if not 1 <= horizon <= policy.chunk_length:
        raise UserError(
            f"--horizon {horizon}: policy {policy.name} plans chunks of {policy.chunk_length} "
            f"actions; use --horizon 1 to {policy.chunk_length}"
        )
    return horizon


def _tasks(wanted: Sequence[str], suite: SuiteCard) -> list[str]:
    for task in wanted:
        if task not in suite.tasks:
            raise UserError(f"no task {task!r} in {suite.name}; {nearest(task, suite.tasks)}")
    return [task for task in suite.tasks if task in wanted or not wanted]


def _default_folder(manifest: RunManifest) -> Path:
    name = f"{manifest.policy.name}_{manifest.suite.name}_{manifest.identity()[:8]}"
    return Path("results") / "runs" / name
