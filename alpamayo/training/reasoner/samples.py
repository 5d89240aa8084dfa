"""Samples of the reasoner in memory: batches with the words that each situation admits, slots in random order."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int8, Int64
from torch import Tensor

from alpamayo.training.reasoner.shards import ReasonerShard
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.errors import InputError
from alpamayo_sim.planning.reasons import Manoeuvre
from alpamayo_vla_model.reasoner.inputs import MAX_TRACKS, BeliefInputs
from alpamayo_vla_model.reasoner.language import FIRST_POINTER, MAX_TOKENS, TOKEN, WORDS, SituationGrammar
from alpamayo_vla_model.reasoning_text import PAD, PLAN

Array = np.ndarray

WHOLE_WEIGHT = 2.0  # of samples whose causes are known; those of which the decision alone is known have 1
POINTER_WORDS = slice(FIRST_POINTER, FIRST_POINTER + MAX_TRACKS)


@dataclass(frozen=True, eq=False)
class ReasonerSamples:
    """All samples of some episodes; ``allowed`` are the words that the situation admits at each place."""

    inputs: BeliefInputs
    words: Int64[Tensor, "n words"]
    allowed: Bool[Tensor, "n words vocabulary"]
    manoeuvres: Bool[Tensor, "n 8 9"]
    groups: Int8[Tensor, "n 16"]

    def __len__(self) -> int:
        return len(self.words)

    @property
    def whole(self) -> Bool[Tensor, " n"]:
        """Which samples have known causes."""
        return (self.words == TOKEN[PLAN]).any(dim=1)

    @classmethod
    def load(cls, paths: Sequence[Path]) -> "ReasonerSamples":
        """Read the episodes of ``paths``.

        Raises:
            InputError: there are none, one is damaged, or holds words that its situation does not admit.
        """
        if not paths:
            raise InputError("reasoner: there are no episodes to learn from")
        parts = [_samples(path) for path in paths]
        inputs = BeliefInputs(
            *(torch.cat([getattr(part.inputs, f.name) for part in parts]) for f in fields(BeliefInputs))
        )
        rest = [f.name for f in fields(cls) if f.name != "inputs"]
        return cls(inputs, *(torch.cat([getattr(part, name) for part in parts]) for name in rest))

    def rows(self, index: Tensor) -> "ReasonerSamples":
        """Return the selected samples."""
        rest = [getattr(self, f.name)[index] for f in fields(self) if f.name != "inputs"]
        return ReasonerSamples(self.inputs.rows(index), *rest)

    def chances(self) -> Float64[Array, " n"]:
        """Return the probability with which training draws each sample."""
        weight = np.where(self.whole.numpy(), WHOLE_WEIGHT, 1.0)
        return np.asarray(weight / weight.sum())

    def shuffled(self, rng: np.random.Generator) -> "ReasonerSamples":
        """Return the samples with their slots in random order, so that a place says nothing of relevance."""
        order = torch.from_numpy(rng.permuted(np.tile(np.arange(MAX_TRACKS), (len(self), 1)), axis=1))
        place = torch.argsort(order, dim=1)  # of each old slot
        pointer = (self.words >= FIRST_POINTER) & (self.words < FIRST_POINTER + MAX_TRACKS)
        slot = (self.words - FIRST_POINTER).clamp(0, MAX_TRACKS - 1)
        words = torch.where(pointer, FIRST_POINTER + torch.gather(place, 1, slot), self.words)
        allowed = self.allowed.clone()
        columns = order[:, None].expand(-1, allowed.shape[1], -1)
        allowed[..., POINTER_WORDS] = torch.gather(self.allowed[..., POINTER_WORDS], 2, columns)
        tracks = torch.gather(self.inputs.tracks, 1, order[..., None].expand_as(self.inputs.tracks))
        inputs = replace(self.inputs, tracks=tracks, present=torch.gather(self.inputs.present, 1, order))
        return ReasonerSamples(inputs, words, allowed, self.manoeuvres, torch.gather(self.groups, 1, order))


def manoeuvres_of(table: Bool[Tensor, "8 9"]) -> list[Manoeuvre]:
    """Return the pairs of decisions that a row of ``ReasonerSamples.manoeuvres`` admits."""
    return [(Longitudinal(int(a)), Lateral(int(b))) for a, b in torch.nonzero(table)]


def _samples(path: Path) -> ReasonerSamples:
    shard = ReasonerShard.load(path)
    inputs = BeliefInputs(*(torch.from_numpy(getattr(shard, f.name)) for f in fields(BeliefInputs)))
    words, manoeuvres, groups = (torch.from_numpy(x) for x in (shard.words, shard.manoeuvres, shard.groups))
    allowed = torch.ones((len(shard), MAX_TOKENS, len(WORDS)), dtype=torch.bool)
    for k in range(len(shard)):
        own = inputs.rows(slice(k, k + 1))
        grammar = SituationGrammar.of(own, manoeuvres_of(manoeuvres[k]))
        for place, word in enumerate(token for token in words[k].tolist() if token != TOKEN[PAD]):
            allowed[k, place] = grammar.mask()
            if not grammar.advance(word):
                raise InputError(f"{path}: sample {k} says {word}, which its situation does not admit; make it again")
    return ReasonerSamples(inputs, words, allowed, manoeuvres, groups)
