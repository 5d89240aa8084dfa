"""Observations of environments: flat vectors, cameras, lidar, or several of them by name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Float32, UInt8

from alpamayo_sim.datatypes.lidar import Lidar, spinning_32, spinning_64
from alpamayo_sim.datatypes.rig import SIDE_PIXELS, Rig
from alpamayo_sim.datatypes.rig_presets import rig_by_name
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.engine.kernels.vector_observation import PIECES, vector_size
from alpamayo_sim.errors import InputError, check_known
from alpamayo_sim.settings import SEEDS, Bounds, check_fields

if TYPE_CHECKING:
    from alpamayo_sim.sensors import WorldCameras, WorldLidar

Array = np.ndarray
Observations = Array | dict[str, Array]
MAX_AGENTS = 20_000  # as many as a recording may have
OBSERVATIONS = ("vector", "camera", "image", "lidar")
BOUNDS: dict[str, Bounds] = {  # of the settings of an environment
    "agents": (0, MAX_AGENTS),
    "pieces": (0, PIECES),
    "image_size": SIDE_PIXELS,
    "sensor_seed": SEEDS,
    "max_episode_steps": (1, (1 << 31) - 1),
}
LIDARS: dict[str, Callable[[], Lidar]] = {"spinning_32": spinning_32, "spinning_64": spinning_64}


@dataclass(frozen=True)
class ObservationConfig:
    """The kinds of observations and their settings; see ``Settings``."""

    observation: str | tuple[str, ...] = "vector"
    agents: int = 63
    pieces: int = PIECES
    rig: str = "alpamayo"
    image_size: tuple[int, int] = (224, 128)
    lidar: str = "spinning_32"
    sensor_seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self, "environment", BOUNDS)
        for name in self.names:
            if name not in OBSERVATIONS:
                raise InputError(f"observation is {name!r}, must be of {', '.join(map(repr, OBSERVATIONS))}")
        if not self.names or len(set(self.names)) < len(self.names):
            raise InputError(f"observation is {self.observation!r}, must name each kind once")
        check_known("lidar", self.lidar, LIDARS)
        cameras = len(self.make_rig().cameras)
        if "image" in self.names and cameras != 1:
            raise InputError(
                f"observation 'image' is of one camera, rig {self.rig!r} has {cameras}; rig='front' has one"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the observations."""
        return (self.observation,) if isinstance(self.observation, str) else tuple(self.observation)

    def make_rig(self) -> Rig:
        """Return the cameras."""
        return rig_by_name(self.rig, *self.image_size)

    def make_lidar(self) -> Lidar:
        """Return the lidar."""
        return LIDARS[self.lidar]()

    @property
    def space(self) -> spaces.Space[Any]:
        """Return a new space of one world's observations; a Dict if ``observation`` is a sequence."""
        made = {name: getattr(self, f"_{name}_space")() for name in self.names}
        return made[self.observation] if isinstance(self.observation, str) else spaces.Dict(made)

    def _vector_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (vector_size(self.agents, self.pieces),), np.float32)

    def _camera_space(self) -> spaces.Box:
        rig = self.make_rig()
        return spaces.Box(0, 255, (len(rig.cameras), *rig.cameras[0].rays.shape[:2], 3), np.uint8)

    def _image_space(self) -> spaces.Box:
        _, height, width, channels = self._camera_space().shape
        return spaces.Box(0, 255, (channels, height, width), np.uint8)

    def _lidar_space(self) -> spaces.Box:
        return spaces.Box(0.0, 1.0, (2, *self.make_lidar().rays.shape[:2]), np.float32)


class ObservationBuilder:
    """Observations of the egos of all worlds. Copies and pickles make new sensors."""

    def __init__(self, batch: WorldBatch, settings: ObservationConfig) -> None:
        self.batch = batch
        self.settings = settings

    def observe(self) -> Observations:
        """Return the observations of all worlds as new arrays with a leading axis of worlds."""
        made = {name: getattr(self, f"_{name}")() for name in self.settings.names}
        return made[self.settings.observation] if isinstance(self.settings.observation, str) else made

    def _vector(self) -> Float32[Array, "worlds n"]:
        return self.batch.vectors(self.settings.agents, self.settings.pieces)

    def _camera(self) -> UInt8[Array, "worlds cameras height width 3"]:
        rgb: Array = self._cameras.render().rgb
        return rgb

    def _image(self) -> UInt8[Array, "worlds 3 height width"]:
        return np.ascontiguousarray(self._camera()[:, 0].transpose(0, 3, 1, 2))

    def _lidar(self) -> Float32[Array, "worlds 2 rings columns"]:
        """Return range as a share of the largest range (1 without a return) and intensity."""
        scan = self._scanner.scan()
        share = np.minimum(scan.range / scan.lidar.max_range, 1.0)
        return np.stack([share, np.clip(scan.intensity, 0.0, 1.0)], axis=1).astype(np.float32)

    @cached_property
    def _cameras(self) -> "WorldCameras":
        from alpamayo_sim.sensors import WorldCameras

        return WorldCameras(self.batch, self.settings.make_rig(), seed=self.settings.sensor_seed)

    @cached_property
    def _scanner(self) -> "WorldLidar":
        from alpamayo_sim.sensors import WorldLidar

        return WorldLidar(self.batch, self.settings.make_lidar(), seed=self.settings.sensor_seed)

    def __getstate__(self) -> dict[str, Any]:
        return {"batch": self.batch, "settings": self.settings}


def of_world(observations: Observations, w: int) -> Observations:
    """Return the observation of one world."""
    if isinstance(observations, dict):
        return {name: values[w] for name, values in observations.items()}
    return observations[w]
