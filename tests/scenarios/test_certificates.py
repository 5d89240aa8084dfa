"""Certificates: the independent check against closed forms, reachability, and suites of certificates."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alpamayo.certification import REFERENCES, certify, checker, verify
from alpamayo.certification import suite as certified_suites
from alpamayo.certification.checker import MotionLimits, Surroundings, is_solved, margins
from alpamayo.certification.criticality import critical_times
from alpamayo.certification.reachability import survives
from alpamayo_scenarios import get_family, get_suite
from alpamayo_scenarios.families.taxonomy import Group
from alpamayo_scenarios.roads import CrossSection, straight_road
from alpamayo_scenarios.stage import Stage
from alpamayo_scenarios.suites import Suite, SuiteEntry
from alpamayo_scenarios.suites.certificates import load_certificates, save_certificates
from alpamayo_sim import testing
from alpamayo_sim.constants import GRAVITY_MPS2
from alpamayo_sim.datatypes.scenario import Certificate, Scenario, Solvability
from alpamayo_sim.datatypes.scene import Category, Environment
from alpamayo_sim.errors import InputError

EGO = np.array([5.0, 2.0])
ROAD = np.array([[-10.0, -4.0], [400.0, -4.0], [400.0, 4.0], [-10.0, 4.0]])


def straight(speeds: np.ndarray, y: float = 0.0) -> np.ndarray:
    """A motion along x with a speed at each state."""
    x = np.concatenate([[0.0], np.cumsum(0.05 * (speeds[1:] + speeds[:-1]))])
    return np.column_stack([x, np.full_like(x, y), np.zeros_like(x), speeds])


def around(poses: np.ndarray, size: tuple[float, float] = (4.0, 2.0), goal: float = 50.0) -> Surroundings:
    """One box with a pose at each state, on a straight road."""
    return Surroundings(
        dt=0.1,
        friction=0.8,
        ego_size=EGO,
        agent_pose=poses[:, None],
        agent_size=np.array([size]),
        agent_valid=np.ones((len(poses), 1), bool),
        route=np.array([[0.0, 0.0, 0.0], [300.0, 0.0, 0.0]]),
        goal_m=goal,
        areas=(ROAD,),
    )


def test_margins_of_a_straight_motion_are_the_closed_form() -> None:
    speeds = np.concatenate([np.full(40, 20.0), 20.0 - 0.5 * np.arange(1, 11)])  # 5 m/s² of braking for a second
    motion = straight(speeds)
    box = np.tile([30.0, 3.2, 0.0], (len(motion), 1))
    found = margins(motion, around(box))
    limits = MotionLimits()
    assert found["clearance_m"] == pytest.approx(3.2 - 2.0, abs=1e-6)
    assert found["goal_m"] == pytest.approx(motion[-1, 0] - 50.0 + limits.goal_m, abs=1e-6)
    assert found["road_m"] == limits.road_m
    assert found["acceleration_mps2"] == limits.acceleration_mps2
    assert found["jerk_mps3"] == pytest.approx(limits.jerk_mps3 - 50.0)
    assert found["friction_mps2"] == pytest.approx(0.8 * GRAVITY_MPS2 + limits.friction_tolerance_mps2 - 5.0)
    assert found["odometry_m"] == pytest.approx(limits.odometry_m, abs=1e-9)
    assert is_solved(found)


def test_each_fault_of_a_motion_is_found() -> None:
    motion = straight(np.full(60, 15.0))
    far = np.tile([500.0, 0.0, 0.0], (len(motion), 1))
    faults = {
        "goal_m": (motion[:20], far[:20]),
        "road_m": (straight(np.full(60, 15.0), y=3.5), far),
        "odometry_m": (motion + np.linspace(0.0, 3.0, 60)[:, None] * np.array([0.0, 1.0, 0.0, 0.0]), far),
        "acceleration_mps2": (straight(15.0 + 0.5 * np.arange(60)), far),
        "friction_mps2": (straight(np.maximum(60.0 - 0.9 * np.arange(60), 0.0)), far),
        "jerk_mps3": (straight(np.where(np.arange(60) == 30, 15.5, 15.0)), far),
        "clearance_m": (motion, np.tile([40.0, 0.0, 0.0], (len(motion), 1))),
    }
    for name, (driven, poses) in faults.items():
        found = margins(driven, around(poses))
        assert found[name] < 0.0, name
        assert not is_solved(found)
    turning = motion.copy()
    turning[:, 2] = 0.4 * np.arange(60)
    assert margins(turning, around(far))["curvature_per_m"] < 0.0


def test_a_contact_between_two_states_is_found() -> None:
    """A narrow box crosses the ego's path within one step: it touches at neither of its ends."""
    motion = straight(np.full(10, 0.0))
    poses = np.array([[0.0, -8.0 if k < 5 else 8.0, 0.0] for k in range(10)])
    assert checker.clearance(motion, around(poses, size=(0.5, 0.5), goal=0.0)) < 0.0


def test_a_wall_is_unavoidable_exactly_when_braking_is_too_short() -> None:
    """From 20 m/s at 8 m/s² the ego brakes within 25 m; grid and inscribed circle cost less than 3 m."""
    for gap, unavoidable in ((15.0, True), (22.0, True), (27.0, False)):
        wall = np.tile([gap + 1.0 + 10.0, 0.0, 0.0], (26, 1, 1))
        assert survives(wall, np.array([[20.0, 300.0]]), 20.0, 2.0, 8.0, 0.1) is not unavoidable


def test_what_can_be_passed_is_not_unavoidable() -> None:
    post = np.tile([15.0, 0.0, 0.0], (26, 1, 1))
    assert survives(post, np.array([[0.5, 0.5]]), 20.0, 2.0, 8.0, 0.1)
    thick = np.tile([16.5, 0.0, 0.0], (26, 1, 1))  # no step leaps over it
    assert not survives(thick, np.array([[3.5, 40.0]]), 20.0, 2.0, 8.0, 0.1)


def walled(gap: float) -> Scenario:
    """An ego at 20 m/s before a wall across the road."""
    section = CrossSection(forward=2, backward=0)
    road = straight_road(300.0, section, speed_limit=22.0)
    stage = Stage(road.alignment, duration=3.0)
    stage.add_ego(60.0, section.lane(0), speed=20.0)
    x, y, _ = road.alignment.pose(60.0 + gap, section.lane(0))
    stage.add_prop("wall", Category.BARRIER, (x + 5.0, y, 0.0), (8.0, 120.0, 2.0))
    return stage.scenario(road.road_map, road.route(0, 60.0), goal_distance=60.0, environment=Environment())


@pytest.fixture
def one_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """One reference model and no planner, so that a certificate takes a moment."""
    module = sys.modules[certify.__module__]
    monkeypatch.setattr(module, "REFERENCES", ("rss",))
    monkeypatch.setattr(module, "SOLVERS", {})


@pytest.mark.usefixtures("one_reference")
def test_a_wall_that_no_motion_avoids_is_certified_as_unavoidable() -> None:
    found = certify(walled(12.0))
    assert found.solvability is Solvability.UNAVOIDABLE
    assert found.difficulty is None
    assert found.effort["episodes"] == 1
    assert certified_suites.holds(walled(12.0), found)
    assert not certified_suites.holds(walled(90.0), found)


@pytest.mark.usefixtures("one_reference")
def test_a_solved_scenario_is_checked_again_by_replay() -> None:
    scenario = get_family("slower-lead").build({}, 10_000)
    found = certify(scenario)
    assert found.solvability is Solvability.SOLVED
    assert (found.solver, found.avoided_by) == ("rss", ("rss",))
    assert found.difficulty is not None
    assert 0.0 < found.difficulty <= 0.5
    again = verify(scenario, found)
    assert is_solved(again)
    for name, value in found.margins.items():
        assert again[name] == pytest.approx(value, abs=1e-3), name
    elsewhere = replace(found, trajectory=found.trajectory + np.array([0.0, 2.5, 0.0, 0.0], np.float32))
    assert not is_solved(verify(scenario, elsewhere))
    late = replace(found, trajectory=found.trajectory[:20])
    assert not is_solved(verify(scenario, late))


@pytest.mark.usefixtures("one_reference")
def test_an_unsolved_scenario_is_unknown_with_its_effort() -> None:
    """RSS stops before the wall and does not arrive, and no contact is unavoidable."""
    found = certify(walled(60.0))
    assert found.solvability is Solvability.UNKNOWN
    assert found.difficulty is None
    assert len(found.trajectory) == 0
    assert found.effort == {"episodes": 1, "steps": 30}


def test_the_mini_suite_is_certified_and_marks_what_is_held_out() -> None:
    suite = get_suite("longtail-mini")
    found = load_certificates(suite)
    assert found.counts() == {"solved": 24, "unavoidable": 0, "unknown": 0}
    families = {entry.family for entry in suite.entries}
    assert set(found.held_out) == {name for name in families if get_family(name).held_out}
    assert {get_family(name).group for name in families} == set(Group)
    for each in found.certificates:
        assert is_solved(each.margins)
        assert each.difficulty is not None
        assert 0.0 <= each.difficulty <= 1.0
        assert len(each.trajectory) > 20
        assert set(each.avoided_by) <= set(REFERENCES)


def test_the_suite_of_all_families_says_what_is_not_certified() -> None:
    suite = get_suite("longtail-60")
    found = load_certificates(suite)
    assert found.counts() == {"solved": 467, "unavoidable": 0, "unknown": 13}
    assert len(found.held_out) == 12
    assert all(each.solvability is Solvability.SOLVED for each in found.certificates[:60])
    for each in found.certificates:
        if each.solvability is Solvability.SOLVED:
            assert is_solved(each.margins)
            assert len(each.trajectory) > 20
        else:
            assert each.difficulty is None
            assert each.effort["episodes"] > len(REFERENCES)


@pytest.mark.parametrize("row", [4, 8, 12, 19])
def test_a_stored_certificate_holds_when_it_is_replayed(row: int) -> None:
    suite = get_suite("longtail-mini")
    scenario, found = suite.entries[row].make(), load_certificates(suite).certificates[row]
    again = verify(scenario, found)
    assert is_solved(again)
    for name, value in found.margins.items():
        assert again[name] == pytest.approx(value, abs=1e-2), name


@pytest.mark.parametrize(("speed", "distance"), [(10.0, 60.0), (16.0, 90.0)])
def test_the_time_of_criticality_is_that_of_full_braking_before_a_wall(speed: float, distance: float) -> None:
    """A wall over the whole road: the ego has to brake at mu g at the latest, v² / (2 mu g) before it."""
    wall = testing.prop("wall", distance, 0.0, category=Category.BARRIER, size=(1.0, 120.0, 2.0))
    scenario = testing.scenario(ego=testing.moving("ego", 0.0, 0.0, speed), props=[wall], goal=200.0)
    gap = distance - 0.5 - 0.5 * float(scenario.scene.ego.size[0])
    found = critical_times(scenario)
    assert found.contact_s == pytest.approx(np.ceil(gap / speed * 10.0) / 10.0, abs=0.11)
    braking = speed / (2.0 * scenario.scene.environment.friction * GRAVITY_MPS2)
    assert found.critical_s == pytest.approx(np.floor((gap / speed - braking) * 10.0) / 10.0, abs=0.11)


def test_a_steady_ego_without_contact_has_no_time_of_criticality() -> None:
    assert critical_times(testing.scenario(duration=3.0)) == (None, None)
    inside = testing.prop("wall", 4.0, 0.0, category=Category.BARRIER, size=(1.0, 120.0, 2.0))
    found = critical_times(testing.scenario(props=[inside], duration=3.0))
    assert found.contact_s is not None
    assert found.critical_s is None  # the ego cannot stop in a metre


def test_a_suite_is_certified_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(scenario: Scenario) -> Certificate:
        calls.append(scenario.scene.id)
        return Certificate(np.zeros((0, 4), np.float32), {}, solvability=Solvability.UNKNOWN, effort={"episodes": 1})

    monkeypatch.setattr(certified_suites, "certify", counted)
    suite = Suite("two", 1, (SuiteEntry.drawn("slower-lead", 10_000), SuiteEntry.drawn("fog-queue", 10_001)))
    first = certified_suites.certify_suite(suite, tmp_path / "c", workers=1)
    assert calls == ["slower-lead-10000", "fog-queue-10001"]
    (tmp_path / "c" / "0001-fog-queue-10001.npz").write_bytes(b"torn")
    again = certified_suites.certify_suite(suite, tmp_path / "c", workers=1)
    assert calls[2:] == ["fog-queue-10001"]
    assert again.counts() == first.counts() == {"solved": 0, "unavoidable": 0, "unknown": 2}
    assert first.held_out == ("fog-queue",)
    save_certificates(first, tmp_path)
    assert load_certificates(suite, tmp_path).counts() == first.counts()
    other = Suite("two", 1, suite.entries[:1])
    with pytest.raises(InputError, match="not the certificates of suite 'two'"):
        load_certificates(other, tmp_path)
