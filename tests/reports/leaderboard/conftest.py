"""A results folder with all three kinds of rows: runs on micro, one as if from elsewhere, a paper."""

from __future__ import annotations

import shutil

import pytest

from vla_bench.reports.leaderboard.site import build
from vla_bench.reports.published.numbers import COLUMNS
from vla_bench.runs import RunSpec, execute, plan_run

PAPER = "Paper (arXiv 0000.00000),Table 1"


def play(out, policy, **changes):
    spec = {"episodes": 2, "trials": 2, **changes}
    return execute(plan_run(RunSpec(policy, "micro", out=out, **spec)))


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaderboard") / "results"
    play(folder / "runs" / "expert-micro", "expert")
    play(folder / "runs" / "random-micro", "random")
    play(folder / "runs" / "hold-control", "hold", input_control="blank-images")
    play(folder / "runs" / "random #few", "random", episodes=1)
    play(folder / "runs" / "expert-noise", "expert", episodes=1, perturbations=["action-noise:3"])
    play(folder / "elsewhere" / "hold-theirs", "hold")
    films = folder / "runs" / "random-micro" / "videos"
    films.mkdir()
    item = (folder / "runs" / "random-micro" / "episodes.jsonl").read_text()[9:25]
    (films / f"detour_0_000_{item}.mp4").write_bytes(b"")
    (folder / "published").mkdir()
    (folder / "published" / "paper.csv").write_text(
        ",".join(COLUMNS)
        + f"\n{PAPER},Theirs,micro,detour,,success-rate,%,90.0,,,10,,paper,"
        + f"\n{PAPER},Theirs,micro,either,,success-rate,%,80.0,,,10,,paper,"
        + f"\n{PAPER},Theirs,micro,average,,success-rate,%,95.0,,,20,2,paper,"
        + f"\n{PAPER},Another,micro,average,,success-rate,%,50.0,,,,,digest,"
        + f"\n{PAPER},Another,moon,average,,success-rate,%,50.0,,,,,paper,\n"
    )
    return folder


@pytest.fixture(scope="session")
def site(results):
    out = results.parent / "reports" / "leaderboard"
    build(results, out)
    return out


@pytest.fixture
def theirs(results, tmp_path):
    """A copy of the run made elsewhere, to be spoilt."""
    return shutil.copytree(results / "elsewhere" / "hold-theirs", tmp_path / "hold-theirs")
