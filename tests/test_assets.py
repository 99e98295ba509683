import pytest

from vla_bench import RunSpec, execute, floor, gates, make_suite, plan_run
from vla_bench.assets import files_digest
from vla_bench.cards import SuiteCard, load_card
from vla_bench.errors import UserError
from vla_bench.records import RunFolder
from vla_bench.reports.caveats import caveats
from vla_bench.reports.comparable import differences
from vla_bench.reports.measured import read_run

ARGUMENTS = {"policy": "walker", "suite": "line", "episodes": 2, "trials": 1}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder of files that the toy suite says to have been downloaded."""
    folder = tmp_path / "files"
    (folder / "textures").mkdir(parents=True)
    (folder / "textures" / "floor.png").write_bytes(b"wood")
    suite = type(make_suite(load_card(SuiteCard, "line")))
    monkeypatch.setattr(suite, "asset_folders", lambda self: [folder])
    return folder


def played(out):
    execute(plan_run(RunSpec(**ARGUMENTS, out=out)))
    return out


def test_the_digest_is_of_names_and_sizes(files):
    before = files_digest([files])
    (files / ".cache").mkdir()
    (files / ".cache" / "log").write_text("hidden")
    assert files_digest([files]) == before
    (files / "textures" / "floor.png").write_bytes(b"stone")
    other = files_digest([files])
    (files / "textures" / "floor.png").rename(files / "textures" / "wall.png")
    assert len({before, other, files_digest([files])}) == 3


def test_without_files_there_is_no_digest(tmp_path):
    assert files_digest([]) == files_digest([tmp_path]) == ""


def test_runs_with_other_files_are_kept_apart(files, tmp_path):
    first = played(tmp_path / "first")
    noted = RunFolder(first).manifest
    assert noted.assets == files_digest([files])
    assert caveats(noted) == [f"a set of files that nobody has described (assets {noted.assets})"]
    (files / "textures" / "floor.png").write_bytes(b"stone")
    with pytest.raises(UserError, match=f"holds another run .assets {noted.assets}"):
        played(first)
    with pytest.raises(UserError, match="was played with other downloaded files of line"):
        floor.plan(first)
    with pytest.raises(UserError, match="was played with other downloaded files of line"):
        gates.plan(first, "walker")
    second = played(tmp_path / "second")
    (refusal,) = differences(read_run(first), read_run(second)).refusals
    assert refusal.startswith(f"assets {noted.assets} against ")


def test_suites_without_downloads_note_nothing(tmp_path):
    assert RunFolder(played(tmp_path / "run")).manifest.assets == ""
