"""The manifest of a suite run, ``suite.json``: all runs that should exist, so that a missing run is noticed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alpamayo.json_values import MAX_JSON_BYTES, write_json
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import read_regular

FILE = "suite.json"
MANIFEST_VERSION = 1


class VersionError(InputError):
    """The manifest is of another version."""


@dataclass(frozen=True)
class Manifest:
    """``about`` describes the suite run; ``left_out`` has the reason of each run that is left out."""

    about: Mapping[str, Any]
    runs: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def write(manifest: Manifest, folder: Path) -> None:
    """Write a manifest into the folder of a suite run.

    Raises:
        InputError: the file cannot be written.
    """
    value = {
        "version": MANIFEST_VERSION,
        "about": dict(manifest.about),
        "runs": list(manifest.runs),
        "left_out": dict(manifest.left_out),
    }
    write_json(value, folder / FILE)


def read(folder: Path) -> Manifest | None:
    """Read the manifest of a folder; None if it has none.

    Raises:
        InputError: it is damaged or has another version.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        value = json.loads(read_regular(path, MAX_JSON_BYTES))
        version, about, runs, left_out = (value[name] for name in ("version", "about", "runs", "left_out"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not a suite's list of runs ({type(error).__name__}: {error})") from error
    if version != MANIFEST_VERSION:
        raise VersionError(f"{path}: version {version!r}, this release reads version {MANIFEST_VERSION}")
    if not isinstance(about, dict) or not isinstance(about.get("drivers", []), list):
        raise InputError(f"{path}: about must hold a list of drivers")
    if not all(_is_about(value) for value in about.values()):
        raise InputError(f"{path}: about must hold texts, numbers and lists of texts")
    words = isinstance(runs, list) and isinstance(left_out, dict)
    if not words or not all(_is_name(word) for word in (*runs, *left_out, *left_out.values())):
        raise InputError(f"{path}: runs must be names, left_out their reasons")
    return Manifest(about, tuple(runs), left_out)


def read_kept(folder: Path) -> Manifest:
    """Read the manifest of an earlier call; an empty one if there is none or if it is damaged, since it is made anew.

    Raises:
        InputError: it has another version.
    """
    try:
        return read(folder) or Manifest({}, ())
    except InputError as error:
        if isinstance(error, VersionError):
            raise
        return Manifest({}, ())


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_about(value: Any) -> bool:
    return (
        value is None or isinstance(value, (str, int, float)) or (isinstance(value, list) and all(map(_is_name, value)))
    )
