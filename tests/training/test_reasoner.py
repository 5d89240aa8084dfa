"""Training of the reasoner: a sight that errs, labels by removal, samples, and a loop that resumes."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alpamayo.training.reasoner import collection
from alpamayo.training.reasoner.collection import collect_reasoner, record
from alpamayo.training.reasoner.evaluation import evaluate_reasoner, usual_manoeuvres
from alpamayo.training.reasoner.labels import grouped, label
from alpamayo.training.reasoner.loop import ReasonerSettings, train_reasoner
from alpamayo.training.reasoner.samples import ReasonerSamples
from alpamayo.training.reasoner.shards import ReasonerShard
from alpamayo.training.reasoner.sight import SightConfig, SimulatedSight
from alpamayo.training.reasoner.stage import WEIGHTS_FILE, StageConfig, make_reasoner
from alpamayo_sim import testing
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_vla_model.belief_planner import BeliefPlanner, Situation
from alpamayo_vla_model.reasoner.checkpoint import load_reasoner
from alpamayo_vla_model.reasoner.inputs import BeliefInputs, relevant_agents
from alpamayo_vla_model.reasoner.language import POINTERS, SituationGrammar, Utterance
from alpamayo_vla_model.reasoner.model import BACKBONE, Reasoner, ReasonerConfig
from alpamayo_vla_model.weights_file import training_note

SMALL = ReasonerConfig(BACKBONE.with_(hidden_size=32, num_attention_heads=2, num_key_value_heads=1, pattern="M*E"))
EXACT = SightConfig(
    birth_steps=0, miss_probability=0.0, miss_per_m=0.0, radial_share=0.0, radial_m=0.0, lateral_share=0.0,
    lateral_m=0.0, velocity_mps=0.0, heading_rad=0.0, log_size=0.0, mistaken_share=0.0, ghost_probability=0.0,
    ground_error=0.0, control_error=0.0, line_share=0.0,
)  # fmt: skip
CONES = [testing.standing(f"cone-{k}", 45.0 + 5.0 * k, category=Category.CONE) for k in range(3)]
FAR = testing.standing("far", 60.0, 7.0)
BLOCKED = testing.scenario(*CONES, FAR, duration=2.6)


@pytest.fixture(scope="module")
def shard() -> ReasonerShard:
    return record(BLOCKED, np.random.default_rng(0))


@pytest.fixture(scope="module")
def path(shard: ReasonerShard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("data") / "belief-00000.npz"
    shard.save(found)
    return found


def believed(scenario: Scenario, steps: int = 6) -> tuple[BeliefPlanner, Situation]:
    """What is believed of a scenario by an exact sight, the ego standing where it begins."""
    view, planner = WorldBatch([scenario])[0], BeliefPlanner(default_rig(160, 96))
    sight = SimulatedSight(scenario.scene, np.random.default_rng(0), EXACT)
    observation = view.observe()
    observation = replace(observation, history=np.tile(observation.history[-1:], (16, 1)))
    for step in range(steps):
        observation = replace(observation, time=0.1 * step)
        planner.see(observation, sight.look(view.ground_truth()))
    return planner, planner.propose(observation)


def test_an_exact_sight_shows_what_is_there() -> None:
    _, situation = believed(BLOCKED)
    agents = situation.world.state.agents
    places = sorted(
        (int(c), round(float(x)), round(float(y))) for c, (x, y, _) in zip(agents.category, agents.pose, strict=True)
    )
    cones = [(int(Category.CONE), 45 + 5 * k, 0) for k in range(3)]
    assert places == sorted([*cones, (int(Category.VEHICLE), 60, 7)])


def test_errors_last_and_things_are_lost_for_a_while() -> None:
    view = WorldBatch([BLOCKED])[0]
    sight = SimulatedSight(BLOCKED.scene, np.random.default_rng(1), replace(SightConfig(), ghost_probability=0.0))
    truth = view.ground_truth()
    seen = [sight.look(truth).detections for _ in range(400)]
    count = np.array([len(found) for found in seen])
    assert 0.6 < count[20:].mean() / 4.0 < 0.99
    lost = count < 4
    again, anew = lost[21:][lost[20:-1]].mean(), lost[21:][~lost[20:-1]].mean()
    assert again > anew + 0.3
    first = np.array([found.position[np.argmin(found.position[:, 0]), 0] for found in seen if len(found) == 4])
    error = first - first.mean()
    assert (error[1:] * error[:-1]).mean() / (error**2).mean() > 0.5
    assert 0.5 < error.std() < 4.0


def test_ghosts_appear_and_go() -> None:
    view = WorldBatch([testing.scenario()])[0]
    sight = SimulatedSight(view.ground_truth().scene, np.random.default_rng(0), replace(EXACT, ghost_probability=0.2))
    count = [len(sight.look(view.ground_truth()).detections) for _ in range(60)]
    assert max(count) > 0
    assert min(count) == 0


def test_the_row_of_cones_is_the_cause_and_the_car_aside_is_none() -> None:
    planner, situation = believed(BLOCKED)
    agents, slots = situation.world.state.agents, relevant_agents(situation)
    cones = np.flatnonzero(agents.category == Category.CONE)
    groups = grouped(situation)
    assert len(set(groups[cones])) == 1
    assert len(set(groups)) == 2
    found = label(planner, situation)
    named = [int(slots[POINTERS.index(cause)]) for cause in found.utterance.causes]
    assert named
    assert agents.category[named[0]] == Category.CONE
    assert float(agents.pose[named[0], 0]) == pytest.approx(45.0, abs=0.5)
    assert all(agents.category[k] == Category.CONE for k in named)
    assert found.utterance.manoeuvre in situation.manoeuvres
    without = [each for each in found.without if not set(cones) & set(each.world.rows)]
    assert len(without) == 1


def test_an_empty_road_has_no_cause() -> None:
    planner, situation = believed(testing.scenario())
    found = label(planner, situation)
    assert found.utterance.causes == ()
    assert not found.without
    assert found.groups.max() == 0


def test_the_same_seed_records_the_same_bytes(shard: ReasonerShard) -> None:
    again = record(BLOCKED, np.random.default_rng(0))
    for name in ReasonerShard.__dataclass_fields__:
        assert getattr(again, name).tobytes() == getattr(shard, name).tobytes(), name


def test_finished_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "make_scenario", lambda family, seed: BLOCKED)
    (made,) = collect_reasoner(tmp_path, ["any"], 1, seed=3, workers=1)
    before = made.stat().st_mtime_ns
    assert collect_reasoner(tmp_path, ["any"], 1, seed=3, workers=1) == [made]
    assert made.stat().st_mtime_ns == before
    with pytest.raises(InputError, match="no family"):
        collect_reasoner(tmp_path, [], 1, seed=3)


def test_slots_in_another_order_point_to_the_same_tracks(path: Path) -> None:
    samples = ReasonerSamples.load([path])
    pointed = [k for k, words in enumerate(samples.words.tolist()) if samples.whole[k] and "<" in _causes(words)]
    assert pointed
    other = samples.shuffled(np.random.default_rng(0))
    for k in pointed:
        slots = [
            [POINTERS.index(cause) for cause in Utterance.parse(each.words[k].tolist()).causes if cause in POINTERS]
            for each in (samples, other)
        ]
        assert torch.equal(samples.inputs.tracks[k, slots[0]], other.inputs.tracks[k, slots[1]])
        assert torch.equal(samples.groups[k, slots[0]], other.groups[k, slots[1]])
    spoken = other.words > 0
    assert bool(torch.gather(other.allowed, 2, other.words[..., None])[..., 0][spoken].all())
    assert not torch.equal(samples.words, other.words)


def _causes(words: list[int]) -> str:
    return " ".join(Utterance.parse(words).causes)


def test_a_training_that_was_interrupted_ends_in_the_same_bytes(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, settings = ReasonerSamples.load([path]), ReasonerSettings(steps=4, batch=4)
    whole = train_reasoner(tmp_path / "whole", samples, settings, config=SMALL)

    def interrupt(what: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("alpamayo.training.steps.SAVE_EVERY_STEPS", 2)
    with pytest.raises(KeyboardInterrupt):
        train_reasoner(tmp_path / "parts", samples, settings, config=SMALL, progress=interrupt)
    resumed = train_reasoner(tmp_path / "parts", samples, settings, config=SMALL)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    with pytest.raises(InputError, match="other settings"):
        train_reasoner(tmp_path / "parts", samples, replace(settings, steps=5), config=SMALL)


def test_training_learns_a_few_samples_by_heart(path: Path, tmp_path: Path) -> None:
    samples = ReasonerSamples.load([path])
    settings = ReasonerSettings(steps=80, batch=8, warm_up=5, learning_rate=5e-3, ema=0.9)
    trained = train_reasoner(tmp_path, samples, settings, config=SMALL)
    scores = evaluate_reasoner(trained, samples, usual_manoeuvres(samples))
    assert scores.samples == int(samples.whole.sum())
    assert scores.decision > 0.6


def test_a_perfect_speaker_has_perfect_scores(path: Path) -> None:
    samples = ReasonerSamples.load([path])
    answers = iter([words.tolist() for words in samples.words[samples.whole]])

    class Perfect(Reasoner):
        def utter(self, inputs: BeliefInputs, grammar: SituationGrammar, **_: object) -> Utterance:
            return Utterance.parse(next(answers))

    scores = evaluate_reasoner(Perfect(SMALL), samples, Counter())
    assert (scores.decision, scores.cause, scores.any_cause, scores.missed) == (1.0, 1.0, 1.0, 0.0)
    assert not scores.made_up > 0.0


def test_bad_files_are_named(path: Path, shard: ReasonerShard, tmp_path: Path) -> None:
    cut = tmp_path / "cut.npz"
    cut.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"cut\.npz: cannot be read .* delete it"):
        ReasonerSamples.load([cut])
    wrong = tmp_path / "wrong.npz"
    replace(shard, manoeuvres=np.roll(shard.manoeuvres, 1, axis=1)).save(wrong)
    with pytest.raises(InputError, match=r"wrong\.npz: sample 0 says .* does not admit"):
        ReasonerSamples.load([wrong])
    with pytest.raises(InputError, match="no episodes"):
        ReasonerSamples.load([])


def test_the_stage_makes_weights_with_their_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(BLOCKED, goal=replace(BLOCKED.goal, duration=0.6))
    monkeypatch.setattr(collection, "make_scenario", lambda family, seed: short)
    settings, stage = ReasonerSettings(steps=2, batch=2), StageConfig(2, 1, 1)
    scores = make_reasoner(tmp_path, stage, settings, families=["any"], config=SMALL, workers=1)
    assert set(scores) == {"unseen seeds", "unseen families"}
    note = training_note(tmp_path / WEIGHTS_FILE)
    assert note["unseen seeds"]["samples"] == scores["unseen seeds"].samples
    assert load_reasoner(tmp_path / WEIGHTS_FILE).config == SMALL
    with pytest.raises(InputError, match="training has 9000 seeds"):
        make_reasoner(tmp_path, StageConfig(9001), settings)
