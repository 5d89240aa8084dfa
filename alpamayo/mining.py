"""Mining: rare moments in a folder of recorded logs, found in processes, as an index in parquet."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from alpamayo.folders import claimed
from alpamayo.json_values import read_sealed, sealed, write_json
from alpamayo.parallel import Progress, Workers, in_order
from alpamayo.provenance import code_version
from alpamayo_datasets.log import find_log, open_log
from alpamayo_datasets.moments import FINDERS, Moment, moments
from alpamayo_sim.errors import InputError, is_machine_fault, one_line
from alpamayo_sim.io.files import replacing

PARTS, INDEX, FAILURES = "parts", "index.parquet", "failures.json"
COLUMNS = ("log", "scene", *(field.name for field in fields(Moment)))


@dataclass(frozen=True)
class Task:
    """One scene of a log to mine."""

    log: str
    stamp: str


def mine(
    folder: Path, out: Path, *, workers: Workers = None, progress: Progress = lambda what, done, total: None
) -> dict[str, Any]:
    """Find the rare moments in all logs below a folder; write ``index.parquet`` and ``failures.json`` into ``out``.

    What was found in a scene is kept in ``out``/parts. An interrupted run goes on when it is repeated; a scene is taken
    again where its file or the code has changed.

    Returns:
        JSON values: the number of scenes, of those that were taken from an earlier call, and of moments by kind; what
        failed; and the path of the index.

    Raises:
        InputError: The folder holds no log, or ``out`` cannot be written.
    """
    logs = list(logs_below(folder))
    with claimed(out):
        (out / PARTS).mkdir(exist_ok=True)
        failures, tasks = [], []
        for log in logs:
            try:
                tasks += [Task(name, stamp_of(log)) for name in _scenes(log)]
            except InputError as error:
                failures.append({"log": str(log), "reason": one_line(str(error))})
        if not tasks and not failures:
            raise InputError(f"{folder}: holds no recorded log")
        found = {task: part for task in tasks if (part := _part(task, out)) is not None}
        taken = len(found)
        rest = [task for task in tasks if task not in found]
        for task, result in in_order(mine_scene, rest, workers=workers, what="mine", progress=progress):
            if isinstance(result, Exception):
                if not isinstance(result, InputError):
                    raise result
                failures.append({"log": task.log, "reason": one_line(str(result))})
                continue
            found[task] = sealed({"task": asdict(task), "code": code_version(), **result})
            write_json(found[task], _part_path(task, out))
        mined = [(task.log, found[task]) for task in tasks if task in found]
        rows = [{"log": log, "scene": part["scene"], **row} for log, part in mined for row in part["moments"]]
        _write_index(rows, out / INDEX)
        write_json(failures, out / FAILURES)
    kinds = Counter(row["kind"] for row in rows)
    return {
        "scenes": len(found),
        "taken": taken,
        "moments": {kind: kinds[kind] for kind in FINDERS},
        "failed": failures,
        "index": str(out / INDEX),
    }


def mine_scene(task: Task) -> dict[str, Any]:
    """Return the moments of one scene as JSON values."""
    scene = open_log(task.log)
    return {"scene": scene.id, "moments": [asdict(moment) for moment in moments(scene)]}


def logs_below(folder: Path) -> Iterator[Path]:
    """Yield the logs in a folder and below, in the order of their names; what is of no known format is left out.

    Raises:
        InputError: There is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder of recorded logs")
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        try:
            find_log(path)
        except InputError:
            if path.is_dir() and not path.is_symlink():
                yield from logs_below(path)
        else:
            yield path


def stamp_of(log: Path) -> str:
    """Return what changes when a log changes: its size and time, or those of the files in its folder."""
    files = [log] if log.is_file() else sorted(path for path in log.glob("*") if path.is_file())
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]


def _scenes(log: Path) -> list[str]:
    ids = find_log(log).scene_ids()
    return [str(log)] if len(ids) == 1 else [f"{log}#{name}" for name in ids]


def _part_path(task: Task, out: Path) -> Path:
    return out / PARTS / f"{hashlib.sha256(task.log.encode()).hexdigest()[:24]}.json"


def _part(task: Task, out: Path) -> dict[str, Any] | None:
    """Return what an earlier call has found in a scene; None if there is none, or its file or the code has changed."""
    part = read_sealed(_part_path(task, out))
    if part is None or part["task"] != asdict(task) or part["code"] != code_version():
        return None
    return part


def _write_index(rows: list[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    kinds = {"step": pa.int64(), **dict.fromkeys(("time_s", "duration_s", "value", "x", "y"), pa.float64())}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    try:
        with replacing(path) as partial:
            pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema), str(partial))
    except OSError as error:
        if is_machine_fault(error):
            raise
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
