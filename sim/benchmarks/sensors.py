"""Sensors: cameras, lidar and radar on one CPU core, and Open3D alone on the same rays in the same run.

``python sim/benchmarks/sensors.py``. Cameras: four of 128 x 224 with 64 road users around, RGB, depth, semantic and
instance. Lidar: 64 x 1800 shots into a mesh of 170,000 triangles and 64 moving cars. "Open3D alone" casts the same rays
into the same mesh without moving objects and without an echo model; "Open3D rebuilt" has the cars in one scene
with the mesh, rebuilt for every round. The limit of the cameras is the time of writing their images once.
"""

import dataclasses

import numpy as np
import open3d as o3d

from alpamayo_sim.benchmarking import cpu_seconds, report
from alpamayo_sim.datatypes.lidar import spinning_64
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.datatypes.rig_presets import physical_ai_av_rig
from alpamayo_sim.datatypes.scenario import Goal, Scenario
from alpamayo_sim.datatypes.scene import Category, Lane, Provenance, RoadMap, Route, Scene, Track
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.sensors import WorldCameras, WorldLidar
from alpamayo_sim.sensors.culling import scene_appearance
from alpamayo_sim.sensors.lidar_open3d import part_triangles
from alpamayo_sim.sensors.mesh import StaticMesh

STEPS = 60
SIZES = {
    Category.VEHICLE: (4.6, 1.85, 1.5),
    Category.TRUCK: (8.5, 2.5, 3.4),
    Category.BUS: (12.0, 2.55, 3.1),
    Category.MOTORCYCLE: (2.1, 0.8, 1.5),
    Category.CYCLIST: (1.8, 0.6, 1.75),
    Category.PEDESTRIAN: (0.5, 0.6, 1.75),
}
KINDS = [Category.VEHICLE] * 10 + [k for k in SIZES if k != Category.VEHICLE] + [Category.PEDESTRIAN]


def line(x0: float, x1: float, y: float) -> np.ndarray:
    """Return a line along x in points every 2 m."""
    x = np.linspace(x0, x1, int(abs(x1 - x0) / 2.0) + 1)
    return np.column_stack([x, np.full_like(x, y), np.zeros_like(x)]).astype(np.float32)


def track(name: str, category: Category, x: float, y: float, heading: float, speed: float) -> Track:
    """Return a road user of constant velocity."""
    way = 0.1 * speed * np.arange(STEPS)
    c, s = np.cos(heading), np.sin(heading)
    return Track(
        id=name,
        category=category,
        position=np.column_stack([x + c * way, y + s * way, 0.0 * way]).astype(np.float32),
        heading=np.full(STEPS, heading, np.float32),
        velocity=np.tile(np.array([speed * c, speed * s], np.float32), (STEPS, 1)),
        size=np.array(SIZES[category], np.float32),
        valid=np.ones(STEPS, bool),
    )


def road(users: int = 64, only_cars: bool = False) -> Scenario:
    """Return a four-lane road with road users on it from 50 m behind to 120 m ahead, none within 6 m of the ego."""
    rng = np.random.default_rng(0)
    tracks = [track("ego", Category.VEHICLE, 0.0, -1.75, 0.0, 8.0)]
    while len(tracks) <= users:
        x, y = rng.uniform(-50, 120), rng.choice([-5.25, -1.75, 1.75, 5.25])
        if np.hypot(x, y + 1.75) > 6.0:
            kind = Category.VEHICLE if only_cars else KINDS[len(tracks) % len(KINDS)]
            tracks.append(track(f"t{len(tracks)}", kind, x, y, 0.0 if y < 0 else np.pi, 8.0))
    width = np.full(201, 3.5, np.float32)
    lanes = tuple(Lane(f"lane {y}", line(-100.0, 300.0, y), width) for y in (-5.25, -1.75, 1.75, 5.25))
    route = Route(line(0.0, 300.0, -1.75))
    scene = Scene(
        "road", RoadMap(lanes=lanes), tuple(tracks), "ego", Provenance("benchmark", "Apache-2.0"), route=route
    )
    return Scenario(scene, Goal(200.0, 0.1 * STEPS))


def street_mesh(cells: int = 292) -> StaticMesh:
    """Return rolling ground of 200 x 200 m with two rows of house fronts, some 170,000 triangles."""
    x, y = np.meshgrid(np.linspace(-100, 100, cells), np.linspace(-100, 100, cells), indexing="ij")
    z = 0.15 * np.sin(0.2 * x) * np.cos(0.17 * y) + np.where(np.abs(y) > 14.0, 6.0, 0.0)
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32)
    i = np.arange(cells * cells).reshape(cells, cells)
    a, b, c, d = (part.ravel() for part in (i[:-1, :-1], i[1:, :-1], i[:-1, 1:], i[1:, 1:]))
    triangles = np.concatenate([np.stack([a, b, d], -1), np.stack([a, d, c], -1)]).astype(np.int32)
    return StaticMesh(points, triangles, np.full((len(triangles), 3), 0.5, np.float32))


def cameras() -> None:
    """Record sets of images per second."""
    scenario = road()
    one, many = WorldBatch([scenario]), WorldBatch([scenario] * 8)
    rig = default_rig(224, 128)
    eyes = {"1 world": WorldCameras(one, rig), "8 worlds": WorldCameras(many, rig)}
    works = {name: each.launch for name, each in eyes.items()} | {
        "copied to the caller": eyes["1 world"].render,
        "physical-ai-av, 7 of 216 x 384": WorldCameras(one, physical_ai_av_rig()).launch,
    }
    pixels = 4 * 128 * 224
    images = [np.zeros(pixels * size, np.uint8) for size in (3, 4, 1, 4)]
    seconds = cpu_seconds({**works, "limit": lambda: [image.fill(1) for image in images]})
    for name in works:
        sets = (8 if name == "8 worlds" else 1) / seconds[name]
        report("sensors", f"cameras 4 x 128 x 224, 64 road users, {name}", sets, "sets/s of one core")
    report("sensors", "cameras, writing the images once (the limit)", 1.0 / seconds["limit"], "sets/s of one core")


def lidars() -> None:
    """Record the processor time of one round."""
    scenario, mesh, lidar = road(only_cars=True), street_mesh(), spinning_64()
    batch = WorldBatch([scenario])
    static = o3d.t.geometry.RaycastingScene()
    shape = o3d.core.Tensor(mesh.points), o3d.core.Tensor(mesh.triangles.astype(np.uint32))
    static.add_triangles(*shape)
    rays = np.concatenate([np.broadcast_to(lidar.position, lidar.rays.shape), lidar.rays], axis=-1)
    tensor = o3d.core.Tensor(np.ascontiguousarray(rays + np.array([0, -1.75, 0, 0, 0, 0]), np.float32))
    agents = batch[0].agents()
    appearance = scene_appearance(scenario.scene, agents.ids, agents.category, agents.size)
    rows = np.flatnonzero(appearance.table.owner > 0).astype(np.int32)

    def rebuilt() -> None:
        points, triangles = part_triangles(appearance, rows, agents.pose[appearance.table.owner[rows] - 1])
        scene = o3d.t.geometry.RaycastingScene()
        scene.add_triangles(*shape)
        scene.add_triangles(o3d.core.Tensor(points), o3d.core.Tensor(triangles.astype(np.uint32)))
        scene.cast_rays(tensor, nthreads=1)

    works = {
        "Open3D alone, mesh only": lambda: static.cast_rays(tensor, nthreads=1),
        "Open3D rebuilt, mesh and cars": rebuilt,
        "ours, backend open3d": WorldLidar(batch, lidar, mesh=mesh, backend="open3d").launch,
        "ours, backend warp": WorldLidar(batch, lidar, mesh=mesh).launch,
        "ours, drawn world, backend warp": WorldLidar(batch, lidar).launch,
        "ours, drawn world, without noise": WorldLidar(batch, dataclasses.replace(lidar, range_noise=0.0)).launch,
    }
    seconds = cpu_seconds(works)
    alone = seconds["Open3D alone, mesh only"]
    for name, value in seconds.items():
        case = f"lidar 64 x 1800, {len(mesh.triangles) // 1000}k triangles, 64 cars: {name}"
        report("sensors", case, 1e3 * value, "ms of CPU")
        report("sensors", case, value / alone, "x Open3D alone")


if __name__ == "__main__":
    cameras()
    lidars()
