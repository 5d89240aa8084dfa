"""The compiled loops against plain numpy, on crowded random scenes with agents that appear and disappear."""

from dataclasses import replace

import numpy as np
import pytest

from alpamayo.guard.pdm import pdm_score
from alpamayo.validator import AgentTrajectories, MotionBatch
from alpamayo.validator import contacts as touching
from alpamayo.validator.along_route import route_frame
from alpamayo.validator.judge import CORE_RULES, judge
from alpamayo.validator.motions import ResultCache
from alpamayo.validator.packed import agent_boxes, ego_boxes
from alpamayo.validator.rules import progress, time_to_collision
from alpamayo.validator.rules import rss as responsibility
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.geometry import box_corners, oriented
from alpamayo_sim.map.index import MapIndex, route_index
from alpamayo_sim.map.lane_tree import HEADING_COST_M

from . import reference

SEEDS = range(6)


def wander(rng, count, steps, spread, fast):
    """Return motions with changing speeds and headings: poses [n, t, 3] and velocities [n, t, 2]."""
    t = 0.1 * np.arange(steps)
    heading = rng.uniform(-9, 9, (count, 1)) + rng.uniform(-0.5, 0.5, (count, 1)) * t
    speed = np.maximum(rng.uniform(0, fast, (count, 1)) + rng.uniform(-4, 3, (count, 1)) * t, 0.0)
    speed[rng.random(count) < 0.2] = 0.0
    velocity = speed[..., None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    xy = rng.uniform(-spread, spread, (count, 1, 2)) + np.cumsum(0.1 * velocity, axis=1)
    return np.concatenate([xy, heading[..., None]], axis=-1), velocity, speed


def grid_margin(index, xy):
    """Return the margin of points as boxes of size 0, computed by the grid instead of the tree."""
    boxes = np.column_stack([xy, np.ones(len(xy)), np.zeros(len(xy))])
    return index.drivable_area.box_margin(boxes, np.zeros(2), np.inf)


def crowd(seed, motions=12, count=24, steps=65):
    rng = np.random.default_rng(seed)
    pose, _, speed = wander(rng, motions, steps, 3.0, 14.0)
    agent_pose, velocity, _ = wander(rng, count, steps, 40.0, 14.0)
    valid = np.ones((count, steps), bool)
    for a in np.flatnonzero(rng.random(count) < 0.4):
        valid[a, rng.integers(0, 40) :] = rng.random() < 0.5
        valid[a, : rng.integers(1, 20)] ^= True
    agent_pose[~valid] = 0.0
    scene = make_scenario("cut-in", 0).scene
    index = MapIndex(scene.road_map)
    traffic = AgentTrajectories(
        ids=tuple(f"a{i}" for i in range(count)),
        category=np.ones(count, np.int8),
        pose=agent_pose,
        velocity=velocity,
        size=rng.uniform([0.4, 0.4], [8.0, 2.6], (count, 2)),
        valid=valid,
    )
    return MotionBatch(
        scene=scene,
        map_index=index,
        times=0.1 * np.arange(steps),
        pose=pose,
        speed=speed,
        size=np.array([4.8, 2.0]),
        traffic=traffic,
        history=pose[:, :1],
    )


def sweep(motions, acceleration):
    future = motions.cached(time_to_collision._whole_future)
    candidates = time_to_collision._candidate_agents(motions, acceleration, future)
    return time_to_collision._sweep(motions, acceleration, future, candidates)


def hold_contacts(motions):
    """Compare first contacts with a dense search: what overlaps for a fiftieth of a step or more is found."""
    first = touching.first_overlaps(motions.cached(ego_boxes), motions.size, motions.cached(agent_boxes))
    sampled, dense = (reference.least_gaps(motions, parts) for parts in ((), np.linspace(0.0, 1.0, 51)[1:-1]))
    steps = np.arange(dense.shape[2])
    is_before, is_first = steps < np.where(first < 0, len(steps), first)[..., None], steps == first[..., None]
    assert not (sampled < 0.0)[is_before].any()
    others, moved = motions.traffic.pose[:, : len(steps), :2], np.zeros(dense.shape)
    moved[..., 1:] = np.linalg.norm(np.diff(motions.pose[:, None, :, :2] - others, axis=2), axis=-1)
    assert not (dense < -0.02 * moved - 1e-9)[is_before].any()
    assert (dense < 0.02 * moved + 0.3)[is_first].all()
    return first


@pytest.mark.parametrize("seed", SEEDS)
def test_first_contacts(seed):
    assert (hold_contacts(crowd(seed)) > 0).any()


def test_a_contact_between_two_steps_is_found():
    """Two cars at 15 m/s whose corners clip within a step, and which are apart at both of its ends."""
    motions = crowd(0, motions=1, count=1, steps=5)
    t = 0.1 * np.arange(5)
    ego, other = np.zeros((1, 5, 3)), np.zeros((1, 5, 3))
    ego[0, :, 0] = 15.0 * (t - 0.15)
    other[0] = np.column_stack([np.full(5, 2.7), 15.0 * (t - 0.15) + 2.7, np.full(5, np.pi / 2)])
    velocity = np.tile([0.0, 15.0], (1, 5, 1))
    traffic = replace(
        motions.traffic, pose=other, velocity=velocity, size=np.array([[4.8, 2.0]]), valid=np.ones((1, 5), bool)
    )
    motions = replace(motions, pose=ego, speed=np.full((1, 5), 15.0), traffic=traffic, cache=ResultCache())
    gaps, inner = (reference.least_gaps(motions, parts)[0, 0] for parts in ((), np.linspace(0.0, 1.0, 101)[1:-1]))
    assert (gaps > 0.0).all()
    assert inner.min() < -0.1
    assert hold_contacts(motions)[0, 0] == int(np.argmin(inner))
    assert touching.clearance(motions, np.zeros((1, 1), bool)).min() < 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_clearance(seed):
    motions = crowd(seed)
    ignored = np.random.default_rng(seed).random((motions.count, len(motions.traffic.ids))) < 0.2
    ours, known = touching.clearance(motions, ignored), reference.clearance(motions, ignored)
    assert np.abs(ours - known).max() < 1e-9
    assert (ours < 0).any()
    assert (ours == touching.CLEARANCE_LIMIT_M).any()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("accelerated", [False, True])
def test_times_to_collision(seed, accelerated):
    motions, rng = crowd(seed), np.random.default_rng(seed)
    acceleration = rng.uniform(-5, 3, motions.speed.shape) if accelerated else np.zeros(motions.speed.shape)
    ours = sweep(motions, acceleration)
    known = reference.sweep(motions, acceleration, time_to_collision._until(motions))
    assert np.array_equal(ours[0].time, known[0])
    sooner = known[1] < known[0]  # only then it is asked for
    assert np.array_equal(ours[1].time[sooner], known[1][sooner])
    assert sooner.any()
    assert np.isfinite(known[0]).any()


@pytest.mark.parametrize("steps", [65, 5])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_pdm_score_alone_equals_that_of_the_verdict(seed, steps):
    motions = crowd(seed, motions=40, count=4, steps=steps)
    whole = judge(motions, CORE_RULES).scores["pdms"].value
    alone = pdm_score(replace(motions, cache=ResultCache()))
    assert np.array_equal(alone, whole)
    assert (whole == 0.0).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_rss_margins(seed):
    motions = crowd(seed)
    margins, asked = responsibility.gaps_and_response(motions)
    expected = reference.gaps_and_response(motions)
    assert np.abs(margins - expected[0]).max() < 1e-9
    assert np.array_equal(asked, expected[1])
    assert (asked < 0).any()
    assert (margins < 0).any()
    for k in range(motions.count):
        each, asks = responsibility.agent_gaps_and_response(motions, k)
        assert np.abs(np.minimum(each.min(axis=0), responsibility.RSS_MARGIN_LIMIT_M) - margins[k]).max() < 1e-9
        assert np.array_equal(asks.min(axis=0), asked[k])


def hold(motions, rng):
    """Compare all loops over pairs with the reference."""
    first = hold_contacts(motions)
    ignored = rng.random(first.shape) < 0.2
    assert np.abs(touching.clearance(motions, ignored) - reference.clearance(motions, ignored)).max() < 1e-9
    margins, asked = responsibility.gaps_and_response(motions)
    expected = reference.gaps_and_response(motions)
    assert np.allclose(margins, expected[0], rtol=1e-12, atol=1e-9)
    assert np.array_equal(asked, expected[1])
    for acceleration in (np.zeros(motions.speed.shape), rng.uniform(-5, 3, motions.speed.shape)):
        ours = sweep(motions, acceleration)
        known = reference.sweep(motions, acceleration, time_to_collision._until(motions))
        assert np.array_equal(ours[0].time, known[0])
        sooner = known[1] < known[0]
        assert np.array_equal(ours[1].time[sooner], known[1][sooner])
    return first


@pytest.mark.parametrize(("motions", "count", "steps"), [(1, 0, 65), (1, 1, 65), (2, 63, 9), (3, 70, 64), (2, 129, 5)])
def test_any_number_of_agents_and_steps(motions, count, steps):
    rng = np.random.default_rng(count)
    first = hold(crowd(count, motions, count, steps), rng)
    assert first.shape == (motions, count)


@pytest.mark.parametrize("seed", SEEDS)
def test_motions_that_no_car_makes(seed):
    """The bounds hold for reversing, spinning, jumping, very fast and intermittent agents."""
    motions, rng = crowd(seed, motions=8, count=40), np.random.default_rng(seed)
    steps, traffic = len(motions.times), motions.traffic
    pose, agent_pose, velocity, speed = (
        np.array(x) for x in (motions.pose, traffic.pose, traffic.velocity, motions.speed)
    )
    speed[:3] *= -1.0
    speed[1, ::5] *= 40.0
    pose[2, :, 2] += 2.0 * np.arange(steps)
    pose[3, rng.random(steps) < 0.3, :2] += rng.uniform(-30, 30, 2)
    agent_pose[:10, :, 2] += rng.uniform(-3, 3, (10, 1)) * np.arange(steps)
    leap = rng.random((40, steps)) < 0.1
    agent_pose[leap, :2] += rng.uniform(-40, 40, (leap.sum(), 2))
    velocity[10:20] *= rng.choice([-1.0, 0.0, 30.0], (10, 1, 1))
    traffic = replace(traffic, pose=agent_pose, velocity=velocity, valid=rng.random((40, steps)) < 0.7)
    first = hold(replace(motions, pose=pose, speed=speed, traffic=traffic, cache=ResultCache()), rng)
    assert (first > 0).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_time_to_collision_of_cut_ins(seed):
    """Agents that would pass behind or before an ego at constant speed: the ego's acceleration matters."""
    motions, rng = crowd(seed, motions=4, count=8), np.random.default_rng(seed)
    steps, traffic = len(motions.times), motions.traffic
    pose, agent_pose = np.zeros((4, steps, 3)), np.zeros((8, steps, 3))
    pose[..., 0] = 10.0 * motions.times + rng.uniform(-2, 2, (4, 1))
    velocity = np.repeat(rng.uniform([4, -6], [14, -1], (8, 1, 2)), steps, axis=1)
    agent_pose[..., :2] = rng.uniform([-14, 4], [14, 16], (8, 1, 2)) + motions.times[:, None] * velocity
    agent_pose[..., 2] = np.arctan2(velocity[..., 1], velocity[..., 0])
    traffic = replace(traffic, pose=agent_pose, velocity=velocity, valid=np.ones((8, steps), bool))
    motions = replace(motions, pose=pose, speed=np.full((4, steps), 10.0), traffic=traffic)
    until = np.full((4, 8), steps, np.int32)  # all agents count
    motions = replace(motions, cache=ResultCache({time_to_collision._until: until}))
    found = []
    for acceleration in (-4.0, 0.0, 3.0):
        ours = sweep(motions, np.full((4, steps), acceleration))
        expected = reference.sweep(motions, np.full((4, steps), acceleration), until)
        assert np.array_equal(ours[0].time, expected[0])
        sooner = expected[1] < expected[0]
        assert np.array_equal(ours[1].time[sooner], expected[1][sooner])
        found.append(np.minimum(*expected))
    assert (found[0] < found[1]).any()
    assert (found[2] < found[1]).any()


def test_grids_agree_with_trees():
    rng = np.random.default_rng(0)
    for family in ("cut-in", "red-light-runner"):
        scene = make_scenario(family, 1).scene
        index = MapIndex(scene.road_map)
        path = scene.route.path[:, :2].astype(np.float64)
        xy = path[rng.integers(0, len(path), 4000)] + rng.normal(0, 12, (4000, 2))
        xy[:20] += 500.0  # off the grid
        heading = rng.uniform(-9, 9, len(xy))
        assert np.abs(grid_margin(index, xy) - index.drivable_area.margin(xy)).max() < 1e-9
        for headings in (heading, None):
            ours, known = index.match_lanes(xy, headings), index.nearest_lane(xy, headings)
            turns = 0.0 if headings is None else np.cos(heading - ours.heading) - np.cos(heading - known.heading)
            assert np.abs(ours.distance - known.distance - HEADING_COST_M * turns).max() < 1e-9
            same = ours.index == known.index  # lanes that part from one point are equally near before it
            assert same.mean() > 0.95
            for name in ("s", "offset", "heading"):
                assert np.abs(getattr(ours, name) - getattr(known, name))[same].max() < 1e-9


def test_small_and_large_queries_have_the_same_results():
    """Small queries use the lists of large tiles, large ones the computed cells; the order does not matter."""
    scene, rng = make_scenario("red-light-runner", 0).scene, np.random.default_rng(0)
    xy = scene.ego.position[0, :2] + rng.uniform(-80.0, 80.0, (3000, 2))
    heading = rng.uniform(-np.pi, np.pi, len(xy))
    index = MapIndex(scene.road_map)
    few = slice(0, 60)
    asked = index.match_lanes(xy[few], heading[few]), grid_margin(index, xy[few])
    whole = index.match_lanes(xy, heading), grid_margin(index, xy)
    again = index.match_lanes(xy[few], heading[few]), grid_margin(index, xy[few])
    for answers in (asked, again):
        for name in answers[0].__dataclass_fields__:
            assert np.array_equal(getattr(answers[0], name), getattr(whole[0], name)[few])
        assert np.array_equal(answers[1], whole[1][few])
    expected = index.nearest_lane(xy, heading)
    assert np.abs(whole[0].distance - expected.distance).max() < 1e-9
    assert np.abs(whole[1] - index.drivable_area.margin(xy)).max() < 1e-9


def test_small_and_large_queries_in_turn_take_no_more_memory():
    scene, rng = make_scenario("red-light-runner", 0).scene, np.random.default_rng(0)
    index = MapIndex(scene.road_map)
    few, many = (scene.ego.position[0, :2] + rng.uniform(-80.0, 80.0, (count, 2)) for count in (60, 3000))
    taken = []
    for _ in range(4):
        index.match_lanes(few)
        index.match_lanes(many)
        taken.append(index._lane_lookup._grid._used)
    assert taken[1:] == taken[1:2] * 3


def test_route_index_is_the_projection():
    from alpamayo_sim.geometry import project

    scene, rng = make_scenario("cut-in", 3).scene, np.random.default_rng(0)
    xy = scene.route.path[rng.integers(0, len(scene.route.path), 500), :2] + rng.normal(0, 5, (500, 2))
    s, offset = project(scene.route.path, xy)
    match = route_index(scene.route).match_lanes(xy)
    assert np.abs(np.abs(match.offset) - np.abs(offset)).max() < 1e-6
    assert np.median(np.abs(match.s - s)) < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_nearly_equal_speeds_stay_in_the_record(seed):
    """An adjacent agent at nearly the ego's speed reaches it after 10^12 s, which is no valid index."""
    motions, rng = crowd(seed, motions=6, count=16), np.random.default_rng(seed)
    steps, traffic = len(motions.times), motions.traffic
    heading = rng.uniform(-3, 3)
    path = 0.1 * 10.0 * np.arange(steps)[:, None] * np.array([np.cos(heading), np.sin(heading)])
    pose = np.zeros((6, steps, 3))
    pose[..., :2], pose[..., 2] = path + rng.uniform(-3, 3, (6, 1, 2)), heading
    agent_pose = np.zeros((16, steps, 3))
    agent_pose[..., :2], agent_pose[..., 2] = path + rng.uniform(-15, 15, (16, 1, 2)), heading
    tiny = np.array([0.0, 1e-14, -1e-13, 1e-10, -1e-300])[rng.integers(0, 5, (16, 1, 1))]
    velocity = 10.0 * np.array([np.cos(heading), np.sin(heading)]) + np.zeros((16, steps, 2)) + tiny
    others_ = replace(traffic, pose=agent_pose, velocity=velocity, valid=np.ones((16, steps), bool))
    motions = replace(motions, pose=pose, speed=np.full((6, steps), 10.0), traffic=others_, cache=ResultCache())
    ours = sweep(motions, np.zeros((6, steps)))
    theirs_ = reference.sweep(motions, np.zeros((6, steps)), time_to_collision._until(motions))
    assert np.array_equal(ours[0].time, theirs_[0])


@pytest.mark.parametrize("seed", range(8))
def test_progress_ends_behind_agents_on_the_route(seed):
    """All agents, near and far, are considered."""
    motions, rng = crowd(seed, motions=1, count=40), np.random.default_rng(seed)
    path, traffic, last = motions.scene.route.path[:, :2].astype(np.float64), motions.traffic, 64
    on_route = path[rng.integers(0, len(path), 40)] + rng.normal(0, [[1.5], [30.0], [1e4], [1e9]] * 10, (40, 2))
    traffic.pose[:, last, :2], traffic.pose[:, 0, :2] = on_route, on_route - rng.uniform(0, 20, (40, 1))
    on_route, start = route_index(motions.scene.route), rng.uniform(0, 60)
    frame = route_frame(motions.scene.route)
    at_end, now = (on_route.match_lanes(traffic.pose[:, t, :2]) for t in (last, 0))
    there = traffic.valid[:, last] & traffic.valid[:, 0] & (now.s > start)
    there &= at_end.distance < 0.5 * (motions.size[1] + traffic.size[:, 1])
    gap = at_end.s - start - 0.5 * (motions.size[0] + traffic.size[:, 0]) - progress.STANDSTILL_GAP_M
    found = progress._progress_behind_agents(motions, frame, start, np.inf)
    assert found == pytest.approx(gap[there].min(initial=np.inf), abs=1e-6)
    assert there.any()


def test_points_far_off_the_map_have_large_distances():
    scene = make_scenario("cut-in", 0).scene
    index = MapIndex(scene.road_map)
    xy = np.array([[1e12, 0.0], [0.0, -1e12], [3e9, 3e9], [-5e9, 1.0], [1e15, 1e15]])
    assert np.allclose(grid_margin(index, xy), index.drivable_area.margin(xy))
    assert np.allclose(index.match_lanes(xy).distance, index.nearest_lane(xy).distance)


@pytest.mark.parametrize("family", ["cut-in", "red-light-runner"])
def test_first_step_outside_the_road(family):
    scene, rng = make_scenario(family, 0).scene, np.random.default_rng(0)
    index = MapIndex(scene.road_map)
    pose, _, _ = wander(rng, 200, 65, 20.0, 14.0)
    pose[..., :2] += scene.ego.position[0, :2]
    pose[:5, 30:, :2] += 1e6  # off the grid
    boxes, size = oriented(pose), np.array([4.8, 2.0])
    for tolerance in (0.0, 0.3, 2.0):
        outside = (
            index.drivable_area.margin(box_corners(pose, size).reshape(-1, 2)).reshape(200, 65, 4).min(axis=2)
            < -tolerance
        )
        expected = np.where(outside.any(axis=1), outside.argmax(axis=1), -1)
        assert np.array_equal(index.drivable_area.first_step_outside(boxes, size, tolerance), expected)
        assert (expected > 0).any()
    assert (expected == -1).any()
