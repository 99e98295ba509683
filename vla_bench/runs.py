"""From what the user asked for to a finished run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vla_bench import input_controls
from vla_bench.assets import files_digest
from vla_bench.cards import PolicyCard, SuiteCard, load_card
from vla_bench.compatibility import mismatches
from vla_bench.delays import find_delay
from vla_bench.errors import MismatchError, UserError, nearest
from vla_bench.execution.inline import InlineExecutor, Stopping, never
from vla_bench.execution.parallel import OnStatus, Parallel
from vla_bench.execution.slot import VideoChoice
from vla_bench.execution.waves import WaveExecutor, executor_of
from vla_bench.input_controls import InputControl
from vla_bench.items import CLEAN, WorkItem
from vla_bench.machine import hardware, installed_versions
from vla_bench.perturbations import catalogue
from vla_bench.records import EpisodeRecord, RunFolder, RunManifest
from vla_bench.registry import make_policy, make_suite, prepare_card
from vla_bench.settings import Settings
from vla_bench.suites.base import Suite

if TYPE_CHECKING:
    from vla_bench.execution.ray_executor import RayExecutor

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
    parallel: Parallel | None = None
    """How the run is spread over processes; None runs it in this one."""
    replicas: int | None = None
    """Policy servers; None for the policy card's number."""
    delay: int | str = 0
    """Reaction delay in control steps, or `measured:DEVICE`."""
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
    parallel: Parallel | None = None


def plan_run(spec: RunSpec) -> PlannedRun:
    """Loads the cards, checks that everything fits, and lists the items. Runs nothing.

    Raises:
        UserError: Anything the user has to mend first.
    """
    return plan_cards(policy_card(spec), suite_card(spec), spec)


def plan_cards(policy: PolicyCard, suite_card: SuiteCard, spec: RunSpec) -> PlannedRun:
    """The same with cards that are loaded already, all options overridden.

    Args:
        policy: The policy's card, not prepared for a suite yet.
        suite_card: The suite's card.
        spec: All else.
    """
    if spec.batch < 1:
        raise UserError(f"--batch {spec.batch}: expected a number of episodes; use --batch 1")
    policy = _with_replicas(policy, spec)
    tasks = _tasks(spec.tasks, suite_card)
    input_controls.check(spec.input_control, suite_card, tasks)
    policy = prepare_card(policy, suite_card)
    horizon = _horizon(spec.horizon, policy)
    delay = find_delay(spec.delay, policy, suite_card)
    found = mismatches(policy, suite_card)
    _refuse(found, spec)
    suite = make_suite(suite_card)
    _check_spread(suite, spec.parallel)
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
        delay=delay.steps,
        latency=delay.latency,
        input_control=spec.input_control,
        items={},
        mismatches=found,
        assets=files_digest(suite.asset_folders()),
        versions=installed_versions(suite_card.engine),
        hardware=hardware(),
    )
    folder = RunFolder(spec.out or _default_folder(manifest))
    return PlannedRun(suite, manifest, items, folder, spec.video, spec.parallel)


def plan_again(folder: RunFolder, out: Path, parallel: Parallel | None = None) -> PlannedRun:
    """A second run of all items of a run, under the cards and with the versions of the first.

    Args:
        folder: The run.
        out: Folder of the second run.
        parallel: How it is spread over processes; need not be as the first was.

    Raises:
        UserError: It cannot be done here, or something differs that has to be equal.
    """
    old = folder.manifest
    suite = make_suite(old.suite)
    _check_spread(suite, parallel)
    found = mismatches(old.policy, old.suite)
    suite.prepare()
    found += [moved for task in old.items if (moved := suite.moved(task))]
    if new := [mismatch for mismatch in found if mismatch not in old.mismatches]:
        raise MismatchError(f"{folder.path} was not made here: {'; '.join(new)}")
    manifest = old.model_copy(
        update={
            "mismatches": found,
            "assets": files_digest(suite.asset_folders()),
            "versions": installed_versions(old.suite.engine),
            "hardware": hardware(),
        }
    )
    check_assets(folder, manifest)
    return PlannedRun(suite, manifest, folder.items(), RunFolder(out), "none", parallel)


def check_assets(folder: RunFolder, manifest: RunManifest) -> None:
    """Refuses a second run whose suite shows other files than a first one's did, if both are known.

    Raises:
        UserError: The digests of the files differ.
    """
    before, now = folder.manifest.assets, manifest.assets
    if before and now and before != now:
        raise UserError(
            f"{folder.path} was played with other downloaded files of {manifest.suite.name} (digest "
            f"{before}, here {now}); restore them, or run it again here"
        )


def _check_spread(suite: Suite, parallel: Parallel | None) -> None:
    if suite.in_waves and parallel is not None:
        raise UserError(
            f"--workers {parallel.workers}: {suite.card.name} plays its episodes in waves in one "
            f"process; use --batch instead"
        )


def _refuse(found: Sequence[str], spec: RunSpec) -> None:
    if found and not spec.allow_mismatch:
        raise MismatchError("; ".join(found) + " (or pass --allow-mismatch)")


def execute(
    run: PlannedRun,
    on_record: OnRecord | None = None,
    on_status: OnStatus | None = None,
    stopping: Stopping = never,
) -> list[EpisodeRecord]:
    """Plays the items that the run folder does not hold yet.

    Args:
        run: A planned run.
        on_record: Called with each record, those of an earlier start included.
        on_status: Told now and then how a run on several processes is getting on.
        stopping: Asked before each item; once it says yes, those under way are finished, and no more.

    Returns:
        The records of all items of the run that there are, in the order of the items.
    """
    wanted = {item.digest: item for item in run.items}
    with run.folder as folder:
        folder.open_run(run.manifest, run.items)
        folder.repair()
        done = set()
        for record in folder.records():
            if record.item in wanted and record.reason != "harness_error":
                done.add(record.item)
                if on_record is not None:
                    on_record(record)
        left = [item for digest, item in wanted.items() if digest not in done]
        if left:
            executor = _executor(run, folder, on_status, stopping)
            # Closed at once when this run is broken off: its processes end with it.
            with closing(executor.run(left)) as records:
                for record in records:
                    folder.append(record)
                    if on_record is not None:
                        on_record(record)
        played = {record.item: record for record in folder.records()}
    return [played[digest] for digest in wanted if digest in played]


def _executor(
    run: PlannedRun, folder: RunFolder, on_status: OnStatus | None, stopping: Stopping
) -> InlineExecutor | WaveExecutor | RayExecutor:
    if run.parallel is not None:
        from vla_bench.execution.ray_executor import RayExecutor

        return RayExecutor(run.manifest, run.parallel, folder, run.video, stopping, on_status)
    manifest = run.manifest
    policy = make_policy(manifest.policy, manifest.suite, manifest.batch)
    settings = Settings.of(manifest)
    executor = executor_of(run.suite)
    return executor(run.suite, policy, settings, folder, run.video, manifest.batch, stopping)


def policy_card(spec: RunSpec) -> PolicyCard:
    """The policy's card with its options overridden, not prepared for a suite yet."""
    card = load_card(PolicyCard, spec.policy)
    options = {
        key.removeprefix("policy."): value
        for key, value in spec.options.items()
        if not key.startswith("suite.")
    }
    if spec.weights is not None:
        if "weights" not in card.options:
            raise UserError(f"policy {card.name} takes no weights; leave --weights out")
        options["weights"] = spec.weights
    return card.override(options)


def suite_card(spec: RunSpec) -> SuiteCard:
    """The suite's card with its options overridden."""
    options = {
        key.removeprefix("suite."): value
        for key, value in spec.options.items()
        if key.startswith("suite.")
    }
    return load_card(SuiteCard, spec.suite).override(options)


def _with_replicas(policy: PolicyCard, spec: RunSpec) -> PolicyCard:
    replicas = policy.resources.replicas if spec.replicas is None else spec.replicas
    if replicas < 0:
        raise UserError(f"--replicas {replicas}: expected a number of policy servers, 0 for none")
    if spec.replicas and spec.parallel is None:
        raise UserError(f"--replicas {replicas}: policy servers need workers; add --workers 2")
    resources = policy.resources.model_copy(update={"replicas": replicas})
    return policy.model_copy(update={"resources": resources})


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
