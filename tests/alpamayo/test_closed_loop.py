"""The closed loop: complete records, the same bytes for the same seed."""

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import make_driver
from alpamayo.episode import EPISODE_VERSION, Episode, load_episode, save_episode
from alpamayo.guard.config import GuardConfig
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim import testing
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Needs
from alpamayo_sim.datatypes.observation import Agents, Observation
from alpamayo_sim.datatypes.scenario import scenario_of_log
from alpamayo_sim.datatypes.scene import Category, Scene
from alpamayo_sim.errors import DriverError, InputError


class Stopped:
    """A driver that never moves and keeps its observations."""

    name = "stopped"

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        self.observations: list[Observation] = []

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        self.observations = []

    def act(self, observation: Observation) -> Decision:
        self.observations.append(observation)
        return Decision(plans=np.zeros((2, 64, 4), np.float32), weights=np.ones(2, np.float32), chosen=1)


@pytest.fixture(scope="module")
def episode() -> Episode:
    return drive(make_scenario("cut-in", 3), make_driver("idm"), guard=False)


def test_the_same_seed_gives_the_same_bytes(episode: Episode, tmp_path: Path) -> None:
    again = drive(make_scenario("cut-in", 3), make_driver("idm"), guard=False)
    for name, record in (("a", episode), ("b", again)):
        save_episode(replace(record, timings={}), tmp_path / name)
    for file in ("episode.json", "episode.npz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_record_is_the_same_after_saving_and_loading(episode: Episode, tmp_path: Path) -> None:
    save_episode(episode, tmp_path)
    read = load_episode(tmp_path)
    np.testing.assert_array_equal(read.ego_pose, episode.ego_pose)
    np.testing.assert_array_equal(read.executed, episode.executed)
    assert read.scenario.parameters == episode.scenario.parameters
    assert read.steps == episode.steps


def test_the_thresholds_of_the_guard_are_recorded(episode: Episode, tmp_path: Path) -> None:
    assert episode.guard_config is None
    made = make_scenario("cut-in", 3)
    guarded = drive(replace(made, goal=replace(made.goal, duration=0.5)), make_driver("idm"), guard=True)
    assert guarded.guard_config == GuardConfig().record()
    assert guarded.guard_config["braking_levels_mps2"] == (2.0, 4.0, 6.0, 8.0)
    save_episode(guarded, tmp_path)
    assert load_episode(tmp_path).guard_config == guarded.guard_config


class Believer(Stopped):
    """Drives straight on at its speed, and believes in one standing car, or in nothing."""

    name = "believer"

    def __init__(self, distance: float | None) -> None:
        super().__init__(Needs())
        self.distance = distance

    def act(self, observation: Observation) -> Decision:
        plan = np.zeros((1, 64, 4), np.float32)
        plan[0, :, 0], plan[0, :, 3] = observation.speed * 0.1 * np.arange(1, 65), observation.speed
        n = 0 if self.distance is None else 1
        believed = Agents(
            ids=("1",) * n,
            category=np.full(n, Category.VEHICLE, np.int8),
            pose=np.array([[self.distance, 0.0, 0.0]] * n, np.float32).reshape(n, 3),
            velocity=np.zeros((n, 2), np.float32),
            size=np.array([[4.6, 1.9, 1.5]] * n, np.float32).reshape(n, 3),
            valid=np.ones(n, bool),
        )
        return Decision(plan, np.ones(1, np.float32), believed=believed)


def test_a_guard_on_belief_brakes_for_what_the_driver_believes_and_for_nothing_else() -> None:
    lane = float(testing.one_way_road().lanes[0].centreline[0, 1])
    made = testing.scenario(testing.standing("wall", 20.0, lane), goal=60.0, duration=1.0)
    believing = GuardConfig(on_belief=True)
    truth = drive(made, Believer(None), guard=True)
    assert truth.intervened.any()
    assert not truth.guard_on_belief
    blind = drive(made, Believer(None), guard=believing)
    assert not blind.intervened.any()
    assert blind.guard_on_belief
    ghost = drive(made, Believer(15.0), guard=believing)
    assert ghost.intervened[0]
    with pytest.raises(DriverError, match="tells the road users it believes in"):
        drive(made, Stopped(Needs()), guard=believing)


def test_states_are_one_more_than_decisions(episode: Episode) -> None:
    assert len(episode.ego_pose) == len(episode.plans) + 1 == episode.steps + 1
    assert episode.steps <= episode.scenario.steps


def test_a_driver_gets_exactly_the_inputs_that_it_needs() -> None:
    scenario = make_scenario("debris", 0)
    blind = Stopped(Needs())
    drive(scenario, blind, guard=False)
    assert all(o.cameras is None and o.truth is None for o in blind.observations)
    assert blind.observations[0].history.shape == (16, 4)
    np.testing.assert_allclose(blind.observations[0].history[-1, :3], 0.0, atol=1e-6)
    informed = Stopped(Needs(truth=True))
    drive(scenario, informed, guard=False)
    assert all(o.truth is not None for o in informed.observations)


def test_a_stopped_driver_stays_stopped() -> None:
    record = drive(make_scenario("debris", 0), Stopped(Needs()), guard=False)
    assert not record.arrived
    assert record.ego_speed[-1] == 0.0
    assert np.all(record.ego_speed >= 0.0)


def test_scene_without_route_is_refused(episode: Episode) -> None:
    with pytest.raises(InputError, match="no route"):
        scenario_of_log(replace(episode.scenario.scene, route=None))


def test_episode_of_another_version_is_refused(episode: Episode, tmp_path: Path) -> None:
    save_episode(episode, tmp_path)
    path = tmp_path / "episode.json"
    path.write_text(path.read_text().replace(f'"version": {EPISODE_VERSION}', '"version": 99', 1))
    with pytest.raises(InputError, match=rf"version 99.*reads version {EPISODE_VERSION}"):
        load_episode(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ego_pose": np.zeros((3, 3), np.float32)}, "not a valid Episode"),
        ({"ego_speed": np.zeros(5, np.int64)}, "expected Float32"),
        ({"chosen": np.full(1, 100, np.int8)}, "chosen"),
        ({"agent_pose": np.full((1, 1, 3), np.nan, np.float32)}, "non-finite"),
    ],
)
def test_inconsistent_records_are_refused(
    episode: Episode, tmp_path: Path, change: dict[str, np.ndarray], words: str
) -> None:
    (name, bad), *_ = change.items()
    if name in ("chosen", "agent_pose"):
        bad = np.broadcast_to(bad.ravel()[:1], getattr(episode, name).shape).copy()
    fields = {f.name: getattr(episode, f.name) for f in dataclasses.fields(episode)} | {name: bad}
    invalid = object.__new__(Episode)
    for key, value in fields.items():
        object.__setattr__(invalid, key, value)
    save_episode(invalid, tmp_path)
    with pytest.raises(InputError, match=words):
        load_episode(tmp_path)


def test_pickles_in_a_record_are_not_opened(episode: Episode, tmp_path: Path) -> None:
    save_episode(episode, tmp_path)
    np.savez(tmp_path / "episode.npz", a0=np.array([print], object))
    with pytest.raises(InputError, match=r"episode\.npz"):
        load_episode(tmp_path)
