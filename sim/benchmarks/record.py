"""What the benchmarks share: processor time in turns, and results that go to one table."""

import csv
import datetime
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path

TABLE = Path(__file__).parent / "results.csv"
COLUMNS = ("date", "machine", "benchmark", "case", "value", "unit")


def cpu_seconds(works: Mapping[str, Callable[[], object]], rounds: int = 15) -> dict[str, float]:
    """Return the processor seconds of one call of each function: the least of several alternating rounds.

    Other people's load on the machine slows all of them alike, so that ratios hold.
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
    """Print one figure and add it to the table."""
    print(f"{benchmark:10s} {case:60s} {value:14,.1f} {unit}")
    new = not TABLE.exists()
    with TABLE.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(COLUMNS)
        writer.writerow((datetime.date.today().isoformat(), machine(), benchmark, case, f"{value:.6g}", unit))


def machine() -> str:
    """Return the name of the processor and its number of threads."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = named[0] if named else model
    return f"{model}, {os.cpu_count()} threads"
