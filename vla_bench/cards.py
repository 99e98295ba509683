"""Cards: TOML files that declare a policy or a suite. Data, validated and hashed; no code."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from vla_bench.errors import UserError, nearest
from vla_bench.items import digest
from vla_bench.policies.bridges.wire import Wire

Option = str | int | float | bool | list[str] | list[int] | list[float]
CARDS_GROUP = "vla_bench.cards"
"""Entry-point group of third-party packages whose folder holds `policies/` or `suites/` cards."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ActionConvention(_Table):
    """What an action vector means. A field left out means that any value will do."""

    size: PositiveInt | None = None
    """Length of one action."""
    control: str | None = None
    """Control mode, in the simulator's words."""
    gripper: str | None = None
    """Which sign of the gripper entry opens it, and whether it is absolute."""
    rotation: str | None = None
    """Representation of rotations in the action."""


class PolicyInputs(_Table):
    """Which observation entries a policy reads; it is given no others."""

    images: list[str] = []
    """Camera names."""
    state: dict[str, PositiveInt] = {}
    """Proprioceptive entries and their sizes."""
    privileged: dict[str, PositiveInt] = {}
    """Entries that no robot's sensors give (object and goal poses) and their sizes."""


class Resources(_Table):
    """What one process needs of a machine, in Ray's terms; changes no result."""

    cpus: float = Field(1, ge=0)
    """Cores."""
    gpus: float = Field(0, ge=0)
    """GPUs; a fraction lets several processes share one."""
    memory_gb: float = Field(0, ge=0)
    """Memory to reserve (GiB); 0 reserves none."""
    node: str = ""
    """Name of a custom Ray resource: only nodes started with it are used; empty for any node."""


class WorkerResources(Resources):
    """What one worker that simulates needs."""

    environments: PositiveInt = 2
    """Environments that a worker steps in turn while others wait for a policy server."""


class PolicyResources(Resources):
    """What one copy of a policy needs."""

    replicas: NonNegativeInt = 0
    """Policy servers that plan for all workers; 0 gives every worker a policy of its own."""


class Named(_Table):
    """A table in a file of its own, found by the file's name."""

    folder: ClassVar[str]
    """Where files of this kind are, below each folder of the search path."""
    noun: ClassVar[str]
    """What one of them is called."""

    name: str
    """The file's name, which is also the CLI's name."""
    path: Path = Path()
    """Where the file was read; not part of its digest."""

    @property
    def digest(self) -> str:
        """Identity of the content, overrides included; what changes no result is left out."""
        return digest(self.model_dump(mode="json", exclude={"path", "resources"}))

    def portable(self) -> Self:
        """A copy without this machine's path."""
        return self.model_copy(update={"path": Path()})


class Card(Named):
    """What cards of policies and suites have in common."""

    version: PositiveInt
    """Raised whenever a result could change."""
    adapter: str
    """The class behind the card: a registered name, `package.module:Class` or `./file.py:Class`."""
    description: str
    """One sentence for `vla-bench list`."""
    options: dict[str, Option] = {}
    """The adapter's settings; `--set key=value` overrides one."""

    def override(self, settings: Mapping[str, str]) -> Self:
        """A copy with some options replaced.

        Args:
            settings: Option name -> value as text, in TOML's notation.

        Raises:
            UserError: There is no such option, or the value is of another type.
        """
        changes = {key: self._parsed(key, text) for key, text in settings.items()}
        return self.model_copy(update={"options": {**self.options, **changes}})

    def _parsed(self, key: str, text: str) -> Option:
        if key not in self.options:
            raise UserError(
                f"--set {key}: {self.name} has no such option; {nearest(key, self.options)}"
            )
        default = self.options[key]
        if isinstance(default, str):
            return text
        try:
            value: Option = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(default):
            raise UserError(
                f"--set {key}={text}: expected a {type(default).__name__} such as {default}"
            )
        return value

    def portable(self) -> Self:
        """A copy without this machine's path, unless the adapter is a file beside the card."""
        return self if ".py:" in self.adapter else super().portable()


class PolicyCard(Card):
    """Declares a policy: what it reads, what it returns, how its chunks are executed."""

    folder = "policies"
    noun = "policy"

    chunk_length: PositiveInt
    """Actions in one planned chunk."""
    horizon: PositiveInt
    """Default execution horizon H: actions played before the next plan; at most `chunk_length`."""
    temporal_ensembling: float | None = None
    """ACT's coefficient m: overlapping chunks are averaged with weights exp(-m * age rank)."""
    inputs: PolicyInputs = PolicyInputs()
    """Observation entries that the policy reads."""
    action: ActionConvention = ActionConvention()
    """What its actions mean."""
    suites: list[str] = []
    """Suites it can be run on; empty means any."""
    resources: PolicyResources = PolicyResources()
    """What one copy of the policy needs."""
    wire: Wire | None = Field(None, exclude_if=lambda wire: wire is None)
    """How a policy in another program is spoken to; left out for all others."""

    def override(self, settings: Mapping[str, str]) -> Self:
        """A copy with some options replaced; `temporal_ensembling` is one (a number, or `off`)."""
        options = dict(settings)
        text = options.pop("temporal_ensembling", None)
        card = super().override(options)
        if text is None:
            return card
        return card.model_copy(update={"temporal_ensembling": _coefficient(text)})

    @model_validator(mode="after")
    def _horizon_within_chunk(self) -> Self:
        if self.horizon > self.chunk_length:
            raise ValueError(f"horizon {self.horizon} is beyond chunk_length {self.chunk_length}")
        return self


def _coefficient(text: str) -> float | None:
    if text == "off":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UserError(f"--set temporal_ensembling={text}: expected a number >= 0, or off")
    return value


class TaskCard(_Table):
    """One task of a suite."""

    instruction: str
    """What the robot is told."""
    parameters: dict[str, str] = {}
    """What the suite's adapter needs to know to find the task's files."""
    suite: str | None = None
    """The suite that the task is part of, where a card takes together several."""
    max_steps: PositiveInt | None = None
    """Control steps of an episode, where they are not those of the card."""


class Protocol(_Table):
    """How some authors evaluate on a suite, as far as that is not what the card says."""

    description: str
    """Whose it is."""
    cameras: dict[str, tuple[int, int]] = {}
    """Sizes of images in place of the card's: (height, width) in pixels."""
    options: dict[str, Option] = {}
    """Options in place of the card's."""


class SuiteCard(Card):
    """Declares a suite: the pinned protocol of an evaluation."""

    folder = "suites"
    noun = "suite"

    track: Literal["real", "mini"]
    """Mini worlds are made by the project and never ranked with real ones."""
    max_steps: PositiveInt
    """Control steps of an episode."""
    outcome: Literal["latched", "final"]
    """`latched`: success at any step counts and ends the episode; `final`: only the last step's."""
    episodes: PositiveInt
    """Episodes per task and trial."""
    trials: PositiveInt
    """Trials per task."""
    control_hz: PositiveInt
    """Control steps per second of simulated time."""
    cameras: dict[str, tuple[int, int]]
    """Camera names and their (height, width) in pixels."""
    state: dict[str, PositiveInt]
    """Proprioceptive entries and their sizes."""
    privileged: dict[str, PositiveInt] = {}
    """Entries that a policy's card must declare under `inputs.privileged` to receive."""
    action: ActionConvention
    """What an action means."""
    engine: dict[str, str]
    """Packages that move scores, and the versions the protocol is pinned to."""
    tasks: dict[str, TaskCard]
    """The tasks by name."""
    protocols: dict[str, Protocol] = {}
    """Published ways to evaluate on the suite; the option `protocol` names the one that is followed."""
    resources: WorkerResources = WorkerResources()
    """What one worker needs."""

    def suite_of(self, task: str) -> str:
        """The suite that a task's items belong to: this one, or the part that the task is taken from."""
        return self.tasks[task].suite or self.name

    @property
    def weights_of(self) -> str:
        """The suite whose weights learned policies play: this one, or the one that an option names."""
        return str(self.options.get("weights_of", self.name))

    def steps_of(self, task: str) -> int:
        """Control steps of an episode of a task."""
        return self.tasks[task].max_steps or self.max_steps

    def override(self, settings: Mapping[str, str]) -> Self:
        """A copy with some options replaced; `protocol` replaces what that protocol says, and first."""
        name = settings.get("protocol")
        followed = self if name is None else self._following(name)
        return super(SuiteCard, followed).override(settings)

    def _following(self, name: str) -> Self:
        if name not in self.protocols:
            hint = nearest(name, self.protocols)
            raise UserError(
                f"--set suite.protocol={name}: {self.name} has no such protocol; {hint}"
            )
        protocol = self.protocols[name]
        return self.model_copy(
            update={
                "cameras": {**self.cameras, **protocol.cameras},
                "options": {**self.options, **protocol.options},
            }
        )


NamedT = TypeVar("NamedT", bound=Named)


def search_roots() -> list[Path]:
    """Folders searched for data, first one wins: working folder, $VLA_BENCH_PATH, packages, ours."""
    roots = [Path.cwd()]
    roots += [Path(p) for p in os.environ.get("VLA_BENCH_PATH", "").split(os.pathsep) if p]
    for entry in metadata.entry_points(group=CARDS_GROUP):
        roots.append(Path(str(resources.files(entry.value))))
    package = Path(str(resources.files("vla_bench")))
    packed = package / "_cards"
    return [*roots, packed if packed.is_dir() else package.parent]


def search_path(kind: type[Named]) -> list[Path]:
    """Folders searched for cards of a kind, first one wins."""
    return [root / kind.folder for root in search_roots()]


def find_cards(kind: type[Named]) -> dict[str, Path]:
    """Every card of a kind that a name can reach, by name; `_base.toml` is there to be extended only."""
    found: dict[str, Path] = {}
    for folder in search_path(kind):
        for path in sorted(folder.glob("[!_]*.toml")):
            found.setdefault(path.stem, path)
    return found


def load_card(
    kind: type[NamedT], name_or_path: str, changes: Mapping[str, Any] | None = None
) -> NamedT:
    """Loads a card by name, or by path if the argument ends in `.toml`.

    Args:
        kind: `PolicyCard`, `SuiteCard` or another `Named`.
        name_or_path: What the user wrote.
        changes: Nested tables laid over the file's content before it is validated.

    Raises:
        UserError: There is no such card, or it is not valid.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise UserError(f"no card at {path}; give the path of a .toml file or a name")
    else:
        known = find_cards(kind)
        if name_or_path not in known:
            hint = nearest(name_or_path, known)
            raise UserError(
                f"no {kind.noun} named {name_or_path!r}; {hint} See `vla-bench list {_plural(kind)}`"
            )
        path = known[name_or_path]
    return _parse(kind, path, changes or {})


def _plural(kind: type[Named]) -> str:
    return Path(kind.folder).name


def _read(kind: type[Named], path: Path) -> dict[str, Any]:
    """A card's content, laid over that of the card it `extends`, with the tasks of its `parts`."""
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
    base = data.pop("extends", None)
    parts = data.pop("parts", []) if kind is SuiteCard else []
    if base is not None:
        data = _overlay(_read(kind, _related(kind, path, "extends", base)), data)
    for part in parts:
        tasks = _tasks_of(part, _read(kind, _related(kind, path, "has the part", part)))
        data["tasks"] = {**data.get("tasks", {}), **tasks}
    return data


def _related(kind: type[Named], path: Path, how: str, name: str) -> Path:
    """The card that another one names."""
    known = {**find_cards(kind), **{p.stem: p for p in path.parent.glob("*.toml")}}
    if name not in known or known[name] == path:
        raise UserError(f"{path}: {how} {name!r}, which is no card; {nearest(name, known)}")
    return known[name]


def _tasks_of(part: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The tasks of a suite as they stand on the card of several suites together."""
    own = {"suite": part, "max_steps": data["max_steps"]}
    return {name: {**task, **own} for name, task in data["tasks"].items()}


TAGS = ("kind", "name")
"""Keys that say which settings a table has; where one changes, nothing else of the base is kept."""


def _overlay(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict) and not _retagged(below, value)
        merged[key] = _overlay(merged[key], value) if both else value
    return merged


def _retagged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> bool:
    return any(tag in base and tag in changes and base[tag] != changes[tag] for tag in TAGS)


def _parse(kind: type[NamedT], path: Path, changes: Mapping[str, Any]) -> NamedT:
    data = _overlay(_read(kind, path), dict(changes))
    try:
        return kind.model_validate({"name": path.stem, **data, "path": path.resolve()})
    except ValidationError as error:
        problems = "; ".join(_explain(kind, problem) for problem in error.errors())
        raise UserError(f"{path}: {problems}") from None


def _explain(kind: type[Named], problem: ErrorDetails) -> str:
    place = ".".join(str(part) for part in problem["loc"]) or "card"
    if problem["type"] == "extra_forbidden":
        return f"unknown key {place!r}, {nearest(str(problem['loc'][-1]), _keys(kind, problem))}"
    if problem["type"] == "missing":
        return f"key {place!r} is missing"
    if problem["type"] == "value_error":
        return f"{place}: {problem['ctx']['error']}"
    return f"{place}: {problem['msg']}, found {problem['input']!r}"


def _keys(kind: type[BaseModel], problem: ErrorDetails) -> set[str]:
    """The keys that would do where an unknown one was found, of all kinds that the table may be of."""
    tables: list[type[BaseModel]] = [kind]
    for part in map(str, problem["loc"][:-1]):
        found = [t.model_fields[part].annotation for t in tables if part in t.model_fields]
        tables = [
            t for a in found for t in get_args(a) or (a,) if hasattr(t, "model_fields")
        ] or tables
    return {key for table in tables for key in table.model_fields} - {"path"}
