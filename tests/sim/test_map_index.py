"""The map index against shapely, point by point."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo_sim.datatypes.scene import Lane, LineKind, RoadLine, RoadMap
from alpamayo_sim.errors import InputError
from alpamayo_sim.map.index import MapIndex
from alpamayo_sim.map.polylines import MapLineKind

seeds = st.integers(0, 2**32 - 1)


def polyline(rng: np.random.Generator, points: int = 8, extent: float = 60.0) -> np.ndarray:
    """A smooth random line: a walk with a slowly changing heading."""
    heading = rng.uniform(-np.pi, np.pi) + np.cumsum(rng.normal(0.0, 0.2, points))
    steps = rng.uniform(2.0, 8.0, points)[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    xy = rng.uniform(-extent, extent, 2) + np.cumsum(steps, axis=0)
    return np.concatenate([xy, np.zeros((points, 1))], axis=1).astype(np.float32)


def lane(name: str, centreline: np.ndarray, width: float = 3.5) -> Lane:
    return Lane(name, centreline, np.full(len(centreline), width, np.float32))


def straight(name: str, y: float, reverse: bool = False, width: float = 3.5) -> Lane:
    line = np.array([[0, y, 0], [50, y, 0], [100, y, 0]], np.float32)
    return lane(name, line[::-1].copy() if reverse else line, width)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_nearest_lane_is_shapelys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = [polyline(rng) for _ in range(6)]
    xy = rng.uniform(-80, 80, (30, 2))
    match = MapIndex(RoadMap(lanes=tuple(lane(str(i), line) for i, line in enumerate(lines)))).nearest_lane(xy)
    strings = [shapely.LineString(line[:, :2]) for line in lines]
    distance = np.array([[shapely.Point(p).distance(string) for string in strings] for p in xy])
    np.testing.assert_allclose(match.distance, distance.min(axis=1), atol=1e-6)
    np.testing.assert_allclose(distance[np.arange(30), match.index], distance.min(axis=1), atol=1e-6)
    along = [strings[k].project(shapely.Point(p)) for k, p in zip(match.index, xy, strict=True)]
    np.testing.assert_allclose(match.s, along, atol=1e-5)
    np.testing.assert_allclose(np.abs(match.offset), match.distance, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_heading_has_its_documented_cost(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = [polyline(rng) for _ in range(5)]
    xy, heading = rng.uniform(-80, 80, (20, 2)), rng.uniform(-np.pi, np.pi, 20)
    match = MapIndex(RoadMap(lanes=tuple(lane(str(i), line) for i, line in enumerate(lines)))).nearest_lane(xy, heading)
    for row in range(len(xy)):
        cost = min(
            shapely.Point(xy[row]).distance(shapely.LineString([a, b]))
            + 2.0 * (1.0 - np.cos(heading[row] - np.arctan2(b[1] - a[1], b[0] - a[0])))
            for line in lines
            for a, b in zip(line[:-1, :2].astype(float), line[1:, :2].astype(float), strict=True)
        )
        found = match.distance[row] + 2.0 * (1.0 - np.cos(heading[row] - match.heading[row]))
        assert found == pytest.approx(cost, abs=1e-6)


@pytest.mark.parametrize("reach", [0.5, 5.0, 8.0])
def test_few_points_with_a_maximum_distance_match_as_many(reach: float) -> None:
    """Few points search one disc, many points their nearest segments first."""
    rng = np.random.default_rng(3)
    index = MapIndex(RoadMap(lanes=tuple(lane(str(i), polyline(rng)) for i in range(12))))
    xy, heading = rng.uniform(-60, 60, (200, 2)), rng.uniform(-np.pi, np.pi, 200)
    many = index.nearest_lane(xy, heading, reach)
    assert (many.index >= 0).any()
    assert (many.index < 0).any()
    for count in (1, 8):
        parts = [index.nearest_lane(xy[k : k + count], heading[k : k + count], reach) for k in range(0, 200, count)]
        for name in ("index", "s", "offset", "heading", "distance"):
            assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(many, name))


def test_the_lane_of_the_same_direction_wins() -> None:
    index = MapIndex(RoadMap(lanes=(straight("east", -1.75), straight("west", 1.75, reverse=True))))
    xy = np.array([[30.0, 0.5], [30.0, 0.5]])
    match = index.nearest_lane(xy, np.array([0.0, np.pi]))
    assert match.index.tolist() == [0, 1]
    np.testing.assert_allclose(match.offset, [2.25, 1.25], atol=1e-6)
    np.testing.assert_allclose(match.s, [30.0, 70.0], atol=1e-6)
    assert index.nearest_lane(xy).index.tolist() == [1, 1]


def test_no_lane_in_reach() -> None:
    empty = MapIndex(RoadMap()).nearest_lane(np.zeros((2, 2)))
    assert empty.index.tolist() == [-1, -1]
    assert np.isinf(empty.distance).all()
    near = MapIndex(RoadMap(lanes=(straight("a", 0.0),))).nearest_lane(np.array([[5.0, 3.0], [5.0, 30.0]]), None, 10.0)
    assert near.index.tolist() == [0, -1]
    assert np.isfinite(near.heading).all()


def star(rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
    """A random simple polygon, with vertices in- and outward."""
    angle = np.sort(rng.uniform(-np.pi, np.pi, 12))
    ring = centre + rng.uniform(5.0, 30.0, 12)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([ring, np.zeros((12, 1))], axis=1).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_margin_of_one_area_is_shapelys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ring = star(rng, np.zeros(2))
    index = MapIndex(RoadMap(drivable_areas=(ring,)))
    xy = rng.uniform(-40, 40, (50, 2))
    polygon = shapely.make_valid(shapely.Polygon(ring[:, :2]))
    expected = [
        shapely.Point(p).distance(polygon.boundary) * (1 if polygon.covers(shapely.Point(p)) else -1) for p in xy
    ]
    np.testing.assert_allclose(index.drivable_area.margin(xy), expected, atol=1e-6)
    assert (index.drivable_area.contains(xy) == (np.array(expected) >= 0)).all()


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_edges_with_the_road_at_their_left_agree_with_the_area(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ring = star(rng, np.zeros(2))
    polygon = shapely.Polygon(ring[:, :2])
    if not polygon.is_valid:
        return
    closed = np.concatenate([ring, ring[:1]])
    edges = (closed[:5], closed[4:])  # two edges that meet end to end
    xy = rng.uniform(-40, 40, (50, 2))
    by_area = MapIndex(RoadMap(drivable_areas=(ring,))).drivable_area.margin(xy)
    by_edges = MapIndex(RoadMap(road_edges=edges)).drivable_area.margin(xy)
    np.testing.assert_allclose(by_edges, by_area, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_margin_of_a_union(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rings = [star(rng, rng.uniform(-20, 20, 2)) for _ in range(3)]
    index = MapIndex(RoadMap(drivable_areas=tuple(rings)))
    xy = rng.uniform(-50, 50, (50, 2))
    area = shapely.union_all([shapely.make_valid(shapely.Polygon(ring[:, :2])) for ring in rings])
    sign = np.where(shapely.contains_xy(area, xy), 1.0, -1.0)
    expected = sign * shapely.distance(area.boundary, shapely.points(xy))
    margin = index.drivable_area.margin(xy)
    assert (np.sign(margin) == sign)[np.abs(expected) > 0.11].all()
    wide = index.drivable_area.margin(xy) >= expected - 1e-6  # closing gaps only adds ground
    assert wide.all()


def test_a_gap_between_two_areas_is_closed() -> None:
    left = np.array([[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]], np.float32)
    right = left + np.array([10.05, 0, 0], np.float32)
    index = MapIndex(RoadMap(drivable_areas=(left, right)))
    assert index.drivable_area.margin(np.array([[10.02, 5.0]]))[0] == pytest.approx(5.0, abs=1e-3)


def test_lanes_replace_a_missing_area() -> None:
    index = MapIndex(RoadMap(lanes=(straight("a", 0.0), straight("b", 3.5))))
    margin = index.drivable_area.margin(np.array([[50.0, 0.0], [50.0, -1.70], [50.0, -2.0], [50.0, 1.75]]))
    np.testing.assert_allclose(margin, [1.75, 0.05, -0.25, 3.5], atol=1e-5)


def test_no_drivable_area() -> None:
    index = MapIndex(RoadMap())
    assert not index.drivable_area.is_defined
    with pytest.raises(InputError, match="no drivable area"):
        index.drivable_area.contains(np.zeros((1, 2)))


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0.0, 60.0))
def test_segments_in_radius_are_all_and_only_those(seed: int, radius: float) -> None:
    rng = np.random.default_rng(seed)
    lines = [polyline(rng) for _ in range(3)]
    index = MapIndex(
        RoadMap(
            lanes=(lane("a", lines[0]),), road_edges=(lines[1],), road_lines=(RoadLine(lines[2], LineKind.SOLID_WHITE),)
        )
    )
    arrays = index.arrays
    assert arrays.kind.tolist() == [MapLineKind.LANE, MapLineKind.EDGE, MapLineKind.LINE]
    xy = rng.uniform(-80, 80, (5, 2))
    rows, segments = index.segments_in_radius(xy, radius)
    start = arrays.segment_start
    found = set(zip(rows.tolist(), segments.tolist(), strict=True))
    for row, point in enumerate(xy):
        for i in range(len(start)):
            ends = arrays.points[[start[i], start[i] + 1], :2].astype(float)
            near = shapely.Point(point).distance(shapely.LineString(ends))
            if abs(near - radius) > 1e-9:
                assert ((row, i) in found) == (near <= radius)


def test_values_that_are_not_finite_are_refused() -> None:
    index = MapIndex(RoadMap(lanes=(straight("a", 0.0),)))
    with pytest.raises(InputError, match="xy"):
        index.nearest_lane(np.array([[np.nan, 0.0]]))
    with pytest.raises(InputError, match="heading"):
        index.nearest_lane(np.zeros((1, 2)), np.array([np.inf]))
    with pytest.raises(InputError, match="radius"):
        index.segments_in_radius(np.zeros((1, 2)), float("nan"))
