"""Textured triangle meshes made of a few primitives.

Everything is built z-up, in metres, in the frame of the thing itself. `y_up` turns a finished
model into the frame that scene files use on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]
Vec3 = tuple[float, float, float]
Point = Sequence[float] | Array
"""(3,) coordinates, metres."""


@dataclass(frozen=True, eq=False)
class Material:
    """How a surface looks.

    Attributes:
        name: unique within one model.
        color: sRGB in [0, 1]; not used where there is a texture.
        roughness: 0 is a mirror, 1 is chalk.
        metallic: 0 for paint and wood, 1 for bare metal.
        texture: (H, W, 3) uint8 sRGB image, or None for a plain colour.
        glow: share of its colour that it shows without any light. The renderer computes no light
            that bounces off walls; this stands in for it.
    """

    name: str
    color: Vec3 = (1.0, 1.0, 1.0)
    roughness: float = 0.8
    metallic: float = 0.0
    texture: Image | None = None
    glow: float = 0.16


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles that share one material.

    Attributes:
        vertices: (N, 3) metres.
        normals: (N, 3) unit vectors.
        uvs: (N, 2) texture coordinates, origin at the image's top left.
        faces: (M, 3) vertex indices, counter-clockwise seen from outside.
        material: the surface.
    """

    vertices: Array
    normals: Array
    uvs: Array
    faces: npt.NDArray[np.int64]
    material: Material = field(default_factory=lambda: Material("plain"))


Model = list[Mesh]


def rotation_z(angle: float) -> Array:
    """Rotation by `angle` radians about +z, as a (3, 3) matrix."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def rotation_x(angle: float) -> Array:
    """Rotation by `angle` radians about +x, as a (3, 3) matrix."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def rotation_y(angle: float) -> Array:
    """Rotation by `angle` radians about +y, as a (3, 3) matrix."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def moved(mesh: Mesh, offset: Point = (0, 0, 0), rotation: Array | None = None) -> Mesh:
    """The same mesh, rotated about its origin and then shifted by `offset` (metres)."""
    turn = np.eye(3) if rotation is None else rotation
    return replace(
        mesh,
        vertices=mesh.vertices @ turn.T + np.asarray(offset, dtype=np.float64),
        normals=mesh.normals @ turn.T,
    )


def y_up(model: Iterable[Mesh]) -> Model:
    """A z-up model in the y-up frame of the files: (x, y, z) becomes (x, z, -y)."""
    turn = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    return [moved(mesh, rotation=turn) for mesh in model]


def merged(model: Iterable[Mesh]) -> Model:
    """One mesh per material, in the order in which the materials first appear."""
    groups: dict[str, list[Mesh]] = {}
    for mesh in model:
        groups.setdefault(mesh.material.name, []).append(mesh)
    return [_joined(group) for group in groups.values()]


def _joined(group: list[Mesh]) -> Mesh:
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in group[:-1]])
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in group]),
        normals=np.concatenate([mesh.normals for mesh in group]),
        uvs=np.concatenate([mesh.uvs for mesh in group]),
        faces=np.concatenate([m.faces + s for m, s in zip(group, starts, strict=True)]),
        material=group[0].material,
    )


_FACE_AXES = [(0, 1), (0, -1), (1, 1), (1, -1), (2, 1), (2, -1)]


def _face_frame(axis: int, sign: int) -> tuple[Array, Array, Array]:
    """Outward normal, image-right and image-down directions of one face of a box."""
    normal = np.zeros(3)
    normal[axis] = sign
    up = np.array([0.0, 0.0, 1.0]) if axis != 2 else np.array([0.0, 1.0, 0.0])
    return normal, np.cross(up, normal), -up


def quad(center: Point, right: Array, down: Array, material: Material) -> Mesh:
    """A rectangle whose texture runs along `right` and `down` (half extents, metres)."""
    c = np.asarray(center, dtype=np.float64)
    corners = np.array([c - right - down, c - right + down, c + right + down, c + right - down])
    normal = np.cross(down, right)
    normal = normal / np.linalg.norm(normal)
    uvs = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    return Mesh(corners, np.tile(normal, (4, 1)), uvs, faces, material)


def box(size: Point, center: Point, material: Material, tile: float | None = None) -> Mesh:
    """An axis-aligned box.

    Args:
        size: full extents (x, y, z), metres.
        center: its middle, metres.
        material: the surface.
        tile: metres of surface per repeat of the texture; None stretches it once over each face.
    """
    half = np.asarray(size, dtype=np.float64) / 2
    parts = []
    for axis, sign in _FACE_AXES:
        normal, right, down = _face_frame(axis, sign)
        face = quad(np.asarray(center) + normal * half, right * half, down * half, material)
        if tile is not None:
            extent = np.array([abs(right @ half), abs(down @ half)]) * 2 / tile
            face = replace(face, uvs=face.uvs * extent)
        parts.append(face)
    return _joined(parts)


def soft_box(size: Point, center: Point, radius: float, material: Material) -> Mesh:
    """A box with bevelled edges whose normals are blended, so that the edges look rounded.

    Args:
        size: full extents (x, y, z), metres.
        center: its middle, metres.
        radius: width of the bevel, metres.
        material: the surface; a texture is stretched once over each face.
    """
    half = np.asarray(size, dtype=np.float64) / 2
    radius = float(min(radius, 0.49 * 2 * half.min()))
    flat = box(2 * (half - radius), (0, 0, 0), material)
    vertices = flat.vertices + flat.normals * radius
    faces = [flat.faces, _bevel_faces(vertices, flat)]
    return Mesh(
        vertices + np.asarray(center), flat.normals, flat.uvs, np.concatenate(faces), material
    )


def _bevel_faces(vertices: Array, flat: Mesh) -> npt.NDArray[np.int64]:
    """Triangles that close the gaps between the six shrunken faces of a bevelled box."""
    corner_of = {}
    for index, (point, normal) in enumerate(zip(flat.vertices, flat.normals, strict=True)):
        corner_of[(tuple(np.sign(point).astype(int)), int(np.argmax(np.abs(normal))))] = index
    corners = sorted({key[0] for key in corner_of})
    triangles = [[corner_of[(corner, axis)] for axis in range(3)] for corner in corners]
    for edge_axis in range(3):
        first, second = [axis for axis in range(3) if axis != edge_axis]
        for corner in corners:
            if corner[edge_axis] != -1:
                continue
            other = tuple(-s if axis == edge_axis else s for axis, s in enumerate(corner))
            a, b = corner_of[(corner, first)], corner_of[(corner, second)]
            c, d = corner_of[(other, second)], corner_of[(other, first)]
            triangles += [[a, b, c], [a, c, d]]
    return np.array([_outward(triangle, vertices) for triangle in triangles])


def _outward(triangle: list[int], vertices: Array) -> list[int]:
    a, b, c = vertices[triangle]
    facing = np.cross(b - a, c - a) @ (a + b + c)
    return triangle if facing > 0 else triangle[::-1]


def lathe(
    profile: Sequence[tuple[float, float]],
    material: Material,
    segments: int = 32,
    sharp: bool = False,
) -> Mesh:
    """A surface of revolution about +z.

    Args:
        profile: (radius, height) points, metres, from the bottom's axis outwards and up.
        material: the surface; its texture runs once around (u) and once along the profile (v).
        segments: facets around.
        sharp: keep the profile's corners instead of smoothing them.
    """
    points = np.asarray(profile, dtype=np.float64)
    if sharp:
        pieces = [
            lathe(points[i : i + 2].tolist(), material, segments) for i in range(len(points) - 1)
        ]
        return _joined(pieces)
    slope = np.gradient(points, axis=0)
    outward = np.stack([slope[:, 1], -slope[:, 0]], axis=1)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-12)
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    around = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    vertices = _revolved(points, around)
    normals = _revolved(outward, around)
    v, u = np.meshgrid(1 - length / length[-1], angle / (2 * np.pi), indexing="ij")
    uvs = np.stack([u.ravel(), v.ravel()], axis=1)
    return Mesh(vertices, normals, uvs, _grid_faces(len(points), segments + 1), material)


def _revolved(points: Array, around: Array) -> Array:
    ring = np.zeros((len(points), len(around), 3))
    ring[..., :2] = points[:, None, :1] * around[None]
    ring[..., 2] = points[:, 1:2]
    return ring.reshape(-1, 3)


def _grid_faces(rows: int, columns: int) -> npt.NDArray[np.int64]:
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    c, d = index[1:, 1:].ravel(), index[1:, :-1].ravel()
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])


def cylinder(
    radius: float, height: float, center: Point, material: Material, segments: int = 24
) -> Mesh:
    """An upright closed cylinder with sharp rims; `center` is its middle (metres)."""
    half = height / 2
    profile = [(1e-4, -half), (radius, -half), (radius, half), (1e-4, half)]
    return moved(lathe(profile, material, segments, sharp=True), center)


def tube(path: Array, radius: Array, material: Material, segments: int = 12) -> Mesh:
    """A closed tube of varying radius along a path in space.

    Args:
        path: (N, 3) centre line, metres.
        radius: (N,) metres.
        material: the surface; u runs around and v along the path.
        segments: facets around.
    """
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    helper = (
        np.array([0.0, 0.0, 1.0]) if abs(tangent[:, 2]).max() < 0.9 else np.array([0.0, 1.0, 0.0])
    )
    side = np.cross(helper, tangent)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(tangent, side)
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    normals = (
        side[:, None] * np.cos(angle)[None, :, None] + up[:, None] * np.sin(angle)[None, :, None]
    )
    vertices = path[:, None] + normals * radius[:, None, None]
    v, u = np.meshgrid(np.linspace(0, 1, len(path)), angle / (2 * np.pi), indexing="ij")
    uvs = np.stack([u.ravel(), v.ravel()], axis=1)
    faces = _grid_faces(len(path), segments + 1)
    return Mesh(vertices.reshape(-1, 3), normals.reshape(-1, 3), uvs, faces, material)
