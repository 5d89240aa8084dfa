"""Provenance of results: digests of the code and of the weights that made them."""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from alpamayo.version import __version__

PACKAGES = (
    "alpamayo",
    "alpamayo_datasets",
    "alpamayo_kernels",
    "alpamayo_scenarios",
    "alpamayo_sim",
    "alpamayo_vla_model",
)


@cache
def code_version() -> str:
    """Return the release and a digest of the sources of all the project's packages, such as ``0.1.0+3f9a1c2b77de``."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        root = _root(package)
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{package}/{path.relative_to(root).as_posix()}".encode())
            digest.update(path.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _root(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(package)
    return Path(next(iter(spec.submodule_search_locations)))
