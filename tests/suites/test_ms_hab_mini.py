"""The mini world's files: deterministic, complete, consistent, and what the loaders expect."""

from __future__ import annotations

import json
import pathlib
from xml.etree import ElementTree

import numpy as np
import pytest
import sapien
import torch
import trimesh

from vla_bench import load_card, make_suite
from vla_bench.cards import SuiteCard
from vla_bench.suites.ms_hab.mini import (
    MINI_WORLD_VERSION,
    counter,
    fridge,
    furniture,
    is_complete,
    plans,
    world,
    write_mini_world,
    ycb,
)
from vla_bench.suites.ms_hab.mini.apartments import SCENES, all_apartments
from vla_bench.suites.ms_hab.mini.episodes import episodes
from vla_bench.suites.ms_hab.mini.meshes import Mesh
from vla_bench.suites.ms_hab.mini.paint import rng_of
from vla_bench.suites.ms_hab.mini.spawns import grasp
from vla_bench.suites.ms_hab.mini.stage import stage_model

TASKS = [(subtask, target) for subtask, targets in plans.TARGETS.items() for target in targets]
SPLITS = ("train", "val")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    made = tmp_path_factory.mktemp("mini")
    write_mini_world(made)
    return made


@pytest.fixture(scope="module")
def replica(root):
    return root / "data/scene_datasets/replica_cad_dataset"


def contents(root: pathlib.Path) -> dict[str, bytes]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def plans_of(replica: pathlib.Path, split: str, subtask: str, target: str) -> list[dict]:
    path = replica / f"rearrange/task_plans/set_table/{subtask}/{split}/{target}.json"
    return json.loads(path.read_text())["plans"]


def spawns_of(
    replica: pathlib.Path, split: str, subtask: str
) -> dict[str, dict[str, torch.Tensor]]:
    path = replica / f"rearrange/spawn_data/set_table/{subtask}/{split}/spawn_data.pt"
    return torch.load(path, weights_only=True)


def test_two_writes_give_the_same_bytes(root, tmp_path):
    write_mini_world(tmp_path)
    first, second = contents(root), contents(tmp_path)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_a_finished_world_is_left_alone(root):
    before = (root / "data" / world.MARKER).stat().st_mtime_ns
    write_mini_world(root)
    assert (root / "data" / world.MARKER).stat().st_mtime_ns == before


def test_an_interrupted_write_leaves_nothing_that_looks_complete(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(world, "write_ycb", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_mini_world(tmp_path)
    assert not is_complete(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_version_is_replaced_and_a_stranger_is_not(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "real.glb").write_bytes(b"")
    with pytest.raises(FileExistsError, match="not a mini world"):
        write_mini_world(tmp_path)
    (data / world.MARKER).write_text("0\n")
    write_mini_world(tmp_path)
    assert (data / world.MARKER).read_text() == f"{MINI_WORLD_VERSION}\n"
    assert not (data / "real.glb").exists()


@pytest.mark.parametrize(
    ("name", "link", "link_name", "joint", "upper"),
    [
        ("fridge", fridge.TOP_DOOR_LINK, "top_door", fridge.TOP_DOOR_JOINT, fridge.TOP_DOOR_RANGE),
        (
            "kitchen_counter",
            counter.DRAWER3_LINK,
            "drawer3",
            counter.DRAWER3_JOINT,
            counter.DRAWER_RANGE,
        ),
    ],
)
def test_handles_are_where_sapien_counts_them(
    replica, tmp_path, name, link, link_name, joint, upper
):
    tree = ElementTree.parse(replica / f"urdf/{name}/{name}.urdf")
    for element in tree.getroot().iter("link"):
        for visual in element.findall("visual"):
            assert (
                replica / f"urdf/{name}" / visual.find("geometry/mesh").get("filename")
            ).is_file()
            element.remove(visual)
    tree.write(tmp_path / f"{name}.urdf")
    scene = sapien.Scene([sapien.physx.PhysxCpuSystem()])
    robot = scene.create_urdf_loader().load(str(tmp_path / f"{name}.urdf"))
    moving = robot.active_joints[joint]
    assert robot.links[link].name == link_name
    assert moving.child_link == robot.links[link]
    assert moving.limits[0].tolist() == pytest.approx([0, upper])
    assert robot.joints[link] == moving


def test_the_handles_stand_free(replica):
    """A finger fits behind each bar: nothing of the link lies within 5 cm of the bar's back."""
    for links, link, bar in (
        (fridge.fridge_links(), fridge.TOP_DOOR_LINK, fridge.HANDLE),
        (counter.counter_links(), counter.DRAWER3_LINK, counter.HANDLE),
    ):
        gap_at = np.array(bar) - [0.04, 0, 0]
        for solid in links[link].solids:
            low, high = solid.bounds
            reach = np.array([0.018, 0.05, 0.05])
            assert not np.all((low < gap_at + reach) & (high > gap_at - reach)), solid


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("subtask", "target"), TASKS)
def test_plans_and_spawns_belong_together(replica, split, subtask, target):
    spawns = spawns_of(replica, split, subtask)
    together = plans_of(replica, split, subtask, "all")
    for plan in plans_of(replica, split, subtask, target):
        (fields,) = plan["subtasks"]
        episode = json.loads((replica / "rearrange" / plan["init_config_name"]).read_text())
        scene = pathlib.Path(episode["scene_id"]).name
        assert plan in together
        assert scene == plan["build_config_name"]
        assert scene.removesuffix(".scene_instance.json") in SCENES[split]
        assert (replica / "configs/scenes" / scene).is_file()
        assert fields["type"] == subtask
        assert fields["composite_subtask_uids"] == [fields["uid"]]
        held = {"fridge": ycb.APPLE, "kitchen_counter": ycb.BOWL}.get(target, target)
        names = [name.split(".")[0] for name, _ in episode["rigid_objs"]]
        assert names.count(held) == 1
        expected = {"robot_pos": 3, "robot_qpos": 15} | {
            "pick": {"articulation_qpos": 2 if target == ycb.APPLE else 8, "obj_raw_pose": 7},
            "place": {"obj_raw_pose_wrt_tcp": 7},
            "open": {},
            "close": {"articulation_qpos": 2 if target == "fridge" else 8},
        }[subtask]
        rows = spawns[fields["uid"]]
        assert {key: row.shape[1] for key, row in rows.items()} == expected
        assert len({row.shape[0] for row in rows.values()}) == 1
        assert all(row.dtype == torch.float32 for row in rows.values())


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("subtask", "target"), TASKS)
def test_at_least_300_starts_and_no_two_alike(replica, split, subtask, target):
    spawns = spawns_of(replica, split, subtask)
    uids = [plan["subtasks"][0]["uid"] for plan in plans_of(replica, split, subtask, target)]
    starts = torch.cat(
        [torch.cat([spawns[u]["robot_pos"], spawns[u]["robot_qpos"]], 1) for u in uids]
    )
    assert len(uids) == len(set(uids))
    assert len(starts) >= 300
    assert len(torch.unique(starts, dim=0)) == len(starts)


def test_uids_are_unique_over_everything(replica):
    uids = [
        p["subtasks"][0]["uid"]
        for s in SPLITS
        for sub, t in TASKS
        for p in plans_of(replica, s, sub, t)
    ]
    assert len(uids) == len(set(uids))


@pytest.mark.parametrize("split", SPLITS)
def test_goals_lie_on_the_table_in_right_angled_rectangles(replica, split):
    home = {apartment.scene: apartment for apartment in all_apartments()}
    length, depth, height = furniture.TABLE_SIZE
    for target in plans.TARGETS["place"]:
        for plan in plans_of(replica, split, "place", target):
            (fields,) = plan["subtasks"]
            a, b, c, d = np.array(fields["goal_rectangle_corners"])
            for before, corner, after in ((d, a, b), (a, b, c), (b, c, d), (c, d, a)):
                one, other = before - corner, after - corner
                cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
                assert abs(np.degrees(np.arccos(cosine)) - 90) < 1e-3
            table = home[plan["build_config_name"].split(".")[0]].table
            x, y = table.local(np.array([fields["goal_pos"][:2]]))[0]
            assert abs(x) < length / 2 - 0.2
            assert 0.15 < depth / 2 - y < 0.25
            assert 0.02 < fields["goal_pos"][2] - height < 0.05


def test_robots_start_at_a_moderate_distance(replica):
    for split in SPLITS:
        for target in plans.TARGETS["pick"]:
            spawns = spawns_of(replica, split, "pick")
            for plan in plans_of(replica, split, "pick", target):
                rows = spawns[plan["subtasks"][0]["uid"]]
                away = (rows["robot_pos"] - rows["obj_raw_pose"][:, :3])[:, :2].norm(dim=1)
                assert away.min() > 0.75
                assert away.max() < 1.55


def test_no_two_episodes_are_alike(replica):
    for split in SPLITS:
        texts = [
            json.dumps(episode.document()["rigid_objs"], default=str) for episode in episodes(split)
        ]
        assert len(texts) == len(set(texts))


def test_an_apple_in_the_fridge_and_a_bowl_in_the_drawer():
    for episode in (*episodes("train"), *episodes("val")):
        x, y = episode.home.fridge.local(np.array([[episode.apple.x, episode.apple.y]]))[0]
        assert 0.10 <= fridge.FRONT - x <= 0.20
        assert abs(y) < 0.15
        assert episode.apple.z - ycb.APPLE_HALF_HEIGHT == pytest.approx(fridge.SHELF_TOP, abs=0.002)
        opened = episode.bowl_in_world(0.40)
        u, v = episode.home.counter.local(np.array([[opened.x, opened.y]]))[0]
        front = counter.FRONT + 0.40
        assert ycb.BOWL_RADIUS + 0.01 < front - u < counter.DRAWER_RANGE - ycb.BOWL_RADIUS
        assert abs(v - counter.DRAWER3_ORIGIN[1]) < counter.DRAWER3_WIDTH / 2 - ycb.BOWL_RADIUS


def faces_outwards(mesh: Mesh) -> bool:
    corners = mesh.vertices[mesh.faces]
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return bool(np.all((facing * mesh.normals[mesh.faces].mean(axis=1)).sum(axis=1) > -1e-9))


def test_every_triangle_faces_the_way_of_its_normals():
    models = [ycb.thing(name).looks for name in (ycb.APPLE, ycb.BOWL, *ycb.CLUTTER)]
    models += [
        furniture.piece(kind, variant).looks for kind in furniture.KINDS for variant in (0, 1)
    ]
    models += [link.looks for link in (*fridge.fridge_links(), *counter.counter_links())]
    models.append(stage_model(all_apartments()[0]))
    assert [
        mesh.material.name for model in models for mesh in model if not faces_outwards(mesh)
    ] == []


def test_collision_pieces_come_apart_into_convex_hulls(root):
    for name in (ycb.APPLE, ycb.BOWL, *ycb.CLUTTER):
        path = root / f"data/assets/mani_skill2_ycb/models/{name}/collision.ply"
        parts = trimesh.load(path, process=False).split(only_watertight=False)
        assert len(parts) == len(ycb.thing(name).pieces)
        assert all(part.is_convex and part.is_watertight for part in parts)
        assert max(len(part.vertices) for part in parts) <= 100
    assert len(ycb.thing(ycb.BOWL).pieces) > 12


def test_the_held_bowl_has_its_wall_between_the_fingers():
    rng = rng_of("test")
    for _ in range(20):
        pose, fingers = grasp(ycb.BOWL, rng)
        matrix = trimesh.transformations.quaternion_matrix(pose[3:])[:3, :3]
        points = np.concatenate([v for v, _ in ycb.thing(ycb.BOWL).pieces]) @ matrix.T + pose[:3]
        tip = points[(points[:, 0] < 0.03) & (np.abs(points[:, 2]) < 0.010)]
        assert np.all(np.abs(tip[:, 1]) < fingers + 0.0035)
        assert points[:, 0].min() > -0.03


@pytest.mark.parametrize("scene", [apartment.scene for apartment in all_apartments()])
def test_scene_files_name_files_that_exist(replica, scene):
    configs = replica / "configs"
    document = json.loads((configs / f"scenes/{scene}.scene_instance.json").read_text())
    assert (replica / f"{document['stage_instance']['template_name']}.glb").is_file()
    for item in document["object_instances"]:
        config = configs / f"objects/{item['template_name']}.object_config.json"
        assert (config.parent / json.loads(config.read_text())["render_asset"]).resolve().is_file()
    free = trimesh.load(configs / f"scenes/{scene}.scene_instance.fetch.navigable_positions.obj")
    assert len(free.vertices) > 400


@pytest.mark.parametrize("task", ["place-apple", "place-bowl"])
def test_the_hand_keeps_what_it_holds_and_touches_nothing(task):
    suite = make_suite(load_card(SuiteCard, "ms-hab-mini"))
    suite.prepare()
    env = suite.make_env(task, ())
    hold = np.zeros(13, np.float32)
    hold[7] = -1
    for item in suite.items(task)[:12:3]:
        env.reset(options={"item": item})
        grasped = []
        for _ in range(50):
            grasped.append(env.step(hold.copy())[0]["state"]["is_grasped"][0])
        assert np.mean(grasped) > 0.9, item
        assert env.status()["force"] < 1
    env.close()
