"""Who touches whom, when, and how near everybody comes: shared by the collision and time-to-collision rules."""

import enum
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int

from alpamayo.validator.geometry import box_distance, box_gap, segment_gap
from alpamayo.validator.situation import Situation, close_heading, is_static

Array = np.ndarray
CLEARANCE = 5.0  # m; whoever is further away is not told apart
STOPPED = 0.05  # m/s, NAVSIM's
BEHIND = np.deg2rad(150.0)
AHEAD = np.deg2rad(30.0)
REAR_AXLE = 0.28  # of the length, behind the centre; NAVSIM's vehicle: (4.049 - 1.127) / 2 / 5.176
SUBSTEPS = 10
BUMPER_REACH = 0.02  # m; a bumper this near to the first point of contact has made it


class ContactKind(enum.IntEnum):
    """How a contact came about (after nuPlan and NAVSIM, which say "track" for the other road user)."""

    STOPPED_EGO = 0
    STOPPED_OTHER = 1
    ACTIVE_FRONT = 2
    ACTIVE_REAR = 3
    ACTIVE_LATERAL = 4


@dataclass(frozen=True, eq=False)
class Near:
    """Pairs (motion k, time t, other a) that are within ``CLEARANCE``, with their signed distance (m)."""

    k: Int[Array, " m"]
    t: Int[Array, " m"]
    a: Int[Array, " m"]
    distance: Float64[Array, " m"]


@dataclass(frozen=True, eq=False)
class Contacts:
    """First contact of each motion k with each other a, ordered by motion, then time.

    ``overlapping`` marks pairs that overlapped from the start; these take no part. ``ignored`` are pairs whose
    contact is not the ego's fault, or that overlapped from the start.
    """

    k: Int[Array, " n"]
    t: Int[Array, " n"]
    a: Int[Array, " n"]
    kind: Int[Array, " n"]
    overlapping: Bool[Array, "k a"]


def near_pairs(situation: Situation) -> Near:
    """All pairs within ``CLEARANCE``: circles first, then the exact boxes of those that are left."""
    traffic, steps = situation.traffic, len(situation.times)
    reach = 0.5 * np.hypot(*situation.size) + 0.5 * np.hypot(traffic.size[:, 0], traffic.size[:, 1]) + CLEARANCE
    rows = np.flatnonzero(_in_fan(situation, reach))
    x, y = (np.ascontiguousarray(traffic.pose[rows, :steps, i].T) for i in (0, 1))
    there = np.where(traffic.valid[rows, :steps].T, reach[rows] ** 2, -1.0)
    found = []
    for first in range(0, situation.count, chunk := _chunk(steps, len(rows))):
        ego = situation.pose[first : first + chunk]
        squared = (ego[:, :, None, 0] - x) ** 2
        squared += (ego[:, :, None, 1] - y) ** 2
        k, t, a = np.nonzero(squared < there)
        found.append((k + first, t, rows[a]))
    k, t, a = (np.concatenate(parts) for parts in zip(*found, strict=True))
    distance = box_distance(situation.pose[k, t], situation.size, traffic.pose[a, t], traffic.size[a])
    return Near(k, t, a, distance)


def contacts(situation: Situation) -> Contacts:
    """The first contact of each pair that did not overlap from the start, with its kind."""
    near = situation.shared(near_pairs)
    touching = near.distance < 0.0
    k, t, a = near.k[touching], near.t[touching], near.a[touching]
    others = len(situation.traffic.ids)
    overlapping = np.zeros((situation.count, others), bool)
    overlapping[k[t == 0], a[t == 0]] = True
    new = ~overlapping[k, a]
    order = np.lexsort((a[new], t[new], k[new]))
    k, t, a = k[new][order], t[new][order], a[new][order]
    _, first = np.unique(k * max(others, 1) + a, return_index=True)
    first.sort()
    k, t, a = k[first], t[first], a[first]
    return Contacts(k, t, a, contact_kind(situation, k, t, a), overlapping)


def contact_kind(situation: Situation, k: Array, t: Array, a: Array) -> Int[Array, " n"]:
    """Kinds of contacts that begin between the times ``t - 1`` and ``t``, as they are when the boxes first touch.

    The definitions are NAVSIM's. Looking at the moment of touching, not at the next tenth of a second, keeps a
    fast front from passing for a flank, and an ego that comes to rest in the other car from passing for parked.
    """
    if not len(k):
        return np.zeros(0, np.int64)
    ego, other = _moment_of_contact(situation, k, t, a)
    size = situation.size
    nose, half = 0.5 * size[0], 0.5 * size[1]
    ahead = np.stack([np.cos(ego[:, 2]), np.sin(ego[:, 2])], axis=-1)
    left = np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1)
    bumper = ego[:, :2] + nose * ahead
    front = segment_gap(bumper + half * left, bumper - half * left, other, situation.traffic.size[a]) < BUMPER_REACH
    kind = np.where(front, ContactKind.ACTIVE_FRONT, ContactKind.ACTIVE_LATERAL)
    kind[bearing(ego, other[:, :2], size[0]) > BEHIND] = ContactKind.ACTIVE_REAR
    kind[_others_stand(situation, t, a)] = ContactKind.STOPPED_OTHER
    kind[situation.moved_speed[k, t] <= STOPPED] = ContactKind.STOPPED_EGO
    return kind.astype(np.int64)


def bearing(ego: Float64[Array, "n 3"], xy: Float64[Array, "n 2"], length: float) -> Float64[Array, " n"]:
    """Unsigned angle (rad) from the ego's heading to a point, seen from its rear axle."""
    c, s = np.cos(ego[:, 2]), np.sin(ego[:, 2])
    x = xy[:, 0] - ego[:, 0] + REAR_AXLE * length * c
    y = xy[:, 1] - ego[:, 1] + REAR_AXLE * length * s
    return np.abs(np.arctan2(c * y - s * x, c * x + s * y))


def swept_near(situation: Situation, offsets: Int[Array, " o"]) -> tuple[Array, Array, Array]:
    """Triples (k, t, a) that can meet at one of ``offsets`` (steps) when the ego goes straight on at its speed at t.

    Circles around both that move at the speeds of time t; what the others deviate from that widens theirs.
    """
    steps, dt = len(situation.times), situation.dt
    horizon = float(offsets[-1]) * dt
    traffic = situation.traffic.extended(steps + int(offsets[-1]), dt)
    radius = 0.5 * np.hypot(*situation.size) + 0.5 * np.hypot(traffic.size[:, 0], traffic.size[:, 1])
    slack = _deviation(traffic.pose[..., :2], traffic.velocity, steps, offsets, dt)
    fastest = np.abs(situation.speed).max(initial=0.0) + np.hypot(*np.moveaxis(traffic.velocity, -1, 0)).max(axis=1)
    rows = np.flatnonzero(_in_fan(situation, radius + slack.max(axis=1, initial=0.0) + horizon * fastest))
    x, y = (np.ascontiguousarray(traffic.pose[rows, :steps, i].T) for i in (0, 1))
    vx, vy = (np.ascontiguousarray(traffic.velocity[rows, :steps, i].T) for i in (0, 1))
    limit = (radius[rows, None] + slack[rows]).T ** 2
    found = []
    for first in range(0, situation.count, chunk := _chunk(steps, len(rows))):
        pose, speed = situation.pose[first : first + chunk], situation.speed[first : first + chunk]
        c, s = speed * np.cos(pose[..., 2]), speed * np.sin(pose[..., 2])
        px, py = x - pose[:, :, None, 0], y - pose[:, :, None, 1]
        wx, wy = vx - c[:, :, None], vy - s[:, :, None]
        when = np.clip(-(px * wx + py * wy) / np.maximum(wx * wx + wy * wy, 1e-9), 0.0, horizon)
        px += when * wx
        py += when * wy
        k, t, a = np.nonzero(px * px + py * py < limit)
        found.append((k + first, t, rows[a]))
    k, t, a = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return k, t, a


def _in_fan(situation: Situation, reach: Array) -> Bool[Array, " a"]:
    """Others that come within their ``reach`` (m) of the rectangle around all motions at any time."""
    steps = len(situation.times)
    low, high = situation.pose[..., :2].min(axis=0), situation.pose[..., :2].max(axis=0)
    xy = situation.traffic.pose[:, :steps, :2]
    outside = np.maximum(low - xy, xy - high).max(axis=-1)
    return ((outside < reach[:, None]) & situation.traffic.valid[:, :steps]).any(axis=1)


def _chunk(steps: int, others: int) -> int:
    """Motions at once so that the temporary arrays stay in the cache."""
    return max(1, 200_000 // max(1, steps * others))


def _deviation(xy: Array, velocity: Array, steps: int, offsets: Array, dt: float) -> Float64[Array, "a t"]:
    """How far (m) each gets, ``offsets`` steps after each time, from where its velocity would take it."""
    worst = np.zeros((len(xy), steps))
    for n in offsets:
        off = xy[:, n : n + steps] - xy[:, :steps] - n * dt * velocity[:, :steps]
        np.maximum(worst, off[..., 0] ** 2 + off[..., 1] ** 2, out=worst)
    return np.sqrt(worst)


def _moment_of_contact(situation: Situation, k: Array, t: Array, a: Array) -> tuple[Array, Array]:
    """Poses of ego and other when they first touch between ``t - 1`` and ``t``, in tenths of the step."""
    before = np.maximum(t - 1, 0)
    pose = situation.traffic.pose
    known = situation.traffic.valid[a, before]
    ego_from, ego_to = situation.pose[k, before], situation.pose[k, t]
    other_to = pose[a, t]
    other_from = np.where(known[:, None], pose[a, before], other_to)
    part = np.linspace(0.0, 1.0, SUBSTEPS + 1)[1:, None, None]
    ego, other = _between(ego_from, ego_to, part), _between(other_from, other_to, part)
    touching = box_gap(ego, situation.size, other, situation.traffic.size[a]) < 0.0
    touching[-1] = True
    at, row = np.argmax(touching, axis=0), np.arange(len(k))
    return ego[at, row], other[at, row]


def _between(start: Array, end: Array, part: Array) -> Array:
    end = np.column_stack([end[:, :2], close_heading(end[:, 2], start[:, 2])])
    return start + part * (end - start)


def _others_stand(situation: Situation, t: Array, a: Array) -> Bool[Array, " n"]:
    traffic = situation.traffic
    speed = np.maximum(
        np.hypot(traffic.velocity[a, t, 0], traffic.velocity[a, t, 1]),
        np.hypot(traffic.velocity[a, np.maximum(t - 1, 0), 0], traffic.velocity[a, np.maximum(t - 1, 0), 1]),
    )
    return (speed <= STOPPED) | is_static(traffic.category[a])
