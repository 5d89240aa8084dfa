"""A rig on several observers: their images in device memory, and the kernels that fill them."""

from collections.abc import Mapping, Sequence

import numpy as np

from alpamayo_sim.datatypes.lenses import LENS_MODELS, MAX_PARAMETERS
from alpamayo_sim.datatypes.rig import Camera, Rig
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.sensors.culling import ObserverEntry, PartCuller, tile_windows
from alpamayo_sim.sensors.ground_table import GroundTable
from alpamayo_sim.sensors.kernels import camera as kernel
from alpamayo_sim.sensors.kernels import flow as flow_kernel
from alpamayo_sim.sensors.light import light_of, sun_of
from alpamayo_sim.sensors.mesh import StaticMesh
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
BEFORE = {"pose": wp.vec3, "valid": wp.bool}  # state of the last render that the flow needs


class CameraBank:
    """Render ``rig`` for some observers into arrays that it keeps.

    ``pictures`` has the images by view: the cameras of observer 0, then those of observer 1, and so on. A state is a
    mapping as ``WorldBatch.device_arrays``: ``pose``, ``velocity``, ``valid`` by world and agent, ``step`` by world.
    """

    def __init__(self, rig: Rig, observers: int, device: str, mesh: StaticMesh | None = None) -> None:
        self.rig, self.device, self.mesh = rig, device, mesh
        rays = np.stack([camera.rays for camera in rig.cameras])
        eyes = np.stack([camera.position for camera in rig.cameras])
        self.culler = PartCuller(rays, eyes, (kernel.TILE, kernel.TILE), device, mesh is not None, shadows=True)
        shape = (observers * len(rig.cameras), *rig.image_size)
        with wp.ScopedDevice(device):
            self.pictures = _pictures(shape)
            self.turn_rate = wp.zeros(observers, dtype=wp.float32)
            self._angles = wp.array([1.0 / camera.focal[0] for camera in rig.cameras], dtype=wp.float32)
            self._lenses = wp.array([_lens(camera) for camera in rig.cameras], dtype=flow_kernel.Lens)
            strips = tile_windows(rays, (1, kernel.TILE)).reshape(len(rays), rays.shape[1], -1, 4)
            self._windows = wp.array(strips, dtype=wp.vec4)
            self._suns = wp.zeros(observers, dtype=wp.vec3)
        self._mesh = kernel.Mesh()
        if mesh is not None:
            self._mesh.id, self._mesh.colours = mesh.on(device).id, mesh.colours_on(device)
        self._imaging = _imaging(rig)
        self._run = kernel.TILE if device == "cpu" else 1  # pixels that a thread draws
        self._before: dict[str, wp.array] = {}
        self._flow: tuple[wp.array, wp.array] | None = None

    def set_observers(self, entries: Sequence[ObserverEntry], scenes: Sequence[Scene]) -> None:
        """Set the observers and the scene around each of them."""
        self.culler.set_observers(entries)
        lights = [light_of(scene.environment) for scene in scenes]
        with wp.ScopedDevice(self.device):
            self._lights = wp.array(lights, dtype=kernel.Light)
            self._suns.assign(np.array([sun_of(light) for light in lights], np.float32))
        plain = self.mesh is None and rig_is_plain(self.rig) and not any(s.environment.rain > 0.0 for s in scenes)
        self._see, self._shade = (
            (kernel.see_plain, kernel.shade_plain) if plain else (kernel.see_full, kernel.shade_full)
        )
        self._grounds = GroundTable(self.device, scenes if self.mesh is None else [])

    def render(self, state: Mapping[str, wp.array], remember: bool = False) -> None:
        """Fill ``pictures`` with the present images; ``remember`` lets a later ``flow`` start from them."""
        readout = self.rig.imaging.readout
        culler = self.culler
        culler.cull(state, self._suns, self.turn_rate, readout)
        pictures, motion = self.pictures, [state["velocity"], self.turn_rate]
        tiling = [self._run, culler.columns, culler.tiles_per_sensor, culler.observers]
        around = [*motion, self._lights, self._mesh, self._imaging]
        parts = [culler.parts, culler.bounds, culler.tiles]
        see = [culler.rays, culler.eyes, self._windows, *tiling, *around, *parts, pictures.depth, pictures.instance]
        views, height, width = pictures.depth.shape
        runs = views, height, -(-width // self._run)
        wp.launch(self._see, dim=runs, inputs=see, device=self.device)
        view = [culler.rays, culler.eyes, self._angles, self._run, culler.observers]
        motion = [state["velocity"], state["step"], self.turn_rate]
        world = [self._lights, self._grounds.array, self._mesh, self._imaging, culler.appearance, culler.parts]
        wp.launch(self._shade, dim=runs, inputs=[*view, *motion, *world, pictures], device=self.device)
        if remember:
            self._remember(state)

    def flow(self, state: Mapping[str, wp.array]) -> tuple[wp.array, wp.array]:
        """Return the forward flow (pixels, vec2) from the remembered render to ``state``, and its validity (uint8)."""
        kept, now = self._before, [state["pose"], state["valid"]]
        if self._flow is None:
            with wp.ScopedDevice(self.device):
                shape = self.pictures.depth.shape
                self._flow = wp.zeros(shape, dtype=wp.vec2), wp.zeros(shape, dtype=wp.uint8)
        before = [kept["pose"], kept["valid"], kept["depth"], kept["instance"]]
        view = [self.culler.rays, self.culler.eyes, self._lenses, self.culler.observers]
        inputs = [*view, *before, *now, *self._flow]
        wp.launch(flow_kernel.forward_flow, dim=self.pictures.depth.shape, inputs=inputs, device=self.device)
        return self._flow

    @property
    def remembers(self) -> bool:
        """Return whether a render is remembered for ``flow``."""
        return bool(self._before)

    def _remember(self, state: Mapping[str, wp.array]) -> None:
        now = {name: state[name] for name in BEFORE}
        now |= {"depth": self.pictures.depth, "instance": self.pictures.instance}
        for name, array in now.items():
            if name not in self._before or self._before[name].shape != array.shape:
                self._before[name] = wp.empty_like(array)
            wp.copy(self._before[name], array)


def rig_is_plain(rig: Rig) -> bool:
    """Return whether the rig has neither a rolling shutter nor image effects."""
    how = rig.imaging
    return how.readout == how.exposure == how.noise == how.dirt == 0.0


def _pictures(shape: tuple[int, int, int]) -> kernel.Pictures:
    pictures = kernel.Pictures()
    pictures.rgb = wp.zeros(shape, dtype=wp.vec3ub)
    pictures.depth = wp.zeros(shape, dtype=wp.float32)
    pictures.semantic = wp.zeros(shape, dtype=wp.uint8)
    pictures.instance = wp.zeros(shape, dtype=wp.int32)
    return pictures


def _imaging(rig: Rig) -> kernel.Imaging:
    """Return the image effects; exposure scales displayed colour, light to the power 1 / 2.2, by 2^(EV / 2.2)."""
    how = kernel.Imaging()
    how.readout, how.noise, how.dirt = rig.imaging.readout, rig.imaging.noise, rig.imaging.dirt
    how.gain = 2.0 ** (rig.imaging.exposure / 2.2)
    return how


def _lens(camera: Camera) -> flow_kernel.Lens:
    lens = flow_kernel.Lens()
    lens.model = LENS_MODELS.index(type(camera.optics))
    lens.focal, lens.centre = wp.vec2(*camera.focal), wp.vec2(*camera.centre)
    lens.rotation = wp.mat33(*camera.rotation.astype(float).ravel())
    parameters = camera.optics.parameters
    lens.parameters = flow_kernel.Parameters(*parameters, *(0.0,) * (MAX_PARAMETERS - len(parameters)))
    return lens
