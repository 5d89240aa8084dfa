"""Contacts between the ego and other agents: which, when and of what kind; and the clearance to the others."""

import enum
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Int32

from alpamayo.validator.motions import MotionBatch, close_heading
from alpamayo.validator.packed import AgentBoxes, agent_boxes, ego_boxes
from alpamayo_sim.constants import FROM_BEHIND_RAD
from alpamayo_sim.datatypes.scene import is_static
from alpamayo_sim.geometry import box_separation, segment_gap
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
CLEARANCE_LIMIT_M = 5.0
"""Clearances are computed up to this distance; beyond it the margin is this."""
STOPPED_MPS = 0.05
"""At most this fast, a road user counts as stopped (NAVSIM)."""
REAR_AXLE = 0.28  # of the length, behind the centre; NAVSIM's vehicle: (4.049 - 1.127) / 2 / 5.176
CONTACT_SUBSTEPS, SHORT_CONTACT_SUBSTEPS = 10, 200
"""The moment of a contact is searched in this many parts of the time step; the second if it lasts less than one."""
BUMPER_TOLERANCE_M = 0.02
"""A bumper this near to the first point of contact has made the contact."""


class ContactKind(enum.IntEnum):
    """How a contact came about (after nuPlan and NAVSIM, which call the other agent "track")."""

    STOPPED_EGO = 0
    STOPPED_OTHER = 1
    ACTIVE_FRONT = 2
    ACTIVE_REAR = 3
    ACTIVE_LATERAL = 4


@dataclass(frozen=True, eq=False)
class Contacts:
    """First contact of each motion with each agent, ordered by motion, then by time.

    Attributes:
        k: index of the motion.
        t: step at which the boxes overlap first; an overlap between two steps counts for the later one.
        a: index of the agent.
        kind: a ``ContactKind``.
        overlapping: pairs that overlap from the start; they have no contact in the list.
    """

    k: Int[Array, " n"]
    t: Int[Array, " n"]
    a: Int[Array, " n"]
    kind: Int[Array, " n"]
    overlapping: Bool[Array, "k a"]


def contacts(motions: MotionBatch) -> Contacts:
    """Find the first contact of each pair that does not overlap from the start."""
    first = first_overlaps(motions.cached(ego_boxes), motions.size, motions.cached(agent_boxes))
    k, a = np.nonzero(first > 0)
    t = first[k, a].astype(np.int64)
    order = np.lexsort((a, t, k))
    k, t, a = k[order], t[order], a[order]
    return Contacts(k, t, a, contact_kind(motions, k, t, a), first == 0)


def clearance(motions: MotionBatch, ignored: Bool[Array, "k a"]) -> Float64[Array, "k t"]:
    """Compute the signed distance (m) to the nearest agent that is not ignored, at most ``CLEARANCE_LIMIT_M``."""
    boxes = motions.cached(agent_boxes)
    return box_clearances(motions.cached(ego_boxes), motions.size, boxes, ignored, CLEARANCE_LIMIT_M)


def box_clearances(
    ego: Float64[Array, "k t 4"],
    size: Float64[Array, "2"],
    agents: AgentBoxes,
    ignored: Bool[Array, "k a"],
    limit_m: float,
) -> Float64[Array, "k t"]:
    """Compute the signed distance (m) of each ego box to the nearest agent that is not ignored, at most ``limit_m``."""
    from alpamayo.validator.kernels.boxes import clearances

    margins = np.full(ego.shape[:2], limit_m)
    inputs = [ego, wp.vec2d(*(0.5 * size)), *agents.inputs, ignored.view(np.uint8), limit_m, margins]
    wp.launch(clearances, dim=len(ego), inputs=inputs, device="cpu")
    return margins


def first_overlaps(ego: Float64[Array, "k t 4"], size: Float64[Array, "2"], agents: AgentBoxes) -> Int32[Array, "k a"]:
    """Find the step at which each motion's box overlaps each agent first; -1 where it never does.

    Both move straight from one step to the next: boxes that pass through each other in between overlap too.
    """
    from alpamayo.validator.kernels.boxes import first_contacts

    first = np.full((len(ego), len(agents.boxes)), -1, np.int32)
    inputs = [ego, wp.vec2d(*(0.5 * size)), *agents.inputs, first]
    wp.launch(first_contacts, dim=len(ego), inputs=inputs, device="cpu")
    return first


def contact_kind(motions: MotionBatch, k: Array, t: Array, a: Array) -> Int[Array, " n"]:
    """Classify contacts that begin between the times ``t - 1`` and ``t``, at the moment the boxes touch first.

    The definitions are NAVSIM's. The moment of touching is used instead of the next time step. Otherwise a fast front
    contact would look like a side contact, and an ego that the crash stops would look like a parked one.
    """
    if not len(k):
        return np.zeros(0, np.int64)
    ego, other = _poses_at_contact(motions, k, t, a)
    front = _touches_bumper(ego, motions.size, other, motions.traffic.size[a], 1.0)
    kind = np.where(front, ContactKind.ACTIVE_FRONT, ContactKind.ACTIVE_LATERAL)
    kind[bearing(ego, other[:, :2], motions.size[0]) > FROM_BEHIND_RAD] = ContactKind.ACTIVE_REAR
    kind[_is_stopped(motions, t, a)] = ContactKind.STOPPED_OTHER
    kind[motions.moved_speed(k, t) <= STOPPED_MPS] = ContactKind.STOPPED_EGO
    return kind.astype(np.int64)


def on_rear_bumper(motions: MotionBatch, found: Contacts) -> Bool[Array, " n"]:
    """Return which contacts were made by the ego's rear bumper and not by its front bumper."""
    if not len(found.k):
        return np.zeros(0, bool)
    ego, other = _poses_at_contact(motions, found.k, found.t, found.a)
    other_size = motions.traffic.size[found.a]
    front, rear = (_touches_bumper(ego, motions.size, other, other_size, end) for end in (1.0, -1.0))
    return rear & ~front


def _touches_bumper(ego: Array, size: Array, other: Array, other_size: Array, end: float) -> Bool[Array, " n"]:
    """Return whether the other box is at the ego's front bumper (``end`` 1) or rear bumper (-1)."""
    forward = np.stack([np.cos(ego[:, 2]), np.sin(ego[:, 2])], axis=-1)
    left = 0.5 * size[1] * np.stack([-forward[:, 1], forward[:, 0]], axis=-1)
    bumper = ego[:, :2] + 0.5 * size[0] * end * forward
    return segment_gap(bumper + left, bumper - left, other, other_size) < BUMPER_TOLERANCE_M


def bearing(ego: Float64[Array, "n 3"], xy: Float64[Array, "n 2"], length: float) -> Float64[Array, " n"]:
    """Compute the unsigned angle (rad) from the ego's heading to a point, seen from its rear axle."""
    c, s = np.cos(ego[:, 2]), np.sin(ego[:, 2])
    x = xy[:, 0] - ego[:, 0] + REAR_AXLE * length * c
    y = xy[:, 1] - ego[:, 1] + REAR_AXLE * length * s
    return np.abs(np.arctan2(c * y - s * x, c * x + s * y))


def _poses_at_contact(motions: MotionBatch, k: Array, t: Array, a: Array) -> tuple[Array, Array]:
    """Interpolate the poses of ego and agent to the first part of the step at which they touch."""
    before = np.maximum(t - 1, 0)
    pose = motions.traffic.pose
    known = motions.traffic.valid[a, before]
    ego_from, ego_to = motions.pose[k, before], motions.pose[k, t]
    other_to = pose[a, t]
    other_from = np.where(known[:, None], pose[a, before], other_to)
    sizes = motions.size, motions.traffic.size[a]
    ego_path, other_path = (ego_from, ego_to), (other_from, other_to)
    part, touches = _first_touch(ego_path, other_path, sizes, CONTACT_SUBSTEPS)
    short = np.flatnonzero(~touches)
    if len(short):
        paths = [(start[short], end[short]) for start, end in (ego_path, other_path)]
        part[short], _ = _first_touch(paths[0], paths[1], (sizes[0], sizes[1][short]), SHORT_CONTACT_SUBSTEPS)
    return _interpolate(ego_from, ego_to, part[:, None]), _interpolate(other_from, other_to, part[:, None])


def _first_touch(
    ego: tuple[Array, Array], other: tuple[Array, Array], sizes: tuple[Array, Array], substeps: int
) -> tuple[Float64[Array, " n"], Bool[Array, " n"]]:
    """Return the first of some equal parts of a step at which boxes touch, else its end, and whether they touch.

    ``ego`` and ``other`` are poses at the start and at the end of the step.
    """
    fraction = np.linspace(0.0, 1.0, substeps + 1)[1:]
    poses = [_interpolate(start, end, fraction[:, None, None]) for start, end in (ego, other)]
    touching = box_separation(poses[0], sizes[0], poses[1], sizes[1]) < 0.0
    touches = touching.any(axis=0)
    return np.where(touches, fraction[np.argmax(touching, axis=0)], 1.0), touches


def _interpolate(start: Array, end: Array, fraction: Array) -> Array:
    end = np.column_stack([end[:, :2], close_heading(end[:, 2], start[:, 2])])
    return start + fraction * (end - start)


def _is_stopped(motions: MotionBatch, t: Array, a: Array) -> Bool[Array, " n"]:
    """Return whether agents are static, or stopped at both ends of the step."""
    traffic = motions.traffic
    speed = np.maximum(
        np.hypot(traffic.velocity[a, t, 0], traffic.velocity[a, t, 1]),
        np.hypot(traffic.velocity[a, np.maximum(t - 1, 0), 0], traffic.velocity[a, np.maximum(t - 1, 0), 1]),
    )
    return (speed <= STOPPED_MPS) | is_static(traffic.category[a])
