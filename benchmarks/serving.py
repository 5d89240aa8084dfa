"""Cost of serving: a decision of a driver in process, and of the same driver served on loopback, in CPU and wall time.

``python benchmarks/serving.py [--driver tiny] [--decisions 100]``. The server is another process; processor time is
that of both. The observation has the four cameras of the default rig. Asked is that serving adds 5 ms at most.
"""

import argparse
import time
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np

from alpamayo.closed_loop import ObservationSource
from alpamayo.drivers import own
from alpamayo.drivers.registry import make_driver
from alpamayo.egodriver.client import RemoteDriver
from alpamayo.egodriver.server import EgodriverService, serving
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.benchmarking import report
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Driver, Needs
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.engine import WorldBatch

PLANS = 6  # of the driver that only answers, as many as tiny has
WARM_UP = 10  # decisions


class Answering:
    """A driver that looks at four cameras and answers at once."""

    name = "answering"
    needs = Needs(rig=default_rig())

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Prepare nothing."""

    def act(self, observation: Observation) -> Decision:
        """Return the same plans."""
        return Decision(np.zeros((PLANS, 64, 4), np.float32), np.full(PLANS, 1.0 / PLANS, np.float32))


def make(name: str) -> Driver:
    """Return a driver by its name."""
    return Answering() if name == "answering" else make_driver(name)


def serve(name: str, pipe: Connection) -> None:
    """Serve in a process of its own: tell the port, and then the processor time at each question."""
    with serving(EgodriverService(lambda: make(name), "benchmark"), port=0) as port:
        pipe.send(port)
        while pipe.recv():
            pipe.send(time.process_time())


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", default="answering", help="answering, or a driver by its name")
    parser.add_argument("--decisions", type=int, default=100)
    options = parser.parse_args()
    scenario = make_scenario("cut-in", 3)
    here = make(options.driver)
    seen = ObservationSource(WorldBatch([scenario]), here.needs, 0).observe()
    pipe, other = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=serve, args=(options.driver, other), daemon=True)
    server.start()
    remote = RemoteDriver(f"grpc://127.0.0.1:{pipe.recv()}")

    def spent() -> float:
        pipe.send(True)
        return time.process_time() + float(pipe.recv())

    means = {}
    for case, driver in (("in process", here), ("served", remote)):
        own.reset(driver, scenario.scene, np.random.default_rng(0))
        for step in range(WARM_UP):
            driver.act(replace(seen, time=0.1 * step))
        start, wall = spent(), time.perf_counter()
        for step in range(WARM_UP, WARM_UP + options.decisions):
            driver.act(replace(seen, time=0.1 * step))
        means[case] = np.array([spent() - start, time.perf_counter() - wall]) * 1000.0 / options.decisions
    for k, clock in enumerate(("CPU", "wall")):
        for case, mean in means.items():
            report("serving", f"{options.driver}, one decision, {case}", mean[k], f"ms {clock}")
        report(
            "serving", f"{options.driver}, added by serving", means["served"][k] - means["in process"][k], f"ms {clock}"
        )
    pipe.send(False)


if __name__ == "__main__":
    main()
