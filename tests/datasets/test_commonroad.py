from pathlib import Path

import numpy as np
import pytest
from recordings.commonroad import commonroad, write_commonroad
from recordings.motion import placed, replay_errors

from alpamayo.closed_loop import drive
from alpamayo.drivers import make_driver
from alpamayo_datasets import open_log, scene_ids
from alpamayo_datasets.xml_files import read_xml
from alpamayo_sim.datatypes.scenario import scenario_of_log
from alpamayo_sim.datatypes.scene import Category, LineKind, SignalState
from alpamayo_sim.errors import InputError

REAL = {
    "ARG_Carcarana-4_5_T-1.xml": (368, 8),
    "DEU_A9-3_1_T-1.xml": (32, 9),
    "USA_Peach-4_8_T-1.xml": (79, 9),
    "USA_US101-3_3_T-1.xml": (12, 12),
    "test_reading_all.xml": (6, 3),
    "test_reading_intersection_traffic_sign.xml": (20, 0),
}
GOAL = '<position><lanelet ref="2"/></position>'


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return write_commonroad(tmp_path)


@pytest.mark.parametrize("version", ["2018b", "2020a"])
def test_obstacles_and_ego(written: Path, version: str) -> None:
    written.write_text(commonroad(version))
    scene = open_log(written)
    assert (scene.id, scene.ego_id, scene.steps, scene.dt) == ("ZAM_Small-1", "ego", 21, 0.2)
    assert scene.ego.valid.tolist() == [True] + [False] * 20
    np.testing.assert_allclose(placed(scene, "ego")[0], [5.0, 0.25, 0.0], atol=1e-4)
    np.testing.assert_allclose(scene.ego.velocity[0], [8.0, 0.0], atol=1e-6)
    car, parked = scene.tracks[1:]
    assert car.valid.sum() == 11
    np.testing.assert_allclose(placed(scene, "60")[:11, 0], 20.0 + 1.2 * np.arange(11), atol=1e-4)
    np.testing.assert_allclose(car.velocity[:11], [[6.0, 0.0]] * 11, atol=1e-6)
    np.testing.assert_allclose(car.size, [4.6, 1.8, 1.74], atol=1e-6)
    assert car.category == Category.VEHICLE
    assert parked.valid.all()
    np.testing.assert_allclose(placed(scene, "61")[:, :2], [[30.0, 3.5]] * 21, atol=1e-4)


@pytest.mark.parametrize("version", ["2018b", "2020a"])
def test_lanelets(written: Path, version: str) -> None:
    written.write_text(commonroad(version))
    road_map = open_log(written).road_map
    lanes = road_map.lane_by_id
    assert lanes["1"].successors == ("2",)
    assert lanes["1"].left_neighbours == ("3",)
    assert lanes["3"].right_neighbours == ("1",)
    assert lanes["1"].speed_limit == pytest.approx(13.89)
    np.testing.assert_allclose(lanes["1"].width, 3.5, atol=1e-5)
    assert {line.kind for line in road_map.road_lines} == {LineKind.BROKEN_WHITE, LineKind.SOLID_WHITE}


def test_stop_lines_and_lights(written: Path) -> None:
    scene = open_log(written)
    (stop,) = scene.road_map.stop_lines
    assert stop.lane_ids == ("2",)
    np.testing.assert_allclose(stop.line[:, 0] + scene.origin[0], 120.0, atol=1e-4)
    (signal,) = scene.signals
    assert signal.lane_ids == ("4",)  # the lane that begins at the light
    red, green, yellow = SignalState.RED, SignalState.GREEN, SignalState.YELLOW
    cycle = [red] * 4 + [green] * 4 + [yellow] * 2
    assert signal.states.tolist() == [cycle[(k - 2) % 10] for k in range(21)]


def test_the_route_leads_to_the_goal(written: Path) -> None:
    written.write_text(commonroad(goal=GOAL))
    scene = open_log(written)
    assert scene.route is not None
    assert scene.route.lane_ids == ("1", "2")
    np.testing.assert_allclose(scene.route.path[[0, -1], 0] + scene.origin[0], [5.0, 120.0], atol=1e-3)
    centre = "<center><x>80.0</x><y>0.0</y></center>"
    shape = f"<rectangle><length>8</length><width>4</width><orientation>0</orientation>{centre}</rectangle>"
    written.write_text(commonroad(goal=f"<position>{shape}</position>"))
    scenario = scenario_of_log(open_log(written))
    assert scenario.goal.distance == pytest.approx(75.0, abs=0.5)
    assert scenario.goal.duration == pytest.approx(4.0)


def test_a_driver_drives_from_the_initial_state(written: Path) -> None:
    written.write_text(commonroad(goal=GOAL))
    episode = drive(scenario_of_log(open_log(written)), make_driver("idm"), guard=False)
    assert episode.ego_speed[0] == pytest.approx(8.0, abs=0.1)
    assert episode.ego_pose[-1, 0] > episode.ego_pose[0, 0] + 15.0


def test_replay_begins_where_the_problem_does(written: Path) -> None:
    assert replay_errors(open_log(written)) == (0.0, 0.0)


def test_each_planning_problem_is_a_scene(written: Path) -> None:
    written.write_text(commonroad(problems=("9", "12")))
    assert scene_ids(written) == ["9", "12"]
    assert open_log(f"{written}#12").id == "ZAM_Small-1-12"
    with pytest.raises(InputError, match="holds 2 scenes"):
        open_log(written)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('commonRoadVersion="2020a"', 'commonRoadVersion="2017a"', "version '2017a', must be 2018b or 2020a"),
        ('timeStepSize="0.2"', 'timeStepSize="fast"', "timeStepSize: is 'fast', must be a number"),
        ('timeStepSize="0.2"', 'timeStepSize="0"', "timeStepSize is 0 s"),
        ("planningProblem", "otherProblem", "has no planningProblem"),
        ("leftBound", "otherBound", "lanelet 1: leftBound must have two points"),
        ('lanelet id="3"', 'lanelet id="1"', "lanelet id '1' is used twice"),
        ("<x>21.200000</x>", "<x>nan</x>", "dynamicObstacle 60: x: is 'nan', must be finite"),
        ("<x>21.200000</x>", "<x>1e300</x>", "track '60': position has values beyond"),
        ("<x>21.200000</x>", "", "dynamicObstacle 60: x: is None, must be a number"),
        ("<length>4.6</length>", "<length>-1</length>", "must be positive"),
        ("<exact>10</exact>", "<exact>1e9</exact>", "must be a step in"),
        ("<exact>10</exact>", "<exact>1.5</exact>", "must be a step in"),
        ("<duration>3</duration>", "<duration>x</duration>", "traffic light 52: duration: is 'x'"),
        ("</commonRoad>", "", "not valid XML"),
    ],
)
def test_what_is_wrong_is_named(written: Path, old: str, new: str, words: str) -> None:
    text = commonroad()
    assert old in text
    written.write_text(text.replace(old, new))
    with pytest.raises(InputError) as caught:
        open_log(written)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_entities_and_deep_elements_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xml"
    laughs = "".join(f'<!ENTITY l{k + 1} "{f"&l{k};" * 10}">' for k in range(9))
    for text, words in (
        (f'<!DOCTYPE c [<!ENTITY l0 "ha">{laughs}]><commonRoad>&l9;</commonRoad>', "document type"),
        ('<!DOCTYPE c [<!ENTITY f SYSTEM "file:///etc/passwd">]><commonRoad>&f;</commonRoad>', "document type"),
        ("<commonRoad>" + "<a>" * 100_000, "nested deeper"),
        ("<commonRoad><!-- -->", "not valid XML"),
    ):
        for encoding in ("utf-8", "utf-16"):
            path.write_text(f"<?xml version='1.0' encoding='{encoding}'?>{text}", encoding=encoding)
            with pytest.raises(InputError, match=words):
                read_xml(path)


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_real_scenarios(realdata: Path, name: str) -> None:
    scene = open_log(realdata / "commonroad" / name)
    lanes, others = REAL[name]
    assert len(scene.road_map.lanes) == lanes
    assert len(scene.tracks) - 1 == others
    root = read_xml(realdata / "commonroad" / name)
    for element in root.iter("trajectory"):
        assert len(element) > 0
    for obstacle in [*root.findall("dynamicObstacle"), *root.findall("obstacle")]:
        track = next(track for track in scene.tracks if track.id == obstacle.get("id"))
        for state in obstacle.iterfind("trajectory/state"):
            k = int(state.findtext("time/exact") or -1)
            point = state.find("position/point")
            if point is not None:
                recorded = [float(point.findtext("x") or 0), float(point.findtext("y") or 0)]
                np.testing.assert_allclose(track.position[k, :2] + scene.origin[:2], recorded, atol=1e-3)
    metres, radians = replay_errors(scene)
    assert metres < 1e-3
    assert radians < 1e-3


@pytest.mark.realdata
def test_a_real_goal_is_reached_over_the_lanelets(realdata: Path) -> None:
    scene = open_log(realdata / "commonroad" / "USA_Peach-4_8_T-1.xml")
    assert scene.route is not None
    assert scene.route.lane_ids[-1] in ("43616", "43482", "43474", "43478")
    assert all(signal.lane_ids for signal in scene.signals)
    assert SignalState.RED in np.concatenate([signal.states for signal in scene.signals])
