"""Lidars and radars and where they sit: plain data, and the ray of every measurement."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from alpamayo_sim.description import described
from alpamayo_sim.errors import InputError

Array = np.ndarray


@described
@dataclass(frozen=True, eq=False)
class Lidar:
    """A spinning lidar fixed to the ego, level: ``elevations`` (rad) of its rings, ``columns`` shots a turn.

    Column j looks along azimuth 2 pi j / columns, counter-clockwise from straight ahead. ``position`` (m) is in the
    ego frame (box centre on the ground, x forward, y left, z up). A target of 10 % reflectivity is just seen at
    ``reach`` (m); nothing is seen nearer than ``min_range`` or beyond ``max_range`` (m). ``range_noise`` is the
    standard deviation of a range (m), ``dropout`` the share of returns that are lost for no reason.
    """

    name: str
    elevations: Float32[Array, " rings"]
    columns: int
    position: Float32[Array, "3"]
    min_range: float = 1.0
    max_range: float = 120.0
    reach: float = 200.0
    range_noise: float = 0.02
    dropout: float = 0.0

    def __post_init__(self) -> None:
        where = f"lidar {self.name!r}"
        if not (1 <= len(self.elevations) <= 512 and 4 <= self.columns <= 16384):
            raise InputError(f"{where}: needs 1 to 512 rings and 4 to 16384 columns")
        if not (np.all(np.isfinite(self.elevations)) and np.all(np.abs(self.elevations) < 0.5 * np.pi)):
            raise InputError(f"{where}: elevations must be finite and within +-pi/2 rad")
        if not (0.0 <= self.min_range < self.max_range and self.reach > 0.0):
            raise InputError(f"{where}: needs 0 <= min_range < max_range and a positive reach")
        if not (self.range_noise >= 0.0 and 0.0 <= self.dropout <= 1.0):
            raise InputError(f"{where}: range_noise must not be negative and dropout must be in [0, 1]")

    @cached_property
    def rays(self) -> Float32[Array, "rings columns 3"]:
        """Return the unit directions of all shots in the ego frame."""
        azimuth = 2.0 * np.pi * np.arange(self.columns) / self.columns
        up = self.elevations.astype(np.float64)[:, None]
        parts = np.cos(up) * np.cos(azimuth), np.cos(up) * np.sin(azimuth), np.sin(up) + 0.0 * azimuth
        return np.stack(parts, axis=-1).astype(np.float32)


def spinning_32(position: tuple[float, float, float] = (-0.45, 0.0, 1.84), columns: int = 1084) -> Lidar:
    """32 rings from +10.67° to -30.67°, as Velodyne's HDL-32E: 2 cm, 70 to 100 m; 1084 columns at 20 Hz.

    From its data sheet (63-9113); the place is that of nuScenes' lidar on a car of 4.1 m. The reach is what shows
    asphalt (15 %, at grazing incidence) up to 40 m, as in nuScenes.
    """
    elevations = np.deg2rad(np.linspace(10.67, -30.67, 32)).astype(np.float32)
    return Lidar("spinning_32", elevations, columns, np.asarray(position, np.float32), 1.0, 100.0, 150.0)


def spinning_64(position: tuple[float, float, float] = (0.0, 0.0, 1.73), columns: int = 1800) -> Lidar:
    """64 rings as Velodyne's HDL-64E S2: 32 from +2° every 1/3°, 32 below every 1/2°; 2 cm, 120 m; 0.2° a column.

    From its manual (63-HDL64ES2), which sees pavement up to 50 m: at that grazing incidence it is a reach of 220 m
    for a target that is hit squarely. The height is that of KITTI's lidar.
    """
    upper = 2.0 - np.arange(32) / 3.0
    degrees = np.concatenate([upper, upper[-1] - 0.5 - 0.5 * np.arange(32)])
    elevations = np.deg2rad(degrees).astype(np.float32)
    return Lidar("spinning_64", elevations, columns, np.asarray(position, np.float32), 1.0, 120.0, 220.0)


@described
@dataclass(frozen=True, eq=False)
class Radar:
    """A radar fixed to the ego at ``position`` (m), level, that looks along ``yaw`` (rad, left positive).

    It sees within ``field_of_view`` (rad, full width) and ``max_range`` (m). An object of 10 dBsm is just detected
    at ``reach`` (m). Standard deviations: ``range_noise`` (m), ``azimuth_noise`` (rad), ``velocity_noise`` (m/s);
    two objects within ``cell`` (m) and (rad) of each other are one detection. ``clutter`` is the mean number of
    detections of nothing in a scan.
    """

    name: str
    position: Float32[Array, "3"]
    yaw: float = 0.0
    field_of_view: float = 1.57
    max_range: float = 170.0
    reach: float = 170.0
    range_noise: float = 0.15
    azimuth_noise: float = 0.006
    velocity_noise: float = 0.06
    cell: tuple[float, float] = (0.4, 0.03)
    clutter: float = 0.0

    def __post_init__(self) -> None:
        where = f"radar {self.name!r}"
        if not (0.0 < self.field_of_view <= 2.0 * np.pi and self.max_range > 0.0 and self.reach > 0.0):
            raise InputError(f"{where}: field_of_view must be in (0, 2 pi] rad, max_range and reach positive")
        if min(self.range_noise, self.azimuth_noise, self.velocity_noise, *self.cell, self.clutter) < 0.0:
            raise InputError(f"{where}: noise, cell and clutter must not be negative")


def long_range_radar(position: tuple[float, float, float] = (2.3, 0.0, 0.5)) -> Radar:
    """Return a front radar like nuScenes' Continental ARS 408-21: 250 m, 0.4 m, 0.1 km/h (data sheet, far scan +-9°).

    The field of view is that of its near and far scan together, 120°; the accuracy is that of its middle.
    """
    place = np.asarray(position, np.float32)
    return Radar("long_range_radar", place, 0.0, np.deg2rad(120.0), 250.0, 250.0, 0.13, 0.005, 0.03)
