"""Our own scaling: 1 to 4096 worlds of 64 agents, the step alone and with every ego's flat observation; memory.

``python sim/benchmarks/scaling.py [--device cuda:0]``. The engine runs on one CPU thread here.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from alpamayo_sim.benchmarking import cpu_seconds, report
from alpamayo_sim.datatypes.scenario import Goal, Scenario, Script, with_egos
from alpamayo_sim.datatypes.scene import Category, Lane, Provenance, RoadMap, Route, Scene, Track
from alpamayo_sim.engine import WorldBatch

AGENTS = 63
STEPS = 200


def road() -> RoadMap:
    """Return four lanes of 3.5 m over 1 km with edges, in points every 2 m."""
    x = np.arange(-200.0, 801.0, 2.0)
    width = np.full(len(x), 3.5, np.float32)

    def line(y: float, flip: bool = False) -> np.ndarray:
        points = np.column_stack([x, np.full_like(x, y), np.zeros_like(x)]).astype(np.float32)
        return points[::-1].copy() if flip else points

    lanes = tuple(Lane(f"lane {k}", line(3.5 * k), width, speed_limit=30.0) for k in range(4))
    return RoadMap(lanes=lanes, road_edges=(line(-1.75), line(12.25, flip=True)))


def traffic(followers: int, seed: int = 0) -> Scenario:
    """Return an ego and 63 cars: ``followers`` drive by IDM, the others repeat a recording."""
    rng = np.random.default_rng(seed)
    tracks, scripts = [], []
    for k in range(AGENTS + 1):
        speed, y = rng.uniform(15, 25), 3.5 * (k % 4)
        x = 12.0 * (k // 4) + rng.uniform(0, 4) + 0.1 * speed * np.arange(STEPS)
        position = np.column_stack([x, np.full(STEPS, y), np.zeros(STEPS)]).astype(np.float32)
        velocity = np.tile(np.array([speed, 0.0], np.float32), (STEPS, 1))
        tracks.append(
            Track(
                id=f"t{k}",
                category=Category.VEHICLE,
                position=position,
                heading=np.zeros(STEPS, np.float32),
                velocity=velocity,
                size=np.array([4.8, 2.0, 1.6], np.float32),
                valid=np.ones(STEPS, bool),
            )
        )
        if 0 < k <= followers:
            path = np.array([[x[0] + 20.0 * i, y, 0.0] for i in range(45)], np.float32)
            scripts.append(Script(f"t{k}", path, float(speed), yields=True))
    route = Route(tracks[0].position[::5])
    scene = Scene("bench", road(), tuple(tracks), "t0", Provenance("benchmark", "Apache-2.0"), route=route)
    return Scenario(scene, Goal(300.0, 20.0), scripts=tuple(scripts))


def resident() -> float:
    """Return the present memory (MiB) of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Run all cases and record their figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--worlds", type=int, nargs="*", default=[1, 8, 64, 512, 1024, 4096])
    arguments = parser.parse_args()
    device = arguments.device
    cases = {"replay": traffic(0), "IDM": traffic(AGENTS), "all driven from outside": with_egos(traffic(0))}
    for name, scenario in cases.items():
        for count in arguments.worlds:
            before = resident()
            batch = WorldBatch([scenario] * count, device=device)
            controls = np.tile(np.array([0.1, 0.0], np.float32), (*batch.egos.present.shape, 1))

            def step(batch: WorldBatch = batch, controls: np.ndarray = controls) -> None:
                if batch.step_index[0] >= STEPS - 1:
                    batch.reset()
                batch.step(controls)

            def see(batch: WorldBatch = batch, step: Callable[[], None] = step) -> None:
                step()
                batch.vector_view()

            works = {"step": step, "step + 1917 floats": see}
            for what, seconds in cpu_seconds(works, max(5, 400 // count)).items():
                case = f"{device} {name}, {count} worlds x 64 agents, {what}"
                report("scaling", case, count / seconds, "world-steps/s")
                report("scaling", case, 64 * count / seconds, "agent-steps/s")
            case = f"{device} {name}, {count} worlds x 64 agents"
            report("scaling", f"{case}, memory of the worlds and their observations", resident() - before, "MiB")
            report("scaling", f"{case}, memory of the process", resident(), "MiB")
            del batch, step, see, works


if __name__ == "__main__":
    main()
