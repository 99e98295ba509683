"""Carries out planned sweeps: collects, trains and plays on several cores; resumes after a kill."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vla_bench.errors import UserError
from vla_bench.records import EpisodeRecord
from vla_bench.runs import PlannedRun, RunSpec, execute, plan_run
from vla_bench.sweeps.points import SweepPlan, Training

OnJob = Callable[["Progress"], None]


@dataclass(frozen=True)
class Progress:
    """A job that has been done."""

    verb: str
    """`collected`, `trained`, `played` or `looked`."""
    done: int
    """Jobs of this verb done so far."""
    total: int
    """Jobs of this verb."""
    name: str
    """What was collected, trained, played or looked at."""
    outcome: str
    """What came of it."""

    def __str__(self) -> str:
        return f"{self.verb} {self.done}/{self.total}  {self.name}  {self.outcome}"


@dataclass(frozen=True)
class _Job:
    verb: str
    name: str
    work: Callable[..., str]
    arguments: Sequence[object]


def run_sweeps(plans: Sequence[SweepPlan], processes: int, on_job: OnJob) -> None:
    """Does what is left to do of some sweeps: first demonstrations, then weights, then runs.

    Args:
        plans: The sweeps; weights that several of them play are trained once.
        processes: Jobs done at a time, each on one core.
        on_job: Called after every job.

    Raises:
        UserError: A job failed; what was finished before is kept.
    """
    if processes < 1:
        raise UserError(f"--processes {processes}: expected 1 or more; use --processes 1")
    trainings = _missing(plans)
    collections = {job.name: job for job in map(_collection, trainings.values())}
    with _workers(processes) as pool:
        _finish(pool, list(collections.values()), on_job)
        _finish(pool, [_training(t) for t in trainings.values()], on_job)
        _finish(pool, _plays(plans), on_job)
        _finish(pool, _looks(plans), on_job)


def _missing(plans: Sequence[SweepPlan]) -> dict[Path, Training]:
    """Trainings whose weights are not there yet, by checkpoint folder."""
    wanted = [p.training for plan in plans for p in plan.points if p.training is not None]
    if not wanted:
        return {}
    from vla_bench.learning.training import finished

    return {t.out: t for t in wanted if not finished(t.out, t.recipe)}


def _collection(training: Training) -> _Job:
    from vla_bench.learning.recipes import demonstrations_folder

    folder = demonstrations_folder(training.recipe)
    return _Job("collected", str(folder), _collect, [training])


def _training(training: Training) -> _Job:
    return _Job("trained", training.out.name, _train, [training])


def _plays(plans: Sequence[SweepPlan]) -> list[_Job]:
    """One job per run folder; sweeps that share one may want different items of it."""
    named: dict[Path, str] = {}
    specs: dict[Path, list[RunSpec]] = {}
    for point in (point for plan in plans for point in plan.points):
        named.setdefault(point.folder, point.name)
        wanted = specs.setdefault(point.folder, [])
        if point.spec not in wanted:
            wanted.append(point.spec)
    return [_Job("played", name, _play, [specs[folder]]) for folder, name in named.items()]


def _looks(plans: Sequence[SweepPlan]) -> list[_Job]:
    """One job per run folder of the sweeps that measure attention."""
    wanted = {
        (point.folder, plan.sweep.attention): point.name
        for plan in plans
        for point in plan.points
        if plan.sweep.attention
    }
    return [_Job("looked", name, _look, [*where]) for where, name in wanted.items()]


def _finish(pool: ProcessPoolExecutor, jobs: Sequence[_Job], on_job: OnJob) -> None:
    waiting: dict[Future[str], _Job] = {pool.submit(job.work, *job.arguments): job for job in jobs}
    for done, future in enumerate(as_completed(waiting), 1):
        job = waiting[future]
        try:
            outcome = future.result()
        except UserError as error:
            raise UserError(f"{job.name}: {error}") from None
        except BrokenProcessPool:
            raise UserError(
                f"{job.name}: its process was killed, perhaps for want of memory; run the same command "
                f"again to go on, with fewer --processes"
            ) from None
        on_job(Progress(job.verb, done, len(jobs), job.name, outcome))


@contextmanager
def _workers(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread each; jobs that have not begun are dropped after an error."""
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads


def _begin() -> None:
    """A worker ends with its parent, and dies of Ctrl-C without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _collect(training: Training) -> str:
    from vla_bench.learning.recipes import collect_for

    kept: dict[str, int] = {}
    collect_for(training.recipe, lambda now: kept.update({now.task: now.kept}))
    return f"{sum(kept.values())} demonstrations of {len(kept)} tasks"


def _train(training: Training) -> str:
    from vla_bench.learning.recipes import demonstrations_folder, make_weights
    from vla_bench.policies.learned.checkpoint import load_config

    recipe = training.recipe
    made = load_config(make_weights(recipe, demonstrations_folder(recipe), training.out))
    return f"{made.updates} updates in {made.wall_s:.0f} s"


def _play(specs: Sequence[RunSpec]) -> str:
    records: dict[str, EpisodeRecord] = {}
    for spec in specs:
        planned = plan_run(spec)
        _check_folder(planned)
        records |= {record.item: record for record in execute(planned)}
    successes = sum(record.success for record in records.values())
    seconds = sum(record.wall_s for record in records.values())
    return f"{successes}/{len(records)} succeeded in {seconds:.0f} s"


def _look(folder: Path, map_name: str) -> str:
    from vla_bench.sweeps.looking import look

    known = [mass for mass in look(folder, map_name).mass.values() if mass is not None]
    return f"{sum(known) / max(len(known), 1):.3f} of its attention on the objects of the task"


def _check_folder(run: PlannedRun) -> None:
    folder = run.folder
    if not (folder.path / "manifest.json").exists():
        return
    if folder.manifest.identity() != run.manifest.identity():
        raise UserError(
            f"{folder.path} was played with other weights, or on another version of the suite or its "
            f"engine; remove it to play it again"
        )
