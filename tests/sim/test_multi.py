"""Many cars of one world through PettingZoo's parallel API."""

import functools
import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from pettingzoo.test import parallel_api_test, parallel_seed_test

from alpamayo_sim import testing
from alpamayo_sim.datatypes.scenario import Scenario, with_egos
from alpamayo_sim.environments import DrivingEnv, DrivingParallelEnv
from alpamayo_sim.errors import InputError


def crowd(rng: np.random.Generator) -> Scenario:
    """Cars at random on both lanes, some at rest."""
    cars = [
        testing.moving(f"car {k}", x=14.0 * (k + 1), y=3.5 * (k % 2), speed=float(rng.choice([0.0, 6.0, 12.0])))
        for k in range(int(rng.integers(2, 7)))
    ]
    return testing.scenario(*cars, goal=40.0)


def always(made: Scenario, rng: np.random.Generator) -> Scenario:
    return made


def parallel(max_agents: int = 4, **settings: Any) -> DrivingParallelEnv:
    return DrivingParallelEnv(crowd, max_agents, agents=8, pieces=20, **settings)


def test_pettingzoo_finds_no_fault() -> None:
    """With as many cars as there may be: PettingZoo warns where some of the possible agents never come."""

    def busy(rng: np.random.Generator) -> Scenario:
        cars = [testing.moving(f"car {k}", x=14.0 * (k + 1), speed=float(rng.uniform(5, 12))) for k in range(5)]
        return testing.scenario(*cars, goal=40.0)

    env = DrivingParallelEnv(busy, 4, action="normalized", agents=8, pieces=20)
    parallel_api_test(env, num_cycles=300)
    parallel_seed_test(lambda: parallel(action="normalized"), num_cycles=50)


def test_one_agent_lives_as_in_the_single_environment() -> None:
    many = parallel(1)
    one = DrivingEnv(crowd, agents=8, pieces=20)
    observations, _ = many.reset(seed=3)
    np.testing.assert_array_equal(observations["car_0"], one.reset(seed=3)[0])
    for _ in range(20):
        action = np.array([0.3, 0.002], np.float32)
        ours, theirs = many.step({"car_0": action}), one.step(action)
        np.testing.assert_array_equal(ours[0]["car_0"], theirs[0])
        assert ours[1]["car_0"] == theirs[1]
        assert (ours[2]["car_0"], ours[3]["car_0"]) == theirs[2:4]
        if not many.agents:
            break


def test_ended_agents_brake_and_need_no_action() -> None:
    cars = [testing.moving("near", x=9.0, speed=0.0), testing.moving("far", x=60.0, speed=8.0)]
    env = DrivingParallelEnv(lambda rng: testing.scenario(*cars, goal=300.0), controlled=["far"], agents=4, pieces=4)
    _, infos = env.reset(seed=0)
    assert {agent: info["track_id"] for agent, info in infos.items()} == {"car_0": "ego", "car_1": "far"}
    still = np.zeros(2, np.float32)
    for _ in range(10):
        *_, ended, _, infos = env.step(dict.fromkeys(env.agents, still))
        if ended.get("car_0"):
            break
    assert infos["car_0"]["collided"]
    assert env.agents == ["car_1"]
    for _ in range(20):
        observations, *_, infos = env.step({"car_1": still})
    assert set(observations) == {"car_1"}
    assert infos["car_1"]["speed"] == pytest.approx(8.0, abs=1e-4)
    assert env._batch.egos.speed[0, 0] == 0.0


def test_a_scenario_names_its_own_egos_and_branches() -> None:
    made = with_egos(testing.scenario(testing.moving("a", x=20.0), testing.moving("b", x=40.0)), ["b"])
    env = DrivingParallelEnv(functools.partial(always, made), agents=4, pieces=4)
    env.reset(seed=0)
    assert env.agents == ["car_0", "car_1"]
    saved = env.snapshot()
    braking = {agent: np.array([-4.0, 0.0], np.float32) for agent in env.agents}
    onward = [env.step(braking) for _ in range(5)]
    env.restore(saved)
    assert data_equivalence([env.step(braking) for _ in range(5)], onward)
    twin = pickle.loads(pickle.dumps(env))
    assert data_equivalence(twin.step(braking), env.step(braking))


def test_misuse_is_told() -> None:
    env = parallel()
    with pytest.raises(ResetNeeded):
        env.step({})
    env.reset(seed=0)
    with pytest.raises(InputError, match="none for 'car_0'"):
        env.step({})
    bad = dict.fromkeys(env.agents, np.array([np.nan, 0.0], np.float32))
    with pytest.raises(InputError, match="action of 'car_0'"):
        env.step(bad)
    with pytest.raises(InputError, match="max_agents is 0"):
        parallel(0)
    with pytest.raises(InputError, match="'control' or 'normalized'"):
        parallel(action="trajectory")
    named = DrivingParallelEnv(crowd, 2, controlled=["car 0", "car 1"])
    with pytest.raises(InputError, match=r"moves 0\.0 m|3 egos, max_agents is 2"):
        named.reset(seed=0)
