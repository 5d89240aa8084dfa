"""Drivers of the user: found in the current folder, made with arguments, and named in errors by file and line."""

import importlib
import inspect
import json
import site
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo.provenance import PACKAGES, module_digest
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Driver, Needs
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import DriverError, InputError, is_machine_fault

MAX_NAME_CHARACTERS = 100


def parse_arguments(texts: Iterable[str]) -> dict[str, Any]:
    """Read arguments of a constructor: each text is a JSON object or ``key=value``, where the value may be JSON.

    Raises:
        InputError: a text is neither, or a key is not a name of Python.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        try:
            given = json.loads(text) if text.lstrip().startswith("{") else {key.strip(): _json_or_text(value)}
        except (ValueError, RecursionError) as error:
            raise InputError(f"--driver-args {text!r}: not a JSON object ({error})") from error
        if not (text.lstrip().startswith("{") or equals) or not all(name.isidentifier() for name in given):
            raise InputError(f"--driver-args {text!r}: must be key=value or a JSON object, such as speed=8.5")
        found |= given
    return found


def make_own(name: str, place: str, arguments: Mapping[str, Any]) -> Driver:
    """Make a driver from ``module:Class``; modules of the current folder are found.

    Raises:
        DriverError: the module or the class is missing, raises, or is not a driver. The message names the line.
    """
    factory = load_own(name, place)
    with _answering(name, "its constructor", place.partition(":")[0]):
        driver = factory(**arguments)
    return checked_driver(name, driver)


def load_own(name: str, place: str) -> Callable[..., Any]:
    """Return the class or function at ``module:attribute``, from the current folder or any installed package."""
    module, _, attribute = place.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as ``python -m`` does; it stays, since a driver may import more later
    with _answering(name, "its module", module):
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # an import inside the module
            raise InputError(f"no module {error.name!r} in {here} or on the path of Python") from error
        module_digest(module)  # of the sources that were loaded, before anyone edits them
    if not callable(found := getattr(loaded, attribute, None)):
        raise DriverError(f"driver {name!r}: module {module!r} has no {attribute!r} that can be called")
    made: Callable[..., Any] = found
    return made


def checked_driver(name: str, driver: Any) -> Driver:
    """Return a driver after a check of its interface.

    Raises:
        DriverError: it lacks a part, or a part has the wrong type.
    """
    if not isinstance(driver, Driver) or not (callable(driver.reset) and callable(driver.act)):
        raise DriverError(f"driver {name!r}: must have name, needs, reset(scene, rng) and act(observation)")
    if not isinstance(driver.needs, Needs):
        raise DriverError(f"driver {name!r}: needs is a {type(driver.needs).__name__}, must be Needs()")
    text = driver.name
    if not isinstance(text, str) or not 0 < len(text) <= MAX_NAME_CHARACTERS or not text.isprintable():
        raise DriverError(f"driver {name!r}: its name must be printable text of 1 to {MAX_NAME_CHARACTERS} characters")
    return driver


def reset(driver: Driver, scene: Scene, rng: np.random.Generator) -> None:
    """Reset a driver.

    Raises:
        DriverError: it raises. The message names the line.
    """
    with _answering(driver.name, "reset", type(driver).__module__):
        driver.reset(scene, rng)


def act(driver: Driver, observation: Observation) -> Decision:
    """Return the decision of a driver.

    Raises:
        DriverError: it raises, or returns no Decision. The message names the line.
    """
    with _answering(driver.name, "act", type(driver).__module__):
        decision = driver.act(observation)
    if not isinstance(decision, Decision):
        what = "None" if decision is None else f"a {type(decision).__name__}"
        raise DriverError(f"driver {driver.name!r}: act returned {what}, must be a Decision{_defined(driver)}")
    return decision


@contextmanager
def _answering(name: str, what: str, module: str) -> Iterator[None]:
    """Turn what the user's code raises into a DriverError; faults of the machine stay what they are."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if is_machine_fault(error):
            raise
        text = str(error) if isinstance(error, InputError) else f"{what} raised {type(error).__name__}: {error}"
        raise DriverError(f"driver {name!r}: {text}{_place(error, module.partition('.')[0])}") from error


def _place(error: BaseException, package: str) -> str:
    """Return file and line of the user's code where an error comes from; empty for an error of this project."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({Path(error.filename).name}, line {error.lineno})"
    frames = [
        (frame.f_globals.get("__name__", "").partition(".")[0], frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    foreign = [(file, line) for top, file, line in frames if top not in PACKAGES and not _installed(file)]
    own = foreign or [(file, line) for top, file, line in frames if top == package not in PACKAGES]
    return f" ({Path(own[-1][0]).name}, line {own[-1][1]})" if own else ""


def _installed(file: str) -> bool:
    """Return whether a file belongs to Python or to an installed package."""
    folders = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), *site.getsitepackages())
    return file.startswith(("<frozen", *folders))


def _defined(driver: Driver) -> str:
    try:
        return f" ({Path(inspect.getfile(driver.act)).name}, line {inspect.getsourcelines(driver.act)[1]})"
    except (OSError, TypeError):
        return ""


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
