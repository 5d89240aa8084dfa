import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recordings.motion import STEPS, curve, placed, replay_errors
from recordings.physical_ai_av import CAMERA, CAR_ID, CLIP, SIZE_M, WALKER_ID, write_camera, write_physical_ai_av

from alpamayo_datasets import find_log, open_log, scene_ids, zip_members
from alpamayo_sim.datatypes.scene import Category, Scene
from alpamayo_sim.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_physical_ai_av(tmp_path)


@pytest.fixture
def scene(root: Path) -> Scene:
    return open_log(root)


def test_clips_are_named(root: Path) -> None:
    assert find_log(root).reader.name == "physical-ai-av"
    assert scene_ids(root) == [CLIP]
    assert open_log(f"{root}#{CLIP}").id == CLIP


def test_the_ego_is_the_centre_of_its_box_at_10_hz(scene: Scene) -> None:
    assert (scene.steps, scene.dt, scene.ego_id) == (STEPS, 0.1, "ego")
    xy, heading, velocity = curve()
    np.testing.assert_allclose(placed(scene, "ego")[:, :2], xy, atol=1e-3)
    np.testing.assert_allclose(placed(scene, "ego")[:, 2], 3.0, atol=1e-5)
    np.testing.assert_allclose(scene.ego.heading, heading, atol=1e-3)
    np.testing.assert_allclose(scene.ego.velocity[1:-1], velocity[1:-1], atol=0.01)
    np.testing.assert_allclose(scene.ego.size, SIZE_M, rtol=1e-6)


def test_boxes_are_placed_by_the_ego_at_their_own_times(scene: Scene) -> None:
    car, walker = (next(t for t in scene.tracks if t.id == name) for name in (CAR_ID, WALKER_ID))
    t = 0.1 * np.arange(STEPS)
    inside = car.valid & (t > 0.05) & (t < 1.9)
    assert inside.sum() >= 18
    np.testing.assert_allclose(placed(scene, CAR_ID)[inside, 0], (15.0 + 4.0 * t)[inside], atol=1e-3)
    np.testing.assert_allclose(placed(scene, CAR_ID)[inside, 1:], [[2.0, 3.0]] * int(inside.sum()), atol=1e-3)
    np.testing.assert_allclose(car.heading[inside], 0.0, atol=1e-3)
    np.testing.assert_allclose(car.size, [4.6, 1.9, 1.7], rtol=1e-6)
    assert (car.category, walker.category) == (Category.VEHICLE, Category.PEDESTRIAN)
    assert not walker.valid[11:].any()


def test_it_replays_without_a_map(scene: Scene) -> None:
    assert scene.road_map.lanes == ()
    metres, radians = replay_errors(scene)
    assert metres < 1e-3
    assert radians < 1e-3


def test_clips_without_obstacles_or_dimensions_have_usual_ones(root: Path) -> None:
    for file in (*root.glob("labels/obstacle.offline/*"), *root.glob("calibration/vehicle_dimensions/*")):
        file.unlink()
    scene = open_log(root)
    assert [track.id for track in scene.tracks] == ["ego"]
    np.testing.assert_allclose(scene.ego.size, [4.63, 1.97, 1.74], rtol=1e-6)


@pytest.mark.parametrize(
    ("folder", "column", "values", "words"),
    [
        ("egomotion", "x", [float("nan")] * 201, "values within"),
        ("egomotion", "qz", None, "has no column 'qz'"),
        ("egomotion", "timestamp", [0] * 201, "two poses at least"),
        ("obstacle.offline", "size_x", [0.0] * 30, "sizes from 0"),
        ("obstacle.offline", "track_id", [0.5] * 30, "must be integers"),
    ],
)
def test_what_is_wrong_is_named(root: Path, folder: str, column: str, values: list[float] | None, words: str) -> None:
    (file,) = (root / "labels" / folder).iterdir()
    table = pq.read_table(file)
    k = table.column_names.index(column)
    table = table.remove_column(k) if values is None else table.set_column(k, column, pa.array(values))
    pq.write_table(table, file)
    with pytest.raises(InputError) as caught:
        open_log(root)
    assert words in str(caught.value)


def _zip(folder: Path) -> Path:
    """Move the clip's files of a feature into a chunk, as NVIDIA publishes them."""
    chunk = folder / f"{folder.name}.chunk_0000.zip"
    with zipfile.ZipFile(chunk, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("another-clip.parquet", b"nothing")
        for member in sorted(each for each in folder.iterdir() if each != chunk):
            file.write(member, member.name)
            member.unlink()
    return chunk


def test_zipped_chunks_are_the_same_clip(root: Path, scene: Scene) -> None:
    write_camera(root)
    whole = find_log(root).cameras().cameras[0]
    picture = whole.image(15)
    for folder in ("labels/egomotion", "labels/obstacle.offline", f"camera/{CAMERA}"):
        _zip(root / folder)
    assert scene_ids(root) == [CLIP]
    back = open_log(root)
    for track, known in zip(back.tracks, scene.tracks, strict=True):
        np.testing.assert_array_equal(track.position, known.position)
    (one,) = find_log(root).cameras().cameras
    np.testing.assert_array_equal(one.times, whole.times)
    np.testing.assert_array_equal(one.image(15), picture)


def test_damaged_and_hostile_chunks_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = _zip(root / "labels" / "egomotion")
    monkeypatch.setattr(zip_members, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(InputError, match="unpacks to more than"):
        open_log(root)
    monkeypatch.undo()
    data = bytearray(chunk.read_bytes())
    data[200:260] = bytes(60)
    chunk.write_bytes(data)
    with pytest.raises(InputError, match="is damaged, encrypted or of another kind"):
        open_log(root)
    chunk.write_bytes(data[:100])
    with pytest.raises(InputError, match="is no zip file"):
        open_log(root)
