"""Candidate paths: from the ego's pose to a lateral offset, in several lengths, some with a return to the route."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.map.frenet import RouteFrame

Array = np.ndarray

SPACING_M = 1.0  # between the points of a path
POINT_COUNT = 240
ARC_LENGTHS_M = SPACING_M * np.arange(POINT_COUNT)
DECAY_LENGTH_M = 8.0  # within which a deviation from the previous path decays


@dataclass(frozen=True)
class Target:
    """The end of a path, in the route's frame; distances in m.

    Attributes:
        offset: the lateral offset from the route.
        length: the length within which that offset is reached.
        back_at: the arc length from which the path returns; infinite if it does not.
        back_length: the length of the return.
        home: the lateral offset after the return.
    """

    offset: float
    length: float
    back_at: float = np.inf
    back_length: float = 20.0
    home: float = 0.0


@dataclass(frozen=True, eq=False)
class Paths:
    """Paths as functions of their own arc length, one point every ``SPACING_M``.

    Attributes:
        xy: positions (m) in world coordinates.
        heading: headings (rad), continuous along each path.
        curvature: curvatures (1/m).
        s: arc lengths (m) on the route.
        d: offsets (m) from the route.
        targets: the target of each path.
    """

    xy: Float64[Array, "p n 2"]
    heading: Float64[Array, "p n"]
    curvature: Float64[Array, "p n"]
    s: Float64[Array, "p n"]
    d: Float64[Array, "p n"]
    targets: tuple[Target, ...]

    def at(self, path: Array, distance: Array) -> tuple[Array, Array]:
        """Return indices and weights to interpolate paths at distances (m) along them; both arguments broadcast."""
        u = np.clip(distance / SPACING_M, 0.0, POINT_COUNT - 1.001)
        i = u.astype(np.int64)
        return path * POINT_COUNT + i, u - i


def interpolate_rows(values: Float64[Array, "p n"], at: tuple[Array, Array]) -> Array:
    """Interpolate values at the points of all paths with the result of ``Paths.at``."""
    flat, (i, f) = values.reshape(-1), at
    return flat[i] * (1.0 - f) + flat[i + 1] * f


def quintic(start: tuple[float, float, float], end: float, length: float, x: Array) -> Array:
    """Evaluate a quintic from ``start`` at 0 to the value ``end`` at ``length``; constant beyond.

    Source: Werling et al., "Optimal trajectory generation for dynamic street scenarios in a Frenet frame", ICRA 2010.

    Args:
        start: value, slope and second derivative at 0.
        end: the value at ``length``, where slope and second derivative are 0.
        length: the length of the quintic.
        x: the points at which it is evaluated.
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
    """Make paths to all targets, and continue the path that was chosen at the previous step.

    Args:
        frame: the route.
        s0: the arc length (m) of the ego.
        start: the ego's offset (m), and its first and second derivative by arc length.
        targets: the targets.
        previous: arc lengths, offsets (m) and target of the path chosen before; None at the first step.
    """
    rows, kept = [], list(targets)
    for target in targets:
        d = quintic(start, target.offset, target.length, ARC_LENGTHS_M)
        if np.isfinite(target.back_at):
            x = ARC_LENGTHS_M - max(target.back_at - s0, 0.0)
            back = quintic((target.offset, 0.0, 0.0), target.home, target.back_length, np.maximum(x, 0.0))
            d = d + (back - target.offset)
        rows.append(d)
    if previous is not None:
        s, d, target = previous
        old = np.interp(s0 + ARC_LENGTHS_M, s, d)
        error = start[0] - old[0]
        turn = start[1] - (old[1] - old[0]) / SPACING_M
        rows.append(
            old + (error + (turn + error / DECAY_LENGTH_M) * ARC_LENGTHS_M) * np.exp(-ARC_LENGTHS_M / DECAY_LENGTH_M)
        )
        kept.append(target)
    return _paths(frame, s0, np.array(rows), tuple(kept))


def _paths(frame: RouteFrame, s0: float, d: Array, targets: tuple[Target, ...]) -> Paths:
    """Convert offsets from the route to paths with equally spaced points."""
    s = s0 + ARC_LENGTHS_M
    centre, route_heading, _ = frame.at(s)
    normal = np.stack([-np.sin(route_heading), np.cos(route_heading)], axis=-1)
    xy = centre[None] + normal[None] * d[..., None]
    steps = np.diff(xy, axis=1)
    lengths = np.hypot(steps[..., 0], steps[..., 1])
    distance = np.concatenate([np.zeros((len(d), 1)), np.cumsum(lengths, axis=1)], axis=1)
    x, y, s_out, d_out = (np.empty_like(distance) for _ in range(4))
    for p in range(len(d)):
        at = np.interp(ARC_LENGTHS_M, distance[p], ARC_LENGTHS_M) / SPACING_M
        i = np.minimum(at.astype(np.int64), POINT_COUNT - 2)
        f = at - i
        for out, values in ((x, xy[p, :, 0]), (y, xy[p, :, 1]), (s_out, s), (d_out, d[p])):
            out[p] = values[i] * (1.0 - f) + values[i + 1] * f
    heading = np.unwrap(np.arctan2(np.gradient(y, SPACING_M, axis=1), np.gradient(x, SPACING_M, axis=1)), axis=1)
    curvature = np.gradient(heading, SPACING_M, axis=1)
    return Paths(np.stack([x, y], axis=-1), heading, curvature, s_out, d_out, targets)
