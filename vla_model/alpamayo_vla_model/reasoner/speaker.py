"""A reasoner in an episode: what it utters is what is driven."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from alpamayo_sim.datatypes.decision import PLAN_DT, Decision
from alpamayo_sim.errors import InputError
from alpamayo_vla_model.belief_planner import BeliefPlanner, Situation
from alpamayo_vla_model.nemotron.inference.cpu_compiled import can_compile, compile_for_cpu
from alpamayo_vla_model.nemotron.inference.execution import execution_text
from alpamayo_vla_model.reasoner.inputs import BeliefInputs
from alpamayo_vla_model.reasoner.language import SIGNAL_WORD, SituationGrammar, Utterance, pointed_tracks, to_reasoning
from alpamayo_vla_model.reasoner.model import Reasoner

RENEWED_AFTER_S = 0.5
"""How long words hold: the time between two samples of the training."""


@dataclass(frozen=True)
class _Said:
    """An utterance, when it was said, and the numbers of the tracks that its pointers meant."""

    utterance: Utterance
    time: float
    tracks: Mapping[str, int]


class Speaker:
    """Utters decisions; keep one for each episode.

    Words hold for ``RENEWED_AFTER_S``, unless their manoeuvre cannot be driven well any longer or what they point to is
    gone: then new ones are uttered at once. The last utterance is the guess for the next one, which makes decoding
    faster and does not change its result. On a CPU the backbone is compiled; change its weights only between episodes.
    """

    def __init__(self, reasoner: Reasoner) -> None:
        self._reasoner = reasoner.eval()
        backbone = reasoner.backbone
        self._backbone = compile_for_cpu(backbone) if can_compile(backbone) else backbone
        self._said: _Said | None = None

    @property
    def execution(self) -> str:
        """How the words are computed here: path, stored weights, processor and PyTorch."""
        return execution_text(self._backbone)

    def decide(self, planner: BeliefPlanner, situation: Situation) -> Decision:
        """Drive what was uttered, or utter what is driven."""
        return drive_uttered(self.words(situation), planner, situation)

    def words(self, situation: Situation) -> Utterance:
        """Return the words that hold, or new ones."""
        return self._holding(situation) or self.utter(situation)

    def _holding(self, situation: Situation) -> Utterance | None:
        """Return the last utterance in the pointers of this situation; None where it does not hold any longer."""
        said = self._said
        if said is None or situation.observation.time - said.time > RENEWED_AFTER_S - 0.5 * PLAN_DT:
            return None
        pointer = {number: word for word, number in pointed_tracks(situation).items()}
        if said.utterance.manoeuvre not in situation.manoeuvres or not set(said.tracks.values()) <= pointer.keys():
            return None
        if SIGNAL_WORD in said.utterance.causes and not situation.road.controlled:
            return None
        causes = tuple(pointer[said.tracks[word]] if word in said.tracks else word for word in said.utterance.causes)
        return replace(said.utterance, causes=causes)

    def utter(self, situation: Situation) -> Utterance:
        """Say what is to be done and why, among what the planner can drive well."""
        inputs = BeliefInputs.of([situation])
        grammar = SituationGrammar.of(inputs, situation.manoeuvres)
        earlier = [] if self._said is None else [self._said.utterance.encode()]
        utterance = self._reasoner.utter(inputs, grammar, earlier=earlier, backbone=self._backbone)
        tracks = {word: number for word, number in pointed_tracks(situation).items() if word in utterance.causes}
        self._said = _Said(utterance, situation.observation.time, tracks)
        return utterance


def drive_uttered(utterance: Utterance, planner: BeliefPlanner, situation: Situation) -> Decision:
    """Drive the best candidate of the uttered manoeuvre, with the utterance as its reasoning.

    Raises:
        InputError: the planner cannot drive this manoeuvre well, or a cause points to nothing.
    """
    chosen = situation.manoeuvres.get(utterance.manoeuvre)
    if chosen is None:
        known = ", ".join(f"{a.name} and {b.name}" for a, b in situation.manoeuvres)
        wanted = " and ".join(decision.name for decision in utterance.manoeuvre)
        raise InputError(f"reasoner: {wanted} cannot be driven here, expected one of: {known}")
    reasoning = to_reasoning(utterance, situation)
    return replace(planner.commit(situation, chosen), reasoning=reasoning)
