"""Our policies behind both protocols: the same records, health, keys, timing, an orderly stop."""

import signal
import time
import urllib.request

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from vla_bench import (
    RunSpec,
    UserError,
    execute,
    plan_run,
)
from vla_bench.policies.bridges.codecs import OpenpiCodec, VlaEvalCodec
from vla_bench.policies.bridges.envelope import Envelope, seal, unseal

DIALECTS = ["openpi", "vla-eval"]


@pytest.fixture(scope="module")
def drunkards(serve):
    """Dialect -> url of a server with the toy policy."""
    shown = ("--policy", "drunkard", "--suite", "line")
    return {dialect: serve(*shown, "--dialect", dialect)[0] for dialect in DIALECTS}


def records(tmp_path, policy, batch=1, **options):
    spec = RunSpec(
        policy=policy,
        suite="line",
        episodes=4,
        trials=1,
        batch=batch,
        options=options,
        out=tmp_path / f"{policy}-{batch}",
    )
    done = sorted(execute(plan_run(spec)), key=lambda record: record.place)
    return [record.model_copy(update={"policy": ""}).outcome() for record in done]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_served_policy_gives_the_same_records(drunkards, tmp_path, dialect):
    here = records(tmp_path, "drunkard")
    assert len({record["actions"] for record in here}) == 8
    assert records(tmp_path, dialect, url=drunkards[dialect]) == here
    assert records(tmp_path, dialect, url=drunkards[dialect], batch=3) == here


def test_a_policy_for_another_suite_is_refused(drunkards, tmp_path):
    with pytest.raises(UserError, match="has drunkard for line, not for micro; use --suite line"):
        plan_run(RunSpec("openpi", "micro", options={"url": drunkards["openpi"]}, out=tmp_path))
    options = {"url": drunkards["openpi"], "suite.friction": "0.5"}
    with pytest.raises(UserError, match="card of line differs"):
        plan_run(RunSpec("openpi", "line", options=options, out=tmp_path))


def test_health(drunkards):
    for url in drunkards.values():
        base = url.replace("ws:", "http:")
        assert urllib.request.urlopen(f"{base}/healthz").read() == b"OK\n"
        assert urllib.request.urlopen(f"{base}/health").read() == b'{"status": "ok"}\n'


SEEN = np.zeros((8, 8, 3), np.uint8), np.zeros(1, np.float32)
PLAIN = {"observation/front": SEEN[0], "observation/position": SEEN[1], "prompt": "go right"}


def test_a_plain_openpi_client_gets_chunks_and_timing(drunkards):
    codec = OpenpiCodec()
    chunks = []
    for _ in range(2):
        with connect(drunkards["openpi"]) as client:
            assert codec.unpack(client.recv())["vla_bench"]["policy"] == "drunkard"
            for number in range(2):
                client.send(codec.pack(PLAIN))
                reply = codec.unpack(client.recv())
                assert reply["server_timing"]["infer_ms"] >= 0
                assert ("prev_total_ms" in reply["server_timing"]) == (number == 1)
                chunks.append(reply["actions"])
    first, second, *again = chunks
    assert first.shape == (4, 2)
    assert not np.array_equal(first, second)
    assert np.array_equal([first, second], again)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"prompt": "go right"}, "the observation has no observation/front; found: prompt"),
        ({**PLAIN, "prompt": 3}, "prompt is int, expected text"),
        (
            {**PLAIN, "observation/front": SEEN[1]},
            "observation/front is float32 (1,), expected uint8",
        ),
        ({**PLAIN, "observation/position": np.zeros(2)}, "is float64 (2,), expected float32 (1,)"),
        ({**PLAIN, "vla_bench/item": "{}"}, "vla_bench/item is no work item"),
        ({"type": "hello", "payload": {}, "seq": 1, "timestamp": 0.0}, "this server speaks openpi"),
        ([1], "the observation is a list, expected a map"),
    ],
)
def test_a_wrong_observation_is_one_line(drunkards, message, said):
    with connect(drunkards["openpi"]) as client:
        client.recv()
        client.send(OpenpiCodec().pack(message))
        answer = client.recv()
        assert said in answer
        assert "\n" not in answer


def talk(client, kind, payload, number):
    codec = VlaEvalCodec("png")
    client.send(seal(codec, Envelope(kind, payload, number)))
    return unseal(codec, client.recv()) if kind in ("hello", "observation") else None


def test_a_plain_vla_eval_client_gets_the_actions_of_a_run(drunkards):
    observation = {
        "images": {"front": SEEN[0]},
        "state": {"position": SEEN[1]},
        "task_description": "go right",
    }
    episodes = []
    for _ in range(2):
        with connect(drunkards["vla-eval"]) as client:
            told = talk(client, "hello", {"protocol_version": 1}, 1).payload
            assert told["observation_spec"]["front"]["format"] == "rgb_hwc_uint8"
            talk(client, "episode_start", {"task": {"name": "go right"}}, 2)
            answers = [talk(client, "observation", observation, 3 + i) for i in range(4)]
            assert [answer.number for answer in answers] == [3, 4, 5, 6]
            assert "infer_ms" in answers[0].payload["server_timing"]
            episodes.append([answer.payload["actions"] for answer in answers])
            # An error keeps the connection, and the next question is answered.
            wrong = talk(client, "observation", {"task_description": "go right"}, 7)
            assert "has no images > front" in wrong.payload["error"]
            assert talk(client, "observation", observation, 8).kind == "action"
    assert np.array_equal(*episodes)
    assert episodes[0][0].shape == (2,)


def test_messages_that_are_none_are_answered(drunkards):
    with connect(drunkards["vla-eval"]) as client:
        for frame in (b"\xc1", OpenpiCodec().pack(PLAIN), "hello", b"\x80"):
            client.send(frame)
            assert unseal(VlaEvalCodec(), client.recv()).kind == "error"


def test_the_key_is_asked_for_and_never_written_down(serve, tmp_path, monkeypatch):
    url, _ = serve(
        *("--policy", "walker", "--suite", "line", "--api-key-env", "SERVERS_KEY"),
        SERVERS_KEY="open sesame",
    )
    assert urllib.request.urlopen(f"{url.replace('ws:', 'http:')}/healthz").status == 200
    with pytest.raises(InvalidStatus), connect(url):
        pass
    for key, said in ((None, "another API key"), ("", "is empty"), ("open", "another API key")):
        options = {"url": url, **({} if key is None else {"api_key_env": "MY_KEY"})}
        monkeypatch.setenv("MY_KEY", key or "")
        with pytest.raises(UserError, match=said):
            plan_run(RunSpec("openpi", "line", options=options, out=tmp_path))
    monkeypatch.setenv("MY_KEY", "open sesame")
    assert len(records(tmp_path, "openpi", url=url, api_key_env="MY_KEY")) == 8
    assert all(b"sesame" not in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_order(serve, number):
    url, process = serve("--policy", "walker", "--suite", "line", TOY_PAUSE="0.5")
    with connect(url) as client:
        client.recv()
        client.send(OpenpiCodec().pack(PLAIN))
        time.sleep(0.2)
        process.send_signal(number)
        assert OpenpiCodec().unpack(client.recv())["actions"].shape == (4, 2)
        assert process.wait(20) == 0
    assert process.stderr.read() == ""


def test_a_server_that_cannot_start_says_why(drunkards, vla_bench):
    port = drunkards["openpi"].rpartition(":")[2]
    done = vla_bench("serve", "--policy", "walker", "--suite", "line", "--port", port)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "cannot listen at 127.0.0.1" in line
