"""The lidar's static scene by Open3D's ray casting (Embree), built once; the lidar's kernel adds moving parts.

On a CPU Embree is faster for a large mesh. To build a second Open3D scene of 64 cars and to cast all rays into
it costs three times as much as the kernel with its tiles.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from alpamayo_sim.datatypes.lidar import Lidar
from alpamayo_sim.sensors.culling import Appearance, ObserverEntry
from alpamayo_sim.sensors.kernels import lidar as kernel
from alpamayo_sim.sensors.kernels import parts as part_kernel
from alpamayo_sim.sensors.mesh import StaticMesh
from alpamayo_sim.sensors.semantic import Semantic
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray

GROUND = 4000.0  # m; the level ground is a square of twice this side about the origin
FOUND = {"t_hit": wp.float32, "primitive_normals": wp.vec3, "primitive_ids": wp.uint32}
CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (0.0, 1.0)])
FACES = np.array(
    [[0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4], [2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6],
     [1, 3, 5], [3, 7, 5]], np.uint32
)  # fmt: skip


class Open3DCaster:
    """Cast a lidar's rays into the static scene around each observer; the lidar's kernel adds moving parts."""

    def __init__(self, lidar: Lidar, mesh: StaticMesh | None, observers: int) -> None:
        self._open3d: Any = import_module("open3d")
        self._mesh = mesh
        self._eye = wp.vec3(*(float(x) for x in lidar.position))
        self._directions = wp.array(lidar.rays.reshape(-1, 3), dtype=wp.vec3, device="cpu")
        self._rays = [wp.zeros((len(self._directions), 6), dtype=wp.float32, device="cpu") for _ in range(observers)]
        self._tensors = [self._open3d.core.Tensor.from_numpy(rays.numpy()) for rays in self._rays]
        self._entries: Sequence[ObserverEntry] = ()
        self._static: dict[int, tuple[Any, Appearance, wp.array]] = {}

    def set_observers(self, entries: Sequence[ObserverEntry]) -> None:
        """Build the static scenes of these observers."""
        self._entries = entries
        used = {id(each.appearance): each.appearance for each in entries}
        kept = {key: scene for key, scene in self._static.items() if key in used}
        self._static = {key: kept.get(key) or self._build(appearance) for key, appearance in used.items()}

    def cast(
        self, pose: wp.array, appearance: part_kernel.Appearance, observers: wp.array, echoes: kernel.Echoes
    ) -> None:
        """Write what each shot hits into ``echoes``, the cosine of incidence into its intensity."""
        _, rings, columns = echoes.range.shape
        otherwise = int(Semantic.ROAD if self._mesh is None else Semantic.OTHER)
        for o, entry in enumerate(self._entries):
            shot = [self._directions, self._eye, pose, entry.world, entry.agent, self._rays[o]]
            wp.launch(kernel.aim, dim=len(self._directions), inputs=shot, device="cpu")
            scene, _, part = self._static[id(entry.appearance)]
            hit = scene.cast_rays(self._tensors[o])
            found = [wp.from_numpy(hit[name].numpy(), dtype=kind, device="cpu") for name, kind in FOUND.items()]
            inputs = [o, *found, part, self._rays[o], observers, appearance, otherwise, echoes]
            wp.launch(kernel.take, dim=(rings, -(-columns // 16)), inputs=inputs, device="cpu")

    def _build(self, appearance: Appearance) -> tuple[Any, Appearance, wp.array]:
        """Return the static scene, its appearance (kept alive for its key), and the part of each triangle."""
        scene = self._open3d.t.geometry.RaycastingScene()
        points, triangles, part = static_triangles(appearance, self._mesh)
        tensor = self._open3d.core.Tensor
        scene.add_triangles(tensor(points), tensor(triangles))
        return scene, appearance, wp.array(part, dtype=wp.int32, device="cpu")


def static_triangles(appearance: Appearance, mesh: StaticMesh | None) -> tuple[Float32[Array, "n 3"], Array, Array]:
    """Return points, triangles and each triangle's part (-1: none) of the mesh, or of ground, props and signals."""
    if mesh is not None:
        return mesh.points, mesh.triangles.astype(np.uint32), np.full(len(mesh.triangles), -1, np.int32)
    rows = np.flatnonzero(appearance.still == 1)
    points, triangles = part_triangles(appearance, rows, appearance.fixed[rows])
    far = GROUND * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
    ground = np.array([[0, 1, 2], [0, 2, 3]], np.uint32) + np.uint32(len(points))
    part = np.concatenate([np.repeat(rows, len(FACES)), [-1, -1]]).astype(np.int32)
    return np.concatenate([points, far]), np.concatenate([triangles, ground]), part


def part_triangles(
    appearance: Appearance, rows: Int[Array, " n"], pose: Float32[Array, "n 3"]
) -> tuple[Float32[Array, "points 3"], Array]:
    """Return corners and triangles (12 for each part, seen from outside) of parts whose owners have these poses."""
    table = appearance.table
    half, z, lean = table.half[rows], table.z[rows], table.lean[rows]
    shrink = lean * (z[:, 1:] - z[:, :1])
    at = CORNERS[None, :, 2:]
    flat = CORNERS[None, :, :2] * (half[:, None] - at * shrink[:, None])
    flat[..., 0] += table.centre[rows][:, None]
    c, s = np.cos(pose[:, 2:]), np.sin(pose[:, 2:])
    x = pose[:, :1] + c * flat[..., 0] - s * flat[..., 1]
    y = pose[:, 1:2] + s * flat[..., 0] + c * flat[..., 1]
    up = z[:, :1] + at[..., 0] * (z[:, 1:] - z[:, :1])
    points = np.stack([x, y, up], axis=-1).reshape(-1, 3).astype(np.float32)
    triangles = (8 * np.arange(len(rows), dtype=np.uint32)[:, None, None] + FACES).reshape(-1, 3)
    return points, triangles
