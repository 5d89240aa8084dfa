"""Levels: what shares no height with the ego does not meet it, in rules, scores and the guard."""

from dataclasses import replace

import numpy as np
import pytest
from validator_episodes import episode_of, scene_on_route

from alpamayo.guard.guard import Guard
from alpamayo.validator import score_episode, score_plans
from alpamayo.validator.levels import on_the_level
from alpamayo_sim import testing
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.scene import RoadMap, Route
from alpamayo_sim.prediction.trajectories import recorded

PAIR_RULES = ("at_fault_collision", "time_to_collision", "rss")


def lifted(track, metres):
    """Return a track on a ground that is higher."""
    return replace(track, position=track.position + np.array([0.0, 0.0, metres], np.float32))


@pytest.mark.parametrize(("metres", "met"), [(6.0, False), (-6.0, False), (0.5, True), (0.0, True)])
def test_plans_under_and_over_a_bridge(metres, met):
    scene = testing.scene(lifted(testing.standing("car", 20.0, 0.0), metres))
    for arguments in ({"truth": testing.ground_truth_at(scene)}, {}):
        verdict = score_plans(scene, testing.plan(10.0)[None], 0.0, **arguments)
        assert [bool(verdict.rules[name].violated[0]) for name in PAIR_RULES] == [met] * 3
        assert (verdict.rules["at_fault_collision"].margin[0] < 0.0) == met


@pytest.mark.parametrize(("metres", "met"), [(6.0, False), (0.0, True)])
def test_an_episode_under_a_bridge(metres, met):
    scene = scene_on_route(testing.standing("car", 20.0, 0.0))
    episode = replace(
        episode_of(scene),
        ego_elevation=np.zeros(31, np.float32),
        agent_elevation=np.full((31, 1), metres, np.float32),
    )
    verdict = score_episode(episode)
    assert bool(verdict.rules["at_fault_collision"].violated[0]) == met
    assert bool(score_episode(replace(episode, ego_elevation=None)).rules["at_fault_collision"].violated[0])


@pytest.mark.parametrize(("metres", "intervenes"), [(6.0, False), (0.0, True)])
def test_the_guard_under_a_bridge(metres, intervenes):
    scene = testing.scene(lifted(testing.standing("car", 14.0, 0.0), metres))
    choice = Decision(testing.plan(10.0)[None], np.ones(1, np.float32))
    assert Guard(scene).check(choice, testing.ground_truth_at(scene)).intervened == intervenes


def test_a_plan_rises_with_its_route():
    """A car stands 40 m ahead on a ramp of 10 %: it is 4 m higher than the ego, which will be there too."""
    path = testing.polyline((0, 0), (400, 0), spacing=5.0)
    path[:, 2] = 0.1 * path[:, 0]
    ahead = lifted(testing.standing("car", 40.0, 0.0), 4.0)
    for route, met in ((Route(path), True), (Route(testing.polyline((0, 0), (400, 0))), False)):
        scene = testing.scene(ahead, route=route)
        verdict = score_plans(scene, testing.plan(12.0)[None], 0.0, truth=testing.ground_truth_at(scene))
        assert bool(verdict.rules["at_fault_collision"].violated[0]) == met


def test_unknown_levels_meet_everything():
    scene = testing.scene(lifted(testing.standing("car", 20.0, 0.0), 6.0))
    traffic = recorded(scene, 0, 10)
    ground = np.zeros((1, 1))
    assert not on_the_level(traffic, ground, 1.6).valid.any()
    assert on_the_level(replace(traffic, elevation=None), ground, 1.6).valid.all()
    assert on_the_level(replace(traffic, elevation=np.full((1, 10), np.nan)), ground, 1.6).valid.all()


def under_a_bridge(metres):
    """Return a scene on a narrow road, or on the wide bridge above it, whose lane is nearer and allows 5 m/s."""

    def area(half, z):
        ring = testing.polyline((-50, -half), (400, -half), (400, half), (-50, half), (-50, -half))
        return ring + np.float32([0.0, 0.0, z])

    below = testing.straight_lane("below", (-50, 1.0), (400, 1.0), spacing=10.0)
    above = testing.straight_lane("above", (-50, 0.0), (400, 0.0), spacing=10.0, speed_limit=5.0)
    above = replace(above, centreline=above.centreline + np.float32([0.0, 0.0, 6.0]))
    road_map = RoadMap(lanes=(below, above), drivable_areas=(area(3.0, 0.0), area(12.0, 6.0)))
    route = Route(testing.polyline((-50, 0), (400, 0)) + np.float32([0.0, 0.0, metres]))
    return testing.scene(road_map=road_map, route=route, ego=lifted(testing.moving("ego"), metres))


@pytest.mark.parametrize(("metres", "is_slow", "leaves"), [(0.0, False, True), (6.0, True, False)])
def test_lanes_and_road_are_those_of_the_level(metres, is_slow, leaves):
    scene = under_a_bridge(metres)
    truth, plans = testing.ground_truth_at(scene), np.stack([testing.plan(10.0), testing.plan(10.0, lateral=6.0)])
    verdict = score_plans(scene, plans, 0.0, truth=truth)
    assert bool(verdict.rules["speed_limit"].violated[0]) == is_slow
    assert verdict.rules["drivable_area"].violated.tolist() == [False, leaves]
    assert Guard(scene).check(Decision(plans[1:], np.ones(1, np.float32)), truth).intervened == leaves
