"""MS-HAB in lanes: on CPU physics with one lane, and what a GPU is read by, on made-up buffers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vla_bench import Policy, Settings, load_card, make_policy, make_suite
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import UserError
from vla_bench.execution.inline import InlineExecutor
from vla_bench.execution.waves import WaveExecutor, executor_of
from vla_bench.machine import hardware
from vla_bench.registry import prepare_card
from vla_bench.reports import success
from vla_bench.reports.comparable import differences
from vla_bench.reports.measured import read_run
from vla_bench.suites import cuda
from vla_bench.suites.ms_hab.apartment import _named, of_lane
from vla_bench.suites.ms_hab.physics import FINGERS, CpuReader, GpuReader
from vla_bench.suites.ms_hab.rules import Contacts
from vla_bench.suites.ms_hab.scene import FetchWorld

TASKS = list(load_card(SuiteCard, "ms-hab-mini").tasks)


@pytest.fixture(scope="module")
def suite():
    made = make_suite(load_card(SuiteCard, "ms-hab-mini"))
    made.prepare()
    return made


def outcomes(records):
    return {record.item: record.outcome() for record in records}


def both_ways(suite, policy, items, **settings):
    """The outcomes of the ordinary executor and of waves of one lane."""
    chosen = Settings(
        **{"horizon": 8, "outcome": "latched", "inputs": policy.card.inputs, **settings}
    )
    return [
        outcomes(k(suite, policy, chosen, None).run(items)) for k in (InlineExecutor, WaveExecutor)
    ]


def test_waves_of_one_lane_on_the_cpu_are_the_ordinary_episodes(suite):
    policy = make_policy(load_card(PolicyCard, "random"), suite.card)
    items = [item for task in TASKS for item in suite.items(task, episodes=2, trials=1)]
    inline, waves = both_ways(suite, policy, items, max_steps=24)
    assert waves == inline
    assert len({o["states"] for o in inline.values()}) == len(items) == 14


def test_an_expert_in_a_wave_of_one_lane(suite):
    policy = make_policy(load_card(PolicyCard, "expert"), suite.card)
    items = suite.items("close-drawer", episodes=2, trials=1)
    inline, waves = both_ways(suite, policy, items, horizon=1, max_steps=None)
    assert waves == inline
    assert all(o["success"] for o in inline.values())


class Starer(Policy):
    """Acts on what the pixels say."""

    def plan(self, observations):
        means = [np.mean([i.mean() for i in o.images.values()]) for o in observations]
        chunk = np.sin(np.arange(8 * 13, dtype=np.float32).reshape(1, 8, 13))
        return np.stack([chunk[0] * np.cos(mean) for mean in means]).astype(np.float32)


def test_a_wave_of_one_lane_sees_the_same_pictures(suite):
    card = load_card(PolicyCard, "random")
    inputs = card.inputs.model_copy(update={"images": ["head", "wrist"]})
    policy = Starer(card.model_copy(update={"inputs": inputs}), suite.card)
    items = suite.items("pick-bowl", episodes=2, trials=1)
    inline, waves = both_ways(suite, policy, items, max_steps=24)
    assert waves == inline
    assert len({o["actions"] for o in inline.values()}) == 2


class Row:
    """One of SAPIEN's objects as it is on a GPU: it says which row it is, and little else."""

    def __init__(self, real, rows):
        self._real = real
        self._rows = rows

    @property
    def gpu_pose_index(self):
        return self._rows.index(("body", self._real))

    @property
    def gpu_index(self):
        return self._rows.index(("joints", self._real))

    @property
    def dof(self):
        return self._real.dof

    @property
    def root(self):
        return Row(self._real.root, self._rows)

    @property
    def links(self):
        return [Row(link, self._rows) for link in self._real.links]

    @property
    def active_joints(self):
        return [
            SimpleNamespace(
                child_link=Row(joint.child_link, self._rows), pose_in_child=joint.pose_in_child
            )
            for joint in self._real.active_joints
        ]

    def get_qlimits(self):
        return self._real.get_qlimits()


class Rows:
    """Which object has which row of the bodies' or the joints' buffer."""

    def __init__(self):
        self.bodies, self.joints = [], []

    def index(self, key):
        kind, real = key
        table = self.bodies if kind == "body" else self.joints
        if real not in table:
            table.append(real)
        return table.index(real)


class Buffer:
    def __init__(self, rows):
        self._rows = rows

    def torch(self):
        return torch.from_numpy(np.array(self._rows(), np.float32))


class FakePhysx:
    """PhysX's buffers over worlds on the CPU, one per lane."""

    WIDTH = 20

    def __init__(self, worlds):
        self.worlds = worlds
        self.rows = Rows()
        self.cuda_rigid_body_data = Buffer(lambda: [self._body(b) for b in self.rows.bodies])
        self.cuda_articulation_qpos = Buffer(lambda: [self._wide(a.qpos) for a in self.rows.joints])
        self.cuda_articulation_qvel = Buffer(lambda: [self._wide(a.qvel) for a in self.rows.joints])

    @staticmethod
    def _body(body):
        pose = body.entity.pose
        return np.concatenate([pose.p, pose.q, body.linear_velocity, body.angular_velocity, [7, 7]])

    def _wide(self, values):
        return np.pad(values, (0, self.WIDTH - len(values)), constant_values=9)

    def gpu_create_contact_pair_impulse_query(self, pairs):
        return SimpleNamespace(pairs=pairs)

    def gpu_query_contact_pair_impulses(self, query):
        def impulses():
            found = []
            for first, second in query.pairs:
                for world in self.worlds:
                    contacts = Contacts(world.scene.get_contacts(), 1.0)
                    force = contacts.force_between(first.entity, second._real.entity)
                    if first in world.agent.robot._objs[0].links:
                        found.append(force)
            return found

        query.cuda_impulses = Buffer(impulses)


def fake_world(worlds):
    """What a reader asks of a world with as many lanes as there are worlds."""
    robots = [world.agent.robot for world in worlds]
    names = [*FINGERS, "base_link", "gripper_link"]
    robot = SimpleNamespace(
        links=robots[0].links,
        links_map={
            n: SimpleNamespace(_objs=[r.links_map[n]._objs[0] for r in robots]) for n in names
        },
        get_net_contact_forces=lambda links: torch.cat(
            [r.get_net_contact_forces(links) for r in robots]
        ),
    )
    px = FakePhysx(worlds)
    return SimpleNamespace(
        scene=SimpleNamespace(px=px),
        agent=SimpleNamespace(robot=robot),
        sim_timestep=worlds[0].sim_timestep,
    )


def on_gpu(lane, reader, number, rows):
    """Makes a lane read the buffers in place of SAPIEN's objects."""
    for name in ("robot", "base", "tcp", "left_finger", "right_finger", "target", "articulation"):
        real = getattr(lane, name)
        setattr(lane, name, None if real is None else Row(real, rows))
    lane.articulations = [Row(a, rows) for a in lane.articulations]
    lane.bodies = [Row(b, rows) for b in lane.bodies]
    lane.reader, lane.number = reader, number


def readings(lane):
    return {
        **lane.state(),
        **lane.privileged(),
        **{k: np.float64(v) for k, v in lane.status().items() if k != "force"},
        "finger_forces": np.array(list(lane.reader.finger_forces(lane.number))),
        "robot_force": np.float64(lane.reader.robot_force(lane.number)),
    }


@pytest.mark.parametrize("task", ["place-bowl", "open-fridge"])
def test_a_gpu_s_buffers_are_read_as_the_bodies_on_the_cpu_are(suite, task):
    """Two worlds on the CPU stand in for two lanes; rows are handed out in the order of first use."""
    waves = [suite.make_wave(task, ()) for _ in range(2)]
    items = suite.items(task, episodes=2, trials=1)
    for wave, item in zip(waves, items, strict=True):
        wave.begin([item])
    world = fake_world([wave.world for wave in waves])
    gpu = GpuReader(world)
    lanes = [wave.lanes[0] for wave in waves]
    held = [Row(lane.held, world.scene.px.rows) for lane in lanes]
    for lane in lanes:  # give every object its row
        for body in [*lane.bodies, lane.base, lane.tcp, lane.left_finger, lane.right_finger]:
            world.scene.px.rows.index(("body", body))
        for articulation in [lane.robot, *lane.articulations]:
            world.scene.px.rows.index(("joints", articulation))
            for link in articulation.links:
                world.scene.px.rows.index(("body", link))
    gpu.begin(held)
    for number in range(2):
        assert gpu.robot_force(number) == 0
        assert not np.array(list(gpu.finger_forces(number))).any()
    grasping = np.zeros((1, 13), np.float32)
    grasping[0, 7], grasping[0, 11] = -1, 1
    for _ in range(30):  # into the table, or the fridge
        for wave in waves:
            wave.advance(grasping)
    gpu.refresh()
    wanted = [(readings(lane), lane.state_bytes(), lane.world_probe()) for lane in lanes]
    assert all(isinstance(lane.reader, CpuReader) for lane in lanes)
    for number, lane in enumerate(lanes):
        on_gpu(lane, gpu, number, world.scene.px.rows)
    for lane, (expected, state, probe) in zip(lanes, wanted, strict=True):
        found = readings(lane)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
        assert lane.state_bytes() == state
        assert lane.world_probe() == probe
    if task == "place-bowl":  # what is held presses on both fingers, in each lane
        assert all(np.linalg.norm(w["finger_forces"], axis=1).min() > 0.5 for w, _, _ in wanted)
    assert min(w["robot_force"] for w, _, _ in wanted) > 100
    of_links = torch.tensor([[[3.0, 4, 0], [0, 0, 5]], [[1, 0, 0], [-1, 0, 0]]])
    world.agent.robot.get_net_contact_forces = lambda links: of_links
    gpu.refresh()
    assert [gpu.robot_force(number) for number in range(2)] == [10, 2]
    assert wanted[0][1] != wanted[1][1]
    for wave in waves:
        wave.close()


def test_a_lane_s_part_of_what_lanes_share():
    shared = SimpleNamespace(_scene_idxs=torch.tensor([1, 4, 10]))
    assert [of_lane(shared, "abc", lane) for lane in (1, 4, 10)] == ["a", "b", "c"]
    table = {"env-1_b": 1, "env-10_a": 2, "env-1_a": 3, "env-4_a": 4}
    assert _named(table, 1) == [3, 1]
    assert _named(table, 10) == [2]


def test_setting_one_lane_masks_the_others():
    world = SimpleNamespace(scene=SimpleNamespace(_reset_mask=torch.ones(3, dtype=torch.bool)))
    with FetchWorld.only(world, 1):
        assert world.scene._reset_mask.tolist() == [False, True, False]
    assert world.scene._reset_mask.tolist() == [True, True, True]


@pytest.mark.parametrize("name", ["ms-hab", "ms-hab-mini"])
def test_physics_on_a_gpu_are_a_track_of_their_own(name, monkeypatch):
    cpu, gpu = load_card(SuiteCard, name), load_card(SuiteCard, f"{name}-gpu")
    same = {"name", "path", "description", "options"}
    assert cpu.model_dump(exclude=same) == gpu.model_dump(exclude=same)
    assert cpu.digest != gpu.digest
    assert "physics" not in cpu.options
    assert not make_suite(cpu).in_waves
    assert make_suite(gpu).in_waves
    assert executor_of(make_suite(gpu)) is WaveExecutor
    with pytest.raises(UserError, match=f"use --suite {name}$"):
        make_suite(gpu.override({"physics": "cpu"}))


def test_policies_for_a_suite_are_for_its_gpu_track_too(suite):
    gpu = load_card(SuiteCard, "ms-hab-mini-gpu")
    expert = load_card(PolicyCard, "expert")
    assert prepare_card(expert, suite.card) == expert
    assert prepare_card(expert, gpu).suites == ["ms-hab-mini-gpu"]
    learned = load_card(PolicyCard, "l1")
    assert prepare_card(learned, gpu) == prepare_card(learned, suite.card)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_without_a_gpu_there_is_one_line(vla_bench):
    failed = vla_bench("run", "--policy", "hold", "--suite", "ms-hab-mini-gpu", "--batch", "4")
    assert failed.returncode == 1
    [line] = failed.stderr.splitlines()
    assert "ms-hab-mini-gpu needs a CUDA GPU for PhysX (torch finds none)" in line
    assert "use --suite ms-hab-mini" in line


def test_a_gpu_library_that_cannot_be_had_is_one_line(monkeypatch):
    from sapien import physx

    def offline():
        raise ConnectionError("no route to github.com")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(physx, "enable_gpu", offline)
    with pytest.raises(UserError, match=r"\(no route to github.com\)"):
        cuda.require_cuda("ms-hab-gpu")


def test_a_manifest_names_the_gpu(monkeypatch):
    assert ("gpu" in hardware()) == torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    assert hardware()["gpu"] == "NVIDIA H100"


def manifest_of(tmp_path, name):
    from vla_bench import RunFolder, RunSpec, execute, plan_run

    run = plan_run(RunSpec("walker", name, tasks=["go-on"], episodes=1, out=tmp_path / name))
    execute(run)
    return RunFolder(tmp_path / name)


def test_reports_say_so_and_never_rank_the_two_together(tmp_path, monkeypatch):
    folder = manifest_of(tmp_path, "line")
    text = folder.path.joinpath("manifest.json").read_text()
    moved = text.replace('"friction": 0.0', '"friction": 0.0, "physics": "gpu"')
    other = manifest_of(tmp_path / "gpu", "line")
    other.path.joinpath("manifest.json").write_text(moved)
    runs = [read_run(place.path) for place in (folder, other)]
    assert "physics on a GPU: never to be ranked" in success.markdown(runs[1])
    assert "GPU" not in success.markdown(runs[0])
    assert not differences(*runs).comparable
