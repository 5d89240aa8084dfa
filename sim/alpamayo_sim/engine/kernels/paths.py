# mypy: ignore-errors
"""Geometry of paths on the device: rows of x, y, heading (not wrapped), arc length."""

import math

from alpamayo_sim.warp_runtime import wp

PI = wp.constant(math.pi)


@wp.func
def wrapped(angle: wp.float32) -> wp.float32:
    """Return an angle (rad) wrapped to [-pi, pi)."""
    return angle - 2.0 * PI * wp.floor((angle + PI) / (2.0 * PI))


@wp.func
def between(a: wp.vec3, b: wp.vec3, t: wp.float32) -> wp.vec3:
    """Return the pose at fraction ``t`` between two poses; the heading turns the short way."""
    return wp.vec3(a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), a[2] + t * wrapped(b[2] - a[2]))


@wp.func
def along_arc(pose: wp.vec3, distance: wp.float32, curvature: wp.float32) -> wp.vec3:
    """Return the pose after ``distance`` (m) on a circle: the exact chord, in the mean heading."""
    half = 0.5 * distance * curvature
    chord = distance * (1.0 - half * half / 6.0)
    if wp.abs(half) > 0.02:
        chord = distance * wp.sin(half) / half
    return wp.vec3(
        pose[0] + chord * wp.cos(pose[2] + half),
        pose[1] + chord * wp.sin(pose[2] + half),
        wrapped(pose[2] + 2.0 * half),
    )


@wp.func
def segment_at(paths: wp.array[wp.vec4], first: wp.int32, points: wp.int32, s: wp.float32) -> wp.int32:
    """Return the segment of a path at arc length ``s``, by bisection."""
    low = wp.int32(0)
    high = wp.int32(points - 1)
    while high - low > 1:
        middle = (low + high) / 2
        if paths[first + middle][3] <= s:
            low = middle
        else:
            high = middle
    return low


@wp.func
def path_at(paths: wp.array[wp.vec4], first: wp.int32, points: wp.int32, s: wp.float32) -> wp.vec3:
    """Return the pose on a path at arc length ``s``, clamped to its ends; the heading is linear between points."""
    i = first + segment_at(paths, first, points, s)
    a = paths[i]
    b = paths[i + 1]
    t = wp.clamp((s - a[3]) / (b[3] - a[3]), 0.0, 1.0)
    c = a + t * (b - a)
    return wp.vec3(c[0], c[1], c[2])


@wp.func
def foot_on(paths: wp.array[wp.vec4], i: wp.int32, point: wp.vec2, low: wp.float32) -> wp.vec3:
    """Return the foot of a point on segment ``i`` from arc length ``low`` on: arc length, signed offset, distance."""
    a = paths[i]
    b = paths[i + 1]
    length = b[3] - a[3]
    along = wp.vec2((b[0] - a[0]) / length, (b[1] - a[1]) / length)
    away = wp.vec2(point[0] - a[0], point[1] - a[1])
    t = wp.clamp(wp.dot(away, along), wp.clamp(low - a[3], 0.0, length), length)
    left = along[0] * away[1] - along[1] * away[0]
    gap = away - t * along
    distance = wp.length(gap)
    return wp.vec3(a[3] + t, wp.where(left < 0.0, -distance, distance), distance)
