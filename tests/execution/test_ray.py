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

from vla_bench import RunFolder, RunSpec, execute, plan_run
from vla_bench.execution.parallel import Parallel

RUN = ("run", "--policy", "drunkard", "--suite", "line", "--episodes", "6", "--trials", "1")


def spec(out, workers=2, timeout=120.0, **changes):
    parallel = Parallel(workers, step_timeout_s=timeout) if workers else None
    command = {"policy": "drunkard", "suite": "line", "episodes": 6, "parallel": parallel}
    return RunSpec(**{**command, "out": out, **changes})


def outcomes(records):
    return {record.item: record.outcome() for record in records}


@pytest.fixture(scope="module")
def inline(tmp_path_factory):
    from tests.conftest import TOY

    os.environ["VLA_BENCH_PATH"] = str(TOY)
    return outcomes(execute(plan_run(spec(tmp_path_factory.mktemp("inline"), workers=0))))


@pytest.mark.parametrize(
    ("workers", "changes"),
    [(1, {}), (2, {}), (2, {"batch": 3}), (3, {"replicas": 1, "batch": 4}), (2, {"replicas": 2})],
)
def test_records_are_those_of_one_process(tmp_path, inline, workers, changes):
    records = execute(plan_run(spec(tmp_path, workers, **changes)))
    assert outcomes(records) == inline
    lines = (tmp_path / "episodes.jsonl").read_text().splitlines()
    assert len(lines) == len(inline) == 24


def test_order_does_not_matter(tmp_path, inline):
    planned = plan_run(spec(tmp_path))
    items = random.Random(0).sample(planned.items, len(planned.items))
    assert outcomes(execute(dataclasses.replace(planned, items=items))) == inline


def test_a_run_begun_inline_goes_on_with_workers(tmp_path, inline):
    execute(plan_run(spec(tmp_path, workers=0, tasks=["go-on"])))
    assert outcomes(execute(plan_run(spec(tmp_path)))) == inline


def test_films_come_back(tmp_path):
    records = execute(plan_run(spec(tmp_path, trials=1, video="failures", batch=2)))
    failed = {r.item for r in records if not r.success}
    films = list((tmp_path / "videos").iterdir())
    assert {film.stem.rpartition("_")[2] for film in films} == failed != set()
    assert all(film.stat().st_size > 500 for film in films)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("segfault", "its worker died: segmentation fault, at string_at"),
        ("exit", "its worker died: killed from outside, or a crash in native code"),
        ("hang", "hung: a call took more than 1 s, at"),
        ("always", "RuntimeError: the simulator fell over"),
    ],
)
def test_a_faulty_episode_costs_itself_only(tmp_path, vla_bench, inline, how, said):
    run = (*RUN, "--tasks", "go-on", "--episodes", "4", "--out", tmp_path / "r")
    faulty = vla_bench(*run, "--workers", "2", "--step-timeout", "1", TOY_CRASH=f"{how}@3")
    assert faulty.returncode == 3, faulty.stdout + faulty.stderr
    assert "run the same command to retry" in faulty.stdout
    records = RunFolder(tmp_path / "r").records()
    assert len(records) == 4
    [failed] = [r for r in records if r.reason == "harness_error"]
    assert (failed.index, failed.success) == (1, False)
    assert failed.error.startswith(said)
    assert outcomes(r for r in records if r != failed).items() <= inline.items()
    mended = vla_bench(*run, "--workers", "2")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert outcomes(RunFolder(tmp_path / "r").records()).items() <= inline.items()


def test_an_innocent_neighbour_is_not_blamed(tmp_path, monkeypatch, inline):
    monkeypatch.setenv("TOY_CRASH", "exit@3")
    records = execute(plan_run(spec(tmp_path, workers=1, batch=4, tasks=["go-on"], trials=1)))
    assert [r.index for r in records if r.reason == "harness_error"] == [1]
    assert len(records) == 6


@pytest.mark.parametrize(
    ("fault", "reason", "said"),
    [
        ("nan", "policy_error", "is not finite"),
        ("exception", "policy_error", "ValueError: out of ideas"),
        ("size", "policy_error", "plan returned shape (1, 4, 3), expected (1, 4, 2)"),
        ("huge", "policy_error", "is beyond 1e+06: entries [0]"),
        ("hang", "harness_error", "hung: a call took more than 1 s, at plan (toy.py"),
    ],
)
def test_a_faulty_policy_does_not_stop_the_run(tmp_path, fault, reason, said):
    few = {"episodes": 1, "trials": 1, "options": {"fault": fault}, "policy": "walker"}
    records = execute(plan_run(spec(tmp_path, timeout=1.0, **few)))
    assert [r.reason for r in records] == [reason] * 2
    assert all(said in r.error for r in records)


def test_a_policy_server_that_hangs_is_replaced(tmp_path):
    few = {"episodes": 1, "trials": 1, "options": {"fault": "hang"}, "policy": "walker"}
    records = execute(plan_run(spec(tmp_path, timeout=2.0, replicas=1, **few)))
    assert {r.reason for r in records} == {"harness_error"}
    assert {r.error for r in records} == {"PlanLost: the policy server did not answer for 2 s"}


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


def test_two_ctrl_c_stop_at_once(tmp_path):
    process = started(*RUN, "--out", tmp_path, "--workers", "2", TOY_PAUSE="5")
    until(lambda: (tmp_path / "items.jsonl").exists())
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, stderr = process.communicate()
    assert time.monotonic() - start < 5
    assert process.returncode == 130
    assert stderr == "interrupted; run the same command again to go on\n"


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
