"""Time to collision: NAVSIM's TTC, carried on to three seconds for the margin; at constant velocity or acceleration."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, UInt64

from alpamayo.validator.contacts import REAR_AXLE, contacts
from alpamayo.validator.lane_occupancy import lane_occupancy
from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.packed import agent_columns, ego_boxes
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


def time_to_collision(motions: MotionBatch) -> RuleResult:
    """Going straight on at its speed, the ego at no time meets someone within 0.95 s: 1, else 0 (NAVSIM's TTC).

    The others move as the situation says. Someone counts who is ahead (within 30 degrees of the heading, seen
    from the rear axle) or, while the ego reaches over its lane, is off the road or in an intersection, who is not
    behind (150 degrees); never someone who comes from behind. Whoever overlapped from the start, or made a contact
    that was not the ego's fault, does not count. The margin is the time to collision minus 0.95 s, in steps of
    0.3 s and looked at for 3 s.
    """
    return _result(motions, "time_to_collision", meetings(motions, np.zeros(motions.speed.shape)))


def time_to_collision_accelerated(motions: MotionBatch) -> RuleResult:
    """The same for an ego that goes on at its present acceleration, down to rest; see ``time_to_collision``."""
    name = "time_to_collision_accelerated"
    return _result(motions, name, meetings(motions, motions.cached(_acceleration)))


def time_to_collision_value(motions: MotionBatch) -> Float64[Array, " k"]:
    """The value of ``time_to_collision``; no further is looked than that takes."""
    soon = meetings(motions, np.zeros(motions.speed.shape), _future(motions, SOON)).after < BOUND
    return (~soon.any(axis=1)).astype(np.float64)


def meetings(motions: MotionBatch, acceleration: Float64[Array, "k t"], future: object = None) -> Meetings:
    """Whom the ego meets first within ``HORIZON`` when it goes straight on from each time with an acceleration.

    With a ``future`` of another horizon, within that.
    """
    future = motions.cached(_whole_future) if future is None else future
    ahead, beside = _sweep(motions, acceleration, future, _who_may_be_met(motions, acceleration, future))
    k, t = np.nonzero(beside.after < ahead.after)
    if len(k) and (motions.scene.road_map.lanes or motions.map_index.drivable_area.is_defined):
        where = lane_occupancy(motions, motions.pose[k, t])
        anyone = where.several_lanes | where.off_road | where.in_intersection
        k, t = k[anyone], t[anyone]
        ahead.after[k, t], ahead.whom[k, t] = beside.after[k, t], beside.whom[k, t]
    return ahead


def _sweep(motions: MotionBatch, acceleration: Array, future: object, who: Array) -> tuple[Meetings, Meetings]:
    """First meetings, among the candidates, with those ahead, and with those beside."""
    from alpamayo.validator.kernels.time_to_collision import times_to_collision

    shape = motions.speed.shape
    found = [Meetings(np.full(shape, np.inf), np.full(shape, -1, np.int32)) for _ in range(2)]
    inputs = [
        *(motions.cached(ego_boxes), np.ascontiguousarray(motions.speed), acceleration),
        *(wp.vec2d(*(0.5 * motions.size)), float(REAR_AXLE * motions.size[0])),
        *(future, who, motions.cached(_until)),
        *(found[0].after, found[0].whom, found[1].after, found[1].whom),
    ]
    wp.launch(times_to_collision, dim=motions.count, inputs=inputs, device="cpu")
    return found[0], found[1]


def _who_may_be_met(motions: MotionBatch, acceleration: Array, future: object) -> UInt64[Array, "k t words"]:
    """Who may be met at accelerations from none to that given, a bit for each."""
    from alpamayo.validator.kernels.time_to_collision import candidate_agents

    shape = motions.speed.shape
    who = np.empty((*shape, -(-len(motions.traffic.ids) // 64)), np.uint64)
    inputs = [
        *(motions.cached(ego_boxes), np.ascontiguousarray(motions.speed), acceleration),
        *(wp.vec2d(*(0.5 * motions.size)), future, STANDS, who),
    ]
    wp.launch(candidate_agents, dim=motions.count, inputs=inputs, device="cpu")
    return who


def _acceleration(motions: MotionBatch) -> Float64[Array, "k t"]:
    """The present acceleration (m/s²); none where there are too few poses to tell."""
    if motions.pose.shape[1] <= WINDOW:
        return np.zeros(motions.speed.shape)
    return np.ascontiguousarray(motions.cached(motion)[0])


def _whole_future(motions: MotionBatch) -> object:
    return _future(motions, HORIZON)


def _future(motions: MotionBatch, horizon: float) -> object:
    """The others now and within a horizon (s), as the compiled loops take them."""
    from alpamayo.validator.kernels.time_to_collision import AgentFuture, bound_deviation

    steps, dt, there = len(motions.times), motions.dt, motions.cached(agent_columns)
    spacing = max(round(SPACING / dt), 1)
    last = round(horizon / (spacing * dt)) * spacing
    traffic = motions.traffic.extended(steps + last, dt)
    count, wide = len(traffic.ids), there.halves.shape[1]
    halves, off = np.zeros((3, wide)), np.full((steps, wide), -np.inf)
    halves[:2] = there.halves
    arrays = {
        "boxes": (np.ascontiguousarray(traffic.boxes[:, : steps + last]), wp.vec4d),
        "valid": (np.ascontiguousarray(traffic.valid[:, : steps + last]).view(np.uint8), wp.uint8),
        "rows": (there.rows, wp.float64),
        "halves": (halves, wp.float64),
        "deviation": (off, wp.float64),
    }
    future = AgentFuture()
    for name, (array, dtype) in arrays.items():
        setattr(future, name, wp.array(array, dtype=dtype, device="cpu", copy=False))
    future.dt, future.spacing, future.last = dt, spacing, last
    wp.launch(bound_deviation, dim=count, inputs=[future, SLACK], device="cpu")
    return future


def _until(motions: MotionBatch) -> Int32[Array, "k a"]:
    """Step from which on a pair does not count any more: it overlapped from the start, or its contact was no fault."""
    touched, fault = motions.cached(contacts), motions.cached(at_fault)
    until = np.full(touched.overlapping.shape, np.iinfo(np.int32).max, np.int32)
    until[touched.overlapping] = -1
    until[touched.k[~fault], touched.a[~fault]] = touched.t[~fault]
    return until


def _result(motions: MotionBatch, name: str, met: Meetings) -> RuleResult:
    margins = np.minimum(met.after, HORIZON) - BOUND
    when = first_time(margins < 0.0, motions.times)
    value = np.isnan(when).astype(np.float64)
    valid = np.ones(motions.count, bool)
    reasons = Reasons(motions.count, lambda k: _reason(motions, met, k, float(when[k])))
    return RuleResult(name, "s", value, margins.min(axis=1), valid, when, reasons, margins)


def _reason(motions: MotionBatch, met: Meetings, k: int, when: float) -> str:
    if np.isfinite(when):
        t = round(when / motions.dt)
        a = int(met.whom[k, t])
        turn = math.degrees(math.remainder(motions.traffic.pose[a, t, 2] - motions.pose[k, t, 2], math.tau))
        return f"{met.after[k, t]:.1f} s from {motions.traffic.ids[a]!r} ({turn:+.0f}° to the ego) at {when:.1f} s"
    least = float(met.after[k].min())
    return f"never nearer than {least:.1f} s to anyone" if least < HORIZON else f"nobody within {HORIZON:.0f} s"
