"""What the reasoner says right: decisions and causes, against the planner's choice and what removal changes."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int8
from torch import Tensor

from alpamayo.parallel import Progress
from alpamayo.training.reasoner.samples import ReasonerSamples, manoeuvres_of
from alpamayo_sim.planning.reasons import Manoeuvre
from alpamayo_vla_model.reasoner.inputs import BeliefInputs
from alpamayo_vla_model.reasoner.language import POINTERS, SituationGrammar, Utterance
from alpamayo_vla_model.reasoner.model import Reasoner


@dataclass(frozen=True)
class ReasonerScores:
    """Shares of the samples whose causes are known.

    Attributes:
        samples: their number.
        open: the share that admits more than one manoeuvre; in the others there is nothing to choose.
        decision: both decisions as the planner chose.
        decision_open: the same, of the open ones alone.
        usual_open: the same, where always the manoeuvre is uttered that training saw most often.
        cause: the first cause named is the most decisive one, or of its row, where there is one.
        nearest: the same, where the nearest track is named.
        any_cause: it is one of the decisive ones.
        missed: no cause is named where there is one.
        made_up: a cause is named where there is none.
    """

    samples: int
    open: float
    decision: float
    decision_open: float
    usual_open: float
    cause: float
    nearest: float
    any_cause: float
    missed: float
    made_up: float


def evaluate_reasoner(
    reasoner: Reasoner,
    samples: ReasonerSamples,
    usual: Counter[Manoeuvre],
    progress: Progress = lambda what, done, total: None,
) -> ReasonerScores:
    """Let the reasoner utter what each situation admits, and compare.

    Args:
        reasoner: a trained reasoner.
        samples: held-out samples.
        usual: how often each manoeuvre was right in training.
        progress: called after each sample.
    """
    whole = samples.rows(torch.nonzero(samples.whole)[:, 0])
    rows: dict[str, list[float]] = {name: [] for name in ReasonerScores.__dataclass_fields__}
    for k in range(len(whole)):
        own, admitted = whole.inputs.rows(slice(k, k + 1)), manoeuvres_of(whole.manoeuvres[k])
        said = reasoner.utter(own, SituationGrammar.of(own, admitted))
        right = Utterance.parse(whole.words[k].tolist())
        found = _decisions(said, right, admitted, usual) | _causes(said, right, own, whole.groups[k])
        for name, value in found.items():
            rows[name].append(float(value))
        progress("reason", k + 1, len(whole))
    shares = {name: round(float(np.mean(values)), 3) if values else float("nan") for name, values in rows.items()}
    del shares["samples"]
    return ReasonerScores(samples=len(whole), **shares)


def usual_manoeuvres(samples: ReasonerSamples) -> Counter[Manoeuvre]:
    """Count the manoeuvres that are right."""
    whole = samples.words[samples.whole]
    return Counter(Utterance.parse(words.tolist()).manoeuvre for words in whole)


def _decisions(
    said: Utterance, right: Utterance, admitted: list[Manoeuvre], usual: Counter[Manoeuvre]
) -> dict[str, bool]:
    fits = said.manoeuvre == right.manoeuvre
    found = {"open": len(admitted) > 1, "decision": fits}
    if found["open"]:
        guess = max(admitted, key=lambda pair: usual[pair])
        found |= {"decision_open": fits, "usual_open": guess == right.manoeuvre}
    return found


def _causes(said: Utterance, right: Utterance, inputs: BeliefInputs, groups: Int8[Tensor, "16"]) -> dict[str, bool]:
    if not right.causes:
        return {"made_up": bool(said.causes)}
    wanted = [_thing(cause, groups) for cause in right.causes]
    named = [_thing(cause, groups) for cause in said.causes]
    nearest = _thing(POINTERS[0], groups) if bool(inputs.present[0, 0]) else ""
    return {
        "cause": named[:1] == wanted[:1],
        "nearest": nearest == wanted[0],
        "any_cause": bool(named) and named[0] in wanted,
        "missed": not named,
    }


def _thing(cause: str, groups: Int8[Tensor, "16"]) -> str:
    """Return the word of a kind, or the row of things that a pointer points to."""
    return f"row {int(groups[POINTERS.index(cause)])}" if cause in POINTERS else cause
