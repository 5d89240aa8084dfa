"""Collection of training data: drives through the families, with the labels of the expert.

The expert labels five steps per second with its plan and its reasoning, also where another driver drives (DAgger, Ross
et al. 2011). In the first round the expert drives, and short disturbances push it off its path, so that the data show
how to return. In later rounds a trained driver may drive.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from alpamayo.closed_loop import ObservationSource
from alpamayo.guard.guard import Guard
from alpamayo.parallel import Progress, Workers
from alpamayo.provenance import code_version, file_digest
from alpamayo.training.end_to_end.shards import FRAMES, LABEL_EVERY, VERSION, Shard, compress
from alpamayo.training.files import make_files
from alpamayo_scenarios.suites import FIRST_EVALUATION_SEED
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Driver, Needs
from alpamayo_sim.datatypes.observation import GroundTruth, Observation
from alpamayo_sim.datatypes.reasoning import ComponentKind, Reasoning
from alpamayo_sim.datatypes.rig import Camera, Rig, default_rig, pinhole
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.drivers import Expert
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError

Array = np.ndarray

TRAINING_SEEDS = FIRST_EVALUATION_SEED  # the seeds below are for training


@dataclass(frozen=True)
class CollectionConfig:
    """Disturbance and variation of the drives.

    Attributes:
        push_probability: probability that a push starts, per step.
        push_steps: range of the length of a push (steps).
        push_acceleration_mps2: largest error of the acceleration in a push.
        push_lateral_mps2: largest lateral acceleration that a push adds.
        halt_probability: probability that a stop starts, per step.
        halt_steps: range of the length of a stop (steps).
        halt_deceleration_mps2: braking during a stop.
        unpushed_share: share of episodes without pushes.
        default_rig_share: share of episodes with exactly the default rig.
        expert_stretch: range of the number of decisions that the expert drives, among those of a trained driver.
        expert_probability: probability that such a stretch starts, per decision.
        standstill_mps: below this speed a trained driver is at standstill.
        standstill_decisions: after more decisions at standstill the expert takes over from a trained driver.
    """

    push_probability: float = 0.045
    push_steps: tuple[int, int] = (4, 13)
    push_acceleration_mps2: float = 2.5
    push_lateral_mps2: float = 2.0
    halt_probability: float = 0.004
    halt_steps: tuple[int, int] = (15, 40)
    halt_deceleration_mps2: float = 5.0
    unpushed_share: float = 0.15
    default_rig_share: float = 0.5
    expert_stretch: tuple[int, int] = (8, 30)
    expert_probability: float = 0.02
    standstill_mps: float = 0.5
    standstill_decisions: int = 8


CONFIG = CollectionConfig()


@dataclass(frozen=True)
class Job:
    """One episode to drive and to write to ``path``."""

    family: str
    seed: int
    path: Path
    image_size: tuple[int, int]
    checkpoint: Path | None = None

    def inputs(self) -> str:
        """Return what decides the content of the file, as JSON."""
        weights = None if self.checkpoint is None else file_digest(self.checkpoint)
        values = [self.family, self.seed, list(self.image_size), weights, code_version()]
        return json.dumps(values)


@dataclass
class _Columns:
    """Data of one episode, step by step."""

    images: list[bytes] = field(default_factory=list)
    reasoning: list[Reasoning] = field(default_factory=list)
    rows: dict[str, list[Array]] = field(default_factory=dict)

    def add(self, reasoning: Reasoning, row: dict[str, Array]) -> None:
        self.reasoning.append(reasoning)
        for name, value in row.items():
            self.rows.setdefault(name, []).append(value)


def collect(
    folder: Path,
    episodes: int,
    *,
    seed: int = 0,
    image_size: tuple[int, int] = (96, 160),
    workers: Workers = None,
    checkpoint: Path | None = None,
    name: str = "expert",
    progress: Progress | None = None,
) -> list[Path]:
    """Drive ``episodes`` scenarios, spread evenly over the families, and write one file for each.

    Files that an earlier call has made from the same inputs by the same code are kept, so an interrupted collection
    continues where it stopped.

    Args:
        folder: folder of the files.
        episodes: number of episodes.
        seed: scenario seeds are ``seed``, ``seed + 1``, ...; they must all be training seeds (below 10,000).
        image_size: height and width in pixels.
        workers: number of processes; one for each core, at most 8, if None.
        checkpoint: weights of the driver that alternates with the expert; None: the disturbed expert drives alone.
        name: prefix of the file names; rounds with the same name and seed are the same data.
        progress: called with ("collect", done, total).

    Returns:
        The files, in the order of the seeds.

    Raises:
        InputError: seeds that are not for training, or a folder that cannot be written.
    """
    from alpamayo_scenarios.families import training_family_names

    if not 0 <= seed <= seed + episodes <= TRAINING_SEEDS:
        raise InputError(f"training takes seeds 0 to {TRAINING_SEEDS - 1}, asked for {seed} to {seed + episodes - 1}")
    names = training_family_names()
    jobs = [
        Job(names[i % len(names)], seed + i, folder / f"{name}-{seed + i:05d}.npz", image_size, checkpoint)
        for i in range(episodes)
    ]
    report = progress or (lambda what, done, total: None)
    return make_files(folder, jobs, run_job, VERSION, workers=workers, progress=report)


def run_job(job: Job) -> Path:
    """Drive one episode and write its file."""
    from alpamayo_scenarios.families import make_scenario

    trained = None
    if job.checkpoint is not None:
        from alpamayo_vla_model.end_to_end.driver import load_driver

        trained = load_driver(job.checkpoint)
    scenario = make_scenario(job.family, job.seed)
    rng = np.random.default_rng([job.seed, 1])
    shard = record(scenario, varied_rig(job.image_size, rng), rng, trained)
    shard.save(job.path, job.inputs())
    return job.path


def varied_rig(image_size: tuple[int, int], rng: np.random.Generator) -> Rig:
    """Return the default rig, or one with small changes of position, yaw and field of view."""
    rig = default_rig(image_size[1], image_size[0])
    if rng.random() < CONFIG.default_rig_share:
        return rig
    return Rig(tuple(_varied(camera, rng) for camera in rig.cameras))


def _varied(camera: Camera, rng: np.random.Generator) -> Camera:
    forward, fov = camera.rotation[:, 2], 2.0 * math.atan(0.5 * camera.width / camera.focal[0])
    yaw = math.atan2(forward[1], forward[0]) + rng.uniform(-0.06, 0.06)
    x, y, z = (float(p + rng.uniform(-d, d)) for p, d in zip(camera.position, (0.4, 0.1, 0.15), strict=True))
    return pinhole(camera.name, (x, y, z), yaw, fov * rng.uniform(0.93, 1.07), camera.width, camera.height)


def record(scenario: Scenario, rig: Rig, rng: np.random.Generator, trained: Driver | None = None) -> Shard:
    """Drive a scenario once while the expert labels every step, until its end or a collision."""
    from alpamayo.training.end_to_end.patches import label_patches, visible_ids

    world = WorldBatch([scenario])
    source = ObservationSource(world, Needs(rig=rig, frames=FRAMES, truth=True), scenario.seed)
    expert = Expert()
    expert.reset(scenario.scene, rng)
    if trained is not None:
        trained.reset(scenario.scene, rng)
    pilot = _Pilot(scenario.scene, rng, trained)
    disturbance = Disturbance(rng) if trained is None else None
    columns = _Columns()
    for step in range(scenario.steps):
        observation = source.observe()
        images, truth = source.images, observation.truth
        assert images is not None
        assert truth is not None
        columns.images.append(compress(np.moveaxis(images.rgb, -1, 1)))
        if step % LABEL_EVERY == 0:
            decision = expert.act(observation)
            patches = label_patches(images, truth)
            row = _row(observation, decision) | {f"patch_{f.name}": getattr(patches, f.name) for f in fields(patches)}
            columns.add(_visible_reasoning(decision, visible_ids(images, truth)), row)
            plan = pilot.plan(replace(observation, truth=None), decision, truth)
            controls = world.track(plan[None])
        world.step(disturbance.apply(controls, truth.ego_speed) if disturbance else controls)
        if world.egos.arrived[0, 0] or world.egos.collided[0, 0]:
            break
    return _shard(columns, rig)


class Disturbance:
    """Constant errors of the controls for short spans, and stops."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._active = rng.random() > CONFIG.unpushed_share
        self._push, self._push_left = np.zeros(2), 0

    def apply(self, controls: Array, speed: float) -> Array:
        """Return the controls with the error of this step."""
        if not self._active:
            return controls
        if self._push_left == 0 and self._rng.random() < CONFIG.halt_probability:
            self._push_left, self._push = (
                int(self._rng.integers(*CONFIG.halt_steps)),
                np.array([-CONFIG.halt_deceleration_mps2, 0.0]),
            )
        if self._push_left == 0 and self._rng.random() < CONFIG.push_probability:
            self._push_left = int(self._rng.integers(*CONFIG.push_steps))
            lateral = self._rng.uniform(-CONFIG.push_lateral_mps2, CONFIG.push_lateral_mps2)
            curvature = np.clip(lateral / max(speed, 3.0) ** 2, -0.06, 0.06)
            self._push = np.array(
                [self._rng.uniform(-CONFIG.push_acceleration_mps2, CONFIG.push_acceleration_mps2), curvature]
            )
        if self._push_left == 0:
            return controls
        self._push_left -= 1
        return (controls + self._push).astype(np.float32)


class _Pilot:
    """The selection of the plan that is driven.

    A trained driver drives under the guard and alternates with the expert. The expert also takes
    over where the trained driver is at standstill, so that the data show how to continue from there.
    """

    def __init__(self, scene: Scene, rng: np.random.Generator, trained: Driver | None) -> None:
        self._rng = rng
        self._trained = trained
        self._guard = Guard(scene) if trained is not None else None
        self._standstill = 0
        self._expert_left = 0 if trained is not None else 1 << 30

    def plan(self, observation: Observation, expert: Decision, truth: GroundTruth) -> Array:
        """Select the plan to drive: the expert's or the trained driver's."""
        if self._expert_left > 0:
            self._expert_left -= 1
            return expert.plans[expert.chosen]
        assert self._trained is not None
        assert self._guard is not None
        self._standstill = self._standstill + 1 if observation.speed < CONFIG.standstill_mps else 0
        if self._standstill > CONFIG.standstill_decisions or self._rng.random() < CONFIG.expert_probability:
            self._expert_left, self._standstill = int(self._rng.integers(*CONFIG.expert_stretch)), 0
        return self._guard.check(self._trained.act(observation), truth).plan


def smoothed(records: Sequence[Reasoning], window: int = 2) -> list[Reasoning]:
    """Remove decisions that last for an instant only.

    Each record is replaced by the nearest one with the most frequent pair of decisions within ``window`` steps. A
    record whose own pair is among the most frequent stays.
    """
    out = []
    for t, own in enumerate(records):
        near = records[max(t - window, 0) : t + window + 1]
        counts = Counter((record.longitudinal, record.lateral) for record in near)
        pair = (own.longitudinal, own.lateral)
        if counts[pair] < max(counts.values()):
            pair = counts.most_common(1)[0][0]
        order = sorted(range(len(records))[max(t - window, 0) : t + window + 1], key=lambda i: abs(i - t))
        out.append(next(records[i] for i in order if (records[i].longitudinal, records[i].lateral) == pair))
    return out


def _visible_reasoning(decision: Decision, visible: set[str]) -> Reasoning:
    """Return the expert's reasoning without the road users that no camera shows."""
    if decision.reasoning is None:
        raise InputError("the expert gave no reasoning, which training needs")
    reasoning = decision.reasoning
    kept = tuple(c for c in reasoning.components if c.kind != ComponentKind.OBJECT or c.id is None or c.id in visible)
    return replace(reasoning, components=kept)


def _row(observation: Observation, decision: Decision) -> dict[str, Array]:
    from alpamayo_vla_model.inputs import NAVIGATION_TOKENS, state_of
    from alpamayo_vla_model.reasoning_text import encode_navigation

    return {
        "history": observation.history,
        "route": observation.route,
        "state": np.array(state_of(observation), np.float32),
        "navigation": np.array(encode_navigation(observation.navigation, NAVIGATION_TOKENS), np.int16),
        "plan": decision.plans[decision.chosen].astype(np.float32),
    }


def _shard(columns: _Columns, rig: Rig) -> Shard:
    import torch

    from alpamayo_vla_model.end_to_end.action_space import plan_to_actions
    from alpamayo_vla_model.reasoning_text import MAX_TOKENS, encode
    from alpamayo_vla_model.vision import RigTensors

    tensors = RigTensors.of(rig)
    tokens = [np.array(encode(record), np.int16) for record in smoothed(columns.reasoning)]
    stacked = {name: np.stack(values) for name, values in columns.rows.items()}
    plan, state = torch.from_numpy(stacked["plan"]), torch.from_numpy(stacked["state"])
    return Shard(
        images=np.frombuffer(b"".join(columns.images), np.uint8),
        offsets=np.cumsum([0, *(len(image) for image in columns.images)]).astype(np.int64),
        image_shape=np.array((len(rig.cameras), 3, *rig.image_size), np.int64),
        lens=tensors.lens[0].numpy(),
        position=tensors.position[0].numpy(),
        rotation=tensors.rotation[0].numpy(),
        reasoning=np.stack([np.pad(words, (0, MAX_TOKENS - len(words))) for words in tokens]),
        actions=plan_to_actions(plan, state[:, 0]).numpy(),
        **stacked,
    )
