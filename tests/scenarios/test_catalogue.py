"""The catalogue of families: what each says of itself, how hard it is, its twin, and bad parameters."""

import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

import alpamayo
from alpamayo_scenarios import FAMILIES, Family, get_family
from alpamayo_scenarios.families import training_family_names
from alpamayo_scenarios.families.taxonomy import Group
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import arc_length
from alpamayo_sim.io.document import digest

SEEDS = range(10_000, 10_003)
PLAN_TIMES = 0.1 * np.arange(1, 65)
SOLVED = (
    ("side-drift", 10_001),
    ("adult-crossing", 10_000),
)


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


@pytest.fixture(scope="module")
def scenarios(family: Family) -> list[Scenario]:
    return [family.build({}, seed) for seed in SEEDS]


def steady_plans(batch: WorldBatch, step: int) -> np.ndarray:
    """Plans that go on along the route at the initial speed: (worlds, 64, 4) in the ego frame."""
    plans = []
    for scenario, pose in zip(batch.scenarios, batch.egos.pose[:, 0], strict=True):
        assert scenario.scene.route is not None
        path = scenario.scene.route.path[:, :2].astype(float)
        along = arc_length(path)
        direction = np.gradient(path, axis=0)
        headings = np.unwrap(np.arctan2(direction[:, 1], direction[:, 0]))
        speed = float(np.hypot(*scenario.scene.ego.velocity[0]))
        s = speed * (0.1 * step + PLAN_TIMES)
        dx, dy = np.interp(s, along, path[:, 0]) - pose[0], np.interp(s, along, path[:, 1]) - pose[1]
        c, sn = math.cos(pose[2]), math.sin(pose[2])
        turn = (np.interp(s, along, headings) - pose[2] + np.pi) % (2.0 * np.pi) - np.pi
        plans.append(np.stack([c * dx + sn * dy, -sn * dx + c * dy, turn, np.full(64, speed)], axis=-1))
    return np.array(plans, np.float32)


def test_a_family_says_what_it_is(family: Family) -> None:
    longitudinal, lateral = family.decision
    assert isinstance(longitudinal, Longitudinal)
    assert isinstance(lateral, Lateral)
    assert family.odd
    assert family.critical_actors
    for parameter in family.parameters:
        assert parameter.low <= parameter.default <= parameter.high
        assert not parameter.integer or parameter.default == round(parameter.default)
    assert family.accepts(family.defaults())


def test_every_group_has_families_for_training_and_held_out_ones() -> None:
    assert {family.group for family in FAMILIES} == set(Group)
    held_out = Counter(family.group for family in FAMILIES if family.held_out)
    assert set(held_out) == set(Group)
    assert set(training_family_names()) == {family.name for family in FAMILIES if not family.held_out}


def test_a_steady_driver_mostly_fails_but_not_in_the_first_second(scenarios: list[Scenario]) -> None:
    """A car that keeps to its route and its speed runs into something before the goal."""
    batch = WorldBatch(scenarios)
    failed, arrived = np.zeros(len(scenarios), bool), np.zeros(len(scenarios), bool)
    for step in range(max(scenario.steps for scenario in scenarios)):
        batch.step(batch.track(steady_plans(batch, step)))
        arrived |= batch.egos.arrived[:, 0] & ~failed
        failed |= batch.egos.collided[:, 0] & ~arrived
        assert step >= 10 or not failed.any()
        if np.all(arrived | failed):
            break
    assert failed.sum() >= 2


@pytest.mark.parametrize(("name", "seed"), SOLVED)
def test_the_expert_solves_it(name: str, seed: int) -> None:
    scenario = alpamayo.make_scenario(name, seed)
    assert alpamayo.drive(scenario, alpamayo.make_driver("expert"), guard=False).arrived


def test_the_twin_lacks_the_critical_actors_and_nothing_else(family: Family, scenarios: list[Scenario]) -> None:
    scene = scenarios[0].scene
    twin = family.twin({}, scenarios[0].seed).scene
    before = {thing.id for thing in (*scene.tracks, *scene.props)}
    after = {thing.id for thing in (*twin.tracks, *twin.props)}
    gone = before - after
    assert after < before
    assert gone == {name for name in before if family.is_critical(name)}
    assert scene.ego_id in after
    assert twin.id != scene.id


def test_two_processes_make_the_same_bytes() -> None:
    code = (
        "from alpamayo_scenarios import FAMILIES, make_scenario\n"
        "from alpamayo_sim.io.document import digest\n"
        "for family in FAMILIES: print(family.name, digest(make_scenario(family.name, 10_000)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    there = dict(line.split() for line in done.stdout.splitlines())
    assert there == {family.name: digest(family.build({}, 10_000)) for family in FAMILIES}


def test_bad_parameters_are_one_clear_line(family: Family) -> None:
    parameter = family.parameters[0]
    for given in ({parameter.name: parameter.high + 1.0}, {parameter.name: math.nan}, {"no-such-axis": 1.0}):
        with pytest.raises(InputError) as caught:
            family.build(given, 0)
        assert "\n" not in str(caught.value)
        assert next(iter(given)) in str(caught.value)


def test_a_missing_family_offers_the_near_names() -> None:
    with pytest.raises(InputError, match="did you mean"):
        get_family("slower_lead")
