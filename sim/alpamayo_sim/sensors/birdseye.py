"""The bird's-eye picture: the map, its road users, the ego, its route and its plans."""

import math

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from alpamayo_sim.datatypes.observation import Agents, GroundTruth
from alpamayo_sim.datatypes.scene import Category, LaneKind, LineKind, RoadMap, Scene, SignalState
from alpamayo_sim.geometry import box_corners, from_frame, interpolate
from alpamayo_sim.sensors.ground import DASH, DASH_GAP, lane_ring

Array = np.ndarray
Colour = tuple[int, int, int]

SHIFT = 4
BACKGROUND: Colour = (236, 239, 235)
ROAD: Colour = (205, 209, 214)
PARKING: Colour = (214, 217, 220)
BICYCLE: Colour = (214, 196, 190)
KERB: Colour = (172, 177, 184)
ZEBRA: Colour = (246, 247, 248)
WHITE: Colour = (252, 252, 252)
YELLOW: Colour = (232, 184, 74)
ROUTE: Colour = (120, 170, 232)
EGO: Colour = (22, 104, 214)
CANDIDATE: Colour = (136, 120, 196)
CHOSEN: Colour = (20, 160, 96)
OUTLINE: Colour = (66, 72, 82)
STATIC: Colour = (150, 154, 160)
SHADOW: Colour = (180, 184, 190)
AGENT: dict[Category, Colour] = {
    Category.VEHICLE: (118, 128, 142),
    Category.TRUCK: (104, 116, 138),
    Category.BUS: (150, 124, 70),
    Category.MOTORCYCLE: (24, 150, 160),
    Category.CYCLIST: (228, 134, 40),
    Category.PEDESTRIAN: (214, 58, 88),
    Category.ANIMAL: (146, 98, 58),
    Category.CONE: (240, 110, 30),
    Category.BARRIER: (220, 92, 60),
    Category.DEBRIS: (128, 88, 72),
    Category.BUILDING: (198, 190, 182),
    Category.VEGETATION: (168, 196, 158),
}
LAMP: dict[SignalState, Colour] = {
    SignalState.RED: (226, 54, 46),
    SignalState.YELLOW: (240, 184, 36),
    SignalState.GREEN: (34, 176, 92),
}
WHEELED = (Category.VEHICLE, Category.TRUCK, Category.BUS, Category.MOTORCYCLE, Category.CYCLIST)
SIGNAL_TINT = np.arange(0.0, 14.0, 2.0)  # m of a lane that show its signal's state
FLAT = (Category.BUILDING, Category.VEGETATION)


class BirdsEye:
    """Draw a scene from above, with the ego pointing up at a third of the height."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._roads = [(ring[:, :2], ROAD) for ring in scene.road_map.drivable_areas]
        tone = {LaneKind.PARKING: PARKING, LaneKind.SHOULDER: PARKING, LaneKind.BICYCLE: BICYCLE}
        self._roads += [(lane_ring(lane), tone.get(lane.kind, ROAD)) for lane in scene.road_map.lanes]
        self._lines = _painted_lines(scene.road_map)
        self._bounds = [_bounds(ring) for ring, _ in self._roads]
        self._line_bounds = [_bounds(line) for line, *_ in self._lines]

    def draw(
        self,
        truth: GroundTruth,
        plans: Float[Array, "k 64 4"] | None = None,
        chosen: int | None = None,
        width: int = 640,
        height: int = 640,
        metres: float = 80.0,
    ) -> UInt8[Array, "height width 3"]:
        """Draw a ground truth as RGB.

        Args:
            truth: The ground truth.
            plans: Candidate plans (x, y, heading, speed in the ego frame), drawn thin.
            chosen: The plan to highlight.
            width: Width of the picture, in pixels.
            height: Height of the picture, in pixels.
            metres: Height of the picture in the world.
        """
        canvas = _Canvas(truth.ego_pose, width, height, metres)
        self._draw_map(canvas)
        self._draw_route(canvas)
        _draw_agents(canvas, truth.agents, FLAT)
        self._draw_signals(canvas, truth)
        if plans is not None:
            _draw_plans(canvas, truth, plans, chosen)
        _draw_agents(canvas, truth.agents, tuple(c for c in Category if c not in FLAT))
        _draw_box(canvas, truth.ego_pose, truth.ego_size, EGO, nose=True, strong=True)
        _draw_scale(canvas, metres)
        return canvas.image

    def _draw_map(self, canvas: "_Canvas") -> None:
        near = [r for r, b in zip(self._roads, self._bounds, strict=True) if canvas.meets(b)]
        for ring, _ in near:
            canvas.outline(ring, KERB, 0.5)
        for ring, colour in near:
            canvas.fill(ring, colour)
        for ring in self._scene.road_map.crosswalks:
            if canvas.meets(_bounds(ring)):
                _draw_zebra(canvas, ring)
        for (line, colour, dashed, wide), bounds in zip(self._lines, self._line_bounds, strict=True):
            if canvas.meets(bounds):
                canvas.line(line, colour, wide, dashed)
        for stop in self._scene.road_map.stop_lines:
            canvas.line(stop.line[:, :2], WHITE, 0.5)

    def _draw_route(self, canvas: "_Canvas") -> None:
        if self._scene.route is not None:
            canvas.line(self._scene.route.path[:, :2], ROUTE, 1.1, alpha=0.45)

    def _draw_signals(self, canvas: "_Canvas", truth: GroundTruth) -> None:
        for signal, state in zip(self._scene.signals, truth.signals, strict=True):
            colour = LAMP.get(SignalState(int(state)), STATIC)
            for lane_id in signal.lane_ids:
                lane = self._scene.road_map.lane_by_id.get(lane_id)
                if lane is not None:
                    canvas.line(interpolate(lane.centreline[:, :2], SIGNAL_TINT), colour, 0.5, alpha=0.35)
            canvas.disc(signal.position[:2], 1.15, (52, 56, 62))
            canvas.disc(signal.position[:2], 0.8, colour)


class _Canvas:
    """An image, and the map from world metres to its pixels."""

    def __init__(self, pose: Float32[Array, "3"], width: int, height: int, metres: float) -> None:
        self.image = np.empty((height, width, 3), np.uint8)
        self.image[:] = BACKGROUND
        self.scale = height / metres
        self._pose = np.asarray(pose, np.float64)
        self._at = np.array([0.5 * width, height * 0.68])
        self._reach = 0.8 * metres * math.hypot(1.0, width / height)

    def meets(self, bounds: Float64[Array, "2 2"]) -> bool:
        gap = np.maximum(np.maximum(bounds[0] - self._pose[:2], self._pose[:2] - bounds[1]), 0.0)
        return bool(np.hypot(*gap) < self._reach)

    def pixels(self, xy: Float[Array, "n 2"]) -> Array:
        """Return fixed-point pixel coordinates of world points."""
        dx, dy = (np.asarray(xy, np.float64) - self._pose[:2]).T
        c, s = math.cos(self._pose[2]), math.sin(self._pose[2])
        ahead, left = c * dx + s * dy, -s * dx + c * dy
        at = np.stack([self._at[0] - left * self.scale, self._at[1] - ahead * self.scale], axis=-1)
        return np.round(np.clip(at, -2e4, 2e4) * (1 << SHIFT)).astype(np.int32)[:, None]

    def thickness(self, metres: float) -> int:
        return max(1, round(metres * self.scale))

    def fill(self, ring: Float[Array, "n 2"], colour: Colour) -> None:
        cv2.fillPoly(self.image, [self.pixels(ring)], colour, cv2.LINE_AA, SHIFT)

    def outline(self, ring: Float[Array, "n 2"], colour: Colour, metres: float) -> None:
        pixels = [self.pixels(ring)]
        cv2.polylines(self.image, pixels, True, colour, self.thickness(metres), cv2.LINE_AA, SHIFT)

    def line(
        self,
        line: Float[Array, "n 2"],
        colour: Colour,
        metres: float,
        dashed: bool = False,
        alpha: float = 1.0,
    ) -> None:
        pieces = _dashes(line) if dashed else [line]
        target = self.image if alpha >= 1.0 else self.image.copy()
        pixels = [self.pixels(piece) for piece in pieces]
        cv2.polylines(target, pixels, False, colour, self.thickness(metres), cv2.LINE_AA, SHIFT)
        if alpha < 1.0:
            cv2.addWeighted(target, alpha, self.image, 1.0 - alpha, 0.0, dst=self.image)

    def disc(self, xy: Float[Array, "2"], metres: float, colour: Colour) -> None:
        (x, y) = self.pixels(np.asarray(xy)[None])[0, 0]
        radius = round(max(metres * self.scale, 2.0) * (1 << SHIFT))
        cv2.circle(self.image, (int(x), int(y)), radius, colour, -1, cv2.LINE_AA, SHIFT)


def _bounds(points: Float[Array, "n d"]) -> Float64[Array, "2 2"]:
    return np.stack([points[:, :2].min(axis=0), points[:, :2].max(axis=0)]).astype(np.float64)


def _painted_lines(road_map: RoadMap) -> list[tuple[Array, Colour, bool, float]]:
    """Return lines with colour, whether they are broken, and width (m)."""
    if road_map.road_lines:
        broken = (LineKind.BROKEN_WHITE, LineKind.BROKEN_YELLOW)
        yellow = (LineKind.BROKEN_YELLOW, LineKind.SOLID_YELLOW, LineKind.DOUBLE_YELLOW)
        double = (LineKind.DOUBLE_WHITE, LineKind.DOUBLE_YELLOW)
        return [
            (x.line[:, :2], YELLOW if x.kind in yellow else WHITE, x.kind in broken, 0.34 if x.kind in double else 0.2)
            for x in road_map.road_lines
        ]
    lines: list[tuple[Array, Colour, bool, float]] = []
    for lane in road_map.lanes:
        for boundary in (lane.left_boundary, lane.right_boundary):
            if len(boundary) >= 2 and not lane.in_intersection:
                lines.append((boundary[:, :2], WHITE, False, 0.2))
    return lines


def _dashes(line: Float[Array, "n 2"]) -> list[Float64[Array, "2 2"]]:
    """Return straight dashes along a line."""
    steps = np.linalg.norm(np.diff(line.astype(np.float64), axis=0), axis=1)
    knots = np.concatenate([[0.0], np.cumsum(steps)])
    starts = np.arange(0.0, knots[-1], DASH + DASH_GAP)
    ends = np.minimum(starts + DASH, knots[-1])
    at = [np.stack([np.interp(s, knots, line[:, k]) for k in (0, 1)], axis=-1) for s in (starts, ends)]
    return list(np.stack(at, axis=1))


def _draw_zebra(canvas: _Canvas, ring: Float32[Array, "n 3"]) -> None:
    centre, size, angle = cv2.minAreaRect(ring[:, :2].astype(np.float32))
    long, short = max(size), min(size)
    turn = math.radians(angle if size[0] >= size[1] else angle + 90.0)
    count = max(int(long), 1)
    along = ((np.arange(count) + 0.5) / count - 0.5) * long
    pose = np.array([*centre, turn])
    for x in along:
        half = np.array([[-0.25, -0.5 * short], [0.25, -0.5 * short], [0.25, 0.5 * short], [-0.25, 0.5 * short]])
        corners = half + np.array([x, 0.0])
        canvas.fill(from_frame(corners, pose), ZEBRA)


def _draw_agents(canvas: _Canvas, agents: Agents, categories: tuple[Category, ...]) -> None:
    wanted = agents.valid & np.isin(agents.category, [int(c) for c in categories])
    for i in np.flatnonzero(wanted):
        category = Category(int(agents.category[i]))
        reach = 0.5 * float(np.hypot(*agents.size[i, :2]))
        xy = agents.pose[i, :2].astype(np.float64)
        if not canvas.meets(np.stack([xy - reach, xy + reach])):
            continue
        colour = AGENT.get(category, STATIC)
        if category == Category.VEHICLE and np.hypot(*agents.velocity[i]) < 0.2:
            colour = STATIC
        if category == Category.VEGETATION:
            canvas.disc(xy, 0.45 * float(agents.size[i, 0]), colour)
            continue
        _draw_box(canvas, agents.pose[i], agents.size[i], colour, category in WHEELED, category not in FLAT)
        _draw_velocity(canvas, agents.pose[i], agents.size[i], agents.velocity[i], colour)


def _draw_box(
    canvas: _Canvas, pose: Float32[Array, "3"], size: Float32[Array, "3"], colour: Colour, nose: bool, strong: bool
) -> None:
    """Draw a box with a lighter windscreen near its front, at least three pixels large."""
    shown = np.maximum(size[:2], 3.0 / canvas.scale).astype(np.float64)
    where = np.asarray(pose, np.float64)
    corners = box_corners(where, shown)
    canvas.fill(corners, colour)
    if nose and shown[0] > 2.5:
        screen = np.array([[0.28, 0.42], [0.28, -0.42], [0.14, -0.36], [0.14, 0.36]]) * shown
        canvas.fill(from_frame(screen, where), _lighter(colour, 0.62))
    if strong:
        pixels = [canvas.pixels(corners)]
        cv2.polylines(canvas.image, pixels, True, _darker(colour), 1, cv2.LINE_AA, SHIFT)


def _draw_velocity(
    canvas: _Canvas, pose: Float32[Array, "3"], size: Float32[Array, "3"], velocity: Float32[Array, "2"], colour: Colour
) -> None:
    """Draw a line to the position in one second."""
    speed = float(np.hypot(*velocity))
    if speed < 0.3:
        return
    start = pose[:2] + velocity / speed * 0.5 * size[0]
    canvas.line(np.stack([start, start + velocity]), _darker(colour), 0.18)


def _draw_plans(canvas: _Canvas, truth: GroundTruth, plans: Float[Array, "k 64 4"], chosen: int | None) -> None:
    pose = truth.ego_pose.astype(np.float64)
    lines = [np.concatenate([pose[None, :2], from_frame(plan[:, :2].astype(np.float64), pose)]) for plan in plans]
    for k, line in enumerate(lines):
        if k != chosen:
            canvas.line(line, CANDIDATE, 0.22, alpha=0.55)
    if chosen is not None:
        canvas.line(lines[chosen], WHITE, 0.95, alpha=0.7)
        canvas.line(lines[chosen], CHOSEN, 0.55)
        for at in (10, 20, 30, 40, 50, 60):
            canvas.disc(lines[chosen][at], 0.38, WHITE)


def _draw_scale(canvas: _Canvas, metres: float) -> None:
    """Draw a bar of 10 m."""
    height, width = canvas.image.shape[:2]
    length = 10.0 * canvas.scale
    x, y = width - 18, height - 18
    cv2.line(canvas.image, (round(x - length), y), (x, y), OUTLINE, 2, cv2.LINE_AA)
    at = (round(x - 0.5 * length) - 14, y - 7)
    cv2.putText(canvas.image, "10 m", at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, OUTLINE, 1, cv2.LINE_AA)


def _lighter(colour: Colour, share: float) -> Colour:
    r, g, b = (round(c + (255 - c) * share) for c in colour)
    return r, g, b


def _darker(colour: Colour) -> Colour:
    r, g, b = (round(c * 0.62) for c in colour)
    return r, g, b
