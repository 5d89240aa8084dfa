"""Our own scaling: 1 to 4096 worlds of 64 agents, the step alone and with the flat observation; memory.

``python sim/benchmarks/scaling.py [--device cuda:0]``. The engine runs on one CPU thread here.
"""

import argparse
import resource

import numpy as np
from record import report, seconds_per_call

from alpamayo_sim.engine import World
from alpamayo_sim.scenario import Goal, Scenario, Script
from alpamayo_sim.scene import Category, Lane, Provenance, RoadMap, Route, Scene, Track

AGENTS = 63
STEPS = 200


def road() -> RoadMap:
    """Four lanes of 3.5 m over 1 km with edges, in points every 2 m."""
    x = np.arange(-200.0, 801.0, 2.0)
    width = np.full(len(x), 3.5, np.float32)

    def line(y: float, flip: bool = False) -> np.ndarray:
        points = np.column_stack([x, np.full_like(x, y), np.zeros_like(x)]).astype(np.float32)
        return points[::-1].copy() if flip else points

    lanes = tuple(Lane(f"lane {k}", line(3.5 * k), width, speed_limit=30.0) for k in range(4))
    return RoadMap(lanes=lanes, road_edges=(line(-1.75), line(12.25, flip=True)))


def traffic(followers: int, seed: int = 0) -> Scenario:
    """63 cars beside the ego: so many IDM followers, the rest repeats a recording."""
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


def main() -> None:
    """Run and record all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--worlds", type=int, nargs="*", default=[1, 8, 64, 512, 4096])
    device = parser.parse_args().device
    for name, followers in (("replay", 0), ("IDM", AGENTS)):
        scenario = traffic(followers)
        for count in parser.parse_args().worlds:
            world = World([scenario] * count, device=device)
            controls = np.tile(np.array([0.1, 0.0], np.float32), (count, 1))

            def step(world: World = world, controls: np.ndarray = controls) -> None:
                if world.step_index[0] >= STEPS - 1:
                    world.reset()
                world.step(controls)

            def see(world: World = world) -> None:
                step()
                world.vectors()

            for what, work in (("step", step), ("step + 1917 floats", see)):
                rate = count / seconds_per_call(work)
                report("scaling", f"{device} {name}, {count} worlds x 64 agents, {what}", rate, "world-steps/s")
                report("scaling", f"{device} {name}, {count} worlds x 64 agents, {what}", 64 * rate, "agent-steps/s")
            if count == 1024 or count == max(parser.parse_args().worlds):
                used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                report("scaling", f"{device} {name}, peak memory of the process with {count} worlds", used, "MiB")


if __name__ == "__main__":
    main()
