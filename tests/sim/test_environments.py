"""The environments against Gymnasium's own checks, and the vector environment against the single one."""

import dataclasses
import importlib.util
import pickle
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from alpamayo_sim import testing
from alpamayo_sim.byte_cache import array_bytes, byte_cache
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.environments import DrivingEnv, DrivingVectorEnv
from alpamayo_sim.environments.scenario_pool import ScenarioPool
from alpamayo_sim.errors import InputError

MODES = list(AutoresetMode)


def source(rng: np.random.Generator) -> Scenario:
    """Some traffic, an ego speed and a goal, all at random; short episodes of different lengths."""
    traffic = [
        testing.moving(f"t{k}", x=rng.uniform(-40, 60), y=3.5 * rng.integers(2), speed=rng.uniform(0, 12))
        for k in range(rng.integers(1, 6))
    ]
    ego = testing.moving("ego", speed=rng.uniform(5, 12))
    made = testing.scenario(*traffic, props=[testing.prop("c", 40.0, 2.0)], ego=ego, goal=float(rng.uniform(10, 30)))
    return Scenario(made.scene, type(made.goal)(made.goal.distance, float(rng.integers(10, 30)) / 10))


def single(**settings: Any) -> DrivingEnv:
    return DrivingEnv(source, agents=8, pieces=20, **settings)


def vector(num: int = 3, **settings: Any) -> DrivingVectorEnv:
    return DrivingVectorEnv(source, num, agents=8, pieces=20, **settings)


@pytest.mark.parametrize("action", ["control", "normalized", "trajectory"])
def test_gymnasium_finds_no_fault(action: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(single(action=action, render_mode="rgb_array"), skip_render_check=True)
    said = [str(warning.message) for warning in caught]
    assert all("symmetric and normalized" in text for text in said), said  # physical units are meant
    assert len(said) == (action == "control")


def test_normalized_actions_are_shares_of_the_limits() -> None:
    ours, theirs = single(action="normalized"), single()
    for env in (ours, theirs):
        env.reset(seed=1)
    for share, control in (((1.0, -0.1), (4.0, -0.025)), ((-0.5, 0.2), (-4.5, 0.05))):
        assert data_equivalence(ours.step(np.array(share)), theirs.step(np.array(control)))


def test_every_observation_is_in_its_space() -> None:
    env = DrivingEnv(source)
    env.action_space.seed(1)
    for seed in range(10):
        observation, _ = env.reset(seed=seed)
        assert observation in env.observation_space
        for _ in range(20):
            observation, reward, *_, info = env.step(env.action_space.sample())
            assert observation in env.observation_space
            assert isinstance(reward, float)
            assert env.observation_space.contains(observation)
            state = {"progress", "lateral_offset", "speed", "collided", "off_road", "arrived", "success"}
            terms = {name for name in info if name.startswith("reward_")}
            assert set(info) == state | terms | {"scenario", "family", "seed", "parameters"}
            assert sum(info[name] for name in terms) == pytest.approx(reward, abs=1e-5)
    assert observation.shape == (28 + 64 + 7 * 63 + 7 * 200,)


def test_two_environments_of_one_seed_live_the_same_life() -> None:
    first, second = single(), single()
    for env in (first, second):
        env.action_space.seed(3)
    assert data_equivalence(first.reset(seed=3), second.reset(seed=3))
    for _ in range(100):
        action = first.action_space.sample()
        assert (action == second.action_space.sample()).all()
        one, two = first.step(action), second.step(action)
        kept = one[0].copy()
        assert data_equivalence(one, two)
        if one[2] or one[3]:
            assert data_equivalence(first.reset(), second.reset())  # no seed: the generator goes on
        assert (kept == one[0]).all()  # later steps do not write into what was given out
    assert not np.array_equal(first.reset(seed=1)[0], first.reset(seed=2)[0])
    assert first.observation_space is first.observation_space


SENSES: dict[str, Any] = {"observation": ["vector", "camera", "lidar"], "rig": "front", "image_size": [48, 32]}


def test_cameras_and_lidar_are_observed_with_the_vector() -> None:
    env = single(**SENSES)
    observation, _ = env.reset(seed=4)
    assert isinstance(observation, dict)
    assert observation in env.observation_space
    assert observation["camera"].shape == (1, 32, 48, 3)
    assert observation["lidar"].shape == (2, 32, 1084)
    hits = observation["lidar"][0] < 1.0
    assert 0.1 < hits.mean() < 1.0
    numbers, _ = single().reset(seed=4)
    np.testing.assert_array_equal(observation["vector"], numbers)
    step = env.step(np.zeros(2))
    assert not np.array_equal(step[0]["camera"], observation["camera"])  # type: ignore[call-overload]
    twin = pickle.loads(pickle.dumps(env))
    assert data_equivalence(env.step(np.zeros(2)), twin.step(np.zeros(2)))
    one, _ = single(**{**SENSES, "observation": "camera"}).reset(seed=4)
    np.testing.assert_array_equal(one, observation["camera"])


@pytest.mark.parametrize("mode", MODES)
def test_an_image_is_the_camera_with_channels_first(mode: AutoresetMode) -> None:
    settings: dict[str, Any] = {"observation": ["camera", "image"], "rig": "front", "image_size": (48, 32)}
    env = vector(2, autoreset_mode=mode, **settings)
    observations, _ = env.reset(seed=4)
    assert isinstance(observations, dict)
    assert observations in env.observation_space
    assert observations["image"].shape == (2, 3, 32, 48)
    assert observations["image"].flags.c_contiguous
    np.testing.assert_array_equal(observations["image"], np.moveaxis(observations["camera"][:, 0], -1, 1))
    assert data_equivalence(single(**settings).reset(seed=4)[0]["image"], observations["image"][0])  # type: ignore[call-overload]


@pytest.mark.skipif(importlib.util.find_spec("stable_baselines3") is None, reason="stable-baselines3: the extra rl")
@pytest.mark.parametrize(
    ("policy", "observation"),
    [("CnnPolicy", "image"), ("MlpPolicy", "vector"), ("MultiInputPolicy", ("vector", "image"))],
)
def test_policies_of_stable_baselines3_take_the_observations(policy: str, observation: str | tuple[str, ...]) -> None:
    from stable_baselines3 import PPO

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        env = single(observation=observation, rig="front", image_size=(64, 48), action="normalized")
        model = PPO(policy, env, n_steps=32, batch_size=32, n_epochs=1, seed=0, device="cpu").learn(32)
    action, _ = model.predict(env.reset(seed=1)[0], deterministic=True)
    assert action in env.action_space


@pytest.mark.skipif(importlib.util.find_spec("moviepy") is None, reason="moviepy: the extra rl")
def test_record_video_writes_a_film_of_each_episode(tmp_path: Path) -> None:
    env: Any = gymnasium.wrappers.RecordVideo(
        single(render_mode="rgb_array", max_episode_steps=4), str(tmp_path / "films"), episode_trigger=lambda _: True
    )
    for seed in range(2):
        env.reset(seed=seed)
        while not any(env.step(np.zeros(2, np.float32))[2:4]):
            pass
    env.close()
    films = sorted((tmp_path / "films").glob("*.mp4"))
    assert [film.name for film in films] == ["rl-video-episode-0.mp4", "rl-video-episode-1.mp4"]
    assert all(film.stat().st_size > 1000 for film in films)


@pytest.mark.parametrize("mode", MODES)
def test_native_sensor_observations_equal_sync(mode: AutoresetMode) -> None:
    settings = {**SENSES, "max_episode_steps": 3}
    native = vector(2, autoreset_mode=mode, **settings)
    sync = SyncVectorEnv([lambda: single(**settings)] * 2, autoreset_mode=mode)
    assert native.observation_space == sync.observation_space
    assert data_equivalence(native.reset(seed=3)[0], sync.reset(seed=3)[0])
    for k in range(4 if mode is not AutoresetMode.DISABLED else 3):
        ours, theirs = native.step(np.zeros((2, 2))), sync.step(np.zeros((2, 2)))
        assert data_equivalence(ours[:4], theirs[:4])
        if mode is AutoresetMode.SAME_STEP and k == 2:
            for mine, its in zip(ours[4]["final_obs"], theirs[4]["final_obs"], strict=True):
                assert data_equivalence(mine, its)


def test_gymnasium_checks_pass_for_sensor_observations() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(single(action="normalized", **SENSES), skip_render_check=True)


def test_an_environment_is_pickled_in_the_middle() -> None:
    env = single()
    env.reset(seed=5)
    for _ in range(4):
        env.step(np.array([1.0, 0.01], np.float32))
    other = pickle.loads(pickle.dumps(env))
    for _ in range(10):
        assert data_equivalence(env.step(np.array([-1.0, 0.0])), other.step(np.array([-1.0, 0.0])))
    assert data_equivalence(env.reset(), other.reset())
    fresh = pickle.loads(pickle.dumps(single()))
    assert data_equivalence(fresh.reset(seed=2), single().reset(seed=2))


def test_what_if_it_had_braked() -> None:
    env = single()
    env.reset(seed=5)
    env.step(np.zeros(2))
    saved = env.snapshot()
    onward = [env.step(np.zeros(2)) for _ in range(5)]
    env.restore(saved)
    braked = [env.step(np.array([-6.0, 0.0])) for _ in range(5)]
    assert braked[-1][4]["speed"] < onward[-1][4]["speed"] - 2.0
    other = single()
    other.reset(seed=99)
    other.restore(saved)
    assert data_equivalence([other.step(np.zeros(2)) for _ in range(5)], onward)
    env.restore(saved)
    assert data_equivalence(env.reset(), other.reset())


def fixed(made: Scenario, **settings: Any) -> DrivingEnv:
    env = DrivingEnv(lambda rng: made, agents=4, pieces=4, **settings)
    env.reset(seed=0)
    return env


def test_the_reward_is_its_documented_sum() -> None:
    env = fixed(testing.scenario())
    _, reward, terminated, truncated, info = env.step(np.array([2.0, 0.01], np.float32))
    speed, way = 10.2, 1.01
    lateral = 0.01 * speed**2
    assert reward == pytest.approx(0.1 * way - 0.001 * 4.0 - 0.001 * lateral**2, abs=1e-4)
    assert (terminated, truncated, info["collided"]) == (False, False, False)
    own = fixed(testing.scenario(), reward={"progress": 1.0, "acceleration": 0.0, "lateral": 0.0})
    assert own.step(np.zeros(2))[1] == pytest.approx(1.0, abs=1e-4)


def test_a_collision_ends_the_episode() -> None:
    env = fixed(testing.scenario(testing.moving("a", x=5.5, speed=0.0)))
    *_, info = step = env.step(np.zeros(2))
    assert step[2]
    assert info["collided"]
    assert step[1] == pytest.approx(0.1 - 10.0, abs=1e-4)


def test_leaving_the_road_ends_the_episode_unless_told_otherwise() -> None:
    left = np.array([0.0, 0.25])
    for ends in (True, False):
        env = fixed(testing.scenario(), ends_off_road=ends)
        steps = [env.step(left) for _ in range(15)]
        off = [step[4]["off_road"] for step in steps]
        assert any(off)
        assert steps[off.index(True)][2] == ends


def test_arrival_ends_the_episode_and_time_cuts_it_off() -> None:
    env = fixed(testing.scenario(goal=2.0))
    assert [env.step(np.zeros(2))[2] for _ in range(2)] == [False, True]
    env = fixed(testing.scenario(goal=1000.0))
    assert [env.step(np.array([-9.0, 0.0]))[3] for _ in range(100)] == [False] * 99 + [True]
    env = fixed(testing.scenario(goal=1000.0), max_episode_steps=3)
    assert [env.step(np.zeros(2))[3] for _ in range(3)] == [False, False, True]


def test_a_trajectory_is_driven() -> None:
    env = fixed(testing.scenario(), action="trajectory")
    x = np.arange(1, 65) * 1.0
    plan = np.stack([x, 0 * x, 0 * x, np.full(64, 10.0)], axis=1).astype(np.float32)
    for _ in range(10):
        *_, info = env.step(plan)
    assert info["progress"] == pytest.approx(10.0, abs=1e-3)
    stop = np.zeros((64, 4), np.float32)
    for _ in range(20):
        *_, info = env.step(stop)
    assert info["speed"] == 0.0


def test_misuse_is_told(no_shape_checks: None) -> None:
    env = single()
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(2))
    env.reset(seed=0)
    with pytest.raises(InputError, match="not finite"):
        env.step(np.array([np.nan, 0.0]))
    with pytest.raises(InputError, match="shape"):
        env.step(np.zeros(3))
    for settings, said in (
        ({"action": "steer"}, "'control', 'normalized', 'trajectory'"),
        ({"observation": "smell"}, "'vector', 'camera', 'image', 'lidar'"),
        ({"observation": "image"}, "of one camera, rig 'alpamayo' has"),
        ({"observation": ["vector", "vector"]}, "each kind once"),
        ({"rig": "bus"}, "unknown rig 'bus'"),
        ({"lidar": "radar"}, "unknown lidar 'radar'"),
        ({"colour": 3}, "no setting 'colour'"),
        ({"reward": {"fun": 1.0}}, "no setting 'fun'"),
        ({"render_mode": "human"}, "rgb_array"),
        ({"max_episode_steps": 0}, r"must be a whole number in \[1, "),
    ):
        with pytest.raises(InputError, match=said):
            DrivingEnv(source, **settings)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'NextStep'"):
        vector(autoreset_mode="now")
    with pytest.raises(InputError, match="num_envs"):
        vector(0)
    with pytest.raises(InputError, match="one for each of 3"):
        vector().reset(seed=[1, 2])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("action", ["control", "trajectory"])
def test_native_is_the_same_as_sync(mode: AutoresetMode, action: str) -> None:
    native = vector(4, autoreset_mode=mode, action=action)
    sync = SyncVectorEnv([lambda: single(action=action)] * 4, autoreset_mode=mode)
    assert native.metadata["autoreset_mode"] is sync.metadata["autoreset_mode"] is mode
    assert native.single_observation_space == sync.single_observation_space
    assert native.observation_space == sync.observation_space
    assert native.action_space == sync.action_space
    assert data_equivalence(native.reset(seed=17), sync.reset(seed=17))
    native.action_space.seed(4)
    resets = 0
    for _ in range(80):
        actions = native.action_space.sample()
        if action == "control":
            actions[:, 1] *= 0.05
        ours, theirs = native.step(actions), sync.step(actions)
        assert data_equivalence(ours[:4], theirs[:4])
        assert set(ours[4]) == set(theirs[4])
        for key, value in theirs[4].items():
            if key == "final_obs":
                assert all(np.array_equal(a, b) for a, b in zip(ours[4][key], value, strict=True))
            else:
                assert data_equivalence(ours[4][key], value), key
        ended = ours[2] | ours[3]
        resets += int(ended.sum())
        if mode is AutoresetMode.DISABLED and ended.any():
            one = native.reset(options={"reset_mask": ended})
            two = sync.reset(options={"reset_mask": ended.copy()})
            assert data_equivalence(one[0], two[0])
            for key, value in two[1].items():
                assert data_equivalence(one[1][key], value), key
    assert resets > 4
    assert data_equivalence(
        native.reset(seed=[3, None, 5, 6])[0][[0, 2, 3]], sync.reset(seed=[3, 1, 5, 6])[0][[0, 2, 3]]
    )
    native.close()
    native.close()
    sync.close()


def test_disabled_means_that_the_user_resets() -> None:
    env = vector(2, autoreset_mode="Disabled", max_episode_steps=1)
    with pytest.raises(ResetNeeded):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(seed=1)
    env.step(np.zeros((2, 2)))
    with pytest.raises(ResetNeeded, match=r"\[0, 1\]"):
        env.step(np.zeros((2, 2)))
    env.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ResetNeeded, match=r"\[1\]"):
        env.step(np.zeros((2, 2)))
    for bad in (np.array([True]), [True, False], np.zeros(2, bool), np.ones(2)):
        with pytest.raises(InputError, match="reset_mask"):
            env.reset(options={"reset_mask": bad})


def test_an_episode_batch_is_pickled_and_branched() -> None:
    env = vector(3)
    env.reset(seed=2)
    env.step(np.zeros((3, 2)))
    saved = env.snapshot()
    twin = pickle.loads(pickle.dumps(env))
    onward = [env.step(np.zeros((3, 2))) for _ in range(40)]
    for other in (twin, env):
        if other is env:
            env.restore(saved)
        for step in onward:
            assert data_equivalence(other.step(np.zeros((3, 2)))[:4], step[:4])


def test_gymnasiums_wrappers_go_on() -> None:
    env: Any = gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.wrappers.TimeLimit(single(), 5))
    env = gymnasium.wrappers.FrameStackObservation(gymnasium.wrappers.FlattenObservation(env), 3)
    assert env.reset(seed=1)[0].shape == (3, 28 + 64 + 7 * 28)
    for _ in range(5):
        *_, truncated, info = env.step(np.zeros(2, np.float32))
    assert truncated
    assert info["episode"]["l"] == 5
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(vector(3, max_episode_steps=4))
    env.reset(seed=1)
    for _ in range(4):
        *_, info = env.step(np.zeros((3, 2), np.float32))
    assert (info["episode"]["l"] == 4).all()


def test_a_chosen_scenario_is_driven_and_unknown_options_are_refused() -> None:
    made = source(np.random.default_rng(5))
    env = single()
    env.reset(seed=1, options={"scenario": made})
    assert env.episodes.running.scenarios == (made,)
    with pytest.raises(InputError, match="no option 'scenaro'"):
        env.reset(options={"scenaro": made})
    with pytest.raises(InputError, match="must be a Scenario for this source"):
        env.reset(options={"scenario": "cut-in-3"})
    many = vector(3)
    other = source(np.random.default_rng(6))
    many.reset(seed=1, options={"scenario": [made, None, other]})
    assert many.episodes.running.scenarios[0] is made
    assert many.episodes.running.scenarios[2] is other
    many.reset(options={"scenario": other, "reset_mask": np.array([True, False, False])})
    assert many.episodes.running.scenarios[0] is other
    with pytest.raises(InputError, match="must have 3"):
        many.reset(options={"scenario": [made]})
    with pytest.raises(InputError, match="no option 'mask'"):
        many.reset(options={"mask": np.ones(3, bool)})


def test_success_is_an_arrival_without_a_collision() -> None:
    ego = testing.moving("ego", speed=10.0)
    arrives = testing.scenario(ego=ego, goal=3.0)
    env = single(reward={"progress": 0.0, "acceleration": 0.0, "lateral": 0.0})
    env.reset(options={"scenario": arrives})
    infos = [env.step(np.zeros(2, np.float32))[4] for _ in range(3)]
    assert [info["success"] for info in infos] == [False, False, True]
    assert infos[-1]["reward_arrival"] == 5.0
    env.reset(options={"scenario": testing.scenario(testing.standing("a", x=8.0), ego=ego)})
    while not (info := env.step(np.zeros(2, np.float32))[4])["collided"]:
        pass
    assert not info["success"]
    assert info["reward_collision"] == -10.0


def test_the_scenario_in_the_info_is_that_of_a_restored_world() -> None:
    env = single()
    one, two = source(np.random.default_rng(1)), source(np.random.default_rng(2))
    one, two = (
        dataclasses.replace(each, family="f", seed=k, parameters={"gap": 1.5}) for k, each in enumerate((one, two))
    )
    env.reset(options={"scenario": one})
    saved = env.snapshot()
    _, info = env.reset(options={"scenario": two})
    assert (info["family"], info["seed"], dict(info["parameters"])) == ("f", 1, {"gap": 1.5})
    env.restore(saved)
    assert env.step(np.zeros(2, np.float32))[4]["seed"] == 0


def test_a_pool_draws_by_the_generator_alone() -> None:
    """Whether the thread is fast or slow, the same seed draws the same scenarios; each is made once."""
    made: list[int] = []

    def make(number: int) -> Scenario:
        made.append(number)
        return dataclasses.replace(source(np.random.default_rng(number)), family="f", seed=number)

    quick, slow = (ScenarioPool(make, 12, made.index, background) for background in (True, False))
    draws = [
        [pool(rng).seed for _ in range(30)] for pool, rng in ((p, np.random.default_rng(3)) for p in (quick, slow))
    ]
    assert draws[0] == draws[1]
    quick.fill()
    slow.fill()
    assert sorted(made) == sorted([*range(12)] * 2)
    again = pickle.loads(pickle.dumps(ScenarioPool(source, 3, source)))
    assert (again.size, again.made) == (3, 0)
    with pytest.raises(InputError, match="pool is 0"):
        ScenarioPool(make, 0, made.index)


def test_a_pool_is_bounded_in_bytes_and_makes_dropped_scenarios_again() -> None:
    made: list[int] = []

    def make(number: int) -> Scenario:
        made.append(number)
        return source(np.random.default_rng(number))

    sizes = [array_bytes(make(number)) for number in range(4)]
    made.clear()
    pool = ScenarioPool(make, 8, source, background=False, max_bytes=sum(sizes) - 1)
    prepared: list[Scenario] = []
    pool.prepare = prepared.append
    pool.fill()
    assert made == [0, 1, 2, 3]  # the fourth did not fit beside the others
    assert pool.made == 3
    assert pool.scenario(0) is prepared[4]
    assert made[-1] == 0
    assert pool.scenario(3) is prepared[3]


def test_resets_from_a_pool_pack_and_upload_nothing() -> None:
    """All scenarios stay on the device, so that a reset only starts kernels."""
    pool = ScenarioPool(lambda number: source(np.random.default_rng(number)), 100, source, background=False)
    env = DrivingVectorEnv(pool, 4, agents=8, pieces=20)
    for seed in range(200):
        env.reset(seed=seed)
    store = env.episodes.running._store
    before = len(store.packed), store.generation
    for seed in range(200):
        env.reset(seed=seed)
    assert (len(store.packed), store.generation) == before


def test_scenarios_that_no_world_uses_leave_the_device() -> None:
    """A source that never makes a scenario twice does not fill the memory of its one world."""
    env = DrivingEnv(wide_source, agents=8, pieces=20)
    used = []
    for seed in range(30):
        env.reset(seed=seed)
        used.append(env.episodes.running._store._used_bytes)
    one = used[0]
    assert one < max(used) < 6 * one + (32 << 20) < 15 * one  # some are kept for later resets


def wide_source(rng: np.random.Generator) -> Scenario:
    """A scenario on a map of a square kilometre, whose grids take megabytes."""
    made = source(rng)
    edge = np.array([[-500.0, -500.0, 0.0], [500.0, 500.0, 0.0]], np.float32)
    road_map = dataclasses.replace(made.scene.road_map, road_edges=(edge,))
    return dataclasses.replace(made, scene=dataclasses.replace(made.scene, road_map=road_map))


def test_what_a_cache_drops_goes_back_to_the_system() -> None:
    """Small arrays below a kept one would stay with the process."""

    @byte_cache(1 << 20)
    def make(number: int) -> list[np.ndarray]:
        return [np.full(8_000, number) for _ in range(1_000)]  # 64 kB each

    pinned, before = [], resident_bytes()
    for number in range(4):
        make(number)
        pinned.append(np.zeros(5_000))
    assert resident_bytes() - before < 1.5 * 64e6  # the last result alone


def resident_bytes() -> int:
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


def test_a_cache_keeps_the_bytes_that_it_may() -> None:
    calls: list[int] = []

    @byte_cache(10_000)
    def make(number: int) -> dict[str, np.ndarray]:
        calls.append(number)
        return {"array": np.zeros(500)}

    for number in (1, 2, 1, 3, 1, 2):
        make(number)
    assert calls == [1, 2, 3, 2]  # two of 4,000 bytes fit: 2 was the oldest when 3 came
    grows = make(2)
    grows["more"] = np.zeros(1000)
    make(4)
    make(2)
    assert calls[-1] == 2  # it had grown beyond the bound
    assert array_bytes((grows, grows, np.zeros(10))) == 500 * 8 + 8000 + 80
