"""The lidar: returns of all worlds at one moment, from the level drawn world or a mesh, with an echo model.

The lidar sees the same parts of road users as the cameras. The echo model:

- strength = reflectivity of the class at 905 nm, times the cosine of incidence (Lambert);
- a return is detected if strength · exp(-2 ε r) / r² reaches that of a 10 % target at the lidar's ``reach``;
- ε in fog is Koschmieder's 3 / visibility, in rain of R mm/h 1.076 R^0.67 dB/km (ITU-R P.1814, Carbonneau); rain
  makes ranges noisier by 0.02 r (1 - exp(-R))² (Goodin, Carruth, Doude, Hudson: Predicting the Influence of Rain on
  LIDAR in ADAS, Electronics 2019);
- the range has Gaussian noise; returns are lost at random (``dropout``).

The shots of a turn are all taken at one time: the ego's motion during a turn does not bend the cloud.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from alpamayo_sim.datatypes.lidar import Lidar
from alpamayo_sim.datatypes.scene import Environment
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError, check_known
from alpamayo_sim.sensors.culling import PartCuller
from alpamayo_sim.sensors.ground_table import GroundTable
from alpamayo_sim.sensors.kernels import lidar as kernel
from alpamayo_sim.sensors.lidar_open3d import Open3DCaster
from alpamayo_sim.sensors.mesh import StaticMesh
from alpamayo_sim.sensors.observers import Observers
from alpamayo_sim.sensors.semantic import Semantic
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray

TILE = 16  # rings, and columns at most, whose shots share a list of parts
SECTORS = 32  # at least, that a turn is tiled into
KOSCHMIEDER = 3.0
DECIBEL = 10.0 / np.log(10.0)
REFLECTIVITY = {  # at 905 nm, diffuse, rounded from the ASTER/ECOSTRESS spectral library's like materials
    Semantic.TERRAIN: 0.4, Semantic.SIDEWALK: 0.35, Semantic.KERB: 0.35, Semantic.ROAD: 0.15,
    Semantic.LANE_MARKING: 0.6, Semantic.CROSSWALK: 0.6, Semantic.STOP_LINE: 0.6, Semantic.PEDESTRIAN: 0.4,
    Semantic.ANIMAL: 0.35, Semantic.CONE: 0.7, Semantic.BARRIER: 0.6, Semantic.VEGETATION: 0.5, Semantic.SKY: 0.0,
}  # fmt: skip
OTHERWISE = 0.3  # vehicles and all the rest


@dataclass(frozen=True, eq=False)
class LidarScan:
    """Returns of one turn of each observer.

    ``range`` (m) is infinite without a return; ``intensity`` is reflectivity times cosine of incidence times
    the atmosphere's loss, in [0, 1]. ``semantic`` holds ``Semantic`` values; ``instance`` is the row of the agent in
    ``Agents``, -2 - i for signal i, ``EGO_INSTANCE`` for a world's ego seen by another agent, else -1.
    """

    lidar: Lidar
    range: Float32[Array, "observers rings columns"]
    intensity: Float32[Array, "observers rings columns"]
    semantic: UInt8[Array, "observers rings columns"]
    instance: Int32[Array, "observers rings columns"]

    def points(self, o: int = 0) -> Float32[Array, "n 4"]:
        """Return the returns of an observer as x, y, z (m, its frame) and intensity, ring after ring."""
        seen = np.isfinite(self.range[o])
        xyz = self.lidar.position + self.range[o][seen][:, None] * self.lidar.rays[seen]
        return np.column_stack([xyz, self.intensity[o][seen]]).astype(np.float32)


class WorldLidar:
    """A lidar on the egos of all worlds, or on any agents. The same seed gives the same returns in any batch.

    Args:
        batch: the worlds; their scenarios may change at any time.
        lidar: the lidar that each observer carries.
        seed: of the noise.
        observers: world and agent of each observer, see ``Observers``.
        mesh: a static scene that replaces the drawn world but for its road users.
        backend: "warp" casts on the batch's device; "open3d" casts by Embree on the CPU, which is faster for
            a large mesh there.
        markings: tell lane markings, kerbs and grass from asphalt by the drawn ground (some tenths of a second to draw
            for each new scene); otherwise level ground is all road.

    Raises:
        InputError: An observer does not exist, the backend is unknown, or it is Open3D for a batch on a GPU.
    """

    def __init__(
        self,
        batch: WorldBatch,
        lidar: Lidar,
        *,
        seed: int = 0,
        observers: Sequence[tuple[int, int]] | None = None,
        mesh: StaticMesh | None = None,
        backend: str = "warp",
        markings: bool = False,
    ) -> None:
        check_known("lidar backend", backend, ("warp", "open3d"))
        if backend == "open3d" and batch.device != "cpu":
            raise InputError(f"lidar: the backend 'open3d' needs a batch on the CPU, this one is on {batch.device}")
        self.batch, self.lidar, self._mesh = batch, lidar, mesh
        self._observers = Observers(batch, observers, seed, lidar.name)
        count = len(self._observers.pairs)
        self._markings = markings and mesh is None
        self._grounds = GroundTable(batch.device, [])
        self._open3d = Open3DCaster(lidar, mesh, count) if backend == "open3d" else None
        moving_only = mesh is not None or self._open3d is not None
        self._culler = PartCuller(lidar.rays[None], lidar.position[None], _tile(lidar), batch.device, moving_only)
        self._beam = _beam(lidar)
        shape = (count, *lidar.rays.shape[:2])
        with wp.ScopedDevice(batch.device):
            self._echoes = kernel.Echoes()
            self._echoes.range = wp.zeros(shape, dtype=wp.float32)
            self._echoes.intensity = wp.zeros(shape, dtype=wp.float32)
            self._echoes.semantic = wp.zeros(shape, dtype=wp.uint8)
            self._echoes.instance = wp.zeros(shape, dtype=wp.int32)
            self._reflectivity = wp.array(reflectivities(), dtype=wp.float32)
            self._suns = wp.zeros(count, dtype=wp.vec3)
            self._still = wp.zeros(count, dtype=wp.float32)
            self._extinction = wp.zeros(count, dtype=wp.float32)
            self._rain = wp.zeros(count, dtype=wp.float32)

    def scan(self) -> LidarScan:
        """Return one present turn of each observer in new arrays."""
        self.launch()
        names = ("range", "intensity", "semantic", "instance")
        return LidarScan(self.lidar, *(getattr(self._echoes, name).numpy().copy() for name in names))

    def launch(self) -> None:
        """Write the returns of now into ``device_arrays``, without copying them to the host."""
        entries = self._observers.changed()
        if entries is not None:
            self._culler.set_observers(entries)
            if self._open3d:
                self._open3d.set_observers(entries)
            around = [scene.environment for scene in self._observers.scenes]
            if self._markings:
                self._grounds = GroundTable(self.batch.device, self._observers.scenes)
            self._extinction.assign(np.array([extinction(each) for each in around], np.float32))
            self._rain.assign(np.array([each.rain for each in around], np.float32))
        state = self.batch.device_arrays
        self._culler.cull(state, self._suns, self._still)
        if self._open3d:
            self._open3d.cast(state["pose"], self._culler.appearance, self._culler.observers, self._echoes)
        self._scan(state["step"])

    @property
    def device_arrays(self) -> dict[str, wp.array]:
        """Return the returns of the last ``launch`` or ``scan`` on the device, for ``wp.to_torch`` without a copy."""
        names = ("range", "intensity", "semantic", "instance")
        return {name: getattr(self._echoes, name) for name in names}

    def _scan(self, step: wp.array) -> None:
        culler = self._culler
        run = culler.tile[1] if self.batch.device == "cpu" else 1  # shots of a thread
        tiling = [run, *culler.tile, culler.columns, culler.tiles_per_sensor]
        view = [culler.rays, culler.eyes, *tiling, culler.observers, step]
        mesh = self._mesh.on(self.batch.device).id if self._mesh else wp.uint64(0)
        static = [int(self._mesh is None), mesh, self._open3d is not None, self._markings, self._grounds.array]
        parts = [culler.appearance, culler.parts, culler.bounds, culler.tiles]
        air = [self._beam, self._reflectivity, self._extinction, self._rain]
        observers, rings, columns = self._echoes.range.shape
        grid, inputs = (observers, rings, -(-columns // run)), [*view, *static, *parts, *air, self._echoes]
        wp.launch(kernel.scan, dim=grid, inputs=inputs, device=self.batch.device)


def extinction(environment: Environment) -> float:
    """Return the extinction (1/m) of light by fog and rain."""
    fog = KOSCHMIEDER / environment.visibility if environment.visibility is not None else 0.0
    return fog + 1.076 * environment.rain**0.67 / (1000.0 * DECIBEL)


def reflectivities() -> Float32[Array, " classes"]:
    """Return the reflectivity of each ``Semantic``."""
    return np.array([REFLECTIVITY.get(kind, OTHERWISE) for kind in Semantic], np.float32)


def _tile(lidar: Lidar) -> tuple[int, int]:
    """Return the rings and columns of a tile; a coarse lidar has few columns per tile, because they are wide."""
    return TILE, max(1, min(TILE, lidar.columns // SECTORS))


def _beam(lidar: Lidar) -> kernel.Beam:
    beam = kernel.Beam()
    beam.min_range, beam.max_range, beam.reach = lidar.min_range, lidar.max_range, lidar.reach
    beam.noise, beam.dropout = lidar.range_noise, lidar.dropout
    return beam
