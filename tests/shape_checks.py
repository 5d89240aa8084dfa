"""Turn the shapes in annotations into checks while the tests run.

Only annotations that contain an array shape are checked: wrong values of other types must reach the code, whose own
errors are under test. Device code is left out, since NVIDIA Warp and Triton compile its source. In each test the first
calls of each function are checked, so that a whole drive does not take three times as long.
"""

import dataclasses
import functools
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import jaxtyping
from beartype import BeartypeConf, beartype

ROOT = Path(__file__).parent.parent
WINGS = (
    "alpamayo",
    "sim/alpamayo_sim",
    "scenarios/alpamayo_scenarios",
    "datasets/alpamayo_datasets",
    "vla_model/alpamayo_vla_model",
    "kernels/alpamayo_kernels",
)
DEVICE_CODE = ("@wp.", "import triton")
CHECKED_CALLS = 20  # of each function, in each test
CONFIG = BeartypeConf(violation_type=TypeError, is_pep484_tower=True)  # an int is a float, as for type checkers
Function = TypeVar("Function", bound=Callable[..., Any])


def install() -> None:
    """Check shapes in all host modules that are imported from now on."""
    jaxtyping.jaxtyped = _decorator  # the name that the import hook decorates functions and classes with
    jaxtyping.install_import_hook(host_modules(), "shape_checks.check_arrays")


def next_test() -> None:
    """Check the first calls of each function once more."""
    _tests.begun += 1


def host_modules() -> list[str]:
    """Return the dotted names of all modules that hold no device code.

    ``__init__`` is left out: the hook takes the name of a package for all its modules.
    """
    found = []
    for package in (ROOT / wing for wing in WINGS):
        for path in sorted(package.rglob("*.py")):
            if path.stem != "__init__" and not any(mark in path.read_text("utf-8") for mark in DEVICE_CODE):
                found.append(".".join(path.relative_to(package.parent).with_suffix("").parts))
    return found


def check_arrays(function: Function) -> Function:
    """Decorate a function so that its arguments and results with array shapes are checked."""
    hints = function.__annotations__
    function.__annotations__ = {name: hint if has_shape(hint) else Any for name, hint in hints.items()}
    return beartype(conf=CONFIG)(function)


def has_shape(hint: Any) -> bool:
    """Return whether an annotation contains an array shape."""
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(has_shape(part) for part in typing.get_args(hint))


@dataclasses.dataclass
class _Tests:
    begun: int = 0


_tests = _Tests()
_jaxtyped = jaxtyping.jaxtyped


def _decorator(*context: str, typechecker: Any = None) -> Any:
    """Return the decorator of a function, or of a class, of which only dataclasses have a constructor to check.

    ``jaxtyped("context")``, within which several checks share their sizes, stays what it is.
    """
    if context:
        return _jaxtyped(*context)

    def decorate(thing: Any) -> Any:
        if not isinstance(thing, type):
            return _first_calls(thing, typechecker)
        if dataclasses.is_dataclass(thing):
            thing.__init__ = _first_calls(thing.__init__, typechecker)  # type: ignore[misc]
        return thing

    return decorate


def _first_calls(function: Function, typechecker: Callable[..., Any]) -> Function:
    """Return a function whose first calls in each test are checked; itself if it has no shapes."""
    if not any(has_shape(hint) for hint in function.__annotations__.values()):
        return function
    checked = _jaxtyped(function, typechecker=typechecker)
    test, left = -1, 0

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal test, left
        if test != _tests.begun:
            test, left = _tests.begun, CHECKED_CALLS
        if left == 0:
            return function(*args, **kwargs)
        left -= 1
        return checked(*args, **kwargs)

    # In tracebacks the wrapper is part of the library, as its checks are: errors name the user's own line.
    call.__code__ = call.__code__.replace(co_filename=jaxtyping.__file__)
    return typing.cast(Function, call)


@contextmanager
def off() -> Iterator[None]:
    """Check no shapes inside: for tests of what the code itself says of wrong arrays."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
