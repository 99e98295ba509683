"""The commands leave pictures and their numbers, and say what is wrong in one line."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vla_bench.cli import app
from vla_bench.errors import UserError


def inspect(*arguments):
    result = CliRunner().invoke(app, ["inspect", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("attention", "attention-pick-red-0-1"),
        ("candidates", "candidates-pick-red-0-1"),
        ("sensitivity", "sensitivity-pick-red-0-1"),
    ],
)
def test_a_command_makes_a_picture_and_its_numbers(runs, tmp_path, what, name):
    run = runs()
    result = inspect(what, run, "pick-red/0/1", "--steps", "0,5", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    files = sorted(path.name for path in (tmp_path / run.name).iterdir())
    assert files == [f"{name}.json", f"{name}.png"]
    numbers = json.loads((tmp_path / run.name / f"{name}.json").read_text())
    assert list(numbers["items"]) == ["pick-red/0/1"]
    if "steps" in numbers:
        assert [step["step"] for step in numbers["steps"]] == [0, 4]
    picture = np.array(Image.open(tmp_path / run.name / f"{name}.png").convert("RGB"))
    assert min(picture.shape[:2]) > 300
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100


def test_without_items_a_study_is_of_the_run(runs, tmp_path):
    run = runs()
    assert inspect("sensitivity", run, "--steps", "0", "--out", tmp_path).exit_code == 0
    numbers = json.loads((tmp_path / run.name / "sensitivity.json").read_text())
    assert len(numbers["items"]) == 2


def test_mistakes_are_one_line(runs, tmp_path):
    run = runs()
    with pytest.raises(UserError, match="expected numbers"):
        inspect("attention", run, "--steps", "soon")
    with pytest.raises(UserError, match="did you mean 'pick-red/0/1'"):
        inspect("attention", run, "pick-red/0/7")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="writable folder"):
        inspect("attention", run, "--steps", "0", "--out", tmp_path / "file")
