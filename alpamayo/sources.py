"""The sources of scenarios: long-tail families, recorded logs, and files of scenarios."""

import re
from pathlib import Path

from alpamayo_datasets import open_log
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.io.scene_file import load_scenario

__all__ = ["make_scenario", "open_log", "scenario_file"]

KIND = re.compile(rb'"kind"\s*:\s*"Scenario"')
HEAD_BYTES = 4096  # of a file, in which its kind is


def scenario_file(source: str | Path) -> Scenario | None:
    """Return the scenario of a file that this project wrote, named with or without .json; None for anything else.

    Raises:
        InputError: It is such a file, and is damaged.
    """
    path = Path(source)
    whole = path if path.suffix == ".json" else path.with_name(f"{path.name}.json")
    if not whole.is_file():
        return None
    with whole.open("rb") as file:
        if KIND.search(file.read(HEAD_BYTES)) is None:
            return None
    return load_scenario(whole.with_suffix(""))
