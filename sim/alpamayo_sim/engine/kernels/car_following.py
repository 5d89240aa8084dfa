# mypy: ignore-errors
"""Car following of simulated road users: the intelligent driver model, and the leader on a path."""

from alpamayo_sim.datatypes.scene import SignalState
from alpamayo_sim.engine.kernels.layout import ScenarioBuffers, ScenarioSlot
from alpamayo_sim.engine.kernels.levels import agents_share_height
from alpamayo_sim.engine.kernels.paths import foot_on, segment_at
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.warp_runtime import wp

IDM_MAX_BRAKING_MPS2 = wp.constant(8.0)
IDM_HORIZON_M = wp.constant(80.0)
IDM_SIDE_M = wp.constant(0.2)


@wp.struct
class IdmParameters:
    """The intelligent driver model's parameters: m/s², m/s², s, m."""

    acceleration: wp.float32
    deceleration: wp.float32
    headway: wp.float32
    gap: wp.float32


@wp.func
def default_idm() -> IdmParameters:
    """Return the parameters of Treiber, Hennecke and Helbing 2000, with larger accelerations."""
    style = IdmParameters()
    style.acceleration = wp.float32(1.5)
    style.deceleration = wp.float32(2.0)
    style.headway = wp.float32(1.5)
    style.gap = wp.float32(2.0)
    return style


@wp.func
def idm(
    style: IdmParameters, speed: wp.float32, wanted: wp.float32, gap: wp.float32, closing: wp.float32
) -> wp.float32:
    """Return the acceleration (m/s²) of the intelligent driver model; ``closing`` is the own speed minus the leader's.

    Above the wanted speed it brakes at most with the comfortable deceleration, and never harder than
    ``IDM_MAX_BRAKING_MPS2``.
    """
    ratio = speed / wp.max(wanted, 0.1)
    desired = style.gap + wp.max(
        speed * style.headway + 0.5 * speed * closing / wp.sqrt(style.acceleration * style.deceleration), 0.0
    )
    near = desired / wp.max(gap, 0.1)
    free = wp.max(1.0 - ratio * ratio * ratio * ratio, -style.deceleration / style.acceleration)
    return wp.clamp(style.acceleration * (free - near * near), -IDM_MAX_BRAKING_MPS2, style.acceleration)


@wp.func
def bounds_ahead(
    paths: wp.array[wp.vec4], i: wp.int32, last: wp.int32, end: wp.float32, pose: wp.vec3, along: wp.vec2
) -> wp.vec4:
    """Return the box about a path from segment ``i`` to arc length ``end`` in a pose's frame: x range, then y range."""
    box = wp.vec4(0.0, 0.0, 0.0, 0.0)
    going = wp.bool(True)
    while going:
        dx = paths[i][0] - pose[0]
        dy = paths[i][1] - pose[1]
        x = along[0] * dx + along[1] * dy
        y = along[0] * dy - along[1] * dx
        box = wp.vec4(wp.min(box[0], x), wp.max(box[1], x), wp.min(box[2], y), wp.max(box[3], y))
        going = i < last and paths[i][3] <= end
        i += 1
    return box


@wp.func
def is_near(box: wp.vec4, along: wp.vec2, apart: wp.vec2, reach: wp.float32) -> wp.bool:
    """Return whether a point at offset ``apart`` from a pose is within ``reach`` of a box in the pose's frame."""
    x = along[0] * apart[0] + along[1] * apart[1]
    y = along[0] * apart[1] - along[1] * apart[0]
    return x > box[0] - reach and x < box[1] + reach and y > box[2] - reach and y < box[3] + reach


@wp.func
def nearest_segment(
    paths: wp.array[wp.vec4], first: wp.int32, last: wp.int32, s: wp.float32, point: wp.vec2
) -> wp.int32:
    """Return the segment of a path, from arc length ``s`` to the horizon, that comes nearest to a point."""
    nearest = wp.int32(first)
    least = wp.float32(1.0e12)
    low = s
    i = wp.int32(first)
    a = paths[first]
    while i < last and a[3] <= s + IDM_HORIZON_M:
        b = paths[i + 1]
        length = b[3] - a[3]
        step = wp.vec2(b[0] - a[0], b[1] - a[1]) / length
        away = wp.vec2(point[0] - a[0], point[1] - a[1])
        gap = away - wp.clamp(wp.dot(away, step), low - a[3], length) * step
        squared = wp.dot(gap, gap)
        if squared < least:
            least = squared
            nearest = i
        low = b[3]
        a = b
        i += 1
    return nearest


@wp.func
def leader_on_path(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32) -> wp.vec3:
    """Return gap (m), speed along the path, and number (or -1) of the nearest box ahead in the agent's swept width."""
    me = buffers.agents[slot.agent_row + a]
    first = slot.path_row + state.path_row[w, a]
    last = first + state.path_points[w, a] - 1
    s = state.path_s[w, a]
    start = segment_at(buffers.paths, first, state.path_points[w, a], s)
    here = state.pose[w, a]
    along_me = state.direction[w, a]
    corridor = bounds_ahead(buffers.paths, first + start, last, s + IDM_HORIZON_M, here, along_me)
    best = wp.vec3(1.0e6, 0.0, -1.0)
    for b in range(slot.agents):
        pose = state.pose[w, b]
        other = buffers.agents[slot.agent_row + b]
        reach = 0.5 * (me.width + other.length + other.width) + wp.abs(state.lateral[w, a]) + IDM_SIDE_M
        far = best[0] + 0.5 * (me.length + other.length + other.width) + reach + wp.abs(state.lateral[w, a])
        apart = wp.vec2(pose[0] - here[0], pose[1] - here[1])
        could = b != a and state.valid[w, b] and wp.dot(apart, apart) < far * far
        if could and is_near(corridor, along_me, apart, reach):
            point = wp.vec2(pose[0], pose[1])
            found = nearest_segment(buffers.paths, first + start, last, s, point)
            foot = foot_on(buffers.paths, found, point, s)
            step = buffers.paths[found + 1] - buffers.paths[found]
            length = buffers.paths[found + 1][3] - buffers.paths[found][3]
            along = wp.vec2(step[0] / length, step[1] / length)
            turned = state.direction[w, b]
            c = wp.abs(turned[0] * along[0] + turned[1] * along[1])
            n = wp.abs(turned[1] * along[0] - turned[0] * along[1])
            side = 0.5 * (me.width + other.length * n + other.width * c) + IDM_SIDE_M
            gap = foot[0] - s - 0.5 * (me.length + other.length * c + other.width * n)
            lateral_gap = wp.abs(foot[1] - state.lateral[w, a])
            meets = foot[0] > s and lateral_gap < side and gap < best[0]
            if meets and agents_share_height(buffers, state, slot, w, a, b):
                best = wp.vec3(gap, wp.dot(state.velocity[w, b], along), wp.float32(b))
    return best


@wp.func
def red_on_path(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32) -> wp.float32:
    """Return the gap (m) to the nearest stop line ahead with a red signal, or yellow with enough distance to stop."""
    me = buffers.agents[slot.agent_row + a]
    if state.path_row[w, a] != me.path_row:
        return 1.0e6
    front = state.path_s[w, a] + 0.5 * me.length
    step = wp.min(state.step[w], slot.signal_steps - 1)
    best = wp.float32(1.0e6)
    for k in range(me.stops):
        stop = buffers.stops[slot.stop_row + me.stop_row + k]
        shown = buffers.signals[slot.signal_row + stop.signal * slot.signal_steps + step]
        gap = stop.s - front
        braking = state.speed[w, a] * state.speed[w, a] / (2.0 * wp.max(gap, 0.1))
        obeyed = shown == int(SignalState.RED) or (shown == int(SignalState.YELLOW) and braking < 3.0)
        if obeyed and gap > -0.5 and gap < best:
            best = gap
    return best
