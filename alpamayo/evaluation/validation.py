"""Evidence: everything recomputed from the records of a run or a suite, with intervals, failures and hashes.

``collect`` judges, ``write_evidence`` leaves ``evidence.json`` and a self-contained ``evidence.html``. The same
records give the same bytes: nothing here depends on the clock, the machine or the number of processes.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from alpamayo.evaluation.rescoring import Evidence, collect, find_runs
from alpamayo.json_values import check_writable
from alpamayo.parallel import Progress
from alpamayo.report.evaluation_page import page as render
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.document import replacing

__all__ = ["Evidence", "as_json", "collect", "find_runs", "validate", "write_evidence"]


def validate(
    path: Path,
    report: Path,
    *,
    confidence: float = 0.95,
    workers: int | None = None,
    prevent: bool = True,
    formulas: Mapping[str, str] = MappingProxyType({}),
    progress: Progress = lambda what, done, total: None,
) -> tuple[dict[str, Any], Path]:
    """Judge what is under ``path`` again and write the evidence into ``report``; the document and its page.

    What an interrupted call has finished is kept in ``report``/.unfinished and used by the next one, as long as the
    records and the code are the same; a call that comes to its end removes it, so the next judges all again.

    Raises:
        InputError: as for ``collect`` and ``write_evidence``.
    """
    find_runs(path)
    made = not report.exists()
    check_writable(report)
    unfinished = report / ".unfinished"
    unfinished.mkdir(exist_ok=True)
    try:
        evidence = collect(
            path,
            confidence=confidence,
            workers=workers,
            prevent=prevent,
            formulas=formulas,
            unfinished=unfinished,
            progress=progress,
        )
    except InputError:
        _remove_if_empty(unfinished)
        if made:
            _remove_if_empty(report)
        raise
    page = write_evidence(evidence, report)
    shutil.rmtree(unfinished)
    return evidence.document, page


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def write_evidence(evidence: Evidence, folder: Path) -> Path:
    """Write ``evidence.json`` and ``evidence.html`` into a folder; the page's path.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        texts = {"evidence.json": as_json(evidence.document), "evidence.html": render(evidence)}
        for name, text in texts.items():
            with replacing(folder / name) as partial:
                partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: cannot write the evidence there: {error.strerror or error}") from error
    return folder / "evidence.html"


def as_json(document: dict[str, Any]) -> str:
    """The document as text, keys sorted."""
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
