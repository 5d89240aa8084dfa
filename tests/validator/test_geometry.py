"""Overlap and distance of boxes against shapely."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from alpamayo_sim.geometry import box_corners, box_distance, box_separation, segment_gap


def random_boxes(rng, n, spread):
    pose = np.column_stack([rng.uniform(-spread, spread, (n, 2)), rng.uniform(-20, 20, n)])
    return pose, rng.uniform(0.05, 12.0, (n, 2))


@pytest.mark.parametrize("spread", [1.0, 6.0, 15.0])
def test_overlap_and_distance_are_shapelys(spread):
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
def test_distance_knows_no_whole_turns_and_no_order(x, y, turn, heading, turns):
    a, b = np.array([x, 0.0, heading]), np.array([x + 3.0, y, turn])
    size_a, size_b = np.array([4.8, 2.0]), np.array([0.6, 0.6])
    once = box_distance(a, size_a, b, size_b)
    wrapped = box_distance(a + np.array([0, 0, 2 * np.pi * turns]), size_a, b, size_b)
    assert once == pytest.approx(float(wrapped), abs=1e-9)
    assert once == pytest.approx(float(box_distance(b, size_b, a, size_a)), abs=1e-9)


def test_segments_meet_boxes_as_in_shapely():
    rng = np.random.default_rng(4)
    start, end = rng.uniform(-8, 8, (3000, 2)), rng.uniform(-8, 8, (3000, 2))
    pose, size = random_boxes(rng, 3000, 5.0)
    lines = shapely.linestrings(np.stack([start, end], axis=1))
    meet = shapely.intersects(lines, shapely.polygons(box_corners(pose, size)))
    assert np.array_equal(segment_gap(start, end, pose, size) <= 0.0, meet)


def test_margin_of_the_field_is_the_index(make):
    from alpamayo.validator.drivable import DrivableField
    from alpamayo_sim.map_index import MapIndex
    from alpamayo_sim.scene import RoadMap

    rng = np.random.default_rng(3)
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    rough = (30 + 6 * np.sin(5 * angle) + rng.uniform(-2, 2, 60))[:, None] * np.column_stack(
        [np.cos(angle), np.sin(angle)]
    )
    index = MapIndex(RoadMap(drivable_areas=(make.line(*rough), make.line((-60, -4), (60, -4), (60, 4), (-60, 4)))))
    xy = rng.uniform(-80, 80, (20000, 2))
    assert np.abs(DrivableField(index).margin(xy) - index.drivable_margin(xy)).max() < 1e-9
