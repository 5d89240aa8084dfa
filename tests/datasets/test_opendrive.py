"""OpenDRIVE: reference lines against closed forms and fine sums, lanes, links, and files that contradict themselves."""

import math
from pathlib import Path

import numpy as np
import pytest
from recordings.openscenario import lane, road, section, write_roads

from alpamayo_datasets.opendrive import raw_map, read_network, scene_signals
from alpamayo_datasets.opendrive.reference_line import arc, clothoid, polynomial
from alpamayo_sim.datatypes.scene import LaneKind, LineKind
from alpamayo_sim.errors import InputError


def summed(curvature: np.ndarray, step: float) -> np.ndarray:
    """The end of a line of given curvature, by the midpoint rule."""
    heading = np.concatenate([[0.0], np.cumsum(curvature) * step])
    middle = 0.5 * (heading[1:] + heading[:-1])
    return np.array([np.cos(middle).sum() * step, np.sin(middle).sum() * step, heading[-1]])


@pytest.mark.parametrize("curvature", [0.02, -0.1])
def test_an_arc_lies_on_its_circle(curvature: float) -> None:
    u = np.linspace(0.0, 40.0, 9)
    radius = 1.0 / curvature
    expected = np.stack([radius * np.sin(u / radius), radius * (1.0 - np.cos(u / radius)), u / radius], axis=-1)
    np.testing.assert_allclose(arc(curvature)(u), expected, atol=1e-9)


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.02), (0.03, -0.01), (-0.02, -0.05), (0.01, 0.01), (0.0, 0.0)])
def test_a_clothoid_is_the_integral_of_its_curvature(start: float, end: float) -> None:
    length, parts = 60.0, 60_000
    middle = (np.arange(parts) + 0.5) / parts
    expected = summed(start + (end - start) * middle, length / parts)
    np.testing.assert_allclose(clothoid(start, end, length)(np.array([length]))[0], expected, atol=1e-5)


def test_a_parabola_is_followed_by_its_arc_length() -> None:
    """v = u² / 20 has the length 0.5 (u sqrt(1 + u² / 100) + 10 asinh(u / 10)) up to u."""
    u = 8.0
    length = 0.5 * (u * math.sqrt(1.0 + u**2 / 100.0) + 10.0 * math.asinh(u / 10.0))
    found = polynomial((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.05, 0.0), 20.0, None)(np.array([length]))[0]
    np.testing.assert_allclose(found, [u, u**2 / 20.0, math.atan(u / 10.0)], atol=1e-4)


def test_both_ranges_of_a_parametric_polynomial_give_one_line(tmp_path: Path) -> None:
    begin = '<geometry s="0" x="3" y="4" hdg="0.5" length="10">'
    whole = 'aU="0" bU="1" cU="0" dU="0" aV="0" bV="0" cV="0.01" dV="0"'
    normal = 'aU="0" bU="10" cU="0" dU="0" aV="0" bV="0" cV="1" dV="0"'
    lines = []
    for k, text in enumerate((f'pRange="arcLength" {whole}', f'pRange="normalized" {normal}')):
        path = write_roads(
            tmp_path / f"{k}.xodr", road(length=10.0, geometry=f"{begin}<paramPoly3 {text}/></geometry>")
        )
        lines.append(read_network(path).roads["1"].line.pose(np.linspace(0.0, 10.0, 11)))
    np.testing.assert_allclose(lines[0], lines[1], atol=1e-6)
    np.testing.assert_allclose(lines[0][0], [3.0, 4.0, 0.5])


def test_lanes_have_their_widths_offsets_and_heights(tmp_path: Path) -> None:
    path = write_roads(
        tmp_path / "r.xodr",
        road(
            sections=section(lane(1), lane(-1) + lane(-2, width='a="2" b="0.01" c="0" d="0"')),
            lanes='<laneOffset s="0" a="0.5" b="0" c="0" d="0"/>',
            inside='<elevationProfile><elevation s="0" a="1" b="0.02" c="0" d="0"/></elevationProfile>',
        ),
    )
    lanes = {each.id: each for each in raw_map(read_network(path)).lanes}
    right = lanes["1/0/-2"]
    np.testing.assert_allclose(right.centreline[-1], [100.0, 0.5 - 3.5 - 1.5, 3.0], atol=1e-9)
    np.testing.assert_allclose((right.left + right.right)[[0, -1]], [2.0, 3.0], atol=1e-9)
    left = lanes["1/0/1"]
    np.testing.assert_allclose(left.centreline[0], [100.0, 0.5 + 1.75, 3.0], atol=1e-9)
    assert lanes["1/0/-1"].right_neighbours == ("1/0/-2",)
    assert lanes["1/0/-2"].left_neighbours == ("1/0/-1",)
    assert left.left_neighbours == ()
    assert left.boundaries is not None
    np.testing.assert_allclose(left.boundaries[0][0, :2], [100.0, 0.5], atol=1e-9)


def test_left_hand_traffic_drives_the_other_way(tmp_path: Path) -> None:
    path = write_roads(tmp_path / "r.xodr", road(attributes='junction="-1" rule="LHT"'))
    lanes = {each.id: each for each in raw_map(read_network(path)).lanes}
    assert lanes["1/0/1"].centreline[0, 0] == 0.0
    assert lanes["1/0/-1"].centreline[0, 0] == 100.0
    assert lanes["1/0/-1"].left_neighbours == ("1/0/-2",)


def test_lanes_lead_on_through_sections_roads_and_junctions(tmp_path: Path) -> None:
    path = write_roads(
        tmp_path / "r.xodr",
        road(
            "1",
            sections=section(right=lane(-1)) + section(right=lane(-1), s=60.0),
            link='<successor elementType="junction" elementId="9"/>',
        ),
        road(
            "2",
            20.0,
            geometry='<geometry s="0" x="100" y="0" hdg="0" length="20"><line/></geometry>',
            sections=section(right=lane(-1)),
            link='<predecessor elementType="road" elementId="1" contactPoint="end"/>'
            '<successor elementType="road" elementId="3" contactPoint="end"/>',
            attributes='junction="9"',
        ),
        road(
            "3",
            50.0,
            geometry='<geometry s="0" x="170" y="0" hdg="3.14159265" length="50"><line/></geometry>',
            sections=section(left=lane(1)),
        ),
        junctions='<junction id="9" name=""><connection id="0" incomingRoad="1" connectingRoad="2" '
        'contactPoint="start"><laneLink from="-1" to="-1"/></connection></junction>',
    )
    network = read_network(path)
    assert network.following(("1", 0, -1)) == [("1", 1, -1)]
    assert network.following(("1", 1, -1)) == [("2", 0, -1)]
    assert network.continued(("2", 0, -1), along=True) == []  # road 3 has no lane -1 at that end
    lanes = {each.id: each for each in raw_map(network).lanes}
    assert lanes["1/1/-1"].successors == ("2/0/-1",)
    assert lanes["2/0/-1"].in_intersection
    assert not lanes["1/0/-1"].in_intersection


def test_paint_kinds_crosswalks_and_signals_are_kept(tmp_path: Path) -> None:
    marks = '<roadMark sOffset="0" type="solid" color="yellow"/><roadMark sOffset="40" type="none"/>'
    things = (
        '<objects><object type="crosswalk" id="5" s="50" t="0" hdg="0"><outline><cornerLocal u="-2" v="-3"/>'
        '<cornerLocal u="2" v="-3"/><cornerLocal u="2" v="3"/><cornerLocal u="-2" v="3"/></outline></object></objects>'
        '<signals><signal id="7" s="90" t="-6" type="1000001" dynamic="yes" orientation="+"/></signals>'
    )
    bike = lane(-2, "biking", width='a="1.5" b="0" c="0" d="0"')
    path = write_roads(tmp_path / "r.xodr", road(sections=section(right=lane(-1, inside=marks) + bike), inside=things))
    found = raw_map(read_network(path))
    yellow = [line for line, kind in found.lines if kind is LineKind.SOLID_YELLOW]
    assert len(yellow) == 1
    np.testing.assert_allclose(yellow[0][[0, -1], :2], [[0.0, -3.5], [40.0, -3.5]], atol=1e-9)
    np.testing.assert_allclose(found.crosswalks[0][:, 0], [48.0, 52.0, 52.0, 48.0])
    assert {each.kind for each in found.lanes} == {LaneKind.DRIVING, LaneKind.BICYCLE}
    (signal,) = scene_signals(read_network(path), 3)
    np.testing.assert_allclose(signal.position, [90.0, -6.0, 0.0])


def test_what_is_not_read_is_listed_with_its_line(tmp_path: Path) -> None:
    bank = '\n<lateralProfile>\n<superelevation s="0" a="0.1" b="0" c="0" d="0"/></lateralProfile>'
    network = read_network(write_roads(tmp_path / "r.xodr", road(inside=bank)))
    assert network.unsupported == ("superelevation: line 4",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (road(length=-5.0), "line 2: road: its length is -5 m"),
        (road(geometry="<geometry s='0' x='0' y='nan' hdg='0' length='9'><line/></geometry>"), "y is 'nan'"),
        (road(geometry="<geometry s='0' x='0' y='0' hdg='0' length='9'><bend/></geometry>"), "is no line, arc, spiral"),
        (road(sections=section(right=lane(1))), "lane 1 cannot be on the right side"),
        (road(sections=section(right='<lane id="-1" type="driving"/>')), "lane -1 has no width"),
        (road(link='<successor elementType="road" elementId="8"/>'), "there is no road '8'"),
        (road() + road(), "there are two roads '1'"),
        (
            road(sections=section()).replace('<lane id="0" type="none">', "<x>").replace("</lane>", "</x>"),
            "has no lanes",
        ),
        (
            road() + '<junction id="1"><connection incomingRoad="1" connectingRoad="1"/></junction>',
            "road '1' leads into itself",
        ),
        ('<!DOCTYPE x [<!ENTITY a "b">]>', "not valid XML|document type"),
    ],
)
def test_a_wrong_file_is_one_line_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_network(write_roads(tmp_path / "r.xodr", text))
    assert "\n" not in str(caught.value)
    assert "r.xodr" in str(caught.value)


@pytest.mark.parametrize("name", ["curve_r100", "e6mini", "fabriksgatan", "straight_500m"])
def test_lanes_of_real_files_join(name: str, realdata: Path) -> None:
    """Each lane begins where the lane before it ends."""
    found = raw_map(read_network(realdata / "openscenario" / "xodr" / f"{name}.xodr"))
    lanes = {each.id: each for each in found.lanes}
    assert lanes
    for each in lanes.values():
        for after in each.successors or ():
            gap = np.linalg.norm(lanes[after].centreline[0, :2] - each.centreline[-1, :2])
            assert gap < 0.3, f"{each.id} to {after}"
