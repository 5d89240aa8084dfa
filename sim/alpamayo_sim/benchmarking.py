"""Tools of the benchmark scripts: processor time of alternating calls, and a CSV table of results beside the script."""

import csv
import datetime
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

COLUMNS = ("date", "machine", "benchmark", "case", "value", "unit")


def cpu_seconds(works: Mapping[str, Callable[[], object]], rounds: int = 15) -> dict[str, float]:
    """Measure the processor seconds of one call of each function: the minimum over rounds of alternating calls.

    Other load on the machine slows all functions alike, so ratios hold.
    """
    best = {name: float("inf") for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            start = time.process_time()
            work()
            best[name] = min(best[name], time.process_time() - start)
    return best


def report(benchmark: str, case: str, value: float, unit: str) -> None:
    """Print one figure and add it to ``results.csv`` in the folder of the running script."""
    print(f"{benchmark:10s} {case:84s} {value:14,.1f} {unit}")  # noqa: T201
    table = Path(sys.argv[0]).resolve().parent / "results.csv"
    new = not table.exists()
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(COLUMNS)
        writer.writerow((datetime.date.today().isoformat(), machine(), benchmark, case, f"{value:.6g}", unit))


def machine() -> str:
    """Return the processor and its number of threads."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = named[0] if named else model
    return f"{model}, {os.cpu_count()} threads"
