"""The docs say what the code says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from vla_bench.items import WorkItem
from vla_bench.perturbations.catalogue import KINDS
from vla_bench.records import EpisodeRecord, RunManifest

ROOT = Path(__file__).parent.parent


def table(model):
    rows = []
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name} has no docstring"
        rows.append(f"| `{name}` | {' '.join(field.description.split())} |")
    return "\n".join(["| field | what |", "|---|---|", *rows])


def test_records_page_lists_every_field():
    page = (ROOT / "docs" / "records.md").read_text()
    for model in (EpisodeRecord, RunManifest, WorkItem):
        assert table(model) in page, f"docs/records.md should hold:\n{table(model)}"


def test_perturbations_page_lists_every_level():
    page = (ROOT / "docs" / "perturbations.md").read_text()
    for name, kind in KINDS.items():
        [row] = re.findall(rf"^\| `{name}` \| [^|]* \| [^|]* \| [^|]* \| [^|]* \|$", page, re.M)[:1]
        cells = row.split("|")[3:6]
        for cell, numbers in zip(cells, kind.levels, strict=True):
            said = set(re.findall(r"\d+\.?\d*", cell))
            assert name == "paraphrase" or {f"{n:g}" for n in numbers} <= said, row


def test_the_policy_of_the_docs_runs(tmp_path, vla_bench):
    page = (ROOT / "docs" / "adding-a-policy.md").read_text()
    blocks = dict(re.findall(r"`(my_policy\.\w+)`[^\n]*\n\n```\w+\n(.*?)```", page, re.DOTALL))
    assert set(blocks) == {"my_policy.py", "my_policy.toml"}
    for name, text in blocks.items():
        (tmp_path / name).write_text(text)
    command = re.search(r"^vla-bench (run .*)$", page, re.MULTILINE)[1].split()
    command[command.index("--episodes") + 1] = "1"
    run = vla_bench(*command, "--tasks", "close-drawer", "--out", "out")
    assert run.returncode == 0, run.stderr
    assert "close-drawer" in (tmp_path / "out" / "report.md").read_text()


def test_ray_can_read_the_launcher_file():
    yaml = pytest.importorskip("yaml")
    launcher = pytest.importorskip("ray.autoscaler._private.util")
    config = yaml.safe_load((ROOT / "docs" / "cluster" / "launcher.yaml").read_text())
    launcher.validate_config(launcher.prepare_config(config))


def test_the_files_for_clusters_parse():
    yaml = pytest.importorskip("yaml")
    files = ROOT / "docs" / "cluster"
    assert subprocess.run(["bash", "-n", files / "slurm.sh"]).returncode == 0
    spec = yaml.safe_load((files / "kuberay.yaml").read_text())["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        [container] = group["template"]["spec"]["containers"]
        assert container["image"].endswith(f"ray-{spec['rayVersion']}")
        assert container["resources"]["requests"] == container["resources"]["limits"]
