"""A recorded scene with many controlled cars, and PufferLib's C environment on the same scene in the same run.

``python benchmarks/controlled.py LOG [--pufferlib SOURCES]``. LOG is a Waymo-motion JSON; the default
is scene 402: 91 objects, 225 road elements, 45 controlled. Both step with random actions on one thread and write
every controlled car's observation: the peer's 1847 numbers (6 + 63 x 7 + 200 x 7), ours 1917 (12 + 32 x 2 for the route
+ 63 x 7 + 200 x 7). Ours always has contacts with all objects, the drivable area's margin by exact distance, time to
collision, route progress, lane, speed limit, wrong way and red lights; the peer has contacts with the first 64 objects
and the crossing of road edges. The limit is the time of writing the observations.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from gpudrive_peer import Peer

from alpamayo_datasets import open_log
from alpamayo_sim.benchmarking import cpu_seconds, report
from alpamayo_sim.datatypes.scenario import scenario_of_log, with_egos
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.warp_runtime import wp

CHUNK_STEPS = 30  # steps of one round


class Ours:
    """Worlds of one scene in which every moving agent is controlled."""

    def __init__(self, log: Path, copies: int, device: str) -> None:
        scenario = with_egos(scenario_of_log(open_log(log)))
        self.batch = WorldBatch([scenario] * copies, device=device)
        self.steps_at_most = scenario.steps
        self.controlled, self.objects = self.batch.egos.count, len(scenario.scene.tracks)
        rng = np.random.default_rng(0)
        shape = (CHUNK_STEPS, copies, self.controlled, 2)
        self.controls = (rng.uniform(-1.0, 1.0, shape) * [4.0, 0.1]).astype(np.float32)
        self.graph = self.batch.capture()
        self.inputs = wp.to_torch(self.batch.device_inputs["controls"])

    def steps(self, observe: bool) -> None:
        """Run some steps with random actions."""
        for controls in self.controls:
            if self.batch.step_index[0] >= self.steps_at_most:
                self.batch.reset()
            self.batch.step(controls)
            if observe:
                self.batch.vector_view()

    def graph_steps(self) -> None:
        """Run some steps as ``steps`` does, by the captured graph of a step and controls written by torch."""
        for controls in self.controls:
            if self.batch.step_index[0] >= self.steps_at_most:
                self.batch.reset()
            self.inputs[:] = torch.from_numpy(controls)
            wp.capture_launch(self.graph)


def main() -> None:
    """Run the benchmark and record its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(os.environ.get("ALPAMAYO_REALDATA", "../shared/realdata"))
    log = root / "womd_json" / "tfrecord-00000-of-01000_402.json"
    parser.add_argument("log", type=Path, nargs="?", default=log)
    parser.add_argument("--pufferlib", type=Path, help="unpacked sources of pufferlib 3.0.0")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--copies", type=int, default=4, help="number of worlds")
    arguments = parser.parse_args()
    ours = Ours(arguments.log, arguments.copies, arguments.device)
    rows = np.zeros((arguments.copies * ours.controlled, 1917), np.float32)
    works = {
        "step": lambda: ours.steps(False),
        "step + 1917 floats": lambda: ours.steps(True),
        "step + 1917 floats, captured": ours.graph_steps,
        "limit: only writing 1917 floats": lambda: [rows.fill(0.5) for _ in range(CHUNK_STEPS)],
    }
    with tempfile.TemporaryDirectory() as folder:
        if arguments.pufferlib:
            peer = Peer(arguments.pufferlib, arguments.log, Path(folder), arguments.copies)
            works[f"PufferLib's C, {peer.controlled} controlled, 1847 floats"] = lambda: peer.steps(CHUNK_STEPS)
        taken = cpu_seconds(works)
    case = f"{arguments.device} {arguments.log.stem[-12:]}, {arguments.copies} worlds, "
    case += f"{ours.controlled} controlled of {ours.objects} objects"
    for name, seconds in taken.items():
        cars = peer.controlled if name.startswith("PufferLib") else ours.controlled
        report("controlled", f"{case}, {name}", CHUNK_STEPS * arguments.copies * cars / seconds, "agent-steps/s")
    if arguments.pufferlib:
        *_, theirs = taken
        for name in ("step + 1917 floats", "step + 1917 floats, captured"):
            ratio = taken[theirs] / peer.controlled / (taken[name] / ours.controlled)
            report("controlled", f"{case}, {name}, to PufferLib's C", ratio, "times")


if __name__ == "__main__":
    main()
