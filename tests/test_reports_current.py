"""The committed reports are what `make reports` makes of the committed results."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPARED = {".md", ".csv", ".tex", ".html", ".css", ".js", ".json", ".txt"}
"""Figures are left out: their bytes are those of matplotlib's version; their numbers are in the CSV."""
INSPECTED = "inspect"
"""Folder of what `vla-bench inspect` drew, for which episodes have to be played again."""


def name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def contents(folder: Path) -> dict[str, str]:
    return {
        name(path, folder): re.sub(r"<svg.*?</svg>", "<svg/>", path.read_text(), flags=re.S)
        for path in folder.rglob("*")
        if path.suffix in COMPARED and name(path, folder).split("/")[0] != INSPECTED
    }


def test_reports_are_not_stale(tmp_path):
    command = ["make", "-s", "-o", "setup", "reports", f"BIN={Path(sys.executable).parent}"]
    subprocess.run([*command, f"REPORTS={tmp_path}"], cwd=ROOT, check=True)
    made, committed = contents(tmp_path), contents(ROOT / "reports")
    stale = sorted(name for name in {*made, *committed} if made.get(name) != committed.get(name))
    assert not stale, f"run `make reports` and commit: {', '.join(stale)}"
    figures = {name(path, tmp_path) for path in tmp_path.rglob("*.svg")}
    kept = {name(path, ROOT / "reports") for path in ROOT.glob("reports/**/*.svg")}
    assert figures == kept
