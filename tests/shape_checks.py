"""Turn the shapes in annotations into checks while the tests run.

``install`` hooks the import of every host module. Only annotations with array shapes are checked: wrong values of
other types must reach the code, whose own errors are under test. Device code is left out, since NVIDIA Warp and Triton
compile its source.
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
CONFIG = BeartypeConf(violation_type=TypeError)
Function = TypeVar("Function", bound=Callable[..., Any])


def install() -> None:
    """Check shapes in all host modules that are imported from now on."""
    jaxtyping.install_import_hook(host_modules(), "shape_checks.check_arrays")


def host_modules() -> list[str]:
    """Return the dotted names of all modules that hold no device code.

    A package's own name would stand for all its modules, so ``__init__`` is left out.
    """
    files = [(name, path) for name, path in modules() if path.stem != "__init__"]
    return [name for name, path in files if not any(mark in path.read_text("utf-8") for mark in DEVICE_CODE)]


def modules() -> list[tuple[str, Path]]:
    """Return name and file of every module of the six packages."""
    found = []
    for wing in WINGS:
        package = ROOT / wing
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def check_arrays(function: Function) -> Function:
    """Decorate a function so that arguments and results with array annotations are checked."""
    hints = getattr(function, "__annotations__", None)
    if not hints:
        return function
    function.__annotations__ = {name: hint if has_shape(hint) else Any for name, hint in hints.items()}
    return beartype(conf=CONFIG)(function)


@contextmanager
def off() -> Iterator[None]:
    """Check no shapes inside: for tests of what the code itself says of wrong arrays."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def has_shape(hint: Any) -> bool:
    """Whether an annotation contains a jaxtyping array."""
    if isinstance(hint, str):
        return any(f"{kind}[" in hint for kind in ("Float", "Int", "Bool", "UInt", "Shaped", "Num"))
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(has_shape(part) for part in typing.get_args(hint))
