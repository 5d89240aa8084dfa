"""Decoding of the reasoning under its grammar: only valid words are chosen from, and forced ones are not chosen."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import llguidance
import torch
from jaxtyping import Float
from torch import Tensor

from alpamayo_vla_model.reasoning_text import GRAMMAR, PAD, SPECIAL, TOKEN, VOCABULARY, tokenizer

Append = Callable[[list[int]], Float[Tensor, " vocabulary"]]


@dataclass(frozen=True)
class Decoded:
    """A decoded record: its tokens with the final ``<plan>``, how many were forced, and calls of the model."""

    tokens: list[int]
    forced: int
    calls: int


class Matcher:
    """Follows one sequence through the grammar."""

    def __init__(self) -> None:
        self._matcher = llguidance.LLMatcher(_guide(), _grammar())

    @property
    def done(self) -> bool:
        """Whether the record is complete."""
        return bool(self._matcher.is_accepting())

    def forced(self) -> list[int]:
        """The tokens that must come next, whatever the model says; may be empty."""
        return list(self._matcher.compute_ff_tokens())

    def mask(self) -> list[int]:
        """The tokens that may come next."""
        bits = self._matcher.compute_bitmask()
        return [i for i in range(len(VOCABULARY)) if bits[i // 8] >> (i % 8) & 1]

    def accept(self, tokens: Iterable[int]) -> bool:
        """Go on by ``tokens``; False, and no move, where the grammar does not admit them."""
        wanted = list(tokens)
        taken = self._matcher.try_consume_tokens(wanted)
        if taken == len(wanted):
            return True
        self._matcher.rollback(taken)
        return False


def accepts(tokens: Iterable[int]) -> bool:
    """Whether ``tokens`` spell one whole record of the grammar."""
    matcher = Matcher()
    return matcher.accept(tokens) and matcher.done


def decode(
    first: Float[Tensor, " vocabulary"],
    append: Append,
    *,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    jump_ahead: bool = True,
) -> Decoded:
    """Decode one record.

    With ``jump_ahead`` a chosen token and all that the grammar forces after it go into the model in one call.
    Greedy output does not depend on it.

    Args:
        first: logits of the first word.
        append: adds tokens to the model's sequence and returns the logits of the word after them.
        temperature: 0 is greedy.
        generator: source of randomness where ``temperature`` is positive.
        jump_ahead: whether forced tokens are appended in one step.
    """
    matcher, logits = Matcher(), first
    tokens: list[int] = []
    forced = calls = 0
    while not matcher.done:
        step = [_choose(logits, matcher.mask(), temperature, generator)]
        matcher.accept(step)
        if jump_ahead and not matcher.done:
            ahead = matcher.forced()
            matcher.accept(ahead)
            forced += len(ahead)
            step += ahead
        tokens += step
        logits = append(step)
        calls += 1
    return Decoded(tokens, forced, calls)


def _choose(logits: Tensor, allowed: list[int], temperature: float, generator: torch.Generator | None) -> int:
    index = torch.tensor(allowed, device=logits.device)
    scores = logits[index].float()
    if temperature <= 0.0 or len(allowed) == 1:
        return allowed[int(scores.argmax())]
    return allowed[int(torch.multinomial(torch.softmax(scores / temperature, -1), 1, generator=generator))]


class _ByteTokenizer:
    """What llguidance asks of a tokenizer: every word with the blank after it is one token."""

    eos_token_id = TOKEN[PAD]  # never chosen: a record ends with <plan>
    bos_token_id = None
    tokens = tuple((word if word in SPECIAL else word + " ").encode() for word in VOCABULARY)
    special_token_ids = tuple(TOKEN[word] for word in SPECIAL)

    def __call__(self, text: bytes) -> list[int]:
        return tokenizer().encode(text.decode()).ids


@functools.cache
def _guide() -> llguidance.LLTokenizer:
    return llguidance.LLTokenizer(llguidance.TokenizerWrapper(_ByteTokenizer()), n_vocab=len(VOCABULARY))


@functools.cache
def _grammar() -> str:
    return str(llguidance.LLMatcher.grammar_from_lark(GRAMMAR))
