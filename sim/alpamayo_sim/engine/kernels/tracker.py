# mypy: ignore-errors
"""The built-in tracker: from a plan to acceleration and curvature.

Over the first 0.8 s of the plan, speed as a function of time and heading as a function of arc length are each
fitted by a quadratic (least squares), which gives the plan's own acceleration and curvature at its start however
they change. The car's deviation from that start, along and across, is fed back with critically damped gains: in
time over 0.5 s, and in arc length over the distance of 0.7 s, at least 2 m.
"""

from alpamayo_sim.engine.kernels.dynamics import MAX_CURVATURE_PER_M, MAX_DECELERATION_MPS2
from alpamayo_sim.engine.kernels.layout import ScenarioBuffers
from alpamayo_sim.engine.kernels.paths import wrapped
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

FITTED_WAYPOINTS = wp.constant(8)  # waypoints
PLAN_DT = wp.constant(0.1)
STANDSTILL_TOLERANCE = wp.constant(0.05)  # m/s and m; slower and nearer than this the plan stands
TIME_SCALE_S = wp.constant(0.5)
LENGTH_SCALE_S = wp.constant(0.7)
MIN_LENGTH_SCALE_M = wp.constant(2.0)


@wp.func
def quadratic_fit(normal: wp.mat33, right: wp.vec3) -> wp.vec3:
    """Return the coefficients of a + b x + c x² from the normal equations, slightly damped in c for short data."""
    ridge = 1.0e-5 * normal[2, 2] + 1.0e-9
    damped = normal + wp.diag(wp.vec3(1.0e-9, 1.0e-9, ridge))
    return wp.inverse(damped) * right


@wp.func
def powers(x: wp.float32) -> wp.vec3:
    """1, x and x²."""
    return wp.vec3(1.0, x, x * x)


@wp.kernel
def track(buffers: ScenarioBuffers, state: State, plans: wp.array3d[wp.vec4], controls: wp.array2d[wp.vec2]):
    """Write controls (acceleration m/s², curvature 1/m) that follow each ego's plan over the next step."""
    w, e = wp.tid()
    dt = buffers.slots[buffers.slot_of[w]].dt
    speed = state.speed[w, e]
    first = plans[w, e, 0]
    half = 0.5 * wrapped(first[2])
    along = wp.cos(half) * first[0] + wp.sin(half) * first[1]
    across = wp.cos(half) * first[1] - wp.sin(half) * first[0]
    behind = along - 0.5 * (speed + first[3]) * PLAN_DT

    last = plans[w, e, 0]
    s = along
    heading = wrapped(first[2])
    in_time = wp.mat33()
    in_length = wp.mat33()
    speeds = wp.vec3(0.0, 0.0, 0.0)
    headings = wp.vec3(0.0, 0.0, 0.0)
    timed = wp.int32(0)
    for k in range(FITTED_WAYPOINTS):
        point = plans[w, e, k]
        turn = wrapped(point[2] - last[2])
        middle = last[2] + 0.5 * turn
        s += wp.cos(middle) * (point[0] - last[0]) + wp.sin(middle) * (point[1] - last[1])
        heading += turn
        if timed == k and (k == 0 or last[3] > STANDSTILL_TOLERANCE):
            t = powers(PLAN_DT * wp.float32(k + 1))
            in_time += wp.outer(t, t)
            speeds += point[3] * t
            timed += 1
        x = powers(s)
        in_length += wp.outer(x, x)
        headings += heading * x
        last = point

    if (
        first[3] < STANDSTILL_TOLERANCE
        and last[3] < STANDSTILL_TOLERANCE
        and s < STANDSTILL_TOLERANCE + 0.5 * speed * PLAN_DT
    ):
        controls[w, e] = wp.vec2(-wp.min(speed / dt, MAX_DECELERATION_MPS2), state.curvature[w, e])
        return
    acceleration = (first[3] - speed) / PLAN_DT + behind / (TIME_SCALE_S * TIME_SCALE_S)
    if timed >= 5:
        fit = quadratic_fit(in_time, speeds)
        steady = fit[1] + fit[2] * dt
        acceleration = steady + 2.0 * (fit[0] - speed) / TIME_SCALE_S + behind / (TIME_SCALE_S * TIME_SCALE_S)
    curvature = state.curvature[w, e]
    if s > 0.2:
        fit = quadratic_fit(in_length, headings)
        scale = wp.max(LENGTH_SCALE_S * speed, MIN_LENGTH_SCALE_M)
        steady = fit[1] + fit[2] * wp.max(along, 0.0)
        curvature = steady + 2.0 * fit[0] / scale + across / (scale * scale)
    controls[w, e] = wp.vec2(acceleration, wp.clamp(curvature, -MAX_CURVATURE_PER_M, MAX_CURVATURE_PER_M))
