"""Overlap and distance of boxes, compared with Shapely."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from alpamayo_datasets import open_log
from alpamayo_sim import testing
from alpamayo_sim.datatypes.scene import Lane, RoadMap
from alpamayo_sim.geometry import box_corners, box_distance, box_separation, oriented, segment_gap
from alpamayo_sim.map import segment_grid as grid
from alpamayo_sim.map.drivable_area import DrivableArea
from alpamayo_sim.map.index import MapIndex


def random_boxes(rng, n, spread):
    pose = np.column_stack([rng.uniform(-spread, spread, (n, 2)), rng.uniform(-20, 20, n)])
    return pose, rng.uniform(0.05, 12.0, (n, 2))


@pytest.mark.parametrize("spread", [1.0, 6.0, 15.0])
def test_overlap_and_distance_equal_shapely(spread):
    rng = np.random.default_rng(int(spread))
    (pose_a, size_a), (pose_b, size_b) = random_boxes(rng, 5000, spread), random_boxes(rng, 5000, spread)
    a, b = (shapely.polygons(box_corners(p, s)) for p, s in ((pose_a, size_a), (pose_b, size_b)))
    distance = box_distance(pose_a, size_a, pose_b, size_b)
    assert np.array_equal(distance < 0.0, shapely.intersects(a, b))
    assert np.array_equal(box_separation(pose_a, size_a, pose_b, size_b) < 0.0, shapely.intersects(a, b))
    apart = distance > 0.0
    assert np.allclose(distance[apart], shapely.distance(a, b)[apart], atol=1e-9)
    assert np.all(box_separation(pose_a, size_a, pose_b, size_b) <= distance + 1e-9)


def test_depth_moves_boxes_apart():
    rng = np.random.default_rng(9)
    pose_a, size_a = random_boxes(rng, 2000, 3.0)
    pose_b, size_b = random_boxes(rng, 2000, 3.0)
    depth = -box_distance(pose_a, size_a, pose_b, size_b)
    rows = depth > 0.0
    bigger = size_a[rows] - 2.0 * depth[rows, None] - 1e-6
    ok = (bigger > 0.0).all(axis=1)
    shrunk = box_separation(pose_a[rows][ok], bigger[ok], pose_b[rows][ok], size_b[rows][ok])
    assert np.all(shrunk > -1e-9)


@given(st.floats(-1e3, 1e3), st.floats(-10, 10), st.floats(-10, 10), st.floats(-3.1, 3.1), st.integers(-4, 4))
def test_distance_is_symmetric_and_ignores_whole_turns(x, y, turn, heading, turns):
    a, b = np.array([x, 0.0, heading]), np.array([x + 3.0, y, turn])
    size_a, size_b = np.array([4.8, 2.0]), np.array([0.6, 0.6])
    once = box_distance(a, size_a, b, size_b)
    wrapped = box_distance(a + np.array([0, 0, 2 * np.pi * turns]), size_a, b, size_b)
    assert once == pytest.approx(float(wrapped), abs=1e-9)
    assert once == pytest.approx(float(box_distance(b, size_b, a, size_a)), abs=1e-9)


def test_segments_and_boxes_intersect_as_in_shapely():
    rng = np.random.default_rng(4)
    start, end = rng.uniform(-8, 8, (3000, 2)), rng.uniform(-8, 8, (3000, 2))
    pose, size = random_boxes(rng, 3000, 5.0)
    lines = shapely.linestrings(np.stack([start, end], axis=1))
    meet = shapely.intersects(lines, shapely.polygons(box_corners(pose, size)))
    assert np.array_equal(segment_gap(start, end, pose, size) <= 0.0, meet)


def test_margin_of_the_grid_is_that_of_the_tree():
    rng = np.random.default_rng(3)
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    rough = (30 + 6 * np.sin(5 * angle) + rng.uniform(-2, 2, 60))[:, None] * np.column_stack(
        [np.cos(angle), np.sin(angle)]
    )
    index = MapIndex(
        RoadMap(drivable_areas=(testing.polyline(*rough), testing.polyline((-60, -4), (60, -4), (60, 4), (-60, 4))))
    )
    xy = rng.uniform(-80, 80, (20000, 2))
    assert np.abs(grid_margin(index, xy) - index.drivable_area.margin(xy)).max() < 1e-9


def grid_margin(index, xy):
    """Return the margin of points as boxes of size 0, computed by the grid instead of the tree."""
    boxes = np.column_stack([xy, np.ones(len(xy)), np.zeros(len(xy))])
    return index.drivable_area.box_margin(boxes, np.zeros(2), np.inf)


def margins_agree(index, xy, boxes, size):
    """The grid gives the tree's margins of points and boxes, for any order of filled cells."""
    area, corners = index.drivable_area, box_corners(boxes, size)
    expected = area.margin(xy)
    assert np.abs(grid_margin(index, xy) - expected).max() < 1e-9
    least = area.margin(corners.reshape(-1, 2)).reshape(*corners.shape[:-1]).min(axis=-1)
    poses = oriented(boxes)
    for furthest in (0.0, 5.0, 1e6):
        assert np.abs(area.box_margin(poses, size, furthest) - np.minimum(least, furthest)).max() < 1e-9
    for tolerance in (0.0, 0.3, 5.0):
        outside = least < -tolerance
        first = np.where(outside.any(axis=1), outside.argmax(axis=1), -1)
        assert np.array_equal(DrivableArea(index.road_map).first_step_outside(poses, size, tolerance), first)
        assert np.array_equal(area.first_step_outside(poses, size, tolerance), first)
    return expected


@pytest.mark.parametrize("seed", range(4))
def test_margin_beside_open_borders_that_end_anywhere(seed):
    """Beyond the end of a road edge the sign changes without a border, also inside cells."""
    rng = np.random.default_rng(seed)
    edges = []
    for _ in range(14):
        turn = rng.uniform(-3, 3) + np.cumsum(rng.normal(0, 0.4, rng.integers(2, 30)))
        step = rng.choice([0.05, 0.5, 7.0]) * np.column_stack([np.cos(turn), np.sin(turn)])
        edges.append(testing.polyline(*(rng.uniform(-30, 30, 2) + np.cumsum(step, axis=0))))
    edges.append(testing.polyline(*(edges[0][::-1, :2] + 0.2)))  # a thin wall with a road at either side
    edges.append(testing.polyline(edges[1][-1, :2], edges[1][-1, :2] + (4.0, 1.0)))
    index = MapIndex(RoadMap(road_edges=tuple(edges)))
    ends = np.concatenate([edge[[0, -1], :2] for edge in edges]).astype(np.float64)
    xy = np.concatenate([
        rng.uniform(-110, 110, (6000, 2)),
        ends[rng.integers(0, len(ends), 6000)] + rng.normal(0, 1.0, (6000, 2)),
        ends[rng.integers(0, len(ends), 20)] + 1e5,
    ])  # fmt: skip
    boxes = np.zeros((120, 20, 3))
    boxes[..., :2] = ends[rng.integers(0, len(ends), 120), None] + np.cumsum(rng.normal(0, 1.0, (120, 20, 2)), axis=1)
    boxes[..., 2], boxes[:4, 10:, :2] = rng.uniform(-4, 4, (120, 20)), 3e4
    margin = margins_agree(index, xy, boxes, np.array([4.8, 2.0]))
    assert 0.1 < np.mean(margin < 0.0) < 0.9


def test_margin_where_polygons_touch_in_a_point():
    squares = [((0, 0), (8, 0), (8, 8), (0, 8)), ((8, 8), (16, 8), (16, 16), (8, 16)), ((8, 8), (4, 20), (2, 18))]
    index, rng = (
        MapIndex(RoadMap(drivable_areas=tuple(testing.polyline(*ring) for ring in squares))),
        np.random.default_rng(0),
    )
    xy = np.concatenate([rng.normal(8, 1.0, (4000, 2)), rng.uniform(-20, 30, (4000, 2))])
    boxes = np.concatenate([rng.normal(8, 3.0, (100, 20, 2)), rng.uniform(-4, 4, (100, 20, 1))], axis=-1)
    margin = margins_agree(index, xy, boxes, np.array([1.6, 0.8]))
    assert 0.1 < np.mean(margin < 0.0) < 0.9


def test_recorded_borders(realdata):
    """Return the road edges of a recording: a few thousand short segments, open at the map's end."""
    scene, rng = open_log(realdata / "womd_json" / "tfrecord-00000-of-01000_402.json"), np.random.default_rng(0)
    index = MapIndex(scene.road_map)
    points = np.concatenate([edge[:, :2] for edge in scene.road_map.road_edges]).astype(np.float64)
    xy = points[rng.integers(0, len(points), 8000)] + rng.normal(0, 6.0, (8000, 2))
    boxes = np.zeros((80, 20, 3))
    boxes[..., :2] = points[rng.integers(0, len(points), 80), None] + np.cumsum(rng.normal(0, 1, (80, 20, 2)), axis=1)
    boxes[..., 2] = rng.uniform(-4, 4, (80, 20))
    margins_agree(index, xy, boxes, np.array([4.8, 2.0]))


def test_margin_where_very_many_borders_are_equally_near(monkeypatch):
    """The candidates exceed the initial size of a cell and of the table."""
    monkeypatch.setattr(grid, "INITIAL_BATCHES", 4)
    rng, angle = np.random.default_rng(0), np.linspace(0, 2 * np.pi, 300, endpoint=False)
    ring = 20.0 * np.column_stack([np.cos(angle), np.sin(angle)])
    index = MapIndex(RoadMap(road_edges=(testing.polyline(*ring, ring[0]),)))
    boxes = np.concatenate([rng.normal(0, 8.0, (60, 20, 2)), rng.uniform(-4, 4, (60, 20, 1))], axis=-1)
    margin = margins_agree(index, rng.normal(0, 8.0, (4000, 2)), boxes, np.array([4.8, 2.0]))
    assert margin.max() > 19.0
    assert margin.min() < 0.0
    lanes = MapIndex(RoadMap(lanes=(Lane("ring", testing.polyline(*ring, ring[0]), np.ones(301, np.float32)),)))
    assert np.allclose(lanes.match_lanes(np.zeros((1, 2))).distance, index.drivable_area.margin(np.zeros((1, 2))))
