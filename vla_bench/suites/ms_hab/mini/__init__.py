"""A small world in the format of ReplicaCAD and YCB, made of our own primitives.

`write_mini_world` writes it in seconds, without a simulator and without a download; the real
loading code reads it.
"""

from vla_bench.suites.ms_hab.mini.world import MINI_WORLD_VERSION, is_complete, write_mini_world

__all__ = ["MINI_WORLD_VERSION", "is_complete", "write_mini_world"]
