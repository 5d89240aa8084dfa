"""The guard: no collision that braking avoids, no intervention without a reason, and no deadlock."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.guard.choice import FALLBACK
from alpamayo.guard.guard import Guard
from alpamayo.guard.outcomes import CandidateMotions, braked, motion_outcomes
from alpamayo.validator.motions import plans_in_world
from alpamayo.validator.packed import pack_boxes
from alpamayo_sim import testing
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.scene import Category, Lane, RoadMap, Route, SignalState
from alpamayo_sim.errors import InputError

PERSON = {"category": Category.PEDESTRIAN, "size": (0.5, 0.5, 1.7)}


def decision(*plans, chosen=0):
    return Decision(np.stack(plans), np.full(len(plans), 1 / len(plans), np.float32), chosen)


def check(scene, *plans, **kwargs):
    return Guard(scene).check(decision(*plans, **kwargs), testing.ground_truth_at(scene))


def harmless():
    """Scenes without a reason to intervene if the ego drives straight on at 10 m/s."""
    return {
        "a free road": testing.scene(),
        "parked cars next to the lane": testing.scene(
            testing.standing("a", 12.0, -2.2), testing.standing("b", 20.0, -2.2)
        ),
        "oncoming traffic in its own lane": testing.scene(testing.moving("a", 40.0, 3.5, 12.0, np.pi)),
        "a faster car behind": testing.scene(testing.moving("a", -9.0, 0.0, 20.0)),
        "a standing car behind": testing.scene(testing.standing("a", -6.0, 0.0)),
        "a car far ahead": testing.scene(testing.standing("a", 45.0, 0.0)),
        "a lead as fast": testing.scene(testing.moving("a", 12.0, 0.0, 10.0)),
        "a pedestrian on the pavement": testing.scene(testing.moving("a", 15.0, -4.0, 1.4, np.pi, **PERSON)),
        "a pedestrian that will be across": testing.scene(testing.moving("a", 25.0, 3.0, 1.5, np.pi / 2, **PERSON)),
        "cones next to the lane": testing.scene(
            props=[testing.prop(f"c{i}", 5.0 * i, -1.6, size=(0.5, 0.5, 0.8)) for i in range(1, 9)]
        ),
    }


def test_no_intervention_without_reason():
    for name, scene in harmless().items():
        result = check(scene, testing.plan(10.0))
        assert not result.intervened, (name, result.reason)
        assert result.index == 0
        assert np.array_equal(result.plan, testing.plan(10.0))
        assert result.reason == ""


def test_a_walker_may_stop_in_the_lane():
    """The walker would be across before the ego arrives if it did not stop."""
    there = testing.scene(testing.moving("a", 15.0, 0.8, 1.5, np.pi / 2, **PERSON))
    result = check(there, testing.plan(10.0))
    assert result.intervened
    assert "'a'" in result.reason
    early = testing.scene(testing.moving("a", 30.0, 0.8, 1.5, np.pi / 2, **PERSON))
    assert not check(early, testing.plan(10.0)).intervened


def test_the_ego_yields_to_an_agent_that_crosses_closely():
    """The agent is predicted to pass just before the ego; if it is slightly slower, it does not.

    At 20 m/s the ego has to yield now. At 10 m/s gentle braking a moment later will do.
    """
    fast = testing.moving("ego", 0.0, 0.0, 20.0)
    through = testing.scene(testing.moving("a", 40.0, -7.0, 6.0, np.pi / 2), ego=fast)
    result = check(through, testing.plan(20.0))
    assert result.intervened
    assert "may be crossed by 'a'" in result.reason
    long_gone = testing.scene(testing.moving("a", 40.0, 4.0, 6.0, np.pi / 2), ego=fast)
    assert not check(long_gone, testing.plan(20.0)).intervened
    in_time = testing.scene(testing.moving("a", 24.0, -7.0, 6.0, np.pi / 2))
    assert not check(in_time, testing.plan(10.0)).intervened


def test_a_standing_ego_may_start():
    for name, scene in harmless().items():
        if name == "a faster car behind":
            continue
        still = replace(scene, tracks=(testing.standing("ego", 0.0, 0.0), *scene.tracks[1:]))
        result = check(still, testing.plan(0.0, 1.5))
        assert not result.intervened, (name, result.reason)


def test_it_brakes_for_an_obstacle():
    scene = testing.scene(testing.standing("wall", 14.0, 0.0))
    result = check(scene, testing.plan(10.0))
    assert result.index == FALLBACK
    assert result.intervened
    assert "wall" in result.reason
    assert result.plan[-1, 3] == 0.0
    assert result.plan[:, 0].max() < 14.0 - 4.8


def test_it_keeps_clearance_in_front_if_possible():
    scene = testing.scene(testing.standing("wall", 22.0, 0.0))
    guard, stop = Guard(scene), 0.0
    for x in np.arange(0.0, 10.0, 1.0):
        now = replace(testing.ground_truth_at(scene), ego_pose=np.array([x, 0.0, 0.0], np.float32))
        result = guard.check(decision(testing.plan(10.0)), now)
        if result.intervened:
            stop = x + float(result.plan[-1, 0])
            break
    assert 22.0 - 4.8 - 6.0 < stop <= 22.0 - 4.8 - 2.0 + 1e-3


def test_it_takes_the_safe_candidate():
    scene = testing.scene(testing.standing("wall", 20.0, 0.0))
    result = check(scene, testing.plan(10.0), testing.plan(10.0, -8.0), testing.plan(10.0, 1.0))
    assert result.index == 1
    assert result.intervened
    assert np.array_equal(result.plan, testing.plan(10.0, -8.0))


def test_a_safe_choice_passes_regardless_of_its_weight():
    plans = np.stack([testing.plan(10.0, -1.0), testing.plan(10.0)])
    choice = Decision(plans, np.array([0.01, 0.99], np.float32), 0)
    scene = testing.scene()
    result = Guard(scene).check(choice, testing.ground_truth_at(scene))
    assert (result.index, result.intervened) == (0, False)


def test_it_stays_on_the_road():
    result = check(testing.scene(), testing.plan(10.0, lateral=-5.0))
    assert result.intervened
    assert "road" in result.reason


def test_a_plan_beyond_friction_is_not_feasible():
    result = check(testing.scene(), testing.plan(10.0, -30.0))
    assert result.intervened
    assert "friction" in result.reason


def test_traffic_in_a_bend_keeps_to_its_lane():
    """An oncoming car that went straight on would cross the ego's lane; it follows its own lane."""
    radius, angle = 60.0, np.linspace(-0.6, 1.6, 80)
    around = np.column_stack([np.sin(angle), 1 - np.cos(angle)])
    arcs = {r: testing.polyline(*(np.array([0.0, radius - r]) + around * r)) for r in (radius, radius - 3.5)}
    width = np.full(80, 3.5, np.float32)
    lanes = (
        Lane(id="own", centreline=arcs[radius], width=width),
        Lane(id="oncoming", centreline=arcs[radius - 3.5][::-1].copy(), width=width),
    )
    there = 0.75
    x, y = (radius - 3.5) * np.sin(there), radius - (radius - 3.5) * np.cos(there)
    other = testing.moving("other", x, y, 10.0, there + np.pi)
    scene = testing.scene(other, road_map=RoadMap(lanes=lanes))
    scene = replace(scene, route=Route(path=arcs[radius], lane_ids=("east-0",)))
    result = check(scene, testing.plan(10.0, curvature=1 / radius))
    assert not result.intervened, result.reason


def test_a_wrong_way_driver_is_evaded_if_braking_does_not_help():
    scene = testing.scene(testing.moving("ghost", 45.0, 0.0, 12.0, np.pi))
    result = check(scene, testing.plan(10.0), testing.plan(10.0, lateral=3.0), testing.plan(10.0, -4.0))
    assert result.index == 1
    alone = check(scene, testing.plan(10.0))
    assert alone.index == FALLBACK
    assert "to the" in alone.reason
    beside = np.abs(alone.plan[:, 1]) > 1.9
    meeting = np.abs(alone.plan[:, 0] - (45.0 - 12.0 * 0.1 * np.arange(1, 65))) < 4.8
    assert beside[meeting].all()


def test_there_is_no_evasion_without_room():
    """Between two walls the guard can only brake."""
    walls = [
        testing.standing(f"{side}{x}", x, 2.9 * sign) for side, sign in (("l", 1), ("r", -1)) for x in range(5, 45, 5)
    ]
    scene = testing.scene(testing.moving("ghost", 45.0, 0.0, 12.0, np.pi), *walls)
    result = check(scene, testing.plan(10.0))
    assert result.index == FALLBACK
    assert "brakes" in result.reason
    assert result.plan[-1, 3] == 0.0


def test_a_stop_before_a_wrong_way_driver_is_not_chosen():
    """The wrong-way driver is still far away, but would run into the stopped ego."""
    scene = testing.scene(testing.moving("ghost", 95.0, 0.0, 12.0, np.pi))
    result = check(scene, testing.plan(10.0, 2.0))
    assert result.index == FALLBACK
    assert "to the" in result.reason


def test_interventions_do_not_alternate():
    """The guard keeps another candidate that it has taken while that is clean, regardless of later candidates."""
    scene = testing.scene(testing.moving("ghost", 45.0, 0.0, 12.0, np.pi), testing.standing("far", 0.0, 60.0))
    guard = Guard(scene)
    first = guard.check(decision(testing.plan(10.0), testing.plan(10.0, lateral=3.0)), testing.ground_truth_at(scene))
    assert first.index == 1
    pose = np.array([first.plan[0, 0], first.plan[0, 1], first.plan[0, 2]], np.float32)
    later = replace(testing.ground_truth_at(scene, 1), ego_pose=pose)
    second = guard.check(decision(testing.plan(10.0), testing.plan(10.0, lateral=-3.0)), later)
    assert second.index == FALLBACK
    assert "previous plan" in second.reason
    assert second.plan[20:30, 1].mean() > 1.5


def test_the_deceleration_of_a_lead_is_measured():
    lead = testing.moving("lead", 16.0, 0.0, 10.0)
    slower = np.maximum(10.0 - 6.0 * 0.1 * np.arange(100), 0.0)
    velocity = np.column_stack([slower, 0 * slower]).astype(np.float32)
    position = lead.position.copy()
    position[:, 0] = 16.0 + np.concatenate([[0.0], np.cumsum(0.05 * (slower[1:] + slower[:-1]))])
    scene = testing.scene(replace(lead, velocity=velocity, position=position))
    guard = Guard(scene)
    plan, seen = testing.plan(10.0), []
    for step in range(12):
        seen.append(guard.check(decision(plan), testing.ground_truth_at(scene, step)).intervened)
    assert not seen[0]
    assert any(seen)


def test_verdict_is_of_the_candidates():
    scene = testing.scene(testing.standing("wall", 14.0, 0.0))
    result = check(scene, testing.plan(10.0), testing.plan(10.0, -8.0))
    assert result.verdict.count == 2
    assert result.verdict.rules["at_fault_collision"].violated.tolist() == [True, False]


@pytest.mark.parametrize(("lanes", "area", "route"), [(False, True, True), (True, False, True), (False, False, False)])
def test_incomplete_maps_are_handled(lanes, area, route):
    bare = testing.two_way_road(int(lanes), area=area)
    free = testing.scene(road_map=bare, route=testing.FIRST_LANE if route else None)
    assert not check(free, testing.plan(10.0)).intervened
    blocked = testing.scene(
        testing.standing("wall", 14.0, 0.0), road_map=bare, route=testing.FIRST_LANE if route else None
    )
    assert check(blocked, testing.plan(10.0)).index == FALLBACK


def test_an_ego_off_the_map_may_drive():
    scene = testing.scene(ego=testing.standing("ego", 0.0, -8.0))
    assert not check(scene, testing.plan(0.0, 1.0)).intervened


def test_ground_truth_of_another_scene_raises():
    other = replace(testing.scene(), id="other")
    with pytest.raises(InputError, match="other"):
        Guard(testing.scene()).check(decision(testing.plan(1.0)), testing.ground_truth_at(other))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_never_worse_than_braking(seed):
    rng = np.random.default_rng(seed)
    tracks = [
        testing.moving(f"a{i}", rng.uniform(6, 50), rng.uniform(-3, 6), rng.uniform(0, 12), rng.uniform(-3.2, 3.2))
        for i in range(rng.integers(1, 6))
    ]
    speed = float(rng.uniform(0.5, 14.0))
    scene = testing.scene(*tracks, ego=testing.moving("ego", 0.0, 0.0, speed))
    plans = [testing.plan(speed, rng.uniform(-4, 2), lateral=rng.uniform(-2, 4)) for _ in range(rng.integers(1, 5))]
    truth, guard = testing.ground_truth_at(scene), Guard(scene)
    result = guard.check(decision(*plans), truth)
    if not result.intervened:
        return
    traffic = Guard(scene)._predict(truth)
    pose, speeds = plans_in_world(np.stack([result.plan]).astype(float), truth.ego_pose.astype(float), speed)
    own = plans_in_world(np.stack([plans[0]] * 4).astype(float), truth.ego_pose.astype(float), speed)
    brake, slow = braked(own[0], np.full((4, 65), speed), np.array([2.0, 4.0, 6.0, 8.0]), 0.0)
    size, tolerance = truth.ego_size[:2].astype(float), guard.off_road_tolerance(truth)
    ends = motion_outcomes(
        CandidateMotions(np.concatenate([pose, brake]), np.concatenate([speeds, slow]), size),
        traffic,
        pack_boxes(traffic, 65),
        guard.map_index.drivable_area,
        tolerance,
    )
    assert ends.severity[0] <= ends.severity[1:].min() + 1e-3


def test_braking_follows_the_path_and_stops_in_v_squared_over_2a():
    pose, speed = plans_in_world(testing.plan(10.0, curvature=0.02)[None].astype(float), np.zeros(3), 10.0)
    path, slow = braked(np.repeat(pose, 2, axis=0), np.repeat(speed, 2, axis=0), np.array([4.0, 8.0]), 0.3)
    way = np.linalg.norm(np.diff(path[..., :2], axis=1), axis=-1).sum(axis=1)
    assert way == pytest.approx([3.0 + 12.5, 3.0 + 6.25], abs=0.01)
    assert np.all(np.diff(slow, axis=1) <= 1e-9)
    centre = np.hypot(path[..., 0], path[..., 1] - 50.0)
    assert np.allclose(centre, 50.0, atol=0.01)


def test_lost_progress_is_the_extra_distance_of_the_drivers_choices():
    from types import SimpleNamespace

    from alpamayo.evaluation.guard_figures import progress_lost

    plans = np.stack([np.stack([testing.plan(10.0), testing.plan(6.0)]) for _ in range(3)])
    executed = np.stack([testing.plan(10.0), testing.plan(4.0), testing.plan(2.0)])
    record = SimpleNamespace(
        plans=plans, chosen=np.array([0, 0, 1]), executed=executed, intervened=np.array([False, True, True])
    )
    assert progress_lost(record) == pytest.approx(0.1 * ((10.0 - 4.0) + (6.0 - 2.0)), abs=1e-5)


def test_a_slow_drift_off_the_road_ends_at_the_limit():
    """At each step the plan ends within 0.3 m of where the ego is, but the limit is that of the start."""
    scene = testing.scene()
    guard, outside, limits = Guard(scene), [], []
    for step, y in enumerate(np.linspace(0.0, -2.2, 45)):
        now = replace(testing.ground_truth_at(scene, step), ego_pose=np.array([step, y, 0.0], np.float32))
        limits.append(guard.off_road_tolerance(now))
        outside.append(1.0 - 1.75 - y)
    inside = np.array(outside) < 0.25
    assert np.allclose(np.array(limits)[inside], 0.3)
    assert (np.array(limits) <= np.maximum(0.3, np.array(outside) + 0.05) + 1e-6).all()
    start = testing.scene(ego=testing.standing("ego", 0.0, -2.0))
    first, back = testing.ground_truth_at(start), np.array([5.0, 0.0, 0.0], np.float32)
    guard = Guard(start)
    assert guard.off_road_tolerance(first) == pytest.approx(0.3 + 1.25, abs=1e-3)
    assert guard.off_road_tolerance(replace(first, ego_pose=back)) == pytest.approx(0.3)
    assert guard.off_road_tolerance(first) == pytest.approx(1.25 + 0.05, abs=1e-3)


def test_a_creeping_ego_stands_at_once():
    """At 0.22 m/s a stop over 6.4 s gains nothing, and the car does not follow its path."""
    scene = testing.scene(testing.standing("parked", 4.9, 1.2), ego=testing.moving("ego", 0.0, 0.0, 0.22))
    result = check(scene, testing.plan(0.22, 1.0))
    assert result.index == FALLBACK
    assert result.plan[5:, 3].max() == 0.0
    assert result.plan[:, 0].max() < 0.03


def light_at(x):
    road = testing.one_way_road(2)
    before, after = (
        testing.straight_lane(name, (a, 0.0), (b, 0.0), spacing=5.0, speed_limit=14.0)
        for name, a, b in (("before", -100.0, x), ("after", x, 500.0))
    )
    lanes = (before, after, *road.lanes[1:])
    return RoadMap(lanes=lanes, drivable_areas=road.drivable_areas)


@pytest.mark.parametrize("chosen", ["leaves the road", "runs the light"])
def test_no_candidate_that_runs_a_red_light_while_another_stops(chosen):
    """Candidate 1 stops before the line at 22 m, candidate 2 runs it and has the better PDM score."""
    scene = testing.scene(
        road_map=light_at(22.0),
        signals=[testing.signal("light", ("after",), SignalState.RED)],
        route=Route(testing.polyline((0, 0), (400, 0)), ("before", "after")),
    )
    off, stops, runs = testing.plan(10.0, lateral=-5.0), testing.plan(10.0, -2.7), testing.plan(10.0)
    plans = [off, stops, runs] if chosen == "leaves the road" else [runs, stops]
    result = check(scene, *plans)
    assert result.index == 1, result.reason


def test_a_plan_whose_positions_brake_and_whose_speeds_do_not_is_not_driven():
    scene = testing.scene(testing.standing("wall", 24.0, 0.0))
    plan = testing.plan(10.0, -4.0)
    plan[:, 3] = 10.0
    result = check(scene, plan)
    assert result.intervened
    assert np.abs(np.diff(result.plan[:, 3])).max() < 1.0
    moved = np.diff(result.plan[:, 0], prepend=0.0) / 0.1
    speeds = 0.5 * (result.plan[:, 3] + np.concatenate([[10.0], result.plan[:-1, 3]]))
    assert np.abs(moved - speeds).max() < 0.2


def test_a_plan_that_begins_a_little_faster_passes():
    """The car reaches the speed later; nothing is ahead."""
    scene = testing.scene(ego=testing.moving("ego", 0.0, 0.0, 12.0))
    assert not check(scene, testing.plan(15.0)).intervened


def test_an_ego_that_creeps_beyond_the_limit_does_not_take_the_limit_with_it():
    """Each step adds 0.01 m; the room to return is counted from the nearest place, not from the present one."""
    scene = testing.scene()
    guard, room = Guard(scene), []
    guard.off_road_tolerance(testing.ground_truth_at(scene))
    for outside in np.arange(0.28, 0.5, 0.01):
        pose = np.array([0.0, 1.0 - 1.75 - outside, 0.0], np.float32)
        now = replace(testing.ground_truth_at(scene), ego_pose=pose)
        room.append(guard.off_road_tolerance(now) - outside)
    assert max(room) < 0.06
    assert np.abs(room[-10:]).max() < 0.002
