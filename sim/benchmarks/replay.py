"""Recorded scenes as single environments: steps per second, and the time of a reset.

``python sim/benchmarks/replay.py LOG ...`` takes ScenarioNet pickles and Waymo-motion JSON. The peers' figures on
the same files and machine: MetaDrive's ScenarioEnv 75 env-steps/s with a reset of 0.8 s (replay, no lidar);
Waymax 7.5 env-steps/s with its off-road metric.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from record import report, seconds_per_call

from alpamayo_datasets import open_log
from alpamayo_sim.environments import DrivingEnv
from alpamayo_sim.scenario import scenario_of_log


def main() -> None:
    """Run and record each log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs", type=Path, nargs="+")
    for path in parser.parse_args().logs:
        start = time.perf_counter()
        scenario = scenario_of_log(open_log(path))
        report("replay", f"{path.stem}, read", 1e3 * (time.perf_counter() - start), "ms")
        env = DrivingEnv(lambda rng, made=scenario: made, ends_off_road=False)  # type: ignore[misc]
        start = time.perf_counter()
        env.reset(seed=0)
        report("replay", f"{path.stem}, first reset", 1e3 * (time.perf_counter() - start), "ms")
        report("replay", f"{path.stem}, later resets", 1e3 * seconds_per_call(env.reset), "ms")
        action = np.zeros(2, np.float32)
        world = env.fleet.running

        def step(env: DrivingEnv = env, action: np.ndarray = action, steps: int = scenario.steps) -> None:
            _, _, _, truncated, _ = env.step(action)
            if truncated:
                env.reset()

        case = f"{path.stem}, {len(world.agents(0).ids)} objects, observation, contacts, off-road, progress"
        report("replay", case, 1.0 / seconds_per_call(step), "env-steps/s")


if __name__ == "__main__":
    main()
