"""Timing by processor time, interleaved, and one CSV line a figure."""

from __future__ import annotations

import csv
import datetime
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

FIELDS = ("date", "machine", "torch", "figure", "case", "value", "unit", "note")


def interleaved(cases: Mapping[str, Callable[[], Any]], repeats: int, inner: int = 1) -> dict[str, float]:
    """Return the least processor time of a call in seconds, for each case; all cases take turns."""
    best = dict.fromkeys(cases, float("inf"))
    for case in cases.values():
        case()
    for _ in range(repeats):
        for name, case in cases.items():
            start = time.process_time()
            for _ in range(inner):
                case()
            best[name] = min(best[name], (time.process_time() - start) / inner)
    return best


def machine() -> str:
    """Name the accelerator if there is one, otherwise the processor."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def write(path: Path, figure: str, rows: Sequence[tuple[str, float, str, str]]) -> None:
    """Print and append (case, value, unit, note) rows of a figure; older rows of the same cases are replaced."""
    old = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            old = list(csv.DictReader(file))
    name, today = machine(), datetime.date.today().isoformat()
    new = [
        dict(zip(FIELDS, (today, name, torch.__version__, figure, case, f"{value:.4g}", unit, note), strict=True))
        for case, value, unit, note in rows
    ]
    keys = {(name, figure, row["case"]) for row in new}
    kept = [row for row in old if (row["machine"], row["figure"], row["case"]) not in keys]
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *new])
    temporary.replace(path)
    for row in new:
        print(f"{figure:24s} {row['case']:36s} {row['value']:>10s} {row['unit']:12s} {row['note']}")
