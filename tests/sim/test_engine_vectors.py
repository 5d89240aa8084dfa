"""The flat observation against its documentation, written again in numpy."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo_sim import testing
from alpamayo_sim.datatypes.scene import Environment, LineKind, RoadLine, RoadMap, Signal, SignalState, StopLine
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.engine.kernels.vector_observation import vector_size
from alpamayo_sim.engine.packing.map_blocks import pack_map
from alpamayo_sim.geometry import to_frame


def crowd(rng: np.random.Generator, count: int) -> WorldBatch:
    others = [
        testing.moving(
            f"t{k}",
            x=rng.uniform(-120, 120),
            y=rng.uniform(-120, 120),
            speed=rng.uniform(0, 20),
            heading=rng.uniform(-3, 3),
            size=tuple(rng.uniform(0.5, 10.0, 3)),
        )
        for k in range(count)
    ]
    return WorldBatch([testing.scenario(*others, ego=testing.moving("ego", heading=float(rng.uniform(-3, 3))))])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_agents_are_the_nearest_in_the_ego_frame(seed: int, wanted: int) -> None:
    batch = crowd(np.random.default_rng(seed), 30)
    batch.step(np.zeros((1, 2)))
    rows = batch.vectors(wanted, 0)[0, 92:].reshape(wanted, 7)
    there = rows[np.hypot(rows[:, 2], rows[:, 3]) > 0.5]
    agents = batch[0].agents()
    distance = np.hypot(*(agents.pose[:, :2] - batch.egos.pose[0, 0, :2]).T)
    within = np.flatnonzero(distance < 100.0)
    assert len(there) == min(wanted, len(within))
    limit = np.sort(distance[within])[len(there) - 1] if len(there) else 0.0
    for row in there:
        xy = to_frame(agents.pose[:, :2].astype(float), batch.egos.pose[:, 0].astype(float)) / 100.0
        k = int(np.argmin(np.hypot(*(xy - row[:2]).T)))
        turn = agents.pose[k, 2] - batch.egos.pose[0, 0, 2]
        speed = np.hypot(*agents.velocity[k])
        expected = [*xy[k], np.cos(turn), np.sin(turn), speed / 40, *agents.size[k, :2] / 20]
        np.testing.assert_allclose(row, expected, atol=1e-5)
        assert distance[k] <= limit + 100.0 / 64


def test_the_ego_and_the_route_are_as_documented() -> None:
    batch = WorldBatch([testing.scenario(testing.moving("a", x=50.0), environment=Environment(friction=0.6))])
    for _ in range(10):
        batch.step(np.array([[1.0, 0.02]]))
    row = batch.vectors(0, 0)[0]
    assert row.shape == (vector_size(0, 0),)
    speed, heading = 11.0, float(batch.egos.pose[0, 0, 2])
    margin = float(batch.egos.drivable_margin[0, 0])
    expected = [
        speed / 40,
        1.0 / 9.0,
        0.08,
        float(batch.egos.lateral_offset[0, 0]) / 10,
        np.cos(heading),
        np.sin(heading),
        margin / 4,
        14.0 / 40,
        (100.0 - float(batch.egos.progress[0, 0])) / 500,
        9.0 / 60,
        0.4,
        0.0,
    ]
    np.testing.assert_allclose(row[:12], expected, atol=1e-5)
    size = batch[0].ground_truth().ego_size
    own = [size[0] / 20, size[1] / 20, size[2] / 5, speed * float(batch.egos.curvature[0, 0])]
    np.testing.assert_allclose(row[12:16], own, atol=1e-5)
    assert not row[16:28].any()  # there are no stop lines
    np.testing.assert_allclose(row[28:].reshape(32, 2), batch[0].observe().route / 128, atol=1e-5)


def test_stop_lines_of_the_route_are_seen_with_their_lights() -> None:
    """A light 60 m ahead, first red and then green, and a stop sign behind it; a third line does not show."""
    road = testing.one_way_road()
    lines = [
        StopLine(f"s{x}", np.array([[x, -5.0, 0.0], [x, 5.0, 0.0]], np.float32), (name,))
        for x, name in ((60.0, road.lanes[0].id), (80.0, "sign"), (90.0, "sign"))
    ]
    states = np.array([SignalState.RED] * 5 + [SignalState.GREEN] * 5, np.int8)
    signal = Signal("light", np.zeros(3, np.float32), states, (road.lanes[0].id,))
    road = dataclasses.replace(road, stop_lines=tuple(lines))
    batch = WorldBatch([testing.scenario(road_map=road, signals=(signal,))])
    front = float(batch[0].ground_truth().ego_size[0]) / 2
    red = batch.vectors(0, 0)[0, 16:28]
    gaps = (60.0 - front) / 100, (80.0 - front) / 100
    np.testing.assert_allclose(red, [1, gaps[0], 1, 0, 0, 0, 1, gaps[1], 0, 0, 0, 1], atol=2e-3)
    for _ in range(6):
        batch.step(np.zeros((1, 2)))
    assert batch.vectors(0, 0)[0, 18:22].tolist() == [0, 0, 1, 0]


def test_map_pieces_cover_the_lines_and_keep_their_kinds() -> None:
    bend = np.linspace(0, 1.5, 200)
    edge = testing.polyline(*zip(30 * np.sin(bend), 30 - 30 * np.cos(bend), strict=True))
    road_map = RoadMap(
        lanes=testing.one_way_road().lanes,
        road_edges=(edge,),
        road_lines=(RoadLine(testing.polyline((0, 9), (7, 9)), LineKind.UNKNOWN),),
    )
    pieces = pack_map(road_map).blocks["pieces"]
    length, is_edge, is_line = 8.0 * pieces[:, 4], pieces[:, 5], pieces[:, 6]
    assert length.max() <= 8.0
    total = [length[(is_edge == kind[0]) & (is_line == kind[1])].sum() for kind in ((0, 0), (1, 0), (0, 1))]
    assert total == pytest.approx([1200.0, 45.0, 7.0], rel=2e-3)
    np.testing.assert_allclose(np.linalg.norm(pieces[:, 2:4], axis=1), 1.0, atol=1e-5)
    row = WorldBatch([testing.scenario(road_map=road_map)]).vectors(0, 50)[0, 92:].reshape(50, 7)
    assert (np.hypot(row[:, 2], row[:, 3]) > 0.5).all()
    painted = row[row[:, 6] == 1.0]
    np.testing.assert_allclose(painted, [[0.035, 0.09, 1.0, 0.0, 7 / 8, 0.0, 1.0]], atol=1e-6)
    assert (row[:, 5] == 1.0).sum() >= 5


def test_a_map_and_a_crowd_that_are_empty() -> None:
    batch = WorldBatch([testing.scenario(road_map=RoadMap())])
    row = batch.vectors()[0]
    assert (row[92:] == 0.0).all()
    assert np.isfinite(row).all()


def test_a_prop_is_seen() -> None:
    row = WorldBatch([testing.scenario(props=[testing.prop("c", 20.0, 1.0)])]).vectors(1, 0)[0, 92:]
    np.testing.assert_allclose(row, [0.2, 0.01, 1.0, 0.0, 0.0, 0.02, 0.02], atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_the_pieces_are_those_nearest_to_the_middle_of_the_cell(seed: int, wanted: int) -> None:
    rng = np.random.default_rng(seed)
    edges = tuple(np.cumsum(rng.normal(0, 6.0, (12, 3)) * [1, 1, 0], axis=0).astype(np.float32) for _ in range(10))
    ego = testing.moving(
        "ego", x=float(rng.uniform(-40, 40)), y=float(rng.uniform(-40, 40)), heading=float(rng.uniform(-3, 3))
    )
    batch = WorldBatch([testing.scenario(ego=ego, road_map=RoadMap(road_edges=edges))])
    rows = batch.vectors(0, wanted)[0, 92:].reshape(wanted, 7)
    middles = pack_map(batch.scenarios[0].scene.road_map).blocks["pieces"][:, :2].astype(float)
    corner, pose = middles.min(axis=0), batch.egos.pose[0, 0].astype(float)
    cells = (middles.max(axis=0) - corner) // 8.0
    middle = corner + 8.0 * (np.clip((pose[:2] - corner) // 8.0, 0, cells) + 0.5)
    distance = np.hypot(*(middles - middle).T)
    listed = np.sort(distance[distance < 100.0])[:wanted]
    there = rows[np.hypot(rows[:, 2], rows[:, 3]) > 0.5]
    assert len(there) == len(listed)
    seen = to_frame(middles, pose[None]) / 100.0
    for row in there:
        nearest = int(np.argmin(np.hypot(*(np.clip(seen, -1, 1) - row[:2]).T)))
        np.testing.assert_allclose(np.clip(seen[nearest], -1, 1), row[:2], atol=1e-5)
        assert distance[nearest] <= listed[-1] + 100.0 / 64
