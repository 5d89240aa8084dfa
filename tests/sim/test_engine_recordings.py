"""The engine on real recordings: exact replay, no false contacts, and the same answers as the map index."""

from pathlib import Path

import numpy as np
import pytest

from alpamayo_datasets import open_log
from alpamayo_sim.datatypes.scenario import Scenario, scenario_of_log
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.environments import DrivingEnv
from alpamayo_sim.geometry import box_corners

LOGS = ("womd_json/tfrecord-00000-of-01000_402.json", "scenarionet/sd_nuscenes_v1.0-mini_scene-0103.pkl")


@pytest.fixture(scope="module", params=LOGS)
def recorded(request: pytest.FixtureRequest) -> Scenario:
    realdata: Path = request.getfixturevalue("realdata")
    return scenario_of_log(open_log(realdata / request.param))


def test_a_recording_is_repeated_and_arrives(recorded: Scenario) -> None:
    batch, scene = WorldBatch([recorded]), recorded.scene
    others = [track for track in scene.tracks if track.id != scene.ego_id]
    for step in range(recorded.steps + 1):
        if scene.ego.valid[step]:
            np.testing.assert_allclose(batch.egos.pose[0, 0, :2], scene.ego.position[step, :2], atol=1e-3)
        for k, track in enumerate(others):
            assert batch.valid[0, 1 + k] == track.valid[step]
            if track.valid[step]:
                np.testing.assert_allclose(batch.pose[0, 1 + k, :2], track.position[step, :2], atol=1e-3)
        if step < recorded.steps:
            batch.step(np.zeros((1, 2)), replay_ego=np.ones(1, bool))
        assert not batch.egos.collided[0, 0]
    assert batch.egos.arrived[0, 0]
    assert batch[0].first_contacts() == []


def test_the_margin_is_the_map_indexs_all_over_the_map(recorded: Scenario) -> None:
    batch = WorldBatch([recorded])
    index = batch[0].map_index
    rng = np.random.default_rng(0)
    sizes = recorded.scene.ego.size[None, :2].astype(float)
    compared = 0
    for _ in range(300):
        batch.step(np.array([[rng.uniform(-2, 4), rng.uniform(-0.1, 0.1)]]))
        corners = box_corners(batch.egos.pose[:, 0].astype(float), sizes)[0]
        margin = index.drivable_area.margin(corners).min()
        if abs(margin) < 4.0:
            assert batch.egos.drivable_margin[0, 0] == pytest.approx(margin, abs=2e-3)
            compared += 1
    assert compared > 30


def test_a_recording_as_an_environment(recorded: Scenario) -> None:
    env = DrivingEnv(lambda rng: recorded, ends_off_road=False)
    observation, _ = env.reset(seed=0)
    for _ in range(20):
        assert observation in env.observation_space
        observation, *_ = env.step(np.zeros(2, np.float32))
    assert (observation[92 + 441 :].reshape(200, 7)[:, 2:4] != 0.0).any(axis=1).all()  # 200 pieces of map are near


def test_no_agent_reacts_to_an_ego_that_follows_its_recording(recorded: Scenario) -> None:
    plain, reactive = WorldBatch([recorded]), WorldBatch([scenario_of_log(recorded.scene, reactive=True)])
    for _ in range(recorded.steps):
        for batch in (plain, reactive):
            batch.step(np.zeros((1, 2)), replay_ego=np.ones(1, bool))
        assert (plain.pose[:, 1:] == reactive.pose[:, 1:]).all()


def test_no_agent_drives_into_a_braking_ego(recorded: Scenario) -> None:
    plain, reactive = WorldBatch([recorded]), WorldBatch([scenario_of_log(recorded.scene, reactive=True)])
    for _ in range(recorded.steps):
        for batch in (plain, reactive):
            batch.step(np.array([[-3.0, 0.0]]))
    assert plain[0].first_contacts()
    assert reactive[0].first_contacts() == []
