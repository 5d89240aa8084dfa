"""Time of the validation of a suite: 480 episodes rescored, with pictures, coverage and preventability.

``python benchmarks/validation.py [SUITE_RUN]`` takes the folder of an ``alpamayo evaluate``; without one the first 480
scenarios are driven by ``idm`` into a temporary folder, which is not timed. It reports wall
time and the sum of the processor times. With fewer collisions fewer scenarios are driven again.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from alpamayo.evaluation import evaluate
from alpamayo.evaluation.rescoring import find_runs
from alpamayo.evaluation.validation import validate
from alpamayo_sim.benchmarking import report


def processor_seconds() -> float:
    """Return the CPU seconds of this process and of its finished children."""
    return sum(sum(resource.getrusage(scope)[:2]) for scope in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def validation(suite: Path, workers: int, prevent: bool) -> None:
    """Measure one complete validation, with its page."""
    with tempfile.TemporaryDirectory() as folder:
        wall, used = time.perf_counter(), processor_seconds()
        document, _ = validate(suite, Path(folder), workers=workers, prevent=prevent)
        wall, used = time.perf_counter() - wall, processor_seconds() - used
    again = len(document["preventability"]["scenarios"]) if prevent else 0
    case = f"{document['runs']} episodes, {workers} processes, {again} scenarios driven again by four drivers"
    report("validator", f"validate: {case}, wall", wall, "s")
    report("validator", f"validate: {case}, CPU", used, "s")


def main() -> None:
    """Run the benchmark and record its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", type=Path, nargs="?")
    parser.add_argument("--episodes", type=int, default=480)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        suite = arguments.suite or Path(folder)
        if arguments.suite is None:
            evaluate(["idm"], arguments.episodes, suite, workers=arguments.workers)
        find_runs(suite)
        for prevent in (False, True):
            validation(suite, arguments.workers, prevent)


if __name__ == "__main__":
    main()
