"""Lidar returns against analytic planes; the same noise in any batch."""

import dataclasses

import numpy as np
import pytest

from alpamayo_sim import testing
from alpamayo_sim.datatypes.lidar import Lidar, spinning_32, spinning_64
from alpamayo_sim.datatypes.scenario import Goal, Scenario
from alpamayo_sim.datatypes.scene import Category, Environment
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.sensors import Semantic, WorldLidar
from alpamayo_sim.sensors.culling import EGO_INSTANCE, scene_appearance
from alpamayo_sim.sensors.lidar_open3d import part_triangles

BARE = dataclasses.replace(spinning_64(), range_noise=0.0, max_range=100.0, reach=1e4)
WALL = (0.5, 60.0, 20.0)  # a bus of this size shows the lidar a plane


def town(seed=0, count=24):
    rng = np.random.default_rng(seed)
    kinds = (Category.VEHICLE, Category.TRUCK, Category.BUS, Category.PEDESTRIAN, Category.CYCLIST)
    return testing.scenario(
        *(
            testing.moving(f"t{k}", *rng.uniform((8, -25), (60, 25)), heading=rng.uniform(-3, 3), category=kinds[k % 5])
            for k in range(count)
        )
    )


def test_ground_is_the_plane():
    scan = WorldLidar(WorldBatch([testing.scenario()]), BARE).scan()
    down = BARE.rays[..., 2]
    expected = np.where(down < 0, -BARE.position[2] / np.minimum(down, -1e-9), np.inf)
    near = expected < BARE.max_range
    assert np.allclose(scan.range[0][near], expected[near], rtol=1e-5)
    assert np.all(np.isinf(scan.range[0][~near]))
    assert np.all(scan.semantic[0][near] == Semantic.ROAD)
    assert np.allclose(scan.intensity[0][near], 0.15 * -down[near], atol=1e-5)


def test_a_wall_is_the_plane():
    heading = 0.3
    wall = testing.moving("wall", 30.0, 0.0, speed=0.0, heading=heading, size=WALL, category=Category.BARRIER)
    scan = WorldLidar(WorldBatch([testing.scenario(wall)]), BARE).scan()
    normal = np.array([np.cos(heading), np.sin(heading), 0.0])
    foot = np.array([30.0, 0.0, 0.0]) - 0.25 * normal
    expected = ((foot - BARE.position) @ normal) / (BARE.rays @ normal)
    hit = scan.instance[0] == 0
    middle = hit & (np.abs(BARE.rays[..., 1]) < 0.3)  # away from the thin sides
    assert middle.sum() > 1000
    assert np.allclose(scan.range[0][middle], expected[middle], atol=2e-4)
    assert np.allclose(scan.intensity[0][middle], 0.6 * np.abs(BARE.rays @ normal)[middle], atol=1e-4)
    assert len(scan.points()) == np.isfinite(scan.range).sum()


def judge(batch, lidar, w, agent):
    """Range and instance by Open3D for the same parts as triangles and a ground plane."""
    o3d = pytest.importorskip("open3d")
    scene, agents = batch.scenarios[w].scene, batch[w].agents()
    appearance = scene_appearance(scene, agents.ids, agents.category, agents.size)
    owner = appearance.table.owner
    rows = np.flatnonzero(owner != agent)
    poses = np.concatenate([batch.egos.pose[w, 0][None], agents.pose])
    pose = np.where(owner[rows, None] >= 0, poses[np.maximum(owner[rows], 0)], appearance.fixed[rows])
    points, triangles = part_triangles(appearance, rows, pose)
    caster = o3d.t.geometry.RaycastingScene()
    caster.add_triangles(o3d.core.Tensor(points), o3d.core.Tensor(triangles.astype(np.uint32)))
    x, y, heading = poses[agent]
    c, s = np.cos(heading), np.sin(heading)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    directions = lidar.rays @ turn.T
    eye = np.broadcast_to(turn @ lidar.position + [x, y, 0.0], directions.shape)
    found = caster.cast_rays(o3d.core.Tensor(np.concatenate([eye, directions], axis=-1).astype(np.float32)))
    ground = np.where(lidar.rays[..., 2] < 0, -lidar.position[2] / np.minimum(lidar.rays[..., 2], -1e-9), np.inf)
    hit = found["t_hit"].numpy()
    part = owner[rows][np.minimum(found["primitive_ids"].numpy() // 12, len(rows) - 1)]
    nearest = np.minimum(hit, ground)
    instance = np.where(part > 0, part - 1, np.where(part == 0, EGO_INSTANCE, part))
    seen = nearest < lidar.max_range
    return np.where(seen, nearest, np.inf), np.where((hit < ground) & seen, instance, -1)


@pytest.mark.parametrize("backend", ["warp", "open3d"])
@pytest.mark.parametrize("place", ["town", "street"])
def test_returns_are_open3ds(place, backend):
    made = Scenario(testing.street(), Goal(100.0, 10.0)) if place == "street" else town()
    batch = WorldBatch([made, made])
    lidar = dataclasses.replace(spinning_32(columns=600), range_noise=0.0, reach=1e4)
    observers = [(0, 0), (1, 2)]
    scanner = WorldLidar(batch, lidar, observers=observers, backend=backend)
    for _ in range(2):
        batch.step(np.tile(np.array([1.0, 0.02], np.float32), (2, 1)))
        scan = scanner.scan()
        for o, (w, agent) in enumerate(observers):
            expected, instance = judge(batch, lidar, w, agent)
            near = np.isfinite(expected)
            apart = np.abs(np.where(near, expected, 0.0) - np.where(np.isfinite(scan.range[o]), scan.range[o], 0.0))
            wrong = (apart > 0.01) | (instance != scan.instance[o])
            assert near.mean() > 0.5
            assert (instance != -1).mean() > 0.02
            assert wrong.mean() < 5e-4  # rays that graze an edge


def test_both_backends_give_the_same_echoes():
    batch = WorldBatch([Scenario(testing.street(), Goal(100.0, 10.0))])
    batch.step(np.array([[1.0, 0.02]], np.float32))  # off the grid that the houses' edges stand on
    lidar = dataclasses.replace(spinning_32(columns=600), dropout=0.1, reach=1e4)
    one, other = (WorldLidar(batch, lidar, backend=backend).scan() for backend in ("warp", "open3d"))
    both = np.isfinite(one.range) & np.isfinite(other.range)
    same = both & (one.instance == other.instance)
    assert same.sum() > 0.999 * both.sum()
    assert np.mean(np.isfinite(one.range) != np.isfinite(other.range)) < 5e-4
    assert np.mean(np.abs(one.range[same] - other.range[same]) > 0.01) < 5e-4
    assert np.mean(np.abs(one.intensity[same] - other.intensity[same]) > 2e-3) < 5e-4
    assert np.array_equal(one.semantic[same], other.semantic[same])
    with pytest.raises(InputError, match="unknown lidar backend"):
        WorldLidar(batch, lidar, backend="embree")


def test_rings_and_reach():
    for lidar, rings in ((spinning_32(), 32), (spinning_64(), 64)):
        assert lidar.rays.shape == (rings, lidar.columns, 3)
        assert np.allclose(np.linalg.norm(lidar.rays, axis=-1), 1.0, atol=1e-6)
        assert np.all(np.diff(lidar.elevations) < 0)
    far = testing.moving(
        "bus", 80.0, 0.0, speed=0.0, size=(1.0, 8.0, 8.0), category=Category.BARRIER
    )  # reflectivity 0.6
    for reach, seen in ((32.0, False), (34.0, True)):  # 80 m · sqrt(0.1 / 0.6) = 32.7 m
        lidar = dataclasses.replace(BARE, reach=reach, elevations=np.zeros(1, np.float32))
        assert np.any(WorldLidar(WorldBatch([testing.scenario(far)]), lidar).scan().instance == 0) == seen


def test_noise_has_its_spread_and_losses():
    lidar = dataclasses.replace(BARE, range_noise=0.05, dropout=0.2)
    noisy, bare = (WorldLidar(WorldBatch([testing.scenario()]), each).scan().range[0] for each in (lidar, BARE))
    hits, seen = np.isfinite(bare), np.isfinite(noisy)
    assert abs(seen[hits].mean() - 0.8) < 0.01
    error = noisy[seen] - bare[seen]
    assert abs(error.std() - 0.05) < 0.001
    assert abs(error.mean()) < 0.001


def test_fog_and_rain_shorten_the_sight():
    def returns(environment):
        made = testing.scenario(testing.moving("wall", 70.0, 0.0, speed=0.0, size=WALL, category=Category.BARRIER))
        made = dataclasses.replace(made, scene=dataclasses.replace(made.scene, environment=environment))
        return WorldLidar(WorldBatch([made]), dataclasses.replace(BARE, reach=220.0)).scan()

    clear, rain, fog = map(returns, (Environment(), Environment(rain=20.0), Environment(visibility=80.0)))
    assert np.isfinite(fog.range).sum() < np.isfinite(rain.range).sum() <= np.isfinite(clear.range).sum()
    both = np.isfinite(clear.range) & np.isfinite(fog.range)
    ratio = (fog.intensity / np.where(both, clear.intensity, 1.0))[both]
    assert np.allclose(ratio, np.exp(-2.0 * 3.0 / 80.0 * clear.range[both]), rtol=1e-4)
    rained = np.isfinite(clear.range) & np.isfinite(rain.range) & (np.abs(clear.range - 20.0) < 2.0)
    assert abs((rain.range[rained] - clear.range[rained]).std() - 0.02 * 20.0) < 0.03


def test_the_batch_does_not_matter():
    lidar = dataclasses.replace(spinning_32(), dropout=0.1)
    towns = [town(seed) for seed in range(3)]
    alone = [WorldLidar(WorldBatch([each]), lidar, seed=5).scan() for each in towns]
    together = WorldLidar(WorldBatch(towns[::-1]), lidar, seed=5).scan()
    for name in ("range", "intensity", "semantic", "instance"):
        for k in range(3):
            assert getattr(together, name)[2 - k].tobytes() == getattr(alone[k], name)[0].tobytes()
    other = WorldLidar(WorldBatch(towns[:1]), lidar, seed=6).scan()
    assert not np.array_equal(other.range, alone[0].range)


def test_scans_follow_the_world():
    batch = WorldBatch([town(0), town(1)])
    scanner = WorldLidar(batch, BARE)
    first = scanner.scan()
    batch.step(np.zeros((2, 2), np.float32))
    assert not np.array_equal(first.range, scanner.scan().range)
    batch.assign([0, 1], [town(1, count=40), town(0)])
    again = scanner.scan()
    assert again.range[1].tobytes() == first.range[0].tobytes()
    assert again.range[0].tobytes() != first.range[1].tobytes()


def test_markings_are_brighter_than_asphalt():
    batch = WorldBatch([Scenario(testing.street(), Goal(100.0, 10.0))])
    lidar = dataclasses.replace(BARE, elevations=np.deg2rad(np.linspace(-30, -8, 40)).astype(np.float32))
    scan = WorldLidar(batch, lidar, markings=True).scan()
    plain = WorldLidar(batch, lidar).scan()
    assert np.array_equal(scan.range, plain.range)
    classes = set(np.unique(scan.semantic).tolist())
    assert classes >= {Semantic.ROAD, Semantic.LANE_MARKING, Semantic.SIDEWALK, Semantic.TERRAIN}
    line = scan.semantic == Semantic.LANE_MARKING
    assert np.allclose(scan.intensity[line], 0.6 / 0.15 * plain.intensity[line], rtol=1e-4)
    y = scan.range[0] * lidar.rays[..., 1] - 1.75  # the ego is in the middle of its lane
    assert np.all(np.min(np.abs(y[line[0]][:, None] - [-7.0, -3.5, 0.13, -0.13, 3.5, 7.0]), axis=1) < 0.25)


def test_another_agent_may_look():
    batch = WorldBatch([testing.scenario(testing.moving("lead", 20.0, 0.0))])
    scan = WorldLidar(batch, BARE, observers=[(0, 0), (0, 1)]).scan()
    ahead, behind = scan.instance[0][:, 0], scan.instance[1][:, BARE.columns // 2]
    assert np.any(ahead == 0)
    assert np.any(np.isfinite(scan.range[1][:, BARE.columns // 2]) & (behind != -1))
    assert not np.any(scan.instance[1] == 0)  # it does not see itself
    with pytest.raises(InputError, match="no agent 7"):
        WorldLidar(batch, BARE, observers=[(0, 7)])


@pytest.mark.parametrize("wrong", [{"columns": 1}, {"max_range": 0.5}, {"dropout": 1.5}, {"reach": 0.0}])
def test_wrong_numbers_are_named(wrong):
    with pytest.raises(InputError, match="lidar 'spinning_64'"):
        dataclasses.replace(spinning_64(), **wrong)
    with pytest.raises(InputError, match="elevations"):
        Lidar("up", np.array([2.0], np.float32), 8, np.zeros(3, np.float32))
