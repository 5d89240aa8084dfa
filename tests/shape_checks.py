"""Turn the shapes in annotations into checks while the tests run.

Only annotations that contain an array shape are checked: wrong values of other types must reach the code, whose own
errors are under test. Device code is left out, since NVIDIA Warp and Triton compile its source.
"""

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
CONFIG = BeartypeConf(violation_type=TypeError, is_pep484_tower=True)  # an int is a float, as for type checkers
Function = TypeVar("Function", bound=Callable[..., Any])


def install() -> None:
    """Check shapes in all host modules that are imported from now on."""
    jaxtyping.install_import_hook(host_modules(), "shape_checks.check_arrays")


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
    if not any(has_shape(hint) for hint in hints.values()):
        return function
    function.__annotations__ = {name: hint if has_shape(hint) else Any for name, hint in hints.items()}
    return beartype(conf=CONFIG)(function)


def has_shape(hint: Any) -> bool:
    """Return whether an annotation contains an array shape."""
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(has_shape(part) for part in typing.get_args(hint))


@contextmanager
def off() -> Iterator[None]:
    """Check no shapes inside: for tests of what the code itself says of wrong arrays."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
