"""Writes the whole mini world, or nothing."""

from __future__ import annotations

import pathlib
import shutil
import tempfile
from typing import Any

import numpy as np

from vla_bench.suites.ms_hab.mini import furniture
from vla_bench.suites.ms_hab.mini.apartments import Apartment, Place, all_apartments
from vla_bench.suites.ms_hab.mini.counter import counter_links
from vla_bench.suites.ms_hab.mini.files import write_glb, write_json, write_text
from vla_bench.suites.ms_hab.mini.fridge import fridge_links
from vla_bench.suites.ms_hab.mini.meshes import y_up
from vla_bench.suites.ms_hab.mini.plans import COUNTER, FRIDGE, write_plans
from vla_bench.suites.ms_hab.mini.spawns import base_is_free
from vla_bench.suites.ms_hab.mini.stage import stage_model
from vla_bench.suites.ms_hab.mini.urdf import write_urdf
from vla_bench.suites.ms_hab.mini.ycb import write_ycb

MINI_WORLD_VERSION = 1
"""Version of ms-hab-mini's card: raised whenever a byte of the mini world changes."""
MARKER = "mini_world_version"
"""File in `data/` that holds the version; written last."""
_REPLICA = "scene_datasets/replica_cad_dataset"
_GRID = 0.1


def write_mini_world(root: pathlib.Path) -> None:
    """Write the mini world into `root/data`, all of it or nothing.

    An existing mini world of the same version is left alone; one of another version is replaced.

    Args:
        root: the folder that plays the part of ``MS_ASSET_DIR``.

    Raises:
        FileExistsError: `root/data` holds something else.
    """
    data = root / "data"
    if is_complete(root):
        return
    if data.exists() and not (data / MARKER).exists():
        raise FileExistsError(f"{data} is not a mini world; choose an empty folder")
    root.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=".mini-world-", dir=root))
    try:
        _write_all(scratch)
        write_text(scratch / MARKER, f"{MINI_WORLD_VERSION}\n")
        scratch.chmod(0o755)
        _swap(scratch, data)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def is_complete(root: pathlib.Path) -> bool:
    """Whether `root/data` holds a finished mini world of this version."""
    marker = root / "data" / MARKER
    return marker.is_file() and marker.read_text().strip() == str(MINI_WORLD_VERSION)


def _swap(scratch: pathlib.Path, data: pathlib.Path) -> None:
    if data.exists():
        shutil.rmtree(data)
    scratch.replace(data)


def _write_all(data: pathlib.Path) -> None:
    replica = data / _REPLICA
    for home in all_apartments():
        _write_apartment(replica, home)
    _write_furniture(replica)
    write_urdf(replica / "urdf" / FRIDGE, FRIDGE, fridge_links())
    write_urdf(replica / "urdf" / COUNTER, COUNTER, counter_links())
    for split in ("train", "val"):
        write_plans(replica / "rearrange", split)
    write_ycb(data / "assets" / "mani_skill2_ycb")


def _write_furniture(replica: pathlib.Path) -> None:
    for template in sorted({item.template for home in all_apartments() for item in home.items}):
        kind, variant = template.rsplit("_", 1)
        made = furniture.piece(kind, int(variant))
        write_glb(replica / "objects" / f"{template}.glb", y_up(made.looks))
        config: dict[str, Any] = {"render_asset": f"../../objects/{template}.glb"}
        if made.dynamic:
            config["use_bounding_box_for_collision"] = True
        write_json(replica / "configs" / "objects" / f"{template}.object_config.json", config)


def _write_apartment(replica: pathlib.Path, home: Apartment) -> None:
    write_glb(replica / "stages" / f"{home.scene}.glb", y_up(stage_model(home)))
    scenes = replica / "configs" / "scenes"
    write_json(scenes / f"{home.scene}.scene_instance.json", _scene_document(home))
    _write_navigable(scenes / f"{home.scene}.scene_instance.fetch.navigable_positions.obj", home)


def _scene_document(home: Apartment) -> dict[str, Any]:
    articulated = [(FRIDGE, home.fridge), (COUNTER, home.counter)]
    return {
        "stage_instance": {"template_name": f"stages/{home.scene}"},
        "object_instances": [
            {
                "template_name": item.template,
                "motion_type": "DYNAMIC"
                if furniture.piece(item.kind, item.variant).dynamic
                else "STATIC",
                **_file_frame(item.place),
            }
            for item in home.items
        ],
        "articulated_object_instances": [
            {
                "template_name": name,
                "fixed_base": True,
                "motion_type": "DYNAMIC",
                **_file_frame(place),
            }
            for name, place in articulated
        ],
    }


def _file_frame(place: Place) -> dict[str, list[float]]:
    """Position and rotation (wxyz) of a floor frame in the y-up frame of the files."""
    turn = [float(np.cos(place.yaw / 2)), 0.0, float(np.sin(place.yaw / 2)), 0.0]
    return {"translation": [place.x, place.z, -place.y], "rotation": turn}


def _write_navigable(path: pathlib.Path, home: Apartment) -> None:
    """A grid of squares (z = 0, simulator frame); every vertex is free for the robot's base."""
    u, v = home.half
    grid_u, grid_v = np.meshgrid(np.arange(-u, u, _GRID), np.arange(-v, v, _GRID), indexing="ij")
    points = home.room.world(np.column_stack([grid_u.ravel(), grid_v.ravel()]))
    free = base_is_free(points, home.blocks).reshape(grid_u.shape)
    number = np.where(free, np.cumsum(free).reshape(free.shape), 0)
    lines = [f"v {x:.6f} {y:.6f} 0.000000" for x, y in points[free.ravel()] + 0.0]
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    whole = (a > 0) & (b > 0) & (c > 0) & (d > 0)
    for face in zip(a[whole], b[whole], c[whole], d[whole], strict=True):
        lines += [f"f {face[0]} {face[1]} {face[2]}", f"f {face[0]} {face[2]} {face[3]}"]
    write_text(path, "\n".join(lines) + "\n")
