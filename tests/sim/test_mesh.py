"""A user's mesh in place of the drawn world, for cameras and lidar, and what is refused."""

import dataclasses
import json
import struct

import numpy as np
import pytest

from alpamayo_sim import testing
from alpamayo_sim.datatypes.lidar import spinning_32
from alpamayo_sim.datatypes.rig_presets import front_rig
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.sensors import Semantic, WorldCameras, WorldLidar
from alpamayo_sim.sensors.mesh import MAX_TRIANGLES, StaticMesh, load_mesh

o3d = pytest.importorskip("open3d")
LIDAR = dataclasses.replace(spinning_32(columns=200), range_noise=0.0, reach=1e4)
RIG = front_rig(64, 48)


def hall():
    """A floor and a red wall at x = 25 m."""
    floor = o3d.geometry.TriangleMesh.create_box(200, 200, 0.1).translate((-100, -100, -0.1))
    wall = o3d.geometry.TriangleMesh.create_box(1, 200, 30).translate((25, -100, 0))
    floor.paint_uniform_color((0.4, 0.4, 0.4))
    wall.paint_uniform_color((0.8, 0.1, 0.1))
    return floor + wall


def write_glb(path, mesh):
    """glTF is y up; the wall's colour is that of the material."""
    points, corners = np.asarray(mesh.vertices, np.float32), np.asarray(mesh.triangles, np.uint32)
    points = np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=-1)
    blob, first = corners.tobytes() + points.tobytes(), corners.nbytes
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [0.8, 0.1, 0.1, 1.0]}}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 1}, "indices": 0, "material": 0}]}],
        "buffers": [{"byteLength": len(blob)}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": first},
            {"buffer": 0, "byteOffset": first, "byteLength": points.nbytes},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5125, "count": corners.size, "type": "SCALAR"},
            {
                "bufferView": 1,
                "componentType": 5126,
                "count": len(points),
                "type": "VEC3",
                "min": points.min(axis=0).tolist(),
                "max": points.max(axis=0).tolist(),
            },
        ],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I", len(text)) + b"JSON" + text + struct.pack("<I", len(blob)) + b"BIN\0" + blob
    path.write_bytes(b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks)


@pytest.mark.parametrize("ending", ["ply", "obj", "glb"])
def test_a_file_takes_the_place_of_the_world(tmp_path, ending):
    path = tmp_path / f"hall.{ending}"
    if ending == "glb":
        write_glb(path, hall())
    else:
        assert o3d.io.write_triangle_mesh(str(path), hall())
    mesh = load_mesh(path)
    batch = WorldBatch([testing.scenario(testing.moving("car", 12.0, 0.0, speed=0.0))])
    wall = np.where(LIDAR.rays[..., 0] > 0, (25.0 - LIDAR.position[0]) / np.maximum(LIDAR.rays[..., 0], 1e-9), np.inf)
    floor = np.where(LIDAR.rays[..., 2] < 0, LIDAR.position[2] / np.maximum(-LIDAR.rays[..., 2], 1e-9), np.inf)
    expected = np.minimum(wall, floor)
    for backend in ("warp", "open3d"):
        scan = WorldLidar(batch, LIDAR, mesh=mesh, backend=backend).scan()
        seen = (scan.instance[0] == -1) & np.isfinite(scan.range[0])
        assert np.allclose(scan.range[0][seen], expected[seen], atol=2e-3)
        assert np.any(scan.instance[0] == 0)
    images = WorldCameras(batch, RIG, mesh=mesh).render()
    assert np.any(images.instance == 0)
    shown = images.semantic[0, 0] == Semantic.OTHER
    rays = RIG.cameras[0].rays
    wall = (25.0 - RIG.cameras[0].position[0]) / rays[..., 0]
    up = shown & (rays[..., 2] > 0.05)
    assert up.sum() > 200
    assert np.allclose(images.depth[0, 0][up], wall[up], atol=2e-3)
    red, green, _ = images.rgb[0, 0][up].mean(axis=0)
    if ending != "obj":
        assert red > 3.0 * green


def test_a_mesh_replaces_props():
    triangle = StaticMesh(
        np.array([[90, -1, 0], [90, 1, 0], [90, 0, 2]], np.float32),
        np.array([[0, 1, 2]], np.int32),
        np.ones((1, 3), np.float32),
    )
    images = WorldCameras(WorldBatch([testing.scenario()]), RIG, mesh=triangle).render()
    assert np.isinf(images.depth).mean() > 0.99


def broken_glb():
    text = json.dumps({"asset": {"version": "2.0"}, "accessors": [{"count": 10**12}]}).encode()
    return b"glTF" + struct.pack("<III", 2, 20 + len(text), len(text)) + b"JSON" + text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.ply", b"", "has 0 bytes"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 999999999999\nend_header\n", "promises 999999999999"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n", "no triangles"),
        ("a.ply", b"nonsense", "no triangles"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\n", "no triangles"),
        ("a.glb", b"glTF" + b"\0" * 40, "is not glTF"),
        ("a.glb", broken_glb(), "promises 1000000000000"),
        ("a.gltf", b"{", "is not glTF"),
        ("a.fbx", b"x", "ending must be one of"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_mesh(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_wrong_arrays_are_named(tmp_path, no_shape_checks):
    with pytest.raises(InputError, match="no such file"):
        load_mesh(tmp_path / "none.ply")
    points, grey = np.zeros((3, 3), np.float32), np.ones((1, 3), np.float32)
    corners = np.array([[0, 1, 2]], np.int32)
    for wrong, message in (
        ({"triangles": corners + 1}, "not there"),
        ({"points": points * np.float32(np.nan)}, "not finite"),
        ({"colours": np.ones((2, 3), np.float32)}, "colour for each"),
        ({"triangles": np.zeros((0, 3), np.int32)}, "no triangles"),
    ):
        with pytest.raises(InputError, match=message):
            StaticMesh(**{"points": points, "triangles": corners, "colours": grey, **wrong})
    assert MAX_TRIANGLES > 1_000_000
