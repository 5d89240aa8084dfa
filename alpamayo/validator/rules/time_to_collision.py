"""Time to collision: NAVSIM's TTC, carried on to three seconds for the margin; at constant velocity or acceleration."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, UInt64

from alpamayo.validator.contacts import REAR_AXLE, contacts
from alpamayo.validator.lane_occupancy import lane_occupancy
from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.packed import columns, ego_boxes
from alpamayo.validator.rules.collision import at_fault
from alpamayo.validator.rules.kinematics import WINDOW, motion
from alpamayo.validator.verdict import Reasons, RuleResult, first_time
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
BOUND = 0.95  # s; nuPlan's. NAVSIM looks at 0, 0.3, 0.6 and 0.9 s, which is the same question
SPACING = 0.3  # s
HORIZON = 3.0  # s
SOON = 0.9  # s; the last time that is looked at for the value
STANDS = 0.005  # m/s
SLACK = 1e-6  # m; room for rounding in the bounds


@dataclass(frozen=True, eq=False)
class Meetings:
    """Time to collision (s) with whoever counts, and who that is; infinite and -1 where it is nobody."""

    after: Float64[Array, "k t"]
    whom: Int32[Array, "k t"]


def time_to_collision(situation: MotionBatch) -> RuleResult:
    """Going straight on at its speed, the ego at no time meets someone within 0.95 s: 1, else 0 (NAVSIM's TTC).

    The others move as the situation says. Someone counts who is ahead (within 30 degrees of the heading, seen
    from the rear axle) or, while the ego reaches over its lane, is off the road or in an intersection, who is not
    behind (150 degrees); never someone who comes from behind. Whoever overlapped from the start, or made a contact
    that was not the ego's fault, does not count. The margin is the time to collision minus 0.95 s, in steps of
    0.3 s and looked at for 3 s.
    """
    return _result(situation, "time_to_collision", meetings(situation, np.zeros(situation.speed.shape)))


def time_to_collision_accelerated(situation: MotionBatch) -> RuleResult:
    """The same for an ego that goes on at its present acceleration, down to rest; see ``time_to_collision``."""
    name = "time_to_collision_accelerated"
    return _result(situation, name, meetings(situation, situation.shared(_acceleration)))


def stays_clear(situation: MotionBatch) -> Float64[Array, " k"]:
    """The value of ``time_to_collision``; no further is looked than that takes."""
    soon = meetings(situation, np.zeros(situation.speed.shape), _future(situation, SOON)).after < BOUND
    return (~soon.any(axis=1)).astype(np.float64)


def meetings(situation: MotionBatch, acceleration: Float64[Array, "k t"], future: object = None) -> Meetings:
    """Whom the ego meets first within ``HORIZON`` when it goes straight on from each time with an acceleration.

    With a ``future`` of another horizon, within that.
    """
    future = situation.shared(_whole_future) if future is None else future
    ahead, beside = _sweep(situation, acceleration, future, _who_may_be_met(situation, acceleration, future))
    k, t = np.nonzero(beside.after < ahead.after)
    if len(k) and (situation.scene.road_map.lanes or situation.area.known):
        where = lane_occupancy(situation, situation.pose[k, t])
        anyone = where.several_lanes | where.off_road | where.in_intersection
        k, t = k[anyone], t[anyone]
        ahead.after[k, t], ahead.whom[k, t] = beside.after[k, t], beside.whom[k, t]
    return ahead


def _sweep(situation: MotionBatch, acceleration: Array, future: object, who: Array) -> tuple[Meetings, Meetings]:
    """First meetings, among the candidates, with those ahead, and with those beside."""
    from alpamayo.validator.kernels.time_to_collision import times_to_collision

    shape = situation.speed.shape
    found = [Meetings(np.full(shape, np.inf), np.full(shape, -1, np.int32)) for _ in range(2)]
    inputs = [
        *(situation.shared(ego_boxes), np.ascontiguousarray(situation.speed), acceleration),
        *(wp.vec2d(*(0.5 * situation.size)), float(REAR_AXLE * situation.size[0])),
        *(future, who, situation.shared(_until)),
        *(found[0].after, found[0].whom, found[1].after, found[1].whom),
    ]
    wp.launch(times_to_collision, dim=situation.count, inputs=inputs, device="cpu")
    return found[0], found[1]


def _who_may_be_met(situation: MotionBatch, acceleration: Array, future: object) -> UInt64[Array, "k t words"]:
    """Who may be met at accelerations from none to that given, a bit for each."""
    from alpamayo.validator.kernels.time_to_collision import candidates

    shape = situation.speed.shape
    who = np.empty((*shape, -(-len(situation.traffic.ids) // 64)), np.uint64)
    inputs = [
        *(situation.shared(ego_boxes), np.ascontiguousarray(situation.speed), acceleration),
        *(wp.vec2d(*(0.5 * situation.size)), future, STANDS, who),
    ]
    wp.launch(candidates, dim=situation.count, inputs=inputs, device="cpu")
    return who


def _acceleration(situation: MotionBatch) -> Float64[Array, "k t"]:
    """The present acceleration (m/s²); none where there are too few poses to tell."""
    if situation.pose.shape[1] <= WINDOW:
        return np.zeros(situation.speed.shape)
    return np.ascontiguousarray(situation.shared(motion)[0])


def _whole_future(situation: MotionBatch) -> object:
    return _future(situation, HORIZON)


def _future(situation: MotionBatch, horizon: float) -> object:
    """The others now and within a horizon (s), as the compiled loops take them."""
    from alpamayo.validator.kernels.time_to_collision import Future, look_ahead

    steps, dt, there = len(situation.times), situation.dt, situation.shared(columns)
    spacing = max(round(SPACING / dt), 1)
    last = round(horizon / (spacing * dt)) * spacing
    traffic = situation.traffic.extended(steps + last, dt)
    count, wide = len(traffic.ids), there.halves.shape[1]
    halves, off = np.zeros((3, wide)), np.full((steps, wide), -np.inf)
    halves[:2] = there.halves
    arrays = {
        "boxes": (np.ascontiguousarray(traffic.boxes[:, : steps + last]), wp.vec4d),
        "valid": (np.ascontiguousarray(traffic.valid[:, : steps + last]).view(np.uint8), wp.uint8),
        "rows": (there.rows, wp.float64),
        "halves": (halves, wp.float64),
        "off": (off, wp.float64),
    }
    future = Future()
    for name, (array, dtype) in arrays.items():
        setattr(future, name, wp.array(array, dtype=dtype, device="cpu", copy=False))
    future.dt, future.spacing, future.last = dt, spacing, last
    wp.launch(look_ahead, dim=count, inputs=[future, SLACK], device="cpu")
    return future


def _until(situation: MotionBatch) -> Int32[Array, "k a"]:
    """Step from which on a pair does not count any more: it overlapped from the start, or its contact was no fault."""
    touched, fault = situation.shared(contacts), situation.shared(at_fault)
    until = np.full(touched.overlapping.shape, np.iinfo(np.int32).max, np.int32)
    until[touched.overlapping] = -1
    until[touched.k[~fault], touched.a[~fault]] = touched.t[~fault]
    return until


def _result(situation: MotionBatch, name: str, met: Meetings) -> RuleResult:
    margins = np.minimum(met.after, HORIZON) - BOUND
    when = first_time(margins < 0.0, situation.times)
    value = np.isnan(when).astype(np.float64)
    valid = np.ones(situation.count, bool)
    reasons = Reasons(situation.count, lambda k: _reason(situation, met, k, float(when[k])))
    return RuleResult(name, "s", value, margins.min(axis=1), valid, when, reasons, margins)


def _reason(situation: MotionBatch, met: Meetings, k: int, when: float) -> str:
    if np.isfinite(when):
        t = round(when / situation.dt)
        a = int(met.whom[k, t])
        turn = math.degrees(math.remainder(situation.traffic.pose[a, t, 2] - situation.pose[k, t, 2], math.tau))
        return f"{met.after[k, t]:.1f} s from {situation.traffic.ids[a]!r} ({turn:+.0f}° to the ego) at {when:.1f} s"
    least = float(met.after[k].min())
    return f"never nearer than {least:.1f} s to anyone" if least < HORIZON else f"nobody within {HORIZON:.0f} s"
