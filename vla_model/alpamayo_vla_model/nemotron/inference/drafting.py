"""Guessing the next tokens, so that the model verifies several in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from alpamayo_vla_model.nemotron.cache import NemotronCache
from alpamayo_vla_model.nemotron.inference.grammar import Constraint
from alpamayo_vla_model.nemotron.model import NemotronModel


@dataclass
class Trail:
    """One sequence as a drafter sees it.

    Attributes:
        tokens: All so far, the prompt included.
        pending: Those of them that are not yet fed.
        constraint: What may follow.
        prompt: Tokens of the prompt.
    """

    tokens: list[int]
    pending: list[int]
    constraint: Constraint | None
    prompt: int = 0


@dataclass
class Fed:
    """What the model was given in a round, padded on the right, and which part of it counts.

    Attributes:
        tokens: `[batch, time]`; None for a prompt given as embeddings.
        embeddings: `[batch, time, hidden]`.
        hidden: The model's hidden states, `[batch, time, hidden]`.
        counts: Tokens that were kept, for each sequence.
        following: The token that came next, for each sequence.
        keep: False at left padding of a prompt, `[batch, time]`.
    """

    tokens: Tensor | None
    embeddings: Tensor
    hidden: Tensor
    counts: list[int]
    following: list[int]
    keep: Tensor | None = None


class Drafter(Protocol):
    """Proposes tokens for a batch of sequences; `fork`ed, selected and joined as the batch is."""

    @property
    def reads(self) -> bool:
        """Whether it must be told of every token that the model reads."""

    def fresh(self) -> Drafter:
        """Return the same drafter for a new batch."""

    def observe(self, fed: Fed) -> None:
        """Take note of what was fed and kept."""

    def propose(self, trails: Sequence[Trail]) -> list[list[int]]:
        """Return tokens that may follow each sequence; an empty list where there is no guess."""

    def propose_first(self, trail: Trail) -> list[int]:
        """Return tokens that may follow a prompt which the model has not read yet."""

    def select(self, rows: Sequence[int]) -> None:
        """Keep the named sequences, in this order."""

    def join(self, other: Drafter) -> None:
        """Append the sequences of another drafter of the same kind."""


@dataclass
class PromptLookup:
    """Copies what followed the last earlier occurrence of the latest tokens.

    Attributes:
        depth: Most tokens to propose.
        longest: Tokens that are matched at most; shorter matches are tried after longer ones.
    """

    depth: int = 6
    longest: int = 3

    @property
    def reads(self) -> bool:
        """It looks at the tokens only."""
        return False

    def fresh(self) -> PromptLookup:
        """Return itself: it remembers nothing."""
        return self

    def observe(self, fed: Fed) -> None:
        """Do nothing."""

    def propose(self, trails: Sequence[Trail]) -> list[list[int]]:
        """Return the copied tokens, cut where the constraint forbids them."""
        return [admitted(self._find(trail.tokens), trail.constraint) for trail in trails]

    def select(self, rows: Sequence[int]) -> None:
        """Do nothing."""

    def join(self, other: Drafter) -> None:
        """Do nothing."""

    def propose_first(self, trail: Trail) -> list[int]:
        """Return what `propose` does."""
        return self.propose([trail])[0]

    def _find(self, tokens: list[int]) -> list[int]:
        for size in range(min(self.longest, len(tokens) - 1), 0, -1):
            wanted = tokens[-size:]
            for start in range(len(tokens) - size - 1, -1, -1):
                if tokens[start : start + size] == wanted:
                    return tokens[start + size : start + size + self.depth]
        return []


@dataclass
class Recall:
    """Proposes an earlier answer: what was said last time at this place, as far as the constraint allows.

    A driver that answers ten times a second mostly says what it said before. Where the new text has left the old
    one, the proposal goes on behind the last place at which the latest tokens stand there too.

    Attributes:
        answers: Earlier texts, without their prompts; the latest last.
        depth: Most tokens to propose.
        otherwise: Is asked where nothing is recalled.
    """

    answers: Sequence[Sequence[int]] = ()
    depth: int = 24
    otherwise: Drafter | None = None

    @property
    def reads(self) -> bool:
        """The other drafter may have to be told."""
        return self.otherwise is not None and self.otherwise.reads

    def fresh(self) -> Recall:
        """Return the same drafter for a new batch."""
        return Recall(self.answers, self.depth, None if self.otherwise is None else self.otherwise.fresh())

    def observe(self, fed: Fed) -> None:
        """Tell the other drafter."""
        if self.otherwise is not None:
            self.otherwise.observe(fed)

    def propose(self, trails: Sequence[Trail]) -> list[list[int]]:
        """Return the recalled tokens, or the other drafter's where there are none."""
        found = [self._recall(trail) for trail in trails]
        if self.otherwise is None or all(found):
            return found
        others = self.otherwise.propose(trails)
        return [mine or other for mine, other in zip(found, others, strict=True)]

    def select(self, rows: Sequence[int]) -> None:
        """Tell the other drafter."""
        if self.otherwise is not None:
            self.otherwise.select(rows)

    def join(self, other: Drafter) -> None:
        """Tell the other drafter."""
        if self.otherwise is not None and isinstance(other, Recall) and other.otherwise is not None:
            self.otherwise.join(other.otherwise)

    def propose_first(self, trail: Trail) -> list[int]:
        """Return the recalled tokens."""
        return self._recall(trail)

    def _recall(self, trail: Trail) -> list[int]:
        said = trail.tokens[trail.prompt :]
        for answer in reversed(self.answers):
            old = list(answer)
            same = next((i for i, (a, b) in enumerate(zip(said, old, strict=False)) if a != b), len(said))
            starts = [len(said)] if same >= len(said) - 1 else []
            starts += [i for i in range(len(old), 0, -1) if said and old[i - 1] == said[-1] and i != len(said)]
            for start in starts:
                draft = admitted(old[start : start + self.depth], trail.constraint)
                if draft:
                    return draft
        return []


@dataclass
class MTPDrafter:
    """The model's own multi-token-prediction block, applied to its own output for every further token.

    Attributes:
        model: With an MTP block of attention and MLP or expert blocks.
        depth: Applications of the block in a proposal.
    """

    model: NemotronModel
    depth: int = 3
    _cache: NemotronCache | None = None
    _hidden: Tensor | None = None

    def __post_init__(self) -> None:
        if self.model.mtp is None or "M" in self.model.config.mtp_pattern:
            raise ValueError("drafting needs an MTP block without Mamba-2 layers")

    @property
    def reads(self) -> bool:
        """Its block has a memory of its own."""
        return True

    def fresh(self) -> MTPDrafter:
        """Return the same drafter for a new batch."""
        return MTPDrafter(self.model, self.depth)

    def propose_first(self, trail: Trail) -> list[int]:
        """Return nothing: this drafter has not read the prompt either."""
        return []

    def observe(self, fed: Fed) -> None:
        """Run the block over the kept tokens, each with the embedding of the one after it."""
        batch, time = len(fed.counts), max(fed.counts)  # what nobody kept is cut off
        counts = torch.tensor(fed.counts, device=fed.hidden.device)
        following = torch.tensor(fed.following, device=fed.hidden.device)
        last = counts[:, None, None] - 1
        after = torch.cat([fed.embeddings[:, 1:time], fed.embeddings[:, :1]], dim=1)
        width = after.shape[-1]
        after = after.scatter(1, last.expand(-1, 1, width), self.model.embed(following)[:, None].to(after.dtype))
        keep = None
        if min(fed.counts) < time:
            keep = torch.arange(time, device=counts.device) < counts[:, None]
        if fed.keep is not None:
            keep = fed.keep[:, :time] if keep is None else keep & fed.keep[:, :time]
        if self._cache is None:
            self._cache = self.model.new_mtp_cache(batch)
        hidden = self.model.mtp(fed.hidden[:, :time], after, self._cache, keep)  # type: ignore[misc]
        self._hidden = hidden.gather(1, last.expand(-1, 1, width))

    def propose(self, trails: Sequence[Trail]) -> list[list[int]]:
        """Return the greedy continuation under each constraint; what is forced is taken, not guessed."""
        assert self._cache is not None
        assert self._hidden is not None
        point, hidden = self._cache.snapshot(), self._hidden
        walks = [_Walk(trail) for trail in trails]
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

    model: NemotronModel
    depth: int = 3
    _cache: NemotronCache | None = None

    @property
    def reads(self) -> bool:
        """The smaller model has a memory of its own."""
        return True

    def fresh(self) -> ModelDrafter:
        """Return the same drafter for a new batch."""
        return ModelDrafter(self.model, self.depth)

    def propose_first(self, trail: Trail) -> list[int]:
        """Return nothing: this drafter has not read the prompt either."""
        return []

    def observe(self, fed: Fed) -> None:
        """Feed the kept tokens."""
        if fed.tokens is None:
            raise ValueError("a draft model needs the prompt as tokens")
        if self._cache is None:
            self._cache = self.model.new_cache(len(fed.tokens))
        self.model(fed.tokens, cache=self._cache, attention_mask=fed.keep, return_hidden=True, tentative=True)
        self._cache.commit(torch.tensor(fed.counts, device=fed.tokens.device))

    def propose(self, trails: Sequence[Trail]) -> list[list[int]]:
        """Return the greedy continuation under each constraint."""
        assert self._cache is not None
        point = self._cache.snapshot()
        walks = [_Walk(trail, ahead=0) for trail in trails]
        longest = max(len(trail.pending) for trail in trails)
        device = self.model.device
        rows = [trail.pending + [0] * (longest - len(trail.pending)) for trail in trails]
        counts = torch.tensor([len(trail.pending) for trail in trails], device=device)
        hidden = self.model(torch.tensor(rows, device=device), cache=self._cache, return_hidden=True, tentative=True)
        self._cache.commit(counts)
        hidden = hidden[torch.arange(len(rows), device=device), counts - 1]
        for step in range(self.depth):
            logits = self.model.logits(hidden)
            tokens = [walk.take(row, step) for walk, row in zip(walks, logits, strict=True)]
            if step + 1 == self.depth or all(walk.stopped for walk in walks):
                break
            fed = torch.tensor(tokens, device=device)[:, None]
            hidden = self.model(fed, cache=self._cache, return_hidden=True)[:, 0]
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
    """Return the longest beginning of the tokens that a constraint allows; it is left as it was."""
    if constraint is None:
        return tokens
    count = 0
    while count < len(tokens) and not constraint.done and constraint.advance(tokens[count]):
        count += 1
    constraint.rollback(count)
    return tokens[:count]


@dataclass
class _Walk:
    """One sequence's way through a proposal: known tokens first, then guesses.

    `ahead` counts the tokens that are already in the drafter's input when step 0 is asked for.
    """

    trail: Trail
    ahead: int = 1
    draft: list[int] = field(default_factory=list)
    stopped: bool = False

    def take(self, logits: Tensor, step: int) -> int:
        """Return the token at this step: a known one, the only one allowed, or the likeliest."""
        if self.ahead and step < len(self.trail.pending):
            return self.trail.pending[step]
        constraint = self.trail.constraint
        if self.stopped or (constraint is not None and constraint.done):
            self.stopped = True
            return 0
        if constraint is None:
            self.draft.append(int(logits.argmax()))
            return self.draft[-1]
        token = constraint.forced()
        if token is None:
            mask = constraint.mask()
            allowed = logits if mask is None else logits[: len(mask)].masked_fill(~mask.to(logits.device), -torch.inf)
            token = int(allowed.argmax())
        if not constraint.advance(token):
            self.stopped = True
            return 0
        self.draft.append(token)
        return token

    def finish(self) -> list[int]:
        """Put the constraint back where it was and return the guesses."""
        if self.trail.constraint is not None:
            self.trail.constraint.rollback(len(self.draft))
        return self.draft
