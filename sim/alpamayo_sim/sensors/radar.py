"""The radar: ranges, azimuths and radial velocities of objects, with the strength of their echoes.

- An object is the agent's box; it reflects where it is nearest (a corner or a side), at half its height.
- Radial velocity is the Doppler one: the relative velocity of that point (the ego's turning included) along the line
  of sight, negative for approaching objects. It is not corrected for the ego's motion.
- Strength is the radar cross-section (dBsm) of the class, which falls for narrow aspects, with Swerling I's
  exponential fluctuation from scan to scan (Swerling, Probability of detection for fluctuating targets, 1954).
- Detection by the radar equation: received power goes with cross-section / range⁴; an object of 10 dBsm is just
  detected at the radar's ``reach`` (Skolnik, Introduction to Radar Systems, ch. 1).
- An object that another box hides over its full width, by line of sight over the ground, is not detected.
- Detections within one range and azimuth cell of each other merge into the strongest one.

All numbers only depend on the scenario, the sensor's seed and the step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

from alpamayo_sim.datatypes.lidar import Radar
from alpamayo_sim.datatypes.observation import Agents
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.geometry import box_corners, heights_overlap, to_frame
from alpamayo_sim.sensors.culling import EGO_INSTANCE
from alpamayo_sim.sensors.observers import Observers, noise_key

Array = np.ndarray

CROSS_SECTION = {  # dBsm at 77 GHz, typical figures of the literature (Euro NCAP targets, Schipper et al. 2011)
    Category.VEHICLE: 10.0, Category.TRUCK: 20.0, Category.BUS: 20.0, Category.MOTORCYCLE: 5.0, Category.CYCLIST: 2.0,
    Category.PEDESTRIAN: -5.0, Category.ANIMAL: -8.0, Category.CONE: -10.0, Category.BARRIER: 8.0,
    Category.DEBRIS: -5.0, Category.BUILDING: 20.0, Category.VEGETATION: -3.0, Category.UNKNOWN: 0.0,
}  # fmt: skip
"""Radar cross-section by category."""

JUST_SEEN = 10.0  # dBsm at the radar's reach
SMALLEST_SHARE = 0.05  # of the aspect


@dataclass(frozen=True, eq=False)
class RadarScan:
    """Detections of one scan of an observer, in no order.

    ``range`` (m) and ``azimuth`` (rad, left positive) are from the radar and its axis; ``velocity`` (m/s) is radial,
    positive when the distance grows; ``strength`` is in dBsm. ``instance`` is the row of the agent in ``Agents``,
    ``EGO_INSTANCE`` for a world's ego seen by another agent, -1 for clutter.
    """

    radar: Radar
    range: Float32[Array, " n"]
    azimuth: Float32[Array, " n"]
    velocity: Float32[Array, " n"]
    strength: Float32[Array, " n"]
    instance: Int32[Array, " n"]

    def points(self) -> Float32[Array, "n 2"]:
        """x, y (m) of the detections in the observer's frame."""
        angle = self.azimuth + self.radar.yaw
        offset = self.range[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return (self.radar.position[:2] + offset).astype(np.float32)


class WorldRadar:
    """A radar on the egos of all worlds, or on any agents; arguments as of ``WorldLidar``."""

    def __init__(
        self, batch: WorldBatch, radar: Radar, *, seed: int = 0, observers: Sequence[tuple[int, int]] | None = None
    ) -> None:
        self.batch, self.radar, self._seed = batch, radar, seed
        self._observers = Observers(batch, observers, seed, radar.name)

    def scan(self) -> list[RadarScan]:
        """Return the present scan of each observer."""
        rates = self._observers.turn_rates()
        return [self._scan(w, agent, float(rates[o])) for o, (w, agent) in enumerate(self._observers.pairs)]

    def _scan(self, w: int, agent: int, turn_rate: float) -> RadarScan:
        batch = self.batch
        bodies = _with_ego(batch, w)
        others = np.arange(len(bodies.ids)) != agent
        pose, velocity = bodies.pose[agent], bodies.velocity[agent]
        key = noise_key(self._seed, self.radar.name, batch.scenarios[w], agent)
        luck = np.random.Generator(np.random.Philox(key=key, counter=[int(batch.step_index[w]), 0, 0, 0]))
        valid = bodies.valid & others
        rows = np.arange(len(others)) - 1
        instance = np.where(rows < 0, EGO_INSTANCE, rows).astype(np.int32)
        valid &= _on_level(bodies, agent, batch[w].map_index.has_levels)
        return detect(self.radar, bodies, valid, instance, pose, velocity, turn_rate, luck)


def _on_level(bodies: Agents, agent: int, has_levels: bool) -> Bool[Array, " n"]:
    """Return which bodies share a height with the observer: a radar looks along its own level."""
    if not has_levels or bodies.elevation is None:
        return np.ones(len(bodies.ids), bool)
    ground, height = bodies.elevation, bodies.size[:, 2]
    return heights_overlap(ground, height, ground[agent], height[agent])


def _with_ego(batch: WorldBatch, w: int) -> Agents:
    """Return all agents of a world, the ego first."""
    agents, ego = batch[w].agents(), batch.scenarios[w].scene.ego
    heading = float(batch.egos.pose[w, 0, 2])
    velocity = float(batch.egos.speed[w, 0]) * np.array([math.cos(heading), math.sin(heading)], np.float32)
    return Agents(
        ids=(ego.id, *agents.ids),
        category=np.concatenate([np.array([ego.category], np.int8), agents.category]),
        pose=np.concatenate([batch.egos.pose[w, 0][None], agents.pose]),
        velocity=np.concatenate([velocity[None], agents.velocity]).astype(np.float32),
        size=np.concatenate([ego.size[None], agents.size]),
        valid=np.concatenate([[True], agents.valid]),
        elevation=None if agents.elevation is None else np.append(batch.array("elevation")[w, 0], agents.elevation),
    )


def detect(
    radar: Radar,
    bodies: Agents,
    valid: Bool[Array, " n"],
    instance: Int32[Array, " n"],
    pose: Float32[Array, "3"],
    velocity: Float32[Array, "2"],
    turn_rate: float,
    rng: np.random.Generator,
) -> RadarScan:
    """Return the detections of bodies by the radar of an observer at ``pose`` (world); see the module.

    ``velocity`` (m/s, world) and ``turn_rate`` (rad/s) are the observer's; ``instance`` names each body in the scan.
    """
    at = np.append(_rotated(radar.position[:2], pose[2]) + pose[:2].astype(np.float64), pose[2] + radar.yaw)
    corners = to_frame(box_corners(bodies.pose.astype(np.float64), bodies.size[:, :2].astype(np.float64)), at)
    spot = _nearest(corners)
    distance, azimuth = np.hypot(spot[:, 0], spot[:, 1]), np.arctan2(spot[:, 1], spot[:, 0])
    lever = _rotated(radar.position[:2], pose[2])
    own = velocity.astype(np.float64) + turn_rate * np.array([-lever[1], lever[0]])
    relative = _rotated(bodies.velocity.astype(np.float64) - own, -at[2])
    radial = (relative * spot).sum(axis=-1) / np.maximum(distance, 1e-6)
    strength = _strength(bodies, corners, distance) + 10.0 * np.log10(rng.exponential(size=len(valid)))
    loud = strength - 40.0 * np.log10(np.maximum(distance, 0.1) / radar.reach) >= JUST_SEEN
    inside = (distance > 0.1) & (distance < radar.max_range) & (np.abs(azimuth) < 0.5 * radar.field_of_view)
    tall = valid & (bodies.size[:, 2] > radar.position[2])
    seen = valid & inside & loud & ~_hidden(spot, corners, tall)
    noise = rng.normal(size=(3, len(valid)))
    found = np.stack(
        [
            distance + radar.range_noise * noise[0],
            azimuth + radar.azimuth_noise * noise[1],
            radial + radar.velocity_noise * noise[2],
            strength,
            instance,
        ]
    )[:, seen]
    return _scan_of(radar, np.concatenate([_merged(found, radar.cell), _clutter(radar, rng)], axis=1))


def _scan_of(radar: Radar, rows: Float64[Array, "5 n"]) -> RadarScan:
    distance, azimuth, velocity, strength = rows[:4].astype(np.float32)
    return RadarScan(radar, distance, azimuth, velocity, strength, rows[4].astype(np.int32))


def _rotated(xy: Array, angle: float) -> Float64[Array, "*n 2"]:
    c, s = math.cos(angle), math.sin(angle)
    return np.asarray(xy, np.float64) @ np.array([[c, s], [-s, c]])


def _nearest(corners: Float64[Array, "n 4 2"]) -> Float64[Array, "n 2"]:
    """Return the nearest point of each box's outline to the origin."""
    start, along = corners, np.roll(corners, -1, axis=1) - corners
    share = -(start * along).sum(axis=-1) / np.maximum((along * along).sum(axis=-1), 1e-12)
    points = start + np.clip(share, 0.0, 1.0)[..., None] * along
    best = np.argmin((points * points).sum(axis=-1), axis=1)
    return points[np.arange(len(corners)), best]


def _strength(bodies: Agents, corners: Float64[Array, "n 4 2"], distance: Float64[Array, " n"]) -> Float64[Array, " n"]:
    """Return the mean cross-section (dBsm) of a class, by the visible share of the longer side at this aspect."""
    mean = np.array([CROSS_SECTION[Category(int(kind))] for kind in bodies.category])
    middle = corners.mean(axis=1)
    across = np.stack([-middle[:, 1], middle[:, 0]], axis=-1) / np.maximum(np.hypot(*middle.T), 1e-6)[:, None]
    span = np.ptp((corners * across[:, None]).sum(axis=-1), axis=1)
    share = span / np.maximum(bodies.size[:, :2].max(axis=1), 1e-6)
    return mean + 10.0 * np.log10(np.clip(share, SMALLEST_SHARE, 1.0))


def _hidden(
    spot: Float64[Array, "n 2"], corners: Float64[Array, "n 4 2"], tall: Bool[Array, " n"]
) -> Bool[Array, " n"]:
    """Return whether other, tall boxes hide the nearest point and all corners of each box from the origin."""
    points = np.concatenate([spot[:, None], corners], axis=1)
    hidden = np.zeros(points.shape[:2], bool)
    for k in np.flatnonzero(tall):
        crossed = _crosses(points, corners[k])
        crossed[k] = False
        hidden |= crossed
    return hidden.all(axis=1)


def _crosses(points: Float64[Array, "n 5 2"], ring: Float64[Array, "4 2"]) -> Bool[Array, "n 5"]:
    """Return whether the line from the origin to each point crosses a side of a box well before the point."""
    start, end = ring, np.roll(ring, -1, axis=0)
    along = end - start
    p = points[..., None, :]
    bottom = p[..., 0] * along[:, 1] - p[..., 1] * along[:, 0]
    safe = np.where(np.abs(bottom) < 1e-12, 1e-12, bottom)
    way = (start[:, 0] * along[:, 1] - start[:, 1] * along[:, 0]) / safe
    side = (start[:, 0] * p[..., 1] - start[:, 1] * p[..., 0]) / safe
    return np.any((way > 0.0) & (way < 0.999) & (side >= 0.0) & (side <= 1.0), axis=-1)


def _merged(found: Float64[Array, "5 n"], cell: tuple[float, float]) -> Float64[Array, "5 m"]:
    """Return the detections without those that share a cell with a stronger detection."""
    kept: list[int] = []
    for k in np.argsort(-found[3], kind="stable"):
        near = np.abs(found[0, kept] - found[0, k]) < cell[0]
        near &= np.abs(found[1, kept] - found[1, k]) < cell[1]
        if not near.any():
            kept.append(int(k))
    return found[:, sorted(kept)]


def _clutter(radar: Radar, rng: np.random.Generator) -> Float64[Array, "5 n"]:
    count = int(rng.poisson(radar.clutter)) if radar.clutter > 0.0 else 0
    half = 0.5 * radar.field_of_view
    return np.stack(
        [
            rng.uniform(1.0, radar.max_range, count),
            rng.uniform(-half, half, count),
            rng.normal(0.0, 10.0, count),
            rng.uniform(-15.0, 0.0, count),
            np.full(count, -1.0),
        ]
    )
