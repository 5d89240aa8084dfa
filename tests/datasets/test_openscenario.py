"""OpenSCENARIO: played positions against the closed form of the actions, triggers, parameters, and wrong files."""

from pathlib import Path

import numpy as np
import pytest
from recordings.openscenario import (
    at_time,
    by_entity,
    event,
    lane,
    lane_change,
    road,
    section,
    speed_action,
    teleport,
    write_roads,
    write_scenario,
)

from alpamayo_datasets import open_log
from alpamayo_datasets.openscenario import play
from alpamayo_datasets.openscenario.expressions import text_of
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError

TOLERANCE_M = 0.02
SHAPES = {
    "linear": lambda x: x,
    "cubic": lambda x: x**2 * (3.0 - 2.0 * x),
    "sinusoidal": lambda x: 0.5 * (1.0 - np.cos(np.pi * x)),
}
INTEGRALS = {  # of the shapes, from 0 to x
    "linear": lambda x: 0.5 * x**2,
    "cubic": lambda x: x**3 - 0.5 * x**4,
    "sinusoidal": lambda x: 0.5 * (x - np.sin(np.pi * x) / np.pi),
}


@pytest.fixture
def roads(tmp_path: Path) -> Path:
    return write_roads(tmp_path / "roads.xodr", road(length=800.0, sections=None))


def at(s: float, lane_id: int = -1) -> str:
    return f'<LanePosition roadId="1" laneId="{lane_id}" s="{s}" offset="0"/>'


def started(ego_s: float, ego_mps: float, other_s: float, other_mps: float, other_lane: int = -1) -> str:
    """Both cars on lanes of the road at their speeds."""
    found = teleport("Ego", at(ego_s)) + teleport("Other", at(other_s, other_lane))
    for name, speed in (("Ego", ego_mps), ("Other", other_mps)):
        found += f'<Private entityRef="{name}"><PrivateAction>{speed_action(speed)}</PrivateAction></Private>'
    return found


def played(path: Path, name: str = "Other") -> tuple[np.ndarray, np.ndarray]:
    """Times and positions of an entity."""
    scene: Scene = open_log(path)
    track = next(track for track in scene.tracks if track.id == name)
    return 0.1 * np.arange(scene.steps), track.position[:, :2] + scene.origin[:2]


@pytest.mark.usefixtures("roads")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_change_of_speed_is_its_integral(tmp_path: Path, shape: str) -> None:
    change = event("faster", at_time(2.0), speed_action(22.0, shape, "time", 4.0))
    t, xy = played(write_scenario(tmp_path / "a.xosc", started(10, 8, 50, 12), change))
    part = np.clip((t - 2.0) / 4.0, 0.0, 1.0)
    moved = 12.0 * t + 10.0 * (4.0 * INTEGRALS[shape](part) + np.maximum(t - 6.0, 0.0))
    np.testing.assert_allclose(xy[:, 0], 50.0 + moved, atol=TOLERANCE_M)
    np.testing.assert_allclose(xy[:, 1], -1.75, atol=1e-6)


@pytest.mark.usefixtures("roads")
@pytest.mark.parametrize(("shape", "steepest"), [("linear", 1.0), ("cubic", 1.5), ("sinusoidal", 0.5 * np.pi)])
@pytest.mark.parametrize("by", ["time", "rate", "distance"])
def test_a_lane_change_has_its_shape(tmp_path: Path, shape: str, steepest: float, by: str) -> None:
    """From lane -1 to -2: 3.5 m to the right, over a time, at a greatest lateral speed, or over a distance."""
    extent = {"time": 3.0, "rate": 1.4, "distance": 45.0}[by]
    duration = {"time": 3.0, "rate": steepest * 3.5 / 1.4, "distance": 3.0}[by]
    change = event("move", at_time(1.5), lane_change(-2, shape, by, extent))
    t, xy = played(write_scenario(tmp_path / "a.xosc", started(10, 8, 50, 15), change))
    part = np.clip((t - 1.5) / duration, 0.0, 1.0)
    np.testing.assert_allclose(xy[:, 1], -1.75 - 3.5 * SHAPES[shape](part), atol=TOLERANCE_M)
    np.testing.assert_allclose(xy[:, 0], 50.0 + 15.0 * t, atol=TOLERANCE_M)


@pytest.mark.usefixtures("roads")
def test_braking_begins_at_its_headway(tmp_path: Path) -> None:
    """The gap of the centres shrinks from 60 m by 5 m/s; at 15 m/s the headway is 2.0 s at 6.0 s."""
    headway = '<TimeHeadwayCondition entityRef="Other" value="2.0" freespace="false" rule="lessThan"/>'
    change = event("brake", by_entity("Ego", headway), speed_action(0.0, "linear", "rate", 4.0))
    t, xy = played(write_scenario(tmp_path / "a.xosc", started(10, 15, 70, 10), change))
    after = np.clip(t - 6.0, 0.0, 2.5)
    expected = 70.0 + 10.0 * np.minimum(t, 6.0) + 10.0 * after - 2.0 * after**2
    np.testing.assert_allclose(xy[:, 0], expected, atol=0.1 + 1e-3)


@pytest.mark.parametrize(
    ("condition", "fires"),
    [
        ('<RelativeDistanceCondition entityRef="Other" value="30" rule="lessThan" freespace="false" '
         'relativeDistanceType="longitudinal"/>', 6.0),
        ('<TimeToCollisionCondition value="4" rule="lessThan" freespace="false"><TimeToCollisionConditionTarget>'
         '<EntityRef entityRef="Other"/></TimeToCollisionConditionTarget></TimeToCollisionCondition>', 8.0),
        ('<TraveledDistanceCondition value="75"/>', 5.0),
        ('<ReachPositionCondition tolerance="2"><Position><LanePosition roadId="1" laneId="-1" s="72"/></Position>'
         "</ReachPositionCondition>", 4.0),
        ('<DistanceCondition value="10" rule="lessThan"><Position><WorldPosition x="80" y="-1.75"/></Position>'
         "</DistanceCondition>", 4.0),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("roads")
def test_a_condition_fires_at_its_time(tmp_path: Path, condition: str, fires: float) -> None:
    """The ego at 10 m with 15 m/s, the other at 70 m with 10 m/s, which stops at once."""
    change = event("stop", by_entity("Ego", condition), speed_action(0.0))
    _, xy = played(write_scenario(tmp_path / "a.xosc", started(10, 15, 70, 10), change, end=12.0))
    assert xy[-1, 0] == pytest.approx(70.0 + 10.0 * fires, abs=0.15)


@pytest.mark.usefixtures("roads")
def test_events_wait_for_each_other_and_for_delays(tmp_path: Path) -> None:
    ended = (
        '<Condition name="c" delay="1.5" conditionEdge="rising"><ByValueCondition><StoryboardElementStateCondition '
        'storyboardElementType="event" storyboardElementRef="first" state="completeState"/>'
        "</ByValueCondition></Condition>"
    )
    events = event("first", at_time(1.0), speed_action(20.0, "linear", "time", 2.0)) + event(
        "second", ended, speed_action(0.0)
    )
    _, xy = played(write_scenario(tmp_path / "a.xosc", started(10, 8, 50, 10), events))
    assert xy[-1, 0] == pytest.approx(50.0 + 10.0 + 30.0 + 20.0 * 1.5, abs=0.5)


@pytest.mark.usefixtures("roads")
def test_a_trajectory_is_followed_by_its_times(tmp_path: Path) -> None:
    vertices = "".join(
        f'<Vertex time="{t}"><Position><WorldPosition x="{x}" y="{y}"/></Position></Vertex>'
        for t, x, y in ((2, 50, -1.75), (4, 70, -1.75), (7, 70, 40))
    )
    follow = (
        "<RoutingAction><FollowTrajectoryAction><Trajectory name='t' closed='false'><Shape><Polyline>"
        f"{vertices}</Polyline></Shape></Trajectory><TimeReference><Timing domainAbsoluteRelative='absolute' scale='1' "
        "offset='0'/></TimeReference><TrajectoryFollowingMode followingMode='position'/></FollowTrajectoryAction>"
        "</RoutingAction>"
    )
    t, xy = played(write_scenario(tmp_path / "a.xosc", started(10, 8, 50, 0), event("go", at_time(2.0), follow)))
    on_it = t <= 7.0
    expected = np.stack([np.interp(t, [2, 4], [50, 70]), np.interp(t, [4, 7], [-1.75, 40])], axis=-1)
    np.testing.assert_allclose(xy[on_it], expected[on_it], atol=TOLERANCE_M)


def test_cars_keep_to_their_lane_in_a_bend(tmp_path: Path) -> None:
    """On an arc of 50 m radius to the left, lane -1 has a radius of 51.75 m."""
    bend = '<geometry s="0" x="0" y="0" hdg="0" length="150"><arc curvature="0.02"/></geometry>'
    write_roads(tmp_path / "roads.xodr", road(length=150.0, geometry=bend))
    t, xy = played(write_scenario(tmp_path / "a.xosc", started(5, 0, 0, 10), "", end=8.0))
    angle = 10.0 * t / 51.75
    expected = np.stack([51.75 * np.sin(angle), 50.0 - 51.75 * np.cos(angle)], axis=-1)
    np.testing.assert_allclose(xy, expected, atol=TOLERANCE_M)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$speed", "108"),
        ("${$speed / 3.6}", "30.0"),
        ("${-(2 + 3) * 4 % 7}", str(float(-20 % 7))),
        ("${round(2.4) + pow(2, 3) + max(1, 5)}", "15.0"),
        ("${A + _ + $speed}", "A + _ + 108"),
        ("plain", "plain"),
        ("${__import__('os').getcwd()}", "__import__('os').getcwd()"),
        ("${9**9**9}", "9**9**9"),
    ],
)
def test_expressions(text: str, value: str) -> None:
    from xml.etree.ElementTree import Element

    assert text_of(text, {"speed": "108"}, Element("x"), "file") == value


@pytest.mark.usefixtures("roads")
def test_catalogs_and_parameters_fill_in_the_entities(tmp_path: Path) -> None:
    folder = tmp_path / "cars"
    folder.mkdir()
    (folder / "cars.xosc").write_text(
        '<OpenSCENARIO><Catalog name="Cars"><Vehicle name="truck" vehicleCategory="truck"><ParameterDeclarations>'
        '<ParameterDeclaration name="Length" parameterType="double" value="8"/></ParameterDeclarations><BoundingBox>'
        '<Center x="2" y="0" z="1"/><Dimensions length="$Length" width="2.5" height="3"/></BoundingBox></Vehicle>'
        "</Catalog></OpenSCENARIO>"
    )
    entity = (
        '<CatalogReference catalogName="Cars" entryName="$kind"><ParameterAssignments><ParameterAssignment '
        'parameterRef="Length" value="9.5"/></ParameterAssignments></CatalogReference>'
    )
    path = write_scenario(
        tmp_path / "a.xosc",
        started(10, 8, 50, 5),
        "",
        entity=entity,
        parameters='<ParameterDeclaration name="kind" parameterType="string" value="truck"/>',
        catalogs='<VehicleCatalog><Directory path="cars"/></VehicleCatalog>',
        end=2.0,
    )
    _, xy = played(path)
    assert play(path).entities["Other"].size.tolist() == [9.5, 2.5, 3.0]
    assert xy[0, 0] == pytest.approx(52.0)  # the middle of the box is 2 m ahead of the reference point


@pytest.mark.usefixtures("roads")
def test_what_is_not_supported_is_listed_and_the_rest_is_played(tmp_path: Path) -> None:
    strange = "<ControllerAction><OverrideControllerValueAction/></ControllerAction>"
    change = event("odd", at_time(1.0), strange) + event("fast", at_time(2.0), speed_action(20.0))
    path = write_scenario(tmp_path / "a.xosc", started(10, 8, 50, 10), change)
    assert play(path).unsupported == ("ControllerAction: line 15",)
    t, xy = played(path)
    np.testing.assert_allclose(xy[:, 0], 50.0 + 10.0 * t + 10.0 * np.maximum(t - 2.0, 0.0), atol=TOLERANCE_M)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("roads.xodr", "absent.xodr"), r"line \d+: LogicFile: there is no road file"),
        (('roadId="1"', 'roadId="7"'), "there is no road '7'"),
        (('laneId="-1"', 'laneId="-5"'), "road '1' has no lane -5 at s = 10 m"),
        (('s="10"', 's="900"'), "s is 900 m, road '1' is 800 m long"),
        (('entityRef="Ego"', 'entityRef="Nobody"'), "there is no entity 'Nobody'"),
        (("<Vehicle name", "<Bicycle name"), "not valid XML"),
        (('value="12"', 'value="$fast"'), "there is no parameter \\$fast"),
        (('value="12"', 'value="quick"'), "value is 'quick', must be a finite number"),
        (('conditionEdge="none"', 'conditionEdge="up"'), "conditionEdge is 'up'"),
        (('name="Other"', 'name="Ego"'), "there are two entities 'Ego'"),
    ],
)
@pytest.mark.usefixtures("roads")
def test_a_wrong_file_is_one_line_with_the_place(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = write_scenario(tmp_path / "a.xosc", started(10, 8, 50, 12), event("x", at_time(1.0), speed_action(3.0)))
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(InputError, match=message) as caught:
        open_log(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cut-in", "cut-in_simple", "lane_change_simple"])
def test_real_files_play(name: str, realdata: Path) -> None:
    scene = open_log(realdata / "openscenario" / "xosc" / f"{name}.xosc")
    assert scene.ego.valid.all()
    assert scene.steps > 100
    assert scene.road_map.lanes


QUARTER_M = 0.5 * np.pi * 20.0  # a quarter of a circle with a radius of 20 m
ROUTE = '<Route name="left" closed="false">{}</Route>'


def fork(folder: Path) -> Path:
    """A road of 100 m that goes straight on into road 3, and left, over a quarter of a circle, into road 5."""

    def line(x: float, y: float, heading: float, length: float, curve: str = "<line/>") -> str:
        return f'<geometry s="0" x="{x}" y="{y}" hdg="{heading}" length="{length}">{curve}</geometry>'

    def inside(name: str, geometry: str, length: float, to: str) -> str:
        link = (
            '<predecessor elementType="road" elementId="1" contactPoint="end"/>'
            f'<successor elementType="road" elementId="{to}" contactPoint="start"/>'
        )
        single = section(right=lane(-1))
        return road(name, length, geometry=geometry, sections=single, link=link, attributes='junction="9"')

    after, single = 0.5 * np.pi, section(right=lane(-1))
    connections = "".join(
        f'<connection id="{k}" incomingRoad="1" connectingRoad="{name}" contactPoint="start">'
        '<laneLink from="-1" to="-1"/></connection>'
        for k, name in enumerate("24")
    )
    return write_roads(
        folder / "roads.xodr",
        road("1", sections=single, link='<successor elementType="junction" elementId="9"/>'),
        inside("2", line(100, 0, 0, 20), 20.0, "3"),
        road("3", 200.0, geometry=line(120, 0, 0, 200), sections=single),
        inside("4", line(100, 0, 0, QUARTER_M, '<arc curvature="0.05"/>'), QUARTER_M, "5"),
        road("5", 200.0, geometry=line(120, 20, after, 200), sections=single),
        junctions=f'<junction id="9" name="">{connections}</junction>',
    )


def through(*places: tuple[str, float]) -> str:
    """A route through waypoints on lanes -1: roads and arc lengths."""
    made = (f'<LanePosition roadId="{name}" laneId="-1" s="{s}" offset="0"/>' for name, s in places)
    return ROUTE.format(
        "".join(f'<Waypoint routeStrategy="shortest"><Position>{p}</Position></Waypoint>' for p in made)
    )


def assigned(route: str) -> str:
    return (
        f'<Private entityRef="Other"><PrivateAction><RoutingAction><AssignRouteAction>{route}</AssignRouteAction>'
        "</RoutingAction></PrivateAction></Private>"
    )


def test_a_route_says_where_to_go_where_roads_fork(tmp_path: Path) -> None:
    fork(tmp_path)
    start = started(10, 8, 50, 30)
    straight = write_scenario(tmp_path / "a.xosc", start, "")
    left = write_scenario(tmp_path / "b.xosc", start + assigned(through(("1", 0.0), ("5", 60.0))), "")
    assert played(straight)[1][45] == pytest.approx([50.0 + 135.0, -1.75], abs=0.05)
    assert play(left).unsupported == ()
    to_bend_end = 50.0 + 0.5 * np.pi * 21.75  # its lane has the radius 21.75 m
    assert played(left)[1][45] == pytest.approx([121.75, 20.0 + 135.0 - to_bend_end], abs=0.1)


@pytest.mark.parametrize(("distance", "expected"), [(20.0, (20.0, -1.75)), (100.0 + QUARTER_M + 30.0, (121.75, 50.0))])
def test_a_route_position_is_a_distance_along_the_roads(
    distance: float, expected: tuple[float, float], tmp_path: Path
) -> None:
    fork(tmp_path)
    (tmp_path / "routes").mkdir()
    catalog = f'<Catalog name="Routes">{through(("1", 0.0), ("4", 10.0), ("5", 100.0))}</Catalog>'
    (tmp_path / "routes" / "r.xosc").write_text(f"<OpenSCENARIO>{catalog}</OpenSCENARIO>")
    position = (
        '<RoutePosition><RouteRef><CatalogReference catalogName="Routes" entryName="left"/></RouteRef><InRoutePosition>'
        f'<FromLaneCoordinates pathS="{distance}" laneId="-1"/></InRoutePosition></RoutePosition>'
    )
    path = write_scenario(
        tmp_path / "a.xosc",
        teleport("Ego", at(0.0)) + teleport("Other", position),
        "",
        catalogs='<RouteCatalog><Directory path="routes"/></RouteCatalog>',
        end=1.0,
    )
    assert played(path)[1][0] == pytest.approx(expected, abs=0.01)


def test_a_route_without_a_way_names_the_waypoints(tmp_path: Path) -> None:
    fork(tmp_path)
    wrong = {
        r"no way leads from waypoint 1 \(road '3'\) to waypoint 2": through(("3", 10.0), ("5", 10.0)),
        "a route needs two waypoints, found 1": through(("1", 10.0)),
        "CatalogReference": "",
    }
    for message, route in wrong.items():
        path = write_scenario(tmp_path / "a.xosc", started(10, 8, 50, 20) + assigned(route), "")
        with pytest.raises(InputError, match=message):
            play(path)
