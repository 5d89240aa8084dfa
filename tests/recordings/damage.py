"""Small recordings in each format, and damaged copies of them."""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alpamayo_datasets import open_log
from alpamayo_datasets.tfrecord import frame, records
from alpamayo_sim.errors import InputError
from recordings.argoverse import write_av2_forecasting, write_av2_sensor
from recordings.arrow_123d import write_123d
from recordings.commonroad import write_commonroad
from recordings.mcap import write_mcap
from recordings.nuplan import write_nuplan
from recordings.nuscenes import write_nuscenes
from recordings.openscenario import write_opendrive, write_openscenario
from recordings.physical_ai_av import write_physical_ai_av
from recordings.ros2_bag import write_ros2_bag
from recordings.waymo import write_womd_example, write_womd_scenario

WITHIN = {  # what of a folder is opened
    "nuscenes": "#scene-0061",
    "nuplan": "/small.db#scene-001",
    "openscenario": "/small.xosc",
}
SMALL_RECORDINGS: dict[str, Callable[[Path], Path]] = {
    "womd-scenario": write_womd_scenario,
    "womd-example": write_womd_example,
    "av2-forecasting": write_av2_forecasting,
    "av2-sensor": write_av2_sensor,
    "commonroad": write_commonroad,
    "nuscenes": write_nuscenes,
    "nuplan": write_nuplan,
    "physical-ai-av": write_physical_ai_av,
    "123d": write_123d,
    "mcap": write_mcap,
    "opendrive": write_opendrive,
    "openscenario": write_openscenario,
}
if find_spec("rosbags"):  # the extra ros2
    SMALL_RECORDINGS["ros2-bag"] = write_ros2_bag


def open_recording(copy: Path) -> None:
    """Open a recording, or the scene in it that ``WITHIN`` names."""
    open_log(f"{copy}{WITHIN.get(copy.name, '')}")


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return some bytes with a few of them changed, cut out, doubled, swapped, or their end missing."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        i, j = sorted(rng.randrange(len(out) + 1) for _ in range(2))
        j = min(j, i + rng.choice((1, 4, 64, 100_000)))
        kind = rng.randrange(6)
        if kind <= 1 and out:
            out[min(i, len(out) - 1)] = rng.randrange(256)
        elif kind == 2:
            del out[i:j]
        elif kind == 3:
            out[i:i] = out[i:j]
        elif kind == 4:
            out[i:j] = reversed(out[i:j])
        else:
            del out[rng.choice((i, len(out) // 2, len(out) - 1)) :]
        if not out:
            break
    return bytes(out)


def damage(path: Path, rng: random.Random) -> None:
    """Damage a recording in place: one file of a folder; of a tfrecord the data, under a checksum that fits."""
    if path.is_dir():
        path = rng.choice(sorted(file for file in path.rglob("*") if file.is_file()))
    if path.suffix == ".tfrecord" and rng.random() < 0.8:
        path.write_bytes(b"".join(frame(damaged(data, rng)) for data in records(path)))
    elif rng.random() < 0.02:
        path.unlink()
    else:
        path.write_bytes(damaged(path.read_bytes(), rng))


def outcomes(
    written: Path, folder: Path, count: int, seed: int, read: Callable[[Path], Any] = open_recording
) -> Iterator[tuple[str, float, int]]:
    """Read ``count`` damaged copies of a file or folder; yield ``read`` or the message of the error, time and memory.

    The time is in s, the memory is the highest that the process had (bytes). Any other exception than ``InputError`` is
    raised, with the number of the copy.
    """
    for k in range(count):
        rng = random.Random(f"{seed}-{k}")
        copy = folder / written.name
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink(missing_ok=True)
        shutil.copytree(written, copy) if written.is_dir() else shutil.copy(written, copy)
        damage(copy, rng)
        start, message = time.perf_counter(), "read"
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the highest use of memory begins anew
        try:
            read(copy)
        except InputError as error:
            message = str(error)
        except Exception as error:
            raise AssertionError(f"copy {k} of seed {seed}: {type(error).__name__}: {error}") from error
        assert "\n" not in message
        yield message, time.perf_counter() - start, peak_bytes()


def peak_bytes() -> int:
    """Return the highest use of memory of this process since it was last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
