"""Provenance of results: digests of the code and of the weights that made them."""

import ast
import hashlib
import sys
import sysconfig
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from alpamayo.version import __version__

PACKAGES = (
    "alpamayo",
    "alpamayo_datasets",
    "alpamayo_kernels",
    "alpamayo_scenarios",
    "alpamayo_sim",
    "alpamayo_vla_model",
)

SOURCE_SUFFIXES = (".py", ".h", ".j2", ".css", ".js")


@cache
def code_version() -> str:
    """Return the release and a digest of the sources of all the project's packages, such as ``0.1.0+3f9a1c2b77de``."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        root = _root(package)
        for path in sorted(path for path in root.rglob("*") if path.suffix in SOURCE_SUFFIXES):
            digest.update(f"{package}/{path.relative_to(root).as_posix()}".encode())
            digest.update(path.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def module_digest(name: str) -> str:
    """Return a digest of the sources of an imported module, of its package, and of the modules beside it that it uses.

    Followed are the import statements of the sources, within the folder that holds the module or its package. Sources
    of this project are left out: ``code_version`` has them. Empty for a module without a file. The digest is made once
    for each time that the module is loaded: what is edited later does not run before the module is loaded again.
    """
    module = sys.modules[name]
    known = _loaded.get(name)
    if known is None or known[0] is not module.__spec__:
        known = _loaded[name] = (module.__spec__, _module_digest(name, module))
    return known[1]


_loaded: dict[str, tuple[ModuleSpec | None, str]] = {}


def _module_digest(name: str, module: ModuleType) -> str:
    if module.__dict__.get("__file__") is None:
        return ""
    depth = name.count(".") + (1 if hasattr(module, "__path__") else 0)
    root = Path(str(module.__file__)).resolve().parents[depth]
    digest = hashlib.sha256()
    for path in _sources(root, name.partition(".")[0], follow=not _is_library(root)):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _is_library(folder: Path) -> bool:
    """Return whether a folder holds installed packages or the standard library: what is beside is not the user's."""
    installed = {"site-packages", "dist-packages"} & set(folder.parts)
    return bool(installed) or folder == Path(sysconfig.get_path("stdlib")).resolve()


def _sources(root: Path, name: str, *, follow: bool) -> list[Path]:
    """Return the source files of a module or package in a folder, with those in the folder that it imports."""
    found: dict[str, list[Path]] = {}
    wanted = [name]
    while wanted:
        top = wanted.pop()
        if top in found or top in PACKAGES:
            continue
        file = root / f"{top}.py"
        found[top] = [file] if file.is_file() else sorted((root / top).rglob("*.py"))
        if follow:
            wanted += [other for path in found[top] for other in _imported(path)]
    return sorted(path for paths in found.values() for path in paths)


def _imported(path: Path) -> set[str]:
    """Return the first names of the modules that the import statements of a source name."""
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError, RecursionError):
        return set()
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {module.partition(".")[0] for module in plain | named}


def _root(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(package)
    return Path(next(iter(spec.submodule_search_locations)))
