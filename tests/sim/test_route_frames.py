"""Routes that meet themselves: places follow the route from the last one on, in frames, engine and drivers."""

import numpy as np
import pytest

from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import make_driver
from alpamayo_sim import testing
from alpamayo_sim.datatypes.scenario import Goal, Scenario
from alpamayo_sim.datatypes.scene import Lane, RoadMap, Route
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.geometry import arc_length
from alpamayo_sim.map.frenet import FrenetFrame, RouteFrame

Array = np.ndarray
RADIUS = 15.0


def ring(turn: float = 2.0 * np.pi, radius: float = RADIUS) -> Array:
    """Return points every metre of a circle to the left that begins at the origin, eastwards."""
    angle = np.linspace(0.0, turn, int(turn * radius) + 1)
    return np.column_stack([radius * np.sin(angle), radius - radius * np.cos(angle), 0.0 * angle])


def out_and_back() -> Array:
    """Return a path 60 m to the east, round a half circle, and back beside itself."""
    out = np.column_stack([np.arange(0.0, 60.0), np.zeros(60)])
    angle = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 9)
    turn = np.array([60.0, 2.0]) + 2.0 * np.column_stack([np.cos(angle), np.sin(angle)])
    back = np.column_stack([np.arange(59.0, -1.0, -1.0), np.full(60, 4.0)])
    return np.pad(np.concatenate([out, turn, back]), ((0, 0), (0, 1)))


def eight() -> Array:
    """Return a figure eight that crosses itself in the origin at right angles."""
    angle = np.linspace(0.0, 2.0 * np.pi, 200)
    return np.column_stack([40.0 * np.sin(angle), 40.0 * np.sin(angle) * np.cos(angle), 0.0 * angle])


@pytest.mark.parametrize("path", [ring(), ring(1.9 * np.pi), ring(4.0 * np.pi), out_and_back(), eight()])
def test_places_follow_the_path_from_start_to_end(path: Array) -> None:
    points = path[:, :2]
    expected = arc_length(points)
    s, d = FrenetFrame.of(path).follow(points)
    np.testing.assert_allclose(s, expected, atol=0.01)
    assert np.abs(d).max() < 0.01
    frame = RouteFrame.of_route(Route(path.astype(np.float32)))
    heading = np.unwrap(np.arctan2(*np.gradient(points, axis=0).T[::-1]))
    last = None
    for xy, angle, at in zip(points, heading, expected, strict=True):
        last, offset = frame.place(np.array([*xy, angle]), last)
        assert last == pytest.approx(at, abs=0.6)
        assert abs(offset) < 0.3


def test_a_place_is_found_again_after_a_leap() -> None:
    path = np.column_stack([np.linspace(0.0, 300.0, 151), np.zeros((151, 2))]).astype(np.float32)
    frame = RouteFrame.of_route(Route(path))
    assert frame.place(np.array([200.0, 1.0, 0.0]), 20.0) == pytest.approx((200.0, 1.0))


@pytest.mark.parametrize("s", [-500.0, -60.0, -0.3, 0.0, 17.26, 88.0, 10_000.0])
def test_one_curvature_is_that_of_the_arrays(s: float) -> None:
    frame = RouteFrame.of_route(Route(eight().astype(np.float32)))
    assert frame.curvature_at(s) == float(frame.at(s)[2])


def test_an_agent_ahead_is_on_the_next_pass_of_the_route() -> None:
    frame = RouteFrame.of_route(Route(ring(4.0 * np.pi).astype(np.float32)))
    lap = 2.0 * np.pi * RADIUS
    ahead = ring()[10:11, :2]
    assert frame.project(ahead, 0.0)[0] == pytest.approx(10.0, abs=0.5)
    assert frame.project(ahead, lap - 5.0)[0] == pytest.approx(lap + 10.0, abs=0.5)


def test_levels_tell_the_passes_of_a_spiral_apart() -> None:
    path = ring(4.0 * np.pi)
    path[:, 2] = 6.0 * arc_length(path[:, :2]) / (2.0 * np.pi * RADIUS)
    frame = RouteFrame.of_route(Route(path.astype(np.float32)))
    xy, lap = ring()[10:11, :2], 2.0 * np.pi * RADIUS
    assert frame.project(xy, 0.0, 150.0, np.array([6.6]))[0] == pytest.approx(lap + 10.0, abs=0.5)
    assert frame.project(xy, 0.0, 150.0, np.array([0.6]))[0] == pytest.approx(10.0, abs=0.5)
    up = frame.place(np.array([*xy[0], 10.0 / RADIUS]), None, 6.6)
    assert up[0] == pytest.approx(lap + 10.0, abs=0.5)


@pytest.mark.parametrize("gap_m", [0.0, 7.5])
@pytest.mark.parametrize("name", ["idm", "expert"])
def test_drivers_go_round_a_roundabout(name: str, gap_m: float) -> None:
    """The route ends where it began, or a little before."""
    path = ring(2.0 * np.pi - gap_m / RADIUS).astype(np.float32)
    road = RoadMap(lanes=(Lane("ring", ring().astype(np.float32), np.full(len(ring()), 3.5, np.float32)),))
    ego = testing.moving("ego", 0.0, 0.0, speed=6.0, steps=160)
    made = testing.scene(ego=ego, road_map=road, route=Route(path))
    episode = drive(Scenario(made, Goal(80.0, 15.9)), make_driver(name), guard=False)
    from_circle = np.abs(np.hypot(episode.ego_pose[:, 0], episode.ego_pose[:, 1] - RADIUS) - RADIUS)
    assert episode.progress[-1] - episode.progress[0] > 50.0
    assert from_circle.max() < 2.0


def test_the_engine_begins_at_the_start_of_a_route_that_ends_there() -> None:
    """Rounding must not put the first place to the end, a whole lap ahead."""
    for turn in (0.0, 0.3, 1.0, 2.5):
        c, s = np.cos(turn), np.sin(turn)
        path = (ring() @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])).astype(np.float32)
        ego = testing.moving("ego", float(path[1, 0]), float(path[1, 1]), heading=turn + 1.0 / RADIUS, speed=6.0)
        made = testing.scene(ego=ego, road_map=testing.one_way_road(), route=Route(path))
        assert WorldBatch([Scenario(made, Goal(80.0, 10.0))]).egos.progress[0, 0] == pytest.approx(1.0, abs=0.3)
