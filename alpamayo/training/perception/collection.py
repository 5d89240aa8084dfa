"""Collection of samples for perception: disturbed drives of the expert and of IDM, and scattered things."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from alpamayo.closed_loop import ObservationSource
from alpamayo.parallel import Progress, Workers
from alpamayo.provenance import code_version
from alpamayo.training.end_to_end.collection import Disturbance, varied_rig
from alpamayo.training.files import make_files
from alpamayo.training.perception.labels import RoadLabeller, label_objects
from alpamayo.training.perception.scattered import scatter
from alpamayo.training.perception.shards import SAMPLE_STEPS, VERSION, PerceptionShard, compressed
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.datatypes.driver import Driver, Needs
from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.drivers import Expert, IdmLaneFollower
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.geometry import from_frame, to_frame, wrap_angle
from alpamayo_vla_model.inputs import state_of

Array = np.ndarray

PILOTS: dict[str, Callable[[], Driver]] = {"expert": Expert, "idm": IdmLaneFollower}
"""Each scenario is driven once by each; IDM comes into states that the expert avoids."""
SCATTERED = "scattered"


@dataclass(frozen=True)
class Job:
    """One file to make in ``folder``: a drive of a scenario by a pilot, or scattered samples of its road."""

    what: str
    family: str
    seed: int
    folder: Path
    image_size: tuple[int, int]

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / f"{self.what}-{self.seed:05d}.npz"

    def inputs(self) -> str:
        """Return what decides the content of the file, as JSON."""
        return json.dumps([self.what, self.family, self.seed, list(self.image_size), code_version()])


def collect_perception(
    folder: Path,
    families: Sequence[str],
    *,
    driven: int,
    scattered: int,
    seed: int,
    image_size: tuple[int, int],
    workers: Workers = None,
    progress: Progress = lambda what, done, total: None,
) -> list[Path]:
    """Make the samples of scenarios that are spread evenly over ``families``; return the files.

    The scenarios from ``seed`` on are driven, ``driven`` of them, once by each pilot; those after them, ``scattered``
    in number, give their roads for scattered things. Files that an earlier call has made from the same inputs by the
    same code are kept, so an interrupted collection continues where it stopped.
    """

    def job(what: str, number: int) -> Job:
        return Job(what, families[number % len(families)], seed + number, folder, image_size)

    jobs = [job(pilot, i) for i in range(driven) for pilot in PILOTS]
    jobs += [job(SCATTERED, driven + i) for i in range(scattered)]
    return make_files(folder, jobs, run_job, VERSION, workers=workers, progress=progress)


def run_job(job: Job) -> None:
    """Make one file."""
    scenario = make_scenario(job.family, job.seed)
    rng = np.random.default_rng([job.seed, [*PILOTS, SCATTERED].index(job.what), 2])
    rig = varied_rig(job.image_size, rng)
    shard = scatter(scenario, rig, rng) if job.what == SCATTERED else record(scenario, PILOTS[job.what](), rig, rng)
    shard.save(job.path, job.inputs())


def record(scenario: Scenario, driver: Driver, rig: Rig, rng: np.random.Generator) -> PerceptionShard:
    """Drive a scenario until its end or a collision, and record a sample each half second."""
    world = WorldBatch([scenario])
    source = ObservationSource(world, Needs(rig=rig, frames=1, truth=True), scenario.seed)
    driver.reset(scenario.scene, rng)
    road = RoadLabeller(scenario.scene)
    disturbance = Disturbance(rng)
    rows: dict[str, list[Array]] = {}
    streams: list[bytes] = []
    plan, pose = np.zeros((1, 4), np.float32), np.zeros(3)
    for step in range(scenario.steps):
        truth = world[0].ground_truth()
        if step % SAMPLE_STEPS == 0:
            observation = source.observe()
            assert source.images is not None
            images, labels, along = source.images, label_objects(source.images, truth), road.label(truth)
            streams.append(compressed(images.rgb))
            row = {
                "route": observation.route,
                "state": np.array(state_of(observation), np.float32),
                "motion": observation.history[-1 - SAMPLE_STEPS, :3],
                "objects": labels.objects,
                "owner": labels.owner,
                "ground": along.ground,
                "control": along.control,
            }
            for name, value in row.items():
                rows.setdefault(name, []).append(value)
            decision = driver.act(observation)
            plan, pose = decision.plans[decision.chosen], truth.ego_pose.astype(np.float64)
        controls = world.track(later_plan(plan, pose, truth.ego_pose.astype(np.float64), step % SAMPLE_STEPS)[None])
        world.step(disturbance.apply(controls, truth.ego_speed))
        if world.egos.arrived[0, 0] or world.egos.collided[0, 0]:
            break
    frames = np.arange(len(streams))
    return PerceptionShard.of(streams, rows, rig, np.stack([np.maximum(frames - 1, 0), frames], axis=-1))


def later_plan(plan: Float32[Array, "n 4"], then: Array, now: Array, steps: int) -> Float32[Array, "n 4"]:
    """Return a plan made at pose ``then``, ``steps`` ago, as a plan from pose ``now``; its last row is repeated."""
    if steps == 0:
        return plan
    rest = np.concatenate([plan[steps:], np.repeat(plan[-1:], steps, axis=0)])
    xy = to_frame(from_frame(rest[:, :2].astype(np.float64), then), now)
    heading = wrap_angle(rest[:, 2] + then[2] - now[2])
    return np.column_stack([xy, heading, rest[:, 3]]).astype(np.float32)
