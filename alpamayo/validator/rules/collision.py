"""At-fault collision: NAVSIM's NC, with every contact counted and the moment of touching looked at."""

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.validator.contacts import CLEARANCE, ContactKind, Contacts, contacts, near_pairs
from alpamayo.validator.places import places
from alpamayo.validator.situation import Situation, is_static
from alpamayo.validator.verdict import RuleResult
from alpamayo_sim.scene import Category

Array = np.ndarray
STATIC_VALUE = 0.5
HOW = {
    ContactKind.STOPPED_EGO: "is struck by {} while it stands",
    ContactKind.STOPPED_OTHER: "runs into {}, which stands",
    ContactKind.ACTIVE_FRONT: "hits {} with its front",
    ContactKind.ACTIVE_REAR: "is struck from behind by {}",
    ContactKind.ACTIVE_LATERAL: "touches {} with its side",
}


def at_fault_collision(situation: Situation) -> RuleResult:
    """No contact that the ego is to blame for: 1, 0 with a road user, 0.5 with a prop (NAVSIM's NC).

    At fault are contacts of the ego's front, with someone who stands, and of its side while it reaches over its
    lane or leaves the road. Not at fault: an ego that stands, a contact from behind, those who overlap from the
    start; whoever made such a contact is not looked at again. The margin is the least clearance (m) to all
    others, at most ``CLEARANCE``.
    """
    touched = situation.shared(contacts)
    fault = situation.shared(at_fault)
    static = is_static(situation.traffic.category)
    value = np.ones(situation.count)
    np.minimum.at(value, touched.k[fault], np.where(static[touched.a[fault]], STATIC_VALUE, 0.0))
    margins = clearance(situation)
    return RuleResult(
        name="at_fault_collision",
        unit="m",
        value=value,
        margin=margins.min(axis=1),
        valid=np.ones(situation.count, bool),
        violation_time=first_contact(situation, touched, fault),
        reasons=_reasons(situation, touched, fault, margins),
        margins=margins,
    )


def at_fault(situation: Situation) -> Bool[Array, " n"]:
    """Which of the situation's ``contacts`` the ego is to blame for.

    Without lanes nobody can tell whose lane it was, and a contact of the side counts against the ego.
    """
    touched = situation.shared(contacts)
    fault = np.isin(touched.kind, (ContactKind.ACTIVE_FRONT, ContactKind.STOPPED_OTHER))
    side = np.flatnonzero(touched.kind == ContactKind.ACTIVE_LATERAL)
    if not len(side):
        return fault
    where = places(situation, situation.pose[touched.k[side], touched.t[side]])
    known = bool(situation.scene.road_map.lanes)
    fault[side] = where.several_lanes | where.off_road | (not known)
    return fault


def clearance(situation: Situation) -> Float64[Array, "k t"]:
    """Signed distance (m) to the nearest other who counts, at most ``CLEARANCE``."""
    near, touched = situation.shared(near_pairs), situation.shared(contacts)
    ignored = touched.overlapping.copy()
    fault = situation.shared(at_fault)
    ignored[touched.k[~fault], touched.a[~fault]] = True
    counts = ~ignored[near.k, near.a]
    margins = np.full(situation.pose.shape[:2], CLEARANCE)
    np.minimum.at(margins, (near.k[counts], near.t[counts]), near.distance[counts])
    return margins


def first_contact(situation: Situation, touched: Contacts, chosen: Array) -> Float64[Array, " k"]:
    """Time (s) of each motion's first contact among the ``chosen``, NaN where there is none."""
    first = np.full(situation.count, np.inf)
    np.minimum.at(first, touched.k[chosen], situation.times[touched.t[chosen]])
    return np.where(np.isfinite(first), first, np.nan)


def _reasons(situation: Situation, touched: Contacts, fault: Array, margins: Array) -> tuple[str, ...]:
    said: list[list[str]] = [[] for _ in range(situation.count)]
    for k, t, a, kind, blame in zip(touched.k, touched.t, touched.a, touched.kind, fault, strict=True):
        what = Category(int(situation.traffic.category[a])).name.lower()
        how = HOW[ContactKind(int(kind))].format(f"{what} {situation.traffic.ids[a]!r}")
        speed = abs(situation.speed[k, t])
        text = f"{how} at {situation.times[t]:.1f} s and {speed:.1f} m/s"
        said[k].append(text if blame else f"{text} (not at fault)")
    least = margins.min(axis=1)
    free = [f"nearest other is {d:.2f} m away" if d < CLEARANCE else f"nobody within {CLEARANCE:.0f} m" for d in least]
    return tuple("; ".join(texts) if texts else free[k] for k, texts in enumerate(said))
