"""A static scene that the user gives as a mesh: it takes the place of the drawn world for cameras and lidar."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

from alpamayo_sim.errors import InputError
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray

ENDINGS = (".glb", ".gltf", ".obj", ".ply", ".stl", ".off")
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
        """The mesh with its bounding volume hierarchy on a device, built once."""
        if device not in self._devices:
            points = wp.array(self.points, dtype=wp.vec3, device=device)
            indices = wp.array(self.triangles.ravel(), dtype=wp.int32, device=device)
            colours = wp.array(self.colours, dtype=wp.vec3, device=device)
            self._devices[device] = wp.Mesh(points=points, indices=indices), colours
        return self._devices[device][0]

    def colours_on(self, device: str) -> "wp.array":
        """Colours by triangle on a device."""
        self.on(device)
        return self._devices[device][1]
