# mypy: ignore-errors
"""Where everybody will be who goes on as now: straight on, or along a path."""

from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

ZERO = wp.constant(wp.float64(0.0))
HALF = wp.constant(wp.float64(0.5))
ONE = wp.constant(wp.float64(1.0))


@wp.struct
class Paths:
    """Paths on end: path i has the points ``first`` [i] to ``first`` [i + 1]; x, y, heading at their arc lengths."""

    first: wp.array[wp.int32]
    s: wp.array[wp.float64]
    points: wp.array[wp.vec3d]


@wp.struct
class Sideways:
    """Bounds of what goes on sideways: of its time and way, and of the time that a change of its speed goes on."""

    lasting: wp.float64
    furthest: wp.float64
    growing: wp.float64


@wp.func
def way_at(time: wp.float64, speed: wp.float64, deceleration: wp.float64) -> wp.float64:
    """Way of one who brakes down to rest."""
    lasting = wp.float64(time)
    if deceleration > ZERO:
        lasting = wp.min(time, speed / deceleration)
    return speed * lasting - HALF * deceleration * lasting * lasting


@wp.func
def drift_at(time: wp.float64, speed: wp.float64, change: wp.float64, bounds: Sideways) -> wp.float64:
    """Way sideways at a speed that changes for a while."""
    lasting = wp.min(time, bounds.lasting)
    growing = wp.min(lasting, bounds.growing)
    way = speed * lasting + change * growing * (lasting - HALF * growing)
    return wp.clamp(way, -bounds.furthest, bounds.furthest)


@wp.func
def point_at(paths: Paths, i: wp.int32, s: wp.float64) -> wp.vec3d:
    """The point of a path between its points i and i + 1."""
    part = (s - paths.s[i]) / (paths.s[i + 1] - paths.s[i])
    return paths.points[i] + part * (paths.points[i + 1] - paths.points[i])


@wp.func
def beside(paths: Paths, i: wp.int32, s: wp.float64, left: wp.float64) -> wp.vec3d:
    """The pose beside a path, so far to its left."""
    here = point_at(paths, i, s)
    return wp.vec3d(here[0] - left * wp.sin(here[2]), here[1] + left * wp.cos(here[2]), here[2])


@wp.kernel
def go_on(
    motion: wp.array2d[wp.float64],
    path: wp.array[wp.int32],
    paths: Paths,
    bounds: Sideways,
    times: wp.array[wp.float64],
    poses: wp.array2d[wp.vec3d],
    velocity: wp.array2d[wp.vec2d],
):
    """Poses and velocities of each at ``times`` from now: with no ``path`` (-1) in a line, else along it.

    A row of ``motion`` is the pose now (x, y, heading), the direction (x, y), the speed and the deceleration; then,
    for a path, the arc length now, how far to its left, the turn to it, and the speed sideways and how that grows.
    The turn is eased out in the time for which a drift lasts.
    """
    i = wp.tid()
    steps = wp.int32(poses.shape[1])
    m = motion[i]
    pose = wp.vec3d(m[0], m[1], m[2])
    away = wp.vec3d(ZERO, ZERO, ZERO)
    at = wp.int32(0)
    first = wp.int32(0)
    last = wp.int32(0)
    if path[i] >= 0:
        first = paths.first[path[i]]
        last = paths.first[path[i] + 1] - 1
        at = wp.int32(first)
        while at < last - 1 and paths.s[at + 1] <= m[7]:
            at += 1
        away = pose - beside(paths, at, wp.clamp(m[7], paths.s[first], paths.s[last]), m[8])
    for t in range(steps):
        way = way_at(times[t], m[5], m[6])
        if path[i] < 0:
            poses[i, t] = wp.vec3d(m[0] + way * m[3], m[1] + way * m[4], m[2])
        else:
            s = wp.clamp(m[7] + way, paths.s[first], paths.s[last])
            while at < last - 1 and paths.s[at + 1] <= s:
                at += 1
            there = beside(paths, at, s, m[8] + drift_at(times[t], m[10], m[11], bounds))
            eased = wp.max(ONE - times[t] / bounds.lasting, ZERO) * m[9]
            poses[i, t] = wp.vec3d(there[0] + away[0], there[1] + away[1], there[2] + eased)
        if t > 0:
            step = poses[i, t] - poses[i, t - 1]
            dt = times[t] - times[t - 1]
            velocity[i, t - 1] = wp.vec2d(step[0] / dt, step[1] / dt)
    velocity[i, steps - 1] = velocity[i, steps - 2]
