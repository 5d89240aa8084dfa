"""The ground as a texture: a road map drawn once into pages at several resolutions.

A whole town at 10 cm does not fit into memory, but observers only come near the surroundings of the route. Level 0
(10 cm per texel) only has pages around the route; each further level is twice as coarse and reaches further,
and the last level covers the map. A sampler takes the next coarser level for a missing page.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, UInt8, UInt32

from alpamayo_sim.datatypes.scene import Lane, LaneKind, LineKind, RoadMap, Scene
from alpamayo_sim.geometry import arc_length, interpolate, polyline_headings
from alpamayo_sim.sensors.semantic import Semantic

Array = np.ndarray

TEXEL = 0.1  # m, level 0
PAGE = 128  # texels
STORED = PAGE + 1  # one more row and column, so that bilinear sampling stays within a page
REACH = (40.0, 70.0, 120.0, 220.0, 420.0)  # m around the route that each level covers
CHUNK = 8  # pages a side that are drawn at once
SHIFT = 4  # sub-texel bits of OpenCV's coordinates
MARGIN = 40  # texels drawn around a chunk, for the pavement's dilation

GRASS, PAVEMENT, KERB = (112, 133, 84), (168, 164, 158), (198, 195, 188)
ASPHALT, PARKING, BICYCLE = (88, 90, 95), (97, 98, 101), (122, 82, 76)
WHITE, YELLOW = (232, 232, 226), (226, 178, 52)
LINE_WIDTH, DASH, DASH_GAP = 0.15, 3.0, 6.0  # m
PAVEMENT_WIDTH, KERB_WIDTH = 2.6, 0.25  # m


@dataclass(frozen=True, eq=False)
class Shape:
    """A polygon to be painted: its ring (m), colour, class and the width (m) of its thin side."""

    ring: Float64[Array, "n 2"]
    colour: tuple[int, int, int]
    semantic: Semantic
    thin: float = 10.0
    low: Float64[Array, "2"] = field(init=False)
    high: Float64[Array, "2"] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", self.ring.min(axis=0))
        object.__setattr__(self, "high", self.ring.max(axis=0))


@dataclass(frozen=True, eq=False)
class GroundTexture:
    """Pages of all levels. Texels are R | G << 8 | B << 16 | class << 24, rows along y, columns along x.

    ``table`` gives the page of each cell of each level's grid (row-major, from ``offset[level]`` on, ``columns``
    and ``rows`` cells), or -1. Level l has texels of ``TEXEL`` * 2**l metres from ``corner`` on.
    """

    corner: Float64[Array, "2"]
    pages: UInt32[Array, "pages stored stored"]
    table: Int32[Array, " cells"]
    offset: Int32[Array, " levels"]
    columns: Int32[Array, " levels"]
    rows: Int32[Array, " levels"]


def ground_texture(scene: Scene) -> GroundTexture:
    """Draw the map of a scene around its route and the ego's recording."""
    anchors = _anchors(scene)
    low, high = anchors.min(axis=0) - REACH[-1], anchors.max(axis=0) + REACH[-1]
    roads, paint = road_shapes(scene.road_map), paint_shapes(scene.road_map)
    pages: list[Array] = []
    tables: list[Array] = []
    offsets, columns, rows = [], [], []
    for level, reach in enumerate(REACH):
        cell = TEXEL * 2**level * PAGE
        nx, ny = np.maximum(np.ceil((high - low) / cell).astype(int), 1)
        table = _wanted(anchors, low, cell, nx, ny, reach)
        _draw_level(table, pages, roads, paint, low, level)
        offsets.append(sum(t.size for t in tables))
        tables.append(table)
        columns.append(nx)
        rows.append(ny)
    flat = np.concatenate([t.ravel() for t in tables]).astype(np.int32)
    to_int = [np.asarray(x, np.int32) for x in (offsets, columns, rows)]
    return GroundTexture(low, np.stack(pages), flat, *to_int)


def _anchors(scene: Scene) -> Float64[Array, "n 2"]:
    """Return points every 10 m of the route and of the ego's recording."""
    lines = [scene.ego.position[scene.ego.valid]]
    if scene.route is not None:
        lines.append(scene.route.path)
    points = []
    for line in lines:
        length = arc_length(line)[-1] if len(line) > 1 else 0.0
        points.append(interpolate(line, np.arange(0.0, length + 10.0, 10.0))[:, :2] if len(line) > 1 else line[:, :2])
    return np.concatenate(points).astype(np.float64)


def _wanted(
    anchors: Float64[Array, "n 2"], low: Float64[Array, "2"], cell: float, nx: int, ny: int, reach: float
) -> Int32[Array, "ny nx"]:
    """0 for cells within ``reach`` of an anchor, -1 for the others."""
    x = low[0] + (np.arange(nx) + 0.5) * cell
    y = low[1] + (np.arange(ny) + 0.5) * cell
    dx = np.maximum(np.abs(x[:, None] - anchors[None, :, 0]) - 0.5 * cell, 0.0) ** 2
    dy = np.maximum(np.abs(y[:, None] - anchors[None, :, 1]) - 0.5 * cell, 0.0) ** 2
    near = np.array([np.any(row[None] + dx <= reach**2, axis=1) for row in dy])
    return np.where(near, 0, -1).astype(np.int32)


def _draw_level(
    table: Int32[Array, "ny nx"],
    pages: list[Array],
    roads: list[Shape],
    paint: list[Shape],
    low: Float64[Array, "2"],
    level: int,
) -> None:
    """Draw the wanted pages of a level and enter their numbers into its table."""
    texel = TEXEL * 2**level
    ny, nx = table.shape
    for top in range(0, ny, CHUNK):
        for left in range(0, nx, CHUNK):
            block = table[top : top + CHUNK, left : left + CHUNK]
            if not np.any(block == 0):
                continue
            wanted = np.argwhere(block == 0)
            first, last = wanted.min(axis=0), wanted.max(axis=0) + 1
            corner = low + np.array([left + first[1], top + first[0]]) * PAGE * texel
            packed = _draw(roads, paint, corner, tuple((last - first) * PAGE + 1), texel)
            for j, i in wanted:
                block[j, i] = len(pages)
                y, x = (j - first[0]) * PAGE, (i - first[1]) * PAGE
                pages.append(packed[y : y + STORED, x : x + STORED].copy())


def _draw(
    roads: list[Shape], paint: list[Shape], corner: Float64[Array, "2"], shape: tuple[int, int], texel: float
) -> UInt32[Array, "height width"]:
    """Return texels of a rectangle whose first texel begins at ``corner``."""
    height, width = shape[0] + 2 * MARGIN, shape[1] + 2 * MARGIN
    start = corner - MARGIN * texel
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[:] = GRASS
    semantic = np.full((height, width), Semantic.TERRAIN, np.uint8)
    visible = _within(roads, start, start + np.array([width, height]) * texel)
    _pave(rgb, semantic, visible, start, texel)
    for road in visible:
        _fill(rgb, semantic, road, start, texel)
    _grain(rgb, semantic, start, texel)
    for mark in _within(paint, start, start + np.array([width, height]) * texel):
        _fill(rgb, semantic, mark, start, texel)
    inner = (slice(MARGIN, MARGIN + shape[0]), slice(MARGIN, MARGIN + shape[1]))
    r, g, b = (rgb[inner][..., k].astype(np.uint32) for k in range(3))
    return r | g << 8 | b << 16 | semantic[inner].astype(np.uint32) << 24


def _within(shapes: list[Shape], low: Float64[Array, "2"], high: Float64[Array, "2"]) -> list[Shape]:
    return [s for s in shapes if np.all(s.high >= low) and np.all(s.low <= high)]


def _fixed(ring: Float64[Array, "n 2"], start: Float64[Array, "2"], texel: float) -> Int32[Array, "n 1 2"]:
    """Return a ring in OpenCV's fixed-point pixels; integer coordinates are pixel centres."""
    pixels = (ring - start) / texel - 0.5
    return np.round(pixels * (1 << SHIFT)).astype(np.int32)[:, None]


def _fill(
    rgb: UInt8[Array, "h w 3"], semantic: UInt8[Array, "h w"], shape: Shape, start: Float64[Array, "2"], texel: float
) -> None:
    """Paint a shape; what is thinner than a texel is blended into asphalt by the share that it covers."""
    points = _fixed(shape.ring, start, texel)
    share = min(1.0, shape.thin / texel)
    colour = tuple(round(share * c + (1.0 - share) * a) for c, a in zip(shape.colour, ASPHALT, strict=True))
    cv2.fillPoly(rgb, [points], colour, cv2.LINE_AA, SHIFT)
    if share > 0.4:
        cv2.fillPoly(semantic, [points], int(shape.semantic), cv2.LINE_8, SHIFT)


def _pave(
    rgb: UInt8[Array, "h w 3"],
    semantic: UInt8[Array, "h w"],
    roads: list[Shape],
    start: Float64[Array, "2"],
    texel: float,
) -> None:
    """Draw a pavement and a kerb around all roads, by dilation of the road's mask."""
    mask = np.zeros(semantic.shape, np.uint8)
    for road in roads:
        cv2.fillPoly(mask, [_fixed(road.ring, start, texel)], 255, cv2.LINE_8, SHIFT)
    if not mask.any():
        return
    away = cv2.distanceTransform(255 - mask, cv2.DIST_L2, 5) * texel
    for reach, colour, kind in (
        (PAVEMENT_WIDTH, PAVEMENT, Semantic.SIDEWALK),
        (KERB_WIDTH, KERB, Semantic.KERB),
    ):
        band = away <= max(reach, texel)
        rgb[band] = colour
        semantic[band] = kind


def _grain(rgb: UInt8[Array, "h w 3"], semantic: UInt8[Array, "h w"], start: Float64[Array, "2"], texel: float) -> None:
    """Add grain of asphalt, patches of grass and joints of paving, which let a driver see its own motion."""
    height, width = semantic.shape
    x = start[0] + (np.arange(width) + 0.5) * texel
    y = start[1] + (np.arange(height) + 0.5) * texel
    fine = _lattice_noise(x, y, 0.2 if texel < 0.25 else texel)
    broad = _lattice_noise(x, y, 3.0)
    grass = (semantic == Semantic.TERRAIN).astype(np.float32)
    amount = fine * (7.0 + 9.0 * grass) + broad * (5.0 + 9.0 * grass)
    if texel < 0.25:
        joint = (np.mod(x, 1.2) < 0.1)[None] | (np.mod(y, 1.2) < 0.1)[:, None]
        amount[(semantic == Semantic.SIDEWALK) & joint] -= 14.0
    rough = amount.astype(np.int16)
    cv2.add(rgb, cv2.merge([rough, rough, rough]), dst=rgb, dtype=cv2.CV_8U)


def _lattice_noise(x: Float64[Array, " w"], y: Float64[Array, " h"], cell: float) -> Float32[Array, "h w"]:
    """Return noise in [-1, 1) that is constant on cells (m) of the world, whatever part of it is drawn."""
    column = np.floor(x / cell).astype(np.int64)
    row = np.floor(y / cell).astype(np.int64)
    columns, at_column = np.unique(column, return_inverse=True)
    rows, at_row = np.unique(row, return_inverse=True)
    i, j = columns.astype(np.uint32)[None], rows.astype(np.uint32)[:, None]
    h = i * np.uint32(0x9E3779B1) ^ j * np.uint32(0x85EBCA77)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    h = h ^ (h >> np.uint32(12))
    values = h.astype(np.float32) * np.float32(2.0**-31) - np.float32(1.0)
    return values[at_row][:, at_column]


def road_shapes(road_map: RoadMap) -> list[Shape]:
    """Return all paved areas for vehicles: drivable areas and lanes."""
    shapes = [Shape(area[:, :2].astype(np.float64), ASPHALT, Semantic.ROAD) for area in road_map.drivable_areas]
    tone = {LaneKind.PARKING: PARKING, LaneKind.SHOULDER: PARKING, LaneKind.BICYCLE: BICYCLE}
    lanes = sorted(road_map.lanes, key=lambda lane: lane.kind == LaneKind.BICYCLE)
    return shapes + [Shape(lane_ring(lane), tone.get(lane.kind, ASPHALT), Semantic.ROAD) for lane in lanes]


def lane_ring(lane: Lane) -> Float64[Array, "n 2"]:
    """Return the outline (m) of a lane: its boundaries, or its centreline widened."""
    if len(lane.left_boundary) >= 2 and len(lane.right_boundary) >= 2:
        sides = lane.left_boundary[:, :2], lane.right_boundary[:, :2]
    else:
        sides = lane_sides(lane)
    return np.concatenate([sides[0], sides[1][::-1]]).astype(np.float64)


def lane_sides(lane: Lane) -> tuple[Float64[Array, "n 2"], Float64[Array, "n 2"]]:
    """Return left and right side (m) of a lane by its width."""
    half = 0.5 * lane.width.astype(np.float64)
    return offset(lane.centreline, half), offset(lane.centreline, -half)


def offset(line: Float[Array, "n d"], by: Float64[Array, " n"] | float) -> Float64[Array, "n 2"]:
    """Return the line (m) shifted to the left by ``by`` (m)."""
    heading = polyline_headings(line)
    mean = np.angle(np.exp(1j * heading) + np.exp(1j * np.concatenate([heading[:1], heading[:-1]])))
    normal = np.stack([-np.sin(mean), np.cos(mean)], axis=-1)
    return line[:, :2].astype(np.float64) + normal * np.reshape(by, (-1, 1))


def paint_shapes(road_map: RoadMap) -> list[Shape]:
    """Return all road paint: crosswalks, lane markings, stop lines."""
    shapes = [s for ring in road_map.crosswalks for s in _crosswalk(ring)]
    if road_map.road_lines:
        for line in road_map.road_lines:
            shapes += _marking(line.line, line.kind)
    else:
        shapes += [s for lane in road_map.lanes for s in _lane_markings(lane)]
    for stop in road_map.stop_lines:
        shapes += _strips(stop.line, 0.0, 0.4, WHITE, Semantic.STOP_LINE)
    return shapes


def _lane_markings(lane: Lane) -> list[Shape]:
    """Return lane markings for a map without any: from the lanes' neighbours, for right-hand traffic."""
    if lane.in_intersection or lane.kind not in (LaneKind.DRIVING, LaneKind.BUS):
        return []
    sides = lane_sides(lane)
    left = lane.left_boundary if len(lane.left_boundary) >= 2 else sides[0]
    right = lane.right_boundary if len(lane.right_boundary) >= 2 else sides[1]
    kind_left = LineKind.BROKEN_WHITE if lane.left_neighbours else LineKind.SOLID_YELLOW
    shapes = _marking(left, kind_left)
    if not lane.right_neighbours:
        shapes += _marking(right, LineKind.SOLID_WHITE)
    return shapes


def _marking(line: Float[Array, "n d"], kind: LineKind) -> list[Shape]:
    colour = YELLOW if kind in (LineKind.BROKEN_YELLOW, LineKind.SOLID_YELLOW, LineKind.DOUBLE_YELLOW) else WHITE
    if kind in (LineKind.DOUBLE_WHITE, LineKind.DOUBLE_YELLOW):
        sides = (0.13, -0.13)
        return [s for by in sides for s in _strips(line, by, LINE_WIDTH, colour, Semantic.LANE_MARKING)]
    if kind in (LineKind.BROKEN_WHITE, LineKind.BROKEN_YELLOW):
        return [s for dash in _dashes(line) for s in _strips(dash, 0.0, LINE_WIDTH, colour, Semantic.LANE_MARKING)]
    return _strips(line, 0.0, LINE_WIDTH, colour, Semantic.LANE_MARKING)


def _dashes(line: Float[Array, "n d"]) -> list[Float64[Array, "_ d"]]:
    """Return the painted parts of a broken line."""
    knots = arc_length(line)
    dashes = []
    for start in np.arange(0.0, knots[-1], DASH + DASH_GAP):
        end = min(start + DASH, knots[-1])
        if end - start > 0.3:
            inner = knots[(knots > start) & (knots < end)]
            dashes.append(interpolate(line, np.concatenate([[start], inner, [end]])))
    return dashes


def _strips(
    line: Float[Array, "n d"], by: float, width: float, colour: tuple[int, int, int], semantic: Semantic
) -> list[Shape]:
    """Return a line as polygons of ``width``, cut every 40 points."""
    keep = np.concatenate([[True], np.linalg.norm(np.diff(line[:, :2], axis=0), axis=1) > 1e-3])
    line = line[keep]
    if len(line) < 2:
        return []
    left, right = offset(line, by + 0.5 * width), offset(line, by - 0.5 * width)
    pieces = []
    for i in range(0, len(line) - 1, 40):
        part = slice(i, i + 41)
        pieces.append(Shape(np.concatenate([left[part], right[part][::-1]]), colour, semantic, width))
    return pieces


def _crosswalk(ring: Float32[Array, "n 3"]) -> list[Shape]:
    """Return zebra stripes along the short side of the crosswalk's smallest rectangle, clipped to nothing else."""
    centre, size, angle = cv2.minAreaRect(ring[:, :2].astype(np.float32))
    along, across = (size[0], size[1]) if size[0] >= size[1] else (size[1], size[0])
    heading = np.deg2rad(angle) if size[0] >= size[1] else np.deg2rad(angle + 90.0)
    e, n = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
    stripes = []
    count = max(int(along // 1.0), 1)
    for k in range(count):
        mid = np.array(centre) + ((k + 0.5) / count - 0.5) * along * e
        corners = [mid + a * 0.25 * e + b * 0.5 * across * n for a, b in ((1, 1), (1, -1), (-1, -1), (-1, 1))]
        stripes.append(Shape(np.array(corners), WHITE, Semantic.CROSSWALK, 0.5))
    return stripes
