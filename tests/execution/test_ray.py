"""Runs on Ray, for real: workers, policy servers, and processes that are killed."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.execution.spread import outcomes, spec
from vla_bench import RunFolder, execute, plan_run

RUN = ("run", "--policy", "drunkard", "--suite", "line", "--episodes", "6", "--trials", "1")


@pytest.mark.parametrize(
    ("workers", "changes"),
    [(1, {}), (2, {}), (2, {"batch": 3}), (3, {"replicas": 1, "batch": 4}), (2, {"replicas": 2})],
)
def test_records_are_those_of_one_process(tmp_path, cluster, inline, workers, changes):
    records = execute(plan_run(spec(tmp_path, workers, cluster.address, **changes)))
    assert outcomes(records) == inline
    lines = (tmp_path / "episodes.jsonl").read_text().splitlines()
    assert len(lines) == len(inline) == 24


def test_order_does_not_matter(tmp_path, cluster, inline):
    planned = plan_run(spec(tmp_path, address=cluster.address))
    items = random.Random(0).sample(planned.items, len(planned.items))
    assert outcomes(execute(dataclasses.replace(planned, items=items))) == inline


def test_a_run_begun_inline_goes_on_with_workers(tmp_path, cluster, inline):
    execute(plan_run(spec(tmp_path, workers=0, tasks=["go-on"])))
    assert outcomes(execute(plan_run(spec(tmp_path, address=cluster.address)))) == inline


def test_films_come_back(tmp_path, cluster):
    changes = {"trials": 1, "video": "failures", "batch": 2, "policy": "walker"}
    records = execute(plan_run(spec(tmp_path, address=cluster.address, **changes)))
    failed = {r.item for r in records if not r.success}
    films = list((tmp_path / "videos").iterdir())
    assert {film.stem.rpartition("_")[2] for film in films} == failed != set()
    execute(plan_run(spec(tmp_path / "inline", workers=0, **changes)))
    for film in films:
        assert film.read_bytes() == (tmp_path / "inline" / "videos" / film.name).read_bytes()


def test_a_film_that_fails_on_a_worker_is_told_of(tmp_path, cluster, capfd, monkeypatch):
    ffmpeg = tmp_path / "ffmpeg"
    ffmpeg.write_text("#!/bin/sh\nexit 3\n")
    ffmpeg.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(ffmpeg))
    changes = {"tasks": ["go-on"], "trials": 1, "episodes": 2, "video": "all"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vla_bench.execution.ray_executor.warn", lambda line: print(line))
        records = execute(plan_run(spec(tmp_path / "run", address=None, **changes)))
    assert not any(r.reason == "harness_error" for r in records)
    told = capfd.readouterr().out.splitlines()
    assert sorted(told) == [f"no film of {r.place}: ffmpeg: status 3" for r in records]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("segfault", "its worker died: segmentation fault, at string_at"),
        ("hang", "hung: a call took more than 1 s, at"),
        pytest.param("always", "RuntimeError: the simulator fell over", marks=pytest.mark.long),
    ],
)
def test_a_faulty_episode_costs_itself_only(tmp_path, vla_bench, inline, how, said):
    run = (*RUN, "--tasks", "go-on", "--episodes", "4", "--out", tmp_path / "r")
    batch = {"segfault": 3}.get(how, 1)  # neighbours of an episode that crashes are not blamed
    workers = ("--workers", "2", "--step-timeout", "1", "--batch", batch)
    faulty = vla_bench(*run, *workers, TOY_CRASH=f"{how}@3")
    assert faulty.returncode == 3, faulty.stdout + faulty.stderr
    assert "run the same command to retry" in faulty.stdout
    records = RunFolder(tmp_path / "r").records()
    assert len(records) == 4
    [failed] = [r for r in records if r.reason == "harness_error"]
    assert (failed.index, failed.success) == (1, False)
    assert failed.error.startswith(said)
    assert outcomes(r for r in records if r != failed).items() <= inline.items()
    mended = vla_bench(*run, *workers)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert outcomes(RunFolder(tmp_path / "r").records()).items() <= inline.items()


@pytest.mark.parametrize(
    ("fault", "reason", "said"),
    [
        ("nan", "policy_error", "is not finite"),
        ("exception", "policy_error", "ValueError: out of ideas"),
        ("size", "policy_error", "plan returned shape (1, 4, 3), expected (1, 4, 2)"),
        ("huge", "policy_error", "is beyond 1e+06: entries [0]"),
        ("hang", "harness_error", " > plan (toy.py:"),
    ],
)
def test_a_faulty_policy_does_not_stop_the_run(tmp_path, cluster, fault, reason, said):
    few = {"episodes": 1, "trials": 1, "options": {"fault": fault}, "policy": "walker"}
    records = execute(plan_run(spec(tmp_path, 2, cluster.address, 0.5, **few)))
    assert [r.reason for r in records] == [reason] * 2
    assert all(said in r.error for r in records)


def test_a_policy_server_that_hangs_is_replaced(tmp_path, cluster):
    few = {"episodes": 1, "trials": 1, "options": {"fault": "hang"}, "policy": "walker"}
    few = {**few, "replicas": 1, "tasks": ["go-on"]}
    [record] = execute(plan_run(spec(tmp_path, 1, cluster.address, 1.0, **few)))
    assert record.reason == "harness_error"
    assert record.error == "PlanLost: no answer from the policy server for 1 s"


def started(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "vla_bench", *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run started in the background of a shell inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def played(folder):
    log = Path(folder) / "episodes.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_one_ctrl_c_finishes_what_is_under_way(tmp_path, vla_bench, inline):
    run = (*RUN, "--trials", "2", "--out", tmp_path, "--workers", "2")
    process = started(*run, TOY_PAUSE="0.5")
    until(lambda: played(tmp_path) > 0)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130
    assert "finishing the episodes under way; Ctrl-C again stops at once" in stdout
    assert stderr == "interrupted; run the same command again to go on\n"
    assert 2 <= len(RunFolder(tmp_path).records()) < 20
    assert vla_bench(*run).returncode == 0
    assert outcomes(RunFolder(tmp_path).records()) == inline


@pytest.mark.parametrize("seconds", [1.5, 6], ids=["Ray starts", "items are played"])
def test_two_ctrl_c_stop_at_once(tmp_path, seconds):
    process = started(*RUN, "--out", tmp_path, "--workers", "2", TOY_PAUSE="60")
    until(lambda: (tmp_path / "items.jsonl").exists())
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, stderr = process.communicate()
    assert stderr == "interrupted; run the same command again to go on\n"
    assert process.returncode == 130
    assert time.monotonic() - start < 20


def processes(name, parent):
    """Process ids of Ray's actors of a class that descend from a process."""
    import psutil

    return [
        child.pid
        for child in psutil.Process(parent).children(recursive=True)
        if child.name().startswith(f"ray::{name}")
    ]


def test_chaos(tmp_path, vla_bench, inline):
    """Workers, the policy server and the driver are killed; nothing is lost, nothing doubled."""
    run = (*RUN, "--trials", "2", "--out", tmp_path, "--workers", "2", "--replicas", "1")
    run = (*run, "--batch", "4")
    luck, killed = random.Random(0), Counter()
    for _ in range(2):
        process = started(*run, TOY_PAUSE="0.3")
        begun = played(tmp_path)
        for name in ("Worker", "PolicyServer", "Worker"):
            until(lambda n=begun: played(tmp_path) > n)
            begun = played(tmp_path)
            victims = processes(name, process.pid)
            if victims:
                os.kill(luck.choice(victims), signal.SIGKILL)
                killed[name] += 1
        process.kill()
        process.communicate()
    assert killed["Worker"] >= 2
    assert killed["PolicyServer"] >= 1
    assert played(tmp_path) < 24
    assert vla_bench(*run).returncode == 0
    assert outcomes(RunFolder(tmp_path).records()) == inline
    lines = (tmp_path / "episodes.jsonl").read_text().splitlines()
    assert len(lines) == 24
