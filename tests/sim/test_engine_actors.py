"""Scripted actors, followers, signals and the tracker."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo_sim import testing
from alpamayo_sim.datatypes.scenario import Manoeuvre, Scenario, Script, Trigger, TriggerKind
from alpamayo_sim.datatypes.scene import Category, Environment, RoadMap, Signal, SignalState, StopLine
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.geometry import arc_length, from_frame, project, to_frame, wrap_angle


def acting(script: Script, **values: object) -> Scenario:
    """A scene with one scripted actor called "actor"."""
    x, y = script.path[0, :2]
    return testing.scenario(testing.moving("actor", x=float(x), y=float(y)), scripts=[script], **values)  # type: ignore[arg-type]


def run(batch: WorldBatch, steps: int, acceleration: float = 0.0) -> np.ndarray:
    """x, y, heading, speed along the heading, valid of the first agent after each step."""
    rows = []
    for _ in range(steps):
        batch.step(np.tile([acceleration, 0.0], (batch.num_worlds, 1)))
        pose, velocity = batch.pose[0, 1], batch.velocity[0, 1]
        rows.append([*pose, np.hypot(*velocity), batch.valid[0, 1]])
    return np.array(rows)


PATH = testing.polyline((20, 3.5), (120, 3.5))


def test_an_actor_that_is_told_nothing_keeps_its_speed_on_its_path() -> None:
    corner = testing.polyline((20, 3.5), (40, 3.5), (40, 43.5))
    rows = run(WorldBatch([acting(Script("actor", corner, 8.0))]), 60)
    way = 0.8 * np.arange(1, 61)
    np.testing.assert_allclose(rows[:, 0], np.minimum(20 + way, 40), atol=1e-4)
    np.testing.assert_allclose(rows[:, 1], 3.5 + np.maximum(way - 20, 0), atol=1e-4)
    np.testing.assert_allclose(rows[:, 3], 8.0, atol=1e-4)
    assert rows[-1, 2] == pytest.approx(np.pi / 2)


def test_speed_is_approached_at_the_given_rate() -> None:
    told = Manoeuvre(Trigger(TriggerKind.TIME, 1.0), speed=3.0, acceleration=2.5)
    rows = run(WorldBatch([acting(Script("actor", PATH, 8.0, manoeuvres=(told,)))]), 50)
    t = 0.1 * np.arange(1, 51)
    np.testing.assert_allclose(rows[:, 3], np.clip(8.0 - 2.5 * (t - 1.0), 3.0, 8.0), atol=1e-4)


def test_a_lateral_shift_is_smooth_and_ends_where_it_should() -> None:
    told = Manoeuvre(Trigger(TriggerKind.TIME, 0.5), lateral_offset=-3.5, duration=2.0)
    rows = run(WorldBatch([acting(Script("actor", PATH, 8.0, manoeuvres=(told,)))]), 40)
    assert rows[:5, 1] == pytest.approx(3.5)
    assert rows[24:, 1] == pytest.approx(0.0, abs=1e-5)
    assert rows[14, 1] == pytest.approx(1.75, abs=1e-4)  # half of the shift in half of the time
    assert (np.diff(rows[:, 1]) < 1e-6).all()
    assert np.abs(np.diff(rows[:, 1], 2)).max() < 0.06  # the quintic's peak: 5.77 * 3.5 m / (2 s)² * (0.1 s)²
    np.testing.assert_allclose(rows[10:20, 2], np.arctan2(np.gradient(rows[:, 1])[10:20], 0.8), atol=0.01)


def test_a_second_shift_takes_over_without_a_jump() -> None:
    shifts = (
        Manoeuvre(lateral_offset=-3.0, duration=2.0),
        Manoeuvre(Trigger(TriggerKind.TIME, 1.0), lateral_offset=0.0, duration=2.0),
    )
    rows = run(WorldBatch([acting(Script("actor", PATH, 8.0, manoeuvres=shifts))]), 40)
    assert np.abs(np.diff(rows[:, 1], 2)).max() < 0.12
    assert rows[-1, 1] == pytest.approx(3.5, abs=1e-5)


@pytest.mark.parametrize(
    ("trigger", "step"),
    [
        (Trigger(), 0),
        (Trigger(TriggerKind.TIME, 1.2), 12),
        (Trigger(TriggerKind.EGO_DISTANCE, 30.0, (50.0, 0.0)), 20),  # the ego is at 1 m a step
        (Trigger(TriggerKind.EGO_ARRIVAL, 3.0, (50.0, 0.0)), 20),  # 30 m at 10 m/s
        (Trigger(TriggerKind.EGO_GAP, 10.0), 50),  # the actor at 20 + 0.8 k is 10 m ahead of the ego at k
    ],
)
def test_a_trigger_fires_at_its_moment(trigger: Trigger, step: int) -> None:
    told = Manoeuvre(trigger, speed=0.0, acceleration=1.0)
    rows = run(WorldBatch([acting(Script("actor", PATH, 8.0, manoeuvres=(told,)))]), 60)
    assert int(np.argmax(rows[:, 3] < 7.99)) == step


def test_a_gap_trigger_does_not_fire_for_an_ego_ahead() -> None:
    behind = Script(
        "actor",
        testing.polyline((-40, 0), (300, 0)),
        10.0,
        manoeuvres=(Manoeuvre(Trigger(TriggerKind.EGO_GAP, 60.0), 0.0),),
    )
    assert run(WorldBatch([acting(behind)]), 20)[:, 3] == pytest.approx(10.0)


def test_manoeuvres_wait_for_their_turn() -> None:
    script = Script(
        "actor",
        PATH,
        8.0,
        manoeuvres=(
            Manoeuvre(Trigger(TriggerKind.TIME, 2.0), speed=6.0, acceleration=10.0),
            Manoeuvre(Trigger(TriggerKind.TIME, 1.0), speed=4.0, acceleration=10.0),
        ),
    )
    rows = run(WorldBatch([acting(script)]), 30)
    assert rows[:20, 3] == pytest.approx(8.0)
    assert rows[-1, 3] == pytest.approx(4.0)


def test_agents_vanish_at_the_end_of_their_path() -> None:
    batch = WorldBatch([acting(Script("actor", testing.polyline((20, 3.5), (25, 3.5)), 10.0))])
    rows = run(batch, 10)
    assert rows[:, 4].tolist() == [1] * 5 + [0] * 5
    batch.reset()
    assert batch.valid[0, 1]


def test_agents_that_stop_before_the_end_stay() -> None:
    stop = Manoeuvre(speed=0.0, acceleration=10.0)
    rows = run(
        WorldBatch([acting(Script("actor", testing.polyline((20, 3.5), (25.1, 3.5)), 10.0, manoeuvres=(stop,)))]), 30
    )
    assert rows[:, 4].all()
    assert rows[-1, 0] == pytest.approx(25.0, abs=1e-3)


def test_a_follower_keeps_the_equilibrium_gap() -> None:
    follower = Script("actor", testing.polyline((0, 0), (1000, 0)), 10.0, yields=True)
    batch = WorldBatch(
        [
            testing.scenario(
                testing.moving("actor", steps=800),
                testing.moving("lead", x=40.0, speed=8.0, steps=800),
                scripts=[follower],
                ego=testing.moving("ego", y=30.0, steps=800),
            )
        ]
    )
    run(batch, 790)
    gap = batch.pose[0, 2, 0] - batch.pose[0, 1, 0] - 4.8
    assert gap == pytest.approx((2.0 + 1.5 * 8.0) / np.sqrt(1.0 - 0.8**4), rel=2e-3)
    assert np.hypot(*batch.velocity[0, 1]) == pytest.approx(8.0, abs=1e-2)


def test_a_free_follower_drives_at_its_speed() -> None:
    batch = WorldBatch(
        [
            testing.scenario(
                testing.moving("actor"),
                ego=testing.moving("ego", y=30.0),
                scripts=[Script("actor", testing.polyline((0, 0), (900, 0)), 12.0, yields=True)],
            )
        ]
    )
    assert run(batch, 100)[-1, 3] == pytest.approx(12.0, abs=1e-3)


def test_a_follower_stops_behind_the_ego_and_behind_a_prop_round_a_bend() -> None:
    angle = np.linspace(0.0, np.pi / 2, 40)
    bend = [(60.0 + 30.0 * np.sin(a), 30.0 - 30.0 * np.cos(a)) for a in angle]
    path = testing.polyline((-60, 0), *bend, (90, 90))
    script = Script("actor", path, 10.0, yields=True)
    behind = WorldBatch([acting(script, ego=testing.moving("ego", speed=0.0))])
    rows = run(behind, 200)
    assert rows[-1, 3] == pytest.approx(0.0, abs=0.05)
    assert 1.5 < 0.0 - rows[-1, 0] - 4.8 < 3.0
    round_the_bend = WorldBatch(
        [acting(script, ego=testing.moving("ego", y=-50.0), props=[testing.prop("c", 90.0, 50.0)])]
    )
    rows = run(round_the_bend, 300)
    assert rows[-1, 3] == pytest.approx(0.0, abs=0.05)
    assert 1.5 < 50.0 - 0.2 - 2.4 - rows[-1, 1] < 3.0


def idm(speed: float, wanted: float, gap: float, closing: float) -> float:
    """The model once more (Treiber 2000: 1.5, 2.0, 1.5 s, 2 m), with the engine's documented clamps."""
    near = (2.0 + max(1.5 * speed + speed * closing / (2.0 * np.sqrt(3.0)), 0.0)) / max(gap, 0.1)
    free = max(1.0 - (speed / wanted) ** 4, -2.0 / 1.5)
    return float(np.clip(1.5 * (free - near**2), -8.0, 1.5))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_leader_is_the_nearest_in_the_swept_width(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heading = np.cumsum(rng.normal(0.0, 0.06, 40)) + rng.uniform(-3, 3)
    steps = rng.uniform(1.0, 6.0, 40)[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    points = np.concatenate([[[0.0, 0.0]], np.cumsum(steps, axis=0)]) + 200.0
    path = np.column_stack([points, np.zeros(41)]).astype(np.float32)
    others = []
    for k in range(20):
        near = points[rng.integers(41)] + rng.normal(0.0, 4.0, 2)
        size = (float(rng.uniform(0.5, 8.0)), float(rng.uniform(0.5, 2.5)), 1.5)
        others.append(testing.moving(f"t{k}", *near, speed=rng.uniform(0, 12), heading=rng.uniform(-3, 3), size=size))
    batch = WorldBatch(
        [testing.scenario(testing.moving("actor"), *others, scripts=[Script("actor", path, 9.0, yields=True)])]
    )
    agents = batch[0].agents()
    assert np.allclose(agents.pose[0, :2], path[0, :2], atol=1e-3)
    leaders = [(1e6, 0.0)]
    for k in range(1, 21):
        (s,), (offset,) = project(path, agents.pose[k : k + 1, :2].astype(float))
        knots = arc_length(path)
        i = int(np.clip(np.searchsorted(knots, s) - 1, 0, 39))
        along = (points[i + 1] - points[i]) / np.linalg.norm(points[i + 1] - points[i])
        turn = agents.pose[k, 2] - np.arctan2(along[1], along[0])
        c, n = abs(np.cos(turn)), abs(np.sin(turn))
        length, width, _ = agents.size[k]
        clear = abs(offset) - (1.0 + 0.5 * (length * n + width * c) + 0.2)
        if abs(clear) < 0.02 or (clear < 0.0 and (abs(s - 80.0) < 7.0 or s < 0.02)):
            return  # within rounding, or at the edge of the horizon
        if clear < 0.0 and 0.0 < s < 80.0:
            leaders.append((s - 0.5 * (4.8 + length * c + width * n), float(agents.velocity[k] @ along)))
    gap, ahead = min(leaders)
    batch.step(np.zeros((1, 2)))
    expected = idm(9.0, 9.0, gap, 9.0 - ahead)
    gained = (np.hypot(*batch.velocity[0, 1]) - 9.0) / 0.1
    assert gained == pytest.approx(expected, abs=0.05, rel=0.01)


def test_a_follower_ignores_adjacent_and_rear_agents() -> None:
    script = Script("actor", testing.polyline((0, 0), (900, 0)), 10.0, yields=True)
    others = [testing.moving("beside", x=30.0, y=3.5, speed=0.0), testing.moving("behind", x=-8.0, speed=10.0)]
    batch = WorldBatch(
        [testing.scenario(testing.moving("actor"), *others, scripts=[script], ego=testing.moving("ego", y=-20.0))]
    )
    assert run(batch, 50)[:, 3] == pytest.approx(10.0, abs=1e-3)


def test_a_follower_obeys_its_signal_and_only_that() -> None:
    states = np.array([SignalState.RED] * 150 + [SignalState.GREEN], np.int8)
    stop = StopLine("stop", testing.polyline((50, -1.75), (50, 1.75)), ("lane-0",))
    lanes = testing.scenario().scene.road_map.lanes
    road_map = RoadMap(lanes=lanes, stop_lines=(stop,))
    script = Script("actor", testing.polyline((0, 0), (400, 0)), 10.0, yields=True)

    def front(lane: str, position: tuple[float, float]) -> np.ndarray:
        signal = Signal("light", np.array([*position, 5.0], np.float32), states, (lane,))
        made = acting(script, ego=testing.moving("ego", y=30.0), road_map=road_map, signals=[signal])
        return run(WorldBatch([made]), 250)[:, 0] + 2.4

    held = front("lane-0", (55.0, 3.0))
    assert 46.0 < held[148] < 50.0
    assert held[-1] > 60.0  # green holds beyond its recording
    other = front("lane-1", (50.0, 3.5))
    assert other[60] > 60.0
    truth = WorldBatch([acting(script, signals=[Signal("l", np.zeros(3, np.float32), states, ())])])[0].ground_truth()
    assert truth.signals.tolist() == [SignalState.RED]


def plan_of(profile: np.ndarray, speed: float) -> np.ndarray:
    """World poses and speeds every 0.1 s from the origin, driven by (acceleration, curvature) per step."""
    pose, rows = np.zeros(3), []
    for acceleration, curvature in profile:
        acceleration = max(acceleration, -speed / 0.1)
        way = speed * 0.1 + 0.005 * acceleration
        half = 0.5 * way * curvature
        chord = way * np.sinc(half / np.pi)
        pose = pose + np.array([chord * np.cos(pose[2] + half), chord * np.sin(pose[2] + half), 2 * half])
        speed += 0.1 * acceleration
        rows.append([*pose, speed])
    return np.array(rows)


def seen_from(plan: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """The next 64 waypoints in the ego's frame; past the end the car stands."""
    ahead = np.concatenate([plan[:64], np.tile(plan[-1:] * [1, 1, 1, 0], (max(64 - len(plan), 0), 1))])
    pose = pose.astype(float)[None]
    return np.column_stack([to_frame(ahead[:, :2], pose), wrap_angle(ahead[:, 2] - pose[:, 2]), ahead[:, 3]])


def tracking_error(plan: np.ndarray, batch: WorldBatch, steps: int) -> np.ndarray:
    """Distance (m) to the plan's waypoint of the same time, while following it open loop."""
    errors = []
    for k in range(steps):
        batch.step(batch.track(seen_from(plan[k:], batch.egos.pose[0, 0])[None]))
        errors.append(np.hypot(*(batch.egos.pose[0, 0, :2] - plan[k, :2])))
    return np.array(errors)


def smooth_profile(rng: np.random.Generator, steps: int, speed: float) -> np.ndarray:
    """Accelerations and curvatures that change like a driver's: knots every 1.5 s, within comfort."""
    knots = np.arange(0, steps + 15, 15)
    acceleration = np.interp(np.arange(steps), knots, rng.uniform(-3.0, 2.0, len(knots)))
    tightest = min(0.2, 3.0 / max(speed + 5.0, 1.0) ** 2)
    curvature = np.interp(np.arange(steps), knots, rng.uniform(-tightest, tightest, len(knots)))
    return np.column_stack([acceleration, curvature])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 25.0))
def test_the_tracker_follows_a_feasible_plan_to_ten_centimetres(seed: int, speed: float) -> None:
    rng = np.random.default_rng(seed)
    plan = plan_of(smooth_profile(rng, 128, speed), speed)
    batch = WorldBatch(
        [testing.scenario(ego=testing.moving("ego", speed=speed), environment=Environment(friction=1.2))]
    )
    assert tracking_error(plan, batch, 64).max() < 0.10


@settings(max_examples=20, deadline=None)
@given(st.floats(-0.5, 0.5), st.floats(-0.05, 0.05), st.floats(2.0, 20.0))
def test_the_tracker_returns_to_a_plan_with_an_offset(offset: float, heading: float, speed: float) -> None:
    x = 0.1 * speed * np.arange(1, 129)
    plan = np.column_stack([x, np.full(128, offset), np.zeros(128), np.full(128, speed)])
    batch = WorldBatch(
        [
            testing.scenario(
                ego=testing.moving("ego", speed=speed, heading=heading), environment=Environment(friction=1.2)
            )
        ]
    )
    assert tracking_error(plan, batch, 64)[-1] < 0.05 + 0.1 * abs(offset)


def test_the_tracker_stops_for_good_where_the_plan_stops() -> None:
    plan = plan_of(np.tile([-3.0, 0.02], (64, 1)), 9.0)
    batch = WorldBatch([testing.scenario(ego=testing.moving("ego", speed=9.0))])
    assert tracking_error(plan, batch, 64).max() < 0.10
    stopped = batch.egos.pose[:, 0].copy()
    for _ in range(30):
        batch.step(batch.track(seen_from(plan[-1:], batch.egos.pose[0, 0])[None]))
    assert (batch.egos.pose[:, 0] == stopped).all()
    assert batch.egos.speed[0, 0] == 0.0


def test_the_tracker_starts_from_a_standstill() -> None:
    plan = plan_of(np.tile([1.5, 0.05], (128, 1)), 0.0)
    batch = WorldBatch([testing.scenario(ego=testing.moving("ego", speed=0.0))])
    assert tracking_error(plan, batch, 60).max() < 0.10


def test_a_plan_replanned_each_step_is_driven_as_planned() -> None:
    batch = WorldBatch([testing.scenario(ego=testing.moving("ego", speed=8.0))])
    for _ in range(30):
        expected = plan_of(np.tile([-1.0, 0.03], (64, 1)), float(batch.egos.speed[0, 0]))
        goal = from_frame(expected[:1, :2], batch.egos.pose[:, 0].astype(float))[0]
        batch.step(batch.track(expected[None]))
        assert np.hypot(*(batch.egos.pose[0, 0, :2] - goal)) < 0.01


def test_a_pedestrian_crosses_and_is_hit() -> None:
    path = testing.polyline((30, -6), (30, 8))
    walker = testing.moving("actor", x=30.0, y=-6.0, size=(0.6, 0.6, 1.7), category=Category.PEDESTRIAN)
    go = Manoeuvre(Trigger(TriggerKind.EGO_ARRIVAL, 2.4, (30.0, 0.0)), speed=2.5, acceleration=5.0)
    batch = WorldBatch([testing.scenario(walker, scripts=[Script("actor", path, 0.0, manoeuvres=(go,))])])
    run(batch, 28)
    assert batch.egos.collided[0, 0]
    assert batch[0].collisions()[0].category == Category.PEDESTRIAN
