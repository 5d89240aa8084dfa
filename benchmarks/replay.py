"""Recorded scenes as single Gymnasium environments: steps per second, and the time of a reset.

``python benchmarks/replay.py [LOG ...]`` takes ScenarioNet pickles and Waymo-motion JSON; by default the scenes in
ScenarioNet's format under ``ALPAMAYO_REALDATA``. Every step has the replay of all objects, contacts, drivable area,
rules, progress, and the flat observation of 1917 numbers. Reading a log unites its drivable ground, once; a first reset
packs the scene and its map for the engine (neither has been packed in this process; kernels are loaded), a later one is
of the same scene. All times are processor times; those of reading and of the first reset are minima over fresh scenes.

The peer does not run here, since MetaDrive 0.4.3 downloads 200 MB of assets at its first reset. Measured on these files
without lidar, on one core of another machine, it has 75 env-steps/s and resets in 0.4 to 0.8 s.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from alpamayo_datasets import open_log
from alpamayo_sim.benchmarking import cpu_seconds, report
from alpamayo_sim.datatypes.scenario import Scenario, scenario_of_log
from alpamayo_sim.environments import DrivingEnv

METADRIVE_STEPS_PER_S = 75.0
FRESH_READS = 5  # readings of a log, each with a first reset


def cpu_ms(work: Callable[[], object]) -> float:
    """Measure the processor time (ms) of one call."""
    start = time.process_time()
    work()
    return 1e3 * (time.process_time() - start)


def environment(scenario: Scenario) -> DrivingEnv:
    """Return the scene as a scenario that ends with its recording."""
    return DrivingEnv(lambda rng: scenario, ends_off_road=False)


def fresh(path: Path) -> tuple[Scenario, float, float]:
    """Return the scenario of a log, and the minimum time (ms) of reading it and of a first reset."""
    times = []
    for _ in range(FRESH_READS):
        read: list[Scenario] = []
        reading = cpu_ms(lambda read=read: read.append(scenario_of_log(open_log(path))))  # type: ignore[misc]
        env = environment(read[0])
        times.append((reading, cpu_ms(lambda env=env: env.reset(seed=0))))  # type: ignore[misc]
    return read[0], min(reading for reading, _ in times), min(first for _, first in times)


def episode(env: DrivingEnv) -> int:
    """Drive straight ahead to the end of the recording; return the number of steps."""
    env.reset()
    action, steps, truncated = np.zeros(2, np.float32), 0, False
    while not truncated:
        *_, truncated, _ = env.step(action)
        steps += 1
    return steps


def main() -> None:
    """Run each log and record its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, nargs="*")
    root = Path(os.environ.get("ALPAMAYO_REALDATA", "../shared/realdata"))
    logs = parser.parse_args().logs or sorted((root / "scenarionet").glob("*.pkl"))
    other = scenario_of_log(open_log(root / "womd_json" / "tfrecord-00000-of-01000_325.json"))
    episode(environment(other))  # loads the kernels
    for path in logs:
        name, (scenario, reading, first) = path.stem, fresh(path)
        report("replay", f"{name}, reading", reading, "ms")
        report("replay", f"{name}, first reset", first, "ms")
        env = environment(scenario)
        later = cpu_seconds({"reset": env.reset})["reset"]
        report("replay", f"{name}, later resets", 1e3 * later, "ms")
        rate = episode(env) / cpu_seconds({"episode": lambda env=env: episode(env)}, 5)["episode"]  # type: ignore[misc]
        case = f"{name}, {len(scenario.scene.tracks)} objects"
        report("replay", f"{case}, resets included", rate, "env-steps/s")
        report(
            "replay",
            f"{case}, to MetaDrive's {METADRIVE_STEPS_PER_S:.0f} elsewhere",
            rate / METADRIVE_STEPS_PER_S,
            "times",
        )


if __name__ == "__main__":
    main()
