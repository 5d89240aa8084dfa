"""Scattered samples for perception: a scene's road with random things of all classes on and beside it.

Drives show what is common: many cars, few pedestrians, hardly any animal. Here each class is as frequent as any other,
at all places, headings and speeds, and a sample needs no planner and no physics, only two renderings half a second
apart.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64

from alpamayo.training.perception.labels import RoadLabeller, label_objects
from alpamayo.training.perception.shards import SAMPLE_STEPS, PerceptionShard, compressed
from alpamayo_sim.datatypes.decision import PLAN_DT
from alpamayo_sim.datatypes.observation import Agents, GroundTruth
from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category, SignalState
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.engine.observe import route_in_frame, speed_limit
from alpamayo_sim.geometry import boxes_overlap, from_frame, to_frame
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.index import index_of
from alpamayo_sim.sensors import CameraImages, CameraRenderer

Array = np.ndarray

SAMPLES = 40  # of one scene
SHOWN_SHARE = 0.7  # of the things, in one sample
TRIES = 6  # to find a free place for a thing
MARGIN_M = 0.4  # between things
LANE_OFFSETS_M = (0.0, 3.5, -3.5, 7.0)  # of vehicles from the route
LANE_SHARES = (0.4, 0.35, 0.15, 0.1)
ONCOMING_SHARE, CROSSING_SHARE = 0.6, 0.12  # of vehicles to the left of the route; of all vehicles
BESIDE_SHARE = 0.15  # of things in any direction from the ego, not along the route
STANDING_SHARE = 0.35
SIGNALS = (int(SignalState.RED), int(SignalState.YELLOW), int(SignalState.GREEN))
STANDING_MPS = 0.1


@dataclass(frozen=True)
class Kind:
    """The things of one class.

    Attributes:
        number: how many there are in a scene.
        size: least and largest length, width and height (m).
        range_m: largest distance along the route.
        offset_m: largest offset from the route; None for those in lanes.
        speed_mps: largest speed.
    """

    number: int
    size: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    range_m: float
    offset_m: float | None
    speed_mps: float


KINDS = {
    Category.VEHICLE: Kind(6, ((3.6, 5.4), (1.65, 2.05), (1.35, 2.0)), 110.0, None, 22.0),
    Category.TRUCK: Kind(2, ((5.5, 13.0), (2.1, 2.6), (2.4, 4.0)), 110.0, None, 18.0),
    Category.BUS: Kind(1, ((9.0, 13.0), (2.4, 2.6), (2.8, 3.4)), 110.0, None, 15.0),
    Category.MOTORCYCLE: Kind(2, ((1.9, 2.4), (0.6, 1.0), (1.3, 1.7)), 70.0, None, 20.0),
    Category.CYCLIST: Kind(3, ((1.6, 2.0), (0.5, 0.9), (1.5, 1.9)), 60.0, 6.0, 8.0),
    Category.PEDESTRIAN: Kind(7, ((0.35, 0.7), (0.4, 0.8), (1.0, 1.95)), 55.0, 8.0, 3.0),
    Category.ANIMAL: Kind(2, ((0.7, 2.2), (0.3, 0.7), (0.5, 1.7)), 55.0, 8.0, 7.0),
    Category.CONE: Kind(5, ((0.3, 0.5), (0.3, 0.5), (0.5, 1.1)), 60.0, 6.0, 0.0),
    Category.BARRIER: Kind(2, ((1.0, 3.0), (0.3, 0.6), (0.8, 1.2)), 70.0, 7.0, 0.0),
    Category.DEBRIS: Kind(4, ((0.3, 1.6), (0.3, 1.2), (0.2, 0.9)), 60.0, 5.0, 0.0),
}
IN_LANES = tuple(int(category) for category, kind in KINDS.items() if kind.offset_m is None)


@dataclass(frozen=True, eq=False)
class _Ego:
    """The ego of one sample: its pose, and that of half a second before."""

    s: float
    pose: Float64[Array, "3"]
    earlier: Float64[Array, "3"]
    speed: float
    acceleration: float
    curvature: float


def scatter(scenario: Scenario, rig: Rig, rng: np.random.Generator, samples: int = SAMPLES) -> PerceptionShard:
    """Return samples of a scene's road, each with other things, another place of the ego and other signals."""
    scene, truth = scenario.scene, WorldBatch([scenario])[0].ground_truth()
    assert scene.route is not None
    frame, road = RouteFrame.of_route(scene.route), RoadLabeller(scene)
    truth, first = replace(truth, agents=_with_things(truth.agents, rng)), len(truth.agents.ids)
    renderer = CameraRenderer(scene, rig, seed=scenario.seed)
    streams: list[bytes] = []
    rows: dict[str, list[Array]] = {}
    for number in range(samples):
        ego = _ego(frame, rng)
        now = _moment(truth, first, frame, ego, rng, SAMPLE_STEPS * (number + 1))
        streams.append(compressed(renderer.draw(_before(now, ego), ego.curvature).rgb))
        images = renderer.draw(now, ego.curvature)
        streams.append(compressed(images.rgb))
        for name, value in _row(now, images, ego, road).items():
            rows.setdefault(name, []).append(value)
    return PerceptionShard.of(streams, rows, rig, np.arange(2 * samples).reshape(-1, 2))


def _moment(
    truth: GroundTruth, first: int, frame: RouteFrame, ego: _Ego, rng: np.random.Generator, step: int
) -> GroundTruth:
    """Return the world around an ego, with random signals and with things from row ``first`` on at random places."""
    return replace(
        truth,
        step=step,
        ego_pose=ego.pose.astype(np.float32),
        ego_speed=ego.speed,
        agents=_scattered(truth.agents, first, frame, ego, truth.ego_size, rng),
        signals=rng.choice(SIGNALS, len(truth.signals)).astype(np.int8),
        ego_elevation=None if truth.ego_elevation is None else float(frame.elevation_at(ego.s)),
    )


def _row(now: GroundTruth, images: CameraImages, ego: _Ego, road: RoadLabeller) -> dict[str, Array]:
    labels, along = label_objects(images, now), road.label(now, ego.s)
    route, index = now.scene.route, index_of(now.scene.road_map)
    assert route is not None
    limit = speed_limit(index, now.ego_pose, now.ego_elevation or 0.0)
    state = [ego.speed, ego.acceleration, ego.curvature, -1.0 if limit is None else limit]
    motion = [*to_frame(ego.earlier[:2], ego.pose), ego.earlier[2] - ego.pose[2]]
    return {
        "route": route_in_frame(route, ego.s, now.ego_pose),
        "state": np.array(state, np.float32),
        "motion": np.array(motion, np.float32),
        "objects": labels.objects,
        "owner": labels.owner,
        "ground": along.ground,
        "control": along.control,
    }


def _with_things(agents: Agents, rng: np.random.Generator) -> Agents:
    """Return the agents of a scene that stand, and the things to scatter after them; these have no place yet."""
    kinds = [(category, kind) for category, kind in KINDS.items() for _ in range(kind.number)]
    size = np.array([[rng.uniform(*span) for span in kind.size] for _, kind in kinds], np.float32)
    n = len(kinds)
    stands = agents.valid & (np.linalg.norm(agents.velocity, axis=1) < STANDING_MPS)
    height = None if agents.elevation is None else np.append(agents.elevation, np.full(n, np.nan, np.float32))
    return Agents(
        ids=(*agents.ids, *(f"thing-{k}" for k in range(n))),
        category=np.append(agents.category, np.array([int(category) for category, _ in kinds], np.int8)),
        pose=np.concatenate([agents.pose, np.zeros((n, 3), np.float32)]),
        velocity=np.concatenate([np.zeros_like(agents.velocity), np.zeros((n, 2), np.float32)]),
        size=np.concatenate([agents.size, size]),
        valid=np.append(stands, np.zeros(n, bool)),
        elevation=height,
    )


def _ego(frame: RouteFrame, rng: np.random.Generator) -> _Ego:
    """Return an ego near the route, in steady motion."""
    s = float(rng.uniform(0.0, max(frame.route_length - 20.0, 1.0)))
    speed = float(rng.uniform(0.0, 22.0)) * float(rng.random() > 0.15)
    curvature = float(np.clip(rng.normal(0.0, 0.01), -0.03, 0.03))
    xy, heading = frame.to_world(np.array(s), np.array(rng.normal(0.0, 0.8)))
    pose = np.array([*xy, float(heading) + rng.normal(0.0, 0.06)])
    way, turn = speed * SAMPLE_STEPS * PLAN_DT, curvature * speed * SAMPLE_STEPS * PLAN_DT
    back = np.array([[-way * math.cos(0.5 * turn), way * math.sin(0.5 * turn)]])
    earlier = np.array([*from_frame(back, pose)[0], pose[2] - turn])
    return _Ego(s, pose, earlier, speed, float(rng.uniform(-3.0, 2.0)), curvature)


def _before(now: GroundTruth, ego: _Ego) -> GroundTruth:
    """Return the world half a second before: all things move steadily."""
    way = SAMPLE_STEPS * PLAN_DT * now.agents.velocity
    pose = now.agents.pose.copy()
    pose[:, :2] -= way
    return replace(
        now,
        step=now.step - SAMPLE_STEPS,
        ego_pose=ego.earlier.astype(np.float32),
        agents=replace(now.agents, pose=pose),
    )


def _scattered(
    agents: Agents, first: int, frame: RouteFrame, ego: _Ego, ego_size: Float32[Array, "3"], rng: np.random.Generator
) -> Agents:
    """Return the agents with the things from row ``first`` on at new places, none inside another."""
    pose, velocity = agents.pose.astype(np.float64), agents.velocity.copy()
    valid = _clear_of_ego(agents, ego, ego_size)
    for row in rng.permutation(np.arange(first, len(pose))):
        if rng.random() > SHOWN_SHARE:
            continue
        kind = KINDS[Category(int(agents.category[row]))]
        for _ in range(TRIES):
            place, speed = _place(int(agents.category[row]), kind, frame, ego, rng)
            if _is_free(row, place, pose, agents.size, valid, ego, ego_size):
                pose[row], valid[row] = place, True
                velocity[row] = speed * np.cos(place[2]), speed * np.sin(place[2])
                break
    return replace(agents, pose=pose.astype(np.float32), velocity=velocity, valid=valid)


def _clear_of_ego(agents: Agents, ego: _Ego, ego_size: Float32[Array, "3"]) -> Bool[Array, " n"]:
    """Return the validity of the scene's own agents without those at the ego's two places."""
    size = ego_size[:2].astype(np.float64) + 2.0 * MARGIN_M
    boxes = agents.pose.astype(np.float64), agents.size[:, :2].astype(np.float64)
    hits = boxes_overlap(ego.pose, size, *boxes) | boxes_overlap(ego.earlier, size, *boxes)
    return np.asarray(agents.valid & ~hits)


def _place(
    category: int, kind: Kind, frame: RouteFrame, ego: _Ego, rng: np.random.Generator
) -> tuple[Float64[Array, "3"], float]:
    """Return a random pose and speed (m/s) of a thing."""
    reach = 3.0 + (kind.range_m - 3.0) * rng.random() ** 1.4
    if category in IN_LANES:
        offset = float(rng.choice(LANE_OFFSETS_M, p=LANE_SHARES)) + rng.normal(0.0, 0.4)
        turn = math.pi * float(offset > 1.75 and rng.random() < ONCOMING_SHARE) + rng.normal(0.0, 0.08)
        turn += float(rng.random() < CROSSING_SHARE) * float(rng.choice([-0.5, 0.5])) * math.pi
    else:
        assert kind.offset_m is not None
        offset, turn = rng.uniform(-kind.offset_m, kind.offset_m), rng.uniform(-math.pi, math.pi)
    if rng.random() < BESIDE_SHARE:
        bearing = ego.pose[2] + rng.uniform(-1.8, 1.8)
        xy, heading = ego.pose[:2] + reach * np.array([math.cos(bearing), math.sin(bearing)]), ego.pose[2]
    else:
        xy, heading = frame.to_world(np.array(ego.s + reach), np.array(offset))
    speed = 0.0 if rng.random() < STANDING_SHARE else float(rng.uniform(0.0, kind.speed_mps))
    return np.array([*xy, float(heading) + turn]), speed


def _is_free(
    row: int, place: Array, pose: Array, size: Array, valid: Array, ego: _Ego, ego_size: Float32[Array, "3"]
) -> bool:
    """Return whether a thing at a place touches neither the others nor the ego."""
    own = size[row, :2].astype(np.float64) + MARGIN_M
    other = np.flatnonzero(valid)
    others = boxes_overlap(place, own, pose[other], size[other, :2].astype(np.float64))
    return not others.any() and not bool(boxes_overlap(place, own, ego.pose, ego_size[:2].astype(np.float64)))
