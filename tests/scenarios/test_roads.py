import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo_scenarios.alignment import bend, straight
from alpamayo_scenarios.intersections import Phase, four_arms, unroll
from alpamayo_scenarios.roads import CrossSection, curved_road, straight_road
from alpamayo_sim.datatypes.scene import LineKind, RoadMap, SignalState
from alpamayo_sim.geometry import arc_length, polyline_headings, wrap_angle

LIMIT = 13.9


def maps() -> list[RoadMap]:
    section = CrossSection(2, 1, shoulder=1.0, parking=2.3)
    return [
        straight_road(250.0, section, LIMIT).road_map,
        curved_road(320.0, section, LIMIT, 0.01).road_map,
        curved_road(320.0, CrossSection(3), LIMIT, -0.008).road_map,
        four_arms(CrossSection(1, 1), LIMIT, (80.0, 60.0, 90.0, 70.0)).road_map,
        four_arms(CrossSection(3, 3), LIMIT, (80.0, 60.0, 90.0, 70.0)).road_map,
    ]


@pytest.mark.parametrize("road_map", maps())
def test_successors_begin_at_the_end_of_a_lane(road_map: RoadMap) -> None:
    for lane in road_map.lanes:
        end = polyline_headings(lane.centreline)[-1]
        for name in lane.successors:
            after = road_map.lane_by_id[name]
            np.testing.assert_allclose(after.centreline[0], lane.centreline[-1], atol=1e-3)
            assert abs(wrap_angle(polyline_headings(after.centreline)[:1] - end))[0] < 0.15


@pytest.mark.parametrize("road_map", maps())
def test_neighbours_are_mutual_and_share_their_boundary(road_map: RoadMap) -> None:
    seen = 0
    for lane in road_map.lanes:
        for name in lane.left_neighbours:
            left = road_map.lane_by_id[name]
            assert lane.id in left.right_neighbours
            np.testing.assert_allclose(left.right_boundary, lane.left_boundary, atol=1e-4)
            seen += 1
    assert seen or not any(lane.right_neighbours for lane in road_map.lanes)


@pytest.mark.parametrize("road_map", maps())
def test_lanes_lie_between_their_boundaries_and_on_drivable_ground(road_map: RoadMap) -> None:
    ground = shapely.union_all([shapely.Polygon(area[:, :2]) for area in road_map.drivable_areas])
    assert ground.is_valid
    for lane in road_map.lanes:
        line = shapely.LineString(lane.centreline[:, :2])
        assert line.buffer(0.3, cap_style="flat").difference(ground.buffer(0.01)).area < 1e-3, lane.id
        for boundary, sign in ((lane.left_boundary, 1.0), (lane.right_boundary, -1.0)):
            along = lane.centreline[1, :2] - lane.centreline[0, :2]
            away = boundary[0, :2] - lane.centreline[0, :2]
            assert sign * (along[0] * away[1] - along[1] * away[0]) > 0.0
            assert np.hypot(*away) == pytest.approx(0.5 * lane.width[0], abs=1e-3)


@pytest.mark.parametrize("road_map", maps())
def test_road_edges_have_the_road_at_their_left(road_map: RoadMap) -> None:
    ground = shapely.union_all([shapely.Polygon(area[:, :2]) for area in road_map.drivable_areas])
    for edge in road_map.road_edges:
        step = np.diff(edge[:, :2], axis=0)
        middle = 0.5 * (edge[1:, :2] + edge[:-1, :2])
        left = np.stack([-step[:, 1], step[:, 0]], axis=-1) / np.linalg.norm(step, axis=1, keepdims=True)
        assert shapely.contains_xy(ground, middle + 0.2 * left).all()
        assert not shapely.contains_xy(ground, middle - 0.2 * left).any()


@given(radius=st.floats(60.0, 400.0), left=st.booleans(), offset=st.floats(-8.0, 8.0))
@settings(max_examples=30, deadline=None)
def test_a_bend_has_its_radius(radius: float, left: bool, offset: float) -> None:
    side = 1.0 if left else -1.0
    line = bend(300.0, side / radius, 30.0)
    arc = np.array([60.0, 65.0, 70.0])
    a, b, c = line.position(arc, offset)
    ab, bc, ca = np.linalg.norm(b - a), np.linalg.norm(c - b), np.linalg.norm(a - c)
    area = 0.5 * abs((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
    assert ab * bc * ca / (4.0 * area) == pytest.approx(radius - side * offset, rel=0.01)


def test_an_alignment_keeps_its_length_and_never_turns_too_far() -> None:
    line = bend(500.0, 0.02, 10.0)
    assert arc_length(line.xy)[-1] == pytest.approx(500.0, rel=1e-4)
    assert line.heading[-1] == pytest.approx(1.4, abs=0.02)
    assert straight(10.0, (1.0, 2.0), np.pi / 2).pose(4.0, 1.0) == pytest.approx((0.0, 6.0, np.pi / 2))
    assert straight(10.0).pose(4.0, -1.0, forward=False) == pytest.approx((4.0, -1.0, -np.pi))


def test_every_arm_has_three_exits_with_the_right_turns() -> None:
    crossing = four_arms(CrossSection(2, 2), LIMIT, (80.0, 80.0, 80.0, 80.0))
    turned = {"left": np.pi / 2, "right": -np.pi / 2, "through": 0.0}
    connectors = [lane for lane in crossing.road_map.lanes if lane.in_intersection]
    assert len(connectors) == 4 * (2 + 1 + 1)
    for lane in connectors:
        headings = polyline_headings(lane.centreline)
        turn = wrap_angle(headings[-1:] - headings[:1])[0]
        assert turn == pytest.approx(turned[lane.id.rsplit("-", 1)[1]], abs=0.1)


def test_signals_stand_right_of_the_stop_lines_of_their_lanes() -> None:
    crossing = four_arms(CrossSection(2, 2), LIMIT, (80.0, 80.0, 80.0, 80.0))
    phases = (Phase(SignalState.GREEN, 5.0),)
    for signal in crossing.signals(phases, phases, 11):
        lane = crossing.road_map.lane_by_id[signal.lane_ids[0]]
        start, ahead = lane.centreline[0, :2], lane.centreline[1, :2] - lane.centreline[0, :2]
        away = signal.position[:2] - start
        assert abs(away @ ahead) / np.hypot(*ahead) < 1e-3
        assert ahead[0] * away[1] - ahead[1] * away[0] < 0.0
        assert len(signal.states) == 11


def test_phases_are_unrolled_and_repeat() -> None:
    phases = (Phase(SignalState.GREEN, 0.5), Phase(SignalState.YELLOW, 0.2), Phase(SignalState.RED, 0.3))
    states = unroll(phases, 25, 0.1, offset=0.25)
    assert states.tolist() == [3, 3, 3, 2, 2, 1, 1, 1, 3, 3, 3, 3, 3, 2, 2, 1, 1, 1, 3, 3, 3, 3, 3, 2, 2]


def test_line_kinds_tell_one_way_from_two_way_roads() -> None:
    one_way = straight_road(50.0, CrossSection(2), LIMIT).road_map.road_lines
    two_way = straight_road(50.0, CrossSection(1, 1), LIMIT).road_map.road_lines
    wide = straight_road(50.0, CrossSection(2, 2), LIMIT).road_map.road_lines
    assert sorted(line.kind for line in one_way) == [LineKind.BROKEN_WHITE, LineKind.SOLID_WHITE, LineKind.SOLID_YELLOW]
    assert LineKind.BROKEN_YELLOW in {line.kind for line in two_way}
    assert [line.kind for line in wide].count(LineKind.DOUBLE_YELLOW) == 1
