"""Small scenes made by hand, for tests of cameras and drivers."""

import numpy as np

from alpamayo_sim.datatypes.observation import Agents
from alpamayo_sim.datatypes.scene import (
    Category,
    Environment,
    Lane,
    LineKind,
    Prop,
    Provenance,
    RoadLine,
    RoadMap,
    Route,
    Scene,
    Signal,
    SignalState,
    StopLine,
    Track,
)

LANE_WIDTH = 3.5
SIZES = {
    Category.VEHICLE: (4.6, 1.85, 1.5),
    Category.TRUCK: (8.5, 2.5, 3.4),
    Category.BUS: (12.0, 2.55, 3.1),
    Category.MOTORCYCLE: (2.1, 0.8, 1.5),
    Category.CYCLIST: (1.8, 0.6, 1.75),
    Category.PEDESTRIAN: (0.5, 0.6, 1.75),
    Category.ANIMAL: (1.4, 0.4, 1.0),
    Category.CONE: (0.4, 0.4, 0.8),
    Category.BARRIER: (2.0, 0.5, 1.0),
    Category.DEBRIS: (1.0, 0.8, 0.5),
    Category.BUILDING: (18.0, 12.0, 11.0),
    Category.VEGETATION: (3.5, 3.5, 6.0),
}


def line(x0, y0, x1, y1, step=2.0):
    n = max(int(np.hypot(x1 - x0, y1 - y0) / step), 1) + 1
    return np.stack([np.linspace(x0, x1, n), np.linspace(y0, y1, n), np.zeros(n)], axis=-1).astype(np.float32)


def straight_map(length=300.0, lanes=2, start=-60.0, speed_limit=13.9):
    """A straight two-way road along x; y = 0 is the yellow line; lanes r0, r1.. go east, l0, l1.. west."""
    made = []
    for k in range(lanes):
        y = LANE_WIDTH * (k + 0.5)
        for side, sign, ends in (("r", -1, (start, length)), ("l", 1, (length, start))):
            centre = line(ends[0], sign * y, ends[1], sign * y)
            made.append(
                Lane(
                    f"{side}{k}",
                    centre,
                    np.full(len(centre), LANE_WIDTH, np.float32),
                    speed_limit=speed_limit,
                    left_neighbours=(f"{side}{k - 1}",) if k > 0 else (),
                    right_neighbours=(f"{side}{k + 1}",) if k + 1 < lanes else (),
                )
            )
    half = lanes * LANE_WIDTH
    area = np.array([[start, -half, 0], [length, -half, 0], [length, half, 0], [start, half, 0]], np.float32)
    lines = [RoadLine(line(start, 0, length, 0), LineKind.DOUBLE_YELLOW)]
    for sign in (-1, 1):
        lines.append(RoadLine(line(start, sign * half, length, sign * half), LineKind.SOLID_WHITE))
        for k in range(1, lanes):
            y = sign * k * LANE_WIDTH
            lines.append(RoadLine(line(start, y, length, y), LineKind.BROKEN_WHITE))
    return RoadMap(lanes=tuple(made), drivable_areas=(area,), road_lines=tuple(lines))


def with_crossing(road_map, x=60.0):
    half = LANE_WIDTH * (len(road_map.lanes) // 2)
    ring = np.array([[x, -half, 0], [x + 3.5, -half, 0], [x + 3.5, half, 0], [x, half, 0]], np.float32)
    right = tuple(lane.id for lane in road_map.lanes if lane.id.startswith("r"))
    stop = StopLine("stop", line(x - 2.0, -half, x - 2.0, -0.2), right)
    return RoadMap(
        lanes=road_map.lanes,
        drivable_areas=road_map.drivable_areas,
        crosswalks=(ring,),
        stop_lines=(stop,),
        road_lines=road_map.road_lines,
    )


def track(name, category, x, y, heading=0.0, speed=0.0, steps=150, size=None, dt=0.1):
    t = np.arange(steps) * dt
    c, s = np.cos(heading), np.sin(heading)
    position = np.stack([x + speed * t * c, y + speed * t * s, 0.0 * t], axis=-1).astype(np.float32)
    velocity = np.tile(np.array([speed * c, speed * s], np.float32), (steps, 1))
    return Track(
        name,
        category,
        position,
        np.full(steps, heading, np.float32),
        velocity,
        np.array(size or SIZES[category], np.float32),
        np.ones(steps, bool),
    )


def prop(name, category, x, y, heading=0.0, size=None):
    return Prop(name, category, np.array([x, y, 0], np.float32), heading, np.array(size or SIZES[category], np.float32))


def scene(road_map=None, tracks=(), props=(), signals=(), ego_speed=10.0, environment=None, steps=150, ego_y=None):
    """The ego drives east in lane r0 from x = 0; the route is its lane."""
    road_map = road_map or straight_map()
    y = -0.5 * LANE_WIDTH if ego_y is None else ego_y
    ego = track("ego", Category.VEHICLE, 0.0, y, speed=ego_speed, steps=steps)
    end = float(road_map.lanes[0].centreline[-1, 0])
    return Scene(
        "hand-made",
        road_map,
        (ego, *tracks),
        "ego",
        Provenance("hand-made", "Apache-2.0"),
        signals=tuple(signals),
        props=tuple(props),
        environment=environment or Environment(),
        route=Route(line(0.0, y, end, y), ("r0",)),
    )


def agents_at(made, step=0):
    """The scene's other tracks and its props at one step, as the engine would give them."""
    rows = [
        (t.id, t.category, *t.position[step, :2], t.heading[step], *t.velocity[step], *t.size, t.valid[step])
        for t in made.tracks
        if t.id != made.ego_id
    ]
    rows += [(p.id, p.category, *p.position[:2], p.heading, 0.0, 0.0, *p.size, True) for p in made.props]
    numbers = np.array([row[1:] for row in rows], np.float64).reshape(-1, 10)
    return Agents(
        ids=tuple(row[0] for row in rows),
        category=numbers[:, 0].astype(np.int8),
        pose=numbers[:, 1:4].astype(np.float32),
        velocity=numbers[:, 4:6].astype(np.float32),
        size=numbers[:, 6:9].astype(np.float32),
        valid=numbers[:, 9].astype(bool),
    )


def street(environment=None):
    """A street with one of everything."""
    road_map = with_crossing(straight_map(), 42.0)
    tracks = (
        track("lead", Category.VEHICLE, 18.0, -1.75, speed=9.0),
        track("oncoming", Category.VEHICLE, 26.0, 1.75, heading=np.pi, speed=12.0),
        track("truck", Category.TRUCK, 24.0, -5.25, speed=8.0),
        track("bus", Category.BUS, 60.0, 5.25, heading=np.pi, speed=9.0),
        track("walker", Category.PEDESTRIAN, 14.0, -8.4, heading=np.pi / 2),
        track("walker2", Category.PEDESTRIAN, 43.5, 3.0, heading=-np.pi / 2, speed=1.3),
        track("rider", Category.CYCLIST, 12.0, 4.0, heading=np.pi, speed=5.0),
        track("dog", Category.ANIMAL, 16.0, 8.2, heading=0.5),
        track("parked", Category.VEHICLE, 10.0, -6.0),
        track("bike", Category.MOTORCYCLE, 33.0, 5.2, heading=np.pi, speed=9.0),
    )
    props = [
        prop("cone1", Category.CONE, 9.0, -3.6),
        prop("cone2", Category.CONE, 12.0, -3.5),
        prop("barrier", Category.BARRIER, 17.0, 5.3, heading=np.pi / 2),
        prop("debris", Category.DEBRIS, 11.0, -1.2),
    ]
    for k in range(8):
        x = -30.0 + 24.0 * k
        props.append(prop(f"house{k}", Category.BUILDING, x, 19.0, size=(18.0, 12.0, 8.0 + 3.0 * (k % 4))))
        props.append(prop(f"house{k}r", Category.BUILDING, x + 8.0, -20.0, size=(16.0, 12.0, 14.0 - 3.0 * (k % 3))))
        props.append(prop(f"tree{k}", Category.VEGETATION, x + 12.0, 10.5))
        props.append(prop(f"tree{k}r", Category.VEGETATION, x + 20.0, -10.5))
    red = np.full(150, SignalState.RED, np.int8)
    lights = (
        Signal("light", np.array([47.0, -8.0, 5.0], np.float32), red, ("r0", "r1")),
        Signal("light2", np.array([47.0, 0.0, 5.5], np.float32), red, ("r0", "r1")),
    )
    return scene(road_map, tracks, props, lights, environment=environment)
