"""Read many damaged copies of a small file of each kind: recordings in all formats, and the files of this project.

``python tests/damage_recordings.py [--count 2000] [--seed 1] [KIND ...]``: 2,000 of each of the 23 kinds are 46,000.
``tests/datasets/test_damaged.py`` runs a few of them. An exception other than ``InputError`` ends the run and names the
copy, and so does a copy that takes more than ten seconds or more than 1 GiB on top of what the program has.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
WINGS = ("sim", "datasets", "scenarios", "vla_model", "kernels", "tests")
sys.path[:0] = [str(ROOT), *(str(ROOT / folder) for folder in WINGS)]

from recordings.damage import SMALL_RECORDINGS, open_recording, outcomes, peak_bytes  # noqa: E402 - after the path
from recordings.own_files import OWN_FILES, Kind  # noqa: E402

KINDS = {**{name: Kind(write, open_recording) for name, write in SMALL_RECORDINGS.items()}, **OWN_FILES}
MAX_S, MAX_BYTES = 10.0, 1 << 30


def run(kind: Kind, count: int, seed: int) -> Counter[str]:
    """Read damaged copies of one kind of file and count the outcomes.

    Raises:
        AssertionError: a copy ended in another error, or took too long or too much memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole, damaged = Path(folder) / "whole", Path(folder) / "damaged"
        whole.mkdir()
        damaged.mkdir()
        written = kind.write(whole)
        kind.read(written)  # what is loaded once is not the copies'
        before, found = peak_bytes(), Counter[str]()
        for k, (message, seconds, memory) in enumerate(outcomes(written, damaged, count, seed, kind.read)):
            if seconds > MAX_S or memory - before > MAX_BYTES:
                raise AssertionError(
                    f"copy {k} of seed {seed}: {seconds:.1f} s, {(memory - before) >> 20} MiB: {message}"
                )
            found[message] += 1
    return found


def main() -> None:
    """Run all kinds, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable()
    for name in options.kinds or KINDS:
        start = time.perf_counter()
        found = run(KINDS[name], options.count, options.seed)
        read = found.pop("read", 0)
        print(  # noqa: T201 - a program
            f"{name}: {options.count} damaged copies, {read} read, "
            f"{options.count - read} refused in {len(found)} ways, {time.perf_counter() - start:.0f} s"
        )


if __name__ == "__main__":
    main()
