import dataclasses
from typing import Any

import numpy as np
import pytest

from alpamayo_sim.datatypes.scenario import Goal, Manoeuvre, Scenario, Script, scenario_of_log
from alpamayo_sim.datatypes.scene import (
    Category,
    Environment,
    Lane,
    Prop,
    Provenance,
    RoadMap,
    Route,
    Scene,
    Signal,
    StopLine,
    Track,
)
from alpamayo_sim.errors import InputError, unknown_name

LINE = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0], [20.0, 0.0, 0.0]], np.float32)


def lane(**changes: Any) -> Lane:
    return Lane(**{"id": "a", "centreline": LINE, "width": np.full(3, 3.5, np.float32), **changes})


def track(name: str = "ego", steps: int = 5, **changes: Any) -> Track:
    x = np.linspace(0.0, 8.0, steps, dtype=np.float32)
    values: dict[str, Any] = {
        "id": name,
        "category": Category.VEHICLE,
        "position": np.stack([x, np.zeros_like(x), np.zeros_like(x)], axis=1),
        "heading": np.zeros(steps, np.float32),
        "velocity": np.zeros((steps, 2), np.float32),
        "size": np.array([4.5, 1.9, 1.6], np.float32),
        "valid": np.ones(steps, bool),
    }
    return Track(**{**values, **changes})


def scene(**changes: Any) -> Scene:
    values: dict[str, Any] = {
        "id": "s",
        "road_map": RoadMap(lanes=(lane(),)),
        "tracks": (track(), track("other")),
        "ego_id": "ego",
        "provenance": Provenance("test", "Apache-2.0"),
        "route": Route(LINE),
    }
    return Scene(**{**values, **changes})


def test_a_scene_knows_its_ego_and_its_lanes() -> None:
    made = scene(tracks=(track("other"), track()))
    assert made.ego_index == 1
    assert made.ego.id == "ego"
    assert made.steps == 5
    assert made.road_map.lane_by_id["a"] is made.road_map.lanes[0]


BAD_NUMBERS = np.array([[0.0, np.nan, 0.0], [1.0, 0.0, 0.0]], np.float32)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lane(centreline=LINE[:1], width=np.ones(1, np.float32)), "'a': centreline has shape (1, 3)"),
        (lambda: lane(centreline=BAD_NUMBERS, width=np.ones(2, np.float32)), "not finite"),
        (lambda: lane(width=np.zeros(3, np.float32)), "width must be positive"),
        (lambda: lane(speed_limit=0.0), "speed limit is 0.0"),
        (lambda: lane(speed_limit=float("nan")), "speed limit is nan"),
        (lambda: StopLine("x", LINE[:1]), "stop line 'x'"),
        (lambda: RoadMap(lanes=(lane(), lane())), "lane id 'a' is used twice"),
        (lambda: RoadMap(drivable_areas=(LINE[:2],)), "drivable_areas[0] has shape (2, 3)"),
        (lambda: RoadMap(road_edges=(LINE, LINE[:1])), "road_edges[1]"),
        (lambda: Route(LINE[:1]), "route: path"),
        (lambda: Signal("s", LINE[0], np.array([9], np.int8)), "signal 's': states must be"),
        (lambda: Signal("s", LINE[0] * np.float32(np.nan), np.array([1], np.int8)), "signal 's': position"),
        (lambda: Prop("p", Category.CONE, LINE[0], 0.0, np.zeros(3, np.float32)), "prop 'p'"),
        (lambda: Prop("p", Category.CONE, LINE[0], float("inf"), np.ones(3, np.float32)), "prop 'p'"),
        (lambda: Environment(friction=0.0), "friction is 0.0"),
        (lambda: Environment(rain=-1.0), "rain must not be negative"),
        (lambda: Environment(visibility=0.0), "visibility must be positive"),
        (lambda: track(size=np.zeros(3, np.float32)), "track 'ego': size"),
        (lambda: scene(ego_id="nobody"), "ego 'nobody' is not among its 2 tracks"),
        (lambda: scene(tracks=(track(), track())), "track id 'ego' is used twice"),
        (lambda: scene(tracks=(track(), track("b", steps=6))), "same number of steps, found [5, 6]"),
        (lambda: scene(tracks=(track(steps=0),)), "found [0]"),
        (lambda: scene(dt=0.0), "dt is 0.0 s"),
        (lambda: scene(origin=np.array([np.inf, 0.0, 0.0])), "origin"),
        (lambda: Manoeuvre(duration=0.0), "duration must be positive"),
        (lambda: Script("x", LINE[:1], 1.0), "script of 'x': path"),
        (lambda: Script("x", LINE, -1.0), "speed is -1.0"),
        (lambda: Scenario(scene(), Goal(1.0, 1.0), (Script("ego", LINE, 1.0),)), "unknown agent 'ego'"),
    ],
)
def test_what_is_wrong_is_named(make: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_shapes_that_do_not_fit_are_refused() -> None:
    for name, bad in (("heading", np.zeros(4, np.float32)), ("velocity", np.zeros((4, 2), np.float32))):
        with pytest.raises((InputError, TypeError)):
            track(**{name: bad})


def test_a_log_becomes_a_scenario_that_ends_where_its_ego_ends() -> None:
    scenario = scenario_of_log(scene())
    assert scenario.goal.distance == pytest.approx(8.0)
    assert scenario.goal.duration == pytest.approx(0.4)
    assert scenario.steps == 4
    standing = scene(tracks=(track(position=np.zeros((5, 3), np.float32)),))
    assert scenario_of_log(standing).goal.distance == pytest.approx(20.0)
    with pytest.raises(InputError, match="has no route"):
        scenario_of_log(dataclasses.replace(scene(), route=None))


def test_unknown_names_offer_the_near_ones() -> None:
    assert str(unknown_name("driver", "idn", ["idm", "expert"])) == "unknown driver 'idn'; did you mean idm?"
    assert str(unknown_name("driver", "zzz", ["idm", "expert"])) == "unknown driver 'zzz'; there are: expert, idm"
