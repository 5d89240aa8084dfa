"""A static scene as a user's mesh, which replaces the drawn world for cameras and lidar."""

import json
import re
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

from alpamayo_sim.errors import InputError
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray

ENDINGS = (".glb", ".gltf", ".obj", ".ply", ".stl", ".off")
MODELS = (".glb", ".gltf", ".obj")  # formats with materials
MAX_BYTES = 1 << 30
MAX_TRIANGLES = 20_000_000
GREY = (0.55, 0.55, 0.55)


@dataclass(frozen=True, eq=False)
class StaticMesh:
    """Triangles in the world's axes (m, z up, relative to the scene's origin), with a colour (0 to 1) for each."""

    points: Float32[Array, "points 3"]
    triangles: Int32[Array, "triangles 3"]
    colours: Float32[Array, "triangles 3"]
    source: str = "mesh"
    _devices: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not len(self.triangles) or not len(self.points):
            raise InputError(f"{self.source}: has no triangles")
        if len(self.triangles) > MAX_TRIANGLES:
            raise InputError(f"{self.source}: has {len(self.triangles)} triangles, at most {MAX_TRIANGLES} are taken")
        if not np.isfinite(self.points).all():
            raise InputError(f"{self.source}: has points that are not finite")
        if self.triangles.min() < 0 or self.triangles.max() >= len(self.points):
            raise InputError(f"{self.source}: has triangles that name points which are not there")
        if self.colours.shape != self.triangles.shape:
            raise InputError(f"{self.source}: needs a colour for each triangle")

    def on(self, device: str) -> "wp.Mesh":
        """Return the mesh with its bounding volume hierarchy on a device, built once."""
        if device not in self._devices:
            points = wp.array(self.points, dtype=wp.vec3, device=device)
            indices = wp.array(self.triangles.ravel(), dtype=wp.int32, device=device)
            colours = wp.array(self.colours, dtype=wp.vec3, device=device)
            self._devices[device] = wp.Mesh(points=points, indices=indices), colours
        return self._devices[device][0]

    def colours_on(self, device: str) -> "wp.array":
        """Return the colours of the triangles on a device."""
        self.on(device)
        return self._devices[device][1]


def load_mesh(path: Path | str, up: str | None = None) -> StaticMesh:
    """Read a mesh by Open3D: glTF, GLB, PLY, OBJ, STL or OFF, in metres.

    A triangle's colour is that of its vertices, else of the texture at its centre, else of its material, else grey.

    Args:
        path: the file; the buffers and textures that it refers to must be in the same folder.
        up: the axis that points up in the file, "y" or "z"; by default y for glTF, z for others. Meshes with
            y up are turned so that x stays x and -z becomes y.

    Raises:
        InputError: The file is missing, of an unknown type, too large, broken, or without triangles.
    """
    file = Path(path)
    _check_file(file)
    points, corners, colours = _read(file)
    if (up or ("y" if file.suffix.lower() in (".glb", ".gltf") else "z")) == "y":
        points = np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=-1)
    if not len(corners):
        raise InputError(f"mesh {file}: has no triangles, or cannot be read as {file.suffix}")
    return StaticMesh(points.astype(np.float32), corners, colours, f"mesh {file}")


def _check_file(file: Path) -> None:
    if file.suffix.lower() not in ENDINGS:
        raise InputError(f"mesh {file}: its ending must be one of {', '.join(ENDINGS)}")
    if not file.is_file():
        raise InputError(f"mesh {file}: there is no such file")
    size = file.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise InputError(f"mesh {file}: has {size} bytes, must have 1 to {MAX_BYTES}")
    promised = _promised(file)
    if promised > min(3 * MAX_TRIANGLES, 64 * size):
        raise InputError(f"mesh {file}: promises {promised} elements in {size} bytes, at most {3 * MAX_TRIANGLES}")


def _promised(file: Path) -> int:
    """Return the largest number of points or faces that the file's header names, for formats that have one."""
    if file.suffix.lower() == ".ply":
        with file.open("rb") as stream:
            head = stream.read(1 << 16).split(b"end_header")[0]
        found = re.findall(rb"^element\s+\w+\s+(\d+)", head, re.MULTILINE)
        return max(map(int, found), default=0)
    if file.suffix.lower() in (".glb", ".gltf"):
        try:
            accessors = json.loads(_gltf_json(file)).get("accessors", [])
            return max((int(each["count"]) for each in accessors), default=0)
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            raise InputError(f"mesh {file}: is not glTF: its JSON cannot be read") from None
    return 0


def _gltf_json(file: Path) -> bytes:
    """Return the JSON of a glTF file, or the first chunk of a GLB (Khronos glTF 2.0, section 4.4)."""
    with file.open("rb") as stream:
        head = stream.read(20)
        if file.suffix.lower() == ".gltf":
            return head + stream.read()
        if len(head) < 20 or head[:4] != b"glTF" or head[16:20] != b"JSON":
            raise ValueError("no GLB")
        return stream.read(int.from_bytes(head[12:16], "little"))


def _read(file: Path) -> tuple[Array, Array, Array]:
    """Return points, triangles and their colours of all pieces of a file; empty where Open3D finds none."""
    open3d: Any = import_module("open3d")
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        if file.suffix.lower() in MODELS:
            model = open3d.io.read_triangle_model(str(file))
            materials = [model.materials[each.material_idx] for each in model.meshes]
            meshes = [
                (each.mesh, m.base_color[:3], m.albedo_img) for each, m in zip(model.meshes, materials, strict=True)
            ]
        else:
            meshes = [(open3d.io.read_triangle_mesh(str(file)), GREY, None)]
    points = [np.asarray(mesh.vertices, np.float64) for mesh, _, _ in meshes]
    starts = np.cumsum([0, *map(len, points)])
    corners = [np.asarray(mesh.triangles, np.int32) for mesh, _, _ in meshes]
    shifted = [each + start for each, start in zip(corners, starts, strict=False)]
    colours = [_colours(*piece, each) for piece, each in zip(meshes, corners, strict=True)]
    nothing = np.zeros((0, 3))
    return (
        np.concatenate([nothing, *points]),
        np.concatenate([nothing, *shifted]).astype(np.int32),
        np.concatenate([nothing, *colours]).astype(np.float32),
    )


def _colours(mesh: Any, base: Any, image: Any, corners: Int32[Array, "triangles 3"]) -> Float32[Array, "triangles 3"]:
    """Return the triangles' colours: of their vertices, else of the image at the centre, else the base colour."""
    vertex, uvs = np.asarray(mesh.vertex_colors, np.float32), np.asarray(mesh.triangle_uvs, np.float64)
    if len(vertex):
        return vertex[corners].mean(axis=1)
    texture = np.zeros((0, 0, 3)) if image is None else np.asarray(image)
    if not texture.size or len(uvs) != 3 * len(corners):
        return np.tile(np.asarray(base, np.float32), (len(corners), 1))
    middle = uvs.reshape(-1, 3, 2).mean(axis=1) % 1.0
    rows, columns = (middle[:, 1 - k] * texture.shape[k] for k in (0, 1))
    sampled = texture.reshape(*texture.shape[:2], -1)[rows.astype(int), columns.astype(int)]
    return np.broadcast_to(sampled[:, :3], (len(corners), 3)).astype(np.float32) / 255.0
