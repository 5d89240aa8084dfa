"""What the step says of rules, against the map index, shapely and closed forms."""

import dataclasses

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo_sim import testing
from alpamayo_sim.datatypes.scene import Lane, RoadMap, Signal, SignalState, StopLine, Track
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.engine.packing.thinning import thinned
from alpamayo_sim.geometry import box_corners
from alpamayo_sim.map.index import MapIndex


def lanes(rng: np.random.Generator, count: int) -> RoadMap:
    """Crooked lanes of different widths all over the place."""
    made = []
    for k in range(count):
        turn = np.cumsum(rng.normal(0.0, 0.2, 12)) + rng.uniform(-np.pi, np.pi)
        xy = rng.uniform(-30, 30, 2) + np.cumsum(6.0 * np.stack([np.cos(turn), np.sin(turn)], axis=1), axis=0)
        limit = None if k % 3 == 0 else 5.0 + k
        width = np.full(12, rng.uniform(2, 5), np.float32)
        made.append(Lane(f"lane {k}", testing.polyline(*xy.tolist()), width, speed_limit=limit))
    return RoadMap(lanes=tuple(made))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_the_lane_is_the_map_indexs(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    road_map, index = lanes(rng, count), None
    egos = [
        testing.moving("ego", x=rng.uniform(-40, 40), y=rng.uniform(-40, 40), heading=rng.uniform(-3, 3))
        for _ in range(30)
    ]
    batch = WorldBatch([testing.scenario(ego=ego, road_map=road_map) for ego in egos])
    index = MapIndex(road_map)
    pose = batch.egos.pose[:, 0].astype(float)
    match = index.nearest_lane(pose[:, :2], pose[:, 2], max_distance=3.0)
    # lanes lose points within a centimetre of a straight line: the choice can differ where two are as near
    cost = match.distance + 2.0 * (1.0 - np.cos(pose[:, 2] - match.heading))
    again = _cost_of(index, pose, batch.egos.lane[:, 0])
    sure = np.abs(match.distance - 3.0) > 0.02
    assert ((batch.egos.lane[:, 0] >= 0) == (match.index >= 0))[sure].all()
    there = sure & (match.index >= 0)
    assert (again[there] < cost[there] + 0.15).all()
    same = there & (batch.egos.lane[:, 0] == match.index)
    np.testing.assert_allclose(np.abs(batch.egos.lane_offset[same, 0]), match.distance[same], atol=0.05)
    limits = np.array([lane.speed_limit or 0.0 for lane in road_map.lanes], np.float32)
    assert (batch.egos.speed_limit[same, 0] == limits[match.index[same]]).all()
    half = np.array([0.5 * lane.width[0] for lane in road_map.lanes])[match.index]
    clear = same & (np.abs(match.distance - half) > 0.05) & (np.abs(np.cos(pose[:, 2] - match.heading)) > 0.1)
    wrong = (match.distance < half) & (np.cos(pose[:, 2] - match.heading) < 0.0)
    assert (batch.egos.wrong_way[clear, 0] == wrong[clear]).all()


def _cost_of(index: MapIndex, pose: np.ndarray, lane: np.ndarray) -> np.ndarray:
    """Distance and heading's cost of the named lane alone."""
    cost = np.full(len(lane), np.inf)
    for k, number in enumerate(lane):
        if number >= 0:
            alone = MapIndex(RoadMap(lanes=(index.road_map.lanes[number],)))
            match = alone.nearest_lane(pose[k : k + 1, :2], pose[k : k + 1, 2])
            cost[k] = match.distance[0] + 2.0 * (1.0 - np.cos(pose[k, 2] - match.heading[0]))
    return cost


def test_wrong_way_overspeed_and_off_route() -> None:
    batch = WorldBatch(
        [
            testing.scenario(ego=testing.moving("ego", heading=np.pi, speed=20.0)),
            testing.scenario(ego=testing.moving("ego", speed=20.0)),
        ]
    )
    assert batch.egos.wrong_way[:, 0].tolist() == [True, False]
    np.testing.assert_allclose(batch.egos.overspeed[:, 0], 6.0, atol=1e-5)
    assert not batch.egos.off_route.any()
    aside = WorldBatch([testing.scenario(ego=testing.moving("ego", y=8.0))])
    assert aside.egos.off_route[0, 0]
    assert aside.egos.lane[0, 0] == -1
    assert aside.egos.overspeed[0, 0] == 0.0


def lamp(state: SignalState) -> Signal:
    return Signal("lamp", np.zeros(3, np.float32), np.full(60, state, np.int8), ("lane-0",))


def test_a_red_light_is_counted_when_the_front_comes_over_the_line() -> None:
    stop = StopLine("stop", testing.polyline((30.0, 1.75), (30.0, -1.75)), ("lane-0",))
    road_map = dataclasses.replace(testing.one_way_road(), stop_lines=(stop,))
    for state, counted in ((SignalState.RED, 1), (SignalState.GREEN, 0), (SignalState.YELLOW, 0)):
        lights = (lamp(state),)
        batch = WorldBatch([testing.scenario(road_map=road_map, signals=lights)])
        seen = []
        for _ in range(40):
            batch.step(np.zeros((1, 2)))
            seen.append(int(batch.egos.red_lights[0, 0]))
        assert seen[-1] == counted
        if counted:  # the front is 2.4 m ahead of the middle and 1 m further each step
            assert seen.index(1) == 27


def test_stop_lines_do_not_count_in_the_opposite_direction() -> None:
    stop = StopLine("stop", testing.polyline((-30.0, 1.75), (-30.0, -1.75)), ("lane-0",))
    road_map = dataclasses.replace(testing.one_way_road(), stop_lines=(stop,))
    lights = (lamp(SignalState.RED),)
    batch = WorldBatch([testing.scenario(road_map=road_map, signals=lights, ego=testing.moving("ego", heading=np.pi))])
    for _ in range(50):
        batch.step(np.zeros((1, 2)))
    assert batch.egos.red_lights[0, 0] == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_time_to_collision_is_when_shapelys_boxes_first_meet(seed: int) -> None:
    rng = np.random.default_rng(seed)
    other = testing.moving(
        "other",
        x=rng.uniform(-40, 40),
        y=rng.uniform(-40, 40),
        speed=rng.uniform(0, 20),
        heading=rng.uniform(-3, 3),
        size=tuple(rng.uniform(0.5, 8.0, 3)),
    )
    ego = testing.moving("ego", speed=float(rng.uniform(0, 20)), heading=float(rng.uniform(-3, 3)))
    batch = WorldBatch([testing.scenario(other, ego=ego)])
    time = float(batch.egos.time_to_collision[0, 0])
    gap = lambda t: _box(ego, t).distance(_box(other, t))  # noqa: E731
    if time < 5.0:
        assert gap(time) < 0.02
        assert all(gap(t) > 0.0 for t in np.arange(0.0, time - 0.01, 0.05))
    else:
        assert all(gap(t) > 0.0 for t in np.arange(0.0, 4.99, 0.02))


def _box(track: Track, time: float) -> shapely.Polygon:
    xy = track.position[0, :2].astype(float) + time * track.velocity[0].astype(float)
    return shapely.Polygon(box_corners(np.array([*xy, float(track.heading[0])]), track.size[:2].astype(float)))


def test_more_agents_than_one_run_of_bits_are_all_met() -> None:
    cars = [testing.moving(f"car {k}", x=-20.0 * (k + 1), speed=0.0) for k in range(70)]
    cars[68] = testing.moving("ahead", x=12.4, speed=5.0)
    cars[40] = testing.moving("touching", x=4.0, speed=10.0)
    batch = WorldBatch([testing.scenario(*cars)])
    assert batch.egos.time_to_collision[0, 0] == 0.0
    assert [contact.agent for contact in batch[0].collisions()] == [40]
    cars[40] = testing.moving("away", x=4.0, y=40.0)
    batch = WorldBatch([testing.scenario(*cars)])
    assert batch.egos.time_to_collision[0, 0] == pytest.approx((12.4 - 4.8) / 5.0, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 0.5))
def test_thinned_lines_stay_where_they_were(seed: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    walks = [np.cumsum(rng.normal([0.5, 0.0], 0.1, (n, 2)), axis=0) for n in rng.integers(2, 150, 6)]
    found = thinned(walks, tolerance)
    assert len(found) == len(walks)
    for walk, thin in zip(walks, found, strict=True):
        assert (thin[[0, -1]] == walk[[0, -1]]).all()
        assert set(map(tuple, thin)) <= set(map(tuple, walk))
        assert shapely.LineString(walk).hausdorff_distance(shapely.LineString(thin)) <= tolerance + 1e-9
    straight = np.stack([np.linspace(0, 50, 60), np.zeros(60)], axis=1)
    assert len(thinned([straight], 1e-3)[0]) == 2


def test_contacts_in_the_step_are_shapelys_for_ten_thousand_pairs() -> None:
    rng = np.random.default_rng(2)
    pairs, checked = 10_000, 0
    for _ in range(pairs // 500):
        count = 500
        xy, heading = rng.uniform(-9, 9, (count, 2)), rng.uniform(-np.pi, np.pi, count)
        size = rng.uniform(0.2, 9.0, (count, 3))
        cars = [
            testing.moving(
                f"car {k}", x=xy[k, 0], y=xy[k, 1], speed=0.0, heading=heading[k], size=tuple(size[k]), steps=2
            )
            for k in range(count)
        ]
        ego = testing.moving("ego", speed=0.0, heading=float(rng.uniform(-3, 3)), steps=2)
        batch = WorldBatch([testing.scenario(*cars, ego=ego)])
        mine = shapely.Polygon(box_corners(batch.egos.pose[0, 0].astype(float), np.array([4.8, 2.0])))
        theirs = shapely.polygons(
            box_corners(batch.pose[0, 1:].astype(float), batch[0].agents().size[:, :2].astype(float))
        )
        touching = np.zeros(count, bool)
        touching[[contact.agent for contact in batch[0].collisions()]] = True
        overlap = shapely.area(shapely.intersection(mine, theirs))
        sure = (shapely.distance(mine, theirs) > 1e-4) | (overlap > 1e-4)
        assert (touching == shapely.intersects(mine, theirs))[sure].all()
        checked += int(sure.sum())
    assert checked > 0.99 * pairs
