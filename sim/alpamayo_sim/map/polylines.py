"""The polylines of a map as flat arrays, and the geometry of one segment."""

import enum
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int8, Int32

from alpamayo_sim.datatypes.scene import RoadMap
from alpamayo_sim.errors import InputError

Array = np.ndarray


class MapLineKind(enum.IntEnum):
    """What a polyline of :class:`MapArrays` is."""

    LANE = 0
    EDGE = 1
    LINE = 2


@dataclass(frozen=True, eq=False)
class MapArrays:
    """All polylines of a map in flat arrays: lane centrelines, then road edges, then painted lines.

    Polyline ``k`` has the points ``offsets[k]:offsets[k + 1]``. It is element ``source[k]`` of ``RoadMap.lanes``,
    ``.road_edges`` or ``.road_lines``, according to ``kind[k]`` (``MapLineKind``). Segment ``i`` goes from point
    ``segment_start[i]`` to the next point and belongs to polyline ``segment_polyline[i]``.
    """

    points: Float32[Array, "p 3"]
    offsets: Int32[Array, " lines_and_one"]
    kind: Int8[Array, " lines"]
    source: Int32[Array, " lines"]
    segment_start: Int32[Array, " m"]
    segment_polyline: Int32[Array, " m"]


def map_arrays(road_map: RoadMap) -> MapArrays:
    """Return the map's polylines as flat arrays."""
    lines = [lane.centreline for lane in road_map.lanes]
    lines += [*road_map.road_edges, *(line.line for line in road_map.road_lines)]
    counts = (len(road_map.lanes), len(road_map.road_edges), len(road_map.road_lines))
    offsets = np.concatenate([[0], np.cumsum([len(line) for line in lines])]).astype(np.int32)
    points = np.concatenate([np.zeros((0, 3), np.float32), *lines]).astype(np.float32)
    is_start = np.ones(len(points), bool)
    is_start[offsets[1:] - 1] = False
    polyline = np.repeat(np.arange(len(lines)), np.diff(offsets))
    return MapArrays(
        points=points,
        offsets=offsets,
        kind=np.repeat(np.array(list(MapLineKind), np.int8), counts),
        source=np.concatenate([np.arange(count) for count in counts]).astype(np.int32),
        segment_start=np.flatnonzero(is_start).astype(np.int32),
        segment_polyline=polyline[is_start].astype(np.int32),
    )


def foot_on_segment(
    xy: Float64[Array, "n 2"], start: Float64[Array, "n 2"], step: Float64[Array, "n 2"]
) -> tuple[Float64[Array, " n"], Float64[Array, "n 2"]]:
    """Return the foot of each point on its segment: the fraction along it, and the vector from foot to point (m)."""
    t = np.sum((xy - start) * step, axis=1) / np.maximum(np.sum(step**2, axis=1), 1e-12)
    t = np.clip(t, 0.0, 1.0)
    return t, xy - start - t[:, None] * step


def turned_left(vectors: Float64[Array, "n 2"]) -> Float64[Array, "n 2"]:
    """Return the vectors turned left by a right angle."""
    return np.stack([-vectors[:, 1], vectors[:, 0]], axis=1)


def checked_points(xy: Array) -> Float64[Array, "n 2"]:
    """Return points as float64.

    Raises:
        InputError: The shape is not [n, 2], or a value is not finite.
    """
    points = np.asarray(xy, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise InputError(f"map index: xy has shape {points.shape}, must be finite numbers of shape [n, 2]")
    return points


def checked_headings(heading: Array, count: int) -> Float64[Array, " n"]:
    """Return ``count`` headings as float64.

    Raises:
        InputError: The shape is not [count], or a value is not finite.
    """
    angles = np.asarray(heading, np.float64)
    if angles.shape != (count,) or not np.isfinite(angles).all():
        raise InputError(f"map index: heading has shape {angles.shape}, must be finite numbers of shape [{count}]")
    return angles
