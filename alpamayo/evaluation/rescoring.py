"""Rescore the records of a run or a suite into one document, in parallel; an interrupted call can be continued."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from alpamayo.drivers.registry import R157_DRIVERS
from alpamayo.evaluation import figures, manifest, preventability
from alpamayo.evaluation import odd_coverage as odd
from alpamayo.evaluation.run_record import FILES, is_failed, judge_run
from alpamayo.json_values import read_sealed, rounded, sealed, write_json
from alpamayo.parallel import Progress, Workers, in_order
from alpamayo.provenance import code_version
from alpamayo.report.pictures import failure_pictures
from alpamayo_sim.errors import InputError

VALIDATION_VERSION = 1


@dataclass(frozen=True)
class Validation:
    """``document`` is the content of ``validation.json``; ``pictures`` are those of the failures, by run."""

    document: dict[str, Any]
    pictures: dict[str, list[dict[str, Any]]]


def rescore(
    path: Path,
    *,
    confidence: float = 0.95,
    workers: Workers = None,
    prevent: bool = True,
    formulas: Mapping[str, str] = MappingProxyType({}),
    unfinished: Path | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Validation:
    """Judge all episodes under a folder again and combine the results.

    Only ``episode.json`` and ``episode.npz`` are read, not the verdicts and summaries in the same folder. Runs of the
    suite's list that are missing or cannot be read are listed as excluded, with the reason. The same records give the
    same document, whatever the number of workers.

    Args:
        path: a run's folder, or a suite's.
        confidence: of all intervals.
        workers: number of processes; one for each core unless given.
        prevent: drive the scenarios with collisions again with the reference drivers of UN R157.
        formulas: rules of the user, by name; see ``alpamayo.validator.formulas``.
        unfinished: folder for finished parts; an interrupted call with the same files and code can be continued.
        progress: called for each episode.

    Raises:
        InputError: no episodes at all, or none that can be read; a confidence not in (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence is {confidence}, must be in (0, 1)")
    folders = find_runs(path)
    listed = manifest.read(path)
    left_out = dict(listed.left_out) if listed else {}
    tasks = [(name, folder) for name, folder in folders.items() if name not in left_out]
    runs, pictures = [], {}
    for (name, _), found in in_order(
        partial(_judged, formulas=dict(formulas), unfinished=unfinished),
        tasks,
        workers=workers,
        what="validate",
        progress=progress,
    ):
        if isinstance(found, InputError):
            left_out[name] = str(found).replace(str(path), ".")
        elif isinstance(found, Exception):
            raise found
        else:
            runs.append(found["record"])
            pictures[name] = found["pictures"]
    if listed:
        left_out |= {
            name: "there is no record of it" for name in listed.runs if name not in folders and name not in left_out
        }
    if not runs:
        first = next(iter(left_out.values()))
        raise InputError(f"{path}: none of its {len(left_out)} episodes can be judged; first: {first}")
    prevented = None
    if prevent:
        keys = {run["hashes"]["scenario"]: folders[run["run"]] for run in reversed(runs) if run["collided"]}
        prevented = _prevented(dict(sorted(keys.items())), workers, unfinished, progress)
    document = rounded(_document(runs, left_out, prevented, listed, confidence, formulas))
    return Validation(document, pictures)


def find_runs(path: Path) -> dict[str, Path]:
    """Find the folders of episodes in a run's or a suite's folder, by their names in it, sorted.

    Raises:
        InputError: there is none.
    """
    if path.name == FILES[0] and path.is_file():
        path = path.parent
    if not path.exists():
        raise InputError(f"{path}: no such folder; validate takes a run's folder or a suite's")
    found = {file.parent for file in path.rglob(FILES[0])} if path.is_dir() else set()
    if not found:
        raise InputError(f"{path}: no {FILES[0]} in this folder or below it, so there is nothing to validate")
    names = {folder.relative_to(path).as_posix(): folder for folder in found}
    return dict(sorted(("episode" if name == "." else name, folder) for name, folder in names.items()))


def _document(
    runs: list[dict[str, Any]],
    left_out: Mapping[str, str],
    prevented: dict[str, dict[str, bool | None]] | None,
    listed: manifest.Manifest | None,
    confidence: float,
    formulas: Mapping[str, str],
) -> dict[str, Any]:
    table = None
    if prevented is not None:
        rows = preventability.rows(runs, prevented)
        shares = figures.preventable(runs, rows, confidence)
        table = {"by": list(R157_DRIVERS), "scenarios": rows, "at_fault_collisions": shares}
    drivers = figures.by_driver(runs, confidence)
    return {
        "version": VALIDATION_VERSION,
        "validated_by": code_version(),
        "suite": None if listed is None else listed.about,
        "confidence": confidence,
        "formulas": dict(sorted(formulas.items())),
        "runs": len(runs),
        "excluded": [{"run": name, "reason": reason} for name, reason in sorted(left_out.items())],
        "drivers": drivers,
        "raised": figures.raised(runs),
        "comparisons": figures.comparisons(
            runs,
            confidence,
            {
                "at_fault_collision": partial(_failed, rule="at_fault_collision"),
                "failed": lambda r: bool(r["failures"]),
            },
            {"progress": _progress, **{name: partial(_scored, score=name) for name in runs[0]["scores"]}},
            lambda run: (run["scenario"], run["hashes"]["scenario"]),
        ),
        "preventability": table,
        "coverage": odd.coverage(runs),
        "records": runs,
    }


def _judged(task: tuple[str, Path], formulas: dict[str, str], unfinished: Path | None) -> dict[str, Any]:
    """Return record and pictures of one run, from an interrupted validation if it has them."""
    name, folder = task

    def judge() -> dict[str, Any]:
        record, episode = judge_run(folder, name, formulas)
        return {"record": record, "pictures": failure_pictures(episode, record["failures"])}

    return _kept(unfinished, _key(f"{name} {formulas}", *(folder / file for file in FILES)), judge)


def _prevented(
    folders: dict[str, Path], workers: Workers, unfinished: Path | None, progress: Progress
) -> dict[str, dict[str, bool | None]]:
    out = {}
    work = partial(_avoided, unfinished=unfinished)
    for (key, _), found in in_order(
        work, list(folders.items()), workers=workers, what="preventability", progress=progress
    ):
        if isinstance(found, Exception):
            raise found
        out[key] = found
    return out


def _avoided(task: tuple[str, Path], unfinished: Path | None) -> dict[str, bool | None]:
    key, folder = task
    return _kept(unfinished, _key(key), lambda: preventability.avoided_by(folder))


def _kept(folder: Path | None, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a result of an interrupted validation; make and keep it if there is none, or only a damaged one."""
    path = None if folder is None else folder / f"{key}.json"
    kept = None if path is None else read_sealed(path)
    if kept is not None and kept.get("key") == key:
        value: dict[str, Any] = kept["value"]
        return value
    value = make()
    if path is not None:
        write_json(sealed({"key": key, "value": value}), path)
    return value


def _key(name: str, *files: Path) -> str:
    """Return a digest of what a stored result depends on: its name, the files, and the code."""
    total = hashlib.sha256(f"{code_version()}\n{name}".encode())
    for file in files:
        if file.is_file():
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def _failed(run: Mapping[str, Any], rule: str) -> bool | None:
    return is_failed(run, rule) if run["rules"][rule]["applies"] else None


def _progress(run: Mapping[str, Any]) -> float | None:
    value = run["rules"]["progress"]["value"]
    return None if value is None else float(value)


def _scored(run: Mapping[str, Any], score: str) -> float | None:
    return run["scores"][score]["value"] if score in run["scores"] else None
