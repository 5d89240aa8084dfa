"""A reasoner in an episode: what it utters is what is driven."""

from dataclasses import replace

from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.errors import InputError
from alpamayo_vla_model.belief_planner import BeliefPlanner, Situation
from alpamayo_vla_model.nemotron.inference.cpu_compiled import can_compile, compile_for_cpu
from alpamayo_vla_model.nemotron.inference.execution import execution_text
from alpamayo_vla_model.reasoner.inputs import BeliefInputs
from alpamayo_vla_model.reasoner.language import SituationGrammar, Utterance, to_reasoning
from alpamayo_vla_model.reasoner.model import Reasoner


class Speaker:
    """Utters one decision a step; keep one for each episode.

    The last utterance is the guess for the next one, which makes decoding faster and does not change its result. On a
    CPU the backbone is compiled; change its weights only between episodes.
    """

    def __init__(self, reasoner: Reasoner) -> None:
        self._reasoner = reasoner.eval()
        backbone = reasoner.backbone
        self._backbone = compile_for_cpu(backbone) if can_compile(backbone) else backbone
        self._last: list[int] = []

    @property
    def execution(self) -> str:
        """How the words are computed here: path, stored weights, processor and PyTorch."""
        return execution_text(self._backbone)

    def decide(self, planner: BeliefPlanner, situation: Situation) -> Decision:
        """Utter a decision and drive it."""
        return drive_uttered(self.utter(situation), planner, situation)

    def utter(self, situation: Situation) -> Utterance:
        """Say what is to be done and why, among what the planner can drive well."""
        inputs = BeliefInputs.of([situation])
        grammar = SituationGrammar.of(inputs, situation.manoeuvres)
        earlier = [self._last] if self._last else ()
        utterance = self._reasoner.utter(inputs, grammar, earlier=earlier, backbone=self._backbone)
        self._last = utterance.encode()
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
