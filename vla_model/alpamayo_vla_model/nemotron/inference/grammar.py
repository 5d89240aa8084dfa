"""Constraints on the next token: grammars, and a budget for thinking before them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import llguidance
import numpy as np
import torch
from torch import Tensor

from alpamayo_vla_model.nemotron.errors import NemotronInputError


@dataclass(frozen=True)
class ModelTokens:
    """The tokens that a model chooses from.

    Attributes:
        size: Their number.
        ends: Those that end a text; a constraint allows them where the text may end, and as nothing else.
    """

    size: int
    ends: tuple[int, ...]


class Constraint(Protocol):
    """Limits the next token of one sequence, which it follows token by token."""

    @property
    def done(self) -> bool:
        """Whether the sequence is complete: no token may follow."""

    def mask(self) -> Tensor | None:
        """Return True for every allowed next token, ``[V]``; None if all are allowed."""

    def forced(self) -> int | None:
        """Return the only allowed next token, if there is exactly one."""

    def advance(self, token: int) -> bool:
        """Append a token and return True; return False, unchanged, where the constraint forbids it."""

    def rollback(self, count: int) -> None:
        """Remove the last ``count`` tokens."""

    def fresh(self, tokens: ModelTokens | None = None) -> Constraint:
        """Return a copy of the constraint at its start, for the tokens of a model (as before when None).

        Raises:
            NemotronInputError: The constraint cannot be kept with these tokens.
        """


class Vocabulary:
    """The tokens of a model as bytes, in the form that llguidance works on.

    Args:
        tokens: The bytes of every token, by index.
        eos: Ends a text.
        special: Tokens without text; a grammar names them as ``<name>`` by their bytes.

    Tokens that begin like others (``b`` and ``because``) are safe only if every single byte that a grammar needs
    is a token too; otherwise a text may begin that no token can end.
    """

    def __init__(self, tokens: Sequence[bytes], eos: int, special: Iterable[int] = ()) -> None:
        self.size = len(tokens)
        self.eos = eos
        table = _TokenTable(tuple(tokens), eos, tuple(special))
        self.guide = llguidance.LLTokenizer(llguidance.TokenizerWrapper(table), n_vocab=len(tokens))


class Grammar:
    """A grammar in llguidance's Lark dialect, followed token by token.

    What may come next is remembered for every beginning of a text that was met, in all copies of the grammar: texts
    under one grammar begin alike, and asking again costs a look-up.

    Args:
        vocabulary: Of the model.
        lark: The grammar.

    Raises:
        NemotronInputError: The grammar is not valid, or admits nothing.
    """

    def __init__(self, vocabulary: Vocabulary, lark: str) -> None:
        self._vocabulary = vocabulary
        self._ends: tuple[int, ...] = (vocabulary.eos,)
        source = llguidance.LLMatcher.grammar_from_lark(lark)
        self._matcher = llguidance.LLMatcher(vocabulary.guide, source, log_level=0)
        self._owned = True
        self._memories: dict[tuple[int, ...], _Memory] = {self._ends: _Memory()}
        self._begin()
        if self._matcher.is_error():
            raise NemotronInputError(f"grammar: {self._error()}")
        if self.done:
            raise NemotronInputError("grammar: admits only the empty text, expected at least one token")

    @property
    def done(self) -> bool:
        """Whether nothing but the end may follow."""
        return self._now().done

    @property
    def accepting(self) -> bool:
        """Whether the text may end here."""
        return self._now().accepting

    def mask(self) -> Tensor:
        """Return True for every token that may come next, ``[vocab]``; not to be written to."""
        return self._now().allowed

    def forced(self) -> int | None:
        """Return the only allowed next token, if there is exactly one."""
        return self._now().only

    def advance(self, token: int) -> bool:
        """Append a token and return True; return False, unchanged, where it is forbidden or only ends the text."""
        now = self._now()
        if token in self._ends or not 0 <= token < self._vocabulary.size or not now.row[token]:
            return False
        self._tokens.append(token)
        self._path.append(now.after.setdefault(token, _Beginning()))
        return True

    def rollback(self, count: int) -> None:
        """Remove the last ``count`` tokens."""
        if count > len(self._tokens):
            raise ValueError(f"cannot take back {count} of {len(self._tokens)} tokens")
        if count:
            del self._tokens[-count:], self._path[-count:]

    def fresh(self, tokens: ModelTokens | None = None) -> Grammar:
        """Return the same grammar at its start.

        Raises:
            NemotronInputError: The vocabulary is larger than the model's, or its end token is none of the model's.
        """
        if tokens is not None:
            _check_agreement(self._vocabulary, tokens)
        other = object.__new__(Grammar)
        other._vocabulary, other._matcher, other._owned = self._vocabulary, self._matcher, False
        other._ends, other._memories = self._ends if tokens is None else tokens.ends, self._memories
        other._begin()
        return other

    def _begin(self) -> None:
        memory = self._memories.get(self._ends)
        if memory is None or memory.nbytes > _MEMORY_BYTES:
            memory = self._memories[self._ends] = _Memory()
        self._memory, self._path = memory, [memory.start]
        self._tokens: list[int] = []
        self._consumed: list[int] = []

    def _now(self) -> _Beginning:
        """Return what is known of the text so far, asking llguidance where it is not known yet."""
        now = self._path[-1]
        if not now.known:
            self._follow()
            packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
            now.learn(packed, self._vocabulary, self._ends, self._matcher.is_accepting())
            self._memory.nbytes += now.row.nbytes
        return now

    def _follow(self) -> None:
        """Move llguidance's matcher to the end of the text."""
        if not self._owned:
            self._matcher, self._owned = self._matcher.deep_copy(), True
            self._matcher.reset()
        pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(self._tokens, self._consumed, strict=False))
        same = sum(1 for _ in pairs)
        if len(self._consumed) > same:
            self._matcher.rollback(len(self._consumed) - same)
        if self._matcher.try_consume_tokens(self._tokens[same:]) != len(self._tokens) - same:
            raise NemotronInputError(f"grammar: {self._error()}")
        self._consumed = list(self._tokens)

    def _error(self) -> str:
        text = str(self._matcher.get_error()).strip() or "unknown error"
        return text.splitlines()[0]


_MEMORY_BYTES = 64 << 20  # of masks, after which a copy of a grammar starts with an empty memory


class _Beginning:
    """The allowed tokens after one prefix of a text, once computed, and the prefixes that continue it."""

    __slots__ = ("accepting", "after", "allowed", "done", "known", "only", "row")

    row: np.ndarray
    allowed: Tensor
    only: int | None
    accepting: bool
    done: bool

    def __init__(self) -> None:
        self.known = False
        self.after: dict[int, _Beginning] = {}

    def learn(self, packed: np.ndarray, vocabulary: Vocabulary, ends: Sequence[int], accepting: bool) -> None:
        """Take note of llguidance's answer: a bit a token, and whether the text is complete."""
        row = np.unpackbits(packed, count=vocabulary.size, bitorder="little").view(np.bool_)
        ends = [token for token in ends if token < vocabulary.size]
        row[[vocabulary.eos, *ends]] = False
        text = int(np.count_nonzero(row))
        if not accepting and text == 0:
            raise NemotronInputError("grammar: no token of the model may come next, and the text is not complete")
        row[ends] = accepting
        self.row, self.allowed = row, torch.from_numpy(row)
        self.only = int(row.argmax()) if int(np.count_nonzero(row)) == 1 else None
        self.accepting, self.done = accepting, accepting and text == 0
        self.known = True


def _check_agreement(vocabulary: Vocabulary, tokens: ModelTokens) -> None:
    """Raise an error for a vocabulary that is not the model's; a request without end tokens ends by its grammar."""
    if vocabulary.size > tokens.size:
        raise NemotronInputError(f"grammar: its vocabulary has {vocabulary.size} tokens, the model {tokens.size}")
    if tokens.ends and vocabulary.eos not in tokens.ends:
        listed = ", ".join(str(token) for token in tokens.ends)
        raise NemotronInputError(
            f"grammar: its vocabulary ends a text with token {vocabulary.eos}, the model with {listed}; name the same "
            "token in both"
        )


class _Memory:
    """The beginnings that copies of one grammar have met."""

    def __init__(self) -> None:
        self.start = _Beginning()
        self.nbytes = 0


class Thinking:
    """Free thought up to a budget, then a closing sequence, then another constraint.

    A token that ends a text is no thought: for the tokens of a model it is forbidden until the thinking is closed.

    Args:
        budget: Tokens of thought (the closing sequence not counted) after which the closing sequence is forced.
        close: The closing sequence, at least one token.
        then: Follows the answer; None leaves it free.
    """

    def __init__(self, budget: int, close: Sequence[int], then: Constraint | None = None) -> None:
        if not close:
            raise NemotronInputError("thinking: the closing sequence is empty")
        if budget < 0:
            raise NemotronInputError(f"thinking: the budget is {budget}, expected at least 0")
        self._budget, self._close, self._then = budget, tuple(close), then
        self._tokens: ModelTokens | None = None
        self._thoughts: Tensor | None = None  # True for tokens that may be thought, [V]; None for all
        self._thought: list[int] = []
        self._answer = 0

    @property
    def thinking(self) -> bool:
        """Whether the closing sequence is still to come."""
        return tuple(self._thought[-len(self._close) :]) != self._close

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        return not self.thinking and self._then is not None and self._then.done

    def mask(self) -> Tensor | None:
        """Return what may come next: anything but an end while thinking."""
        if self.thinking:
            return self._thoughts
        return None if self._then is None else self._then.mask()

    def forced(self) -> int | None:
        """Return the next token of the closing sequence once the budget is spent."""
        if self.thinking:
            over = len(self._thought) - self._budget
            return None if over < 0 else self._close[over]
        return None if self._then is None else self._then.forced()

    def advance(self, token: int) -> bool:
        """Append a token; see ``Constraint.advance``."""
        if self.thinking:
            if self.forced() not in (None, token) or (self._tokens is not None and token in self._tokens.ends):
                return False
            self._thought.append(token)
            return True
        if self._then is not None and not self._then.advance(token):
            return False
        self._answer += 1
        return True

    def rollback(self, count: int) -> None:
        """Remove the last ``count`` tokens."""
        answer = min(count, self._answer)
        if answer and self._then is not None:
            self._then.rollback(answer)
        self._answer -= answer
        if count > answer:
            del self._thought[len(self._thought) - (count - answer) :]

    def fresh(self, tokens: ModelTokens | None = None) -> Thinking:
        """Return the same budget unspent.

        Raises:
            NemotronInputError: The closing sequence holds a token that ends a text or that the model does not have.
        """
        other = Thinking(self._budget, self._close, None if self._then is None else self._then.fresh(tokens))
        other._tokens, other._thoughts = self._tokens, self._thoughts
        if tokens is not None and tokens != self._tokens:
            if not all(0 <= token < tokens.size and token not in tokens.ends for token in self._close):
                raise NemotronInputError(
                    f"thinking: the closing sequence {list(self._close)} holds a token that ends a text or that is "
                    f"outside 0 to {tokens.size - 1}"
                )
            other._tokens, other._thoughts = tokens, _all_but(tokens)
        return other


def _all_but(tokens: ModelTokens) -> Tensor | None:
    """Return True for every token that does not end a text, ``[V]``; None where none does."""
    if not tokens.ends:
        return None
    allowed = torch.ones(tokens.size, dtype=torch.bool)
    allowed[list(tokens.ends)] = False
    return allowed


class _TokenTable:
    """The tokenizer interface of llguidance; text is cut greedily, up to the first byte without a token."""

    def __init__(self, tokens: tuple[bytes, ...], eos: int, special: tuple[int, ...]) -> None:
        self.tokens = tokens
        self.eos_token_id = eos
        self.bos_token_id = None
        self.special_token_ids = special
        self._index = {token: i for i, token in reversed(list(enumerate(tokens))) if i not in special}
        self._longest = max((len(token) for token in tokens), default=1)

    def __call__(self, text: bytes | str) -> list[int]:
        data = text.encode() if isinstance(text, str) else text
        found, start = [], 0
        while start < len(data):
            size = min(self._longest, len(data) - start)
            while size and data[start : start + size] not in self._index:
                size -= 1
            if not size:
                break
            found.append(self._index[data[start : start + size]])
            start += size
        return found
