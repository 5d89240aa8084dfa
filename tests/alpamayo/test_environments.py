"""The registered environments, used through Gymnasium."""

import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

import alpamayo.environments as environments
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.environments import DrivingEnv, DrivingVectorEnv
from alpamayo_sim.errors import InputError


def test_registering_twice_works_and_imports_no_large_package() -> None:
    environments.register_environments()
    code = """
import sys, gymnasium, alpamayo.environments
heavy = {"torch", "warp", "shapely", "cv2", "alpamayo_sim", "alpamayo_scenarios"} & set(sys.modules)
assert not heavy, heavy
assert "alpamayo/LongTail-v0" in gymnasium.registry and "alpamayo/LogReplay-v0" in gymnasium.registry
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_gymnasium_can_import_the_module_by_itself() -> None:
    code = "import gymnasium; gymnasium.make('alpamayo.environments:alpamayo/LongTail-v0').reset(seed=0)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_registered_environment_passes_gymnasiums_check() -> None:
    env = gymnasium.make(environments.LONG_TAIL, families=["debris"], action="normalized")
    assert isinstance(env.unwrapped, DrivingEnv)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    env.close()


def test_the_spec_survives_json() -> None:
    env = gymnasium.make(environments.LONG_TAIL, families=["cut-in", "debris"], reward={"progress": 1.0}, agents=5)
    assert env.spec is not None
    spec = EnvSpec.from_json(env.spec.to_json())
    assert spec == env.spec
    again = gymnasium.make(spec)
    assert data_equivalence(env.reset(seed=4), again.reset(seed=4))


def test_the_dynamics_setting_survives_json() -> None:
    wanted = {"model": "dynamic", "substeps": 3, "steering_rate": 0.5}
    env = gymnasium.make(environments.LONG_TAIL, families=["debris"], dynamics=wanted)
    assert env.spec is not None
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    plain = gymnasium.make(environments.LONG_TAIL, families=["debris"])
    for each in (env, again, plain):
        each.reset(seed=4)
    action = np.array([0.0, 0.02], np.float32)
    for _ in range(10):
        results = [each.step(action)[0] for each in (env, again, plain)]
    assert (results[0] == results[1]).all()
    assert not (results[0] == results[2]).all()
    with pytest.raises(InputError, match="dynamics has no setting 'wheels'"):
        gymnasium.make(environments.LONG_TAIL, dynamics={"wheels": 3})


def test_single_and_vector_environments_agree() -> None:
    many = gymnasium.make_vec(environments.LONG_TAIL, num_envs=2, families=["cut-in", "wrong-way"])
    assert isinstance(many.unwrapped, DrivingVectorEnv)
    assert many.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    one = gymnasium.make(environments.LONG_TAIL, families=["cut-in", "wrong-way"])
    observations, _ = many.reset(seed=7)
    observation, _ = one.reset(seed=8)
    assert (observations[1] == observation).all()
    for _ in range(30):
        results = many.step(np.tile(np.array([0.5, 0.0], np.float32), (2, 1)))
        result = one.step(np.array([0.5, 0.0], np.float32))
        assert (results[0][1] == result[0]).all()
        assert results[1][1] == result[1]
        if result[2] or results[2][1]:
            break


def test_environments_in_other_processes_agree() -> None:
    make = lambda: gymnasium.make(environments.LONG_TAIL, families=["debris"])  # noqa: E731
    apart = AsyncVectorEnv([make] * 2, context="spawn")
    native = gymnasium.make_vec(environments.LONG_TAIL, num_envs=2, families=["debris"])
    try:
        assert data_equivalence(apart.reset(seed=1), native.reset(seed=1))
        for _ in range(5):
            actions = np.full((2, 2), [1.0, 0.01], np.float32)
            ours, theirs = native.step(actions), apart.step(actions)
            assert data_equivalence(ours, theirs)
    finally:
        apart.close()


def test_unknown_names_and_empty_lists_are_errors() -> None:
    with pytest.raises(InputError, match="cut-in"):
        gymnasium.make(environments.LONG_TAIL, families=["cut-im"])
    with pytest.raises(InputError, match="families is empty"):
        gymnasium.make(environments.LONG_TAIL, families=[])
    with pytest.raises(InputError, match="logs is empty"):
        gymnasium.make(environments.LOG_REPLAY)


def test_a_log_is_driven_alone_and_in_a_batch(realdata: Path) -> None:
    logs = [str(realdata / "womd_json" / "tfrecord-00000-of-01000_325.json")]
    env = gymnasium.make(environments.LOG_REPLAY, logs=logs)
    batch = gymnasium.make_vec(environments.LOG_REPLAY, num_envs=2, logs=logs)
    one, _ = env.reset(seed=1)
    many, _ = batch.reset(seed=1)
    assert (many == one).all()
    assert (batch.step(np.zeros((2, 2), np.float32))[0] == env.step(np.zeros(2, np.float32))[0]).all()
    assert env.spec is not None
    assert EnvSpec.from_json(env.spec.to_json()) == env.spec


def test_all_cars_of_a_log_are_driven_at_once(realdata: Path) -> None:
    log = str(realdata / "womd_json" / "tfrecord-00000-of-01000_402.json")
    env = environments.log_replay_parallel([log], max_agents=45, agents=8, pieces=8)
    observations, infos = env.reset(seed=1)
    assert len(observations) == 45
    assert len({info["track_id"] for info in infos.values()}) == 45
    zero = dict.fromkeys(env.agents, np.zeros(2, np.float32))
    assert len(env.step(zero)[0]) == 45


@pytest.mark.parametrize("choice", [("cut-in", 3), {"family": "cut-in", "seed": 3}, "cut-in-3"])
def test_a_named_scenario_is_what_make_scenario_makes(choice: object) -> None:
    env = gymnasium.make(environments.LONG_TAIL, families=["debris"])
    observation, info = env.reset(seed=0, options={"scenario": choice})
    made = make_scenario("cut-in", 3)
    theirs, _ = env.reset(seed=1, options={"scenario": made})
    assert (observation == theirs).all()
    assert (info["scenario"], info["family"], info["seed"]) == ("cut-in-3", "cut-in", 3)
    assert dict(info["parameters"]) == made.parameters
    many = gymnasium.make_vec(environments.LONG_TAIL, num_envs=2, families=["debris"])
    both, infos = many.reset(seed=0, options={"scenario": [choice, None]})
    assert (both[0] == observation).all()
    assert infos["family"].tolist() == ["cut-in", "debris"]


@pytest.mark.parametrize(
    "choice", ["cut-in", ("cut-in",), {"family": "cut-in"}, {"family": "cut-in", "seed": 3, "gap": 1.0}, 7]
)
def test_what_names_no_scenario_is_refused(choice: object) -> None:
    env = gymnasium.make(environments.LONG_TAIL, families=["debris"])
    with pytest.raises(InputError, match="must be a Scenario, a family and a seed"):
        env.reset(options={"scenario": choice})


def test_a_pool_of_families_can_be_named_by_hand() -> None:
    families = ["cut-in", "debris"]
    env = gymnasium.make(environments.LONG_TAIL, families=families, pool=4, pool_seed=10)
    seen = {env.reset(seed=k)[1]["scenario"] for k in range(30)}
    assert seen == {"cut-in-10", "debris-10", "cut-in-11", "debris-11"}
    assert env.spec is not None
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    assert data_equivalence(env.reset(seed=4), again.reset(seed=4))
