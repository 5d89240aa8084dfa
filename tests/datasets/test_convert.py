import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings.damage import SMALL_RECORDINGS, WITHIN
from recordings.motion import replay_errors
from recordings.nuscenes import write_nuscenes
from typer.testing import CliRunner

from alpamayo.cli import app
from alpamayo.closed_loop import drive
from alpamayo.drivers import make_driver
from alpamayo.episode import Episode, load_episode, save_episode
from alpamayo_datasets import Recording, describe, find_log, open_log, writer_named
from alpamayo_datasets.recording import recorded_truth
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.datatypes.scenario import scenario_of_log
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.document import digest
from alpamayo_sim.io.files import new_folder
from alpamayo_sim.io.scene_file import load_scene


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    if result.exception:
        raise result.exception
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def episode() -> Episode:
    return drive(make_scenario("cut-in", 3), make_driver("idm"), guard=False)


def test_info_counts_what_the_file_has(womd: Any, write: Callable[[Any, str], Path], tmp_path: Path) -> None:
    path, picture = write(womd, "small.json"), tmp_path / "above.png"
    about = run("datasets", "info", str(path), "--picture", str(picture))
    assert (about["format"], about["scenes"]) == ("womd-json", 1)
    scene = about["scene"]
    assert (scene["rate_hz"], scene["steps"], scene["duration_s"]) == (10.0, 21, 2.0)
    assert scene["tracks"] == {"pedestrian": 1, "vehicle": 1}
    assert scene["map"]["driving lanes"] == 2
    assert scene["ego"] | {"size_m": None} == {
        "id": "9",
        "valid_steps": 21,
        "distance_m": 12.0,
        "top_speed_mps": 6.0,
        "size_m": None,
    }
    assert "3 of 3 lanes have no speed limit" in scene["notes"]
    assert "Waymo" in scene["licence"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_info_says_what_is_odd(scenarionet: Any, write: Callable[[Any, str], Path]) -> None:
    scenarionet["tracks"]["8"]["state"]["position"][5] += 50.0
    about = describe(find_log(write(scenarionet, "small.pkl")))
    assert any("jump by more than 3 m: '8'" in note for note in about["scene"]["notes"])
    assert about["format"] == "scenarionet"


def test_info_of_many_scenes_shows_one(tmp_path: Path) -> None:
    root = write_nuscenes(tmp_path)
    about = describe(find_log(root))
    assert (about["scenes"], about["scene_ids"], about["scene"]["id"]) == (
        2,
        ["scene-0061", "scene-0103"],
        "scene-0061",
    )
    assert describe(find_log(f"{root}#scene-0103"))["scene"]["id"] == "scene-0103"
    with pytest.raises(InputError, match="has no scene 'scene-9'"):
        describe(find_log(f"{root}#scene-9"))


@pytest.mark.parametrize("name", SMALL_RECORDINGS)
def test_every_format_is_described(name: str, tmp_path: Path) -> None:
    folder = SMALL_RECORDINGS[name](tmp_path)
    about = describe(find_log(f"{folder}{WITHIN.get(folder.name, '')}"))
    assert about["scene"]["tracks"]
    assert about["scene"]["licence"]
    json.dumps(about, allow_nan=False)


def test_convert_writes_all_scenes_without_loss(tmp_path: Path) -> None:
    root, out = write_nuscenes(tmp_path), tmp_path / "out"
    row = run("datasets", "convert", str(root), str(out), "--to", "scene")
    assert row == {"format": "scene", "scenes": 2, "out": str(out)}
    for name in ("scene-0061", "scene-0103"):
        assert digest(load_scene(out / name)) == digest(open_log(f"{root}#{name}"))


def test_convert_writes_nothing_where_it_fails(tmp_path: Path, episode: Episode) -> None:
    recording = Recording(episode.scenario.scene)
    with pytest.raises(InputError, match="two scenes would be written as"):
        writer_named("scene").write([recording, recording], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="exists already"):
        writer_named("scene").write([recording], tmp_path / "full")
    with pytest.raises(InputError, match="unknown format to write 'scenes'; did you mean scene"):
        writer_named("scenes")


def _half(folder: Path) -> None:
    with new_folder(folder) as partial:
        (partial / "file").write_text("half")
        raise RuntimeError


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        _half(tmp_path / "a" / "b")
    assert list((tmp_path / "a").iterdir()) == []
    with pytest.raises(InputError, match="cannot write"), new_folder(Path("/proc/none")):
        pass


def test_a_finished_run_replays_as_a_recording(episode: Episode, tmp_path: Path) -> None:
    save_episode(episode, tmp_path / "run")
    scene = open_log(tmp_path / "run")
    assert digest(scene) == digest(open_log(tmp_path / "run" / "episode.json"))
    assert scene.steps == episode.steps + 1
    np.testing.assert_array_equal(scene.ego.position[:, :2], episode.ego_pose[:, :2])
    for k, name in enumerate(episode.agent_ids):
        track = next((track for track in scene.tracks if track.id == name), None)
        if track is not None:
            valid = episode.agent_valid[:, k]
            np.testing.assert_array_equal(track.position[valid, :2], episode.agent_pose[valid, k, :2])
    assert scene.provenance.source.startswith("a drive by idm in ")
    metres, radians = replay_errors(scene)
    assert metres < 1e-3
    assert radians < 1e-3


def test_a_run_without_its_road_users_is_refused(episode: Episode, tmp_path: Path) -> None:
    few = replace(
        episode,
        agent_ids=(),
        agent_category=episode.agent_category[:0],
        agent_size=episode.agent_size[:0],
        agent_pose=episode.agent_pose[:, :0],
        agent_velocity=episode.agent_velocity[:, :0],
        agent_valid=episode.agent_valid[:, :0],
        agent_elevation=None,
        ego_elevation=None,
    )
    save_episode(few, tmp_path / "run")
    assert load_episode(tmp_path / "run").agent_ids == ()
    with pytest.raises(InputError, match=r"episode\.json: has no states of road user"):
        open_log(tmp_path / "run")


def test_the_recorded_truth_is_that_of_a_replay(womd: Any, write: Callable[[Any, str], Path]) -> None:
    scene: Scene = open_log(write(womd, "small.json"))
    world = WorldBatch([scenario_of_log(scene)])
    for _ in range(7):
        world.step(np.zeros((1, 2), np.float32), replay_ego=np.ones(1, bool))
    ours, theirs = recorded_truth(scene, 7), world[0].ground_truth()
    assert ours.agents.ids == theirs.agents.ids
    np.testing.assert_array_equal(ours.agents.category, theirs.agents.category)
    np.testing.assert_allclose(ours.ego_pose, theirs.ego_pose, atol=1e-4)
    np.testing.assert_allclose(ours.agents.pose, theirs.agents.pose, atol=1e-4)
    np.testing.assert_array_equal(ours.signals, theirs.signals)
