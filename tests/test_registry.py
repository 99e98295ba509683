import os
import subprocess
import sys

import pytest

from vla_bench import load_card, make_policy
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import UserError

CARD = """
version = 1
adapter = "ADAPTER"
description = "Third party"
chunk_length = 1
horizon = 1
"""
MODULE = """
import numpy as np
from vla_bench import Policy

class Lift(Policy):
    def plan(self, observations):
        return np.ones((len(observations), 1, self.action_size), np.float32)
"""


@pytest.fixture
def line():
    return load_card(SuiteCard, "line")


def card(folder, adapter):
    path = folder / "mine.toml"
    path.write_text(CARD.replace("ADAPTER", adapter))
    return load_card(PolicyCard, str(path))


def test_a_class_beside_its_card(tmp_path, line):
    (tmp_path / "lift.py").write_text(MODULE)
    assert type(make_policy(card(tmp_path, "./lift.py:Lift"), line)).__name__ == "Lift"


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        ("randm", "no adapter named 'randm'; did you mean 'random'?"),
        ("./nowhere.py:Lift", "there is no"),
        ("./broken.py:Lift", "cannot be imported: NameError"),
        ("./lift.py:Lfit", "is not a Policy class"),
        (
            "no_such_package.lift:Lift",
            "needs the module 'no_such_package'; install the package that holds it",
        ),
    ],
)
def test_a_wrong_adapter_is_one_clear_line(tmp_path, line, adapter, said):
    (tmp_path / "lift.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("undefined_name")
    with pytest.raises(UserError) as error:
        make_policy(card(tmp_path, adapter), line)
    assert said in str(error.value)


def test_a_package_brings_adapters_and_cards(tmp_path):
    """As pip lays it out: entry points name the adapter and the package of the cards."""
    package, info = tmp_path / "their_package", tmp_path / "their_package-1.0.dist-info"
    cards = package / "cards" / "policies"
    for folder in (cards, info):
        folder.mkdir(parents=True)
    (package / "__init__.py").write_text(MODULE)
    (package / "cards" / "__init__.py").write_text("")
    (cards / "lift.toml").write_text(CARD.replace("ADAPTER", "their-lift"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[vla_bench.policies]\ntheir-lift = their_package:Lift\n"
        "[vla_bench.cards]\ntheir-package = their_package.cards\n"
    )
    command = ["run", "--policy", "lift", "--suite", "line", "--episodes", "2", "--out"]
    run = subprocess.run(
        [sys.executable, "-m", "vla_bench", *command, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert run.returncode == 0, run.stderr
    assert "lift on line" in run.stdout
