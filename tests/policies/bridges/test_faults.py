"""Servers that die, hang, err or lie: the item says why, the run ends in order."""

import json
import socket
from pathlib import Path

import pytest

from vla_bench import RunFolder, RunSpec, UserError, execute, plan_run
from vla_bench.policies.bridges.policy import REFUSALS

CARDS = Path(__file__).parent / "cards"
FAULTS = {
    ("openpi", "size"): "returned actions of shape (4, 1), expected (4, 2)",
    ("openpi", "length"): "returned actions of shape (2, 2), expected (4, 2)",
    ("openpi", "text"): "the server's actions are str, no numbers",
    ("openpi", "error"): "the policy server failed: RuntimeError: out of memory",
    ("openpi", "dialect"): "a message in the dialect of vla-eval, expected openpi",
    ("openpi", "hang-up"): "dropped the connection",
    ("vla-eval", "size"): "returned actions of shape (4, 1), expected (4, 2)",
    ("vla-eval", "error"): "the policy server failed: observation_failed: out of memory",
    ("vla-eval", "number"): "the server sent action",
}


def spec(url, out, dialect="openpi", episodes=1, **options):
    return RunSpec(
        policy=str(CARDS / f"line-{dialect}.toml"),
        suite="line",
        tasks=["go-right"],
        episodes=episodes,
        trials=1,
        options={"url": url, **options},
        out=out,
    )


@pytest.mark.parametrize(("dialect", "fault"), FAULTS)
def test_a_server_that_breaks_its_word_costs_the_item(rogues, tmp_path, dialect, fault):
    [record] = execute(plan_run(spec(f"{rogues}/{dialect}/{fault}/3", tmp_path / "run", dialect)))
    assert record.reason == "harness_error"
    assert FAULTS[dialect, fault] in record.error
    assert "\n" not in record.error


def test_an_action_that_is_not_finite_is_the_policys_error(rogues, tmp_path):
    [record] = execute(plan_run(spec(f"{rogues}/openpi/nan/3", tmp_path / "run")))
    assert record.reason == "policy_error"
    assert "not finite" in record.error


def test_a_slow_server_is_given_up(rogues, tmp_path):
    url = f"{rogues}/openpi/slow/3"
    [record] = execute(plan_run(spec(url, tmp_path / "run", timeout_s="0.4")))
    assert record.reason == "harness_error"
    assert "no answer from the policy server" in record.error


def test_one_bad_line_does_not_cost_the_others_of_a_batch(rogues, tmp_path):
    from dataclasses import replace

    url = f"{rogues}/openpi/none/0"
    planned = plan_run(replace(spec(url, tmp_path / "run", episodes=4), batch=4))
    from vla_bench import make_policy, make_suite
    from vla_bench.planning import PlannedChunk, plan_chunks
    from vla_bench.policies.base import Observation

    manifest = planned.manifest
    policy = make_policy(manifest.policy, manifest.suite, 4)
    env = make_suite(manifest.suite).make_env("go-right")
    seen = []
    for item in planned.items:
        env.begin(item)
        policy.reset(item)
        seen.append(Observation.shown(env.observe(), item, 0, manifest.policy.inputs))
    policy._links[planned.items[2].digest].close()
    answers = plan_chunks(policy, seen)
    assert [isinstance(answer, PlannedChunk) for answer in answers] == [True, True, False, True]


def test_a_dead_server_marks_its_items_and_the_command_says_so(mortal, vla_bench, tmp_path):
    done = vla_bench(
        *("run", "--policy", CARDS / "line-openpi.toml", "--suite", "line", "--tasks", "go-right"),
        *(
            "--episodes",
            2,
            "--trials",
            1,
            "--set",
            f"url={mortal}/openpi/die/5",
            "--out",
            "run",
        ),
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    records = RunFolder(tmp_path / "run").records()
    assert [record.reason for record in records] == ["harness_error"] * 2
    assert all("no policy server at" in record.error for record in records)


def test_a_run_stops_when_its_server_is_gone_for_good(mortal, tmp_path):
    planned = plan_run(spec(f"{mortal}/openpi/die/5", tmp_path / "run", episodes=REFUSALS + 2))
    with pytest.raises(UserError, match="run the same command again"):
        execute(planned)


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def test_a_wrong_port_is_one_line(vla_bench):
    done = vla_bench(
        *("run", "--policy", CARDS / "line-openpi.toml", "--suite", "line"),
        *("--set", f"url=ws://127.0.0.1:{free_port()}"),
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "no policy server at ws://127.0.0.1" in line
    assert "Connection refused" in line


def test_the_other_protocol_is_noticed(rogues, tmp_path):
    with pytest.raises(UserError, match="--policy openpi"):
        plan_run(spec(f"{rogues}/openpi/none/0", tmp_path, "vla-eval"))
    with pytest.raises(UserError, match="--policy vla-eval"):
        plan_run(spec(f"{rogues}/vla-eval/none/0", tmp_path, timeout_s="0.4"))


def test_what_listens_there_may_be_no_websocket(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"ws://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError, match="no answer"):
            plan_run(spec(url, tmp_path, timeout_s="0.2"))


def test_tls_where_there_is_none_is_one_line(rogues, tmp_path):
    url = f"{rogues}/openpi/none/0".replace("ws:", "wss:")
    with pytest.raises(UserError, match="no policy server at wss"):
        plan_run(spec(url, tmp_path))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1", "expected ws://HOST:PORT"),
        ("ws://127.0.0.1", "expected ws://HOST:PORT"),
        ("ws://127.0.0.1:port", "expected ws://HOST:PORT"),
        ("ws://me:secret@127.0.0.1:1", "environment variable"),
    ],
)
def test_an_url_is_checked_and_holds_no_secret(tmp_path, url, said):
    with pytest.raises(UserError, match=said) as refused:
        plan_run(spec(url, tmp_path))
    assert "secret" not in str(refused.value).replace("secrets", "")


def test_another_server_does_not_go_on_with_a_run(rogues, tmp_path):
    planned = plan_run(spec(f"{rogues}/openpi/none/0", tmp_path / "run"))
    told = {**planned.manifest.policy.options, "server": json.dumps({"model": "another"})}
    card = planned.manifest.policy.model_copy(update={"options": told})
    from dataclasses import replace

    other = replace(planned, manifest=planned.manifest.model_copy(update={"policy": card}))
    with pytest.raises(UserError, match="tells other things"):
        execute(other)


def test_the_manifest_holds_what_the_server_said(rogues, tmp_path):
    manifest = plan_run(spec(f"{rogues}/openpi/none/0", tmp_path)).manifest
    assert manifest.policy.options["server"] == '{"model": "rogue"}'
    assert (manifest.policy.chunk_length, manifest.horizon) == (4, 4)
    assert manifest.policy.inputs.images == ["front"]
