import os
import subprocess
import sys

import pytest

pytest.importorskip("transformers")

BUILD = """
from vla_bench.errors import UserError
from vla_bench.nn.backbones import PrismaticConfig, make_backbone
try:
    make_backbone(PrismaticConfig(pretrained=False), views=1, state_size=2)
except UserError as error:
    print(error)
"""


def built_beside(torchvision):
    """What is said when a full-size backbone is built beside a package `torchvision` in a folder."""
    path = f"{torchvision}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-c", BUILD]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    ).stdout


def test_a_torchvision_for_another_torch_is_named_and_mended(tmp_path):
    (tmp_path / "torchvision").mkdir()
    broken = 'raise RuntimeError("operator torchvision::nms does not exist")'
    (tmp_path / "torchvision" / "__init__.py").write_text(broken)
    assert built_beside(tmp_path) == (
        "prismatic-qwen2.5-0.5b cannot use transformers, because the torchvision here does not fit "
        "torch (operator torchvision::nms does not exist); nothing here reads it: run "
        "`pip uninstall torchvision`\n"
    )
