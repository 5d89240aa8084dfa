"""The quick question that a guard asks: whom does each of many motions meet first, and when does it leave the road?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.validator.contacts import BEHIND, bearing
from alpamayo.validator.drivable import DrivableField
from alpamayo.validator.geometry import box_gap
from alpamayo.validator.packed import oriented
from alpamayo.validator.rules.area import FURTHEST
from alpamayo.validator.situation import Traffic
from alpamayo_sim.driver import PLAN_DT, PLAN_STEPS
from alpamayo_sim.geometry import wrap_angle

Array = np.ndarray
TIMES = PLAN_DT * np.arange(PLAN_STEPS + 1)


@dataclass(frozen=True, eq=False)
class Motions:
    """N motions of the ego over the 65 times of a plan, in the world.

    The box of each is ``size`` (length, width), longer by ``standoff`` (m) in front.
    """

    pose: Float64[Array, "n 65 3"]
    speed: Float64[Array, "n 65"]
    size: Float64[Array, "2"]
    standoff: Float64[Array, " n"]

    @property
    def boxes(self) -> tuple[Float64[Array, "n 65 3"], Float64[Array, "n 2"]]:
        """Poses and sizes of the boxes with their standoff."""
        shift = 0.5 * self.standoff[:, None]
        pose = self.pose.copy()
        pose[..., 0] += shift * np.cos(self.pose[..., 2])
        pose[..., 1] += shift * np.sin(self.pose[..., 2])
        return pose, np.stack([self.size[0] + self.standoff, np.full(len(pose), self.size[1])], axis=-1)

    def take(self, rows: Array) -> "Motions":
        """Some of the motions, by index or mask."""
        return Motions(self.pose[rows], self.speed[rows], self.size, self.standoff[rows])


@dataclass(frozen=True, eq=False)
class Danger:
    """What would become of N motions.

    First contact (s, inf is none), the relative speed then (m/s), with whom (row of the traffic, -1 is nobody),
    and the first time that a corner is off the road (s, inf is never).
    """

    contact: Float64[Array, " n"]
    impact: Float64[Array, " n"]
    whom: Array
    off_road: Float64[Array, " n"]

    @property
    def clean(self) -> Bool[Array, " n"]:
        """No contact and no leaving of the road at all."""
        return np.isinf(self.contact) & np.isinf(self.off_road)

    @property
    def severity(self) -> Float64[Array, " n"]:
        """How badly each ends: contacts by their speed, then leaving the road; the sooner the worse."""
        met = np.isfinite(self.contact)
        soon = np.exp(-np.where(met, self.contact, 0.0) / 4.0)
        off = np.where(np.isfinite(self.off_road), 1.0 / (1.0 + np.minimum(self.off_road, 1e3)), 0.0)
        return np.where(met, 10.0 + self.impact * soon, 0.0) + off


def danger(motions: Motions, traffic: Traffic, area: DrivableField, floor: float) -> Danger:
    """First contact that does not come from behind, and first time further off the road than ``floor`` (m, negative).

    Whoever overlaps the box without its standoff from the start is not looked at: that contact cannot be avoided
    any more. Someone who is in the standoff from the start does count only once it comes nearer than that.
    """
    pose, size = motions.boxes
    k, t, a = _meetings(pose, size, motions, traffic)
    count = len(pose)
    contact, impact, whom = np.full(count, np.inf), np.zeros(count), np.full(count, -1)
    _, pairs = np.unique(k * max(len(traffic.ids), 1) + a, return_index=True)
    pairs.sort()
    k, t, a = k[pairs], t[pairs], a[pairs]
    kept = bearing(motions.pose[k, t], traffic.pose[a, t, :2], float(motions.size[0])) <= BEHIND
    k, first = np.unique(k[kept], return_index=True)
    t, a = t[kept][first], a[kept][first]
    contact[k], whom[k] = TIMES[t], a
    heading = motions.pose[k, t, 2]
    own = motions.speed[k, t][:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    impact[k] = np.linalg.norm(own - traffic.velocity[a, t], axis=-1)
    return Danger(contact, impact, whom, _off_road(motions, area, floor))


def braked(
    pose: Float64[Array, "n 65 3"], speed: Float64[Array, "n 65"], rate: Float64[Array, " n"], delay: float
) -> tuple[Float64[Array, "n 65 3"], Float64[Array, "n 65"]]:
    """The same paths, driven as given for ``delay`` (s), then braked at ``rate`` (m/s²) to rest; held at their end."""
    step = np.diff(pose[..., :2], axis=1)
    way = np.zeros(speed.shape)
    np.cumsum(np.hypot(step[..., 0], step[..., 1]), axis=1, out=way[:, 1:])
    held = round(delay / PLAN_DT)
    first = speed[:, held : held + 1]
    t = np.maximum(TIMES - TIMES[held], 0.0)
    lasting = np.minimum(t, first / rate[:, None])
    s = way[:, held : held + 1] + first * lasting - 0.5 * rate[:, None] * lasting**2
    slow = np.maximum(first - rate[:, None] * t, 0.0)
    s[:, : held + 1], slow[:, : held + 1] = way[:, : held + 1], speed[:, : held + 1]
    beyond = s >= way[:, -1:]
    return _along(pose, way, s), np.where(beyond, 0.0, slow)


def corner_margins(area: DrivableField, pose: Array, size: Array) -> Float64[Array, "..."]:
    """Least distance (m) of the corners of boxes to the border of the road, positive inside, at most ``FURTHEST``."""
    return area.box_margin(oriented(pose.reshape(1, -1, 3)), size, FURTHEST).reshape(pose.shape[:-1])


def _meetings(pose: Array, size: Array, motions: Motions, traffic: Traffic) -> tuple[Array, Array, Array]:
    """Overlaps (k, t, a) of the boxes, ordered by motion and time."""
    steps = len(TIMES)
    other = traffic.pose[:, :steps]
    radius = 0.5 * np.hypot(traffic.size[:, 0], traffic.size[:, 1])
    own = 0.5 * np.hypot(size[:, 0], size[:, 1])
    low, high = pose[..., :2].min(axis=0), pose[..., :2].max(axis=0)
    outside = np.maximum(low - other[..., :2], other[..., :2] - high).max(axis=-1)
    near = ((outside < (radius + own.max())[:, None]) & traffic.valid[:, :steps]).any(axis=1)
    rows = np.flatnonzero(near)
    x, y = np.ascontiguousarray(other[rows, :, 0].T), np.ascontiguousarray(other[rows, :, 1].T)
    reach = (own[:, None, None] + radius[rows]) ** 2
    squared = (pose[..., 0, None] - x) ** 2 + (pose[..., 1, None] - y) ** 2
    k, t, a = np.nonzero((squared < reach) & traffic.valid[rows, :steps].T)
    a = rows[a]
    start = traffic.pose[:, 0]
    mine = motions.pose[:1, 0]
    begun = box_gap(mine, motions.size, start, traffic.size) < 0.0
    tight = box_gap(*_longer(mine, motions.size, float(motions.standoff.max(initial=0.0))), start, traffic.size) < 0.0
    hit = box_gap(pose[k, t], size[k], other[a, t], traffic.size[a]) < 0.0
    hit &= ~begun[a]
    if tight.any():
        doubtful = np.flatnonzero(hit & tight[a] & (motions.standoff[k] > 0.0))
        kd, td, ad = k[doubtful], t[doubtful], a[doubtful]
        hit[doubtful] = box_gap(motions.pose[kd, td], motions.size, other[ad, td], traffic.size[ad]) < 0.0
    return k[hit], t[hit], a[hit]


def _longer(pose: Array, size: Array, standoff: float) -> tuple[Array, Array]:
    ahead = 0.5 * standoff * np.stack([np.cos(pose[:, 2]), np.sin(pose[:, 2])], axis=-1)
    return np.column_stack([pose[:, :2] + ahead, pose[:, 2]]), size + np.array([standoff, 0.0])


def _off_road(motions: Motions, area: DrivableField, floor: float) -> Float64[Array, " n"]:
    if not area.known:
        return np.full(len(motions.pose), np.inf)
    outside = corner_margins(area, motions.pose, motions.size) < floor
    return np.where(outside.any(axis=1), TIMES[np.argmax(outside, axis=1)], np.inf)


def _along(pose: Array, way: Array, s: Array) -> Float64[Array, "n 65 3"]:
    """Poses at the arc lengths ``s`` of each path with the arc lengths ``way``, held at both ends."""
    row = np.arange(len(pose))[:, None]
    at = np.clip((way[:, None, :] <= s[..., None]).sum(axis=-1) - 1, 0, way.shape[1] - 2)
    start, length = way[row, at], way[row, at + 1] - way[row, at]
    part = np.clip((s - start) / np.maximum(length, 1e-9), 0.0, 1.0)[..., None]
    a, b = pose[row, at], pose[row, at + 1]
    step = b - a
    step[..., 2] = wrap_angle(step[..., 2])
    return a + part * step
