"""At-fault collision: NAVSIM's NC; every contact counts, and it is judged at the moment of touching."""

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.validator.contacts import CLEARANCE_LIMIT_M, ContactKind, Contacts, clearance, contacts
from alpamayo.validator.lane_occupancy import lane_occupancy
from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.rule import Rule
from alpamayo.validator.verdict import VIOLATION_MARGIN, Reasons, RuleResult
from alpamayo_sim.datatypes.scene import Category, is_static

Array = np.ndarray
PROP_CONTACT_VALUE = 0.5
"""Value after an at-fault contact with a prop (NAVSIM)."""
EGO_PART = {
    ContactKind.STOPPED_EGO: ", ego stopped",
    ContactKind.STOPPED_OTHER: "",
    ContactKind.ACTIVE_FRONT: ", ego front",
    ContactKind.ACTIVE_REAR: ", ego rear",
    ContactKind.ACTIVE_LATERAL: ", ego side",
}


def at_fault_collision(motions: MotionBatch) -> RuleResult:
    """Judge contacts that are the ego's fault: 1 without any, 0 with a road user, 0.5 with a prop.

    At fault: a contact of the ego's front, a contact with a stopped agent, and a contact of the ego's side while the
    ego overlaps several lanes or is off the road. Not at fault: a stopped ego, and a contact from behind. Pairs that
    overlap from the start are ignored, and so is an agent after a contact with it that was not the ego's fault. The
    margin is the least clearance (m) to the other agents, at most ``CLEARANCE_LIMIT_M``.
    """
    found, fault = motions.cached(contacts), motions.cached(at_fault)
    margins = clearance(motions, ignored_agents(motions))
    where = found.k[fault], found.t[fault]
    margins[where] = np.minimum(margins[where], -VIOLATION_MARGIN)
    return RuleResult(
        value=motions.cached(collision_value),
        margin=margins.min(axis=1),
        valid=np.ones(motions.count, bool),
        violation_time=first_contact_time(motions, found, fault),
        reasons=_reasons(motions, found, fault, margins),
        margins=margins,
    )


def collision_value(motions: MotionBatch) -> Float64[Array, " k"]:
    """Return the value of ``at_fault_collision``."""
    found, fault = motions.cached(contacts), motions.cached(at_fault)
    static = is_static(motions.traffic.category)
    value = np.ones(motions.count)
    np.minimum.at(value, found.k[fault], np.where(static[found.a[fault]], PROP_CONTACT_VALUE, 0.0))
    return value


def at_fault(motions: MotionBatch) -> Bool[Array, " n"]:
    """Return which of the motions' ``contacts`` are the ego's fault.

    Without lanes on the map the right of way of a side contact is unknown; it then counts against the ego.
    """
    found = motions.cached(contacts)
    fault = (found.kind == ContactKind.ACTIVE_FRONT) | (found.kind == ContactKind.STOPPED_OTHER)
    side = np.flatnonzero(found.kind == ContactKind.ACTIVE_LATERAL)
    if not len(side):
        return fault
    where = lane_occupancy(motions, found.k[side], found.t[side])
    has_lanes = bool(motions.scene.road_map.lanes)
    fault[side] = where.several_lanes | where.off_road | (not has_lanes)
    return fault


def ignored_agents(motions: MotionBatch) -> Bool[Array, "k a"]:
    """Return the agents that each motion ignores: overlapping from the start, or touched without the ego's fault."""
    found, fault = motions.cached(contacts), motions.cached(at_fault)
    out = found.overlapping.copy()
    out[found.k[~fault], found.a[~fault]] = True
    return out


def first_contact_time(motions: MotionBatch, found: Contacts, chosen: Array) -> Float64[Array, " k"]:
    """Return the time (s) of each motion's first contact among the ``chosen``, NaN where there is none."""
    first = np.full(motions.count, np.inf)
    np.minimum.at(first, found.k[chosen], motions.times[found.t[chosen]])
    return np.where(np.isfinite(first), first, np.nan)


def _reasons(motions: MotionBatch, found: Contacts, fault: Array, margins: Array) -> Reasons:
    least = margins.min(axis=1)

    def describe(k: int) -> str:
        rows = np.flatnonzero(found.k == k)
        if len(rows):
            return "; ".join(_describe_contact(motions, found, int(row), bool(fault[row])) for row in rows)
        if least[k] < CLEARANCE_LIMIT_M:
            return f"nearest agent at {least[k]:.2f} m"
        return f"no agent within {CLEARANCE_LIMIT_M:.0f} m"

    return Reasons(motions.count, describe)


def _describe_contact(motions: MotionBatch, found: Contacts, row: int, fault: bool) -> str:
    k, t, a = int(found.k[row]), int(found.t[row]), int(found.a[row])
    kind = ContactKind(int(found.kind[row]))
    agent = f"{Category(int(motions.traffic.category[a])).name.lower()} {motions.traffic.ids[a]!r}"
    stopped = "stopped " if kind == ContactKind.STOPPED_OTHER else ""
    speed = abs(motions.speed[k, t])
    text = f"contact with {stopped}{agent} at {motions.times[t]:.1f} s{EGO_PART[kind]}, {speed:.1f} m/s"
    return text if fault else f"{text} (not at fault)"


RULES = (
    Rule(
        name="at_fault_collision",
        unit="m",
        summary="The ego has no contact that is its fault.",
        source="NAVSIM NC, attribution of fault in docs/validator/definitions.md",
        evaluate=at_fault_collision,
        hard=True,
        aliases=("nc", "no_at_fault_collision", "no_at_fault_collisions"),
    ),
)
