"""The guard: no collision that braking avoids, no intervention where nothing is wrong, never stuck."""

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
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.scene import Category, Lane, RoadMap, Route
from alpamayo_sim.errors import InputError

PERSON = {"category": Category.PEDESTRIAN, "size": (0.5, 0.5, 1.7)}


def decision(*plans, chosen=0):
    return Decision(np.stack(plans), np.full(len(plans), 1 / len(plans), np.float32), chosen)


def check(make, world, *plans, **kwargs):
    return Guard(world).check(decision(*plans, **kwargs), make.truth(world))


def harmless(make):
    """Scenes without a reason to intervene if the ego drives straight on at 10 m/s."""
    return {
        "a free road": make.scene(),
        "parked cars beside the lane": make.scene(make.track("a", 12.0, -2.2), make.track("b", 20.0, -2.2)),
        "oncoming traffic in its own lane": make.scene(make.track("a", 40.0, 3.5, heading=np.pi, speed=12.0)),
        "a faster car behind": make.scene(make.track("a", -9.0, 0.0, speed=20.0)),
        "a standing car behind": make.scene(make.track("a", -6.0, 0.0)),
        "a car far ahead": make.scene(make.track("a", 45.0, 0.0)),
        "a lead as fast": make.scene(make.track("a", 12.0, 0.0, speed=10.0)),
        "a pedestrian on the pavement": make.scene(make.track("a", 15.0, -4.0, heading=np.pi, speed=1.4, **PERSON)),
        "a pedestrian who will be across": make.scene(make.track("a", 25.0, 3.0, np.pi / 2, 1.5, **PERSON)),
        "cones beside": make.scene(props=[make.prop(f"c{i}", 5.0 * i, -1.6) for i in range(1, 9)]),
    }


def test_no_intervention_without_reason(make):
    for name, world in harmless(make).items():
        result = check(make, world, make.plan(10.0))
        assert not result.intervened, (name, result.reason)
        assert result.index == 0
        assert np.array_equal(result.plan, make.plan(10.0))
        assert result.reason == ""


def test_a_walker_may_stop_in_the_lane(make):
    """The walker would be across before the ego arrives if it did not stop."""
    there = make.scene(make.track("a", 15.0, 0.8, np.pi / 2, 1.5, **PERSON))
    result = check(make, there, make.plan(10.0))
    assert result.intervened
    assert "'a'" in result.reason
    early = make.scene(make.track("a", 30.0, 0.8, np.pi / 2, 1.5, **PERSON))
    assert not check(make, early, make.plan(10.0)).intervened


def test_the_ego_yields_to_an_agent_that_crosses_closely(make):
    """It is predicted to pass just before the ego arrives; a little slower, and it does not."""
    through = make.scene(make.track("a", 24.0, -7.0, np.pi / 2, 6.0))
    result = check(make, through, make.plan(10.0))
    assert result.intervened
    assert "may be crossed by 'a'" in result.reason
    long_gone = make.scene(make.track("a", 24.0, 4.0, np.pi / 2, 6.0))
    assert not check(make, long_gone, make.plan(10.0)).intervened


def test_a_standing_ego_may_go(make):
    for name, world in harmless(make).items():
        if name == "a faster car behind":
            continue
        still = replace(world, tracks=(make.track("ego", 0.0, 0.0, speed=0.0), *world.tracks[1:]))
        result = check(make, still, make.plan(0.0, 1.5))
        assert not result.intervened, (name, result.reason)


def test_it_brakes_for_an_obstacle(make):
    world = make.scene(make.track("wall", 14.0, 0.0))
    result = check(make, world, make.plan(10.0))
    assert result.index == FALLBACK
    assert result.intervened
    assert "wall" in result.reason
    assert result.plan[-1, 3] == 0.0
    assert result.plan[:, 0].max() < 14.0 - 4.8


def test_it_leaves_room_in_front_where_it_can(make):
    world = make.scene(make.track("wall", 22.0, 0.0))
    guard, stop = Guard(world), 0.0
    for x in np.arange(0.0, 10.0, 1.0):
        now = replace(make.truth(world), ego_pose=np.array([x, 0.0, 0.0], np.float32))
        result = guard.check(decision(make.plan(10.0)), now)
        if result.intervened:
            stop = x + float(result.plan[-1, 0])
            break
    assert 22.0 - 4.8 - 6.0 < stop <= 22.0 - 4.8 - 2.0 + 1e-3


def test_it_takes_the_safe_candidate(make):
    world = make.scene(make.track("wall", 20.0, 0.0))
    result = check(make, world, make.plan(10.0), make.plan(10.0, -8.0), make.plan(10.0, 1.0))
    assert result.index == 1
    assert result.intervened
    assert np.array_equal(result.plan, make.plan(10.0, -8.0))


def test_a_choice_that_is_safe_stays_whatever_its_weight(make):
    plans = np.stack([make.plan(10.0, -1.0), make.plan(10.0)])
    choice = Decision(plans, np.array([0.01, 0.99], np.float32), 0)
    world = make.scene()
    result = Guard(world).check(choice, make.truth(world))
    assert (result.index, result.intervened) == (0, False)


def test_it_stays_on_the_road(make):
    result = check(make, make.scene(), make.plan(10.0, lateral=-5.0))
    assert result.intervened
    assert "road" in result.reason


def test_a_plan_beyond_friction_is_not_feasible(make):
    result = check(make, make.scene(), make.plan(10.0, -30.0))
    assert result.intervened
    assert "friction" in result.reason


def test_traffic_in_a_bend_keeps_to_its_lane(make):
    """Straight on, the oncoming car would cross the ego's lane; it follows its own."""
    radius, angle = 60.0, np.linspace(-0.6, 1.6, 80)
    around = np.column_stack([np.sin(angle), 1 - np.cos(angle)])
    arcs = {r: make.line(*(np.array([0.0, radius - r]) + around * r)) for r in (radius, radius - 3.5)}
    width = np.full(80, 3.5, np.float32)
    lanes = (
        Lane(id="own", centreline=arcs[radius], width=width),
        Lane(id="oncoming", centreline=arcs[radius - 3.5][::-1].copy(), width=width),
    )
    there = 0.75
    x, y = (radius - 3.5) * np.sin(there), radius - (radius - 3.5) * np.cos(there)
    other = make.track("other", x, y, heading=there + np.pi, speed=10.0)
    world = make.scene(other, road_map=RoadMap(lanes=lanes))
    world = replace(world, route=Route(path=arcs[radius], lane_ids=("own",)))
    result = check(make, world, make.plan(10.0, curvature=1 / radius))
    assert not result.intervened, result.reason


def test_a_wrong_way_driver_is_evaded_where_braking_does_not_help(make):
    world = make.scene(make.track("ghost", 45.0, 0.0, heading=np.pi, speed=12.0))
    result = check(make, world, make.plan(10.0), make.plan(10.0, lateral=3.0), make.plan(10.0, -4.0))
    assert result.index == 1
    alone = check(make, world, make.plan(10.0))
    assert alone.index == FALLBACK
    assert "to the" in alone.reason
    beside = np.abs(alone.plan[:, 1]) > 1.9
    meeting = np.abs(alone.plan[:, 0] - (45.0 - 12.0 * 0.1 * np.arange(1, 65))) < 4.8
    assert beside[meeting].all()


def test_there_is_no_evasion_without_room(make):
    """A wall on either side: what is left is to brake."""
    walls = [make.track(f"{side}{x}", x, 2.9 * sign) for side, sign in (("l", 1), ("r", -1)) for x in range(5, 45, 5)]
    world = make.scene(make.track("ghost", 45.0, 0.0, heading=np.pi, speed=12.0), *walls)
    result = check(make, world, make.plan(10.0))
    assert result.index == FALLBACK
    assert "brakes" in result.reason
    assert result.plan[-1, 3] == 0.0


def test_a_stop_before_a_wrong_way_driver_is_not_chosen(make):
    """Although still far away, it would run into the stopped ego."""
    world = make.scene(make.track("ghost", 95.0, 0.0, heading=np.pi, speed=12.0))
    result = check(make, world, make.plan(10.0, 2.0))
    assert result.index == FALLBACK
    assert "to the" in result.reason


def test_it_does_not_waver(make):
    """Once it has taken another candidate it keeps to that while it stays clean, whatever is offered next."""
    world = make.scene(make.track("ghost", 45.0, 0.0, heading=np.pi, speed=12.0), make.track("far", 0.0, 60.0))
    guard = Guard(world)
    first = guard.check(decision(make.plan(10.0), make.plan(10.0, lateral=3.0)), make.truth(world))
    assert first.index == 1
    pose = np.array([first.plan[0, 0], first.plan[0, 1], first.plan[0, 2]], np.float32)
    later = replace(make.truth(world, 1), ego_pose=pose)
    second = guard.check(decision(make.plan(10.0), make.plan(10.0, lateral=-3.0)), later)
    assert second.index == FALLBACK
    assert "previous plan" in second.reason
    assert second.plan[20:30, 1].mean() > 1.5


def test_a_braking_lead_is_seen_to_brake(make):
    lead = make.track("lead", 16.0, 0.0, speed=10.0)
    slower = np.maximum(10.0 - 6.0 * 0.1 * np.arange(100), 0.0)
    velocity = np.column_stack([slower, 0 * slower]).astype(np.float32)
    position = lead.position.copy()
    position[:, 0] = 16.0 + np.concatenate([[0.0], np.cumsum(0.05 * (slower[1:] + slower[:-1]))])
    world = make.scene(replace(lead, velocity=velocity, position=position))
    guard = Guard(world)
    plan, seen = make.plan(10.0), []
    for step in range(12):
        seen.append(guard.check(decision(plan), make.truth(world, step)).intervened)
    assert not seen[0]
    assert any(seen)


def test_verdict_is_of_the_candidates(make):
    world = make.scene(make.track("wall", 14.0, 0.0))
    result = check(make, world, make.plan(10.0), make.plan(10.0, -8.0))
    assert result.verdict.count == 2
    assert result.verdict.rules["at_fault_collision"].violated.tolist() == [True, False]


@pytest.mark.parametrize(("lanes", "area", "route"), [(False, True, True), (True, False, True), (False, False, False)])
def test_poor_maps(make, lanes, area, route):
    bare = make.straight_map(lanes=lanes, area=area)
    free = make.scene(road_map=bare, route=route)
    assert not check(make, free, make.plan(10.0)).intervened
    blocked = make.scene(make.track("wall", 14.0, 0.0), road_map=bare, route=route)
    assert check(make, blocked, make.plan(10.0)).index == FALLBACK


def test_an_ego_off_the_map_may_drive(make):
    world = make.scene(y=-8.0, speed=0.0)
    assert not check(make, world, make.plan(0.0, 1.0)).intervened


def test_truth_of_another_scene_is_named(make):
    other = replace(make.scene(), id="other")
    with pytest.raises(InputError, match="other"):
        Guard(make.scene()).check(decision(make.plan(1.0)), make.truth(other))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_never_worse_than_braking(make, seed):
    rng = np.random.default_rng(seed)
    tracks = [
        make.track(f"a{i}", rng.uniform(6, 50), rng.uniform(-3, 6), rng.uniform(-3.2, 3.2), rng.uniform(0, 12))
        for i in range(rng.integers(1, 6))
    ]
    speed = float(rng.uniform(0.5, 14.0))
    world = make.scene(*tracks, speed=speed)
    plans = [make.plan(speed, rng.uniform(-4, 2), lateral=rng.uniform(-2, 4)) for _ in range(rng.integers(1, 5))]
    truth, guard = make.truth(world), Guard(world)
    result = guard.check(decision(*plans), truth)
    if not result.intervened:
        return
    traffic = Guard(world)._predict(truth)
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


def test_braking_follows_the_path_and_stops_in_v_squared_over_2a(make):
    pose, speed = plans_in_world(make.plan(10.0, curvature=0.02)[None].astype(float), np.zeros(3), 10.0)
    path, slow = braked(np.repeat(pose, 2, axis=0), np.repeat(speed, 2, axis=0), np.array([4.0, 8.0]), 0.3)
    way = np.linalg.norm(np.diff(path[..., :2], axis=1), axis=-1).sum(axis=1)
    assert way == pytest.approx([3.0 + 12.5, 3.0 + 6.25], abs=0.01)
    assert np.all(np.diff(slow, axis=1) <= 1e-9)
    centre = np.hypot(path[..., 0], path[..., 1] - 50.0)
    assert np.allclose(centre, 50.0, atol=0.01)


def test_progress_lost_is_what_the_drivers_choices_would_have_gone_further(make):
    from types import SimpleNamespace

    from alpamayo.evaluation.guard_figures import progress_lost

    plans = np.stack([np.stack([make.plan(10.0), make.plan(6.0)]) for _ in range(3)])
    executed = np.stack([make.plan(10.0), make.plan(4.0), make.plan(2.0)])
    record = SimpleNamespace(
        plans=plans, chosen=np.array([0, 0, 1]), executed=executed, intervened=np.array([False, True, True])
    )
    assert progress_lost(record) == pytest.approx(0.1 * ((10.0 - 4.0) + (6.0 - 2.0)), abs=1e-5)
