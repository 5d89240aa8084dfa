"""The ego's dynamics against closed forms and against SciPy's integrator."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from alpamayo_sim import testing
from alpamayo_sim.datatypes.dynamics import Dynamics, dynamics_of
from alpamayo_sim.datatypes.scenario import Script
from alpamayo_sim.datatypes.scene import Environment
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.scene_file import load_scenario, save_scenario

G = 9.81


def world_of(
    dynamics: Dynamics, speed: float = 10.0, friction: float = 0.9, others: int = 0, **scene: Any
) -> WorldBatch:
    tracks = [testing.moving(f"t{k}", x=20.0 + 15 * k, y=3.5, speed=8.0 + k) for k in range(others)]
    made = testing.scenario(
        *tracks, ego=testing.moving("ego", speed=speed), environment=Environment(friction=friction), **scene
    )
    return WorldBatch([dataclasses.replace(made, dynamics=dynamics)])


def drive(batch: WorldBatch, acceleration: float, curvature: float, steps: int) -> None:
    for _ in range(steps):
        batch.step(np.array([[acceleration, curvature]]))


def hold_speed(batch: WorldBatch, speed: float, curvature: float, steps: int) -> None:
    for _ in range(steps):
        drive(batch, 5.0 * (speed - float(batch.egos.speed[0, 0])), curvature, 1)


@settings(max_examples=30, deadline=None)
@given(st.floats(-4.0, 2.0), st.floats(-0.05, 0.05), st.integers(1, 40), st.sampled_from([1, 2, 5, 15]))
def test_the_arc_does_not_depend_on_the_substeps(acc: float, curvature: float, steps: int, substeps: int) -> None:
    batch = world_of(Dynamics(substeps=substeps), friction=1.5)
    drive(batch, acc, curvature, steps)
    t = 0.1 * steps if acc >= 0 else min(0.1 * steps, -10.0 / acc)
    if (10.0 + max(acc, 0.0) * t) ** 2 * abs(curvature) > 1.5 * G:
        return
    s = 10.0 * t + 0.5 * acc * t * t
    chord = s * np.sinc(0.5 * curvature * s / np.pi)
    expected = chord * np.array([np.cos(0.5 * curvature * s), np.sin(0.5 * curvature * s)])
    np.testing.assert_allclose(batch.egos.pose[0, 0, :2], expected, atol=2e-3)
    assert batch.step_index[0] == steps


@pytest.mark.parametrize("substeps", [1, 4, 10])
def test_a_lagging_pedal_gives_the_exponential(substeps: int) -> None:
    lag = 0.35
    batch = world_of(Dynamics(acceleration_lag=lag, substeps=substeps))
    drive(batch, 0.0, 0.0, 1)  # what the recording accelerated is 0 already
    start = float(batch.egos.speed[0, 0])
    drive(batch, 2.0, 0.0, 12)
    gained = 2.0 * (1.2 - lag * (1.0 - np.exp(-1.2 / lag)))
    assert batch.egos.speed[0, 0] - start == pytest.approx(gained, abs=1e-4)


def test_jerk_is_bounded() -> None:
    batch = world_of(Dynamics(jerk_limit=4.0, substeps=5))
    drive(batch, 3.0, 0.0, 5)
    assert batch.egos.speed[0, 0] == pytest.approx(10.0 + 0.5 * 4.0 * 0.5**2, abs=1e-4)
    drive(batch, 3.0, 0.0, 5)  # the rest of the ramp to 3 m/s² takes 0.25 s
    assert batch.egos.speed[0, 0] == pytest.approx(10.0 + 0.5 * 3.0 * 0.75 + 3.0 * 0.25, abs=1e-4)


def test_steering_lags_and_its_rate_is_bounded() -> None:
    dynamics = Dynamics(steering_rate=0.2, substeps=10)
    batch = world_of(dynamics, speed=5.0)
    drive(batch, 0.0, 0.1, 5)
    heading = 5.0 / 2.578 * -np.log(np.cos(0.2 * 0.5)) / 0.2  # integral of v tan(rate t) / wheelbase
    assert batch.egos.pose[0, 0, 2] == pytest.approx(heading, abs=1e-4)
    slow = world_of(Dynamics(steering_lag=0.2, substeps=20), speed=5.0)
    drive(slow, 0.0, 0.02, 10)
    lagged = 5.0 * 0.02 * (1.0 - 0.2 * (1.0 - np.exp(-1.0 / 0.2)))
    assert slow.egos.pose[0, 0, 2] == pytest.approx(lagged, rel=2e-3)


def single_track(controls: list[tuple[float, float]], speed: float, friction: float) -> np.ndarray:
    """x, y, heading, speed, lateral velocity, yaw rate by SciPy; the model written once more, above the blending."""
    length, rear, gyration, stiffness = 2.578, 1.422, 1.280, 20.89

    def force(alpha: float, grip: float) -> float:
        z = stiffness * np.tan(alpha) / grip
        return grip * (np.clip(z, -3, 3) - np.clip(z, -3, 3) * abs(np.clip(z, -3, 3)) / 3 + np.clip(z, -3, 3) ** 3 / 27)

    def rates(_: float, x: np.ndarray, a: float, delta: float) -> list[float]:
        _, _, psi, v, u, r = x
        grip = np.sqrt(friction**2 - (a / G) ** 2)
        front = G * rear / length * force(delta - np.arctan((u + (length - rear) * r) / v), grip)
        back = G * (length - rear) / length * force(-np.arctan((u - rear * r) / v), grip)
        return [
            v * np.cos(psi) - u * np.sin(psi),
            v * np.sin(psi) + u * np.cos(psi),
            r,
            a - front * np.sin(delta) + r * u,
            front * np.cos(delta) + back - r * v,
            ((length - rear) * front * np.cos(delta) - rear * back) / gyration**2,
        ]

    state = np.array([0.0, 0.0, 0.0, speed, 0.0, 0.0])
    for a, curvature in controls:
        made = (a, float(np.arctan(length * curvature)))
        state = solve_ivp(rates, (0.0, 0.1), state, args=made, rtol=1e-8, atol=1e-8).y[:, -1]
    return state


@pytest.mark.parametrize("substeps", [1, 7])
@pytest.mark.parametrize(("speed", "curvature", "friction"), [(10.0, 0.02, 0.9), (25.0, 0.01, 0.9), (20.0, 0.03, 0.3)])
def test_the_dynamic_bicycle_agrees_with_scipy(speed: float, curvature: float, friction: float, substeps: int) -> None:
    controls = [(0.5, curvature * np.sin(0.4 * k)) for k in range(25)]
    batch = world_of(Dynamics(model="dynamic", substeps=substeps), speed=speed, friction=friction)
    for acceleration, bend in controls:
        batch.step(np.array([[acceleration, bend]]))
    expected = single_track(controls, speed, friction)
    np.testing.assert_allclose(batch.egos.pose[0, 0], expected[:3], atol=0.02)
    np.testing.assert_allclose(batch.egos.speed[0, 0], expected[3], atol=0.01)
    np.testing.assert_allclose(batch.array("slip")[0, 0], expected[4:], atol=0.01)


@pytest.mark.parametrize("friction", [0.3, 0.6, 0.9])
def test_the_skid_pad_ends_at_the_friction_limit(friction: float) -> None:
    batch = world_of(Dynamics(model="dynamic", substeps=10), speed=12.0, friction=friction)
    hold_speed(batch, 12.0, 0.2, 150)
    _, yaw_rate = batch.array("slip")[0, 0]
    pulled = 5.0 * (12.0 - float(batch.egos.speed[0, 0]))
    limit = np.sqrt((friction * G) ** 2 - pulled**2) * np.cos(np.arctan(2.578 * 0.2))  # the front axle slides
    assert yaw_rate * batch.egos.speed[0, 0] == pytest.approx(limit, rel=5e-3)
    assert yaw_rate * batch.egos.speed[0, 0] < friction * G


def test_below_the_limit_the_dynamic_car_steers_neutrally() -> None:
    batch = world_of(Dynamics(model="dynamic"), speed=15.0)
    hold_speed(batch, 15.0, 0.01, 80)  # both axles have the same stiffness per load: yaw rate = speed * curvature
    _, yaw_rate = batch.array("slip")[0, 0]
    assert yaw_rate == pytest.approx(float(batch.egos.speed[0, 0]) * 0.01, rel=0.02)


def test_at_low_speed_the_dynamic_car_is_the_kinematic_one() -> None:
    batch = world_of(Dynamics(model="dynamic"), speed=1.5)
    drive(batch, 0.0, 0.2, 40)
    lateral, yaw_rate = batch.array("slip")[0, 0]
    assert yaw_rate == pytest.approx(1.5 * 0.2, rel=1e-3)
    assert lateral == pytest.approx(1.422 * yaw_rate, rel=1e-3)
    centre = batch.egos.pose[0, 0, :2] - 1.422 * np.array(
        [np.cos(batch.egos.pose[0, 0, 2]), np.sin(batch.egos.pose[0, 0, 2])]
    )
    radius = np.hypot(*(centre - [-1.422, 5.0]))  # the rear axle goes round a circle of 1 / curvature
    assert radius == pytest.approx(5.0, abs=0.05)


def test_the_dynamic_car_stops_and_stays() -> None:
    batch = world_of(Dynamics(model="dynamic"), friction=0.5)
    drive(batch, -9.0, 0.05, 40)
    assert batch.egos.speed[0, 0] == 0.0
    stopped = batch.egos.pose[:, 0].copy()
    assert np.hypot(*stopped[0, :2]) == pytest.approx(10.0**2 / (2 * 0.5 * G), rel=0.03)
    drive(batch, -9.0, 0.05, 5)
    assert (batch.egos.pose[:, 0] == stopped).all()


def test_substeps_do_not_change_the_dynamic_car() -> None:
    ends = []
    for substeps in (1, 2, 10):
        batch = world_of(Dynamics(model="dynamic", substeps=substeps), speed=8.0)
        for k in range(40):
            drive(batch, -1.5, 0.04 * np.sin(0.3 * k), 1)  # through the blending speeds
        ends.append([*batch.egos.pose[0, 0], batch.egos.speed[0, 0]])
    np.testing.assert_allclose(ends[1:], [ends[0]] * 2, atol=2e-3)


def test_a_world_is_the_same_alone_and_among_others_with_other_dynamics() -> None:
    kinds = [
        Dynamics(),
        Dynamics(model="dynamic", substeps=3),
        Dynamics(substeps=7, steering_lag=0.1, jerk_limit=8.0),
    ]
    script = Script("t0", np.array([[20, 3.5, 0], [300, 3.5, 0]], np.float32), 8.0, yields=True)
    made = [
        dataclasses.replace(testing.scenario(testing.moving("t0", x=20.0, y=3.5), scripts=[script]), dynamics=k)
        for k in kinds
    ]
    together, alone = WorldBatch(made), [WorldBatch([one]) for one in made]
    rng = np.random.default_rng(1)
    for _ in range(30):
        controls = rng.normal(0.0, 1.0, (3, 2)) * [2.0, 0.05]
        together.step(controls)
        for w, batch in enumerate(alone):
            batch.step(controls[w : w + 1])
            assert (batch.egos.pose[0, 0] == together.egos.pose[w, 0]).all()
            assert (batch.pose[0, 1:] == together.pose[w, 1:]).all()
    saved = together.snapshot()
    together.step(np.ones((3, 2)) * 0.01)
    after = together.egos.pose[:, 0].copy()
    together.restore(saved)
    together.step(np.ones((3, 2)) * 0.01)
    assert (together.egos.pose[:, 0] == after).all()


def test_a_recording_is_met_at_each_step_whatever_the_substeps() -> None:
    batch = world_of(Dynamics(substeps=4), others=3)
    for step in range(1, testing.STEPS + 10):
        batch.step(np.zeros((1, 2)), replay_ego=np.ones(1, bool))
        tracks = [track for track in batch.scenarios[0].scene.tracks if track.id != "ego"]
        for k, track in enumerate(tracks):
            assert batch.valid[0, 1 + k] == (step < testing.STEPS)
            if step < testing.STEPS:
                assert (batch.pose[0, 1 + k, :2] == track.position[step, :2]).all()


def test_dynamics_are_plain_data(tmp_path: Any) -> None:
    dynamics = Dynamics(model="dynamic", substeps=5, jerk_limit=9.0, blend_speeds=(1.5, 3.0))
    assert dynamics_of(json.loads(json.dumps(dataclasses.asdict(dynamics)))) == dynamics
    made = dataclasses.replace(testing.scenario(), dynamics=dynamics)
    save_scenario(made, tmp_path / "s")
    assert load_scenario(tmp_path / "s").dynamics == dynamics


def test_a_document_from_before_there_were_dynamics_is_read(tmp_path: Any) -> None:
    save_scenario(testing.scenario(), tmp_path / "s")
    text = json.loads((tmp_path / "s.json").read_text())
    del text["body"]["dynamics"]
    (tmp_path / "s.json").write_text(json.dumps(text))
    assert load_scenario(tmp_path / "s").dynamics == Dynamics()


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"model": "magic"}, "model is 'magic'"),
        ({"substeps": 0}, "substeps is 0"),
        ({"substeps": 2.5}, "substeps is 2.5"),
        ({"steering_lag": -1.0}, r"steering_lag is -1.0, must be a number in \[0, 10\]"),
        ({"acceleration_lag": float("nan")}, "acceleration_lag is nan"),
        ({"jerk_limit": 0.0}, "jerk_limit is 0.0"),
        ({"rear_axle": 9.0}, "rear_axle is 9.0 m"),
        ({"blend_speeds": (4.0, 2.0)}, "blend_speeds"),
        ({"wheels": 3}, "no setting 'wheels'"),
    ],
)
def test_dynamics_that_make_no_sense_are_refused(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        dynamics_of(values)
