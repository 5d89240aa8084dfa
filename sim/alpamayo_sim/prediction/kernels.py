# mypy: ignore-errors
"""Warp kernels of the prediction: agents that go straight on, or along a path."""

from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

ZERO = wp.constant(wp.float64(0.0))
HALF = wp.constant(wp.float64(0.5))
ONE = wp.constant(wp.float64(1.0))


@wp.struct
class Paths:
    """Paths one after the other: path i has points ``first[i]`` to ``first[i + 1]``; x, y, heading at arc lengths."""

    first: wp.array[wp.int32]
    s: wp.array[wp.float64]
    points: wp.array[wp.vec3d]


@wp.struct
class LateralBounds:
    """Bounds of a lateral motion: its duration and distance, and the duration of its acceleration."""

    duration: wp.float64
    distance: wp.float64
    acceleration_duration: wp.float64


@wp.func
def distance_at(time: wp.float64, speed: wp.float64, deceleration: wp.float64) -> wp.float64:
    """Return the distance covered by an agent that brakes to standstill."""
    moving_time = wp.float64(time)
    if deceleration > ZERO:
        moving_time = wp.min(time, speed / deceleration)
    return speed * moving_time - HALF * deceleration * moving_time * moving_time


@wp.func
def lateral_distance_at(
    time: wp.float64, speed: wp.float64, acceleration: wp.float64, bounds: LateralBounds
) -> wp.float64:
    """Return the lateral distance at a speed that changes for a while."""
    moving_time = wp.min(time, bounds.duration)
    growing_time = wp.min(moving_time, bounds.acceleration_duration)
    distance = speed * moving_time + acceleration * growing_time * (moving_time - HALF * growing_time)
    return wp.clamp(distance, -bounds.distance, bounds.distance)


@wp.func
def point_at(paths: Paths, i: wp.int32, s: wp.float64) -> wp.vec3d:
    """Interpolate a path between its points i and i + 1."""
    part = (s - paths.s[i]) / (paths.s[i + 1] - paths.s[i])
    return paths.points[i] + part * (paths.points[i + 1] - paths.points[i])


@wp.func
def pose_left_of(paths: Paths, i: wp.int32, s: wp.float64, left: wp.float64) -> wp.vec3d:
    """Return the pose at a distance to the left of a path."""
    here = point_at(paths, i, s)
    return wp.vec3d(here[0] - left * wp.sin(here[2]), here[1] + left * wp.cos(here[2]), here[2])


@wp.kernel
def predict_poses(
    motion: wp.array2d[wp.float64],
    path: wp.array[wp.int32],
    paths: Paths,
    bounds: LateralBounds,
    times: wp.array[wp.float64],
    poses: wp.array2d[wp.vec3d],
    velocity: wp.array2d[wp.vec2d],
):
    """Predict poses and velocities of agents at ``times``; straight on without a ``path`` (-1), else along it.

    A row of ``motion`` is the present pose (x, y, heading), the direction (x, y), speed and deceleration. For a path
    these follow: the present arc length, the distance to its left, the angle to it, the lateral speed and the lateral
    acceleration. The angle decreases to zero within the duration of a lateral motion.
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
        away = pose - pose_left_of(paths, at, wp.clamp(m[7], paths.s[first], paths.s[last]), m[8])
    for t in range(steps):
        distance = distance_at(times[t], m[5], m[6])
        if path[i] < 0:
            poses[i, t] = wp.vec3d(m[0] + distance * m[3], m[1] + distance * m[4], m[2])
        else:
            s = wp.clamp(m[7] + distance, paths.s[first], paths.s[last])
            while at < last - 1 and paths.s[at + 1] <= s:
                at += 1
            there = pose_left_of(paths, at, s, m[8] + lateral_distance_at(times[t], m[10], m[11], bounds))
            eased = wp.max(ONE - times[t] / bounds.duration, ZERO) * m[9]
            poses[i, t] = wp.vec3d(there[0] + away[0], there[1] + away[1], there[2] + eased)
        if t > 0:
            step = poses[i, t] - poses[i, t - 1]
            dt = times[t] - times[t - 1]
            velocity[i, t - 1] = wp.vec2d(step[0] / dt, step[1] / dt)
    velocity[i, steps - 1] = velocity[i, steps - 2]
