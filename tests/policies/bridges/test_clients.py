"""Clients on LIBERO: what servers are sent, what is made of their answers, what is refused."""

import json

import numpy as np
import pytest

from tests.policies.bridges import fakes
from tests.policies.bridges.fakes import CHUNK
from vla_bench import Observation, UserError, WorkItem, load_card, make_policy, prepare_card
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.compatibility import mismatches
from vla_bench.errors import PlanLost
from vla_bench.policies.bridges.codecs import JsonNumpyCodec

SUITE = load_card(SuiteCard, "libero-object")
ITEM = WorkItem(
    suite=SUITE.name,
    version=1,
    task="pick-up-the-milk-and-place-it-in-the-basket",
    trial=0,
    index=3,
    seed=5,
    instruction="pick up the milk and place it in the basket",
    initial_state={"state": 3},
)
GENERATOR = np.random.default_rng(0)
SEEN = {
    "agentview": GENERATOR.integers(0, 256, (256, 256, 3), np.uint8),
    "wrist": GENERATOR.integers(0, 256, (256, 256, 3), np.uint8),
}
STATE = {
    "tcp_position": np.array([0.1, 0.2, 0.3], np.float32),
    "tcp_rotation": np.array([0.0, 0.0, 4.0], np.float32),
    "gripper_qpos": np.array([0.04, -0.04], np.float32),
}
SHORTEST = 4.0 - 2 * np.pi
OPENS_AT_ONE = np.concatenate([CHUNK[:, :6], [[1], [0.9], [0.4], [0.1], [0]]], axis=1)


def observed(step=0):
    return Observation(ITEM, step, ITEM.instruction, SEEN, STATE)


def made(name, url, suite=SUITE, **options):
    card = prepare_card(load_card(PolicyCard, name).override({"url": url, **options}), suite)
    return make_policy(card, suite)


def planned(policy):
    policy.reset(ITEM)
    [chunk] = policy.plan([observed()])
    return chunk


def test_openpi_is_sent_what_its_libero_configurations_read():
    heard = []

    def answer(request):
        heard.append(request)
        return {"actions": CHUNK.astype(np.float64), "state": np.zeros(8)}

    with fakes.openpi(answer, {"config": "pi05_libero"}) as url:
        policy = made("openpi", url)
        assert np.array_equal(planned(policy), CHUNK)
    assert (policy.card.chunk_length, policy.card.horizon) == (5, 5)
    assert json.loads(policy.card.options["server"]) == {"config": "pi05_libero"}
    request = heard[-1]
    assert set(request) == {
        "observation/image",
        "observation/wrist_image",
        "observation/state",
        "prompt",
    }
    assert request["observation/image"].shape == (224, 224, 3)
    assert request["observation/state"].tolist() == [*np.concatenate(list(STATE.values())).tolist()]
    assert request["prompt"] == ITEM.instruction


def test_a_server_that_fails_at_once_is_found_before_the_first_episode():
    refused = pytest.raises(UserError, match="KeyError: 'observation/joint'")
    with fakes.openpi(lambda _: "Traceback\nKeyError: 'observation/joint'\n") as url, refused:
        made("openpi", url)
    refused = pytest.raises(UserError, match="no actions; found: state")
    with fakes.openpi(lambda _: {"state": 1}) as url, refused:
        made("openpi", url)


def test_actions_of_another_size_are_a_mismatch():
    with fakes.openpi(lambda _: {"actions": CHUNK[:, :6]}) as url:
        policy = made("openpi", url)
    [found] = mismatches(policy.card, SUITE.model_copy(update={"engine": {}}))
    assert "size 6, libero-object takes 7" in found


SPECS = {
    "action_spec": {
        "position": {"name": "position", "dims": 3, "format": "delta_xyz", "range": [-1, 1]},
        "rotation": {"name": "rotation", "dims": 3, "format": "axis_angle"},
        "gripper": {"name": "gripper", "dims": 1, "format": "binary_close_positive"},
    },
    "observation_spec": {
        "image": {"name": "image", "dims": 0, "format": "rgb_hwc_uint8"},
        "language": {"name": "language", "dims": 0, "format": "language"},
    },
}
OFT = {"env_seed": 0, "quat_no_antipodal": True, "send_wrist_image": True, "send_state": True}
STATE_SPEC = {"name": "state", "dims": 8, "format": "eef_pos3_axisangle3_gripper2"}


def test_vla_eval_is_sent_what_it_asks_for():
    with fakes.vla_eval({**SPECS, "observation_params": OFT}, CHUNK) as (url, heard):
        policy = made("vla-eval", url)
        assert np.array_equal(planned(policy), CHUNK)
        policy.reset(ITEM)
    kinds = [message.kind for message in heard]
    assert kinds[:4] == ["hello", "episode_start", "observation", "episode_end"]
    start, seen = heard[5].payload["task"], heard[6].payload
    assert (start["name"], start["episode_idx"]) == (ITEM.instruction, 3)
    assert set(seen) == {"images", "states", "task_description"}
    assert np.array_equal(seen["images"]["wrist"], SEEN["wrist"])
    assert seen["states"][5] == 4.0


@pytest.mark.parametrize("images", ["raw", "png"])
def test_vla_eval_is_not_sent_what_it_does_not_ask_for(images):
    told = {**SPECS, "observation_params": {"send_state": True, "send_wrist_image": False}}
    with fakes.vla_eval(told, CHUNK[0]) as (url, heard):
        policy = made("vla-eval", url, images=images)
        assert planned(policy).shape == (1, 7)
        assert (policy.card.chunk_length, policy.card.horizon) == (1, 1)
        seen = heard[-1].payload
    assert np.array_equal(seen["images"]["agentview"], SEEN["agentview"])
    assert list(seen["images"]) == ["agentview"]
    assert policy.card.inputs.images == ["agentview"]
    assert seen["states"][5] == pytest.approx(SHORTEST)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"observation_params": {"absolute_action": True}}, "absolute_action = True"),
        (
            {"observation_spec": {"state": {"dims": 8, "format": "eef_pos3_quat4_gripper1"}}},
            "expects state as eef_pos3_quat4_gripper1, is sent",
        ),
        (
            {"observation_spec": {**SPECS["observation_spec"], "state": STATE_SPEC}},
            "expects state as eef_pos3_axisangle3_gripper2, is sent rgb_hwc_uint8, language",
        ),
        (
            {"observation_spec": {n: {"dims": 0, "format": "rgb_hwc_uint8"} for n in "ab"}},
            "expects b as rgb_hwc_uint8",
        ),
        ({"observation_spec": {"state": "raw"}}, "has no dims and format"),
        ({"protocol_version": 2}, "speaks version 2"),
    ],
)
def test_a_vla_eval_server_that_needs_something_else_is_refused(told, said):
    with fakes.vla_eval({**SPECS, **told}, CHUNK) as (url, _), pytest.raises(UserError, match=said):
        made("vla-eval", url)


@pytest.mark.parametrize(
    ("part", "format", "found"),
    [
        ("gripper", "binary_close_negative", "gripper 'absolute, +1 opens'"),
        ("gripper", "continuous_01", "gripper 'continuous_01'"),
        ("rotation", "euler_xyz", "rotation 'euler_xyz'"),
        ("position", "absolute_xyz", "control 'absolute_xyz'"),
    ],
)
def test_another_convention_of_actions_is_a_mismatch(part, format, found):
    spec = {**SPECS["action_spec"], part: {**SPECS["action_spec"][part], "format": format}}
    with fakes.vla_eval({**SPECS, "action_spec": spec}, CHUNK) as (url, _):
        card = made("vla-eval", url).card
    [said] = mismatches(card, SUITE.model_copy(update={"engine": {}}))
    assert found in said


def test_starvla_is_sent_examples_and_its_status_is_read():
    heard = []

    def answer(request):
        heard.append(request)
        if len(heard) == 3:
            return {"ok": False, "status": "error", "error": {"message": "CUDA out of memory"}}
        data = {"actions": OPENS_AT_ONE[None]}
        return {"ok": True, "status": "ok", "request_id": request["request_id"], "data": data}

    told = {"env": "libero", "available_unnorm_keys": ["franka"], "action_chunk_size": 5}
    with fakes.openpi(answer, told) as url:
        policy = made("starvla", url, unnorm_key="franka")
        chunk = planned(policy)
        assert np.array_equal(chunk[:, :6], CHUNK[:, :6])
        assert chunk[:, 6].tolist() == [-1, -1, 1, 1, 1]
        with pytest.raises(PlanLost, match="CUDA out of memory"):
            policy.plan([observed(5)])
        with pytest.raises(PlanLost, match="was lost"):
            policy.plan([observed(5)])
        with pytest.raises(UserError, match="the server has franka"):
            made("starvla", url, unnorm_key="bridge")
    request = heard[1]
    assert (request["type"], request["payload"]["unnorm_key"]) == ("infer", "franka")
    [example] = request["payload"]["examples"]
    assert [view.shape for view in example["image"]] == [(224, 224, 3)] * 2
    assert example["lang"] == ITEM.instruction


@pytest.mark.parametrize("double", [False, True])
def test_act_over_http(double):
    heard = []

    def answer(body):
        request = JsonNumpyCodec().unpack(body)
        heard.append(JsonNumpyCodec().unpack(request["encoded"]) if double else request)
        if double:
            return fakes.twice_encoded(OPENS_AT_ONE), 200
        return JsonNumpyCodec().pack(list(OPENS_AT_ONE)), 200

    with fakes.act_http(answer) as url:
        chunk = planned(made("act-http", url, double_encoded=str(double).lower()))
    assert chunk[:, 6].tolist() == [-1, -1, 1, 1, 1]
    assert set(heard[-1]) == {"full_image", "wrist_image", "state", "instruction"}
    assert np.array_equal(heard[-1]["full_image"], SEEN["agentview"])


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b'"error"', 200, "the policy server failed: error"),
        (b'{"error": "no GPU"}', 200, "no action; found: error"),
        (b"Internal Server Error", 500, "HTTP 500: Internal Server Error"),
        (b"<html>", 200, "no JSON message"),
        (b"[]", 200, r"shape \(1, 0\)"),
    ],
)
def test_an_error_over_http_is_seen_whatever_its_status(body, status, said):
    with fakes.act_http(lambda _: (body, status)) as url, pytest.raises(UserError, match=said):
        made("act-http", url)


def gr00t_answer(request, heard):
    heard.append(request)
    if request["endpoint"] != "get_action":
        return {"status": "ok"}
    names = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    return [{n: OPENS_AT_ONE[None, :, i : i + 1] for i, n in enumerate(names)}, {}]


def test_gr00t_is_sent_batches_of_times():
    heard = []
    with fakes.gr00t(lambda request: gr00t_answer(request, heard)) as url:
        chunk = planned(made("gr00t", url))
    assert np.allclose(chunk[:, :6], CHUNK[:, :6])
    assert chunk[:, 6].tolist() == [-1, -1, 1, 1, 1]
    asked = [request["endpoint"] for request in heard]
    assert asked == ["ping", "reset", "get_action"] * 2
    seen = heard[-1]["data"]["observation"]
    assert seen["video"]["image"].shape == (1, 1, 256, 256, 3)
    assert seen["state"]["yaw"].tolist() == [[[4.0]]]
    assert seen["language"] == {"annotation.human.task_description": [[ITEM.instruction]]}


def test_gr00t_errors_are_one_line():
    refused = pytest.raises(UserError, match="failed: bad token")
    with fakes.gr00t(lambda _: {"error": "bad token"}) as url, refused:
        made("gr00t", url)
    with pytest.raises(UserError, match="start it, or --set url=tcp"):
        made("gr00t", url, timeout_s="0.2")


def test_cards_name_what_the_suite_has():
    micro = load_card(SuiteCard, "micro")
    with fakes.openpi(lambda _: {"actions": CHUNK}) as url:
        found = mismatches(made("openpi", url, micro).card, micro)
    assert any("reads camera 'agentview', micro has no such camera" in said for said in found)
    assert any("reads state entry 'tcp_position'" in said for said in found)
