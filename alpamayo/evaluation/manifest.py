"""The manifest of a suite run, ``suite.json``: all runs that should exist, so that a missing run is noticed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alpamayo.json_values import write_json
from alpamayo_sim.errors import InputError

FILE = "suite.json"
MANIFEST_VERSION = 1


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
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        version, about, runs, left_out = (value[name] for name in ("version", "about", "runs", "left_out"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a suite's list of runs ({type(error).__name__}: {error})") from error
    if version != MANIFEST_VERSION:
        raise InputError(f"{path}: version {version!r}, this release reads version {MANIFEST_VERSION}")
    words = isinstance(runs, list) and isinstance(left_out, dict) and isinstance(about, dict)
    if not words or not all(isinstance(word, str) for word in (*runs, *left_out.values())):
        raise InputError(f"{path}: runs must be names, left_out their reasons")
    return Manifest(about, tuple(runs), left_out)
