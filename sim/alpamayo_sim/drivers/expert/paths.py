"""Candidate paths: from the ego's pose to a lateral offset, in several lengths, some with a way back."""

from dataclasses import dataclass

import numpy as np

from alpamayo_sim.map.frenet import RouteFrame

Array = np.ndarray

GRID = 1.0  # m of route between the points of a path
POINTS = 240
AHEAD = GRID * np.arange(POINTS)


@dataclass(frozen=True)
class Target:
    """Where a path goes: to ``offset`` (m) within ``length`` (m); back to ``home`` from arc length ``back_at`` on."""

    offset: float
    length: float
    back_at: float = np.inf
    back_length: float = 20.0
    home: float = 0.0


@dataclass(frozen=True, eq=False)
class Paths:
    """Paths as functions of their own arc length, every ``GRID`` m: position, heading, curvature, s and d."""

    xy: Array  # [p, n, 2]
    heading: Array  # [p, n]
    curvature: Array  # [p, n]
    s: Array  # [p, n] of the route
    d: Array  # [p, n]
    targets: tuple[Target, ...]

    def at(self, path: Array, way: Array) -> tuple[Array, Array]:
        """Indices and weights for linear interpolation at arc lengths ``way`` of paths ``path``."""
        u = np.clip(way / GRID, 0.0, POINTS - 1.001)
        i = u.astype(np.int64)
        return path * POINTS + i, u - i


def interpolate_rows(values: Array, at: tuple[Array, Array]) -> Array:
    """Values [p, n] at what ``Paths.at`` gave."""
    flat, (i, f) = values.reshape(-1), at
    return flat[i] * (1.0 - f) + flat[i + 1] * f


def quintic(start: tuple[float, float, float], end: float, length: float, x: Array) -> Array:
    """The quintic from (value, slope, second derivative) at 0 to a level ``end`` at ``length``, and level after.

    Werling et al., "Optimal trajectory generation for dynamic street scenarios in a Frenet frame", ICRA 2010.
    """
    y0, slope, bend = start
    u = np.clip(x / length, 0.0, 1.0)
    a1, a2 = slope * length, 0.5 * bend * length**2
    gap = end - y0 - a1 - a2
    v, w = -a1 - 2.0 * a2, -2.0 * a2
    a3 = 10.0 * gap - 4.0 * v + 0.5 * w
    a4 = -15.0 * gap + 7.0 * v - w
    a5 = 6.0 * gap - 3.0 * v + 0.5 * w
    return y0 + u * (a1 + u * (a2 + u * (a3 + u * (a4 + u * a5))))


def make_paths(
    frame: RouteFrame,
    s0: float,
    start: tuple[float, float, float],
    targets: list[Target],
    previous: tuple[Array, Array, Target] | None,
) -> Paths:
    """Paths to all targets, and the path of the last step once more (its s, its d and its target)."""
    rows, kept = [], list(targets)
    for target in targets:
        d = quintic(start, target.offset, target.length, AHEAD)
        if np.isfinite(target.back_at):
            x = AHEAD - max(target.back_at - s0, 0.0)
            back = quintic((target.offset, 0.0, 0.0), target.home, target.back_length, np.maximum(x, 0.0))
            d = d + (back - target.offset)
        rows.append(d)
    if previous is not None:
        s, d, target = previous
        again = np.interp(s0 + AHEAD, s, d)
        error = start[0] - again[0]
        turn = start[1] - (again[1] - again[0]) / GRID
        rows.append(again + (error + (turn + error / 8.0) * AHEAD) * np.exp(-AHEAD / 8.0))
        kept.append(target)
    return _paths(frame, s0, np.array(rows), tuple(kept))


def _paths(frame: RouteFrame, s0: float, d: Array, targets: tuple[Target, ...]) -> Paths:
    s = s0 + AHEAD
    centre, route_heading, _ = frame.at(s)
    normal = np.stack([-np.sin(route_heading), np.cos(route_heading)], axis=-1)
    xy = centre[None] + normal[None] * d[..., None]
    steps = np.diff(xy, axis=1)
    lengths = np.hypot(steps[..., 0], steps[..., 1])
    way = np.concatenate([np.zeros((len(d), 1)), np.cumsum(lengths, axis=1)], axis=1)
    x, y, s_out, d_out = (np.empty_like(way) for _ in range(4))
    for p in range(len(d)):
        at = np.interp(AHEAD, way[p], AHEAD) / GRID
        i = np.minimum(at.astype(np.int64), POINTS - 2)
        f = at - i
        for out, values in ((x, xy[p, :, 0]), (y, xy[p, :, 1]), (s_out, s), (d_out, d[p])):
            out[p] = values[i] * (1.0 - f) + values[i + 1] * f
    heading = np.unwrap(np.arctan2(np.gradient(y, GRID, axis=1), np.gradient(x, GRID, axis=1)), axis=1)
    curvature = np.gradient(heading, GRID, axis=1)
    return Paths(np.stack([x, y], axis=-1), heading, curvature, s_out, d_out, targets)
