"""51 vehicles on a four-lane road, compared with EnvPool's and highway-env's highway-v0 in the same run.

``python sim/benchmarks/traffic.py [--peers PYTHON]``. PYTHON is an interpreter of a virtual environment that has the
peers (``pip install envpool highway-env``). All run on one thread: an ego and 50 cars by IDM and MOBIL with the peers'
parameters, 15 substeps of 1/15 s per step, one lane-change decision per second, 64 worlds, episodes of 40 s, resets
included. The observation is of the ego and its four nearest (peers: 5 x 5 numbers; ours has the route as well: 104).
Ours has an ego that keeps its lane and accelerates at random; the peers' takes random meta-actions. The peers test all
pairs of boxes for overlap in each substep; ours tests the ego's with all, once a step.

Times are processor times, the minimum over alternating rounds. The physical limit is the reading and writing of each
car's state (about 200 bytes) in each substep at the memory's speed.
"""

import argparse
import subprocess
import time
from typing import Any

import numpy as np

from alpamayo_sim.benchmarking import report
from alpamayo_sim.datatypes.dynamics import Dynamics
from alpamayo_sim.datatypes.scenario import Goal, Scenario, TrafficVehicle
from alpamayo_sim.datatypes.scene import Category, Lane, Provenance, RoadMap, Route, Scene, Track
from alpamayo_sim.engine import WorldBatch

WORLDS, CARS, SUBSTEPS, STEPS = 64, 51, 15, 40
STATE_BYTES = 200

PEER = """
import sys, time
import numpy as np

name, steps = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
if name == "envpool":
    import envpool

    env = envpool.make("Highway-v0", env_type="gymnasium", num_envs=64, num_threads=1)
    draw = lambda: rng.integers(0, 5, 64).astype(np.int32)
else:
    import gymnasium, highway_env

    env = gymnasium.make("highway-v0")
    draw = lambda: int(rng.integers(0, 5))
env.reset()
print("ready", flush=True)
for line in sys.stdin:
    start = time.process_time()
    for _ in range(steps):
        done = env.step(draw())
        if name != "envpool" and (done[2] or done[3]):
            env.reset()
    print(time.process_time() - start, flush=True)
"""


class Peer:
    """A peer in its own process, which runs a round on request and returns its time."""

    def __init__(self, python: str, name: str, steps: int) -> None:
        self.steps = steps
        self._process: Any = subprocess.Popen(
            [python, "-c", PEER, name, str(steps)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        while (line := self._process.stdout.readline()) != "ready\n":
            if not line:
                raise SystemExit(f"{name} did not start with {python}; install it there")

    def seconds(self) -> float:
        """Return processor seconds of one round."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


def road(lanes: int = 4, width: float = 4.0, length: float = 10_000.0) -> RoadMap:
    """Return parallel straight lanes."""
    x = np.linspace(0.0, length, 101)
    return RoadMap(
        lanes=tuple(
            Lane(
                id=f"lane-{k}",
                centreline=np.column_stack([x, np.full_like(x, width * k), 0.0 * x]).astype(np.float32),
                width=np.full(len(x), width, np.float32),
                speed_limit=30.0,
                left_neighbours=(f"lane-{k + 1}",) if k + 1 < lanes else (),
                right_neighbours=(f"lane-{k - 1}",) if k else (),
            )
            for k in range(lanes)
        )
    )


def car(name: str, x: float, y: float, speed: float) -> Track:
    """Return a car at its start; the engine moves it from there."""
    steps = STEPS + 1
    return Track(
        id=name,
        category=Category.VEHICLE,
        position=np.tile(np.array([x, y, 0.0], np.float32), (steps, 1)),
        heading=np.zeros(steps, np.float32),
        velocity=np.tile(np.array([speed, 0.0], np.float32), (steps, 1)),
        size=np.array([5.0, 2.0, 1.6], np.float32),
        valid=np.ones(steps, bool),
    )


def highway(road_map: RoadMap, seed: int) -> Scenario:
    """Return an ego and 50 traffic vehicles with highway-env's parameters (``IDMVehicle``) ahead of it."""
    rng = np.random.default_rng(seed)
    x, lane = 50.0 + np.cumsum(rng.uniform(10.0, 14.0, CARS)), rng.integers(0, 4, CARS)
    tracks = [
        car(f"car-{k}" if k else "ego", float(x[k]), 4.0 * float(lane[k]), float(rng.uniform(21.0, 25.0)))
        for k in range(CARS)
    ]
    traffic_vehicles = tuple(
        TrafficVehicle(
            track.id,
            wanted_speed=float(rng.uniform(23.0, 30.0)),
            seed=k,
            acceleration=3.0,
            deceleration=5.0,
            gap=5.0,
            politeness=0.0,
            safe_deceleration=2.0,
        )
        for k, track in enumerate(tracks[1:])
    )
    y = 4.0 * float(lane[0])
    route = Route(np.array([[0.0, y, 0.0], [9000.0, y, 0.0]], np.float32))
    scene = Scene("highway", road_map, tuple(tracks), "ego", Provenance("bench", "Apache-2.0"), route=route, dt=1.0)
    return Scenario(
        scene, Goal(8000.0, float(STEPS)), traffic_vehicles=traffic_vehicles, dynamics=Dynamics(substeps=SUBSTEPS)
    )


def rounds_of(batch: WorldBatch) -> float:
    """Return the processor seconds of one episode of all worlds; worlds with a crashed ego restart."""
    rng = np.random.default_rng(0)
    controls = rng.uniform(-2.0, 2.0, (STEPS, WORLDS, 1)) * [1.0, 0.0]
    start = time.process_time()
    for k in range(STEPS):
        batch.step(controls[k])
        batch.vectors(4, 0)
        if (over := batch.egos.collided[:, 0] | (batch.step_index >= STEPS)).any():
            batch.reset(over)
    return time.process_time() - start


def memory_limit() -> float:
    """Return the environment steps per second if only the cars' state were read and written, at memory speed."""
    block = np.zeros(64 << 20, np.uint8)
    best = np.inf
    for _ in range(5):
        start = time.process_time()
        block[: len(block) // 2] = block[len(block) // 2 :]
        best = min(best, time.process_time() - start)
    return float(len(block) / best / (CARS * SUBSTEPS * 2 * STATE_BYTES))


def main() -> None:
    """Run the benchmark and record its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter that has envpool and highway-env")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    road_map = road()
    batch = WorldBatch([highway(road_map, seed) for seed in range(WORLDS)])
    peers = {}
    if arguments.peers:
        peers = {"EnvPool": Peer(arguments.peers, "envpool", STEPS), "highway-env": Peer(arguments.peers, "highway", 4)}
    rounds_of(batch)
    taken: dict[str, list[float]] = {name: [] for name in ("alpamayo", *peers)}
    for _ in range(arguments.rounds):
        taken["alpamayo"].append(rounds_of(batch))
        for name, peer in peers.items():
            taken[name].append(peer.seconds())
    rate = {"alpamayo": WORLDS * STEPS / min(taken["alpamayo"])}
    for name, peer in peers.items():
        rate[name] = (WORLDS if name == "EnvPool" else 1) * peer.steps / min(taken[name])
        peer.close()
    case = "51 vehicles, IDM + MOBIL, 15 ticks a step"
    for name, value in rate.items():
        report("traffic", f"{case}, {name}", value, "env-steps/cpu-s")
    for name in peers:
        report("traffic", f"{case}, alpamayo / {name}", rate["alpamayo"] / rate[name], "ratio")
    report("traffic", f"{case}, alpamayo / writing the state alone", rate["alpamayo"] / memory_limit(), "ratio")


if __name__ == "__main__":
    main()
