"""A recorded scene with many controlled cars: each one a world of its own with all other objects around it.

``python sim/benchmarks/controlled.py LOG`` takes the scene's moving vehicles as egos, at most 45 (Waymo scene 402 has
so many for PufferLib's C environment: 222,000 agent-steps/s on one core with 1847 floats; here 1917 floats, contacts
with all objects, off-road by polygon or edges and route progress, every step).
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from record import report, seconds_per_call

from alpamayo_datasets import open_log
from alpamayo_sim.engine import World
from alpamayo_sim.scenario import Goal, Scenario
from alpamayo_sim.scene import Category, Route, Scene, Track


def drives(track: Track) -> bool:
    """Whether a track is a vehicle that is there from the start and comes at least 5 m far."""
    way = np.linalg.norm(np.diff(track.position[track.valid][:, :2], axis=0), axis=1).sum() if track.valid.any() else 0
    return track.category == Category.VEHICLE and bool(track.valid[0]) and way > 5.0


def with_ego(scene: Scene, track: Track) -> Scenario:
    """The scene with another ego, whose route is its own way."""
    route = Route(track.position[track.valid])
    return Scenario(
        dataclasses.replace(scene, ego_id=track.id, route=route), Goal(1000.0, (scene.steps - 1) * scene.dt)
    )


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--copies", type=int, default=8, help="batches of the scene side by side")
    arguments = parser.parse_args()
    scene = open_log(arguments.log)
    scenarios = [with_ego(scene, track) for track in scene.tracks if drives(track)][:45]
    count = len(scenarios) * arguments.copies
    world = World(scenarios * arguments.copies, device=arguments.device)
    controls = np.tile(np.array([0.1, 0.0], np.float32), (count, 1))

    def step() -> None:
        if world.step_index[0] >= scene.steps - 1:
            world.reset()
        world.step(controls)

    def see() -> None:
        step()
        world.vectors()

    case = f"{arguments.device} {arguments.log.stem}, {len(scenarios)} controlled of {len(scene.tracks)} objects"
    report("controlled", f"{case}, step", count / seconds_per_call(step), "agent-steps/s")
    report("controlled", f"{case}, step + 1917 floats", count / seconds_per_call(see), "agent-steps/s")


if __name__ == "__main__":
    main()
