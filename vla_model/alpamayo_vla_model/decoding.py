"""Decoding of the reasoning under its grammar, with drafts and forced tokens."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from alpamayo_sim.errors import InputError
from alpamayo_vla_model.nemotron.errors import NemotronInputError
from alpamayo_vla_model.nemotron.inference.cpu_compiled import LanguageModel
from alpamayo_vla_model.nemotron.inference.drafting import Drafter, MTPDrafter, PreviousAnswerDrafter
from alpamayo_vla_model.nemotron.inference.engine import Engine, Request, Result
from alpamayo_vla_model.nemotron.inference.grammar import Constraint, Grammar, Vocabulary
from alpamayo_vla_model.reasoning_text import GRAMMAR, MAX_TOKENS, PAD, REASON, SPECIAL, TOKEN, VOCABULARY


@dataclass(frozen=True)
class DecodedReasoning:
    """A decoded record and its counts.

    Attributes:
        tokens: The record's tokens with the final ``<plan>``.
        forced: Number of tokens that the grammar forced and that were not drafted.
        drafted: Number of guessed tokens.
        accepted: Number of correct guesses.
        calls: Calls of the model after the prompt.
    """

    tokens: list[int]
    forced: int
    drafted: int
    accepted: int
    calls: int


def accepts(tokens: Iterable[int]) -> bool:
    """Return whether ``tokens`` are one complete record of the grammar."""
    grammar = reasoning_grammar().fresh()
    return all(not grammar.done and grammar.advance(token) for token in tokens) and grammar.done


@functools.cache
def reasoning_grammar() -> Grammar:
    """Return the grammar of a record over ``VOCABULARY``; every word with the blank after it is one token."""
    words = [(word if word in SPECIAL else word + " ").encode() for word in VOCABULARY]
    # <plan> ends a record; padding never does
    return Grammar(Vocabulary(words, eos=TOKEN[PAD], special=[TOKEN[word] for word in SPECIAL]), GRAMMAR)


def decode_reasoning(
    backbone: LanguageModel,
    prompt: Float[Tensor, "1 length hidden"],
    *,
    temperature: float = 0.0,
    seed: int = 0,
    jump_ahead: bool = True,
    earlier: Sequence[Sequence[int]] = (),
    constraint: Constraint | None = None,
) -> tuple[DecodedReasoning, Float[Tensor, "1 tokens hidden"]]:
    """Read a prompt and decode one record; return it, and the hidden states of prompt and record.

    The record does not depend on ``jump_ahead`` and ``earlier``; nor do, with a backbone compiled for the CPU, the
    bits of the hidden states.

    Args:
        backbone: The language model, or the same compiled for the CPU.
        prompt: Embeddings up to ``<reason>``.
        temperature: 0 is greedy.
        seed: Of the random numbers at a positive temperature.
        jump_ahead: Read forced tokens in one call.
        earlier: Earlier records; the model checks in one call how far they are still correct.
        constraint: On the tokens; ``reasoning_grammar`` when None.

    Raises:
        InputError: The prompt leads to logits that are not finite.
    """
    constraint = reasoning_grammar() if constraint is None else constraint
    request = Request([TOKEN[REASON]], MAX_TOKENS, temperature, seed=seed, constraint=constraint, eos=())
    engine = Engine(backbone, drafter=_drafter(backbone, earlier), jump_ahead=jump_ahead, keep_hidden=True)
    result = _run(engine, request, prompt)
    stats = result.stats
    assert result.hidden is not None
    assert result.prompt_hidden is not None
    decoded = DecodedReasoning(result.tokens, stats.forced, stats.drafted, stats.accepted, engine.rounds)
    return decoded, torch.cat([result.prompt_hidden, result.hidden])[None]


def _run(engine: Engine, request: Request, prompt: Tensor) -> Result:
    try:
        engine.submit(request, prompt)
        while not (found := engine.step()):
            pass
        result = found[0][1]
        if result.error is not None:
            raise result.error
    except NemotronInputError as error:
        raise InputError(str(error)) from error
    return result


def _drafter(backbone: LanguageModel, earlier: Sequence[Sequence[int]]) -> Drafter | None:
    mtp = None if backbone.mtp is None else MTPDrafter(backbone)
    return PreviousAnswerDrafter(earlier, MAX_TOKENS, mtp) if earlier else mtp
