"""At-fault collision: NAVSIM's NC, with every contact counted and the moment of touching looked at."""

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.validator.contacts import CLEARANCE_LIMIT_M, ContactKind, Contacts, clearance, contacts
from alpamayo.validator.lane_occupancy import lane_occupancy
from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.verdict import Reasons, RuleResult
from alpamayo_sim.datatypes.scene import Category, is_static

Array = np.ndarray
STATIC_VALUE = 0.5
HOW = {
    ContactKind.STOPPED_EGO: "is struck by {} while it stands",
    ContactKind.STOPPED_OTHER: "runs into {}, which stands",
    ContactKind.ACTIVE_FRONT: "hits {} with its front",
    ContactKind.ACTIVE_REAR: "is struck from behind by {}",
    ContactKind.ACTIVE_LATERAL: "touches {} with its side",
}


def at_fault_collision(motions: MotionBatch) -> RuleResult:
    """No contact that the ego is to blame for: 1, 0 with a road user, 0.5 with a prop (NAVSIM's NC).

    At fault are contacts of the ego's front, with someone who stands, and of its side while it reaches over its
    lane or leaves the road. Not at fault: an ego that stands, a contact from behind, those who overlap from the
    start; whoever made such a contact is not looked at again. The margin is the least clearance (m) to all
    others, at most ``CLEARANCE_LIMIT_M``.
    """
    touched, fault = motions.cached(contacts), motions.cached(at_fault)
    margins = clearance(motions, ignored(motions))
    return RuleResult(
        name="at_fault_collision",
        unit="m",
        value=motions.cached(collision_value),
        margin=margins.min(axis=1),
        valid=np.ones(motions.count, bool),
        violation_time=first_contact(motions, touched, fault),
        reasons=_reasons(motions, touched, fault, margins),
        margins=margins,
    )


def collision_value(motions: MotionBatch) -> Float64[Array, " k"]:
    """The value of ``at_fault_collision``."""
    touched, fault = motions.cached(contacts), motions.cached(at_fault)
    static = is_static(motions.traffic.category)
    value = np.ones(motions.count)
    np.minimum.at(value, touched.k[fault], np.where(static[touched.a[fault]], STATIC_VALUE, 0.0))
    return value


def at_fault(motions: MotionBatch) -> Bool[Array, " n"]:
    """Which of the motions's ``contacts`` the ego is to blame for.

    Without lanes nobody can tell whose lane it was, and a contact of the side counts against the ego.
    """
    touched = motions.cached(contacts)
    fault = (touched.kind == ContactKind.ACTIVE_FRONT) | (touched.kind == ContactKind.STOPPED_OTHER)
    side = np.flatnonzero(touched.kind == ContactKind.ACTIVE_LATERAL)
    if not len(side):
        return fault
    where = lane_occupancy(motions, motions.pose[touched.k[side], touched.t[side]])
    known = bool(motions.scene.road_map.lanes)
    fault[side] = where.several_lanes | where.off_road | (not known)
    return fault


def ignored(motions: MotionBatch) -> Bool[Array, "k a"]:
    """Whom each motion does not count: who overlaps from the start, and whose contact was not the ego's fault."""
    touched, fault = motions.cached(contacts), motions.cached(at_fault)
    out = touched.overlapping.copy()
    out[touched.k[~fault], touched.a[~fault]] = True
    return out


def first_contact(motions: MotionBatch, touched: Contacts, chosen: Array) -> Float64[Array, " k"]:
    """Time (s) of each motion's first contact among the ``chosen``, NaN where there is none."""
    first = np.full(motions.count, np.inf)
    np.minimum.at(first, touched.k[chosen], motions.times[touched.t[chosen]])
    return np.where(np.isfinite(first), first, np.nan)


def _reasons(motions: MotionBatch, touched: Contacts, fault: Array, margins: Array) -> Reasons:
    least = margins.min(axis=1)

    def say(k: int) -> str:
        rows = np.flatnonzero(touched.k == k)
        if len(rows):
            return "; ".join(_contact(motions, touched, int(row), bool(fault[row])) for row in rows)
        if least[k] < CLEARANCE_LIMIT_M:
            return f"nearest other is {least[k]:.2f} m away"
        return f"nobody within {CLEARANCE_LIMIT_M:.0f} m"

    return Reasons(motions.count, say)


def _contact(motions: MotionBatch, touched: Contacts, row: int, blame: bool) -> str:
    k, t, a = int(touched.k[row]), int(touched.t[row]), int(touched.a[row])
    what = Category(int(motions.traffic.category[a])).name.lower()
    how = HOW[ContactKind(int(touched.kind[row]))].format(f"{what} {motions.traffic.ids[a]!r}")
    text = f"{how} at {motions.times[t]:.1f} s and {abs(motions.speed[k, t]):.1f} m/s"
    return text if blame else f"{text} (not at fault)"
