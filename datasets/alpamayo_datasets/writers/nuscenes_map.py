"""The map of a nuScenes data set: the map expansion (v1.3) of one city, and its mask of drivable ground."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float64

from alpamayo_sim.datatypes.scene import Lane, LineKind, RoadMap, Scene, StopLine
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import polyline_headings

Array = np.ndarray

CITY = "boston-seaport"  # traffic drives on the right there, as in most scenes
OTHER_CITIES = ("singapore-onenorth", "singapore-hollandvillage", "singapore-queenstown")
MASK_FILE = "maps/36092f0b03a857c6a3403e25b4b7aab3.png"  # the name that the devkit knows for this city
MASK_METRES_PER_PIXEL = 0.1
MAX_MASK_PIXELS = 600_000_000
DRIVABLE = 255
EDGE_M = 60.0  # between a scene and the edge of its place in the city: the devkit draws 57 m around the ego
ROW_M = 3000.0  # scenes lie beside each other up to this width, then in the next row
STRAIGHT_RADIUS_M = 999.0  # of the turns of length 0 about a straight piece
STOP_LINE_DEPTH_M = 1.0
LAYERS = (
    *("polygon", "line", "node", "drivable_area", "road_segment", "road_block", "lane", "ped_crossing", "walkway"),
    *("stop_line", "carpark_area", "road_divider", "lane_divider", "traffic_light", "lane_connector"),
)
SEGMENT_TYPES = {
    LineKind.UNKNOWN: "NIL",
    LineKind.BROKEN_WHITE: "SINGLE_DASHED_WHITE",
    LineKind.SOLID_WHITE: "SINGLE_SOLID_WHITE",
    LineKind.DOUBLE_WHITE: "DOUBLE_SOLID_WHITE",
    LineKind.BROKEN_YELLOW: "SINGLE_DASHED_YELLOW",
    LineKind.SOLID_YELLOW: "SINGLE_SOLID_YELLOW",
    LineKind.DOUBLE_YELLOW: "DOUBLE_SOLID_YELLOW",
}
YELLOW = (LineKind.BROKEN_YELLOW, LineKind.SOLID_YELLOW, LineKind.DOUBLE_YELLOW)


class CityMap:
    """The map of one city, which scenes are added to one after another, each in a place of its own."""

    def __init__(self) -> None:
        self.layers: dict[str, Any] = {name: [] for name in LAYERS}
        self.layers |= {"version": "1.3", "arcline_path_3": {}, "connectivity": {}}
        self.size = np.array([2.0 * EDGE_M, 2.0 * EDGE_M])
        self._next = np.zeros(2)
        self._grounds: list[Array] = []

    def place(self, scene: Scene) -> Float64[Array, "2"]:
        """Return what to add to a scene's x and y (m) in its own frame so that it has a place of its own in the city.

        Coordinates in a city count from its south-western corner, so that they are positive.
        """
        points = np.concatenate([line[:, :2] for line in _all_lines(scene)]).astype(np.float64)
        low, extent = points.min(axis=0), np.ptp(points, axis=0) + 2.0 * EDGE_M
        if self._next[0] > 0.0 and self._next[0] + extent[0] > ROW_M:
            self._next = np.array([0.0, self.size[1]])
        shift = self._next + EDGE_M - low
        self.size = np.maximum(self.size, self._next + extent)
        if np.prod(self.size / MASK_METRES_PER_PIXEL) > MAX_MASK_PIXELS:
            raise InputError(
                f"scene {scene.id!r}: the map would be {self.size[0]:.0f} m by {self.size[1]:.0f} m, too large for "
                "nuScenes' mask of 0.1 m; convert fewer scenes, or one with a smaller map"
            )
        self._next[0] += extent[0]
        return shift

    def add(self, scene: Scene, name: str, shift: Float64[Array, "2"]) -> None:
        """Add the map of a scene; ``name`` goes before the tokens that another scene has taken."""
        tokens = {lane.id: self._free(lane.id, name) for lane in scene.road_map.lanes}
        for lane in scene.road_map.lanes:
            self._add_lane(lane, tokens, shift)
        for ring in grounds(scene.road_map):
            self._grounds.append(ring + shift)
        polygons = [self._polygon(ring + shift) for ring in grounds(scene.road_map)]
        if polygons:
            self._add("drivable_area", polygon_tokens=polygons)
        for ring in scene.road_map.crosswalks:
            self._add("ped_crossing", polygon_token=self._polygon(ring[:, :2] + shift), road_segment_token="")
        for stop in scene.road_map.stop_lines:
            self._add_stop_line(stop, shift)
        for line in scene.road_map.road_lines:
            self._add_divider(line.line[:, :2] + shift, LineKind(line.kind))
        for signal in scene.signals:
            x, y = signal.position[:2] + shift
            pose = {"tx": float(x), "ty": float(y), "tz": float(signal.position[2]), "rx": 0.0, "ry": 0.0, "rz": 0.0}
            line_token = self._line(np.array([[x, y - 0.5], [x, y + 0.5]]))
            self._add(
                "traffic_light",
                line_token=line_token,
                traffic_light_type="VERTICAL",
                from_road_block_token="",
                items=[],
                pose=pose,
            )

    def write(self, root: Path) -> None:
        """Write the map expansion of this city, empty ones of the others, and the mask."""
        folder = root / "maps" / "expansion"
        folder.mkdir(parents=True)
        empty: dict[str, Any] = {name: [] for name in LAYERS}
        empty |= {"version": "1.3", "canvas_edge": [100.0, 100.0], "arcline_path_3": {}, "connectivity": {}}
        for city in OTHER_CITIES:
            (folder / f"{city}.json").write_text(json.dumps(empty))
        layers = {**self.layers, "canvas_edge": [float(value) for value in self.size]}
        (folder / f"{CITY}.json").write_text(json.dumps(layers, allow_nan=False))
        _, data = cv2.imencode(".png", self._mask())
        (root / MASK_FILE).write_bytes(data.tobytes())

    def _mask(self) -> Array:
        width, height = (int(np.ceil(value / MASK_METRES_PER_PIXEL)) for value in self.size)
        mask = np.zeros((height, width), np.uint8)
        for ring in self._grounds:
            pixels = np.stack([ring[:, 0], self.size[1] - ring[:, 1]], axis=1) / MASK_METRES_PER_PIXEL
            cv2.fillPoly(mask, [np.round(pixels).astype(np.int32)], DRIVABLE)
        return mask

    def _free(self, token: str, name: str) -> str:
        return token if token not in self.layers["connectivity"] else f"{name}-{token}"

    def _add(self, layer: str, **values: Any) -> str:
        token = str(values.pop("token", f"{layer}-{len(self.layers[layer])}"))
        self.layers[layer].append({"token": token, **values})
        return token

    def _nodes(self, xy: Float64[Array, "n 2"]) -> list[str]:
        return [self._add("node", x=float(x), y=float(y)) for x, y in xy]

    def _polygon(self, ring: Float64[Array, "n 2"]) -> str:
        return self._add("polygon", exterior_node_tokens=self._nodes(ring), holes=[])

    def _line(self, line: Float64[Array, "n 2"]) -> str:
        return self._add("line", node_tokens=self._nodes(line))

    def _add_lane(self, lane: Lane, tokens: dict[str, str], shift: Float64[Array, "2"]) -> None:
        token, line = tokens[lane.id], lane.centreline[:, :2] + shift
        shape: dict[str, Any] = {"token": token, "polygon_token": self._polygon(outline(lane) + shift)}
        if lane.speed_limit is not None:
            shape["speed_limit"] = float(lane.speed_limit)
        if lane.in_intersection:
            self._add("lane_connector", **shape)
        else:
            edges = [self._line(outline(lane)[[k, -1 - k]] + shift) for k in (0, len(outline(lane)) // 2 - 1)]
            ends = {"from_edge_line_token": edges[0], "to_edge_line_token": edges[1]}
            none: dict[str, Any] = {"left_lane_divider_segments": [], "right_lane_divider_segments": []}
            self._add("lane", **shape, lane_type="CAR", **ends, **none)
        self.layers["arcline_path_3"][token] = straight_pieces(line)
        known = [tokens[name] for name in lane.successors if name in tokens]
        connections = self.layers["connectivity"]
        connections.setdefault(token, {"incoming": [], "outgoing": []})["outgoing"] = known
        for after in known:
            connections.setdefault(after, {"incoming": [], "outgoing": []})["incoming"].append(token)

    def _add_stop_line(self, stop: StopLine, shift: Float64[Array, "2"]) -> None:
        ends = stop.line[[0, -1], :2] + shift
        along = (ends[1] - ends[0]) / max(float(np.hypot(*(ends[1] - ends[0]))), 1e-6)
        deep = 0.5 * STOP_LINE_DEPTH_M * np.array([-along[1], along[0]])
        ring = np.array([ends[0] - deep, ends[1] - deep, ends[1] + deep, ends[0] + deep])
        self._add(
            "stop_line",
            polygon_token=self._polygon(ring),
            stop_line_type="STOP_SIGN",
            ped_crossing_tokens=[],
            traffic_light_tokens=[],
            road_block_token="",
        )

    def _add_divider(self, line: Float64[Array, "n 2"], kind: LineKind) -> None:
        token = self._line(line)
        nodes = self.layers["line"][-1]["node_tokens"]
        if kind in YELLOW:
            self._add("road_divider", line_token=token, road_segment_token=None)
            return
        segments = [{"node_token": node, "segment_type": SEGMENT_TYPES[kind]} for node in nodes]
        self._add("lane_divider", line_token=token, lane_divider_segments=segments)


def grounds(road_map: RoadMap) -> list[Float64[Array, "n 2"]]:
    """Return the outlines of the drivable ground in the scene's frame; lanes stand for it where the map has none."""
    if road_map.drivable_areas:
        return [ring[:, :2].astype(np.float64) for ring in road_map.drivable_areas]
    return [outline(lane) for lane in road_map.lanes]


def outline(lane: Lane) -> Float64[Array, "n 2"]:
    """Return the outline (m) of a lane: its left side, then its right side backwards."""
    from alpamayo_sim.sensors.ground import lane_ring

    return lane_ring(lane)


def straight_pieces(line: Float64[Array, "n 2"]) -> list[dict[str, Any]]:
    """Return a line as an arc-line path of straight pieces, so that its points are kept."""
    length = np.hypot(*np.diff(line, axis=0).T)
    pieces = []
    for k in np.flatnonzero(length > 1e-6):
        heading = float(polyline_headings(line[k : k + 2])[0])
        ends = ([float(x), float(y), heading] for x, y in line[k : k + 2])
        pieces.append(
            {
                **dict(zip(("start_pose", "end_pose"), ends, strict=True)),
                "shape": "LSL",
                "radius": STRAIGHT_RADIUS_M,
                "segment_length": [0.0, float(length[k]), 0.0],
            }
        )
    return pieces


def _all_lines(scene: Scene) -> list[Array]:
    road_map = scene.road_map
    lines = [track.position[track.valid] for track in scene.tracks]
    lines += [lane.centreline for lane in road_map.lanes] + [prop.position[None] for prop in scene.props]
    lines += [*road_map.drivable_areas, *road_map.crosswalks, *(line.line for line in road_map.road_lines)]
    return [*lines, *(stop.line for stop in road_map.stop_lines), *(s.position[None] for s in scene.signals)]
