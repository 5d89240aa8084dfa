"""CommonRoad files that ``writers.commonroad`` writes, read back."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import shapely
from recordings.arrow_123d import write_123d

from alpamayo_datasets import Recording, find_log, open_log, writer_named
from alpamayo_sim.datatypes.scene import Category, Environment, Prop, Scene
from alpamayo_sim.geometry import project, wrap_angle


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A recorded scene with a light, a stop sign, a crosswalk, a lane in an intersection, and a cone."""
    made = open_log(write_123d(tmp_path))
    cone = Prop(
        "cone", Category.CONE, np.array([5.0, 3.0, 0.0], np.float32), 0.3, np.array([0.4, 0.4, 1.0], np.float32)
    )
    return replace(made, props=(cone,), environment=Environment(friction=0.6, rain=5.0))


@pytest.fixture
def back(scene: Scene, tmp_path: Path) -> Scene:
    writer_named("commonroad").write([Recording(scene)], tmp_path / "out")
    return open_log(tmp_path / "out" / "small.xml")


def test_road_users_read_back(scene: Scene, back: Scene) -> None:
    assert (back.steps, back.dt) == (scene.steps, scene.dt)
    assert (back.provenance.source, back.provenance.licence) == (scene.provenance.source, scene.provenance.licence)
    known = sorted((t for t in scene.tracks if t is not scene.ego), key=lambda track: -int(track.valid.sum()))
    found = sorted((t for t in back.tracks if t.id != "ego"), key=lambda track: -int(track.valid.sum()))
    assert len(known) == len(found) == 2
    for one, other in zip(known, found, strict=True):
        np.testing.assert_array_equal(one.valid, other.valid)
        assert one.category == other.category
        here, there = (t.position[t.valid].astype(float) + s.origin for t, s in ((one, scene), (other, back)))
        np.testing.assert_allclose(there, here, atol=1e-5)
        assert np.abs(wrap_angle(one.heading - other.heading)[one.valid]).max() < 1e-6
        np.testing.assert_allclose(other.velocity[one.valid], one.velocity[one.valid], atol=1e-5)
    assert [prop.category for prop in back.props] == [Category.BARRIER]  # CommonRoad has no cones


def test_the_ego_has_its_first_state_and_its_goal(scene: Scene, back: Scene) -> None:
    first = scene.ego.position[0, :2] + scene.origin[:2]
    np.testing.assert_allclose(back.ego.position[0, :2] + back.origin[:2], first, atol=1e-5)
    np.testing.assert_allclose(back.ego.velocity[0], scene.ego.velocity[0], atol=0.2)  # along the heading alone
    assert back.route is not None


def test_the_map_and_its_lights_read_back(scene: Scene, back: Scene) -> None:
    shift = (back.origin - scene.origin)[:2]
    assert len(back.road_map.lanes) == len(scene.road_map.lanes) == 2
    for known, found in zip(scene.road_map.lanes, back.road_map.lanes, strict=True):
        line = found.centreline[:, :2].astype(float) + shift
        assert np.abs(project(known.centreline[:, :2].astype(float), line)[1]).max() < 1e-3
        assert (found.speed_limit, found.in_intersection) == (known.speed_limit, known.in_intersection)
        assert len(found.successors) == len(known.successors)
        np.testing.assert_allclose(found.width, 3.5, atol=1e-3)
    assert [len(line.lane_ids) for line in back.road_map.stop_lines] == [1]
    areas = [[shapely.Polygon(ring[:, :2]).area for ring in s.road_map.crosswalks] for s in (scene, back)]
    np.testing.assert_allclose(areas[0], areas[1], rtol=1e-4)
    (light,) = back.signals
    assert light.states.tolist() == scene.signals[0].states.tolist()
    assert len(light.lane_ids) == 1
    assert back.environment.rain == 5.0


def test_numbers_are_unique_and_references_are_there(scene: Scene, tmp_path: Path) -> None:
    writer_named("commonroad").write([Recording(scene)], tmp_path / "out")
    path = tmp_path / "out" / "small.xml"
    assert find_log(path).reader.name == "commonroad"
    root = ElementTree.parse(path).getroot()
    numbers = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(numbers) == len(set(numbers))
    references = {element.get("ref") for element in root.iter() if element.get("ref")}
    assert references <= set(numbers)
    order = [element.tag for element in root]
    tags = ("location", "scenarioTags", "lanelet", "trafficSign", "trafficLight", "intersection")
    tags = (*tags, "staticObstacle", "dynamicObstacle", "planningProblem")
    assert sorted(set(order), key=order.index) == [tag for tag in tags if tag in order]
