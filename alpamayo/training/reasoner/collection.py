"""Collection of samples for the reasoner: disturbed drives of the belief planner with a simulated sight."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int8

from alpamayo.closed_loop import ObservationSource
from alpamayo.parallel import Progress, Workers
from alpamayo.provenance import code_version
from alpamayo.training.end_to_end.collection import Disturbance
from alpamayo.training.files import make_files
from alpamayo.training.perception.collection import later_plan
from alpamayo.training.perception.shards import SAMPLE_STEPS
from alpamayo.training.reasoner.labels import Label, label
from alpamayo.training.reasoner.shards import VERSION, ReasonerShard
from alpamayo.training.reasoner.sight import SightConfig, SimulatedSight
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.datatypes.driver import Needs
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.planning.reasons import Explainer
from alpamayo_vla_model.belief_planner import BeliefPlanner, Situation
from alpamayo_vla_model.driver import IMAGE_SIZE
from alpamayo_vla_model.reasoner.inputs import MAX_TRACKS, belief_row
from alpamayo_vla_model.reasoner.language import MAX_TOKENS, Utterance

Array = np.ndarray


@dataclass(frozen=True)
class Job:
    """One scenario to drive, and the file of its samples."""

    family: str
    seed: int
    path: Path
    sight: SightConfig

    def inputs(self) -> str:
        """Return what decides the content of the file, as JSON."""
        return json.dumps([self.family, self.seed, asdict(self.sight), code_version()])


def collect_reasoner(
    folder: Path,
    families: Sequence[str],
    scenarios: int,
    *,
    seed: int,
    sight: SightConfig | None = None,
    workers: Workers = None,
    progress: Progress = lambda what, done, total: None,
) -> list[Path]:
    """Drive ``scenarios``, spread evenly over ``families``, and write one file for each.

    Files that an earlier call has made from the same inputs by the same code are kept, so an interrupted collection
    continues where it stopped.

    Raises:
        InputError: there is no family, or the folder cannot be made.
    """
    if not families:
        raise InputError(f"{folder}: there is no family to collect from")
    jobs = [
        Job(families[i % len(families)], seed + i, folder / f"belief-{seed + i:05d}.npz", sight or SightConfig())
        for i in range(scenarios)
    ]
    return make_files(folder, jobs, run_job, VERSION, workers=workers, progress=progress)


def run_job(job: Job) -> None:
    """Drive one scenario and write its file."""
    rng = np.random.default_rng([job.seed, 3])
    record(make_scenario(job.family, job.seed), rng, job.sight).save(job.path, job.inputs())


def record(scenario: Scenario, rng: np.random.Generator, sight: SightConfig | None = None) -> ReasonerShard:
    """Drive a scenario until its end or a collision, and record a sample each half second."""
    world = WorldBatch([scenario])
    source = ObservationSource(world, Needs(truth=True), scenario.seed)
    planner = BeliefPlanner(default_rig(IMAGE_SIZE[1], IMAGE_SIZE[0]))
    simulated, disturbance = SimulatedSight(scenario.scene, rng, sight), Disturbance(rng)
    rows: dict[str, list[Array]] = {}
    plan, pose = np.zeros((1, 4), np.float32), np.zeros(3)
    for step in range(scenario.steps):
        observation = source.observe()
        assert observation.truth is not None
        now = observation.truth.ego_pose.astype(np.float64)
        planner.see(observation, simulated.look(observation.truth))
        if step % SAMPLE_STEPS == 0:
            situation = planner.propose(observation)
            for row in _rows(situation, label(planner, situation)):
                for name, value in row.items():
                    rows.setdefault(name, []).append(value)
            decision = planner.commit(situation, situation.proposals.best)
            plan, pose = decision.plans[decision.chosen], now
        controls = world.track(later_plan(plan, pose, now, step % SAMPLE_STEPS)[None])
        world.step(disturbance.apply(controls, observation.truth.ego_speed))
        if world.egos.arrived[0, 0] or world.egos.collided[0, 0]:
            break
    return ReasonerShard(**{name: np.stack(values) for name, values in rows.items()})


def _rows(situation: Situation, right: Label) -> list[dict[str, Array]]:
    """Return the sample of a step, and those of worlds that lack something; of these the decision alone is known."""
    nothing = np.zeros(MAX_TRACKS, np.int8)
    others = []
    for other in right.without:
        own = Explainer(other.proposals).explain(other.proposals.best)
        decision = Utterance(own.longitudinal, own.lateral).encode()[:2]
        others.append(_row(other, decision, nothing))
    return [_row(situation, right.utterance.encode(), right.groups), *others]


def _row(situation: Situation, words: list[int], groups: Int8[Array, "16"]) -> dict[str, Array]:
    manoeuvres = np.zeros((len(Longitudinal), len(Lateral)), bool)
    for longitudinal, lateral in situation.manoeuvres:
        manoeuvres[longitudinal, lateral] = True
    return belief_row(situation) | {
        "words": np.pad(np.array(words, np.int64), (0, MAX_TOKENS - len(words))),
        "manoeuvres": manoeuvres,
        "groups": groups,
    }
