"""Drafters: they guess the next tokens, so that the model verifies several in one call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from alpamayo_vla_model.nemotron.cache import NemotronCache
from alpamayo_vla_model.nemotron.inference.cpu_compiled import LanguageModel
from alpamayo_vla_model.nemotron.inference.grammar import Constraint


@dataclass
class DraftContext:
    """The part of a sequence that a drafter reads.

    Attributes:
        tokens: Prompt and generated tokens.
        pending: The last of them that the model has not read yet.
        constraint: Limits what may follow.
        prompt: Number of prompt tokens.
    """

    tokens: list[int]
    pending: list[int]
    constraint: Constraint | None
    prompt: int = 0


@dataclass
class StepOutputs:
    """Inputs and outputs of one call of the model, padded on the right, and how many of them were kept.

    Attributes:
        tokens: ``[B, T]``; None for a prompt given as embeddings.
        embeddings: ``[B, T, D]``.
        hidden: The model's hidden states, ``[B, T, D]``.
        counts: Number of tokens kept, for each sequence.
        following: The next token, for each sequence.
        padding_mask: False at left padding of a prompt, ``[B, T]``.
    """

    tokens: Tensor | None
    embeddings: Tensor
    hidden: Tensor
    counts: list[int]
    following: list[int]
    padding_mask: Tensor | None = None


class Drafter(Protocol):
    """Proposes tokens for a batch of sequences; its sequences are selected and joined as those of the batch."""

    @property
    def reads(self) -> bool:
        """Whether ``observe`` must be called for every token that the model reads."""

    def fresh(self) -> Drafter:
        """Return a drafter with the same settings for a new batch."""

    def observe(self, outputs: StepOutputs) -> None:
        """Read the inputs and outputs of a call of the model."""

    def propose(self, contexts: Sequence[DraftContext]) -> list[list[int]]:
        """Return a draft for each sequence; empty where there is no guess."""

    def propose_first(self, context: DraftContext) -> list[int]:
        """Return a draft for a prompt that the model has not read yet."""

    def select(self, rows: Sequence[int]) -> None:
        """Keep the named sequences, in this order."""

    def join(self, other: Drafter) -> None:
        """Append the sequences of another drafter of the same kind."""


@dataclass
class PromptLookup:
    """Copies the tokens that followed the latest earlier occurrence of the last tokens.

    Attributes:
        depth: Most tokens to propose.
        longest: Most tokens to match; shorter matches are tried after longer ones.
    """

    depth: int = 6
    longest: int = 3

    @property
    def reads(self) -> bool:
        """False: it needs the tokens only."""
        return False

    def fresh(self) -> PromptLookup:
        """Return itself: it has no state."""
        return self

    def observe(self, outputs: StepOutputs) -> None:
        """Do nothing."""

    def propose(self, contexts: Sequence[DraftContext]) -> list[list[int]]:
        """Return the copied tokens, cut where the constraint forbids them."""
        return [admitted(self._find(context.tokens), context.constraint) for context in contexts]

    def select(self, rows: Sequence[int]) -> None:
        """Do nothing."""

    def join(self, other: Drafter) -> None:
        """Do nothing."""

    def propose_first(self, context: DraftContext) -> list[int]:
        """Return what ``propose`` does."""
        return self.propose([context])[0]

    def _find(self, tokens: list[int]) -> list[int]:
        for size in range(min(self.longest, len(tokens) - 1), 0, -1):
            wanted = tokens[-size:]
            for start in range(len(tokens) - size - 1, -1, -1):
                if tokens[start : start + size] == wanted:
                    return tokens[start + size : start + size + self.depth]
        return []


@dataclass
class PreviousAnswerDrafter:
    """Proposes the continuation of an earlier answer, as far as the constraint allows.

    A driver that answers ten times a second mostly repeats its last answer. Where the new answer differs from an
    earlier one, the proposal continues after the last occurrence of the latest token in it.

    Attributes:
        answers: Earlier answers without their prompts, the latest last.
        depth: Most tokens to propose.
        fallback: Drafter for sequences without a proposal.
    """

    answers: Sequence[Sequence[int]] = ()
    depth: int = 24
    fallback: Drafter | None = None

    @property
    def reads(self) -> bool:
        """Whether the fallback reads."""
        return self.fallback is not None and self.fallback.reads

    def fresh(self) -> PreviousAnswerDrafter:
        """Return a drafter with the same settings for a new batch."""
        return PreviousAnswerDrafter(self.answers, self.depth, None if self.fallback is None else self.fallback.fresh())

    def observe(self, outputs: StepOutputs) -> None:
        """Pass on to the fallback."""
        if self.fallback is not None:
            self.fallback.observe(outputs)

    def propose(self, contexts: Sequence[DraftContext]) -> list[list[int]]:
        """Return the continuations, or the fallback's drafts where there are none."""
        found = [self._continuation(context) for context in contexts]
        if self.fallback is None or all(found):
            return found
        others = self.fallback.propose(contexts)
        return [mine or other for mine, other in zip(found, others, strict=True)]

    def select(self, rows: Sequence[int]) -> None:
        """Pass on to the fallback."""
        if self.fallback is not None:
            self.fallback.select(rows)

    def join(self, other: Drafter) -> None:
        """Pass on to the fallback."""
        if self.fallback is not None and isinstance(other, PreviousAnswerDrafter) and other.fallback is not None:
            self.fallback.join(other.fallback)

    def propose_first(self, context: DraftContext) -> list[int]:
        """Return the continuation of an earlier answer."""
        return self._continuation(context)

    def _continuation(self, context: DraftContext) -> list[int]:
        answer = context.tokens[context.prompt :]
        for earlier in reversed(self.answers):
            old = list(earlier)
            same = next((i for i, (a, b) in enumerate(zip(answer, old, strict=False)) if a != b), len(answer))
            starts = [len(answer)] if same >= len(answer) - 1 else []
            starts += [i for i in range(len(old), 0, -1) if answer and old[i - 1] == answer[-1] and i != len(answer)]
            for start in starts:
                draft = admitted(old[start : start + self.depth], context.constraint)
                if draft:
                    return draft
        return []


@dataclass
class MTPDrafter:
    """The model's own multi-token-prediction block, applied again to its own output for every further token.

    Attributes:
        model: With an MTP block of attention and MLP or expert blocks.
        depth: Applications of the block in a proposal.
    """

    model: LanguageModel
    depth: int = 3
    _cache: NemotronCache | None = None
    _hidden: Tensor | None = None

    def __post_init__(self) -> None:
        if self.model.mtp is None or "M" in self.model.config.mtp_pattern:
            raise ValueError("drafting needs an MTP block without Mamba-2 layers")

    @property
    def reads(self) -> bool:
        """True: its block has a cache of its own."""
        return True

    def fresh(self) -> MTPDrafter:
        """Return a drafter with the same settings for a new batch."""
        return MTPDrafter(self.model, self.depth)

    def propose_first(self, context: DraftContext) -> list[int]:
        """Return nothing: this drafter has not read the prompt either."""
        return []

    def observe(self, outputs: StepOutputs) -> None:
        """Run the block over the kept tokens, each with the embedding of the one after it."""
        batch, time = len(outputs.counts), max(outputs.counts)  # columns that no sequence keeps are cut off
        counts = torch.tensor(outputs.counts, device=outputs.hidden.device)
        following = torch.tensor(outputs.following, device=outputs.hidden.device)
        last = counts[:, None, None] - 1
        after = torch.cat([outputs.embeddings[:, 1:time], outputs.embeddings[:, :1]], dim=1)
        width = after.shape[-1]
        after = after.scatter(1, last.expand(-1, 1, width), self.model.embed(following)[:, None].to(after.dtype))
        padding_mask = None
        if min(outputs.counts) < time:
            padding_mask = torch.arange(time, device=counts.device) < counts[:, None]
        if outputs.padding_mask is not None:
            padding_mask = (
                outputs.padding_mask[:, :time]
                if padding_mask is None
                else padding_mask & outputs.padding_mask[:, :time]
            )
        if self._cache is None:
            self._cache = self.model.new_mtp_cache(batch)
        hidden = self.model.mtp(outputs.hidden[:, :time], after, self._cache, padding_mask)  # type: ignore[misc]
        self._hidden = hidden.gather(1, last.expand(-1, 1, width))

    def propose(self, contexts: Sequence[DraftContext]) -> list[list[int]]:
        """Return the greedy continuation under each constraint; forced tokens are taken as they are."""
        assert self._cache is not None
        assert self._hidden is not None
        point, hidden = self._cache.snapshot(), self._hidden
        walks = [_Walk(context) for context in contexts]
        for step in range(self.depth):
            logits = self.model.logits(hidden[:, 0])
            tokens = [walk.take(row, step + 1) for walk, row in zip(walks, logits, strict=True)]
            if step + 1 == self.depth or all(walk.stopped for walk in walks):
                break
            embedded = self.model.embed(torch.tensor(tokens, device=hidden.device)[:, None])
            hidden = self.model.mtp(hidden, embedded, self._cache)  # type: ignore[misc]
        self._cache.restore(point)
        return [walk.finish() for walk in walks]

    def select(self, rows: Sequence[int]) -> None:
        """Keep the named sequences."""
        if self._cache is not None and self._hidden is not None:
            self._cache, self._hidden = self._cache.select(rows), self._hidden[list(rows)]

    def join(self, other: Drafter) -> None:
        """Append another batch."""
        assert isinstance(other, MTPDrafter)
        assert other._cache is not None
        assert other._hidden is not None
        if self._cache is None or self._hidden is None:
            self._cache, self._hidden = other._cache, other._hidden
        else:
            self._cache = NemotronCache.stack([self._cache, other._cache])
            self._hidden = torch.cat([self._hidden, other._hidden])


@dataclass
class ModelDrafter:
    """A smaller model with the same tokens, decoding greedily.

    Attributes:
        model: The smaller model.
        depth: Tokens in a proposal.
    """

    model: LanguageModel
    depth: int = 3
    _cache: NemotronCache | None = None

    @property
    def reads(self) -> bool:
        """True: the smaller model has a cache of its own."""
        return True

    def fresh(self) -> ModelDrafter:
        """Return a drafter with the same settings for a new batch."""
        return ModelDrafter(self.model, self.depth)

    def propose_first(self, context: DraftContext) -> list[int]:
        """Return nothing: this drafter has not read the prompt either."""
        return []

    def observe(self, outputs: StepOutputs) -> None:
        """Read the kept tokens."""
        if outputs.tokens is None:
            raise ValueError("a draft model needs the prompt as tokens")
        if self._cache is None:
            self._cache = self.model.new_cache(len(outputs.tokens))
        self.model(
            outputs.tokens, cache=self._cache, attention_mask=outputs.padding_mask, return_hidden=True, speculative=True
        )
        self._cache.commit(torch.tensor(outputs.counts, device=outputs.tokens.device))

    def propose(self, contexts: Sequence[DraftContext]) -> list[list[int]]:
        """Return the greedy continuation under each constraint."""
        assert self._cache is not None
        point = self._cache.snapshot()
        walks = [_Walk(context, ahead=0) for context in contexts]
        longest = max(len(context.pending) for context in contexts)
        device = self.model.device
        rows = [context.pending + [0] * (longest - len(context.pending)) for context in contexts]
        counts = torch.tensor([len(context.pending) for context in contexts], device=device)
        hidden = self.model(torch.tensor(rows, device=device), cache=self._cache, return_hidden=True, speculative=True)
        self._cache.commit(counts)
        hidden = hidden[torch.arange(len(rows), device=device), counts - 1]
        for step in range(self.depth):
            logits = self.model.logits(hidden)
            tokens = [walk.take(row, step) for walk, row in zip(walks, logits, strict=True)]
            if step + 1 == self.depth or all(walk.stopped for walk in walks):
                break
            guesses = torch.tensor(tokens, device=device)[:, None]
            hidden = self.model(guesses, cache=self._cache, return_hidden=True)[:, 0]
        self._cache.restore(point)
        return [walk.finish() for walk in walks]

    def select(self, rows: Sequence[int]) -> None:
        """Keep the named sequences."""
        self._cache = None if self._cache is None else self._cache.select(rows)

    def join(self, other: Drafter) -> None:
        """Append another batch."""
        assert isinstance(other, ModelDrafter)
        assert other._cache is not None
        own = [] if self._cache is None else [self._cache]
        self._cache = NemotronCache.stack([*own, other._cache])


def admitted(tokens: list[int], constraint: Constraint | None) -> list[int]:
    """Return the longest prefix of the tokens that a constraint allows; the constraint is left unchanged."""
    if constraint is None:
        return tokens
    count = 0
    with suppress(Exception):  # the constraint raises it again where the row chooses
        while count < len(tokens) and not constraint.done and constraint.advance(tokens[count]):
            count += 1
    constraint.rollback(count)
    return tokens[:count]


@dataclass
class _Walk:
    """The draft of one sequence while it grows: known tokens first, then guesses.

    ``ahead`` counts the tokens that are already in the drafter's input at step 0.
    """

    context: DraftContext
    ahead: int = 1
    draft: list[int] = field(default_factory=list)
    stopped: bool = False

    def take(self, logits: Tensor, step: int) -> int:
        """Return the token at this step: a known one, the only one allowed, or the likeliest."""
        if self.ahead and step < len(self.context.pending):
            return self.context.pending[step]
        constraint = self.context.constraint
        if not self.stopped and constraint is None:
            self.draft.append(int(logits.argmax()))
            return self.draft[-1]
        token = None
        if not self.stopped and constraint is not None:
            with suppress(Exception):  # the constraint raises it again where the row chooses
                token = self._allowed(constraint, logits)
        self.stopped = token is None
        if token is None:
            return 0
        self.draft.append(token)
        return token

    @staticmethod
    def _allowed(constraint: Constraint, logits: Tensor) -> int | None:
        """Advance the constraint by the likeliest token that it allows and return it; None at its end."""
        if constraint.done:
            return None
        token = constraint.forced()
        if token is None:
            mask = constraint.mask()
            allowed = logits if mask is None else logits[: len(mask)].masked_fill(~mask.to(logits.device), -torch.inf)
            token = int(allowed.argmax())
        return token if constraint.advance(token) else None

    def finish(self) -> list[int]:
        """Restore the constraint and return the guesses."""
        if self.context.constraint is not None:
            self.context.constraint.rollback(len(self.draft))
        return self.draft
