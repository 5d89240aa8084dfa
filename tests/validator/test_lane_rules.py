"""Rules of lanes, signals, kinematics and RSS on plans."""

from dataclasses import replace

import numpy as np
import pytest

from alpamayo.validator import score_plans
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.datatypes.scene import Lane, RoadMap, Signal, SignalState, StopLine
from alpamayo_sim.map.index import MapIndex


def rule(make, world, plan, name, **kwargs):
    return score_plans(world, plan[None], 0.0, truth=make.truth(world), **kwargs).rules[name]


def with_line(make, world, x, states=None, lane="own"):
    """The world with a stop line at x across a lane, and with a signal if it has states."""
    line = StopLine("stop", make.line((x, -1.75), (x, 1.75)), (lane,))
    world = replace(world, road_map=replace(world.road_map, stop_lines=(line,)))
    if states is None:
        return world
    signal = Signal("light", np.zeros(3, np.float32), np.asarray(states, np.int8), (lane,))
    return replace(world, signals=(signal,))


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


def test_driving_direction(make):
    on = rule(make, make.scene(), make.plan(10.0), "driving_direction")
    assert on.value[0] == 1.0
    assert on.margin[0] == 2.0
    over = rule(make, make.scene(), make.plan(10.0, lateral=3.5), "driving_direction")
    assert over.value[0] == 0.0
    assert 1.0 < over.violation_time[0] < 3.0
    slow = rule(make, make.scene(speed=4.0, y=2.0), make.plan(4.0), "driving_direction")
    assert slow.value[0] == 0.5
    against = make.scene(route=False, y=3.5)
    assert rule(make, against, make.plan(10.0), "driving_direction").value[0] == 0.0


def test_lane_keeping_needs_two_seconds(make):
    assert rule(make, make.scene(), make.plan(10.0), "lane_keeping").value[0] == 1.0
    off = rule(make, make.scene(y=0.7), make.plan(10.0), "lane_keeping")
    assert off.value[0] == 0.0
    assert off.margin[0] == pytest.approx(-0.2, abs=1e-3)
    assert off.violation_time[0] == pytest.approx(1.9)
    short = rule(make, make.scene(y=0.7), make.plan(10.0), "lane_keeping", horizon=1.5)
    assert short.value[0] == 1.0


def test_speed_limit_is_nuplans(make):
    world = make.scene(speed=15.9)
    result = rule(make, world, make.plan(15.9), "speed_limit")
    assert result.margin[0] == pytest.approx(-2.0, abs=1e-4)
    assert result.value[0] == pytest.approx(1 - 2.0 * 41 * 0.1 / (2.23 * 4.0), abs=1e-3)
    assert rule(make, make.scene(), make.plan(10.0), "speed_limit").value[0] == 1.0
    unknown = make.scene(road_map=make.straight_map(limit=None))
    assert not rule(make, unknown, make.plan(10.0), "speed_limit").valid[0]


RED, GREEN = int(SignalState.RED), int(SignalState.GREEN)


def test_red_light(make):
    red = with_line(make, make.scene(), 20.0, [RED] * 100)
    crossed = rule(make, red, make.plan(10.0), "red_light")
    assert crossed.value[0] == 0.0
    assert crossed.violation_time[0] == pytest.approx((20.0 - 2.4) / 10.0, abs=0.11)
    waits = rule(make, red, make.plan(10.0, -3.5), "red_light")
    assert waits.value[0] == 1.0
    assert waits.margin[0] == pytest.approx(20.0 - 2.4 - 100 / 7.0, abs=0.1)
    green = with_line(make, make.scene(), 20.0, [GREEN] * 100)
    assert rule(make, green, make.plan(10.0), "red_light").margin[0] == 50.0
    turns = with_line(make, make.scene(), 20.0, [GREEN] * 19 + [RED] * 81)
    assert rule(make, turns, make.plan(10.0), "red_light").value[0] == 1.0
    late = with_line(make, make.scene(), 20.0, [GREEN] * 10 + [RED] * 90)
    assert rule(make, late, make.plan(10.0), "red_light").value[0] == 0.0
    other = with_line(make, make.scene(), 20.0, [RED] * 100, lane="oncoming")
    assert rule(make, other, make.plan(10.0), "red_light").value[0] == 1.0
    assert not rule(make, make.scene(), make.plan(10.0), "red_light").valid[0]


def test_signals_have_the_steps_of_their_scene(make):
    """At 20 m/s a line 40 m ahead is reached at 1.9 s; a scene of 0.2 s has that in its ninth step."""
    for red_from, kept in ((9, False), (10, True)):
        world = with_line(make, make.scene(speed=20.0), 40.0, [GREEN] * red_from + [RED] * (100 - red_from))
        result = rule(make, replace(world, dt=0.2), make.plan(20.0), "red_light")
        assert (result.value[0] == 1.0) == kept


def test_red_light_without_a_line_is_at_the_start_of_the_lane(make):
    world = make.scene()
    lane = replace(world.road_map.lanes[0], centreline=make.line((20, 0), (400, 0)), width=np.full(2, 3.5, np.float32))
    world = replace(world, road_map=replace(world.road_map, lanes=(lane,)))
    signal = Signal("light", np.zeros(3, np.float32), np.full(100, RED, np.int8), ("own",))
    result = rule(make, replace(world, signals=(signal,)), make.plan(10.0), "red_light")
    assert result.violation_time[0] == pytest.approx(1.8, abs=0.11)


def test_stop_lines(make):
    world = with_line(make, make.scene(speed=8.0), 20.0)
    assert rule(make, world, make.plan(8.0), "stop_line").value[0] == 0.0
    plan = make.plan(8.0, -2.0)
    stop = np.concatenate([plan[:40], plan[:24]])
    stop[40:, 0] = plan[39, 0] + 0.1 * np.cumsum(0.1 * 2.5 * np.arange(1, 25))
    stop[40:, 3] = 0.25 * np.arange(1, 25)
    assert plan[39, 0] == pytest.approx(16.0, abs=0.1)  # the nose stands 1.6 m before the line
    assert rule(make, world, stop, "stop_line", horizon=6.4).value[0] == 1.0
    assert not rule(make, make.scene(), make.plan(8.0), "stop_line").valid[0]


def test_kinematics(make):
    assert rule(make, make.scene(), make.plan(10.0, -6.0), "kinematics").value[0] == 1.0
    assert rule(make, make.scene(), make.plan(10.0, -12.0), "kinematics").value[0] == 0.0
    bend = rule(make, make.scene(), make.plan(10.0, curvature=0.12), "kinematics")
    assert bend.value[0] == 0.0
    assert bend.margin[0] == pytest.approx(0.9 * 9.81 + 0.5 - 12.0, abs=0.3)
    assert "m/s² of 9.3 m/s², first" in bend.reasons[0]
    tight = rule(make, make.scene(speed=2.0), make.plan(2.0, curvature=0.5), "kinematics")
    assert tight.value[0] == 0.0
    assert tight.reasons[0] == "curvature 0.50 1/m, allowed 0.25 1/m, first at 0.0 s"
    back = make.plan(3.0)
    back[:, 0] *= -1
    reverse = rule(make, make.scene(speed=3.0), back, "kinematics")
    assert reverse.value[0] == 0.0
    assert reverse.reasons[0] == "drives backwards at 3.0 m/s, first at 0.1 s"
    ice = replace(make.scene(), environment=replace(make.scene().environment, friction=0.2))
    assert rule(make, ice, make.plan(10.0, -4.0), "kinematics").value[0] == 0.0


def test_rss(make):
    assert rule(make, make.scene(), make.plan(10.0), "rss").margin[0] == 5.0
    parked = make.scene(make.track("parked", 15.0, 2.6))
    assert rule(make, parked, make.plan(10.0), "rss").value[0] == 1.0
    lead = make.scene(make.track("lead", 15.0, 0.0, speed=10.0))
    tails = rule(make, lead, make.plan(10.0), "rss")
    assert tails.value[0] == 0.0
    assert tails.violation_time[0] == pytest.approx(1.1, abs=0.11)
    answers = rule(make, lead, make.plan(10.0, -4.5), "rss")
    assert answers.value[0] == 1.0
    assert "proper response" in answers.reasons[0]
    behind = make.scene(make.track("tailgater", -8.0, 0.0, speed=10.0))
    assert rule(make, behind, make.plan(10.0), "rss").value[0] == 1.0


def test_making_progress(make):
    assert rule(make, make.scene(), make.plan(10.0), "making_progress").value[0] == 1.0
    still = make.scene(speed=0.0)
    assert rule(make, still, make.plan(0.0), "making_progress").value[0] == 0.0


def test_maps_without_lanes_have_no_lane_rules(make):
    bare = make.scene(road_map=make.straight_map(lanes=False))
    for name in ("driving_direction", "lane_keeping", "speed_limit", "red_light", "stop_line"):
        result = rule(make, bare, make.plan(10.0), name)
        assert not result.valid[0], name
        assert np.isnan(result.value[0])


def test_tolerant_drivable_area(make):
    world, plans = make.scene(), np.stack([make.plan(10.0, lateral=y) for y in (0.0, -0.9, -1.75)])
    verdict = score_plans(world, plans, 0.0, truth=make.truth(world))
    strict, tolerant = verdict.rules["drivable_area"], verdict.rules["drivable_area_nuplan"]
    assert strict.value.tolist() == [1.0, 0.0, 0.0]
    assert tolerant.value.tolist() == [1.0, 1.0, 0.0]
    assert np.allclose(tolerant.margin, strict.margin + 0.3)
    assert tolerant.reasons[0] == strict.reasons[0] == "0.75 m to the edge of the drivable area"
    assert tolerant.reasons[1] == f"up to {-strict.margin[1]:.2f} m outside the drivable area, 0.3 m are allowed"
    assert tolerant.reasons[2].endswith(f"by up to {-strict.margin[2]:.2f} m")
    assert np.all((verdict.scores["nuplan_cls"].value > 0.0) == [True, True, False])


def test_degenerate_maps_are_not_applicable_or_judged_but_never_perfect_by_default(make):
    """Polygons and lanes without any extent, as broken logs have them."""
    point = make.line((3, 3), (3, 3), (3, 3))
    flat = RoadMap(drivable_areas=(point,))
    lane = Lane(id="dot", centreline=point[:2], width=np.full(2, 3.5, np.float32))
    names = ("drivable_area", "driving_direction", "lane_keeping", "speed_limit", "drivable_area_nuplan")
    world = make.scene(road_map=flat)
    verdict = score_plans(world, make.plan(10.0)[None], 0.0, truth=make.truth(world))
    for name in names:
        assert not verdict.rules[name].valid[0], name
        assert not verdict.rules[name].error
        assert np.isnan(verdict.rules[name].value[0])
    dot = replace(lane, speed_limit=5.0)
    for route in (True, False):
        world = make.scene(road_map=RoadMap(lanes=(dot,), drivable_areas=(point,)), route=route)
        verdict = score_plans(world, make.plan(10.0)[None], 0.0, truth=make.truth(world))
        assert not any(rule.error for rule in verdict.rules.values())
        for name in names:
            assert not verdict.rules[name].valid[0], name
            assert np.isnan(verdict.rules[name].value[0])


def test_lines_without_extent_are_none(make):
    """Nobody can cross a point, so there is nothing to be perfect in."""
    world = make.scene()
    point = StopLine("dot", make.line((20, 0), (20, 0)), ("own",))
    dotted = replace(world, road_map=replace(world.road_map, stop_lines=(point,)))
    assert not rule(make, dotted, make.plan(10.0), "stop_line").valid[0]
    lane = replace(
        world.road_map.lanes[0], centreline=make.line((20, 0), (20, 0), (400, 0)), width=np.full(3, 3.5, np.float32)
    )
    dotted = replace(dotted, road_map=replace(dotted.road_map, lanes=(lane,)))
    for lanes, known in ((("own",), True), (("nobody's",), False), ((), False)):
        signal = Signal("light", np.zeros(3, np.float32), np.full(100, RED, np.int8), lanes)
        result = rule(make, replace(dotted, signals=(signal,)), make.plan(10.0), "red_light")
        assert result.valid[0] == known, lanes
        assert result.violated[0] == known  # at the start of the lane, since its line is none
