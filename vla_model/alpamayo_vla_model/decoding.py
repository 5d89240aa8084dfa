"""Speaking the reasoning under its grammar, with every accelerator of the generation engine."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from alpamayo_vla_model.nemotron import NemotronModel
from alpamayo_vla_model.nemotron.inference.drafting import Drafter, MTPDrafter, Recall
from alpamayo_vla_model.nemotron.inference.engine import Engine, Request
from alpamayo_vla_model.nemotron.inference.grammar import Grammar, Vocabulary
from alpamayo_vla_model.reasoning_text import GRAMMAR, MAX_TOKENS, PAD, REASON, SPECIAL, TOKEN, VOCABULARY


@dataclass(frozen=True)
class Decoded:
    """A decoded record: its tokens with the final ``<plan>``, and how it came about.

    Attributes:
        tokens: Of the record.
        forced: Tokens that the grammar left no choice about and that were not drafted.
        drafted: Tokens that were guessed.
        accepted: Guesses that were right.
        calls: Of the model, after the prompt.
    """

    tokens: list[int]
    forced: int
    drafted: int
    accepted: int
    calls: int


def accepts(tokens: Iterable[int]) -> bool:
    """Whether ``tokens`` spell one whole record of the grammar."""
    grammar = reasoning_grammar().fresh()
    return all(not grammar.done and grammar.advance(token) for token in tokens) and grammar.done


@functools.cache
def reasoning_grammar() -> Grammar:
    """The grammar of a record over `VOCABULARY`; every word with the blank after it is one token."""
    words = [(word if word in SPECIAL else word + " ").encode() for word in VOCABULARY]
    # padding never ends a record: that is what <plan> is for
    return Grammar(Vocabulary(words, eos=TOKEN[PAD], special=[TOKEN[word] for word in SPECIAL]), GRAMMAR)


def speak(
    backbone: NemotronModel,
    prompt: Float[Tensor, "1 length hidden"],
    *,
    temperature: float = 0.0,
    seed: int = 0,
    jump_ahead: bool = True,
    earlier: Sequence[Sequence[int]] = (),
) -> tuple[Decoded, Float[Tensor, "1 length+words hidden"]]:
    """Read a prompt and decode one record; return it, and the hidden states of prompt and record.

    Neither the record nor the hidden states depend on ``jump_ahead`` and ``earlier``.

    Args:
        backbone: reads and speaks.
        prompt: embeddings up to ``<reason>``.
        temperature: 0 is greedy.
        seed: of the random numbers where ``temperature`` is positive.
        jump_ahead: whether forced tokens are appended in one step.
        earlier: records that were spoken before; the model checks in one call how far they are still right.
    """
    request = Request([TOKEN[REASON]], MAX_TOKENS, temperature, seed=seed, constraint=reasoning_grammar(), eos=())
    engine = Engine(backbone, drafter=_drafter(backbone, earlier), jump_ahead=jump_ahead, keep_hidden=True)
    engine.submit(request, prompt)
    found = engine.step()
    while not found:
        found = engine.step()
    result = found[0][1]
    stats = result.stats
    assert result.hidden is not None
    assert result.prompt_hidden is not None
    decoded = Decoded(result.tokens, stats.forced, stats.drafted, stats.accepted, engine.rounds)
    return decoded, torch.cat([result.prompt_hidden, result.hidden])[None]


def _drafter(backbone: NemotronModel, earlier: Sequence[Sequence[int]]) -> Drafter | None:
    mtp = None if backbone.mtp is None else MTPDrafter(backbone)
    return Recall(earlier, MAX_TOKENS, mtp) if earlier else mtp
