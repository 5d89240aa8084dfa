"""The reasoner: what it may say, that it points to what is believed, and that its words decide what is driven."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alpamayo_sim import testing
from alpamayo_sim.datatypes.reasoning import ComponentKind, Lateral, Longitudinal, Motion
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.errors import InputError
from alpamayo_sim.planning.reasons import Explainer
from alpamayo_vla_model.belief_planner import BeliefPlanner, Situation
from alpamayo_vla_model.driver import BeliefDriver
from alpamayo_vla_model.end_to_end import checkpoint
from alpamayo_vla_model.end_to_end.config import AlpamayoConfig
from alpamayo_vla_model.nemotron.inference.cpu_compiled import compile_for_cpu
from alpamayo_vla_model.perception.detections import Detections
from alpamayo_vla_model.perception.network import CLASSES, PerceptionNetwork
from alpamayo_vla_model.perception.objects import OFFSETS_M, STATIONS, Control, Ground, ObjectClass
from alpamayo_vla_model.perception.perception import Answer
from alpamayo_vla_model.reasoner.checkpoint import load_reasoner, save_reasoner
from alpamayo_vla_model.reasoner.inputs import MAX_TRACKS, BeliefInputs, relevant_agents
from alpamayo_vla_model.reasoner.language import (
    LANE_WORD,
    MAX_TOKENS,
    POINTERS,
    SIGNAL_WORD,
    TOKEN,
    WORDS,
    SituationGrammar,
    Utterance,
    pointed_tracks,
    to_reasoning,
)
from alpamayo_vla_model.reasoner.model import BACKBONE, Reasoner, ReasonerConfig
from alpamayo_vla_model.reasoner.speaker import Speaker, _Said, drive_uttered

RIG = default_rig(160, 96)
SMALL = ReasonerConfig(BACKBONE.with_(hidden_size=32, num_attention_heads=2, num_key_value_heads=1, pattern="M*E"))
STEPS, STEP_M = 6, 0.8  # the fake observation drives straight on at 8 m/s
VAN = (ObjectClass.VEHICLE, 48.0, 0.0)
WALKER = (ObjectClass.PEDESTRIAN, 30.0, -3.0)
SIZES = {ObjectClass.VEHICLE: (4.6, 1.9, 1.6), ObjectClass.PEDESTRIAN: (0.5, 0.5, 1.7)}
TURN_AND_KEEP = [(Longitudinal.YIELD, Lateral.TURN), (Longitudinal.SET_SPEED_TRACKING, Lateral.LANE_KEEPING)]


def answer(things: list[tuple[ObjectClass, float, float]], control: Control) -> Answer:
    """What perception says where it sees these standing things exactly, on a road with one lane beside the route's."""
    n = len(things)
    position = np.array([thing[1:] for thing in things], np.float64).reshape(n, 2)
    size = np.array([SIZES.get(thing[0], (0.3, 0.3, 0.9)) for thing in things], np.float64).reshape(n, 3)
    chance = np.zeros((n, CLASSES))
    chance[np.arange(n), [thing[0] for thing in things]] = 1.0
    seen = Detections(
        chance,
        np.full(n, 0.95),
        position,
        np.zeros(n),
        size,
        np.zeros((n, 2)),
        np.full((n, 2), 0.1),
        np.full(n, 0.3),
        np.arctan2(position[:, 1], position[:, 0]),
    )
    use = np.full((STATIONS, len(OFFSETS_M)), Ground.OFF_ROAD)
    use[:, (OFFSETS_M > -2.0) & (OFFSETS_M < 5.5)] = Ground.SAME_DIRECTION
    return Answer(seen, np.eye(len(Ground))[use], np.eye(len(Control))[control], 40.0)


def believed(
    *things: tuple[ObjectClass, float, float], control: Control = Control.NONE
) -> tuple[BeliefPlanner, Situation]:
    """The situation after some steps towards standing things."""
    planner, observation = BeliefPlanner(RIG), AlpamayoConfig.preset("test").fake_observation()
    for step in range(STEPS):
        now = [(kind, x - STEP_M * step, y) for kind, x, y in things]
        observation = replace(observation, time=0.1 * step)
        planner.see(observation, answer(now, control))
    return planner, planner.propose(observation)


def random_walk(grammar: SituationGrammar, rng: np.random.Generator) -> list[int]:
    """Say any of the words that may come next until the utterance is complete."""
    said: list[int] = []
    while not grammar.done:
        token = int(rng.choice(np.flatnonzero(grammar.mask().numpy())))
        assert grammar.forced() in (None, token)
        assert grammar.advance(token)
        said.append(token)
    return said


@pytest.mark.parametrize(("tracks", "signal"), [(0, False), (1, False), (3, True), (MAX_TRACKS, True)])
def test_only_what_is_there_can_be_said(tracks: int, signal: bool) -> None:
    rng, there = np.random.default_rng(0), {*POINTERS[:tracks], LANE_WORD} | ({SIGNAL_WORD} if signal else set())
    named = set()
    for _ in range(60):
        tokens = random_walk(SituationGrammar(TURN_AND_KEEP, tracks, signal), rng)
        assert len(tokens) <= MAX_TOKENS
        utterance = Utterance.parse(tokens)
        assert utterance.encode() == tokens
        assert utterance.manoeuvre in TURN_AND_KEEP
        assert len(set(utterance.causes)) == len(utterance.causes)
        named |= set(utterance.causes)
    assert named <= there
    assert len(named) >= min(len(there), 3)


def test_a_step_back_in_the_grammar_frees_what_was_said() -> None:
    grammar = SituationGrammar(TURN_AND_KEEP, 2, False)
    words = ["yield", "turn", "because", "<track-1>", "and"]
    assert all(grammar.advance(TOKEN[word]) for word in words)
    assert not grammar.mask()[TOKEN["<track-1>"]]
    grammar.rollback(2)
    assert grammar.mask()[TOKEN["<track-1>"]]
    assert not grammar.advance(TOKEN["<track-2>"])
    assert grammar.fresh().mask()[TOKEN["yield"]]


@pytest.mark.parametrize(
    "words",
    [
        ["yield"],
        ["yield", "turn", "."],
        ["turn", "yield", ".", "<plan>"],
        ["yield", "turn", "because", ".", "<plan>"],
        ["yield", "turn", "because", "lane", "lane", ".", "<plan>"],
    ],
)
def test_what_is_no_utterance_is_named(words: list[str]) -> None:
    with pytest.raises(InputError, match="no utterance of the grammar"):
        Utterance.parse([TOKEN[word] for word in words])
    with pytest.raises(InputError, match="17 tracks"):
        SituationGrammar(TURN_AND_KEEP, 17, False)
    with pytest.raises(InputError, match="no manoeuvre"):
        SituationGrammar([], 0, False)


def test_causes_are_described_as_they_are_believed() -> None:
    light = (ObjectClass.RED_LIGHT, 44.0, 3.0)
    _, situation = believed(VAN, WALKER, light, control=Control.RED)
    slots = [situation.tracks[k].kind for k in relevant_agents(situation)]
    assert slots == [ObjectClass.PEDESTRIAN, ObjectClass.VEHICLE]
    said = Utterance(Longitudinal.YIELD, Lateral.LANE_KEEPING, ("<track-0>", SIGNAL_WORD, LANE_WORD))
    walker, signal, lane = to_reasoning(said, situation).components
    passed = STEP_M * (STEPS - 1)
    assert (walker.category, walker.motion) == (Category.PEDESTRIAN, Motion.STATIC)
    assert walker.id is None  # a track is none of the scene's road users
    assert walker.position == pytest.approx((WALKER[1] - passed, WALKER[2]), abs=0.05)
    assert signal.kind == ComponentKind.TRAFFIC_LIGHT
    assert signal.position == pytest.approx((light[1] - passed, light[2]), abs=0.05)
    assert lane.kind == ComponentKind.LANE
    with pytest.raises(InputError, match="<track-2> is said, but there are 2 tracks"):
        to_reasoning(replace(said, causes=("<track-2>",)), situation)


@pytest.mark.parametrize("things", [(), (VAN, WALKER)])
def test_words_and_plan_agree(things: tuple[tuple[ObjectClass, float, float], ...]) -> None:
    """Whatever an untrained reasoner says, the plan that is driven is one that these words describe."""
    planner, situation = believed(*things)
    words, costs = Explainer(situation.proposals), situation.proposals.costs.total
    limit = situation.proposals.context.config.reasoning.acceptable_excess_cost
    for seed in range(2):
        utterance = Speaker(Reasoner(SMALL, seed=seed)).utter(situation)
        decision = drive_uttered(utterance, planner, situation)
        chosen = situation.manoeuvres[utterance.manoeuvre]
        assert decision.reasoning == to_reasoning(utterance, situation)
        assert (words.explain(chosen).longitudinal, words.explain(chosen).lateral) == utterance.manoeuvre
        assert costs[chosen] <= costs.min() + limit
        np.testing.assert_allclose(decision.plans[decision.chosen], situation.proposals.plan(chosen), atol=1e-4)


def test_exchanged_words_change_the_plan() -> None:
    choices = (believed((ObjectClass.VEHICLE, x, 0.0)) for x in (90.0, 75.0, 60.0))
    planner, situation = next(found for found in choices if len(found[1].manoeuvres) > 1)
    plans = []
    for manoeuvre in situation.manoeuvres:
        decision = drive_uttered(Utterance(*manoeuvre), planner, situation)
        plans.append(decision.plans[decision.chosen, :, :2])
    assert np.abs(plans[0] - plans[1]).max() > 0.3
    np.testing.assert_allclose(plans[0], situation.proposals.plan(situation.proposals.best)[:, :2], atol=1e-4)
    with pytest.raises(InputError, match="PULL_OVER cannot be driven here, expected one of: "):
        drive_uttered(Utterance(Longitudinal.YIELD, Lateral.PULL_OVER), planner, situation)


def test_every_part_of_the_belief_can_be_learnt_from() -> None:
    situations = [believed(VAN, WALKER)[1], believed(control=Control.RED)[1]]
    reasoner, inputs = Reasoner(SMALL), BeliefInputs.of(situations)
    said = [Utterance(Longitudinal.YIELD, Lateral.TURN, causes).encode() for causes in (("<track-0>", "<track-1>"), ())]
    words = torch.tensor([tokens + [0] * (MAX_TOKENS - len(tokens)) for tokens in said])
    losses = reasoner.losses(inputs, words, torch.ones(2, MAX_TOKENS, len(WORDS), dtype=torch.bool))
    losses["total"].backward()
    for name, parameter in reasoner.named_parameters():
        if "experts" not in name:  # a batch need not reach each of them
            assert parameter.grad is not None, name
            assert bool(parameter.grad.isfinite().all()), name
            assert parameter.grad.abs().sum() > 0.0, name
    assert losses["words"] < 1.5 * np.log(len(WORDS))


def test_the_compiled_backbone_says_the_same() -> None:
    _, situation = believed(VAN, WALKER)
    reasoner, inputs = Reasoner(SMALL, seed=3).eval(), BeliefInputs.of([situation])
    grammar = SituationGrammar.of(inputs, situation.manoeuvres)
    plain = reasoner.utter(inputs, grammar)
    compiled = compile_for_cpu(reasoner.backbone)
    assert reasoner.utter(inputs, grammar, backbone=compiled) == plain
    assert reasoner.utter(inputs, grammar, backbone=compiled, earlier=[plain.encode()]) == plain


def test_a_checkpoint_comes_back_and_others_are_named(tmp_path: Path) -> None:
    _, situation = believed(VAN, WALKER)
    reasoner, path = Reasoner(SMALL, seed=1), tmp_path / "reasoner.safetensors"
    save_reasoner(reasoner, path, {"steps": 3})
    assert checkpoint.training_note(path) == {"steps": 3}
    loaded, inputs = load_reasoner(path), BeliefInputs.of([situation])
    words = torch.tensor([Utterance(Longitudinal.YIELD, Lateral.TURN).encode()])
    torch.testing.assert_close(loaded.logits(inputs, words), reasoner.logits(inputs, words), atol=2e-3, rtol=2e-2)
    with pytest.raises(InputError, match="is no checkpoint of a driver"):
        checkpoint.load(path)
    with pytest.raises(InputError, match="needs 203"):
        ReasonerConfig(BACKBONE.with_(vocab_size=64))


def test_the_belief_driver_speaks() -> None:
    driver = BeliefDriver(PerceptionNetwork(), reasoner=Reasoner(SMALL))
    driver.reset(testing.scenario().scene, np.random.default_rng(0))
    decision = driver.act(AlpamayoConfig.preset("tiny").fake_observation())
    assert decision.reasoning is not None
    assert decision.reasoning.longitudinal in set(Longitudinal)


def later(situation: Situation, seconds: float) -> Situation:
    return replace(situation, observation=replace(situation.observation, time=situation.observation.time + seconds))


def test_words_hold_for_half_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    planner, situation = believed(VAN, WALKER)
    speaker, uttered = Speaker(Reasoner(SMALL)), []
    utter = speaker.utter
    monkeypatch.setattr(speaker, "utter", lambda each: uttered.append(each.observation.time) or utter(each))
    first = speaker.decide(planner, situation)
    held = speaker.decide(planner, later(situation, 0.4))
    assert (len(uttered), held.reasoning) == (1, first.reasoning)
    speaker.decide(planner, later(situation, 0.5))
    assert len(uttered) == 2


def test_words_hold_for_the_track_that_they_mean_whatever_its_place_in_the_list() -> None:
    _, situation = believed(VAN, WALKER)
    speaker, pointed = Speaker(Reasoner(SMALL)), pointed_tracks(situation)
    manoeuvre = next(iter(situation.manoeuvres))
    speaker._said = _Said(Utterance(*manoeuvre, ("<track-1>",)), 0.5, {"<track-1>": pointed["<track-0>"]})
    held = speaker._holding(later(situation, 0.1))
    assert held is not None
    assert held.causes == ("<track-0>",)


def test_words_about_what_is_gone_do_not_hold() -> None:
    _, situation = believed(VAN)
    speaker, manoeuvre = Speaker(Reasoner(SMALL)), next(iter(situation.manoeuvres))
    now = situation.observation.time
    speaker._said = _Said(Utterance(*manoeuvre, ("<track-0>",)), now, {"<track-0>": 99})
    assert speaker._holding(situation) is None
    speaker._said = _Said(Utterance(*manoeuvre, (SIGNAL_WORD,)), now, {})
    assert speaker._holding(situation) is None
    unsaid = next((a, b) for a in Longitudinal for b in Lateral if (a, b) not in situation.manoeuvres)
    speaker._said = _Said(Utterance(*unsaid), now, {})
    assert speaker._holding(situation) is None
    speaker._said = _Said(Utterance(*manoeuvre), now, {})
    assert speaker._holding(situation) == Utterance(*manoeuvre)
