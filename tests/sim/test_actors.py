"""Manoeuvres by name, the further triggers, people on foot, and recordings that react."""

import dataclasses

import numpy as np
import pytest

from alpamayo_sim import testing
from alpamayo_sim.datatypes.manoeuvres import after, brake, change_lane, door, speed_profile, stop, swerve
from alpamayo_sim.datatypes.scenario import Manoeuvre, Scenario, Script, Trigger, TriggerKind, Walker, scenario_of_log
from alpamayo_sim.datatypes.scene import Category, Track
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.scene_file import load_scenario, save_scenario

PATH = testing.polyline((20, 3.5), (220, 3.5))
NOW = Trigger()


def acting(manoeuvres: tuple[Manoeuvre, ...], **values: object) -> Scenario:
    script = Script("actor", PATH, 8.0, manoeuvres=manoeuvres)
    return testing.scenario(testing.moving("actor", x=20.0, y=3.5, speed=8.0), scripts=[script], **values)  # type: ignore[arg-type]


def run(made: Scenario, steps: int, acceleration: float = 0.0) -> np.ndarray:
    """x, y, heading, speed, valid of the first other agent after each step."""
    batch, rows = WorldBatch([made]), []
    for _ in range(steps):
        batch.step(np.array([[acceleration, 0.0]]))
        pose, velocity = batch[0].agents().pose[0], batch[0].agents().velocity[0]
        rows.append([*pose, np.hypot(*velocity), batch[0].agents().valid[0]])
    return np.array(rows)


def test_a_speed_profile_is_driven() -> None:
    times, speeds = (1.0, 1.5, 3.0), (12.0, 12.0, 3.0)
    rows = run(acting(speed_profile(Trigger(TriggerKind.TIME, 0.5), times, speeds, 8.0)), 40)
    expected = np.interp(0.1 * np.arange(1, 41), [0.5, 1.5, 2.0, 3.5], [8.0, 12.0, 12.0, 3.0])
    np.testing.assert_allclose(rows[:, 3], expected, atol=2e-3)
    with pytest.raises(InputError, match="rising times"):
        speed_profile(NOW, (1.0, 0.5), (3.0, 3.0), 8.0)


def test_braking_stopping_changing_and_swerving() -> None:
    assert run(acting(brake(NOW, 4.0, to=2.0)), 20)[-1, 3] == pytest.approx(2.0)
    rows = run(acting(stop(NOW, 4.0, hold=4.0, speed=5.0)), 80)
    assert rows[25, 3] == rows[38, 3] == 0.0
    assert rows[-1, 3] == pytest.approx(5.0)
    assert run(acting(change_lane(NOW, -3.5, 2.0)), 25)[-1, 1] == pytest.approx(0.0, abs=1e-5)
    y = run(acting(swerve(NOW, 1.5, 1.0)), 25)[:, 1]
    assert y[9] == pytest.approx(5.0, abs=1e-4)
    assert y[-1] == pytest.approx(3.5, abs=1e-4)


def test_an_actor_turns_off_to_another_path() -> None:
    other = testing.polyline((45, -20), (45, 80))
    rows = run(acting((Manoeuvre(Trigger(TriggerKind.TIME, 2.0), path=other, duration=2.0),)), 60)
    np.testing.assert_allclose(rows[:20, 1], 3.5, atol=1e-5)
    assert rows[-1, 0] == pytest.approx(45.0, abs=1e-3)
    assert rows[-1, 1] > 25.0
    assert np.hypot(*np.diff(rows[:, :2], axis=0).T).max() < 2.0  # no jump


def test_a_door_opens_into_the_ego_path() -> None:
    car = testing.moving("car", x=30.0, y=3.2, speed=0.0)
    leaf, script = door(car, left=False, trigger=Trigger(TriggerKind.EGO_DISTANCE, 15.0, (30.0, 3.2)))
    batch = WorldBatch([testing.scenario(leaf, car, scripts=[script])])
    shut = batch[0].agents().pose[0].copy()
    assert abs(shut[1] - 3.2) + 0.45 <= 1.0 + 1e-5  # within the car's box
    for _ in range(28):
        batch.step(np.zeros((1, 2)))
    assert batch[0].agents().pose[0, 1] == pytest.approx(shut[1] - 0.9, abs=0.02)
    assert [contact.id for contact in batch[0].first_contacts()] in ([], ["car-door"])


@pytest.mark.parametrize(
    ("trigger", "step"),
    [
        (Trigger(TriggerKind.EGO_FASTER, 12.0), 20),  # 10 m/s + 1 m/s² t
        (Trigger(TriggerKind.EGO_IN_REGION, 0.0, (50.0, 0.0), (20.0, 4.0)), 34),  # 10 t + t²/2 = 40 at t = 3.416
        (Trigger(TriggerKind.EGO_IN_REGION, np.pi / 2, (50.0, 0.0), (4.0, 20.0)), 34),
    ],
)
def test_triggers_on_the_ego(trigger: Trigger, step: int) -> None:
    rows = run(acting((Manoeuvre(trigger, speed=0.0, acceleration=1.0),)), 60, acceleration=1.0)
    assert int(np.argmax(rows[:, 3] < 7.99)) in (step, step + 1)


def test_a_trigger_on_an_ego_that_slows_down() -> None:
    rows = run(acting((Manoeuvre(Trigger(TriggerKind.EGO_SLOWER, 7.0), speed=0.0, acceleration=1.0),)), 60, -2.0)
    assert int(np.argmax(rows[:, 3] < 7.99)) in (15, 16)


def test_time_to_collision_fires_at_its_moment() -> None:
    script = Script(
        "actor",
        testing.polyline((60, 0), (300, 0)),
        4.0,
        manoeuvres=brake(Trigger(TriggerKind.TIME_TO_COLLISION, 3.0), 1.0),
    )
    rows = run(testing.scenario(testing.moving("actor", x=60.0, speed=4.0), scripts=[script]), 80)
    # gap 60 - 4.8 m closes at 6 m/s: 3 s are left at t = 6.2 s
    assert int(np.argmax(rows[:, 3] < 3.99)) == 62


def test_after_counts_from_the_manoeuvre_before() -> None:
    told = (Manoeuvre(Trigger(TriggerKind.TIME, 1.0), speed=6.0, acceleration=50.0), *brake(after(1.5), 50.0, to=3.0))
    rows = run(acting(told), 40)
    assert int(np.argmax(rows[:, 3] < 7.0)) == 10
    assert int(np.argmax(rows[:, 3] < 5.0)) == 25


def on_foot(**values: object) -> tuple[Track, Walker]:
    """A pedestrian at y = -6 that goes north over a road that lies between y = -3.5 and 3.5, at x = 60."""
    track = testing.moving("p", x=60.0, y=-6.0, speed=0.0, heading=np.pi / 2, size=(0.6, 0.6, 1.7))
    made = Walker("p", testing.polyline((60, -6), (60, 12)), **{"kerb": 2.0, "width": 7.0, **values})  # type: ignore[arg-type]
    return dataclasses.replace(track, category=Category.PEDESTRIAN), made


def walks(ego: Track, steps: int, controls: tuple[float, float] = (0.0, 0.0), **values: object) -> np.ndarray:
    track, made = on_foot(**values)
    batch = WorldBatch([dataclasses.replace(testing.scenario(track, ego=ego), walkers=(made,))])
    rows = []
    for _ in range(steps):
        batch.step(np.array([controls]))
        pose, velocity = batch[0].agents().pose[0], batch[0].agents().velocity[0]
        rows.append([pose[1], np.hypot(*velocity), batch.egos.pose[0, 0, 0]])
    return np.array(rows)


def test_a_walker_crosses_without_waiting_if_no_vehicle_comes() -> None:
    y, speed, _ = walks(testing.moving("ego", y=300.0), 120).T
    assert speed.min() == pytest.approx(1.3, abs=1e-3)
    assert y[-1] > 8.0


def test_a_walker_waits_for_the_critical_gap() -> None:
    y, speed, ego = walks(testing.moving("ego"), 150).T
    critical = 7.0 / 1.3 + 3.0  # s (HCM 2010, 19-69); the ego is 57.6 m off at 10 m/s: that is too near
    assert critical > (60.0 - 2.4) / 10.0
    passed = int(np.argmax(ego > 60.0 + 2.4))
    assert y[passed] == pytest.approx(-4.0, abs=0.06)  # at the kerb
    assert speed[passed - 5] < 0.05
    assert y[-1] > 3.5
    far = walks(testing.moving("ego", x=-60.0), 60)
    assert far[:, 1].min() == pytest.approx(1.3, abs=1e-3)  # 11.8 s: enough, no wait


def test_a_vehicle_that_stands_lets_one_pass() -> None:
    assert walks(testing.moving("ego", x=50.0, speed=0.0), 120)[-1, 0] > 8.0


def test_a_walker_hesitates_before_a_vehicle_or_does_not() -> None:
    ego = testing.moving("ego", x=0.0, y=1.75, speed=10.0)
    hasty = {"kerb": 0.5, "start_up": -8.0}  # does not mind the gap, steps out in front of the ego
    y, speed, x = walks(ego, 120, **hasty).T
    beside = int(np.argmax(x > 60.0))
    assert speed[beside - 3 : beside].max() < 0.05
    assert y[beside] < 1.75 - 1.0 - 0.3
    assert y[-1] > 4.0
    bold = walks(ego, 120, hesitates=False, **hasty)
    assert bold[beside, 1] > 1.0


def test_a_walker_in_the_path_of_a_vehicle_runs() -> None:
    ego = testing.moving("ego", x=24.0, y=-1.0, speed=10.0)
    _, speed, _ = walks(ego, 60, kerb=0.5, start_up=-8.0, hesitates=False).T
    assert speed.max() > 2.0
    assert np.abs(np.diff(speed)).max() <= 0.2 + 1e-4  # 2 m/s²
    assert speed[-1] == pytest.approx(1.3, abs=0.01)


def recorded(reactive: bool) -> Scenario:
    """The ego, and behind it a car that was recorded to follow at 10 m/s, and one in the other lane."""
    tracks = [testing.moving("behind", x=-25.0, steps=120), testing.moving("beside", x=-25.0, y=3.5, steps=120)]
    made = testing.scenario(*tracks, ego=testing.moving("ego", steps=120))
    return dataclasses.replace(scenario_of_log(made.scene, reactive=reactive), goal=made.goal)


def test_a_recording_is_repeated_while_the_ego_keeps_to_it() -> None:
    batch, plain = WorldBatch([recorded(True)]), WorldBatch([recorded(False)])
    for _ in range(100):
        batch.step(np.zeros((1, 2)))
        plain.step(np.zeros((1, 2)))
        assert (batch[0].agents().pose == plain[0].agents().pose).all()
        assert (batch[0].agents().velocity == plain[0].agents().velocity).all()


def test_only_the_vehicle_behind_a_braking_ego_brakes() -> None:
    batch, plain = WorldBatch([recorded(True)]), WorldBatch([recorded(False)])
    for _ in range(110):
        batch.step(np.array([[-4.0, 0.0]]))
        plain.step(np.array([[-4.0, 0.0]]))
        assert not batch.egos.collided[0, 0]
    behind, beside = batch[0].agents().pose
    assert np.hypot(*batch[0].agents().velocity[0]) < 0.1
    assert behind[0] + 2.4 < batch.egos.pose[0, 0, 0] - 2.4
    assert beside[0] == pytest.approx(-25.0 + 110.0, abs=1e-3)
    assert plain[0].first_contacts()  # without reacting it drives into the ego


def test_a_reactive_vehicle_goes_on_once_the_road_is_free() -> None:
    batch = WorldBatch([recorded(True)])
    for k in range(119):
        batch.step(np.array([[-4.0 if k < 20 else 3.0, 0.0]]))
        assert not batch.egos.collided[0, 0]
    assert np.hypot(*batch[0].agents().velocity[0]) > 8.0
    assert batch[0].agents().pose[0, 0] < -25.0 + 118.0  # never ahead of its recording


def appearing(category: Category, x: float, *, z: float = 0.0, speed: float = 0.0, reactive: bool = True) -> Scenario:
    """The ego at 10 m/s, and a road user whose recording begins after 6 s, 60 m along the ego's."""
    late = testing.moving("late", x, speed=speed, steps=120, category=category)
    late = dataclasses.replace(late, position=late.position + np.float32([0, 0, z]), valid=np.arange(120) >= 60)
    made = testing.scenario(late, ego=testing.moving("ego", steps=120))
    return dataclasses.replace(scenario_of_log(made.scene, reactive=reactive), goal=made.goal)


@pytest.mark.parametrize("category", [Category.VEHICLE, Category.CYCLIST, Category.PEDESTRIAN, Category.CONE])
def test_what_stands_does_not_appear_inside_an_ego_that_is_not_where_it_was_recorded(category: Category) -> None:
    batch, plain = (WorldBatch([appearing(category, 12.5, reactive=reactive)]) for reactive in (True, False))
    for _ in range(80):
        batch.step(np.array([[-4.0, 0.0]]))
        plain.step(np.array([[-4.0, 0.0]]))
    assert plain[0].first_contacts()
    assert batch[0].first_contacts() == []
    assert not batch.valid[0, 1]
    for _ in range(39):
        batch.step(np.array([[3.0, 0.0]]))
    assert batch.valid[0, 1]  # the ego has left
    assert batch.pose[0, 1, 0] == pytest.approx(12.5)


def test_nothing_appears_too_near_before_a_moving_ego() -> None:
    batch = WorldBatch([appearing(Category.VEHICLE, 57.0)])  # the ego at 8 m/s is 1 m behind it
    for k in range(119):
        batch.step(np.array([[-1.0 if k < 20 else 0.0, 0.0]]))
    assert batch[0].first_contacts() == []
    assert batch.valid[0, 1]


def test_an_ego_near_its_recording_keeps_out_what_it_alone_overlaps() -> None:
    made = (appearing(Category.VEHICLE, 55.0, reactive=reactive) for reactive in (True, False))
    batch, plain = (WorldBatch([each]) for each in made)  # the recorded ego is 0.2 m past it
    for k in range(90):
        batch.step(np.array([[-0.8 if k == 0 else 0.0, 0.0]]))
        plain.step(np.array([[-0.8 if k == 0 else 0.0, 0.0]]))
    assert plain[0].first_contacts()
    assert batch[0].first_contacts() == []
    assert batch.valid[0, 1]


def test_what_appears_on_a_bridge_appears_at_once() -> None:
    batch = WorldBatch([appearing(Category.VEHICLE, 12.5, z=6.0)])
    for _ in range(61):
        batch.step(np.array([[-4.0, 0.0]]))
    assert batch.valid[0, 1]


def test_a_recorded_walker_stops_before_an_ego_that_stands_on_its_path() -> None:
    walker = testing.moving("walker", 12.5, -8.0, 1.3, np.pi / 2, category=Category.PEDESTRIAN, steps=120)
    made = testing.scenario(walker, ego=testing.moving("ego", steps=120))
    batches = [WorldBatch([scenario_of_log(made.scene, reactive=reactive)]) for reactive in (True, False)]
    for batch in batches:
        for _ in range(110):
            batch.step(np.array([[-4.0, 0.0]]))
    assert batches[0][0].first_contacts() == []
    assert batches[1][0].first_contacts()
    assert batches[0].pose[0, 1, 1] < -1.0


def test_walkers_and_reactive_recordings_are_plain_data(tmp_path: object) -> None:
    track, made = on_foot()
    stored = dataclasses.replace(testing.scenario(track), walkers=(made,), reactive=True)
    save_scenario(stored, f"{tmp_path}/s")
    read = load_scenario(f"{tmp_path}/s")
    assert read.reactive
    assert read.walkers[0].kerb == 2.0
    np.testing.assert_array_equal(read.walkers[0].path, made.path)
    with pytest.raises(InputError, match="speed is 0"):
        Walker("p", made.path, speed=0.0)
