"""Fixtures: the toy suite and policy of `tests/toy` are found as a third party's are."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings
from platformdirs import user_cache_path

settings.register_profile("unhurried", deadline=None)  # a busy machine is no mistake
settings.load_profile("unhurried")
TOY = Path(__file__).parent / "toy"
LIBERO_ARCHIVE = Path(__file__).parents[2] / "shared" / "data" / "libero-assets.tar.xz"
"""Development assets beside the checkout: LIBERO's geometry with plain textures here and there."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config, items):
    """Long tests are only played where they are asked for.

    A pytest worker takes whole files, and one of them all of Ray's: two clusters would only wait.
    """
    if "long" not in config.option.markexpr:
        items[:] = [item for item in items if item.get_closest_marker("long") is None]
    for item in items:
        of_ray = item.path.parent.name == "execution"
        item.add_marker(pytest.mark.xdist_group("ray" if of_ray else str(item.path)))


@pytest.fixture(autouse=True)
def _toy_on_the_search_path(monkeypatch):
    monkeypatch.setenv("VLA_BENCH_PATH", str(TOY))


@pytest.fixture
def vla_bench(tmp_path):
    """Runs the command line in a process of its own; returns the finished process."""

    def call(*arguments, timeout=600, cwd=tmp_path, **environment):
        return subprocess.run(
            [sys.executable, "-m", "vla_bench", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd,
            env={**os.environ, **environment},
        )

    return call


@pytest.fixture(scope="session")
def libero_assets():
    """LIBERO's assets: the user's own, the downloaded ones, or those for development."""
    cache = user_cache_path("vla-bench")
    if "VLA_BENCH_LIBERO_ASSETS" not in os.environ and not (cache / "libero-assets").is_dir():
        if not LIBERO_ARCHIVE.is_file():
            pytest.skip("LIBERO's assets are not here; run `vla-bench assets libero`")
        os.environ["VLA_BENCH_LIBERO_ASSETS"] = str(_unpacked(cache / "libero-development"))
    return Path(os.environ.get("VLA_BENCH_LIBERO_ASSETS", cache / "libero-assets"))


def _unpacked(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if not (folder / "done").exists():
            with tarfile.open(LIBERO_ARCHIVE) as archive:
                archive.extractall(folder, filter="data")
            (folder / "done").touch()
    return folder / "libero-assets"
