"""Flow, lenses, weather and imperfections of the cameras against closed forms; the same pixels in any batch."""

import dataclasses
import functools
import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from alpamayo_sim import testing
from alpamayo_sim.datatypes.lidar import spinning_32
from alpamayo_sim.datatypes.rig import Imaging, Rig, default_rig
from alpamayo_sim.datatypes.rig_presets import front_rig, physical_ai_av_rig
from alpamayo_sim.datatypes.scene import Category, Environment
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import from_frame, to_frame
from alpamayo_sim.sensors import CameraRenderer, FrameBuffer, Semantic, WorldCameras, WorldLidar
from alpamayo_sim.sensors.kernels import camera as camera_kernel
from alpamayo_sim.sensors.kernels import flow as flow_kernel
from alpamayo_sim.sensors.kernels import lidar as lidar_kernel
from alpamayo_sim.sensors.kernels import parts as part_kernel
from alpamayo_sim.sensors.light import light_of
from alpamayo_sim.warp_runtime import wp

street = functools.cache(testing.street)  # its ground is drawn once
POSE = np.array([3.0, -1.75, 0.2], np.float32)
FRONT = front_rig(96, 64)


def with_imaging(rig, **imaging):
    return Rig(rig.cameras, Imaging(**imaging))


def render(made, rig=FRONT, step=0, pose=POSE, **arguments):
    return CameraRenderer(made, rig, seed=3).render(pose, testing.agents_at(made), step=step, **arguments)


def moved(agents, velocity, seconds):
    pose = agents.pose.copy()
    pose[:, :2] += seconds * velocity
    return dataclasses.replace(agents, pose=pose)


@pytest.mark.parametrize("rig", [FRONT, physical_ai_av_rig(64, 36)], ids=["pinhole", "f-theta"])
def test_flow_is_how_far_projected_points_move(rig):
    made = street()
    before, after = testing.agents_at(made, 0), testing.agents_at(made, 1)
    later = POSE + np.array([1.1, 0.2, 0.03], np.float32)
    renderer = CameraRenderer(made, rig)
    images = renderer.render(POSE, before)
    flow = renderer.flow(later, after)
    checked = 0
    for c, camera in enumerate(rig.cameras):
        v, u = np.nonzero(np.isfinite(images.depth[c]))
        point = camera.position + images.depth[c][v, u][:, None] * camera.rays[v, u]
        points = np.column_stack([from_frame(point[:, :2], POSE), point[:, 2]]).astype(np.float64)
        owner = images.instance[c][v, u]
        for k in np.unique(owner[owner >= 0]):
            mine = owner == k
            local = to_frame(points[mine, :2], before.pose[k].astype(np.float64))
            points[mine, :2] = from_frame(local, after.pose[k].astype(np.float64))
        now = np.column_stack([to_frame(points[:, :2], later.astype(np.float64)), points[:, 2]])
        pixels, inside = camera.project(now)
        assert np.array_equal(flow.valid[c][v, u], inside) or np.mean(flow.valid[c][v, u] != inside) < 1e-3
        good = inside & flow.valid[c][v, u]
        expected = pixels - np.column_stack([u, v]) - 0.5
        assert np.allclose(flow.pixels[c][v, u][good], expected[good], atol=0.02)
        checked += good.sum()
    assert checked > 3000
    assert np.all(flow.pixels[~flow.valid] == 0.0)


def test_flow_at_standstill_is_zero():
    made = street()
    renderer = CameraRenderer(made, FRONT)
    with pytest.raises(InputError, match="render the earlier"):
        renderer.flow(POSE, testing.agents_at(made))
    renderer.render(POSE, testing.agents_at(made))
    flow = renderer.flow(POSE, testing.agents_at(made))
    assert flow.valid.all()
    assert np.abs(flow.pixels).max() < 1e-3


def test_fog_lowers_contrast_by_koschmieders_law():
    visibility = 120.0
    fog = Environment(visibility=visibility, sun_elevation=0.9)
    places = (15.0, 40.0, 70.0)
    boxes = [
        testing.prop(f"b{k}", x, 0.0, category=Category.BARRIER, size=(0.3, 0.3 * x, 4.0)) for k, x in enumerate(places)
    ]
    contrast = []
    for box in boxes:
        made = testing.scene(
            props=[dataclasses.replace(box, category=Category.UNKNOWN)], environment=fog, road_map=testing.marked_road()
        )
        images = render(made, pose=np.zeros(3, np.float32))
        shown = (images.instance[0] == 0) & (np.abs(FRONT.cameras[0].rays[..., 2]) < 0.02)
        horizon = np.array(light_of(fog).horizon)
        contrast.append((images.rgb[0][shown] / 255.0 - horizon).mean(axis=0))
    for k in (1, 2):
        ratio = np.array(contrast[k]) / np.array(contrast[0])
        assert np.allclose(ratio, np.exp(-3.0 * (places[k] - places[0]) / visibility), rtol=0.06)


def test_exposure_scales_light():
    made = street()
    plain, bright = render(made).rgb.astype(float), render(made, with_imaging(FRONT, exposure=0.5)).rgb.astype(float)
    low = (plain.max(axis=-1) < 200) & (plain.min(axis=-1) > 40)
    assert np.allclose(bright[low] / plain[low], 2.0 ** (0.5 / 2.2), rtol=0.03)


def test_noise_has_its_spread_and_changes():
    made = street()
    rig = with_imaging(FRONT, noise=0.04)
    plain, noisy, next_one = render(made).rgb.astype(float), render(made, rig).rgb, render(made, rig, step=1).rgb
    grey = (plain.min(axis=-1) > 60) & (plain.max(axis=-1) < 190)
    error = ((noisy - plain)[grey] / 255.0) / (0.04 * np.sqrt(0.1 + plain[grey].mean(axis=-1, keepdims=True) / 255.0))
    assert abs(error.std() - 1.0) < 0.03
    assert abs(error.mean()) < 0.03
    assert not np.array_equal(noisy, next_one)


def test_dirt_stays_on_the_lens_and_covers_its_share():
    made, clean = street(), render(street())
    shares = []
    for dirt in (0.1, 0.3, 0.6):
        one, other = (render(made, with_imaging(FRONT, dirt=dirt), step=step) for step in (0, 7))
        assert np.array_equal(one.rgb, other.rgb)
        assert np.array_equal(one.depth, clean.depth)
        shares.append(np.mean(np.any(one.rgb != clean.rgb, axis=-1)))
    assert shares[0] < shares[1] < shares[2]
    assert 0.02 < shares[0] < 0.4


def test_rain_falls():
    dry, wet = street(), street(Environment(rain=20.0))
    one, same, other = render(wet), render(wet), render(wet, step=1)
    assert np.array_equal(one.rgb, same.rgb)
    changed = np.any(one.rgb != other.rgb, axis=-1)
    assert 0.01 < changed.mean() < 0.5
    assert np.array_equal(one.depth, render(dry).depth)


def test_night_needs_headlights():
    night = render(street(Environment(sun_elevation=-0.4)), pose=np.array([0, -1.75, 0], np.float32))
    road = night.semantic[0] == Semantic.ROAD
    near, far = road & (night.depth[0] < 15.0), road & (night.depth[0] > 60.0)
    assert night.rgb[0][near].mean() > 2.0 * night.rgb[0][far].mean()


def test_shadows_point_away_from_the_sun():
    box = [testing.prop("box", 12.0, -1.75, category=Category.DEBRIS, size=(1.5, 1.5, 2.0))]
    pictures = {}
    for side, azimuth in (("left", -np.pi / 2), ("right", np.pi / 2)):  # the shadow falls on the other side
        made = testing.scene(
            props=box, environment=Environment(sun_elevation=0.5, sun_azimuth=azimuth), road_map=testing.marked_road()
        )
        images = CameraRenderer(made, FRONT).render(np.array([0, -1.75, 0], np.float32), testing.agents_at(made))
        lit = images.rgb[0].astype(int).sum(axis=-1)
        ground = (images.semantic[0] == Semantic.ROAD) & (images.depth[0] > 11.0) & (images.depth[0] < 13.5)
        pictures[side] = [lit[:, half][ground[:, half]].mean() for half in (slice(0, 48), slice(48, 96))]
    assert pictures["left"][0] < pictures["left"][1]
    assert pictures["right"][1] < pictures["right"][0]


def test_a_row_of_a_rolling_shutter_is_that_rows_moment():
    made = street()
    speed, turn, readout = 14.0, 0.4, 0.06
    agents = testing.agents_at(made)
    rolled = render(made, with_imaging(FRONT, readout=readout), motion=(speed, turn))
    assert not np.array_equal(rolled.depth, render(made).depth)
    height = FRONT.image_size[0]
    for row in (4, 30, 40, 60):
        lag = ((row + 0.5) / height - 0.5) * readout
        forward = speed * lag * np.array([np.cos(POSE[2]), np.sin(POSE[2])])
        pose = (POSE + np.array([*forward, turn * lag])).astype(np.float32)
        still = CameraRenderer(made, FRONT).render(pose, moved(agents, agents.velocity, lag))
        one, other = rolled.depth[0, row], still.depth[0, row]
        assert np.mean(rolled.instance[0, row] == still.instance[0, row]) > 0.97
        both = np.isfinite(one) & np.isfinite(other) & (rolled.instance[0, row] == still.instance[0, row])
        assert np.allclose(one[both], other[both], rtol=2e-3)


def test_frames_are_dropped_and_late():
    rig = with_imaging(default_rig(16, 8), dropped=0.2, late=0.3)
    buffers = [FrameBuffer(rig, frames=2, seed=seed) for seed in (4, 4, 5)]
    ages, other = [], []
    for k in range(300):
        for buffer in buffers:
            buffer.push(np.full((4, 8, 16, 3), k % 256, np.uint8))
        first, second, third = (buffer.frames() for buffer in buffers)
        assert np.array_equal(first.rgb, second.rgb)
        taken = np.round(first.times / 0.1).astype(int) + k
        assert np.array_equal(first.rgb[:, :, 0, 0, 0], np.maximum(taken, 0) % 256)
        ages.append(np.round(-first.times[:, -1] / 0.1))
        other.append(np.round(-third.times[:, -1] / 0.1))
    fresh = np.mean(np.array(ages)[1:] == 0)
    assert abs(fresh - 0.5) < 0.05
    assert not np.array_equal(ages, other)


def drive(seed, rain=8.0):
    rng = np.random.default_rng(seed)
    made = testing.scenario(
        *(testing.moving(f"t{k}", *rng.uniform((8, -12), (60, 12)), heading=rng.uniform(-3, 3)) for k in range(12))
    )
    wet = dataclasses.replace(made.scene, id=f"drive {seed}", environment=Environment(rain=rain))
    return dataclasses.replace(made, scene=wet)


NOISY = with_imaging(front_rig(64, 36), noise=0.03, dirt=0.1, readout=0.02)


def stepped(scenarios, seed=1, rig=NOISY):
    batch = WorldBatch(scenarios)
    cameras = WorldCameras(batch, rig, seed=seed)
    for _ in range(2):
        batch.step(np.tile(np.array([0.5, 0.01], np.float32), (len(scenarios), 1)))
    return cameras.render()


def digest(images):
    return hashlib.sha256(b"".join(getattr(images, n).tobytes() for n in ("rgb", "depth", "instance"))).hexdigest()


def test_the_batch_does_not_matter():
    drives = [drive(seed) for seed in range(3)]
    alone = [stepped([each]) for each in drives]
    together = stepped(drives[::-1])
    for k in range(3):
        for name in ("rgb", "depth", "semantic", "instance"):
            assert getattr(together, name)[2 - k].tobytes() == getattr(alone[k], name)[0].tobytes()
    assert digest(stepped(drives[:1], seed=2)) != digest(alone[0])


def test_rain_next_door_does_not_matter():
    dry, wet = drive(0, rain=0.0), drive(1)
    alone, beside = stepped([dry], rig=FRONT), stepped([wet, dry], rig=FRONT)
    for name in ("rgb", "depth", "semantic", "instance"):
        assert getattr(beside, name)[1].tobytes() == getattr(alone, name)[0].tobytes()


def test_threads_and_processes_do_not_matter():
    expected = digest(stepped([drive(0)]))
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(lambda _: digest(stepped([drive(0)])), range(4))) == {expected}
    code = "import test_camera_effects as t; print(t.digest(t.stepped([t.drive(0)])))"
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    setup = f"import sys; sys.path[:0] = {folders}; "
    done = subprocess.run([sys.executable, "-c", setup + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == expected


def test_worlds_see_what_a_renderer_sees():
    made = dataclasses.replace(drive(0), scene=dataclasses.replace(drive(0).scene, environment=Environment()))
    batch = WorldBatch([made, made])
    batch.step(np.zeros((2, 2), np.float32))
    cameras = WorldCameras(batch, FRONT)
    images, truth = cameras.render(), batch[1].ground_truth()
    single = CameraRenderer(made.scene, FRONT).render(truth.ego_pose, truth.agents, truth.signals)
    for name in ("rgb", "depth", "semantic", "instance"):
        assert np.array_equal(getattr(images, name)[1], getattr(single, name))
    batch.step(np.zeros((2, 2), np.float32))
    flow = cameras.flow()
    assert flow.pixels.shape == (2, 1, 64, 96, 2)
    assert np.abs(flow.pixels).max() > 1.0
    shared = cameras.device_arrays["depth"]
    assert shared.shape == (2, 64, 96)


def test_a_rolling_shutter_knows_the_egos_motion():
    made = drive(0, rain=0.0)
    batch, rig = WorldBatch([made]), with_imaging(FRONT, readout=0.05)
    for _ in range(3):
        batch.step(np.array([[1.0, 0.02]], np.float32))
    truth, rate = batch[0].ground_truth(), float(batch.egos.curvature[0, 0])
    assert rate > 0.0
    images, single = WorldCameras(batch, rig).render(), CameraRenderer(made.scene, rig).draw(truth, rate)
    assert np.array_equal(images.instance[0], single.instance)
    assert np.allclose(images.depth[0], single.depth, rtol=1e-4)
    assert not np.array_equal(single.depth, CameraRenderer(made.scene, FRONT).draw(truth).depth)


def test_images_reach_torch_without_a_copy():
    torch = pytest.importorskip("torch")
    cameras = WorldCameras(WorldBatch([drive(0)]), FRONT)
    rgb = wp.to_torch(cameras.device_arrays["rgb"])
    cameras.launch()
    first = rgb.clone()
    assert rgb.shape == (1, 64, 96, 3)
    assert rgb.dtype == torch.uint8
    assert rgb.any()
    cameras.batch.step(np.zeros((1, 2), np.float32))
    cameras.launch()
    assert not torch.equal(rgb, first)


def test_a_captured_graph_draws_what_a_launch_draws():
    batch = WorldBatch([drive(0, rain=0.0)])
    cameras, lidar = WorldCameras(batch, FRONT), WorldLidar(batch, spinning_32(columns=200))
    first = cameras.render().rgb, lidar.scan().range
    with wp.ScopedCapture(device=batch.device) as capture:
        cameras.launch()
        lidar.launch()
    batch.step(np.zeros((1, 2), np.float32))
    wp.capture_launch(capture.graph)
    drawn = cameras.device_arrays["rgb"].numpy().copy(), lidar.device_arrays["range"].numpy().copy()
    expected = cameras.render().rgb[0], lidar.scan().range
    for got, right, before in zip(drawn, expected, first, strict=True):
        assert np.array_equal(got, right)
        assert not np.array_equal(right, before.reshape(right.shape))


def test_track_is_seen_where_it_is():
    made = testing.scene(testing.standing("lead", 20.0, -1.75), road_map=testing.marked_road())
    images = render(made, physical_ai_av_rig(96, 54), pose=np.array([0, -1.75, 0], np.float32))
    assert [c for c in range(7) if np.any(images.instance[c] == 0)] == [1, 6]


@pytest.mark.parametrize("kernel", ["sort_parts", "scan", "forward_flow", "see_full", "shade_full"])
def test_kernels_compile_for_a_gpu(kernel, tmp_path):
    """Without a GPU: the code of CUDA's side is made by NVRTC."""
    home = {"sort_parts": part_kernel, "scan": lidar_kernel, "forward_flow": flow_kernel}.get(kernel, camera_kernel)
    files = wp.compile_aot_module(getattr(home, kernel).module, arch=90, module_dir=tmp_path)
    assert files
    assert any(path.suffix in (".cubin", ".ptx") and path.stat().st_size > 1000 for path in tmp_path.iterdir())
