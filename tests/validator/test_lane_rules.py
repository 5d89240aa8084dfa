"""Rules of lanes, signals, kinematics and RSS on plans."""

from dataclasses import replace

import numpy as np
import pytest

from alpamayo.validator import score_plans
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim import testing
from alpamayo_sim.datatypes.scene import Lane, RoadMap, Signal, SignalState, StopLine
from alpamayo_sim.map.index import MapIndex


def rule(scene, plan, name, **kwargs):
    return score_plans(scene, plan[None], 0.0, truth=testing.ground_truth_at(scene), **kwargs).rules[name]


def with_line(scene, x, states=None, lane="east-0"):
    """Return the scene with a stop line at x across a lane, and with a signal if it has states."""
    line = StopLine("stop", testing.polyline((x, -1.75), (x, 1.75)), (lane,))
    scene = replace(scene, road_map=replace(scene.road_map, stop_lines=(line,)))
    if states is None:
        return scene
    signal = Signal("light", np.zeros(3, np.float32), np.asarray(states, np.int8), (lane,))
    return replace(scene, signals=(signal,))


@pytest.mark.parametrize("family", ["red-light-runner", "cut-in"])
def test_the_grid_finds_the_lanes_of_the_tree(family):
    road_map = make_scenario(family, 1).scene.road_map
    index, rng = MapIndex(road_map), np.random.default_rng(0)
    points = np.concatenate([lane.centreline[:, :2] for lane in road_map.lanes]).astype(float)
    xy = points[rng.integers(0, len(points), 3000)] + rng.normal(0, 4.0, (3000, 2))
    heading = rng.uniform(-7, 7, 3000)
    ours, theirs = index.match_lanes(xy, heading), index.nearest_lane(xy, heading)
    same = ours.index == theirs.index
    assert np.mean(same) > 0.999  # equal costs but for the last bit may go either way
    for name in ("s", "offset", "heading", "distance"):
        assert np.allclose(getattr(ours, name)[same], getattr(theirs, name)[same], atol=1e-6)


def test_driving_direction():
    on = rule(testing.scene(), testing.plan(10.0), "driving_direction")
    assert on.value[0] == 1.0
    assert on.margin[0] == 2.0
    over = rule(testing.scene(), testing.plan(10.0, lateral=3.5), "driving_direction")
    assert over.value[0] == 0.0
    assert 1.0 < over.violation_time[0] < 3.0
    slow = rule(testing.scene(ego=testing.moving("ego", 0.0, 2.0, 4.0)), testing.plan(4.0), "driving_direction")
    assert slow.value[0] == 0.5
    against = testing.scene(route=None, ego=testing.moving("ego", 0.0, 3.5, 10.0))
    assert rule(against, testing.plan(10.0), "driving_direction").value[0] == 0.0


def test_lane_keeping_needs_two_seconds():
    assert rule(testing.scene(), testing.plan(10.0), "lane_keeping").value[0] == 1.0
    off = rule(testing.scene(ego=testing.moving("ego", 0.0, 0.7, 10.0)), testing.plan(10.0), "lane_keeping")
    assert off.value[0] == 0.0
    assert off.margin[0] == pytest.approx(-0.2, abs=1e-3)
    assert off.violation_time[0] == pytest.approx(1.9)
    short = rule(
        testing.scene(ego=testing.moving("ego", 0.0, 0.7, 10.0)), testing.plan(10.0), "lane_keeping", horizon=1.5
    )
    assert short.value[0] == 1.0


def test_speed_limit_is_nuplans():
    scene = testing.scene(ego=testing.moving("ego", 0.0, 0.0, 15.9))
    result = rule(scene, testing.plan(15.9), "speed_limit")
    assert result.margin[0] == pytest.approx(-2.0, abs=1e-4)
    assert result.value[0] == pytest.approx(1 - 2.0 * 41 * 0.1 / (2.23 * 4.0), abs=1e-3)
    assert rule(testing.scene(), testing.plan(10.0), "speed_limit").value[0] == 1.0
    unknown = testing.scene(road_map=testing.two_way_road(speed_limit=None))
    assert not rule(unknown, testing.plan(10.0), "speed_limit").valid[0]


RED, GREEN = int(SignalState.RED), int(SignalState.GREEN)


def test_red_light():
    red = with_line(testing.scene(), 20.0, [RED] * 100)
    crossed = rule(red, testing.plan(10.0), "red_light")
    assert crossed.value[0] == 0.0
    assert crossed.violation_time[0] == pytest.approx((20.0 - 2.4) / 10.0, abs=0.11)
    waits = rule(red, testing.plan(10.0, -3.5), "red_light")
    assert waits.value[0] == 1.0
    assert waits.margin[0] == pytest.approx(20.0 - 2.4 - 100 / 7.0, abs=0.1)
    green = with_line(testing.scene(), 20.0, [GREEN] * 100)
    assert rule(green, testing.plan(10.0), "red_light").margin[0] == 50.0
    turns = with_line(testing.scene(), 20.0, [GREEN] * 19 + [RED] * 81)
    assert rule(turns, testing.plan(10.0), "red_light").value[0] == 1.0
    late = with_line(testing.scene(), 20.0, [GREEN] * 10 + [RED] * 90)
    assert rule(late, testing.plan(10.0), "red_light").value[0] == 0.0
    other = with_line(testing.scene(), 20.0, [RED] * 100, lane="west-0")
    assert rule(other, testing.plan(10.0), "red_light").value[0] == 1.0
    assert not rule(testing.scene(), testing.plan(10.0), "red_light").valid[0]


def test_signals_have_the_steps_of_their_scene():
    """At 20 m/s a line 40 m ahead is reached at 1.9 s; a scene of 0.2 s has that in its ninth step."""
    for red_from, kept in ((9, False), (10, True)):
        scene = with_line(
            testing.scene(ego=testing.moving("ego", 0.0, 0.0, 20.0)),
            40.0,
            [GREEN] * red_from + [RED] * (100 - red_from),
        )
        result = rule(replace(scene, dt=0.2), testing.plan(20.0), "red_light")
        assert (result.value[0] == 1.0) == kept


def test_red_light_without_a_line_is_at_the_start_of_the_lane():
    scene = testing.scene()
    lane = replace(
        scene.road_map.lanes[0], centreline=testing.polyline((20, 0), (400, 0)), width=np.full(2, 3.5, np.float32)
    )
    scene = replace(scene, road_map=replace(scene.road_map, lanes=(lane,)))
    signal = Signal("light", np.zeros(3, np.float32), np.full(100, RED, np.int8), ("east-0",))
    result = rule(replace(scene, signals=(signal,)), testing.plan(10.0), "red_light")
    assert result.violation_time[0] == pytest.approx(1.8, abs=0.11)


def test_stop_lines():
    scene = with_line(testing.scene(ego=testing.moving("ego", 0.0, 0.0, 8.0)), 20.0)
    assert rule(scene, testing.plan(8.0), "stop_line").value[0] == 0.0
    plan = testing.plan(8.0, -2.0)
    stop = np.concatenate([plan[:40], plan[:24]])
    stop[40:, 0] = plan[39, 0] + 0.1 * np.cumsum(0.1 * 2.5 * np.arange(1, 25))
    stop[40:, 3] = 0.25 * np.arange(1, 25)
    assert plan[39, 0] == pytest.approx(16.0, abs=0.1)  # the nose stands 1.6 m before the line
    assert rule(scene, stop, "stop_line", horizon=6.4).value[0] == 1.0
    assert not rule(testing.scene(), testing.plan(8.0), "stop_line").valid[0]


def test_kinematics():
    assert rule(testing.scene(), testing.plan(10.0, -6.0), "kinematics").value[0] == 1.0
    assert rule(testing.scene(), testing.plan(10.0, -12.0), "kinematics").value[0] == 0.0
    bend = rule(testing.scene(), testing.plan(10.0, curvature=0.12), "kinematics")
    assert bend.value[0] == 0.0
    assert bend.margin[0] == pytest.approx(0.9 * 9.81 + 0.5 - 12.0, abs=0.3)
    assert "m/s² of 9.3 m/s², first" in bend.reasons[0]
    tight = rule(
        testing.scene(ego=testing.moving("ego", 0.0, 0.0, 2.0)), testing.plan(2.0, curvature=0.5), "kinematics"
    )
    assert tight.value[0] == 0.0
    assert tight.reasons[0] == "curvature 0.50 1/m, allowed 0.25 1/m, first at 0.0 s"
    back = testing.plan(3.0)
    back[:, 0] *= -1
    reverse = rule(testing.scene(ego=testing.moving("ego", 0.0, 0.0, 3.0)), back, "kinematics")
    assert reverse.value[0] == 0.0
    assert reverse.reasons[0] == "drives backwards at 3.0 m/s, first at 0.1 s"
    ice = replace(testing.scene(), environment=replace(testing.scene().environment, friction=0.2))
    assert rule(ice, testing.plan(10.0, -4.0), "kinematics").value[0] == 0.0


def test_rss():
    assert rule(testing.scene(), testing.plan(10.0), "rss").margin[0] == 5.0
    parked = testing.scene(testing.standing("parked", 15.0, 2.6))
    assert rule(parked, testing.plan(10.0), "rss").value[0] == 1.0
    lead = testing.scene(testing.moving("lead", 15.0, 0.0, 10.0))
    tails = rule(lead, testing.plan(10.0), "rss")
    assert tails.value[0] == 0.0
    assert tails.violation_time[0] == pytest.approx(1.1, abs=0.11)
    answers = rule(lead, testing.plan(10.0, -4.5), "rss")
    assert answers.value[0] == 1.0
    assert "proper response" in answers.reasons[0]
    behind = testing.scene(testing.moving("tailgater", -8.0, 0.0, 10.0))
    assert rule(behind, testing.plan(10.0), "rss").value[0] == 1.0


def test_making_progress():
    assert rule(testing.scene(), testing.plan(10.0), "making_progress").value[0] == 1.0
    still = testing.scene(ego=testing.standing("ego", 0.0, 0.0))
    assert rule(still, testing.plan(0.0), "making_progress").value[0] == 0.0


def test_maps_without_lanes_have_no_lane_rules():
    bare = testing.scene(road_map=testing.two_way_road(0))
    for name in ("driving_direction", "lane_keeping", "speed_limit", "red_light", "stop_line"):
        result = rule(bare, testing.plan(10.0), name)
        assert not result.valid[0], name
        assert np.isnan(result.value[0])


def test_tolerant_drivable_area():
    scene, plans = testing.scene(), np.stack([testing.plan(10.0, lateral=y) for y in (0.0, -0.9, -1.75)])
    verdict = score_plans(scene, plans, 0.0, truth=testing.ground_truth_at(scene))
    strict, tolerant = verdict.rules["drivable_area"], verdict.rules["drivable_area_nuplan"]
    assert strict.value.tolist() == [1.0, 0.0, 0.0]
    assert tolerant.value.tolist() == [1.0, 1.0, 0.0]
    assert np.allclose(tolerant.margin, strict.margin + 0.3)
    assert tolerant.reasons[0] == strict.reasons[0] == "0.75 m to the edge of the drivable area"
    assert tolerant.reasons[1] == f"up to {-strict.margin[1]:.2f} m outside the drivable area, 0.3 m are allowed"
    assert tolerant.reasons[2].endswith(f"by up to {-strict.margin[2]:.2f} m")
    assert np.all((verdict.scores["nuplan_cls"].value > 0.0) == [True, True, False])


def test_degenerate_maps_are_not_applicable_or_judged_but_never_perfect_by_default():
    """Polygons and lanes without extent, as in damaged logs."""
    point = testing.polyline((3, 3), (3, 3), (3, 3))
    flat = RoadMap(drivable_areas=(point,))
    lane = Lane(id="dot", centreline=point[:2], width=np.full(2, 3.5, np.float32))
    names = ("drivable_area", "driving_direction", "lane_keeping", "speed_limit", "drivable_area_nuplan")
    scene = testing.scene(road_map=flat)
    verdict = score_plans(scene, testing.plan(10.0)[None], 0.0, truth=testing.ground_truth_at(scene))
    for name in names:
        assert not verdict.rules[name].valid[0], name
        assert not verdict.rules[name].error
        assert np.isnan(verdict.rules[name].value[0])
    dot = replace(lane, speed_limit=5.0)
    for route in (True, False):
        scene = testing.scene(
            road_map=RoadMap(lanes=(dot,), drivable_areas=(point,)), route=testing.FIRST_LANE if route else None
        )
        verdict = score_plans(scene, testing.plan(10.0)[None], 0.0, truth=testing.ground_truth_at(scene))
        assert not any(rule.error for rule in verdict.rules.values())
        for name in names:
            assert not verdict.rules[name].valid[0], name
            assert np.isnan(verdict.rules[name].value[0])


def test_lines_without_extent_are_ignored():
    """A point cannot be crossed, so the rule is not applicable."""
    scene = testing.scene()
    point = StopLine("dot", testing.polyline((20, 0), (20, 0)), ("east-0",))
    dotted = replace(scene, road_map=replace(scene.road_map, stop_lines=(point,)))
    assert not rule(dotted, testing.plan(10.0), "stop_line").valid[0]
    lane = replace(
        scene.road_map.lanes[0],
        centreline=testing.polyline((20, 0), (20, 0), (400, 0)),
        width=np.full(3, 3.5, np.float32),
    )
    dotted = replace(dotted, road_map=replace(dotted.road_map, lanes=(lane,)))
    for lanes, known in ((("east-0",), True), (("unknown",), False), ((), False)):
        signal = Signal("light", np.zeros(3, np.float32), np.full(100, RED, np.int8), lanes)
        result = rule(replace(dotted, signals=(signal,)), testing.plan(10.0), "red_light")
        assert result.valid[0] == known, lanes
        assert result.violated[0] == known  # at the start of the lane, since its line is none


UNKNOWN = int(SignalState.UNKNOWN)


def test_a_light_of_unknown_state_is_not_applicable():
    scene = with_line(testing.scene(), 20.0, [UNKNOWN] * 100)
    for plan in (testing.plan(10.0), testing.plan(10.0, -3.5)):
        result = rule(scene, plan, "red_light")
        assert not result.valid[0]
        assert np.isnan(result.value[0])
    verdict = score_plans(scene, testing.plan(10.0)[None], 0.0, truth=testing.ground_truth_at(scene))
    assert "red_light" in verdict.scores["epdms"].missing[0]


def test_unknown_where_the_line_is_crossed_is_not_kept():
    """Known before and after: only the motion that crosses while the state is unknown cannot be judged."""
    scene = with_line(testing.scene(), 20.0, [GREEN] * 10 + [UNKNOWN] * 20 + [RED] * 70)
    plans = np.stack([testing.plan(10.0), testing.plan(10.0, -3.5)])
    result = score_plans(scene, plans, 0.0, truth=testing.ground_truth_at(scene)).rules["red_light"]
    assert result.valid.tolist() == [False, True]
    assert result.value[1] == 1.0
    assert not result.violated.any()


def at_the_line(states=None):
    """Return a scene with an ego that stands 0.6 m before a line."""
    scene = with_line(testing.scene(ego=testing.moving("ego", 17.0, 0.0, 0.0)), 20.0, states)
    return replace(scene, tracks=(testing.standing("ego", 17.0, 0.0),))


def test_waiting_at_a_red_light_is_progress():
    scene = at_the_line([RED] * 100)
    plans = np.stack([testing.plan(0.0), testing.plan(0.0, 2.0)])
    verdict = score_plans(scene, plans, 0.0, truth=testing.ground_truth_at(scene))
    assert verdict.rules["red_light"].value.tolist() == [1.0, 0.0]
    assert verdict.rules["progress"].value.tolist() == [1.0, 1.0]
    assert verdict.scores["pdms"].value[0] == 1.0
    assert verdict.scores["nuplan_cls"].value[0] == 1.0
    green = at_the_line([GREEN] * 100)
    started = score_plans(green, plans, 0.0, truth=testing.ground_truth_at(green)).rules["progress"]
    assert started.value.tolist() == [0.0, 1.0]


def test_the_reference_starts_when_the_light_turns_green():
    scene = at_the_line([RED] * 10 + [GREEN] * 90)
    result = rule(scene, testing.plan(0.0), "progress")
    possible = float(result.reasons[0].split()[5])
    assert 0.5 * 2.0 * 3.0**2 <= possible <= 12.2  # 2 m/s² for 3 s, and what it has crept up to the line before


def test_the_reference_stops_at_a_stop_sign_and_starts_again():
    scene = with_line(testing.scene(), 20.0)
    free = float(rule(testing.scene(), testing.plan(10.0), "progress").reasons[0].split()[5])
    stops = float(rule(scene, testing.plan(10.0), "progress").reasons[0].split()[5])
    assert stops < free - 10.0
    assert stops > 17.0


def test_nuplans_driving_direction():
    """Backwards in one's own lane is 0; the right direction in a lane that the route does not name is 1."""
    back = np.zeros((64, 4), np.float32)
    back[:, 0], back[:, 3] = -1.3 * np.arange(1, 65), 13.0
    scene = testing.scene(ego=testing.moving("ego", 50.0, 0.0, 0.0))
    assert rule(scene, back, "driving_direction_nuplan").value[0] == 0.0
    road = testing.one_way_road(2)
    other = testing.scene(road_map=road, ego=testing.moving("ego", 0.0, 3.5, 13.0))
    assert rule(other, testing.plan(13.0), "driving_direction_nuplan").value[0] == 1.0
    wrong = testing.scene(ego=testing.moving("ego", 0.0, 3.5, 13.0))
    assert rule(wrong, testing.plan(13.0), "driving_direction_nuplan").value[0] == 0.0
    assert rule(testing.scene(), testing.plan(10.0), "driving_direction_nuplan").value[0] == 1.0
