# mypy: ignore-errors
# ruff: noqa: SIM102 (in a kernel `and` evaluates both sides)
"""What a traffic vehicle has to stop or to slow down for on the lanes ahead: lines, crosswalks, the others' way, bends.

Each rule gives the gap (m) from the front bumper to where one must stop, or ``NOBODY``. Who gives way where two
lanes meet is decided once, in ``lane_graph``; here it is applied with gap acceptance: whoever gives way goes when
the times in which the two would be in the common zone are ``MARGIN`` apart.
"""

from alpamayo_sim.datatypes.scene import SignalState
from alpamayo_sim.engine.kernels.lanes import HOPS, NOBODY, first_after, lane_of, next_lane, place_on, way_to_lane
from alpamayo_sim.engine.kernels.layout import ConflictRow, Fixed, LaneRow, Slot, State
from alpamayo_sim.engine.kernels.paths import path_at
from alpamayo_sim.engine.packing.lane_graph import Control, GivesWay
from alpamayo_sim.warp_runtime import wp

OBEYED = wp.constant(3.0)  # m/s²; yellow is obeyed, and people are let pass, if this much braking will do
HARD = wp.constant(6.0)  # m/s²; what one does for people who are on the road already
MARGIN = wp.constant(1.5)  # s between two who pass a common zone
PICK_UP = wp.constant(1.5)  # m/s² with which one crosses
PATIENCE = wp.constant(4.0)  # s after which whoever waits longest goes, if all wait for each other
STOPPED = wp.constant(0.1)  # m/s
AT_LINE = wp.constant(3.5)  # m before a line that count as at it
ZIP = wp.constant(60.0)  # m before lanes run together from which one looks for whom to follow


@wp.func
def braking(speed: wp.float32, gap: wp.float32) -> wp.float32:
    """Deceleration (m/s²) that stops within a gap."""
    return speed * speed / (2.0 * wp.max(gap, 0.1))


@wp.func
def travel_time(way: wp.float32, speed: wp.float32) -> wp.float32:
    """Time (s) for a way (m) at ``PICK_UP``."""
    return (wp.sqrt(speed * speed + 2.0 * PICK_UP * wp.max(way, 0.0)) - speed) / PICK_UP


@wp.func
def shown(fixed: Fixed, state: State, slot: Slot, w: wp.int32, lane: wp.int32) -> wp.int32:
    """What a lane's signal shows now; UNKNOWN where it has none."""
    control = fixed.lane_controls[slot.lane_control_row + lane][0]
    if control < 0:
        return int(SignalState.UNKNOWN)
    step = wp.min(state.step[w], slot.signal_steps - 1)
    return fixed.signals[slot.signal_row + control * slot.signal_steps + step]


@wp.func
def line_gap(
    fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32, lane: wp.int32, gap: wp.float32
) -> wp.float32:
    """``gap`` to a lane's stop line if one must stop there: for red, late yellow, or a sign until one has stopped."""
    control = fixed.lane_controls[slot.lane_control_row + lane][0]
    if gap < -0.5 or control == int(Control.NONE):
        return NOBODY
    speed = state.speed[w, a]
    if control == int(Control.STOP_SIGN):
        if state.stopped_at[w, a] == lane:
            return NOBODY
        return gap
    light = shown(fixed, state, slot, w, lane)
    if light == int(SignalState.RED) or (light == int(SignalState.YELLOW) and braking(speed, gap) < OBEYED):
        return gap
    return NOBODY


@wp.func
def note_stop(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32, lane: wp.int32, s: wp.float32):
    """Remember that one has stopped at a lane's stop sign; ``s`` is the place on that lane."""
    if state.speed[w, a] >= STOPPED:
        return
    gap = lane_of(fixed, slot, lane).stop_s - s - 0.5 * fixed.agents[slot.agent_row + a].length
    signed = fixed.lane_controls[slot.lane_control_row + lane][0] == int(Control.STOP_SIGN)
    if signed and gap > -0.5 and gap < AT_LINE:
        state.stopped_at[w, a] = lane


@wp.func
def crosswalk_gap(
    fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32, row: LaneRow, offset: wp.float32
) -> wp.float32:
    """Gap to the first crosswalk of a lane where somebody is in the lane, comes to it, or waits to."""
    best = wp.float32(NOBODY)
    speed = state.speed[w, a]
    for k in range(row.crossings):
        crossing = fixed.crossings[slot.crossing_row + row.crossing_row + k]
        gap = offset + crossing.start - 0.5 * fixed.agents[slot.agent_row + a].length
        if gap > 0.0 and gap < best and braking(speed, gap) < HARD:
            middle = 0.5 * (crossing.start + crossing.end)
            on = path_at(fixed.lane_paths, slot.lane_path_row + row.path_row, row.points, middle)
            left = wp.vec2(-wp.sin(on[2]), wp.cos(on[2]))
            for b in range(slot.agents):
                if state.on_crosswalk[w, b] == crossing.crosswalk and b != a:
                    away = wp.dot(wp.vec2(state.pose[w, b][0] - on[0], state.pose[w, b][1] - on[1]), left)
                    towards = -wp.sign(away) * wp.dot(state.velocity[w, b], left)
                    beside = wp.abs(away) - 0.5 * row.width
                    in_lane = beside < 0.3 and (towards > -0.1 or beside < -0.5)
                    comes = towards > 0.1 and beside / wp.max(towards, 0.1) < travel_time(gap, speed) + 3.0
                    waits = towards > -0.1 and beside < 4.0 and braking(speed, gap) < OBEYED
                    if in_lane or comes or waits:
                        best = gap
    return best


@wp.func
def is_queued(fixed: Fixed, state: State, slot: Slot, w: wp.int32, b: wp.int32, reach: wp.float32) -> wp.bool:
    """Whether somebody stands before an agent within a reach (m): on its lane, or on one of those that follow it."""
    at = state.spot_lanes[w, b][0]
    s = state.spot_s[w, b][0]
    half = state.spot_half[w, b]
    ahead = first_after(state, slot, w, b, at, s)
    if ahead[1] - half < reach:
        return True
    row = lane_of(fixed, slot, at)
    for k in range(row.successors):
        after = fixed.lane_links[slot.link_row + row.successor_row + k]
        ahead = first_after(state, slot, w, b, after, 0.0)
        if ahead[1] + row.length - s - half < reach:
            return True
    return False


@wp.func
def rule_of(fixed: Fixed, slot: Slot, lane: wp.int32, conflict: ConflictRow) -> wp.int32:
    """Who gives way in a conflict: who comes from a stop sign; two of them go in turn; else as the map has it."""
    mine = fixed.lane_controls[slot.lane_control_row + lane][1]
    theirs = fixed.lane_controls[slot.lane_control_row + conflict.other][1]
    if mine != theirs:
        return wp.where(mine != 0, int(GivesWay.YES), int(GivesWay.NO))
    return wp.where(mine != 0, int(GivesWay.IN_TURN), conflict.gives_way)


@wp.func
def goes_first(
    fixed: Fixed,
    state: State,
    slot: Slot,
    w: wp.int32,
    a: wp.int32,
    b: wp.int32,
    conflict: ConflictRow,
    rule: wp.int32,
    on: wp.float32,
    arrives: wp.float32,
    through: wp.float32,
) -> wp.bool:
    """Whether somebody who has not come to the common zone yet is to be let pass; ``on`` is its place on its lane."""
    half = state.spot_half[w, b]
    theirs = wp.max(state.spot_speed[w, b], 0.0)
    away = conflict.other_start - on - half
    other = conflict.other
    if shown(fixed, state, slot, w, other) == int(SignalState.RED) and on < lane_of(fixed, slot, other).stop_s:
        return False
    waited = state.waiting[w, a]
    waits = state.waiting[w, b]
    longer = waited > waits or (waited == waits and a < b)
    at = state.spot_lanes[w, b][0]
    signed = fixed.lane_controls[slot.lane_control_row + at][0] == int(Control.STOP_SIGN)
    if signed and state.stopped_at[w, b] != at:
        return False
    in_turn = rule == int(GivesWay.IN_TURN)
    if theirs < STOPPED:
        queued = is_queued(fixed, state, slot, w, b, away)
        return not longer and not queued and (in_turn or waited < PATIENCE) and away < 15.0
    enters = travel_time(away, theirs)
    leaves = (conflict.other_end - on + half) / wp.max(theirs, 1.0)
    if in_turn and not signed and on < 0.0:
        return enters < arrives and leaves + MARGIN > arrives
    return enters - MARGIN < through and leaves + MARGIN > arrives


@wp.func
def in_the_way(
    fixed: Fixed,
    state: State,
    slot: Slot,
    w: wp.int32,
    a: wp.int32,
    b: wp.int32,
    conflict: ConflictRow,
    rule: wp.int32,
    gap: wp.float32,
    entered: wp.bool,
) -> wp.bool:
    """Whether one must let somebody pass who is on the conflicting lane, or comes to it.

    Who has the right of way, or has ``entered`` the intersection, waits only for who is in the common zone already.
    """
    half = state.spot_half[w, b]
    on = place_on(state.spot_lanes[w, b], state.spot_s[w, b], conflict.other)
    first = entered or rule == int(GivesWay.NO)
    if on < 0.0:
        if first:
            return False
        on = -way_to_lane(fixed, state, slot, w, b, conflict.other, 60.0)
    if on < -NOBODY + 1.0 or on - half > conflict.other_end:
        return False
    speed = state.speed[w, a]
    arrives = travel_time(gap, speed)
    if on + half > conflict.other_start:
        return (conflict.other_end - on + half) / wp.max(state.spot_speed[w, b], 0.5) > arrives
    if first or braking(speed, gap) > HARD:
        return False
    through = travel_time(gap + conflict.end - conflict.start + fixed.agents[slot.agent_row + a].length, speed)
    return goes_first(fixed, state, slot, w, a, b, conflict, rule, on, arrives, through)


@wp.func
def conflict_gap(
    fixed: Fixed,
    state: State,
    slot: Slot,
    w: wp.int32,
    a: wp.int32,
    lane: wp.int32,
    row: LaneRow,
    offset: wp.float32,
    look: wp.float32,
) -> wp.float32:
    """Gap to where one has to let somebody pass.

    Under a signal that is the conflict itself (one waits for the oncoming in the middle); elsewhere it is before the
    first of the lane's conflicts, so that nobody stands in a third one's way.
    """
    best = wp.float32(NOBODY)
    half = 0.5 * fixed.agents[slot.agent_row + a].length
    signalled = fixed.lane_controls[slot.lane_control_row + lane][0] >= 0
    entry = offset + row.entry_s - half
    entered = entry < 0.0 and not signalled
    for k in range(row.conflicts):
        conflict = fixed.conflicts[slot.conflict_row + row.conflict_row + k]
        rule = rule_of(fixed, slot, lane, conflict)
        gap = offset + conflict.start - half
        in_middle = entered or (signalled and rule == int(GivesWay.YES))
        place = wp.where(in_middle, gap, entry)
        if conflict.gives_way < int(GivesWay.ZIPPER) and gap > 0.0 and place < look and place < best:
            for b in range(slot.agents):
                if b != a and place < best and state.spot_lanes[w, b][0] >= 0:
                    if in_the_way(fixed, state, slot, w, a, b, conflict, rule, gap, entered):
                        best = place
    return best


@wp.func
def leader_across(
    fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32, row: LaneRow, offset: wp.float32
) -> wp.vec3:
    """Whom to follow on a lane that runs together with this one, or begins with it.

    Gap and speed of the next one, and how far it is to where the lanes meet.
    """
    best = wp.vec3(NOBODY, 0.0, NOBODY)
    half = 0.5 * fixed.agents[slot.agent_row + a].length
    for k in range(row.conflicts):
        conflict = fixed.conflicts[slot.conflict_row + row.conflict_row + k]
        zips = conflict.gives_way == int(GivesWay.ZIPPER) and offset + row.length < ZIP
        if conflict.merges != 0 and offset + conflict.start - half <= 0.0:
            zips = True
        parting = conflict.gives_way == int(GivesWay.PARTING) and offset + conflict.end + half > 0.0
        if zips or parting:
            apart = offset
            if zips:
                apart = offset + row.length - lane_of(fixed, slot, conflict.other).length
            for b in range(slot.agents):
                place = place_on(state.spot_lanes[w, b], state.spot_s[w, b], conflict.other)
                ahead = apart + place
                near = zips or place - state.spot_half[w, b] < conflict.other_end
                if place >= 0.0 and near and b != a and (ahead > 0.0 or (ahead == 0.0 and b > a)):
                    gap = ahead - half - state.spot_half[w, b]
                    if gap < best[0]:
                        best = wp.vec3(gap, state.spot_speed[w, b], offset + conflict.start - half)
    return best


@wp.struct
class Ahead:
    """What lies ahead: the gap to where one must stop, how hard bends let one go, and whom to follow in a merge."""

    stop: wp.float32
    acceleration: wp.float32
    merge: wp.vec3


@wp.func
def look_ahead(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32) -> Ahead:
    """All rules on the lanes that a traffic vehicle comes to within its stopping distance and some more."""
    speed = state.speed[w, a]
    half = 0.5 * fixed.agents[slot.agent_row + a].length
    found = Ahead()
    found.stop = wp.float32(NOBODY)
    found.acceleration = wp.float32(NOBODY)
    found.merge = wp.vec3(NOBODY, 0.0, NOBODY)
    look = 20.0 + speed * speed / 3.0
    lane = state.lane[w, a]
    offset = -state.path_s[w, a]
    hops = wp.int32(0)
    while lane >= 0 and offset < look and hops < HOPS:
        row = lane_of(fixed, slot, lane)
        if offset > 0.0 and speed > row.limit:
            found.acceleration = wp.min(
                found.acceleration, (row.limit * row.limit - speed * speed) / (2.0 * wp.max(offset, 1.0))
            )
        found.stop = wp.min(found.stop, line_gap(fixed, state, slot, w, a, lane, offset + row.stop_s - half))
        if row.crossings > 0 and slot.crosswalks > 0:
            found.stop = wp.min(found.stop, crosswalk_gap(fixed, state, slot, w, a, row, offset))
        if row.conflicts > 0:
            found.stop = wp.min(found.stop, conflict_gap(fixed, state, slot, w, a, lane, row, offset, look))
            merge = leader_across(fixed, state, slot, w, a, row, offset)
            if merge[0] < found.merge[0]:
                found.merge = merge
        if row.ends != 0:
            found.stop = wp.min(found.stop, offset + row.length - half)
        offset += row.length
        lane = next_lane(fixed, slot, a, lane)
        hops += 1
    return found
