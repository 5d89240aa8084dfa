"""Plain settings of wrong types and ranges: one clear line that names what, and what would be right."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alpamayo_sim import testing
from alpamayo_sim.datatypes.dynamics import Dynamics, dynamics_of
from alpamayo_sim.datatypes.scenario import (
    Ego,
    Goal,
    Manoeuvre,
    Scenario,
    Script,
    TrafficVehicle,
    Trigger,
    Walker,
    scenario_of_log,
    with_egos,
)
from alpamayo_sim.datatypes.scene import Route
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.environments import DrivingEnv, DrivingVectorEnv
from alpamayo_sim.environments.episode_batch import Settings, settings_of
from alpamayo_sim.environments.rewards import Reward
from alpamayo_sim.environments.scenario_pool import ScenarioPool
from alpamayo_sim.errors import MAX_MESSAGE_CHARACTERS, InputError, shown, unknown_name
from alpamayo_sim.settings import check_fields, names_of, path_of, real_number, whole_number

NUMBERS = (-1, 0, 1.5, True, math.nan, math.inf, -math.inf, 10**400, -(10**5000), 1e308, 1 << 63, np.nan, 3 + 2j)
OTHERS = (
    None,
    "x",
    "3",
    "",
    "\ud800",
    b"x",
    {},
    {"a": 1},
    [],
    [1, 2],
    (),
    [None],
    [[]],
    object(),
    np.array([1, 2]),
    float,
)
JUNK = (*NUMBERS, *OTHERS)
PATH = np.array([[0, 0, 0], [9, 0, 0]], np.float32)

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def error_of(call: Callable[[Any], Any], value: Any) -> InputError | None:
    """Return the error with which a value is refused; errors of other kinds fail the test."""
    try:
        call(value)
    except InputError as error:
        return error
    return None


def refused_or_taken(call: Callable[[Any], Any]) -> int:
    """Return how many of the values are refused, each by one line."""
    errors = [error for value in JUNK if (error := error_of(call, value)) is not None]
    assert all("\n" not in str(error) and len(str(error)) <= MAX_MESSAGE_CHARACTERS for error in errors)
    return len(errors)


def field_setter(make: Callable[..., Any], right: dict[str, Any], name: str) -> Callable[[Any], Any]:
    return lambda value: make(**{**right, name: value})


@pytest.mark.parametrize(("kind", "place"), [(Settings, ""), (Reward, "reward"), (Dynamics, "dynamics")])
def test_each_setting_of_an_environment_is_checked(kind: type, place: str) -> None:
    def from_json(**values: Any) -> Settings:
        return settings_of({place: values} if place else values)

    for field in fields(kind):
        refused = [refused_or_taken(field_setter(make, {}, field.name)) for make in (kind, from_json)]
        assert min(refused) >= len(JUNK) - 8, field.name


NOUNS: dict[str, tuple[type, dict[str, Any]]] = {
    "trigger": (Trigger, {}),
    "manoeuvre": (Manoeuvre, {}),
    "script": (Script, {"track_id": "a", "path": PATH, "speed": 3.0}),
    "traffic vehicle": (TrafficVehicle, {"track_id": "a"}),
    "walker": (Walker, {"track_id": "a", "path": PATH}),
    "goal": (Goal, {"distance": 3.0, "duration": 2.0}),
    "ego": (Ego, {"track_id": "a", "route": Route(PATH), "distance": 9.0}),
    "scenario": (Scenario, {"scene": testing.scenario().scene, "goal": Goal(3.0, 2.0)}),
}


@pytest.mark.parametrize("name", NOUNS)
def test_each_part_of_a_scenario_is_checked(name: str) -> None:
    kind, right = NOUNS[name]
    kind(**right)
    for field in fields(kind):
        assert refused_or_taken(field_setter(kind, right, field.name)) >= 10, field.name


def test_each_entry_of_an_environment_is_checked() -> None:
    scenario = testing.scenario()

    def source(rng: np.random.Generator) -> Scenario:
        return scenario

    one, two = DrivingEnv(source), DrivingVectorEnv(source, 2)
    one.reset(seed=0)
    two.reset(seed=0)
    entries: list[Callable[[Any], Any]] = [
        settings_of,
        dynamics_of,
        scenario_of_log,
        WorldBatch,
        one.step,
        two.step,
        lambda value: DrivingEnv(lambda rng: value).reset(),
        lambda value: DrivingEnv(source, render_mode=value),
        lambda value: DrivingVectorEnv(source, value),
        lambda value: DrivingVectorEnv(source, autoreset_mode=value),
        lambda value: ScenarioPool(lambda number: scenario, value, source),
        lambda value: WorldBatch([value]),
        lambda value: WorldBatch([scenario], device=value),
        lambda value: with_egos(scenario, value),
        lambda value: one.reset(seed=value),
        lambda value: one.reset(options=value),
        lambda value: one.reset(options={"scenario": value}),
        lambda value: one.step([value, 0.0]),
        lambda value: two.reset(seed=[value, 1]),
        lambda value: two.reset(options={"scenario": [value, None]}),
        lambda value: two.reset(options={"reset_mask": value}),
        lambda value: two.step([[value, 0.0], [0.0, 0.0]]),
    ]
    for number, entry in enumerate(entries):
        assert refused_or_taken(entry) >= 10, number


def test_numbers_of_any_type_are_numbers() -> None:
    assert (real_number(np.float32(0.5), "x"), whole_number(np.int64(3), "x")) == (0.5, 3)
    assert settings_of({"agents": np.int32(4), "reward": {"progress": 1}}).agents == 4
    assert settings_of({"image_size": [48, 32], "observation": ["vector"]}).image_size == (48, 32)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: settings_of({"agents": "3"}), "environment: agents is '3', must be a whole number in [0, 20000]"),
        (lambda: settings_of({"reactive": 1}), "environment: reactive is 1, must be True or False"),
        (lambda: settings_of({"max_episode_steps": 1.5}), "must be a whole number in [1, 2147483647] or None"),
        (lambda: settings_of({"image_size": (1,)}), "must be a tuple of 2, each a whole number in [1, 8192]"),
        (lambda: settings_of({"reward": {"lateral": None}}), "reward: lateral is None, must be a number in [-1e+06,"),
        (lambda: Manoeuvre(path=[1.0]), "manoeuvre: path is [1.0], must be an array or None"),  # type: ignore[arg-type]
        (lambda: names_of([1], "families"), "families is [1], must be a list of names"),
        (lambda: path_of("a\0b", "the path"), "the path is 'a\\x00b', must be text that a file system can hold"),
    ],
)
def test_a_message_says_what_is_right(wrong: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        wrong()
    assert said in str(caught.value)


def test_tuples_of_any_length_are_checked_by_their_parts() -> None:
    @dataclass
    class Lengths:
        values: tuple[float, ...]

    check_fields(Lengths((1.0, 2)), "x")
    with pytest.raises(InputError, match="must be a tuple, each a number"):
        check_fields(Lengths((1.0, "2")), "x")  # type: ignore[arg-type]


def test_paths_and_values_are_shown_whatever_they_are() -> None:
    assert path_of(Path("a"), "x") == path_of("a", "x")
    assert shown(10**5000) == "a int"
    many = str(unknown_name("name", [3], [f"name-{k:02}" for k in range(40)]))
    assert many.startswith("unknown name [3]; there are: name-00, ")
    assert many.endswith("name-23 and 16 more")


def test_a_name_in_other_letters_is_offered() -> None:
    for name in ("CUT-IN", "Cut_in", "cutin"):
        assert str(unknown_name("family", name, ["cut-in", "debris"])).endswith("did you mean cut-in?")
