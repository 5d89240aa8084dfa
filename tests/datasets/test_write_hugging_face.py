"""The Hugging Face folder: its tables, its card, and ``datasets`` itself where it is installed."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
from recordings.first_steps import first_steps

from alpamayo_datasets import DrawnSensors, Recording, writer_named
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.datatypes.lidar import Lidar
from alpamayo_sim.datatypes.rig_presets import nuscenes_rig
from alpamayo_sim.datatypes.scene import Provenance, Scene
from alpamayo_sim.errors import InputError

STEPS = 3
RINGS = np.deg2rad(np.array([-5.0, -10.0])).astype(np.float32)
SENSORS = DrawnSensors(nuscenes_rig(32, 18), Lidar("small", RINGS, 16, np.array([0.0, 0.0, 1.8], np.float32)))
TABLES = {"scenes", "tracks", "map", "signals", "decisions", "frames"}


@pytest.fixture(scope="module")
def scene() -> Scene:
    return first_steps(make_scenario("red-light-runner", 3).scene, STEPS)


@pytest.fixture(scope="module")
def folder(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hub") / "out"
    second = replace(scene, id="second", provenance=Provenance("a | b", "CC BY 4.0"))
    plans = np.zeros((STEPS - 1, 64, 4), np.float32)
    plans[..., 0] = np.arange(1, 65)
    recordings = [Recording(scene, SENSORS, ("Stop at the line.", ""), plans), Recording(second, SENSORS)]
    writer_named("hugging-face").write(recordings, out)
    return out


def test_the_tables_hold_the_scenes(scene: Scene, folder: Path) -> None:
    tables = {path.stem: pq.read_table(path).to_pylist() for path in (folder / "data").iterdir()}
    assert set(tables) == TABLES
    assert [row["scene"] for row in tables["scenes"]] == [scene.id, "second"]
    assert [row["licence"] for row in tables["scenes"]] == [scene.provenance.licence, "CC BY 4.0"]
    rows = {row["track"]: row for row in tables["tracks"] if row["scene"] == scene.id}
    assert set(rows) == {*(track.id for track in scene.tracks), *(prop.id for prop in scene.props)}
    assert [name for name, row in rows.items() if row["is_ego"]] == [scene.ego_id]
    for track in scene.tracks:
        np.testing.assert_array_equal(np.float32(rows[track.id]["position_m"]), track.position)
        np.testing.assert_array_equal(np.float32(rows[track.id]["velocity_mps"]), track.velocity)
        assert rows[track.id]["valid"] == track.valid.tolist()
    lanes = {row["id"] for row in tables["map"] if row["element"] == "lane"}
    assert lanes == {f"lane/{lane.id}" for lane in scene.road_map.lanes}
    assert len(tables["signals"]) == 2 * len(scene.signals) > 0
    assert [row["reasoning"] for row in tables["decisions"]] == ["Stop at the line.", ""]
    assert np.shape(tables["decisions"][1]["plan"]) == (64, 4)
    assert len(tables["frames"]) == 2 * STEPS * len(SENSORS.rig.cameras)
    image = tables["frames"][0]["image"]
    assert PIL.Image.open(io.BytesIO(image["bytes"])).size == (32, 18)


def test_the_card_names_the_tables_and_the_licences(scene: Scene, folder: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    about = yaml.safe_load(front)
    assert {each["config_name"] for each in about["configs"]} == TABLES
    assert all((folder / each["data_files"]).is_file() for each in about["configs"])
    assert [each["config_name"] for each in about["configs"] if each.get("default")] == ["tracks"]
    assert about["size_categories"] == ["n<1K"]
    assert f"| 1 | {scene.provenance.source} | {scene.provenance.licence} |" in text
    assert "| 1 | a \\| b | CC BY 4.0 |" in text


def test_hugging_faces_own_library_opens_it(folder: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    if not hasattr(datasets, "load_dataset"):
        pytest.skip("another package is called datasets")
    frames = datasets.load_dataset(str(folder), "frames", split="train")
    assert frames[0]["image"].size == (32, 18)


def test_two_scenes_of_one_name_are_refused(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two scenes would be written as"):
        writer_named("hugging-face").write([Recording(scene, SENSORS)] * 2, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
