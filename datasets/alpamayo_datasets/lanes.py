"""Lanes of a recorded map, with missing widths, boundaries and successors filled in."""

from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Float64

from alpamayo_sim.datatypes.scene import Lane, LaneKind
from alpamayo_sim.geometry import arc_length, interpolate, polyline_headings, wrap_angle

Array = np.ndarray

DEFAULT_WIDTH_M = {LaneKind.BICYCLE: 1.6}
OTHER_DEFAULT_WIDTH_M = 3.5
WIDTH_RANGE_M = (1.0, 7.0)  # a width outside of it is an error of the file
MIN_SIDE_M = 0.2  # from the centreline to a boundary
MAX_SIDE_M = 8.0  # from the centreline to the edge of a lane's polygon
SUCCESSOR_GAP_M = 0.6  # between the end of a lane and the start of its successor
SUCCESSOR_TURN_RAD = 0.6
BOUNDARY_SPACING_M = 2.0  # between points of a centreline that is made from two boundaries
REPEAT_M = 0.01  # points closer than this repeat each other


@dataclass(frozen=True, eq=False)
class RawLane:
    """A lane as a file gives it, in the file's coordinates (float64), without repeated points.

    ``left`` and ``right`` (m) are the distances of the boundaries from each point of the centreline, NaN where they are
    not known. ``successors`` is None where the file does not name them. ``boundaries`` are the left and the right
    boundary where the file has their points.
    """

    id: str
    centreline: Float64[Array, "n 3"]
    left: Float64[Array, " n"]
    right: Float64[Array, " n"]
    kind: LaneKind = LaneKind.DRIVING
    speed_limit: float | None = None
    successors: tuple[str, ...] | None = None
    left_neighbours: tuple[str, ...] = ()
    right_neighbours: tuple[str, ...] = ()
    in_intersection: bool = False
    boundaries: tuple[Float64[Array, "l 3"], Float64[Array, "r 3"]] | None = None


def without_repeats(line: Float64[Array, "n 3"]) -> Array:
    """Return the indices of the points that are more than a centimetre from the point before."""
    if not len(line):
        return np.zeros(0, int)
    step = np.linalg.norm(np.diff(line[:, :2], axis=0), axis=1)
    return np.concatenate([[0], 1 + np.flatnonzero(step > REPEAT_M)])


def unknown_sides(line: Float64[Array, "n 3"]) -> tuple[Array, Array]:
    """Return the sides of a lane without a known width: NaN."""
    return np.full(len(line), np.nan), np.full(len(line), np.nan)


def sides_from_polygon(line: Float64[Array, "n 3"], ring: Float64[Array, "m 3"]) -> tuple[Array, Array]:
    """Return how far (m) a lane's polygon reaches left and right of each point of its centreline, else NaN."""
    polygon = shapely.make_valid(shapely.Polygon(ring[:, :2]))
    normal = _normals(line)
    reach = np.array([-MAX_SIDE_M, MAX_SIDE_M])
    rays = shapely.linestrings(line[:, None, :2] + reach[:, None] * normal[:, None, :])
    parts, ray = shapely.get_parts(shapely.intersection(rays, polygon), return_index=True)
    xy, part = shapely.get_coordinates(parts, return_index=True)
    ends = np.sum((xy - line[ray[part], :2]) * normal[ray[part]], axis=1)
    first = np.flatnonzero(np.diff(part, prepend=-1))  # coordinate of each part that has any
    left, right = unknown_sides(line)
    if len(first):
        low, high, ray = np.minimum.reduceat(ends, first), np.maximum.reduceat(ends, first), ray[part[first]]
        around = (low <= 1e-6) & (high + 2e-6 >= 1e-6)
        left[ray[around]], right[ray[around]] = high[around], -low[around]
    return left, right


def lane_between(left: Float64[Array, "l 3"], right: Float64[Array, "r 3"]) -> tuple[Array, Array, Array]:
    """Return the centreline between two boundaries and the distances (m) of both from each of its points.

    Boundaries of the same number of points are paired point by point, others at equal shares of their lengths.
    """
    if len(left) != len(right):
        count = max(len(left), len(right), 2 + int(arc_length(left)[-1] / BOUNDARY_SPACING_M))
        left, right = (interpolate(line, np.linspace(0.0, arc_length(line)[-1], count)) for line in (left, right))
    centre = 0.5 * (left + right)
    kept = without_repeats(centre)
    half = 0.5 * np.linalg.norm((left - right)[kept, :2], axis=1)
    if len(kept) > 1:
        half = 0.5 * np.abs(np.sum((left - right)[kept, :2] * _normals(centre[kept]), axis=1))
    return centre[kept], half, half


def lanes_of(raw: list[RawLane], origin: Float64[Array, "3"]) -> tuple[Lane, ...]:
    """Return the lanes of the scene: successors by geometry where the file names none, widths everywhere."""
    successors = _successors(raw)
    known = {lane.id for lane in raw}
    ends = {lane.id: _widths(lane) for lane in raw}
    before: dict[str, str] = {after: lane.id for lane in raw for after in successors[lane.id]}
    made = []
    for lane in raw:
        width = _filled(lane, ends, before.get(lane.id), next(iter(successors[lane.id]), None))
        left, right = _boundaries(lane, origin)
        both = len(left) and len(right)
        made.append(
            Lane(
                id=lane.id,
                centreline=(lane.centreline - origin).astype(np.float32),
                width=width.astype(np.float32),
                left_boundary=left if both else left[:0],
                right_boundary=right if both else right[:0],
                kind=lane.kind,
                speed_limit=lane.speed_limit,
                successors=successors[lane.id],
                left_neighbours=tuple(name for name in lane.left_neighbours if name in known),
                right_neighbours=tuple(name for name in lane.right_neighbours if name in known),
                in_intersection=lane.in_intersection,
            )
        )
    return tuple(made)


def _normals(line: Float64[Array, "n 3"]) -> Float64[Array, "n 2"]:
    """Return unit vectors to the left of a line, at its points."""
    step = np.diff(line[:, :2], axis=0)
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    ahead = np.concatenate([step[:1], step[:-1] + step[1:], step[-1:]])
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-6)
    return np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1)


def _widths(lane: RawLane) -> Float64[Array, " n"]:
    """Return the width (m) at each point; NaN where it is not known or out of range."""
    width = lane.left + lane.right
    good = (lane.left > MIN_SIDE_M) & (lane.right > MIN_SIDE_M)
    good &= (width >= WIDTH_RANGE_M[0]) & (width <= WIDTH_RANGE_M[1])
    return np.where(good, width, np.nan)


def _filled(lane: RawLane, ends: dict[str, Array], before: str | None, after: str | None) -> Float64[Array, " n"]:
    """Return widths with gaps filled from the lane itself, else from its predecessor and successor."""
    width = ends[lane.id]
    known = np.flatnonzero(np.isfinite(width))
    if len(known):
        return np.interp(np.arange(len(width)), known, width[known])
    default = DEFAULT_WIDTH_M.get(lane.kind, OTHER_DEFAULT_WIDTH_M)
    first = ends[before][-1] if before is not None else np.nan
    last = ends[after][0] if after is not None and after in ends else np.nan
    first, last = (default if np.isnan(value) else value for value in (first, last))
    return np.linspace(first, last, len(width))


def _boundaries(lane: RawLane, origin: Array) -> tuple[Array, Array]:
    """Return the boundaries of the file, else those that the widths give."""
    if lane.boundaries is None:
        return _boundary(lane, lane.left, 1.0, origin), _boundary(lane, lane.right, -1.0, origin)
    left, right = (line[without_repeats(line)] - origin for line in lane.boundaries)
    return left.astype(np.float32), right.astype(np.float32)


def _boundary(lane: RawLane, side: Array, sign: float, origin: Array) -> Array:
    """Return the centreline shifted to a side; empty where a width is not known at every point."""
    if not np.isfinite(_widths(lane)).all():
        return np.zeros((0, 3), np.float32)
    line = lane.centreline - origin
    shifted = line[:, :2] + sign * side[:, None] * _normals(lane.centreline)
    return np.concatenate([shifted, line[:, 2:]], axis=1).astype(np.float32)


def _successors(raw: list[RawLane]) -> dict[str, tuple[str, ...]]:
    """Return the successors of each lane: those of the file, else lanes that continue it in position and heading."""
    given = {lane.id: lane.successors for lane in raw}
    if not raw or any(value is not None for value in given.values()):
        return {name: value or () for name, value in given.items()}
    starts = np.array([lane.centreline[0, :2] for lane in raw])
    headings = np.array([polyline_headings(lane.centreline)[[0, -1]] for lane in raw])
    found = {}
    for i, lane in enumerate(raw):
        near = np.hypot(*(starts - lane.centreline[-1, :2]).T) < SUCCESSOR_GAP_M
        same_direction = np.abs(wrap_angle(headings[:, 0] - headings[i, 1])) < SUCCESSOR_TURN_RAD
        found[lane.id] = tuple(raw[k].id for k in np.flatnonzero(near & same_direction) if k != i)
    return found
