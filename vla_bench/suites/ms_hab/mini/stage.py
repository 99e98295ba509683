"""The shell of an apartment: floor, walls, ceiling, skirting, cupboards, window and pictures."""

from __future__ import annotations

import numpy as np

from vla_bench.suites.ms_hab.mini import counter
from vla_bench.suites.ms_hab.mini.apartments import CEILING, Apartment
from vla_bench.suites.ms_hab.mini.meshes import Material, Model, box, moved, rotation_z, soft_box


def stage_model(home: Apartment) -> Model:
    """The shell in the world frame (z up)."""
    u, v = home.half
    floor = Material("floor", (0.55, 0.42, 0.30))
    wall = Material("wall", (0.80, 0.78, 0.70))
    roof = Material("roof", (0.95, 0.95, 0.93))
    model: Model = [box((2 * u + 0.4, 2 * v + 0.4, 0.1), (0, 0, -0.05), floor)]
    model.append(box((2 * u + 0.4, 2 * v + 0.4, 0.1), (0, 0, CEILING + 0.05), roof))
    for x, y, w, d in ((u + 0.1, 0, 0.2, 2 * v), (-u - 0.1, 0, 0.2, 2 * v), (0, v + 0.1, 2 * u, 0.2), (0, -v - 0.1, 2 * u, 0.2)):
        model.append(box((w, d, CEILING), (x, y, CEILING / 2), wall))
    turn = rotation_z(home.turn * np.pi / 2)
    shell = [moved(mesh, (*home.center, 0.0), turn) for mesh in model]
    return shell + _cupboards(home)


def _cupboards(home: Apartment) -> Model:
    paint = Material("cupboard", (0.85, 0.84, 0.80), roughness=0.6)
    body = soft_box((0.33, counter.WIDTH, 0.70), (-0.145, 0, 1.85), 0.008, paint)
    return [moved(body, (home.counter.x, home.counter.y, 0.0), rotation_z(home.counter.yaw))]
