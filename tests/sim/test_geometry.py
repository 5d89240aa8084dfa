import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alpamayo_sim.geometry import (
    arc_length,
    box_corners,
    box_separation,
    boxes_overlap,
    from_frame,
    heights_overlap,
    interpolate,
    polyline_headings,
    project,
    rotate,
    to_frame,
    wrap_angle,
)

place = st.floats(-50.0, 50.0)
angle = st.floats(-10.0, 10.0)
side = st.floats(0.1, 12.0)
pose = st.tuples(place, place, angle).map(lambda p: np.array(p))
size = st.tuples(side, side).map(lambda p: np.array(p))
near_pose = st.tuples(st.floats(-8.0, 8.0), st.floats(-8.0, 8.0), angle).map(lambda p: np.array(p))


@st.composite
def polylines(draw: st.DrawFn) -> np.ndarray:
    """Lines of 2 to 8 points that bend by less than a right angle from segment to segment."""
    count = draw(st.integers(1, 7))
    turns = draw(arrays(float, count, elements=st.floats(-1.2, 1.2)))
    steps = draw(arrays(float, count, elements=st.floats(0.5, 20.0)))
    heading = draw(angle) + np.cumsum(turns)
    ahead = steps[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(ahead, axis=0)])


@given(angle)
def test_wrapped_angles_are_the_same_angle_in_range(value: float) -> None:
    wrapped = wrap_angle(np.array(value))
    assert -np.pi <= wrapped <= np.pi
    assert np.cos(wrapped - value) == pytest.approx(1.0)


def test_boxes_meet_on_one_level_only() -> None:
    """A car of 1.6 m: on one ground, half a metre up, on a bridge and below it, on a slab, on unknown ground."""
    grounds = np.array([0.0, 0.5, 6.0, -6.0, 1.6, -1.6, np.nan])
    expected = [True, True, False, False, False, False, True]
    assert heights_overlap(0.0, 1.6, grounds, 1.6).tolist() == expected
    assert heights_overlap(grounds, 1.6, 0.0, 1.6).tolist() == expected
    assert heights_overlap(0.0, 4.5, 4.0, 0.3)  # a truck under a sign that hangs too low


def test_wrapping_keeps_shape_and_ends() -> None:
    assert wrap_angle(np.zeros((2, 0, 3))).shape == (2, 0, 3)
    np.testing.assert_allclose(wrap_angle(np.array([np.pi, -np.pi, 3 * np.pi])), [-np.pi] * 3)


@given(pose, st.tuples(place, place).map(np.array))
def test_frames_are_inverse_and_keep_lengths(frame: np.ndarray, xy: np.ndarray) -> None:
    inside = to_frame(xy, frame)
    np.testing.assert_allclose(from_frame(inside, frame), xy, atol=1e-9)
    assert np.hypot(*inside) == pytest.approx(np.hypot(*(xy - frame[:2])), abs=1e-9)


def test_frames_have_x_forward_and_y_left() -> None:
    north = np.array([10.0, 20.0, np.pi / 2])
    np.testing.assert_allclose(from_frame(np.array([2.0, 1.0]), north), [9.0, 22.0], atol=1e-12)
    np.testing.assert_allclose(to_frame(np.array([9.0, 22.0]), north), [2.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(rotate(np.array([1.0, 0.0]), np.pi / 2), [0.0, 1.0], atol=1e-12)


def test_box_corners_are_in_their_stated_order() -> None:
    corners = box_corners(np.array([1.0, 2.0, 0.0]), np.array([4.0, 2.0]))
    np.testing.assert_allclose(corners, [[3, 3], [3, 1], [-1, 1], [-1, 3]])
    assert box_corners(np.zeros((3, 5, 3)), np.ones((3, 5, 2))).shape == (3, 5, 4, 2)


@given(near_pose, size, near_pose, size)
@settings(max_examples=400, deadline=None)
def test_overlap_agrees_with_polygons(a: np.ndarray, sa: np.ndarray, b: np.ndarray, sb: np.ndarray) -> None:
    one, two = shapely.Polygon(box_corners(a, sa)), shapely.Polygon(box_corners(b, sb))
    separation = float(box_separation(a, sa, b, sb))
    if abs(separation) > 1e-9:
        assert boxes_overlap(a, sa, b, sb) == one.intersects(two)
    distance = one.distance(two)
    assert separation <= distance + 1e-9  # a lower bound of the distance
    assert separation == pytest.approx(float(box_separation(b, sb, a, sa)), abs=1e-9)
    if separation < -1e-6:
        assert one.intersection(two).area > 0.0


@given(st.floats(-20.0, 20.0), st.floats(-1.0, 1.0), st.floats(0.5, 6.0))
def test_separation_is_exact_where_edges_face_each_other(x: float, y: float, length: float) -> None:
    a, b = np.zeros(3), np.array([x, y, 0.0])
    sa, sb = np.array([4.0, 2.0]), np.array([length, 2.0])
    expected = max(abs(x) - 2.0 - 0.5 * length, abs(y) - 2.0)
    assert box_separation(a, sa, b, sb) == pytest.approx(expected, abs=1e-12)


def test_touching_boxes_overlap_and_batches_broadcast() -> None:
    a, b = np.zeros((1, 3)), np.array([[4.0, 0.0, 0.0], [4.01, 0.0, 0.0]])
    boxes = np.array([[4.0, 2.0]])
    assert boxes_overlap(a, boxes, b, boxes).tolist() == [True, False]
    assert box_separation(np.zeros((7, 1, 3)), boxes, np.zeros((5, 3)), boxes).shape == (7, 5)


@given(polylines(), st.floats(0.0, 1.0))
@settings(deadline=None)
def test_lengths_and_places_agree_with_shapely(line: np.ndarray, share: float) -> None:
    shape = shapely.LineString(line)
    assert arc_length(line)[0] == 0.0
    assert arc_length(line)[-1] == pytest.approx(shape.length)
    s = share * shape.length
    np.testing.assert_allclose(
        interpolate(line, np.array(s)), shapely.get_coordinates(shape.interpolate(s))[0], atol=1e-9
    )


@given(polylines(), st.tuples(place, place))
@settings(deadline=None)
def test_projection_agrees_with_shapely(line: np.ndarray, xy: tuple[float, float]) -> None:
    shape, point = shapely.LineString(line), shapely.Point(xy)
    (s,), (offset,) = project(line, np.array([xy]))
    assert abs(offset) == pytest.approx(shape.distance(point), abs=1e-6)
    foot = interpolate(line, np.array(s))
    assert np.hypot(*(foot - xy)) == pytest.approx(shape.distance(point), abs=1e-6)


def test_projection_is_positive_on_the_left() -> None:
    line = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0]])
    s, offset = project(line, np.array([[5.0, 2.0], [5.0, -2.0], [12.0, 5.0], [8.0, 5.0]]))
    np.testing.assert_allclose(s, [5.0, 5.0, 15.0, 15.0])
    np.testing.assert_allclose(offset, [2.0, -2.0, -2.0, 2.0])


def test_projection_survives_repeated_points_and_the_ends() -> None:
    line = np.array([[0.0, 0.0], [0.0, 0.0], [10.0, 0.0], [10.0, 0.0]])
    s, offset = project(line, np.array([[-3.0, 4.0], [14.0, -3.0], [4.0, 1.0], [13.0, 0.0]]))
    np.testing.assert_allclose(s, [0.0, 10.0, 4.0, 10.0])
    np.testing.assert_allclose(offset, [5.0, -5.0, 1.0, 3.0])


def test_interpolation_clamps_to_the_ends_and_keeps_heights() -> None:
    line = np.array([[0.0, 0.0, 1.0], [4.0, 0.0, 3.0]], np.float32)
    np.testing.assert_allclose(interpolate(line, np.array([-1.0, 2.0, 9.0])), [[0, 0, 1], [2, 0, 2], [4, 0, 3]])


@given(polylines())
def test_headings_point_along_the_segments(line: np.ndarray) -> None:
    headings = polyline_headings(line)
    step = np.diff(line, axis=0)
    ahead = np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    np.testing.assert_allclose(np.sum(ahead[:-1] * step, axis=1), np.linalg.norm(step, axis=1), rtol=1e-9)
    assert headings[-1] == headings[-2]
