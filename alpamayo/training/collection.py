"""Making of training data: drives through the families of which the expert labels every step.

Whoever drives, the expert says five times a second what it would do and why (DAgger, Ross et al. 2011). In the
first round the expert drives itself and is pushed off its way for short spans, so that the ways back are seen; in
later rounds a trained driver may drive.
"""

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from alpamayo.guard.guard import Guard
from alpamayo.parallel import Progress, in_order
from alpamayo.training.shards import LABEL_EVERY, Shard, compress
from alpamayo_scenarios.suites import FIRST_EVALUATION_SEED
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Driver
from alpamayo_sim.datatypes.observation import GroundTruth, Observation
from alpamayo_sim.datatypes.reasoning import ComponentKind, Reasoning
from alpamayo_sim.datatypes.rig import Camera, Rig, default_rig, pinhole
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError

Array = np.ndarray

TRAINING_SEEDS = FIRST_EVALUATION_SEED  # the seeds below are for training
PUSH_RATE, PUSH_STEPS = 0.045, (4, 13)  # chance a step that a push begins, and how long it lasts
PUSH_ACCELERATION, PUSH_LATERAL = 2.5, 2.0  # m/s²
HALT_RATE, HALT_STEPS, HALT = 0.004, (15, 40), 5.0  # as rarely the ego is brought to a halt (m/s²)
UNPUSHED = 0.15  # share of episodes without pushes
UNVARIED = 0.5  # share of episodes with exactly the default rig
TEACHER_STRETCH = (8, 30)  # decisions that the expert drives at a time between those of a trained driver
STANDING, PATIENCE = 0.5, 8  # m/s, and for how many decisions a trained driver may stand


@dataclass(frozen=True)
class Job:
    """One episode to be driven and written to ``path``."""

    family: str
    seed: int
    path: Path
    image_size: tuple[int, int]
    checkpoint: Path | None = None


@dataclass
class _Columns:
    """What is collected step by step."""

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
    workers: int | None = None,
    checkpoint: Path | None = None,
    name: str = "expert",
    progress: Progress | None = None,
) -> list[Path]:
    """Drive ``episodes`` scenarios, spread evenly over the families, and write one file for each.

    Files that are there already are not made again, so that an interrupted collection goes on where it stopped.

    Args:
        folder: where the files go.
        episodes: how many.
        seed: scenario seeds are ``seed``, ``seed + 1``, ...; they must all be training seeds (below 10,000).
        image_size: height and width in pixels.
        workers: processes; the number of cores, at most 8, when None.
        checkpoint: let this driver drive (with stretches of the expert); the pushed expert when None.
        name: how the files are named; rounds with the same name and seed are the same data.
        progress: called with ("collect", done, total).

    Returns:
        The files, in the order of the seeds.

    Raises:
        InputError: not training seeds, or an unwritable folder.
    """
    from alpamayo_scenarios.families import family_names

    if not 0 <= seed <= seed + episodes <= TRAINING_SEEDS:
        raise InputError(f"training takes seeds 0 to {TRAINING_SEEDS - 1}, asked for {seed} to {seed + episodes - 1}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot make the folder ({error.strerror})") from error
    names = family_names()
    jobs = [
        Job(names[i % len(names)], seed + i, folder / f"{name}-{seed + i:05d}.npz", image_size, checkpoint)
        for i in range(episodes)
    ]
    missing = [job for job in jobs if not job.path.is_file()]
    report = progress or (lambda what, done, total: None)
    there = len(jobs) - len(missing)
    report("collect", there, len(jobs))

    def count(what: str, done: int, _: int) -> None:
        report(what, there + done, len(jobs))

    with closing(in_order(run_job, missing, workers=workers, what="collect", progress=count)) as results:
        for _, result in results:
            if isinstance(result, Exception):
                raise result
    return [job.path for job in jobs]


def run_job(job: Job) -> Path:
    """Drive one episode and write its file."""
    from alpamayo_scenarios.families import make_scenario

    trained = None
    if job.checkpoint is not None:
        from alpamayo_vla_model.driver import load_driver

        trained = load_driver(job.checkpoint)
    scenario = make_scenario(job.family, job.seed)
    rng = np.random.default_rng([job.seed, 1])
    shard = record(scenario, varied_rig(job.image_size, rng), rng, trained)
    shard.save(job.path)
    return job.path


def varied_rig(image_size: tuple[int, int], rng: np.random.Generator) -> Rig:
    """The default rig, or as often one whose cameras sit, look and zoom a little differently."""
    rig = default_rig(image_size[1], image_size[0])
    if rng.random() < UNVARIED:
        return rig
    return Rig(tuple(_varied(camera, rng) for camera in rig.cameras))


def _varied(camera: Camera, rng: np.random.Generator) -> Camera:
    forward, fov = camera.rotation[:, 2], 2.0 * math.atan(0.5 * camera.width / camera.focal[0])
    yaw = math.atan2(forward[1], forward[0]) + rng.uniform(-0.06, 0.06)
    x, y, z = (float(p + rng.uniform(-d, d)) for p, d in zip(camera.position, (0.4, 0.1, 0.15), strict=True))
    return pinhole(camera.name, (x, y, z), yaw, fov * rng.uniform(0.93, 1.07), camera.width, camera.height)


def record(scenario: Scenario, rig: Rig, rng: np.random.Generator, trained: Driver | None = None) -> Shard:
    """Drive a scenario once with the expert at the label's desk, to its end or until a crash."""
    from alpamayo.training.patches import label_patches, visible_ids
    from alpamayo_sim.drivers import Expert
    from alpamayo_sim.engine import WorldBatch
    from alpamayo_sim.sensors import CameraRenderer, FrameBuffer

    world, renderer = WorldBatch([scenario]), CameraRenderer(scenario.scene, rig, seed=scenario.seed)
    buffer = FrameBuffer(rig, 4)
    expert = Expert()
    expert.reset(scenario.scene, rng)
    if trained is not None:
        trained.reset(scenario.scene, rng)
    pilot = _Pilot(scenario.scene, rng, trained)
    columns = _Columns()
    for step in range(scenario.steps):
        truth = world[0].ground_truth()
        images = renderer.draw(truth)
        buffer.push(images.rgb)
        columns.images.append(compress(np.moveaxis(images.rgb, -1, 1)))
        if step % LABEL_EVERY == 0:
            observation = world[0].observe()
            decision = expert.act(replace(observation, truth=truth))
            patches = label_patches(images, truth)
            row = _row(observation, decision) | {f"patch_{f.name}": getattr(patches, f.name) for f in fields(patches)}
            columns.add(_seen(decision, visible_ids(images, truth)), row)
            plan = pilot.plan(replace(observation, cameras=buffer.frames()), decision, truth)
            controls = world.track(plan[None])
        world.step(pilot.push(controls, truth.ego_speed))
        if world.egos.arrived[0, 0] or world.egos.collided[0, 0]:
            break
    return _shard(columns, rig)


class _Pilot:
    """Who drives, and how it is disturbed.

    A trained driver drives under the guard, as it will in earnest, and in turns with the expert, who also takes
    over where it has come to stand: so the ways on from there are seen.
    """

    def __init__(self, scene: Scene, rng: np.random.Generator, trained: Driver | None) -> None:
        self._rng = rng
        self._trained = trained
        self._guard = Guard(scene) if trained is not None else None
        self._stood = 0
        self._pushed = trained is None and rng.random() > UNPUSHED
        self._push, self._push_left = np.zeros(2), 0
        self._teacher_left = 0 if trained is not None else 1 << 30

    def plan(self, observation: Observation, expert: Decision, truth: GroundTruth) -> Array:
        """The plan to drive: the expert's, or in turns the trained driver's."""
        if self._teacher_left > 0:
            self._teacher_left -= 1
            return expert.plans[expert.chosen]
        assert self._trained is not None
        assert self._guard is not None
        self._stood = self._stood + 1 if observation.speed < STANDING else 0
        if self._stood > PATIENCE or self._rng.random() < 0.02:
            self._teacher_left, self._stood = int(self._rng.integers(*TEACHER_STRETCH)), 0
        return self._guard.check(self._trained.act(observation), truth).plan

    def push(self, controls: Array, speed: float) -> Array:
        """Add a constant error to the controls for a short span, now and then."""
        if not self._pushed:
            return controls
        if self._push_left == 0 and self._rng.random() < HALT_RATE:
            self._push_left, self._push = int(self._rng.integers(*HALT_STEPS)), np.array([-HALT, 0.0])
        if self._push_left == 0 and self._rng.random() < PUSH_RATE:
            self._push_left = int(self._rng.integers(*PUSH_STEPS))
            lateral = self._rng.uniform(-PUSH_LATERAL, PUSH_LATERAL)
            curvature = np.clip(lateral / max(speed, 3.0) ** 2, -0.06, 0.06)
            self._push = np.array([self._rng.uniform(-PUSH_ACCELERATION, PUSH_ACCELERATION), curvature])
        if self._push_left == 0:
            return controls
        self._push_left -= 1
        return (controls + self._push).astype(np.float32)


def steadied(records: Sequence[Reasoning], reach: int = 2) -> list[Reasoning]:
    """Take out what lasts for an instant only.

    The pair of decisions that is most frequent within ``reach`` steps wins (its own where several are), and the
    nearest record with it is taken.
    """
    out = []
    for t, own in enumerate(records):
        near = records[max(t - reach, 0) : t + reach + 1]
        counts = Counter((record.longitudinal, record.lateral) for record in near)
        pair = (own.longitudinal, own.lateral)
        if counts[pair] < max(counts.values()):
            pair = counts.most_common(1)[0][0]
        order = sorted(range(len(records))[max(t - reach, 0) : t + reach + 1], key=lambda i: abs(i - t))
        out.append(next(records[i] for i in order if (records[i].longitudinal, records[i].lateral) == pair))
    return out


def _seen(decision: Decision, visible: set[str]) -> Reasoning:
    """The expert's reasoning without the road users that no camera shows."""
    if decision.reasoning is None:
        raise InputError("the expert gave no reasoning, which training needs")
    told = decision.reasoning
    kept = tuple(c for c in told.components if c.kind != ComponentKind.OBJECT or c.id is None or c.id in visible)
    return replace(told, components=kept)


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

    from alpamayo_vla_model.action_space import plan_to_actions
    from alpamayo_vla_model.reasoning_text import MAX_TOKENS, encode
    from alpamayo_vla_model.vision import RigTensors

    tensors = RigTensors.of(rig)
    tokens = [np.array(encode(record), np.int16) for record in steadied(columns.reasoning)]
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
