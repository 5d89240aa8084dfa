"""The loop: what is recorded is what happened, the same seed gives the same bytes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alpamayo.closed_loop import drive
from alpamayo.drivers import make_driver
from alpamayo.episode import Episode, load_episode, save_episode
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.driver import Decision, Needs, Observation
from alpamayo_sim.errors import InputError
from alpamayo_sim.scenario import scenario_of_log
from alpamayo_sim.scene import Scene


class Standing:
    """Never moves, and remembers what it was given."""

    name = "standing"

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        self.seen: list[Observation] = []

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        self.seen = []

    def act(self, observation: Observation) -> Decision:
        self.seen.append(observation)
        return Decision(plans=np.zeros((2, 64, 4), np.float32), weights=np.ones(2, np.float32), chosen=1)


@pytest.fixture(scope="module")
def episode() -> Episode:
    return drive(make_scenario("cut-in", 3), make_driver("idm"), guard=False)


def test_same_seed_same_bytes(episode: Episode, tmp_path: Path) -> None:
    again = drive(make_scenario("cut-in", 3), make_driver("idm"), guard=False)
    for name, record in (("a", episode), ("b", again)):
        save_episode(replace(record, timings={}), tmp_path / name)
    for file in ("episode.json", "episode.npz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_record_survives_the_disk(episode: Episode, tmp_path: Path) -> None:
    save_episode(episode, tmp_path)
    read = load_episode(tmp_path)
    np.testing.assert_array_equal(read.ego_pose, episode.ego_pose)
    np.testing.assert_array_equal(read.executed, episode.executed)
    assert read.scenario.parameters == episode.scenario.parameters
    assert read.steps == episode.steps


def test_states_are_one_more_than_decisions(episode: Episode) -> None:
    assert len(episode.ego_pose) == len(episode.plans) + 1 == episode.steps + 1
    assert episode.steps <= episode.scenario.steps


def test_driver_gets_what_it_asks_for_and_no_more() -> None:
    scenario = make_scenario("debris", 0)
    blind = Standing(Needs())
    drive(scenario, blind, guard=False)
    assert all(o.cameras is None and o.truth is None for o in blind.seen)
    assert blind.seen[0].history.shape == (16, 4)
    np.testing.assert_allclose(blind.seen[0].history[-1, :3], 0.0, atol=1e-6)
    told = Standing(Needs(truth=True))
    drive(scenario, told, guard=False)
    assert all(o.truth is not None for o in told.seen)


def test_a_standing_driver_stands() -> None:
    record = drive(make_scenario("debris", 0), Standing(Needs()), guard=False)
    assert not record.arrived
    assert record.ego_speed[-1] == 0.0
    assert np.all(record.ego_speed >= 0.0)


def test_scene_without_route_is_refused(episode: Episode) -> None:
    with pytest.raises(InputError, match="no route"):
        scenario_of_log(replace(episode.scenario.scene, route=None))


def test_episode_of_another_version_is_refused(episode: Episode, tmp_path: Path) -> None:
    save_episode(episode, tmp_path)
    path = tmp_path / "episode.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 99', 1))
    with pytest.raises(InputError, match=r"version 99.*reads version 1"):
        load_episode(tmp_path)
