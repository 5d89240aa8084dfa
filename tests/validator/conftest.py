"""A straight two-lane road, whatever stands or moves on it, and plans of constant speed."""

from types import SimpleNamespace

import numpy as np
import pytest

from alpamayo_sim.datatypes.observation import Agents, GroundTruth
from alpamayo_sim.datatypes.scene import Category, Lane, Prop, Provenance, RoadMap, Route, Scene, Track

LENGTH = 400.0
SIZE = (4.8, 2.0, 1.6)


def line(*points):
    return np.array([(x, y, 0.0) for x, y in points], np.float32)


def straight_map(lanes=True, area=True, limit=13.9):
    x = np.arange(-100.0, LENGTH + 1.0, 10.0)
    right = line(*[(s, 0.0) for s in x])
    left = line(*[(s, 3.5) for s in x[::-1]])
    width = np.full(len(x), 3.5, np.float32)
    return RoadMap(
        lanes=(
            Lane(id="own", centreline=right, width=width, speed_limit=limit),
            Lane(id="oncoming", centreline=left, width=width, speed_limit=limit),
        )
        if lanes
        else (),
        drivable_areas=(line((-100, -1.75), (LENGTH, -1.75), (LENGTH, 5.25), (-100, 5.25)),) if area else (),
    )


def track(name, x, y, heading=0.0, speed=0.0, steps=100, category=Category.VEHICLE, size=SIZE):
    t = 0.1 * np.arange(steps)
    velocity = speed * np.array([np.cos(heading), np.sin(heading)])
    position = np.column_stack([x + velocity[0] * t, y + velocity[1] * t, 0 * t]).astype(np.float32)
    return Track(
        id=name,
        category=category,
        position=position,
        heading=np.full(steps, heading, np.float32),
        velocity=np.tile(velocity, (steps, 1)).astype(np.float32),
        size=np.array(size, np.float32),
        valid=np.ones(steps, bool),
    )


def prop(name, x, y, category=Category.CONE, size=(0.5, 0.5, 0.8)):
    return Prop(name, category, np.array([x, y, 0], np.float32), 0.0, np.array(size, np.float32))


def scene(*tracks, props=(), speed=10.0, road_map=None, route=True, y=0.0, steps=100):
    return Scene(
        id="straight",
        road_map=straight_map() if road_map is None else road_map,
        tracks=(track("ego", 0.0, y, speed=speed, steps=steps), *tracks),
        ego_id="ego",
        provenance=Provenance("test", "none"),
        props=tuple(props),
        route=Route(path=line((-50, 0), (LENGTH, 0)), lane_ids=("own",)) if route else None,
    )


def plan(speed=10.0, acceleration=0.0, curvature=0.0, lateral=0.0, start=None):
    """A plan [64, 4]: constant acceleration down to rest, constant curvature, or a shift sideways over 30 m."""
    t = 0.1 * np.arange(0, 65)
    v = np.maximum((speed if start is None else start) + acceleration * t, 0.0)
    s = np.concatenate([[0.0], np.cumsum(0.05 * (v[1:] + v[:-1]))])
    heading = curvature * s
    x = np.sin(heading) / curvature if curvature else s
    y = (1 - np.cos(heading)) / curvature if curvature else np.zeros_like(s)
    if lateral:
        u = np.clip(s / 30.0, 0, 1)
        y = y + lateral * (10 * u**3 - 15 * u**4 + 6 * u**5)
        heading = np.arctan(lateral * (30 * u**2 - 60 * u**3 + 30 * u**4) / 30.0)
    return np.column_stack([x, y, heading, v])[1:].astype(np.float32)


def truth(world, step=0):
    others = [t for t in world.tracks if t.id != world.ego_id]
    ego = world.ego
    n = len(others) + len(world.props)
    agents = Agents(
        ids=tuple(x.id for x in (*others, *world.props)),
        category=np.array([int(x.category) for x in (*others, *world.props)], np.int8),
        pose=np.array(
            [[*t.position[step, :2], t.heading[step]] for t in others]
            + [[*p.position[:2], p.heading] for p in world.props],
            np.float32,
        ).reshape(n, 3),
        velocity=np.array([t.velocity[step] for t in others] + [(0, 0)] * len(world.props), np.float32).reshape(n, 2),
        size=np.array([x.size for x in (*others, *world.props)], np.float32).reshape(n, 3),
        valid=np.ones(n, bool),
    )
    pose = np.array([*ego.position[step, :2], ego.heading[step]], np.float32)
    speed = float(np.hypot(*ego.velocity[step]))
    return GroundTruth(world, step, pose, speed, ego.size, agents, np.zeros(0, np.int8))


@pytest.fixture(scope="session")
def make():
    """The builders above, under one name."""
    return SimpleNamespace(
        line=line, plan=plan, prop=prop, scene=scene, straight_map=straight_map, track=track, truth=truth
    )
