"""Who touches whom, when, and how near everybody comes: shared by the collision and time-to-collision rules."""

import enum
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Int32

from alpamayo.validator.motions import MotionBatch, close_heading
from alpamayo.validator.packed import Others, ego_boxes, others
from alpamayo_sim.datatypes.scene import is_static
from alpamayo_sim.geometry import box_separation, segment_gap
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
CLEARANCE = 5.0  # m; whoever is further away is not told apart
STOPPED = 0.05  # m/s, NAVSIM's
BEHIND = np.deg2rad(150.0)
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
class Contacts:
    """First contact of each motion k with each other a, ordered by motion, then time.

    ``overlapping`` marks pairs that overlapped from the start; these take no part.
    """

    k: Int[Array, " n"]
    t: Int[Array, " n"]
    a: Int[Array, " n"]
    kind: Int[Array, " n"]
    overlapping: Bool[Array, "k a"]


def contacts(situation: MotionBatch) -> Contacts:
    """The first contact of each pair that did not overlap from the start, with its kind."""
    first = first_overlaps(situation.shared(ego_boxes), situation.size, situation.shared(others))
    k, a = np.nonzero(first > 0)
    t = first[k, a].astype(np.int64)
    order = np.lexsort((a, t, k))
    k, t, a = k[order], t[order], a[order]
    return Contacts(k, t, a, contact_kind(situation, k, t, a), first == 0)


def clearance(situation: MotionBatch, ignored: Bool[Array, "k a"]) -> Float64[Array, "k t"]:
    """Signed distance (m) to the nearest other who is not ignored, at most ``CLEARANCE``."""
    there = situation.shared(others)
    return clearances_of(situation.shared(ego_boxes), situation.size, there, ignored, CLEARANCE)


def clearances_of(
    ego: Float64[Array, "k t 4"], size: Float64[Array, "2"], there: Others, ignored: Bool[Array, "k a"], furthest: float
) -> Float64[Array, "k t"]:
    """Signed distance (m) of each box of the ego to the nearest other, at most ``furthest``."""
    from alpamayo.validator.kernels.boxes import clearances

    margins = np.full(ego.shape[:2], furthest)
    inputs = [ego, wp.vec2d(*(0.5 * size)), *there.inputs, ignored.view(np.uint8), furthest, margins]
    wp.launch(clearances, dim=len(ego), inputs=inputs, device="cpu")
    return margins


def first_overlaps(ego: Float64[Array, "k t 4"], size: Float64[Array, "2"], there: Others) -> Int32[Array, "k a"]:
    """Step of the first overlap of each motion's box with each other, -1 where there is none."""
    from alpamayo.validator.kernels.boxes import first_contacts

    first = np.full((len(ego), len(there.boxes)), -1, np.int32)
    inputs = [ego, wp.vec2d(*(0.5 * size)), *there.inputs, first]
    wp.launch(first_contacts, dim=len(ego), inputs=inputs, device="cpu")
    return first


def contact_kind(situation: MotionBatch, k: Array, t: Array, a: Array) -> Int[Array, " n"]:
    """Kinds of contacts that begin between the times ``t - 1`` and ``t``, as they are when the boxes first touch.

    The definitions are NAVSIM's. Looking at the moment of touching, not at the next tenth of a second, keeps a
    fast front from passing for a flank, and an ego that comes to rest in the other car from passing for parked.
    """
    if not len(k):
        return np.zeros(0, np.int64)
    ego, other = _moment_of_contact(situation, k, t, a)
    front = _on_bumper(ego, situation.size, other, situation.traffic.size[a], 1.0)
    kind = np.where(front, ContactKind.ACTIVE_FRONT, ContactKind.ACTIVE_LATERAL)
    kind[bearing(ego, other[:, :2], situation.size[0]) > BEHIND] = ContactKind.ACTIVE_REAR
    kind[_others_stand(situation, t, a)] = ContactKind.STOPPED_OTHER
    kind[situation.moved_speed(k, t) <= STOPPED] = ContactKind.STOPPED_EGO
    return kind.astype(np.int64)


def on_rear_bumper(situation: MotionBatch, touched: Contacts) -> Bool[Array, " n"]:
    """Which contacts the ego's rear bumper made, and its front bumper did not."""
    if not len(touched.k):
        return np.zeros(0, bool)
    ego, other = _moment_of_contact(situation, touched.k, touched.t, touched.a)
    front, rear = (
        _on_bumper(ego, situation.size, other, situation.traffic.size[touched.a], end) for end in (1.0, -1.0)
    )
    return rear & ~front


def _on_bumper(ego: Array, size: Array, other: Array, other_size: Array, end: float) -> Bool[Array, " n"]:
    """Whether the other is at the ego's front (``end`` 1) or rear bumper (-1)."""
    ahead = np.stack([np.cos(ego[:, 2]), np.sin(ego[:, 2])], axis=-1)
    left = 0.5 * size[1] * np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1)
    bumper = ego[:, :2] + 0.5 * size[0] * end * ahead
    return segment_gap(bumper + left, bumper - left, other, other_size) < BUMPER_REACH


def bearing(ego: Float64[Array, "n 3"], xy: Float64[Array, "n 2"], length: float) -> Float64[Array, " n"]:
    """Unsigned angle (rad) from the ego's heading to a point, seen from its rear axle."""
    c, s = np.cos(ego[:, 2]), np.sin(ego[:, 2])
    x = xy[:, 0] - ego[:, 0] + REAR_AXLE * length * c
    y = xy[:, 1] - ego[:, 1] + REAR_AXLE * length * s
    return np.abs(np.arctan2(c * y - s * x, c * x + s * y))


def _moment_of_contact(situation: MotionBatch, k: Array, t: Array, a: Array) -> tuple[Array, Array]:
    """Poses of ego and other when they first touch between ``t - 1`` and ``t``, in tenths of the step."""
    before = np.maximum(t - 1, 0)
    pose = situation.traffic.pose
    known = situation.traffic.valid[a, before]
    ego_from, ego_to = situation.pose[k, before], situation.pose[k, t]
    other_to = pose[a, t]
    other_from = np.where(known[:, None], pose[a, before], other_to)
    part = np.linspace(0.0, 1.0, SUBSTEPS + 1)[1:, None, None]
    ego, other = _between(ego_from, ego_to, part), _between(other_from, other_to, part)
    touching = box_separation(ego, situation.size, other, situation.traffic.size[a]) < 0.0
    touching[-1] = True
    at, row = np.argmax(touching, axis=0), np.arange(len(k))
    return ego[at, row], other[at, row]


def _between(start: Array, end: Array, part: Array) -> Array:
    end = np.column_stack([end[:, :2], close_heading(end[:, 2], start[:, 2])])
    return start + part * (end - start)


def _others_stand(situation: MotionBatch, t: Array, a: Array) -> Bool[Array, " n"]:
    traffic = situation.traffic
    speed = np.maximum(
        np.hypot(traffic.velocity[a, t, 0], traffic.velocity[a, t, 1]),
        np.hypot(traffic.velocity[a, np.maximum(t - 1, 0), 0], traffic.velocity[a, np.maximum(t - 1, 0), 1]),
    )
    return (speed <= STOPPED) | is_static(traffic.category[a])
