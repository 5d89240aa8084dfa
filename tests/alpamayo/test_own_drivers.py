"""Drivers of the user: found in the current folder, named in errors by file and line, told apart by their source."""

import sys
from pathlib import Path

import pytest

import alpamayo
from alpamayo import provenance
from alpamayo.drivers.new import new_driver
from alpamayo.drivers.own import parse_arguments
from alpamayo.drivers.registry import BUILT_IN, code_of, guarded_by_default, make_driver
from alpamayo_sim.errors import DriverError, InputError

SOURCE = """
import numpy as np
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Needs
import helper_of_mine

class Standing:
    name = "standing"
    needs = Needs()

    def __init__(self, speed=0.0):
        self.speed = speed

    def reset(self, scene, rng):
        pass

    def act(self, observation):
        return Decision(np.zeros((1, 64, 4), np.float32), np.ones(1, np.float32))

class ReturnsNone(Standing):
    def act(self, observation): return None
class ReturnsList(Standing):
    def act(self, observation): return [1.0]
class Raises(Standing):
    def act(self, observation): return self.nothing
class RaisesInReset(Standing):
    def reset(self, scene, rng): raise RuntimeError("first line\\nsecond")
class RaisesInConstructor(Standing):
    def __init__(self): self.weights.shape
class Exits(Standing):
    def __init__(self): raise SystemExit(3)
class WrongShape(Standing):
    def act(self, observation): return Decision(np.zeros((64, 4), np.float32), np.ones(1, np.float32))
class NotANumber(Standing):
    def act(self, observation): return Decision(np.full((1, 64, 4), np.nan, np.float32), np.ones(1, np.float32))
class Huge(Standing):
    def act(self, observation): return Decision(np.full((1, 64, 4), 1e30, np.float32), np.ones(1, np.float32))
class PlanAsList(Standing):
    def act(self, observation): return Decision([[0.0] * 4] * 64, np.ones(1, np.float32))
class PlanOfObjects(Standing):
    def act(self, observation): return Decision(np.full((1, 64, 4), None), np.ones(1, np.float32))
class NoWeights(Standing):
    def act(self, observation): return Decision(np.zeros((1, 64, 4), np.float32), None)
class WeightOfNan(Standing):
    def act(self, observation): return Decision(np.zeros((1, 64, 4), np.float32), np.full(1, np.nan, np.float32))
class ChosenOutside(Standing):
    def act(self, observation): return Decision(np.zeros((1, 64, 4), np.float32), np.ones(1, np.float32), chosen=1)
class ChosenAsText(Standing):
    def act(self, observation): return Decision(np.zeros((1, 64, 4), np.float32), np.ones(1, np.float32), chosen="0")
class ReasonAsText(Standing):
    def act(self, observation):
        return Decision(np.zeros((1, 64, 4), np.float32), np.ones(1, np.float32), reasoning="go")
class WrongNeeds(Standing):
    needs = None
class NoMemory(Standing):
    def act(self, observation): raise MemoryError
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a driver of the user, which is the current one."""
    (tmp_path / "mine_to_test.py").write_text(SOURCE)
    (tmp_path / "helper_of_mine.py").write_text("VALUE = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    for name in ("mine_to_test", "helper_of_mine", "broken_to_test"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def line_of(words: str) -> int:
    return next(number for number, line in enumerate(SOURCE.splitlines(), 1) if words in line)


def drive(name: str) -> None:
    alpamayo.drive(alpamayo.make_scenario("debris", seed=1), make_driver(f"mine_to_test:{name}"))


def test_a_driver_of_the_current_folder_is_made_with_arguments(here: Path) -> None:
    assert make_driver("mine_to_test:Standing", arguments={"speed": 3}).speed == 3  # type: ignore[attr-defined]
    with pytest.raises(DriverError, match="'sped'"):
        make_driver("mine_to_test:Standing", arguments={"sped": 3})
    with pytest.raises(InputError, match="takes no arguments"):
        make_driver("idm", arguments={"speed": 3})


@pytest.mark.parametrize(
    ("name", "words", "line"),
    [
        ("ReturnsNone", "act returned None, must be a Decision", "return None"),
        ("ReturnsList", "act returned a list, must be a Decision", "return [1.0]"),
        ("Raises", "act raised AttributeError", "self.nothing"),
        ("RaisesInReset", "reset raised RuntimeError: first line", "first line"),
        ("RaisesInConstructor", "its constructor raised AttributeError", "self.weights.shape"),
        ("Exits", "its constructor raised SystemExit: 3", "SystemExit"),
        ("WrongShape", "plans", "np.zeros((64, 4)"),
        ("NotANumber", "plans has values that are not finite", "np.nan, np.float32), np.ones"),
        ("Huge", "larger than 1e+06", "1e30"),
        ("PlanAsList", "plans is a list, must be a NumPy array of float32", "[[0.0] * 4]"),
        ("PlanOfObjects", "plans has the type object, must be float32", "64, 4), None)"),
        ("NoWeights", "weights is a NoneType", "np.float32), None)"),
        ("WeightOfNan", "weights has values that are not finite", "np.full(1, np.nan"),
        ("ChosenOutside", "chosen is 1, must be a whole number in [0, 1)", "chosen=1"),
        ("ChosenAsText", "chosen is '0', must be a whole number", 'chosen="0"'),
        ("ReasonAsText", "reasoning is a str, must be Reasoning or None", 'reasoning="go"'),
    ],
)
def test_wrong_answers_name_the_line(no_shape_checks: None, here: Path, name: str, words: str, line: str) -> None:
    with pytest.raises(DriverError) as caught:
        drive(name)
    assert words in str(caught.value)
    assert f"(mine_to_test.py, line {line_of(line)})" in str(caught.value)


def test_a_module_that_cannot_be_loaded_names_the_line(here: Path) -> None:
    for text, words in (("x = (\n", "SyntaxError"), ("import no_such_module_here\n", "ModuleNotFoundError")):
        (here / "broken_to_test.py").write_text(text)
        with pytest.raises(DriverError, match=rf"{words}.*\(broken_to_test.py, line 1\)"):
            make_driver("broken_to_test:Driver")
        sys.modules.pop("broken_to_test", None)
    with pytest.raises(DriverError, match="no module 'absent_to_test' in"):
        make_driver("absent_to_test:Driver")
    with pytest.raises(DriverError, match="needs is a NoneType"):
        make_driver("mine_to_test:WrongNeeds")


def test_a_fault_of_the_machine_is_not_the_drivers(here: Path) -> None:
    with pytest.raises(MemoryError):
        drive("NoMemory")


def test_the_code_of_a_driver_is_its_module_and_what_it_imports_beside_it(here: Path) -> None:
    found = set()
    for path, text in (
        ("mine_to_test.py", SOURCE),
        ("mine_to_test.py", SOURCE + "# edited\n"),
        ("helper_of_mine.py", "VALUE = 2\n"),
    ):
        (here / path).write_text(text)
        sys.modules.pop("mine_to_test", None)
        found.add(code_of("mine_to_test:Standing"))
        (here / path).write_text("VALUE = 3\n" if path.startswith("helper") else text + "# not loaded yet\n")
        assert code_of("mine_to_test:Standing") in found  # what runs is what was loaded
    assert len(found) == 3
    (here / "unrelated.py").write_text("")
    assert code_of("idm") == ""


def test_the_guard_is_off_unless_the_table_says_otherwise(here: Path) -> None:
    assert [name for name in BUILT_IN if guarded_by_default(name)] == ["tiny", "end-to-end"]
    assert not guarded_by_default("mine_to_test:Standing")
    for driver in (make_driver("idm"), make_driver("mine_to_test:Standing")):
        assert not alpamayo.drive(alpamayo.make_scenario("debris", seed=1), driver).guarded
    impostor = make_driver("mine_to_test:Standing")
    impostor.name = "tiny"
    assert not guarded_by_default(impostor)


def test_a_new_driver_drives_as_it_is(here: Path) -> None:
    path, name = new_driver("Test-driver_2", here)
    assert (path.name, name) == ("test_driver_2.py", "test_driver_2:TestDriver2")
    made = make_driver(name, arguments={"speed": 5.0})
    assert made.name == "test-driver-2"
    episode = alpamayo.drive(alpamayo.make_scenario("debris", seed=1), made)
    assert episode.ego_speed[-1] < episode.ego_speed[0] - 1.0  # towards the set speed
    assert not alpamayo.score_episode(episode).rules["drivable_area"].violated[0]
    with pytest.raises(InputError, match="exists already"):
        new_driver("test-driver-2", here)
    assert "RouteFollower" not in path.read_text()


@pytest.mark.parametrize("name", ["", "class", "9lives", "../up", "a b", "ä", "x" * 80])
def test_a_name_that_no_module_can_have_is_refused(here: Path, name: str) -> None:
    before = sorted(here.iterdir())
    with pytest.raises(InputError, match="name of a driver"):
        new_driver(name, here)
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["speed=8.5", "name=fast"], {"speed": 8.5, "name": "fast"}),
        (['{"speed": [1, 2]}', "speed=null"], {"speed": None}),
    ],
)
def test_arguments_are_read(texts: list[str], expected: dict[str, object]) -> None:
    assert parse_arguments(texts) == expected


@pytest.mark.parametrize("text", ["speed", "{", "[1]", "1=2", '{"a b": 1}', "=3"])
def test_other_arguments_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--driver-args"):
        parse_arguments([text])


def test_what_is_beside_an_installed_module_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of the standard library, or of a package, does not have its neighbours read: they are thousands."""

    def follow(path: Path) -> set[str]:
        raise AssertionError(path)

    monkeypatch.setattr(provenance, "_loaded", {})
    monkeypatch.setattr(provenance, "_imported", follow)
    assert len({provenance.module_digest(name) for name in ("json", "numpy.linalg")}) == 2
