# mypy: ignore-errors
# ruff: noqa: SIM102 (in a kernel `and` evaluates both sides)
"""Right of way: where a traffic vehicle must stop or slow down, at lines, crosswalks, conflicts and bends.

Each rule returns the gap (m) from the front bumper to the stopping point, or ``NO_GAP_M``. The priority of two
lanes is decided once, in ``packing.lane_graph``; here it is applied with gap acceptance: a vehicle that yields goes
if the times of the two vehicles in the common zone are at least ``ZONE_TIME_GAP_S`` apart.
"""

from alpamayo_sim.datatypes.scene import SignalState
from alpamayo_sim.engine.kernels.lane_positions import (
    MAX_SEARCH_LANES,
    NO_GAP_M,
    distance_to_lane,
    first_after,
    lane_of,
    next_lane,
    s_on_lane,
)
from alpamayo_sim.engine.kernels.layout import ConflictRow, Control, LaneRow, Priority, ScenarioBuffers, ScenarioSlot
from alpamayo_sim.engine.kernels.paths import path_at
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.warp_runtime import wp

COMFORTABLE_BRAKING_MPS2 = wp.constant(
    3.0
)  # m/s²; vehicles stop at yellow and for people if this deceleration is enough
HARD_BRAKING_MPS2 = wp.constant(6.0)  # m/s²; the deceleration for people who are on the road
ZONE_TIME_GAP_S = wp.constant(1.5)  # s between two vehicles in a common zone
CROSSING_ACCELERATION_MPS2 = wp.constant(1.5)  # m/s²; the acceleration on a crossing
DEADLOCK_WAIT_S = wp.constant(4.0)  # s; then the vehicle that has waited longest goes, if all wait for each other
STANDSTILL_MPS = wp.constant(0.1)  # m/s
AT_LINE_M = wp.constant(3.5)  # m before a line that count as at the line
MERGE_FOLLOWING_M = wp.constant(60.0)  # m before a merge from which vehicles follow a leader on the other lane


@wp.func
def braking(speed: wp.float32, gap: wp.float32) -> wp.float32:
    """Return the deceleration (m/s²) that stops within a gap."""
    return speed * speed / (2.0 * wp.max(gap, 0.1))


@wp.func
def time_to_travel(distance: wp.float32, speed: wp.float32) -> wp.float32:
    """Return the time (s) for a distance (m) at the acceleration ``CROSSING_ACCELERATION_MPS2``."""
    return (
        wp.sqrt(speed * speed + 2.0 * CROSSING_ACCELERATION_MPS2 * wp.max(distance, 0.0)) - speed
    ) / CROSSING_ACCELERATION_MPS2


@wp.func
def shown(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, lane: wp.int32) -> wp.int32:
    """Return the state of a lane's signal; UNKNOWN without a signal."""
    control = buffers.lane_controls[slot.lane_control_row + lane][0]
    if control < 0:
        return int(SignalState.UNKNOWN)
    step = wp.min(state.step[w], slot.signal_steps - 1)
    return buffers.signals[slot.signal_row + control * slot.signal_steps + step]


@wp.func
def line_gap(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    a: wp.int32,
    lane: wp.int32,
    gap: wp.float32,
) -> wp.float32:
    """Return ``gap`` if the agent must stop at a lane's stop line: at red, late yellow, or a sign not yet obeyed."""
    control = buffers.lane_controls[slot.lane_control_row + lane][0]
    if gap < -0.5 or control == int(Control.NONE):
        return NO_GAP_M
    speed = state.speed[w, a]
    if control == int(Control.STOP_SIGN):
        if state.stopped_lane[w, a] == lane:
            return NO_GAP_M
        return gap
    light = shown(buffers, state, slot, w, lane)
    if light == int(SignalState.RED) or (
        light == int(SignalState.YELLOW) and braking(speed, gap) < COMFORTABLE_BRAKING_MPS2
    ):
        return gap
    return NO_GAP_M


@wp.func
def register_stop(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, lane: wp.int32, s: wp.float32
):
    """Remember that an agent has stopped at a lane's stop sign; ``s`` is its arc length on that lane."""
    if state.speed[w, a] >= STANDSTILL_MPS:
        return
    gap = lane_of(buffers, slot, lane).stop_s - s - 0.5 * buffers.agents[slot.agent_row + a].length
    signed = buffers.lane_controls[slot.lane_control_row + lane][0] == int(Control.STOP_SIGN)
    if signed and gap > -0.5 and gap < AT_LINE_M:
        state.stopped_lane[w, a] = lane


@wp.func
def crosswalk_gap(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    a: wp.int32,
    row: LaneRow,
    offset: wp.float32,
) -> wp.float32:
    """Return the gap to the first crosswalk of a lane with a pedestrian in the lane, approaching it, or waiting."""
    best = wp.float32(NO_GAP_M)
    speed = state.speed[w, a]
    for k in range(row.crossings):
        crossing = buffers.crossings[slot.crossing_row + row.crossing_row + k]
        gap = offset + crossing.start - 0.5 * buffers.agents[slot.agent_row + a].length
        if gap > 0.0 and gap < best and braking(speed, gap) < HARD_BRAKING_MPS2:
            middle = 0.5 * (crossing.start + crossing.end)
            on = path_at(buffers.lane_paths, slot.lane_path_row + row.path_row, row.points, middle)
            left = wp.vec2(-wp.sin(on[2]), wp.cos(on[2]))
            for b in range(slot.agents):
                if state.on_crosswalk[w, b] == crossing.crosswalk and b != a:
                    away = wp.dot(wp.vec2(state.pose[w, b][0] - on[0], state.pose[w, b][1] - on[1]), left)
                    towards = -wp.sign(away) * wp.dot(state.velocity[w, b], left)
                    lateral_gap = wp.abs(away) - 0.5 * row.width
                    in_lane = lateral_gap < 0.3 and (towards > -0.1 or lateral_gap < -0.5)
                    comes = towards > 0.1 and lateral_gap / wp.max(towards, 0.1) < time_to_travel(gap, speed) + 3.0
                    waits = towards > -0.1 and lateral_gap < 4.0 and braking(speed, gap) < COMFORTABLE_BRAKING_MPS2
                    if in_lane or comes or waits:
                        best = gap
    return best


@wp.func
def is_queued(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, b: wp.int32, reach: wp.float32
) -> wp.bool:
    """Return whether another agent is within ``reach`` (m) ahead of an agent, on its lane or on a following lane."""
    at = state.lane_indices[w, b][0]
    s = state.lane_s[w, b][0]
    half = state.lane_half_length[w, b]
    ahead = first_after(state, slot, w, b, at, s)
    if ahead[1] - half < reach:
        return True
    row = lane_of(buffers, slot, at)
    for k in range(row.successors):
        after = buffers.lane_links[slot.link_row + row.successor_row + k]
        ahead = first_after(state, slot, w, b, after, 0.0)
        if ahead[1] + row.length - s - half < reach:
            return True
    return False


@wp.func
def priority_of(buffers: ScenarioBuffers, slot: ScenarioSlot, lane: wp.int32, conflict: ConflictRow) -> wp.int32:
    """Return the priority in a conflict: stop signs yield; two stop signs alternate; else as in the map."""
    mine = buffers.lane_controls[slot.lane_control_row + lane][1]
    theirs = buffers.lane_controls[slot.lane_control_row + conflict.other][1]
    if mine != theirs:
        return wp.where(mine != 0, int(Priority.YIELDS), int(Priority.GOES_FIRST))
    return wp.where(mine != 0, int(Priority.IN_TURN), conflict.priority)


@wp.func
def has_priority(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    a: wp.int32,
    b: wp.int32,
    conflict: ConflictRow,
    rule: wp.int32,
    on: wp.float32,
    arrives: wp.float32,
    through: wp.float32,
) -> wp.bool:
    """Return whether agent ``b``, before the common zone, goes first; ``on`` is its arc length on its lane."""
    half = state.lane_half_length[w, b]
    theirs = wp.max(state.lane_speed[w, b], 0.0)
    away = conflict.other_start - on - half
    other = conflict.other
    if shown(buffers, state, slot, w, other) == int(SignalState.RED) and on < lane_of(buffers, slot, other).stop_s:
        return False
    waited = state.waiting_time[w, a]
    waits = state.waiting_time[w, b]
    longer = waited > waits or (waited == waits and a < b)
    at = state.lane_indices[w, b][0]
    signed = buffers.lane_controls[slot.lane_control_row + at][0] == int(Control.STOP_SIGN)
    if signed and state.stopped_lane[w, b] != at:
        return False
    in_turn = rule == int(Priority.IN_TURN)
    if theirs < STANDSTILL_MPS:
        queued = is_queued(buffers, state, slot, w, b, away)
        return not longer and not queued and (in_turn or waited < DEADLOCK_WAIT_S) and away < 15.0
    enters = time_to_travel(away, theirs)
    leaves = (conflict.other_end - on + half) / wp.max(theirs, 1.0)
    if in_turn and not signed and on < 0.0:
        return enters < arrives and leaves + ZONE_TIME_GAP_S > arrives
    return enters - ZONE_TIME_GAP_S < through and leaves + ZONE_TIME_GAP_S > arrives


@wp.func
def blocks_crossing(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    a: wp.int32,
    b: wp.int32,
    conflict: ConflictRow,
    rule: wp.int32,
    gap: wp.float32,
    entered: wp.bool,
) -> wp.bool:
    """Return whether agent ``a`` must let agent ``b`` pass, which is on the conflicting lane or approaches it.

    An agent with the right of way, or that has ``entered`` the intersection, only waits for agents in the zone.
    """
    half = state.lane_half_length[w, b]
    on = s_on_lane(state.lane_indices[w, b], state.lane_s[w, b], conflict.other)
    first = entered or rule == int(Priority.GOES_FIRST)
    if on < 0.0:
        if first:
            return False
        on = -distance_to_lane(buffers, state, slot, w, b, conflict.other, 60.0)
    if on < -NO_GAP_M + 1.0 or on - half > conflict.other_end:
        return False
    speed = state.speed[w, a]
    arrives = time_to_travel(gap, speed)
    if on + half > conflict.other_start:
        return (conflict.other_end - on + half) / wp.max(state.lane_speed[w, b], 0.5) > arrives
    if first or braking(speed, gap) > HARD_BRAKING_MPS2:
        return False
    through = time_to_travel(gap + conflict.end - conflict.start + buffers.agents[slot.agent_row + a].length, speed)
    return has_priority(buffers, state, slot, w, a, b, conflict, rule, on, arrives, through)


@wp.func
def conflict_gap(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    a: wp.int32,
    lane: wp.int32,
    row: LaneRow,
    offset: wp.float32,
    look: wp.float32,
) -> wp.float32:
    """Return the gap to where an agent has to let other agents pass.

    Under a signal this is the conflict itself (a left turn waits in the middle); elsewhere it is before the
    first of the lane's conflicts, so that no agent blocks a third one.
    """
    best = wp.float32(NO_GAP_M)
    half = 0.5 * buffers.agents[slot.agent_row + a].length
    signalled = buffers.lane_controls[slot.lane_control_row + lane][0] >= 0
    entry = offset + row.entry_s - half
    entered = entry < 0.0 and not signalled
    for k in range(row.conflicts):
        conflict = buffers.conflicts[slot.conflict_row + row.conflict_row + k]
        rule = priority_of(buffers, slot, lane, conflict)
        gap = offset + conflict.start - half
        in_middle = entered or (signalled and rule == int(Priority.YIELDS))
        place = wp.where(in_middle, gap, entry)
        if conflict.priority < int(Priority.ZIPPER) and gap > 0.0 and place < look and place < best:
            for b in range(slot.agents):
                if b != a and place < best and state.lane_indices[w, b][0] >= 0:
                    if blocks_crossing(buffers, state, slot, w, a, b, conflict, rule, gap, entered):
                        best = place
    return best


@wp.func
def merge_leader(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    a: wp.int32,
    row: LaneRow,
    offset: wp.float32,
) -> wp.vec3:
    """Return the leader on a lane that merges with this one, or diverges from it.

    The result is gap and speed of the leader, and the distance to the point where the lanes meet.
    """
    best = wp.vec3(NO_GAP_M, 0.0, NO_GAP_M)
    half = 0.5 * buffers.agents[slot.agent_row + a].length
    for k in range(row.conflicts):
        conflict = buffers.conflicts[slot.conflict_row + row.conflict_row + k]
        zips = conflict.priority == int(Priority.ZIPPER) and offset + row.length < MERGE_FOLLOWING_M
        if conflict.merges != 0 and offset + conflict.start - half <= 0.0:
            zips = True
        parting = conflict.priority == int(Priority.PARTING) and offset + conflict.end + half > 0.0
        if zips or parting:
            apart = offset
            if zips:
                apart = offset + row.length - lane_of(buffers, slot, conflict.other).length
            for b in range(slot.agents):
                place = s_on_lane(state.lane_indices[w, b], state.lane_s[w, b], conflict.other)
                ahead = apart + place
                near = zips or place - state.lane_half_length[w, b] < conflict.other_end
                if place >= 0.0 and near and b != a and (ahead > 0.0 or (ahead == 0.0 and b > a)):
                    gap = ahead - half - state.lane_half_length[w, b]
                    if gap < best[0]:
                        best = wp.vec3(gap, state.lane_speed[w, b], offset + conflict.start - half)
    return best


@wp.struct
class Restrictions:
    """Restrictions ahead: the gap to a stop, the acceleration that bends allow, and the leader in a merge."""

    stop: wp.float32
    acceleration: wp.float32
    merge: wp.vec3


@wp.func
def restrictions_ahead(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32
) -> Restrictions:
    """Return the restrictions on the lanes ahead of a traffic vehicle, within its stopping distance and a margin."""
    speed = state.speed[w, a]
    half = 0.5 * buffers.agents[slot.agent_row + a].length
    found = Restrictions()
    found.stop = wp.float32(NO_GAP_M)
    found.acceleration = wp.float32(NO_GAP_M)
    found.merge = wp.vec3(NO_GAP_M, 0.0, NO_GAP_M)
    look = 20.0 + speed * speed / 3.0
    lane = state.lane[w, a]
    offset = -state.path_s[w, a]
    hops = wp.int32(0)
    while lane >= 0 and offset < look and hops < MAX_SEARCH_LANES:
        row = lane_of(buffers, slot, lane)
        if offset > 0.0 and speed > row.limit:
            found.acceleration = wp.min(
                found.acceleration, (row.limit * row.limit - speed * speed) / (2.0 * wp.max(offset, 1.0))
            )
        found.stop = wp.min(found.stop, line_gap(buffers, state, slot, w, a, lane, offset + row.stop_s - half))
        if row.crossings > 0 and slot.crosswalks > 0:
            found.stop = wp.min(found.stop, crosswalk_gap(buffers, state, slot, w, a, row, offset))
        if row.conflicts > 0:
            found.stop = wp.min(found.stop, conflict_gap(buffers, state, slot, w, a, lane, row, offset, look))
            merge = merge_leader(buffers, state, slot, w, a, row, offset)
            if merge[0] < found.merge[0]:
                found.merge = merge
        if row.ends != 0:
            found.stop = wp.min(found.stop, offset + row.length - half)
        offset += row.length
        lane = next_lane(buffers, slot, a, lane)
        hops += 1
    return found
