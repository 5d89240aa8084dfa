"""Places along routes that meet themselves: each pose is searched from the place before it."""

from dataclasses import replace

import numpy as np
import pytest
from validator_episodes import episode_of

from alpamayo.validator import score_episode, score_plans
from alpamayo.validator.along_route import first_places, places_along
from alpamayo_sim import testing
from alpamayo_sim.datatypes.scene import Route
from alpamayo_sim.geometry import project


def loop():
    """Return a route straight on for 100 m, round a loop of 231 m, and through its own start."""
    angle = np.linspace(0.0, 1.5 * np.pi, 80)
    circle = 30.0 * np.column_stack([np.sin(angle), 1.0 - np.cos(angle)]) + [100.0, 0.0]
    end = np.column_stack([np.full(30, circle[-1, 0]), np.linspace(30.0, -120.0, 31)[1:]])
    points = np.concatenate([[[0.0, 0.0]], circle, end])
    return Route(np.column_stack([points, np.zeros(len(points))]).astype(np.float32))


def out_and_back():
    """Return a route of 200 m to the east and back on y = 3.5."""
    return Route(testing.polyline((0, 0), (200, 0), (200, 3.5), (0, 3.5)))


def progress_of(route, y):
    """Return the progress of 3 s along x at 10 m/s with some lateral offsets, from the plan and from the episode."""
    scene = testing.scene(route=route, road_map=testing.two_way_road(3), ego=testing.moving("ego", 60.0, 0.0, 10.0))
    plan = testing.plan(10.0)
    plan[:40, 1] = y
    verdict = score_plans(scene, plan[None], 0.0, horizon=4.0, truth=testing.ground_truth_at(scene))
    return float(verdict.rules["progress"].reasons[0].split()[0])


def test_a_crossing_is_driven_straight_through():
    assert progress_of(loop(), np.zeros(40)) == pytest.approx(40.0, abs=0.05)


def test_a_swing_gains_nothing_on_the_way_back():
    swing = 2.0 * np.sin(np.linspace(0.0, np.pi, 40))
    assert progress_of(out_and_back(), np.zeros(40)) == pytest.approx(40.0, abs=0.05)
    assert progress_of(out_and_back(), swing) == pytest.approx(40.0, abs=0.3)
    stays = np.minimum(0.2 * np.arange(40), 2.0)  # ends nearer to the way back
    assert progress_of(out_and_back(), stays) == pytest.approx(40.0, abs=0.3)


def test_an_episode_through_the_crossing():
    scene = testing.scene(route=loop(), road_map=testing.two_way_road(3))
    episode = episode_of(scene, steps=99)
    there = replace(episode, ego_pose=episode.ego_pose + np.array([40.0, 0.0, 0.0], np.float32))
    reason = score_episode(there).rules["progress"].reasons[0]
    bend = 30.0 * np.arctan(39.0 / 30.0)  # it leaves the loop to the outside
    assert float(reason.split()[0]) == pytest.approx(60.0 + bend, abs=0.3)


def test_the_first_place_has_the_direction_and_the_level_of_the_ego():
    route = out_and_back()
    poses = np.array([[50.0, 1.75, 0.0], [50.0, 1.75, np.pi]])
    assert first_places(route, poses) == pytest.approx([50.0, 353.5])
    path = loop().path.copy()
    path[:, 2] = np.linspace(0.0, 12.0, len(path))
    spiral = Route(path)
    crossing = np.array([[70.0, 0.0, -0.25 * np.pi]])
    low, high = (first_places(spiral, crossing, level)[0] for level in (0.0, 9.0))
    assert low == pytest.approx(70.0, abs=1.0)
    assert high > 200.0


def test_places_on_a_simple_route_are_projections():
    rng = np.random.default_rng(0)
    route = Route(testing.polyline((0, 0), (60, 0), (120, 40), (300, 60), spacing=3.0))
    s = np.cumsum(rng.uniform(0.2, 1.5, (5, 65)), axis=1)
    x = np.interp(s, [0, 60, 132.1, 313.2], [0, 60, 120, 300])
    y = np.interp(s, [0, 60, 132.1, 313.2], [0, 0, 40, 60]) + rng.uniform(-2, 2, (5, 65))
    places = places_along(route, np.stack([x, y, np.full((5, 65), 0.3)], axis=-1))
    known, offset = project(route.path, np.column_stack([x.ravel(), y.ravel()]))
    assert np.abs(places.s.ravel() - known).max() < 1e-6
    assert np.abs(np.abs(places.offset.ravel()) - np.abs(offset)).max() < 1e-6


def test_an_ego_that_is_lost_is_found_again():
    pose = np.zeros((1, 40, 3))
    pose[0, :20, 0] = 5.0 * np.arange(20)
    pose[0, 20:] = [170.0, 3.0, np.pi]  # put onto the way back
    s = places_along(out_and_back(), pose).s[0]
    assert s[19] == pytest.approx(95.0)
    assert s[-1] == pytest.approx(203.5 + 30.0)
