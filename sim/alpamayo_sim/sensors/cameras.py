"""The cameras: RGB, depth, semantic and instance images of a scene at one moment."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int8, Int32, UInt8

from alpamayo_sim.driver import Agents
from alpamayo_sim.rig import Rig
from alpamayo_sim.scene import Environment, Scene
from alpamayo_sim.sensors import camera_kernel as kernel
from alpamayo_sim.sensors.draw_list import MAX_PARTS, DrawList
from alpamayo_sim.sensors.ground import GRASS, PAGE, TEXEL, GroundTexture, ground_texture
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray

NO_INSTANCE = -1
DAY_HORIZON, DAY_ZENITH = np.array([0.80, 0.87, 0.93]), np.array([0.36, 0.58, 0.86])
DUSK_HORIZON, DUSK_ZENITH = np.array([0.93, 0.66, 0.45]), np.array([0.32, 0.40, 0.62])
NIGHT_HORIZON, NIGHT_ZENITH = np.array([0.055, 0.065, 0.10]), np.array([0.012, 0.016, 0.04])
GREY = np.array([0.72, 0.74, 0.76])
CLEAR_VISIBILITY = 6000.0  # m
KOSCHMIEDER = 3.0  # -ln of the contrast (5 %) that visibility is defined by (ICAO, meteorological optical range)


@dataclass(frozen=True, eq=False)
class CameraImages:
    """Images of all cameras of a rig at one time.

    ``depth`` is the range in m along each pixel's ray (``Camera.rays``), infinite for the sky. ``semantic`` holds
    ``Semantic`` values. ``instance`` is the row of the agent in ``Agents``, -2 - i for signal i, else -1.
    """

    rgb: UInt8[Array, "cameras height width 3"]
    depth: Float32[Array, "cameras height width"]
    semantic: UInt8[Array, "cameras height width"]
    instance: Int32[Array, "cameras height width"]


class CameraRenderer:
    """Draws what the cameras of ``rig`` see in ``scene``; one for many frames.

    The ground's texture and the buffers are made once. The ground is taken to be level, and the ego's own body
    is not drawn. The same arguments give the same bytes.
    """

    def __init__(self, scene: Scene, rig: Rig, device: str = "cpu") -> None:
        self.rig = rig
        self.device = device
        self._environment = scene.environment
        self._draw_list = DrawList(scene)
        height, width = rig.image_size
        cameras = len(rig.cameras)
        rays = np.stack([camera.rays for camera in rig.cameras])
        self._grid = (-(-height // kernel.TILE), -(-width // kernel.TILE))
        with wp.ScopedDevice(device):
            self._rays = wp.array(rays, dtype=wp.vec3)
            self._eyes = wp.array(np.stack([c.position for c in rig.cameras]).astype(np.float32), dtype=wp.vec3)
            angles = np.array([1.0 / camera.focal[0] for camera in rig.cameras], np.float32)
            self._pixel_angle = wp.array(angles, dtype=wp.float32)
            self._ground = _ground(ground_texture(scene))
            self._parts, self._host = _part_arrays(device)
            self._bounds = _bound_arrays(cameras)
            self._tiles = _tile_arrays(rays)
            self._rgb = wp.zeros((cameras, height, width, 3), dtype=wp.uint8)
            self._depth = wp.zeros((cameras, height, width), dtype=wp.float32)
            self._semantic = wp.zeros((cameras, height, width), dtype=wp.uint8)
            self._instance = wp.zeros((cameras, height, width), dtype=wp.int32)

    def render(
        self, ego_pose: Float32[Array, "3"], agents: Agents, signals: Int8[Array, " n"] | None = None
    ) -> CameraImages:
        """Draw the world from ``ego_pose`` (x, y, heading of the ego's box centre, world).

        ``signals`` are the ``SignalState`` of each of the scene's signals; None shows them unlit. The images are
        the caller's own.
        """
        pose = np.asarray(ego_pose, np.float64)
        count = self._upload(self._draw_list.update(pose, agents, signals))
        self._launch(pose, count)
        return CameraImages(
            rgb=self._rgb.numpy().copy(),
            depth=self._depth.numpy().copy(),
            semantic=self._semantic.numpy().copy(),
            instance=self._instance.numpy().copy(),
        )

    def _upload(self, columns: dict[str, Array]) -> int:
        count = len(columns["owner"])
        for name, values in columns.items():
            self._host[name][:count] = values
            if self.device != "cpu":
                getattr(self._parts, name).assign(self._host[name])
        return count

    def _launch(self, pose: Array, count: int) -> None:
        light = _light(self._environment, float(pose[2]))
        ego = wp.vec4(float(pose[0]), float(pose[1]), math.cos(pose[2]), math.sin(pose[2]))
        cameras, tiles = len(self.rig.cameras), self._grid[0] * self._grid[1]
        shadows = int(light.diffuse > 0.0)
        bound = [self._eyes, self._parts, count, light, self._bounds]
        bin_ = [self._parts, count, tiles, shadows, self._bounds, self._tiles]
        images = [self._rgb, self._depth, self._semantic, self._instance]
        view = [self._rays, self._eyes, self._pixel_angle, self._grid[1], tiles]
        shade = [*view, self._parts, self._bounds, self._tiles, self._ground, light, ego, *images]
        with wp.ScopedDevice(self.device):
            wp.launch(kernel.bound_parts, (cameras, max(count, 1)), bound)
            wp.launch(kernel.bin_parts, cameras * tiles, bin_)
            wp.launch(kernel.shade_pixels, self._depth.shape, shade)


def _ground(texture: GroundTexture) -> kernel.Ground:
    ground = kernel.Ground()
    ground.pages = wp.array(texture.pages.ravel(), dtype=wp.uint32)
    ground.table = wp.array(texture.table, dtype=wp.int32)
    ground.offset = wp.array(texture.offset, dtype=wp.int32)
    ground.columns = wp.array(texture.columns, dtype=wp.int32)
    ground.rows = wp.array(texture.rows, dtype=wp.int32)
    ground.corner = wp.vec2(*(float(x) for x in texture.corner))
    ground.texel = TEXEL
    ground.page = PAGE
    return ground


def _part_arrays(device: str) -> tuple[kernel.Parts, dict[str, Array]]:
    """The kernel's part arrays and the host arrays to write them through (the same memory on the CPU)."""
    parts = kernel.Parts()
    kinds = {"place": wp.vec4, "half": wp.vec2, "z": wp.vec2, "lean": wp.vec2, "colour": wp.vec3}
    kinds |= dict.fromkeys(("surface", "semantic", "owner", "state"), wp.int32)
    host = {}
    for name, kind in kinds.items():
        array = wp.zeros(MAX_PARTS, dtype=kind)
        setattr(parts, name, array)
        host[name] = array.numpy() if device == "cpu" else np.zeros_like(array.numpy())
    return parts, host


def _bound_arrays(cameras: int) -> kernel.Bounds:
    bounds = kernel.Bounds()
    shape = (cameras, MAX_PARTS)
    bounds.origin = wp.zeros(shape, dtype=wp.vec3)
    bounds.solid = wp.zeros(shape, dtype=wp.vec4)
    bounds.shadow = wp.zeros(shape, dtype=wp.vec4)
    bounds.near = wp.zeros(shape, dtype=wp.float32)
    return bounds


def _tile_arrays(rays: Float32[Array, "cameras height width 3"]) -> kernel.Tiles:
    tiles = kernel.Tiles()
    limits = tile_bounds(rays)
    tiles.bounds = wp.array(limits, dtype=wp.vec4)
    tiles.solid = wp.zeros((len(limits), MAX_PARTS), dtype=wp.int32)
    tiles.shadow = wp.zeros((len(limits), MAX_PARTS), dtype=wp.int32)
    tiles.solids = wp.zeros(len(limits), dtype=wp.int32)
    tiles.shadows = wp.zeros(len(limits), dtype=wp.int32)
    return tiles


def tile_bounds(rays: Float32[Array, "cameras height width 3"]) -> Float32[Array, "tiles 4"]:
    """Azimuth centre and half width, lowest and highest elevation (rad) of the rays of each tile."""
    limits = []
    for image in rays.astype(np.float64):
        for top in range(0, image.shape[0], kernel.TILE):
            for left in range(0, image.shape[1], kernel.TILE):
                block = image[top : top + kernel.TILE, left : left + kernel.TILE].reshape(-1, 3)
                mean = block[:, :2].sum(axis=0)
                centre = math.atan2(mean[1], mean[0])
                turned = (np.arctan2(block[:, 1], block[:, 0]) - centre + np.pi) % (2.0 * np.pi) - np.pi
                low, high = turned.min(), turned.max()
                up = np.arcsin(np.clip(block[:, 2], -1.0, 1.0))
                limits.append([centre + 0.5 * (low + high), 0.5 * (high - low) + 1e-4, up.min(), up.max()])
    return np.array(limits, np.float32)


def _light(environment: Environment, heading: float) -> kernel.Light:
    """Sun, sky, haze and headlights as seen by an ego with ``heading`` (rad)."""
    elevation, azimuth = environment.sun_elevation, environment.sun_azimuth - heading
    day = float(np.clip((elevation + 0.10) / 0.35, 0.0, 1.0))
    night = float(np.clip(-elevation / 0.15, 0.0, 1.0))
    horizon = _blend(DUSK_HORIZON, DAY_HORIZON, day) * (1.0 - night) + NIGHT_HORIZON * night
    zenith = _blend(DUSK_ZENITH, DAY_ZENITH, day) * (1.0 - night) + NIGHT_ZENITH * night
    wet = min(environment.rain / 10.0, 1.0)
    thick = min(300.0 / environment.visibility, 1.0) if environment.visibility is not None else 0.0
    dull = max(thick, 0.7 * wet)
    brightness = 1.0 - night * 0.94
    horizon, zenith = _blend(horizon, GREY * brightness, dull), _blend(zenith, GREY * brightness * 0.9, dull)
    light = kernel.Light()
    cos = math.cos(elevation)
    light.sun = wp.vec3(cos * math.cos(azimuth), cos * math.sin(azimuth), math.sin(elevation))
    light.diffuse = 0.5 * day * (1.0 - 0.85 * dull) if elevation > 0.02 else 0.0
    light.ambient = (0.66 + 0.26 * dull) * (0.25 + 0.75 * day) * (1.0 - night) + 0.10 * night
    light.horizon, light.zenith = wp.vec3(*horizon), wp.vec3(*zenith)
    light.terrain = wp.vec3(*(np.array(GRASS) / 255.0))
    light.haze = KOSCHMIEDER / min(environment.visibility or CLEAR_VISIBILITY, CLEAR_VISIBILITY)
    light.headlights = 0.9 * night
    light.wet = wet
    return light


def _blend(a: Array, b: Array, share: float) -> Array:
    return a * (1.0 - share) + b * share
