"""Time to collision: NAVSIM's TTC, with a margin up to three seconds; at constant velocity or acceleration."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, UInt64

from alpamayo.validator.contacts import REAR_AXLE, contacts
from alpamayo.validator.lane_occupancy import lane_occupancy
from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.packed import agent_columns, ego_boxes
from alpamayo.validator.rule import Rule
from alpamayo.validator.rules.collision import at_fault
from alpamayo.validator.rules.kinematics import WINDOW_STEPS, motion_quantities
from alpamayo.validator.verdict import Reasons, RuleResult, first_time
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
TTC_BOUND_S = 0.95
"""nuPlan's bound. NAVSIM looks at 0, 0.3, 0.6 and 0.9 s, which is the same question."""
SAMPLE_SPACING_S = 0.3
"""Overlaps are searched at these intervals."""
HORIZON_S = 3.0
"""Overlaps are searched up to this time."""
VALUE_HORIZON_S = 0.9
"""The last time that matters for the value."""
STOPPED_MPS = 0.005
"""A slower ego is stopped and does not collide."""
BOUND_TOLERANCE_M = 1e-6
"""For rounding in the bounds of the broad phase."""


@dataclass(frozen=True, eq=False)
class CollisionTimes:
    """Time (s) to the first collision that counts, and the agent; infinite and -1 where there is none."""

    time: Float64[Array, "k t"]
    agent: Int32[Array, "k t"]


def time_to_collision(motions: MotionBatch) -> RuleResult:
    """Judge whether an ego that continues straight on at its speed collides within 0.95 s, at any time: 0, else 1.

    The other agents move as in ``motions.traffic``. An agent ahead counts: within 30 degrees of the heading, seen from
    the rear axle. While the ego overlaps several lanes, is off the road or in an intersection, an agent to the side
    counts too: up to 150 degrees. An agent that comes from behind never counts. Agents that overlapped from the start,
    or had a contact that was not the ego's fault, do not count. The margin is the time to collision less 0.95 s, in
    steps of 0.3 s and up to 3 s.
    """
    return _result(motions, collision_times(motions, np.zeros(motions.speed.shape)))


def time_to_collision_accelerated(motions: MotionBatch) -> RuleResult:
    """Judge ``time_to_collision`` for an ego that continues at its present acceleration, down to a stop."""
    return _result(motions, collision_times(motions, motions.cached(_acceleration)))


def time_to_collision_value(motions: MotionBatch) -> Float64[Array, " k"]:
    """Return the value of ``time_to_collision``, with no longer a search than it needs."""
    future = _agent_future(motions, VALUE_HORIZON_S)
    early = collision_times(motions, np.zeros(motions.speed.shape), future).time < TTC_BOUND_S
    return (~early.any(axis=1)).astype(np.float64)


def collision_times(motions: MotionBatch, acceleration: Float64[Array, "k t"], future: object = None) -> CollisionTimes:
    """Find the first collision of an ego that continues straight on from each time at an acceleration.

    The search ends at ``HORIZON_S``, or at the horizon of ``future`` where it is given.
    """
    future = motions.cached(_whole_future) if future is None else future
    candidates = _candidate_agents(motions, acceleration, future)
    ahead, lateral = _sweep(motions, acceleration, future, candidates)
    k, t = np.nonzero(lateral.time < ahead.time)
    if len(k) and (motions.scene.road_map.lanes or motions.map_index.drivable_area.is_defined):
        where = lane_occupancy(motions, k, t)
        counts = where.several_lanes | where.off_road | where.in_intersection
        k, t = k[counts], t[counts]
        ahead.time[k, t], ahead.agent[k, t] = lateral.time[k, t], lateral.agent[k, t]
    return ahead


def _sweep(
    motions: MotionBatch, acceleration: Array, future: object, candidates: Array
) -> tuple[CollisionTimes, CollisionTimes]:
    """Find the first collisions with candidate agents ahead, and with those to the side."""
    from alpamayo.validator.kernels.time_to_collision import times_to_collision

    shape = motions.speed.shape
    ahead, lateral = (CollisionTimes(np.full(shape, np.inf), np.full(shape, -1, np.int32)) for _ in range(2))
    inputs = [
        *(motions.cached(ego_boxes), np.ascontiguousarray(motions.speed), acceleration),
        *(wp.vec2d(*(0.5 * motions.size)), float(REAR_AXLE * motions.size[0])),
        *(future, candidates, motions.cached(_until)),
        *(ahead.time, ahead.agent, lateral.time, lateral.agent),
    ]
    wp.launch(times_to_collision, dim=motions.count, inputs=inputs, device="cpu")
    return ahead, lateral


def _candidate_agents(motions: MotionBatch, acceleration: Array, future: object) -> UInt64[Array, "k t words"]:
    """Return one bit for each agent that the ego may reach at accelerations from zero to the given one."""
    from alpamayo.validator.kernels.time_to_collision import candidate_agents

    shape = motions.speed.shape
    candidates = np.empty((*shape, -(-len(motions.traffic.ids) // 64)), np.uint64)
    inputs = [
        *(motions.cached(ego_boxes), np.ascontiguousarray(motions.speed), acceleration),
        *(wp.vec2d(*(0.5 * motions.size)), future, STOPPED_MPS, candidates),
    ]
    wp.launch(candidate_agents, dim=motions.count, inputs=inputs, device="cpu")
    return candidates


def _acceleration(motions: MotionBatch) -> Float64[Array, "k t"]:
    """Return the present acceleration (m/s²); zero where there are too few poses to compute it."""
    if motions.pose.shape[1] <= WINDOW_STEPS:
        return np.zeros(motions.speed.shape)
    return np.ascontiguousarray(motions.cached(motion_quantities)[0])


def _whole_future(motions: MotionBatch) -> object:
    return _agent_future(motions, HORIZON_S)


def _agent_future(motions: MotionBatch, horizon: float) -> object:
    """Return the agents at each time and up to a horizon (s) after it, as the compiled loops take them."""
    from alpamayo.validator.kernels.time_to_collision import AgentFuture, bound_deviation

    steps, dt, agents = len(motions.times), motions.dt, motions.cached(agent_columns)
    spacing = max(round(SAMPLE_SPACING_S / dt), 1)
    last = round(horizon / (spacing * dt)) * spacing
    traffic = motions.traffic.extended(steps + last, dt)
    count, wide = len(traffic.ids), agents.halves.shape[1]
    halves, deviation = np.zeros((3, wide)), np.full((steps, wide), -np.inf)
    halves[:2] = agents.halves
    arrays = {
        "boxes": (np.ascontiguousarray(traffic.boxes[:, : steps + last]), wp.vec4d),
        "valid": (np.ascontiguousarray(traffic.valid[:, : steps + last]).view(np.uint8), wp.uint8),
        "rows": (agents.rows, wp.float64),
        "halves": (halves, wp.float64),
        "deviation": (deviation, wp.float64),
    }
    future = AgentFuture()
    for name, (array, dtype) in arrays.items():
        setattr(future, name, wp.array(array, dtype=dtype, device="cpu", copy=False))
    future.dt, future.spacing, future.last = dt, spacing, last
    wp.launch(bound_deviation, dim=count, inputs=[future, BOUND_TOLERANCE_M], device="cpu")
    return future


def _until(motions: MotionBatch) -> Int32[Array, "k a"]:
    """Return the step from which a pair no longer counts: overlapping from the start, or touched without fault."""
    found, fault = motions.cached(contacts), motions.cached(at_fault)
    until = np.full(found.overlapping.shape, np.iinfo(np.int32).max, np.int32)
    until[found.overlapping] = -1
    until[found.k[~fault], found.a[~fault]] = found.t[~fault]
    return until


def _result(motions: MotionBatch, found: CollisionTimes) -> RuleResult:
    margins = np.minimum(found.time, HORIZON_S) - TTC_BOUND_S
    when = first_time(margins < 0.0, motions.times)
    value = np.isnan(when).astype(np.float64)
    reasons = Reasons(motions.count, lambda k: _reason(motions, found, k, float(when[k])))
    return RuleResult(value, margins.min(axis=1), np.ones(motions.count, bool), when, reasons, margins)


def _reason(motions: MotionBatch, found: CollisionTimes, k: int, when: float) -> str:
    if np.isfinite(when):
        t = round(when / motions.dt)
        a = int(found.agent[k, t])
        turn = math.degrees(math.remainder(motions.traffic.pose[a, t, 2] - motions.pose[k, t, 2], math.tau))
        agent = f"{motions.traffic.ids[a]!r} (heading {turn:+.0f}° to the ego's)"
        return f"{found.time[k, t]:.1f} s to a collision with {agent} at {when:.1f} s"
    least = float(found.time[k].min())
    if least < HORIZON_S:
        return f"at least {least:.1f} s to a collision"
    return f"no collision within {HORIZON_S:.0f} s"


RULES = (
    Rule(
        name="time_to_collision",
        unit="s",
        summary="The ego, continuing straight on at its speed, is never within 0.95 s of a collision.",
        source="NAVSIM TTC, nuPlan",
        evaluate=time_to_collision,
        aliases=("ttc", "time_to_collision_within_bound"),
    ),
    Rule(
        name="time_to_collision_accelerated",
        unit="s",
        summary="The ego, continuing at its present acceleration, is never within 0.95 s of a collision.",
        source="NAVSIM TTC with van der Horst's 1990 acceleration, ours",
        evaluate=time_to_collision_accelerated,
    ),
)
