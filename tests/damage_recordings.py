"""Open many damaged copies of a small recording in each format.

``python tests/damage_recordings.py [--count 10000] [--seed 1] [FORMAT ...]``; ``tests/datasets/test_damaged.py`` runs a
few of them. An exception other than ``InputError`` ends the run and names the copy.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), *(str(ROOT / folder) for folder in ("sim", "datasets", "scenarios", "vla_model", "tests"))]

from recordings.damage import SMALL_RECORDINGS, outcomes  # noqa: E402 - after the path


def main() -> None:
    """Run all formats, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("formats", nargs="*", choices=[*SMALL_RECORDINGS, []])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable()
    for name in options.formats or SMALL_RECORDINGS:
        with tempfile.TemporaryDirectory() as folder:
            whole, damaged = Path(folder) / "whole", Path(folder) / "damaged"
            whole.mkdir()
            damaged.mkdir()
            start = time.perf_counter()
            found = Counter(outcomes(SMALL_RECORDINGS[name](whole), damaged, options.count, options.seed))
        read = found.pop("read", 0)
        print(  # noqa: T201 - a program
            f"{name}: {options.count} damaged copies, {read} read, "
            f"{options.count - read} refused in {len(found)} ways, {time.perf_counter() - start:.0f} s"
        )


if __name__ == "__main__":
    main()
