"""A sample on disk: one document for each scenario, and their list as a suite."""

from collections.abc import Callable
from pathlib import Path

from alpamayo_scenarios.sampling.sample import Sample
from alpamayo_scenarios.suites import Suite, save_suite
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.scene_file import save_scenario

NAME = "sample"


def write_sample(sample: Sample, folder: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Write ``FAMILY-SEED.json`` and ``.npz`` of each scenario, and the suite ``sample.json`` last; return that file.

    Raises:
        InputError: The folder has a sample already, or cannot be written, or a point out of range makes no scenario.
    """
    listed = folder / f"{NAME}.json"
    if listed.exists():
        raise InputError(f"{listed} exists; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error
    for done, entry in enumerate(sample.entries, start=1):
        save_scenario(entry.make(), folder / f"{entry.family}-{entry.seed}")
        progress(done, len(sample.entries))
    return save_suite(Suite(NAME, 1, sample.entries), folder)
