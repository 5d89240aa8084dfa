"""Time to collision: NAVSIM's TTC, carried on to three seconds for the margin."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from alpamayo.validator.contacts import AHEAD, BEHIND, bearing, contacts, swept_near
from alpamayo.validator.geometry import box_gap
from alpamayo.validator.places import places
from alpamayo.validator.rules.collision import at_fault
from alpamayo.validator.situation import Situation
from alpamayo.validator.verdict import RuleResult, first_time

Array = np.ndarray
BOUND = 0.95  # s; nuPlan's. NAVSIM looks at 0, 0.3, 0.6 and 0.9 s, which is the same question
SPACING = 3  # steps of 0.1 s
HORIZON = 3.0  # s
STANDS = 0.005  # m/s


@dataclass(frozen=True, eq=False)
class Meeting:
    """Who the ego meets if it goes straight on at time t: first time to collision ``after`` (s)."""

    k: Int[Array, " n"]
    t: Int[Array, " n"]
    a: Int[Array, " n"]
    after: Float64[Array, " n"]


def time_to_collision(situation: Situation) -> RuleResult:
    """Going straight on at its speed, the ego at no time meets someone within 0.95 s: 1, else 0 (NAVSIM's TTC).

    The others move as the situation says. Someone counts who is ahead (within 30 degrees of the heading, seen
    from the rear axle) or, while the ego reaches over its lane, is off the road or in an intersection, who is not
    behind (150 degrees); never someone who comes from behind. Whoever overlapped from the start, or made a contact
    that was not the ego's fault, does not count. The margin is the time to collision minus 0.95 s, in steps of
    0.3 s and looked at for 3 s.
    """
    met = situation.shared(meetings)
    margins = np.full(situation.pose.shape[:2], HORIZON - BOUND)
    np.minimum.at(margins, (met.k, met.t), met.after - BOUND)
    when = first_time(margins < 0.0, situation.times)
    reasons = _reasons(situation, met, margins, when)
    value = np.isnan(when).astype(np.float64)
    valid = np.ones(situation.count, bool)
    return RuleResult("time_to_collision", "s", value, margins.min(axis=1), valid, when, reasons, margins)


def meetings(situation: Situation) -> Meeting:
    """All (k, t, a) of which the boxes meet within ``HORIZON`` and the other counts."""
    offsets = SPACING * np.arange(round(HORIZON / (SPACING * 0.1)) + 1)
    offsets = np.round(offsets * 0.1 / situation.dt).astype(int)
    k, t, a = swept_near(situation, offsets)
    kept = (np.abs(situation.speed[k, t]) >= STANDS) & ~_past(situation, k, t, a)
    k, t, a = k[kept], t[kept], a[kept]
    after = _first_overlap(situation, k, t, a, offsets)
    met = np.flatnonzero(np.isfinite(after))
    k, t, a, after = k[met], t[met], a[met], after[met]
    counts = _counts(situation, k, t, a, after)
    return Meeting(k[counts], t[counts], a[counts], after[counts])


def _past(situation: Situation, k: Array, t: Array, a: Array) -> Array:
    """Pairs that do not count any more: overlapped from the start, or after a contact that was not at fault."""
    touched, fault = situation.shared(contacts), situation.shared(at_fault)
    over = np.full(touched.overlapping.shape, np.iinfo(np.int64).max)
    over[touched.overlapping] = -1
    over[touched.k[~fault], touched.a[~fault]] = touched.t[~fault]
    return t >= over[k, a]


def _first_overlap(situation: Situation, k: Array, t: Array, a: Array, offsets: Array) -> Float64[Array, " n"]:
    traffic = situation.traffic.extended(len(situation.times) + int(offsets[-1]), situation.dt)
    pose, speed = situation.pose[k, t], situation.speed[k, t]
    step = speed[:, None] * np.stack([np.cos(pose[:, 2]), np.sin(pose[:, 2])], axis=-1) * situation.dt
    after = np.full(len(k), np.inf)
    for n in offsets:
        rows = np.flatnonzero(np.isinf(after))
        if not len(rows):
            break
        at = t[rows] + n
        moved = np.column_stack([pose[rows, :2] + n * step[rows], pose[rows, 2]])
        gap = box_gap(moved, situation.size, traffic.pose[a[rows], at], traffic.size[a[rows]])
        hit = (gap < 0.0) & traffic.valid[a[rows], at]
        after[rows[hit]] = n * situation.dt
    return after


def _counts(situation: Situation, k: Array, t: Array, a: Array, after: Array) -> Array:
    at = t + np.round(after / situation.dt).astype(int)
    traffic = situation.traffic.extended(int(at.max(initial=0)) + 1, situation.dt)
    pose = situation.pose[k, t]
    length = float(situation.size[0])
    angle = bearing(pose, traffic.pose[a, at, :2], length)
    before = bearing(pose, traffic.pose[a, t, :2], length) > BEHIND
    counts = (angle < AHEAD) & ~before
    open_ = np.flatnonzero(~counts & (angle <= BEHIND) & ~before)
    if len(open_) and (situation.scene.road_map.lanes or situation.area.known):
        rows, back = np.unique(k[open_] * len(situation.times) + t[open_], return_inverse=True)
        where = places(situation, situation.pose.reshape(-1, 3)[rows])
        anyone = where.several_lanes | where.off_road | where.in_intersection
        counts[open_] = anyone[back]
    return counts


def _reasons(situation: Situation, met: Meeting, margins: Array, when: Array) -> tuple[str, ...]:
    said = []
    for k in range(situation.count):
        if np.isfinite(when[k]):
            t = int(np.argmax(margins[k] < 0.0))
            here = np.flatnonzero((met.k == k) & (met.t == t))
            row = here[np.argmin(met.after[here])]
            who = situation.traffic.ids[met.a[row]]
            turn = math.degrees(
                math.remainder(situation.traffic.pose[met.a[row], t, 2] - situation.pose[k, t, 2], math.tau)
            )
            said.append(f"{met.after[row]:.1f} s from {who!r} ({turn:+.0f}° to the ego) at {when[k]:.1f} s")
            continue
        least = float(margins[k].min()) + BOUND
        said.append(
            f"never nearer than {least:.1f} s to anyone" if least < HORIZON else f"nobody within {HORIZON:.0f} s"
        )
    return tuple(said)
