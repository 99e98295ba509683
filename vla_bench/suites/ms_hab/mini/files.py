"""Writers for the file formats of the mini world. The same input gives the same bytes."""

from __future__ import annotations

import io
import json
import pathlib
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from vla_bench.suites.ms_hab.mini.meshes import Array, Image, Material, Mesh, Model, merged

_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963
_FLOAT, _UINT32 = 5126, 5125


def rounded(value: Any) -> Any:  # noqa: ANN401 -- any JSON value
    """`value` with every float (in nested lists, tuples, dicts and arrays) rounded to 1e-6."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    if isinstance(value, np.ndarray):
        return rounded(value.tolist())
    if isinstance(value, (float, np.floating)):
        return round(float(value), 6) + 0.0
    return value


def write_text(path: pathlib.Path, text: str) -> None:
    """Write UTF-8 text with plain newlines, making the folder where needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def write_json(path: pathlib.Path, value: object) -> None:
    """Write compact JSON with floats rounded to 1e-6."""
    write_text(path, json.dumps(rounded(value), separators=(",", ":")) + "\n")


def png_bytes(image: Image) -> bytes:
    """An (H, W, 3) uint8 image as a PNG file."""
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


def linear(color: Array) -> Array:
    """SRGB values in [0, 1] as linear light."""
    return np.asarray(np.asarray(color, dtype=np.float64) ** 2.2)


def _dimmed(image: Image, glow: float) -> Image:
    """A picture at a quarter of the size that gives off `glow` of the original's light."""
    step = 4 if min(image.shape[:2]) >= 32 else 1
    height, width = (side // step * step for side in image.shape[:2])
    cells = image[:height, :width].reshape(height // step, step, width // step, step, 3)
    dimmed: Image = (cells.mean(axis=(1, 3)) * glow ** (1 / 2.2) + 0.5).astype(np.uint8)
    return dimmed


class _Glb:
    """Collects the parts of one glTF 2.0 file."""

    def __init__(self) -> None:
        self.blob = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.materials: list[dict[str, Any]] = []

    def add_bytes(self, data: bytes, target: int | None = None) -> int:
        self.blob += b"\0" * (-len(self.blob) % 4)
        view = {"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self.blob += data
        self.views.append(view)
        return len(self.views) - 1

    def add_floats(self, values: Array, kind: str) -> int:
        data = (np.round(values, 6) + 0.0).astype("<f4")
        accessor: dict[str, Any] = {
            "bufferView": self.add_bytes(data.tobytes(), _ARRAY_BUFFER),
            "componentType": _FLOAT,
            "count": len(data),
            "type": kind,
        }
        if kind == "VEC3":
            accessor |= {"min": data.min(axis=0).tolist(), "max": data.max(axis=0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def add_faces(self, faces: npt.NDArray[np.int64]) -> int:
        view = self.add_bytes(faces.astype("<u4").tobytes(), _ELEMENT_BUFFER)
        count = int(faces.size)
        self.accessors.append(
            {"bufferView": view, "componentType": _UINT32, "count": count, "type": "SCALAR"}
        )
        return len(self.accessors) - 1

    def add_material(self, material: Material) -> int:
        color = linear(np.array(material.color))
        surface: dict[str, Any] = {
            "baseColorFactor": [*rounded(color), 1.0],
            "roughnessFactor": material.roughness,
            "metallicFactor": material.metallic,
        }
        entry: dict[str, Any] = {"name": material.name, "pbrMetallicRoughness": surface}
        if material.texture is not None:
            surface["baseColorFactor"] = [1.0, 1.0, 1.0, 1.0]
            surface["baseColorTexture"] = {"index": self.add_image(material.texture)}
            entry["emissiveTexture"] = {
                "index": self.add_image(_dimmed(material.texture, material.glow))
            }
            entry["emissiveFactor"] = [1.0, 1.0, 1.0]
        else:
            entry["emissiveFactor"] = rounded(color * material.glow)
        self.materials.append(entry)
        return len(self.materials) - 1

    def add_image(self, image: Image) -> int:
        view = self.add_bytes(png_bytes(image))
        self.images.append({"bufferView": view, "mimeType": "image/png"})
        return len(self.images) - 1

    def add_mesh(self, mesh: Mesh) -> dict[str, Any]:
        attributes = {
            "POSITION": self.add_floats(mesh.vertices, "VEC3"),
            "NORMAL": self.add_floats(mesh.normals, "VEC3"),
            "TEXCOORD_0": self.add_floats(mesh.uvs, "VEC2"),
        }
        material = self.add_material(mesh.material)
        return {
            "attributes": attributes,
            "indices": self.add_faces(mesh.faces),
            "material": material,
        }

    def document(self, primitives: list[dict[str, Any]]) -> dict[str, Any]:
        document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "vla-bench mini world"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, "name": "model"}],
            "meshes": [{"primitives": primitives}],
            "materials": self.materials,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.blob)}],
        }
        if self.images:
            document["images"] = self.images
            document["samplers"] = [
                {"magFilter": 9729, "minFilter": 9987, "wrapS": 10497, "wrapT": 10497}
            ]
            document["textures"] = [{"source": i, "sampler": 0} for i in range(len(self.images))]
        return document


def write_glb(path: pathlib.Path, model: Model) -> None:
    """Write a model as binary glTF, one primitive per material, textures inside.

    Args:
        path: the `.glb` file.
        model: meshes in the frame in which they are to be stored; nothing is rotated here.
    """
    parts = _Glb()
    document = parts.document([parts.add_mesh(mesh) for mesh in merged(model)])
    parts.blob += b"\0" * (-len(parts.blob) % 4)
    document["buffers"][0]["byteLength"] = len(parts.blob)
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(parts.blob)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.write(struct.pack("<4sII", b"glTF", 2, total))
        stream.write(struct.pack("<I4s", len(text), b"JSON") + text)
        stream.write(struct.pack("<I4s", len(parts.blob), b"BIN\0") + bytes(parts.blob))


def write_obj(folder: pathlib.Path, name: str, model: Model) -> None:
    """Write `<name>.obj`, `<name>.mtl` and one PNG per textured material into `folder`."""
    lines, materials, start = [f"mtllib {name}.mtl"], list[str](), 1
    for mesh in merged(model):
        material = mesh.material
        lines.append(f"usemtl {material.name}")
        lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh.vertices + 0.0]
        lines += [f"vt {u:.6f} {1 - v:.6f}" for u, v in mesh.uvs]
        lines += [f"vn {x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh.normals + 0.0]
        lines += [
            "f " + " ".join(f"{i}/{i}/{i}" for i in face) for face in (mesh.faces + start).tolist()
        ]
        start += len(mesh.vertices)
        materials += _mtl_lines(folder, name, material)
    write_text(folder / f"{name}.obj", "\n".join(lines) + "\n")
    write_text(folder / f"{name}.mtl", "\n".join(materials) + "\n")


def _mtl_lines(folder: pathlib.Path, name: str, material: Material) -> list[str]:
    color = linear(np.array(material.color))
    if material.texture is not None:
        color = linear(material.texture / 255).mean(axis=(0, 1))
    shown = " ".join(f"{value:.6f}" for value in color)
    given = " ".join(f"{value:.6f}" for value in color * material.glow)
    lines = [
        f"newmtl {material.name}",
        f"Kd {shown}",
        f"Ke {given}",
        "Ks 0.05 0.05 0.05",
        "Ns 20.0",
        "d 1.0",
    ]
    if material.texture is not None:
        image = f"{name}_{material.name}.png"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / image).write_bytes(png_bytes(material.texture))
        lines.append(f"map_Kd {image}")
    return lines


def write_ply(path: pathlib.Path, pieces: Sequence[tuple[Array, npt.NDArray[np.int64]]]) -> None:
    """Write separate triangle pieces as one ASCII PLY file; pieces share no vertex.

    Args:
        path: the `.ply` file.
        pieces: (vertices (N, 3) metres, faces (M, 3)) of each connected component.
    """
    vertex_lines, face_lines, start = list[str](), list[str](), 0
    for vertices, faces in pieces:
        vertex_lines += [f"{x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices + 0.0]
        face_lines += [f"3 {a} {b} {c}" for a, b, c in (faces + start).tolist()]
        start += len(vertices)
    header = ["ply", "format ascii 1.0", f"element vertex {len(vertex_lines)}"]
    header += ["property float x", "property float y", "property float z"]
    header += [
        f"element face {len(face_lines)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    write_text(path, "\n".join(header + vertex_lines + face_lines) + "\n")
