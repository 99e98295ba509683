"""Episode records and the run folder that holds them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from filelock import BaseFileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.delays import Latency
from vla_bench.errors import UserError
from vla_bench.input_controls import InputControl
from vla_bench.items import CLEAN, WorkItem, digest, group_by_task, items_digest, place_of
from vla_bench.locks import acquire

Reason = Literal["success", "timeout", "policy_error", "harness_error"]
TIMES = frozenset({"wall_s", "cpu_s", "policy_s", "simulation_s", "observation_s"})
"""Fields that differ between two runs of the same item; all others do not."""


class EpisodeRecord(BaseModel):
    """What one rollout produced: one line of `episodes.jsonl`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    item: str
    """Digest of the work item."""
    suite: str
    """Name of the suite."""
    version: int
    """Version of the suite."""
    policy: str
    """Name of the policy."""
    task: str
    """Name of the task."""
    trial: int
    """Trial number, from 0."""
    index: int
    """Position within task and trial, from 0."""
    seed: int
    """Seed of the episode's draws."""
    initial_state: dict[str, str | int]
    """The pinned start: for MS-HAB split, scene, plan uid and spawn index; for LIBERO the initial state's
    number and the protocol."""
    perturbation: str = Field(default=CLEAN, exclude_if=lambda value: value == CLEAN)
    """Perturbation and its level, `NAME:LEVEL`; left out of the record of a clean episode."""
    success: bool
    """Outcome as the suite's card defines it (`latched` or `final`)."""
    reason: Reason
    """Why the episode ended."""
    steps: int
    """Control steps played."""
    first_success: int | None
    """Control steps after which the success conditions held for the first time; null if never."""
    horizon: int
    """Execution horizon: actions played of each chunk."""
    queries: int
    """How often the policy planned a chunk."""
    probe: str
    """World probe: digest of the settled initial world, rounded."""
    states: str
    """Digest of the simulator's states, from the initial one to the last."""
    actions: str
    """Digest of the actions played."""
    status: dict[str, float] = {}
    """The suite's own measures at the end, e.g. whether the robot collided; yes is 1, no is 0."""
    error: str | None = None
    """What went wrong, for `policy_error` and `harness_error`."""
    wall_s: float = 0.0
    """Wall-clock time of the episode, its set-up and its share of plans for several included (s)."""
    cpu_s: float = 0.0
    """CPU time of the process over the same span (s)."""
    policy_s: float = 0.0
    """Wall-clock time in the policy (s)."""
    simulation_s: float = 0.0
    """Wall-clock time of set-up and control steps (s)."""
    observation_s: float = 0.0
    """Wall-clock time of rendering and reading observations (s)."""

    @classmethod
    def of(cls, item: WorkItem, policy: str, **outcome: Any) -> Self:  # noqa: ANN401
        """The record of an item: what the item says, and what came of it."""
        said = item.model_dump(exclude={"instruction"})
        return cls(item=item.digest, policy=policy, **said, **outcome)

    @classmethod
    def failed(cls, item: WorkItem, policy: str, horizon: int, cause: str) -> Self:
        """The record of an item that the harness could not play."""
        return cls.of(
            item,
            policy,
            success=False,
            reason="harness_error",
            steps=0,
            first_success=None,
            horizon=horizon,
            queries=0,
            probe="",
            states="",
            actions="",
            error=cause,
        )

    @property
    def digest(self) -> str:
        """Digest of the item."""
        return self.item

    @property
    def place(self) -> str:
        """The item's name within its run."""
        return place_of(self.task, self.trial, self.index, self.perturbation)

    def outcome(self) -> dict[str, Any]:
        """All fields but the times: what two runs of the same item must agree on."""
        return self.model_dump(exclude=set(TIMES))


class RunManifest(BaseModel):
    """What a run is a run of. Written before the first episode; grows with the run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    policy: PolicyCard
    """The policy's card, overrides applied."""
    suite: SuiteCard
    """The suite's card, overrides applied."""
    seed: int
    """Seed of the run."""
    horizon: int
    """Execution horizon H."""
    batch: int = 1
    """Episodes planned together; float results may differ in the last bits between batch sizes."""
    delay: int = 0
    """Reaction delay D: control steps from an observation to the chunk planned from it."""
    latency: Latency | None = None
    """The measurement that the delay was made from: `ms` and `device`; null if it was given in steps."""
    input_control: InputControl = "none"
    """What was done to the policy's inputs, to ask whether it reads them."""
    items: dict[str, str]
    """Task -> digest of its ordered items; `items.jsonl` lists them."""
    mismatches: list[str]
    """Mismatches that `--allow-mismatch` let pass; such a run is not comparable with others."""
    assets: str = ""
    """Digest of the names and sizes of the suite's downloaded files; empty where there are none, and in
    runs from before it was noted."""
    versions: dict[str, str]
    """Package -> version, Python included."""
    hardware: dict[str, str | int]
    """Machine the run was started on."""

    def identity(self) -> str:
        """Two runs may share a folder only if they agree on this."""
        return digest(
            {
                "policy": self.policy.digest,
                "suite": self.suite.digest,
                "seed": self.seed,
                "horizon": self.horizon,
                "batch": self.batch,
                "input_control": self.input_control,
                "engine": self.engine,
                **({"delay": self.delay} if self.delay else {}),
                **({"assets": self.assets} if self.assets else {}),
            }
        )

    @property
    def engine(self) -> dict[str, str]:
        """Installed versions of the packages that the suite is pinned to."""
        return {name: self.versions[name] for name in self.suite.engine}


class RunFolder:
    """A run on disk: `manifest.json`, `items.jsonl`, `episodes.jsonl` (append-only), `videos/`.

    Use as a context manager to write: it holds the folder's lock, so that two runs cannot mix.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.episodes = path / "episodes.jsonl"
        self.videos = path / "videos"
        self._manifest = path / "manifest.json"
        self._items = path / "items.jsonl"
        self._lock: BaseFileLock | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = acquire(
                self.path / ".lock",
                f"another run is writing to {self.path}; wait for it, or give another --out",
            )
        except OSError as error:
            raise UserError(
                f"cannot write to {self.path} ({error.strerror}); give a writable folder with --out"
            ) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._lock is not None
        self._lock.release()

    @property
    def manifest(self) -> RunManifest:
        """The manifest of the run.

        Raises:
            UserError: There is none, or it cannot be read.
        """
        if not self._manifest.is_file():
            raise UserError(f"{self.path} is not a run folder: it has no manifest.json")
        try:
            return RunManifest.model_validate_json(self._manifest.read_text())
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(
                f"{self._manifest} was written by another version of vla-bench, or damaged: "
                f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            ) from None

    def open_run(self, manifest: RunManifest, items: Sequence[WorkItem]) -> None:
        """Starts the run of some items, or adds them to the run that is there.

        Args:
            manifest: What the run is a run of; its `items` are filled in here.
            items: The items to be played, in order.

        Raises:
            UserError: The folder holds another run, or the suite's files have changed since.
        """
        if self._manifest.exists():
            old = self.manifest
            if old.identity() != manifest.identity():
                raise UserError(
                    f"{self.path} holds another run ({_difference(old, manifest)}); "
                    f"give another --out"
                )
            items = _merged(self.items(), items, manifest.suite)
        digests = {task: items_digest(part) for task, part in group_by_task(items).items()}
        manifest = manifest.model_copy(update={"items": digests})
        _replace(self._items, "".join(item.model_dump_json() + "\n" for item in items))
        _replace(self._manifest, manifest.model_dump_json(indent=2) + "\n")

    def items(self) -> list[WorkItem]:
        """The items of the run, in order."""
        return [WorkItem.model_validate_json(line) for line in self.items_text().splitlines()]

    def items_text(self) -> str:
        """What `items.jsonl` holds."""
        if not self._items.is_file():
            raise UserError(f"{self.path} is not a run folder: it has no items.jsonl")
        return self._items.read_text()

    def repair(self) -> bool:
        """Cuts off a last line that a killed process left unfinished; returns whether there was one."""
        if not self.episodes.exists():
            return False
        data = self.episodes.read_bytes()
        complete = data.rfind(b"\n") + 1
        if complete == len(data):
            return False
        os.truncate(self.episodes, complete)
        return True

    def append(self, record: EpisodeRecord) -> None:
        """Adds one record, whole or not at all.

        Raises:
            UserError: The disk is full or the folder cannot be written.
        """
        line = (record.model_dump_json() + "\n").encode()
        with _writing(self.episodes), self.episodes.open("ab", buffering=0) as file:
            before = os.fstat(file.fileno()).st_size
            try:
                written = file.write(line)
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), before)
                raise
            if written != len(line):
                os.ftruncate(file.fileno(), before)
                raise OSError(28, "No space left on device")

    def records(self) -> list[EpisodeRecord]:
        """One record per item, in the order in which they were written.

        An item that was recorded as `harness_error` and played again counts as played again.

        Raises:
            UserError: A line is damaged; names it and how to mend it.
        """
        if not self.episodes.exists():
            return []
        records: dict[str, EpisodeRecord] = {}
        for number, line in enumerate(self.episodes.read_text().splitlines(keepends=True), 1):
            try:
                if not line.endswith("\n"):
                    raise ValueError("cut short")
                record = EpisodeRecord.model_validate_json(line)
            except ValueError:
                raise UserError(
                    f"{self.episodes}, line {number} is cut short or damaged; the {len(records)} "
                    f"records before it are intact. Run the same `vla-bench run` again to replace a "
                    f"cut last line; delete a damaged line elsewhere"
                ) from None
            if record.item not in records or records[record.item].reason == "harness_error":
                records[record.item] = record
        return list(records.values())

    def add_video(self, name: str, film: bytes) -> None:
        """Keeps a video that was made elsewhere.

        Raises:
            OSError: The disk is full or the folder cannot be written.
        """
        partial = self.videos / f".{name}"
        self.videos.mkdir(exist_ok=True)
        try:
            partial.write_bytes(film)
            partial.replace(self.videos / name)
        finally:
            partial.unlink(missing_ok=True)

    def video(self, item: WorkItem) -> Path:
        """Where the video of an item goes."""
        arm = "" if item.perturbation == CLEAN else f"_{item.perturbation.replace(':', '-')}"
        return self.videos / f"{item.task}_{item.trial}_{item.index:03d}{arm}_{item.digest}.mp4"


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns an operating-system error while writing into one line for the user."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror}); earlier records are intact. Free some space or "
            f"give another --out, then run the same command again"
        ) from None


def _replace(path: Path, text: str) -> None:
    """Writes a whole file or leaves the old one."""
    temporary = path.with_name(f"{path.name}.tmp")
    with _writing(temporary):
        temporary.write_text(text)
        temporary.replace(path)


def _merged(old: Sequence[WorkItem], new: Sequence[WorkItem], suite: SuiteCard) -> list[WorkItem]:
    """The items of both, in the order of task, trial and index, each clean one before its perturbed."""
    places: dict[tuple[int, int, int, bool, str], WorkItem] = {}
    tasks = list(suite.tasks)
    for item in [*old, *new]:
        arm = item.perturbation
        place = (tasks.index(item.task), item.trial, item.index, arm != CLEAN, arm)
        if places.setdefault(place, item) != item:
            raise UserError(
                f"{item.task} {item.trial}/{item.index} is another episode than when the run was "
                f"started: the files of {suite.name} have changed; give another --out"
            )
    return [places[place] for place in sorted(places)]


def _difference(old: RunManifest, new: RunManifest) -> str:
    for name, before, after in (
        ("policy", old.policy.name, new.policy.name),
        ("suite", old.suite.name, new.suite.name),
        ("seed", old.seed, new.seed),
        ("horizon", old.horizon, new.horizon),
        ("batch", old.batch, new.batch),
        ("delay", old.delay, new.delay),
        ("input control", old.input_control, new.input_control),
        ("policy card", old.policy.digest, new.policy.digest),
        ("suite card", old.suite.digest, new.suite.digest),
        ("engine", old.engine, new.engine),
        ("assets", old.assets or "unknown", new.assets or "unknown"),
    ):
        if before != after:
            return f"{name} {before}, now {after}"
    return "unknown difference"
