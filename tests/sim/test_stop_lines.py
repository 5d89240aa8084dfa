"""Stop lines: one place for engine, drivers and readers; drivers obey stop signs and the lights of their route."""

import dataclasses

import numpy as np
import pytest

from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import make_driver
from alpamayo.validator import score_episode
from alpamayo_sim import testing
from alpamayo_sim.datatypes.scenario import Goal, Scenario
from alpamayo_sim.datatypes.scene import Lane, RoadMap, Route, Scene, Signal, SignalState, StopLine
from alpamayo_sim.engine.packing.map_blocks import gate_rows
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.stop_lines import lines_of_lanes, route_stops, sign_lines, signal_lines

Array = np.ndarray
STEPS = 150


def lane(name: str, *points: tuple[float, ...], successors: tuple[str, ...] = ()) -> Lane:
    line = np.array([(*point, 0.0)[:3] for point in points], np.float32)
    return Lane(name, line, np.full(len(line), 3.5, np.float32), successors=successors)


LANES = (
    lane("in", (-30.0, 0.0), (50.0, 0.0), successors=("through", "left")),
    lane("through", (50.0, 0.0), (70.0, 0.0), successors=("out",)),
    lane("left", (50.0, 0.0), (60.0, 3.0), (70.0, 12.0)),
    lane("out", (70.0, 0.0), (250.0, 0.0)),
)


def signal(state: SignalState, *lane_ids: str) -> Signal:
    return Signal("-".join(lane_ids), np.zeros(3, np.float32), np.full(STEPS, state, np.int8), lane_ids)


def scene(*signals: Signal, stop_lines: tuple[StopLine, ...] = (), mirrored: bool = False) -> Scene:
    """Return a straight road with a light for ``through`` 50 m ahead; the ego's front begins 47.7 m before its line."""
    road_map = RoadMap(lanes=LANES, stop_lines=stop_lines)
    ego = testing.moving("ego", 0.0, 0.0, speed=10.0, steps=STEPS)
    path = np.column_stack([np.linspace(0.0, 240.0, 121), np.zeros((121, 2))]).astype(np.float32)
    made = testing.scene(ego=ego, road_map=road_map, signals=tuple(signals))
    return dataclasses.replace(made, route=Route(path, ("in", "through", "out")))


def sign(x: float = 50.0) -> StopLine:
    return StopLine("stop-in", np.array([[x, 1.75, 0.0], [x, -1.75, 0.0]], np.float32), ("in",))


def driven(made: Scene, name: str):
    episode = drive(Scenario(made, Goal(120.0, 14.9)), make_driver(name), guard=False)
    return episode, score_episode(episode)


@pytest.mark.parametrize("name", ["idm", "expert"])
def test_drivers_stop_where_the_lane_of_a_red_light_begins(name: str) -> None:
    episode, verdict = driven(scene(signal(SignalState.RED, "through")), name)
    front = episode.ego_pose[-1, 0] + 0.5 * episode.ego_size[0]
    assert 44.0 < front <= 50.0
    assert episode.ego_speed[-1] < 0.3
    assert verdict.rules["red_light"].value[0] == 1.0


@pytest.mark.parametrize("name", ["idm", "expert"])
def test_drivers_stop_at_a_stop_sign_once_and_go_on(name: str) -> None:
    episode, verdict = driven(scene(stop_lines=(sign(),)), name)
    before = 50.0 - episode.ego_pose[:, 0] - 0.5 * episode.ego_size[0]
    assert episode.ego_speed[(before >= 0.0) & (before < 4.0)].min() < 0.5
    assert episode.ego_pose[-1, 0] > 60.0
    assert verdict.rules["stop_line"].value[0] == 1.0


@pytest.mark.parametrize("name", ["idm", "expert"])
def test_the_light_of_another_lane_that_begins_at_the_same_place_does_not_stop(name: str) -> None:
    """Straight on is green, left is red: the ego goes straight on."""
    episode, _ = driven(scene(signal(SignalState.GREEN, "through"), signal(SignalState.RED, "left")), name)
    assert episode.ego_speed.min() > 5.0


def test_engine_and_drivers_have_the_same_lines() -> None:
    made = scene(signal(SignalState.RED, "through"), stop_lines=(sign(80.0),))
    ((line,),) = signal_lines(made)
    (gate,) = gate_rows(made)
    assert line.ends.tolist() == [[50.0, 1.75], [50.0, -1.75]]
    assert gate["start"].tolist() == line.ends[0].tolist()
    assert gate["direction"].tolist() == line.direction.tolist() == [1.0, 0.0]
    (sign_line,) = sign_lines(made)
    assert sign_line.ends[:, 0].tolist() == [80.0, 80.0]
    stops = route_stops(made, RouteFrame.of_route(made.route))
    assert [(round(stop.s, 3), stop.signal) for stop in stops] == [(50.0, 0), (80.0, None)]


def test_a_line_on_a_bridge_above_the_route_and_one_of_the_other_direction_do_not_stop() -> None:
    above = StopLine("above", np.array([[40.0, 2.0, 6.0], [40.0, -2.0, 6.0]], np.float32), ("in",))
    back = lane("back", (60.0, 1.0), (40.0, 1.0))
    made = scene(signal(SignalState.RED, "back"), stop_lines=(above,))
    made = dataclasses.replace(made, road_map=RoadMap(lanes=(*LANES, back), stop_lines=(above,)))
    assert route_stops(made, RouteFrame.of_route(made.route)) == ()


def test_lines_without_extent_are_no_lines() -> None:
    point = StopLine("point", np.zeros((2, 3), np.float32), ("in",))
    still = Lane("still", np.zeros((2, 3), np.float32), np.full(2, 3.5, np.float32))
    assert sign_lines(scene(stop_lines=(point,))) == []
    assert lines_of_lanes(RoadMap(lanes=(still,)), ("still", "missing")) == []
