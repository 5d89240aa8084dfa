"""Cameras against OpenCV's projection, Open3D's ray cast and analytic planes."""

import dataclasses

import cv2
import numpy as np
import pytest

from alpamayo_sim import testing
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.datatypes.scene import Category, Environment, SignalState
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import to_frame
from alpamayo_sim.sensors import NO_INSTANCE, CameraRenderer, FrameBuffer, Semantic

POSE = np.array([3.0, -1.75, 0.2], np.float32)
RIG = default_rig()
WIDE = 1


def boxes(count, seed=0):
    rng = np.random.default_rng(seed)
    kinds = (Category.DEBRIS, Category.BARRIER, Category.BUILDING, Category.BUS)
    made = []
    for i in range(count):
        x, y = rng.uniform(-40, 90), rng.uniform(-30, 30)
        if np.hypot(x - POSE[0], y - POSE[1]) > 6.0:
            size = tuple(rng.uniform(0.4, 6.0, 3))
            made.append(testing.prop(f"b{i}", x, y, rng.uniform(-np.pi, np.pi), category=kinds[i % 3], size=size))
    return made


def raycast(made, pose):
    """Range by Open3D for the same boxes and a ground plane."""
    o3d = pytest.importorskip("open3d")
    caster = o3d.t.geometry.RaycastingScene()
    for p in made.props:
        length, width, height = (float(v) for v in p.size)
        mesh = o3d.geometry.TriangleMesh.create_box(length, width, height)
        mesh.translate((-0.5 * length, -0.5 * width, 0.0))
        mesh.rotate(mesh.get_rotation_matrix_from_xyz((0, 0, float(p.heading))), center=(0, 0, 0))
        mesh.translate([float(v) for v in p.position])
        caster.add_triangles(o3d.t.geometry.TriangleMesh.from_legacy(mesh))
    c, s = np.cos(pose[2]), np.sin(pose[2])
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    ranges = []
    for camera in RIG.cameras:
        directions = camera.rays.astype(np.float64) @ turn.T
        eye = np.broadcast_to(turn @ camera.position + [pose[0], pose[1], 0.0], directions.shape)
        rays = np.concatenate([eye, directions], axis=-1).astype(np.float32)
        hit = caster.cast_rays(o3d.core.Tensor(rays))["t_hit"].numpy()
        plane = np.where(directions[..., 2] < 0, -eye[..., 2] / np.minimum(directions[..., 2], -1e-9), np.inf)
        ranges.append(np.minimum(hit, plane))
    return np.stack(ranges)


def test_ground_depth_is_the_plane():
    made = testing.scene(road_map=testing.marked_road())
    depth = CameraRenderer(made, RIG).render(POSE, testing.agents_at(made)).depth
    for camera, image in zip(RIG.cameras, depth, strict=True):
        down = camera.rays[..., 2]
        near = down < -camera.position[2] / 500.0
        assert np.allclose(image[near], -camera.position[2] / down[near], rtol=1e-5)
        assert np.all(np.isinf(image[down > 0]))


def test_depth_of_boxes_is_open3ds():
    made = testing.scene(props=boxes(64), road_map=testing.marked_road())
    depth = CameraRenderer(made, RIG).render(POSE, testing.agents_at(made)).depth
    truth = raycast(made, POSE)
    near = truth < 100.0
    wrong = np.abs(depth[near] - truth[near]) > 0.01
    assert near.mean() > 0.3
    assert wrong.mean() < 2e-4  # pixels whose ray grazes an edge


def test_points_land_where_opencv_projects_them():
    places = [(6.0 + 7.0 * k, 2.0 * k - 6.0) for k in range(6)]
    sizes = [(0.5 + 0.3 * k,) * 3 for k in range(6)]
    made = testing.scene(
        props=[testing.prop(f"p{k}", *places[k], 0.0, category=Category.DEBRIS, size=sizes[k]) for k in range(6)],
        road_map=testing.marked_road(),
    )
    agents = testing.agents_at(made)
    instance = CameraRenderer(made, RIG).render(POSE, agents).instance
    found = 0
    for c, camera in enumerate(RIG.cameras):
        (fx, fy), (cx, cy) = camera.focal, camera.centre
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        for k in range(6):
            local = np.append(to_frame(agents.pose[k : k + 1, :2], POSE[None])[0], 0.5 * agents.size[k, 2])
            seen = camera.rotation.T @ (local - camera.position)
            if seen[2] < 1.0:
                continue
            pixel = cv2.projectPoints(seen[None].astype(np.float64), np.zeros(3), np.zeros(3), matrix, None)[0][0, 0]
            u, v = int(np.floor(pixel[0])), int(np.floor(pixel[1]))
            if 0 <= u < camera.width and 0 <= v < camera.height:
                found += 1
                assert instance[c, v, u] in range(k + 1)  # itself, or one that stands nearer
    assert found >= 8


def test_same_arguments_same_bytes():
    made = testing.street()
    agents, signals = testing.agents_at(made), np.array([SignalState.RED, SignalState.GREEN], np.int8)
    first = CameraRenderer(made, RIG).render(POSE, agents, signals)
    renderer = CameraRenderer(made, RIG)
    renderer.render(POSE + 5.0, testing.agents_at(made, 30), None)
    second = renderer.render(POSE, agents, signals)
    for name in ("rgb", "depth", "semantic", "instance"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def test_what_is_behind_is_not_seen():
    made = testing.scene(testing.standing("behind", -9.0, -1.75), road_map=testing.marked_road())
    images = CameraRenderer(made, RIG).render(np.array([0, -1.75, 0], np.float32), testing.agents_at(made))
    assert np.all(images.instance[[1, 3]] == NO_INSTANCE)


def test_absent_agents_are_not_drawn():
    made = testing.scene(testing.standing("lead", 20.0, -1.75), road_map=testing.marked_road())
    agents = testing.agents_at(made)
    renderer, pose = CameraRenderer(made, RIG), np.array([0, -1.75, 0], np.float32)
    assert np.any(renderer.render(pose, agents).instance == 0)
    gone = dataclasses.replace(agents, valid=np.zeros_like(agents.valid))
    assert np.all(renderer.render(pose, gone).instance == NO_INSTANCE)


def test_a_change_of_size_is_noticed():
    made = testing.scene(testing.standing("lead", 20.0, -1.75), road_map=testing.marked_road())
    agents = testing.agents_at(made)
    renderer, pose = CameraRenderer(made, RIG), np.array([0, -1.75, 0], np.float32)
    small = np.sum(renderer.render(pose, agents).instance == 0)
    large = dataclasses.replace(agents, size=2.0 * agents.size)
    assert np.sum(renderer.render(pose, large).instance == 0) > 2.5 * small


def test_a_street_shows_every_class():
    made = testing.street()
    images = CameraRenderer(made, default_rig(448, 256)).render(
        np.array([0, -1.75, 0], np.float32), testing.agents_at(made)
    )
    shown = set(np.unique(images.semantic).tolist())
    assert shown >= set(Semantic) - {Semantic.OTHER}


def test_lamp_shows_its_state():
    made = testing.street()
    renderer = CameraRenderer(made, default_rig(448, 256))
    pose, agents = np.array([0, -1.75, 0], np.float32), testing.agents_at(made)
    tele = {}
    for state in (SignalState.RED, SignalState.GREEN, SignalState.OFF):
        images = renderer.render(pose, agents, np.full(2, state, np.int8))
        lamp = images.rgb[3][images.semantic[3] == Semantic.TRAFFIC_LIGHT].astype(int)
        tele[state] = np.sum(lamp[:, 0] > 200), np.sum((lamp[:, 1] > 200) & (lamp[:, 0] < 120))
    assert tele[SignalState.RED][0] > 0
    assert tele[SignalState.RED][1] == 0
    assert tele[SignalState.GREEN][1] > 0
    assert tele[SignalState.OFF] == (0, 0)


def test_night_is_dark_and_fog_hides():
    agents, pose = testing.agents_at(testing.street()), np.array([0, -1.75, 0], np.float32)
    pictures = {
        name: CameraRenderer(testing.street(environment), RIG).render(pose, agents).rgb[WIDE].astype(float)
        for name, environment in {
            "day": Environment(),
            "night": Environment(sun_elevation=-0.3),
            "fog": Environment(visibility=40.0),
        }.items()
    }
    assert pictures["night"].mean() < 0.3 * pictures["day"].mean()
    middle = slice(56, 72)
    assert pictures["fog"][middle].std() < 0.5 * pictures["day"][middle].std()


def test_images_stay_the_callers_own():
    made = testing.street()
    renderer, agents = CameraRenderer(made, RIG), testing.agents_at(made)
    first = renderer.render(POSE, agents)
    kept = first.rgb.copy()
    renderer.render(POSE + 8.0, agents)
    assert np.array_equal(first.rgb, kept)


def test_frame_buffer_repeats_the_first_and_orders_by_age():
    buffer = FrameBuffer(RIG, frames=4)
    with pytest.raises(InputError, match="no image"):
        buffer.frames()
    image = np.zeros((4, 128, 224, 3), np.uint8)
    for k in range(6):
        buffer.push(image + k)
        got = buffer.frames()
        assert got.rgb.shape == (4, 4, 3, 128, 224)
        assert got.rgb[0, :, 0, 0, 0].tolist() == [max(k - 3 + i, 0) for i in range(4)]
    assert np.allclose(got.times[0], [-0.3, -0.2, -0.1, 0.0])


@pytest.mark.usefixtures("no_shape_checks")
def test_frame_buffer_refuses_an_image_of_another_shape():
    with pytest.raises(InputError, match="must be uint8"):
        FrameBuffer(RIG, frames=4).push(np.zeros((4, 128, 224, 2), np.uint8))
