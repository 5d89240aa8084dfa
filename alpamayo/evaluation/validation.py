"""Validation of a run or a suite: all figures recomputed from the records, as a document and a page.

``validation.json`` holds figures with intervals, failures, coverage and hashes; ``validation.html`` shows them.
The same records give the same bytes: nothing depends on the clock or on the number of processes, and figures are
rounded to nine digits, beyond which they depend on the numerical library and the processor.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from alpamayo.evaluation.rescoring import Validation, find_runs, rescore
from alpamayo.folders import claimed
from alpamayo.parallel import Progress, Workers
from alpamayo.report.validation_page import page as render
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import replacing


def validate(
    path: Path,
    report: Path,
    *,
    confidence: float = 0.95,
    workers: Workers = None,
    prevent: bool = True,
    formulas: Mapping[str, str] = MappingProxyType({}),
    progress: Progress = lambda what, done, total: None,
) -> tuple[dict[str, Any], Path]:
    """Judge the runs under ``path`` again and write document and page into the folder ``report``.

    Results of an interrupted call stay in ``report``/.unfinished. The next call uses them if the records and the code
    are the same. A call that finishes removes them, so the next one judges everything again.

    Returns:
        The document and the path of its page. For the arguments see ``rescore``.

    Raises:
        InputError: as for ``rescore`` and ``write_validation``.
    """
    find_runs(path)
    unfinished = report / ".unfinished"
    with claimed(report):
        unfinished.mkdir(exist_ok=True)
        try:
            found = rescore(
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
            raise
        page = write_validation(found, report)
        shutil.rmtree(unfinished)
    return found.document, page


def write_validation(found: Validation, folder: Path) -> Path:
    """Write ``validation.json`` and ``validation.html`` into a folder, and return the path of the page.

    Raises:
        InputError: the folder cannot be written.
    """
    texts = {
        "validation.json": as_json(found.document),
        "validation.html": render(found.document, found.pictures),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with replacing(folder / name) as partial:
                partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: cannot write the validation there: {error.strerror or error}") from error
    return folder / "validation.html"


def as_json(document: dict[str, Any]) -> str:
    """Return the document as text with sorted keys."""
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
