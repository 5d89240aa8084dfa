"""The language of the reasoner: decisions, and causes that point to tracks.

An utterance reads, word for word::

    yield lane-keeping because <track-2> and traffic-light . <plan>

``GRAMMAR`` says what an utterance is; ``SituationGrammar`` allows only what is true of one situation: manoeuvres that
the planner can drive well, tracks that exist, a signal that is there, and no cause twice.
"""

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool
from torch import Tensor

from alpamayo_sim.datatypes.reasoning import Component, ComponentKind, Lateral, Longitudinal, Reasoning
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import to_frame
from alpamayo_sim.planning.causes import object_component
from alpamayo_sim.planning.reasons import Manoeuvre
from alpamayo_vla_model.belief_planner import Situation, without_ids
from alpamayo_vla_model.nemotron.inference.grammar import Grammar, ModelTokens, Vocabulary
from alpamayo_vla_model.perception.objects import Control
from alpamayo_vla_model.reasoner.inputs import MAX_TRACKS, BeliefInputs, relevant_agents
from alpamayo_vla_model.reasoning_text import (
    KIND_WORDS,
    LATERAL_WORDS,
    LONGITUDINAL_WORDS,
    MAX_COMPONENTS,
    PAD,
    PLAN,
    SPECIAL,
    VOCABULARY,
)

POINTERS = tuple(f"<track-{k}>" for k in range(MAX_TRACKS))
SIGNAL_WORD, LANE_WORD = KIND_WORDS[ComponentKind.TRAFFIC_LIGHT], KIND_WORDS[ComponentKind.LANE]
WORDS = (*VOCABULARY, *POINTERS)
TOKEN = {word: i for i, word in enumerate(WORDS)}
FIRST_POINTER = TOKEN[POINTERS[0]]
CAUSES = (*POINTERS, SIGNAL_WORD, LANE_WORD)
CAUSE_TOKENS = [TOKEN[word] for word in CAUSES]
MAX_TOKENS = 4 + 2 * MAX_COMPONENTS  # the longest utterance, with the final <plan>


def _any_of(words: Sequence[str]) -> str:
    return " | ".join(f'"{word} "' for word in words)


GRAMMAR = f"""
start: longitudinal lateral causes? ". " <plan>
causes: "because " cause ("and " cause){{0,{MAX_COMPONENTS - 1}}}
cause: {" | ".join(POINTERS)} | {_any_of([SIGNAL_WORD, LANE_WORD])}
longitudinal: {_any_of(list(LONGITUDINAL_WORDS.values()))}
lateral: {_any_of(list(LATERAL_WORDS.values()))}
"""


@dataclass(frozen=True)
class Utterance:
    """A decision, and the words of its causes: pointers to tracks, or kinds."""

    longitudinal: Longitudinal
    lateral: Lateral
    causes: tuple[str, ...] = ()

    @property
    def manoeuvre(self) -> Manoeuvre:
        """Both decisions."""
        return self.longitudinal, self.lateral

    def encode(self) -> list[int]:
        """Return the tokens, the final ``<plan>`` included."""
        words = [LONGITUDINAL_WORDS[self.longitudinal], LATERAL_WORDS[self.lateral]]
        for joint, cause in zip(("because", *["and"] * len(self.causes)), self.causes, strict=False):
            words += [joint, cause]
        return [TOKEN[word] for word in (*words, ".", PLAN)]

    @classmethod
    def parse(cls, tokens: Sequence[int]) -> Self:
        """Read the tokens of an utterance; padding after it does not count.

        Raises:
            InputError: they are none.
        """
        words = [WORDS[t] if 0 <= t < len(WORDS) else str(t) for t in tokens if t != TOKEN[PAD]]
        longitudinal, lateral = _LONGITUDINAL.get("".join(words[:1])), _LATERAL.get("".join(words[1:2]))
        causes = tuple(words[3:-2:2])
        known = longitudinal is not None and lateral is not None and all(cause in CAUSES for cause in causes)
        if known and longitudinal is not None and lateral is not None:
            found = cls(longitudinal, lateral, causes)
            if len(causes) <= MAX_COMPONENTS and found.encode() == [t for t in tokens if t != TOKEN[PAD]]:
                return found
        raise InputError(f"reasoner: {' '.join(words)!r} is no utterance of the grammar")


_LONGITUDINAL = {word: decision for decision, word in LONGITUDINAL_WORDS.items()}
_LATERAL = {word: decision for decision, word in LATERAL_WORDS.items()}


@functools.cache
def utterance_grammar() -> Grammar:
    """Return the grammar of utterances over ``WORDS``; every word with the blank after it is one token."""
    special = (*SPECIAL, *POINTERS)
    words = [(word if word in special else word + " ").encode() for word in WORDS]
    return Grammar(Vocabulary(words, eos=TOKEN[PAD], special=[TOKEN[word] for word in special]), GRAMMAR)


class SituationGrammar:
    """The grammar, narrowed to one situation: a constraint of ``nemotron.inference``.

    Args:
        manoeuvres: those that may be uttered, at least one.
        tracks: the number of tracks; pointers to others are forbidden.
        signal: whether there is a signal ahead.

    Raises:
        InputError: there is no manoeuvre, or there are more tracks than pointers.
    """

    def __init__(self, manoeuvres: Collection[Manoeuvre], tracks: int, signal: bool) -> None:
        if not manoeuvres:
            raise InputError("reasoner: there is no manoeuvre to utter, expected at least one")
        if not 0 <= tracks <= MAX_TRACKS:
            raise InputError(f"reasoner: {tracks} tracks, expected 0 to {MAX_TRACKS}")
        self._pairs = [(TOKEN[LONGITUDINAL_WORDS[a]], TOKEN[LATERAL_WORDS[b]]) for a, b in manoeuvres]
        self._missing = [FIRST_POINTER + k for k in range(tracks, MAX_TRACKS)]
        self._missing += [] if signal else [TOKEN[SIGNAL_WORD]]
        self._grammar = utterance_grammar().fresh()
        self._tokens: list[int] = []

    @classmethod
    def of(cls, inputs: BeliefInputs, manoeuvres: Collection[Manoeuvre]) -> "SituationGrammar":
        """Return the grammar for a batch of one."""
        signal = float(inputs.signal[0, Control.NONE]) < 0.5
        return cls(manoeuvres, int(inputs.present[0].sum()), signal)

    @property
    def done(self) -> bool:
        """Whether the utterance is complete."""
        return self._grammar.done

    def mask(self) -> Bool[Tensor, " words"]:
        """Return True for every word that may come next."""
        allowed = self._grammar.mask().clone()
        said = len(self._tokens)
        if said < 2:
            narrowed = torch.zeros_like(allowed)
            narrowed[[b if said else a for a, b in self._pairs if not said or a == self._tokens[0]]] = True
            return allowed & narrowed
        unsayable = {*self._missing, *self._tokens[3::2]}
        allowed[list(unsayable)] = False
        if unsayable.issuperset(CAUSE_TOKENS):
            allowed[TOKEN["and"]] = False
        return allowed

    def forced(self) -> int | None:
        """Return the only word that may come next, if there is exactly one."""
        found = torch.nonzero(self.mask())
        return int(found[0, 0]) if len(found) == 1 else None

    def advance(self, token: int) -> bool:
        """Append a word and return True; return False, unchanged, where it is forbidden."""
        if not 0 <= token < len(WORDS) or not bool(self.mask()[token]) or not self._grammar.advance(token):
            return False
        self._tokens.append(token)
        return True

    def rollback(self, count: int) -> None:
        """Remove the last ``count`` words."""
        self._grammar.rollback(count)
        if count:
            del self._tokens[-count:]

    def fresh(self, tokens: ModelTokens | None = None) -> "SituationGrammar":
        """Return the same constraint at its start."""
        other = object.__new__(SituationGrammar)
        other._pairs, other._missing, other._tokens = self._pairs, self._missing, []
        other._grammar = self._grammar.fresh(tokens)
        return other


def pointed_tracks(situation: Situation) -> dict[str, int]:
    """Return the number of the track that each pointer means in a situation."""
    return {POINTERS[k]: situation.tracks[row].number for k, row in enumerate(relevant_agents(situation))}


def to_reasoning(utterance: Utterance, situation: Situation) -> Reasoning:
    """Return an utterance as a record: what it points to is described as it is believed, and nothing else is.

    Raises:
        InputError: it points to a track that does not exist.
    """
    rows = relevant_agents(situation)

    def component(cause: str) -> Component:
        if cause == SIGNAL_WORD:
            return Component(ComponentKind.TRAFFIC_LIGHT, position=_signal_position(situation))
        if cause == LANE_WORD:
            return Component(ComponentKind.LANE)
        slot = POINTERS.index(cause)
        if slot >= len(rows):
            raise InputError(f"reasoner: {cause} is said, but there are {len(rows)} tracks")
        return object_component(situation.world.state, int(rows[slot]))

    causes = tuple(component(cause) for cause in utterance.causes)
    return without_ids(Reasoning(utterance.longitudinal, utterance.lateral, causes))


def _signal_position(situation: Situation) -> tuple[float, float] | None:
    """Return where (m, ego frame) the signal of the next line is believed; None where no track shows one."""
    if not situation.signals:
        return None
    line = situation.world.frame.position(situation.road.line_s)
    nearest = min(situation.signals, key=lambda track: float(((track.state[:2] - line) ** 2).sum()))
    x, y = to_frame(nearest.state[:2], situation.world.state.ego_pose.astype("float64"))
    return round(float(x), 2), round(float(y), 2)
