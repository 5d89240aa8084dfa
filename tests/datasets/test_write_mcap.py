"""MCAP files, judged by the reader of ``mcap`` and by the schemas that the files carry."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings.first_steps import first_steps

from alpamayo_datasets import DrawnSensors, Recording, writer_named
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.datatypes.lidar import Lidar
from alpamayo_sim.datatypes.rig import Rig, ftheta
from alpamayo_sim.datatypes.rig_presets import nuscenes_rig
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError

pytest.importorskip("foxglove", reason="the extra mcap is not installed")
mcap_reader = pytest.importorskip("mcap.reader", reason="the extra mcap is not installed")
protobuf = pytest.importorskip("google.protobuf", reason="protobuf is not installed")

STEPS = 5
RINGS = np.deg2rad(np.linspace(5.0, -25.0, 8)).astype(np.float32)
SENSORS = DrawnSensors(nuscenes_rig(64, 36), Lidar("small", RINGS, 90, np.array([0.0, 0.0, 1.8], np.float32)))


@pytest.fixture(scope="module")
def scene() -> Scene:
    return first_steps(make_scenario("cut-in", 3).scene, STEPS)


@pytest.fixture(scope="module")
def messages(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, int, Any]]:
    """Topic, schema, time and decoded message of all messages."""
    folder = tmp_path_factory.mktemp("mcap") / "out"
    plans = np.zeros((STEPS - 1, 64, 4), np.float32)
    plans[..., 0] = np.arange(1, 65)
    words = ("Keep the distance.", "", "Yield because of a car.", "")
    writer_named("mcap").write([Recording(scene, SENSORS, words, plans)], folder)
    (path,) = folder.iterdir()
    assert path.name.endswith(".mcap")
    with path.open("rb") as file:
        reader = mcap_reader.make_reader(file, validate_crcs=True)
        found = [
            (channel.topic, schema.name, message.log_time, decoded(schema, message.data))
            for schema, channel, message in reader.iter_messages()
        ]
        about = next(iter(reader.iter_metadata())).metadata
    assert about["licence"] == scene.provenance.licence
    return found


def decoded(schema: Any, data: bytes) -> Any:
    """Return a message, decoded by the schema that the file carries."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass

    assert schema.encoding == "protobuf"
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(schema.data).file:
        pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(schema.name)).FromString(data)


def test_all_topics_are_there_at_all_steps(messages: list[Any]) -> None:
    count = Counter((topic, schema) for topic, schema, _, _ in messages)
    assert count[("/map", "foxglove.SceneUpdate")] == 1
    assert count[("/agents", "foxglove.SceneUpdate")] == STEPS
    assert count[("/tf", "foxglove.FrameTransforms")] == STEPS
    assert count[("/lidar/points", "foxglove.PointCloud")] == STEPS
    assert count[("/plan", "foxglove.SceneUpdate")] == STEPS - 1
    assert count[("/reasoning", "foxglove.Log")] == 2
    assert sum(count[(f"/camera/{c.name}/image", "foxglove.CompressedImage")] for c in SENSORS.rig.cameras) == 6 * STEPS
    assert [m.message for t, _, _, m in messages if t == "/reasoning"] == [
        "Keep the distance.",
        "Yield because of a car.",
    ]
    times = sorted({time for _, _, time, _ in messages})
    assert np.diff(times).tolist() == [100_000_000] * (STEPS - 1)


def test_boxes_are_those_of_the_scene(scene: Scene, messages: list[Any]) -> None:
    last = [message for topic, _, _, message in messages if topic == "/agents"][-1]
    boxes = {entity.id: entity.cubes[0] for entity in last.entities}
    assert set(boxes) == {"ego", *(t.id for t in scene.tracks if t is not scene.ego), *(p.id for p in scene.props)}
    for track in scene.tracks:
        box = boxes["ego" if track is scene.ego else track.id]
        place = box.pose.position
        np.testing.assert_allclose([place.x, place.y], track.position[-1, :2], atol=1e-5)
        assert place.z == pytest.approx(0.5 * track.size[2], abs=1e-5)
        np.testing.assert_allclose([box.size.x, box.size.y, box.size.z], track.size, rtol=1e-6)


def test_points_are_in_the_frame_of_the_lidar(messages: list[Any]) -> None:
    cloud = next(message for topic, _, _, message in messages if topic == "/lidar/points")
    points = np.frombuffer(cloud.data, "<f4").reshape(-1, 4)
    assert cloud.point_stride == 16
    assert len(points) > 50
    assert points[:, 2].min() == pytest.approx(-1.8, abs=0.2)  # the road


def test_images_are_jpeg_and_calibrated(messages: list[Any]) -> None:
    import cv2

    image = next(m for t, _, _, m in messages if t == "/camera/CAM_FRONT/image")
    assert cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR).shape == (36, 64, 3)
    known = next(m for t, _, _, m in messages if t == "/camera/CAM_FRONT/calibration")
    assert (known.width, known.height) == (64, 36)
    assert known.K[0] == pytest.approx(SENSORS.rig.cameras[0].focal[0])


def test_what_does_not_fit_is_refused(scene: Scene, tmp_path: Path) -> None:
    eye = Rig((ftheta("eye", (0.0, 0.0, 1.5), 0.0, 2.0, 32, 16),))
    with pytest.raises(InputError, match="pinhole cameras alone"):
        writer_named("mcap").write([Recording(scene, replace(SENSORS, rig=eye))], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
