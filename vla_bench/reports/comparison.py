"""Several runs of one suite side by side: a row per run, a column per task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vla_bench.errors import UserError
from vla_bench.items import items_digest
from vla_bench.records import RunFolder
from vla_bench.reports.success import SuccessRow, clean_items, mean_rate, setting, success_rows


def side_by_side(folders: Sequence[RunFolder]) -> str:
    """The runs' success rates on clean episodes as a Markdown page.

    Raises:
        UserError: The runs are of different suites, or did not play the same items.
    """
    first = folders[0].manifest
    for folder in folders[1:]:
        found = folder.manifest
        if found.suite.digest != first.suite.digest or _played(folder) != _played(folders[0]):
            raise UserError(
                f"{folder.path} and {folders[0].path} did not play the same items of the same suite; "
                "compare runs with equal --suite, --tasks, --episodes, --trials and --seed"
            )
    tables = [success_rows(folder.items(), folder.records()) for folder in folders]
    tasks = [row.task for row in tables[0]]
    lines = [
        f"# Policies on {first.suite.name} (version {first.suite.version})",
        "",
        f"{tables[0][0].episodes} episodes a task, the same for all; success in % with 95 % intervals: "
        "Wilson's for a task, MOVER's for the mean over tasks.",
        *(["A mini world: never to be ranked with the real suite."] if _mini(folders[0]) else []),
        "",
        "| run | " + " | ".join(tasks) + " | mean |",
        "|---|" + "---|" * (len(tasks) + 1),
        *(_line(_name(folder), rows) for folder, rows in zip(folders, tables, strict=True)),
        "",
        *_origins(folders),
    ]
    return "\n".join(lines) + "\n"


def _played(folder: RunFolder) -> str:
    return items_digest(clean_items(folder.items()))


def _name(folder: RunFolder) -> str:
    manifest = folder.manifest
    return f"{manifest.policy.name}, {setting(manifest)}"


def _mini(folder: RunFolder) -> bool:
    return folder.manifest.suite.track == "mini"


def _line(name: str, rows: Sequence[SuccessRow]) -> str:
    mean = mean_rate(rows)
    cells = [_cell(row) for row in rows] + ["-" if mean is None else _percent(*mean, digits=1)]
    return f"| {name} | " + " | ".join(cells) + " |"


def _cell(row: SuccessRow) -> str:
    return "-" if row.rate is None or row.interval is None else _percent(row.rate, row.interval)


def _percent(rate: float, interval: tuple[float, float], digits: int = 0) -> str:
    low, high = interval
    return f"{100 * rate:.{digits}f} [{100 * low:.{digits}f}, {100 * high:.{digits}f}]"


def _origins(folders: Sequence[RunFolder]) -> list[str]:
    """The weights and options of each run, one line each."""
    lines = []
    for folder in folders:
        policy = folder.manifest.policy
        options = ", ".join(
            f"{key} = {value}" for key, value in policy.options.items() if value != ""
        )
        lines.append(f"- {_name(folder)} (`{folder.path.name}`): {options or 'no options'}")
    return lines


def write(folders: Sequence[RunFolder], out: Path) -> Path:
    """Writes the page and returns its path."""
    text = side_by_side(folders)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    return out
