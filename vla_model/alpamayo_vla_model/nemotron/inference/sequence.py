"""One text while it is generated: the request, its tokens so far, and the choice of the next ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from alpamayo_kernels.sampling import is_greedy, sample_masked
from alpamayo_vla_model.nemotron.errors import NemotronInputError
from alpamayo_vla_model.nemotron.inference.cuda_graph import NOT_FINITE, likeliest_tokens
from alpamayo_vla_model.nemotron.inference.drafting import DraftContext
from alpamayo_vla_model.nemotron.inference.grammar import Constraint, ModelTokens


@dataclass(frozen=True)
class Request:
    """One text to generate.

    Attributes:
        prompt: Tokens to continue, at least one.
        max_tokens: Most tokens to generate.
        temperature: Zero is greedy.
        top_p: Keep the smallest set of tokens with at least this probability, the likeliest one always; 0 to 1.
        seed: Of the random numbers at a positive temperature: requests with the same seed get the same ones. When
            None, each request gets its own, by the engine's seed and the request's number.
        constraint: Limits the text, at its start; None for no limit.
        eos: Tokens that end the text; the config's when None.
    """

    prompt: Sequence[int]
    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    constraint: Constraint | None = None
    eos: tuple[int, ...] | None = None


@dataclass
class Stats:
    """Counts for one text: rounds, guesses made, guesses accepted, forced tokens."""

    rounds: int = 0
    drafted: int = 0
    accepted: int = 0
    forced: int = 0


@dataclass
class Result:
    """A generated text.

    Attributes:
        tokens: Without the prompt; an end token is the last one.
        finish: ``eos``, ``grammar`` (complete), ``length``, ``error`` or ``abort``.
        stats: Its counts.
        hidden: Hidden states of the tokens, ``[tokens, D]``, with ``keep_hidden``.
        prompt_hidden: Those of the prompt, ``[prompt, D]``, with ``keep_hidden`` where the engine read the prompt.
        error: Why the text could not go on; None except with the finish ``error``.
    """

    tokens: list[int]
    finish: str
    stats: Stats
    hidden: Tensor | None = None
    prompt_hidden: Tensor | None = None
    error: Exception | None = None


class Row:
    """One sequence of the batch.

    Args:
        request: What to generate.
        tokens: Those of the model; they end a text as the request says.
        jump_ahead: Read tokens that the grammar forces together with the token before them.
        seed: Of the random numbers.
    """

    def __init__(self, request: Request, tokens: ModelTokens, jump_ahead: bool, seed: int) -> None:
        self.request = request
        self.tokens: list[int] = []
        self.pending: list[int] = []
        self.finish = ""
        self.stats = Stats()
        self.hidden: list[Tensor] = []
        self.prompt_hidden: Tensor | None = None
        self.error: Exception | None = None
        self.constraint = None if request.constraint is None else request.constraint.fresh(tokens)
        self._eos = tokens.ends
        self._greedy = is_greedy(request.temperature, request.top_p)
        self._jump_ahead, self._seed = jump_ahead, seed
        self._generator: torch.Generator | None = None

    @property
    def draft_context(self) -> DraftContext:
        """The part of the sequence that a drafter reads."""
        prompt = self.request.prompt
        return DraftContext([*prompt, *self.tokens], self.pending, self.constraint, len(prompt))

    def trim_draft(self, draft: list[int]) -> list[int]:
        """Return a draft without its end where that is checked without being read.

        The token that completes a text is chosen after the token before it, and tokens that are forced up to it follow
        from the choice before them.
        """
        constraint = self.constraint
        if constraint is None or not draft:
            return draft
        kept = 0
        with suppress(Exception):  # the constraint raises it again where the row chooses
            while kept < len(draft) and constraint.advance(draft[kept]):
                kept += 1
            dropping = constraint.done
            while dropping and kept:
                constraint.rollback(1)
                kept -= 1
                dropping = self._jump_ahead and constraint.forced() is not None
        constraint.rollback(kept)
        return draft[:kept]

    def fail(self, error: Exception) -> None:
        """End the text with an error."""
        self.finish, self.error, self.pending = "error", error, []

    @property
    def takes_likeliest(self) -> bool:
        """Whether the choice is always the most likely of all tokens."""
        return self._greedy and self.constraint is None

    def extend(self, logits: Tensor, draft: Sequence[int], likeliest: Sequence[int] = ()) -> int:
        """Choose tokens while the guesses are correct; return the number of correct guesses.

        Args:
            logits: ``[len(draft) + 1, vocab]``.
            draft: The guesses.
            likeliest: ``likeliest_tokens`` of the logits, if known; used where ``takes_likeliest``.

        Raises:
            NemotronInputError: Logits that are not finite, or a constraint that no token fits.
        """
        greedy = self._greedy
        if greedy and not (self.takes_likeliest and likeliest):
            likeliest = self._likeliest(logits, draft)
        right = 0
        for position, guess in enumerate([*draft, None]):
            token = likeliest[position] if greedy else self._choose(logits[position])
            self._append(token)
            right += token == guess
            if self.finish or token != guess:
                break
        over = bool(self.finish) and right > position  # the last token was guessed and is read already
        self.pending = [] if over else [token, *self._forced()]
        self.stats.drafted += len(draft)
        self.stats.accepted += right
        return right

    def _likeliest(self, logits: Tensor, draft: Sequence[int]) -> list[int]:
        """Return the best allowed token at every position of a draft, up to the end of a complete text."""
        constraint, taken = self.constraint, 0
        if constraint is None:
            return likeliest_tokens(logits)
        masks: list[Tensor | None] = []
        forced: dict[int, int] = {}
        for guess in [*draft, None]:
            masks.append(constraint.mask())
            only = constraint.forced()
            if only is not None:
                forced[len(masks) - 1] = only
            if guess is None or guess in self._eos or not constraint.advance(guess):
                break
            taken += 1
            if constraint.done:
                break
        constraint.rollback(taken)
        width = max(logits.shape[-1] if mask is None else len(mask) for mask in masks)
        free = torch.ones(width, dtype=torch.bool)
        rows = [free if mask is None else functional.pad(mask, (0, width - len(mask))) for mask in masks]
        allowed = torch.stack(rows).to(logits.device)
        best = likeliest_tokens(torch.where(allowed, logits[: len(masks), :width], -torch.inf))
        for position, token in forced.items():
            best[position] = token
        return best

    def _choose(self, logits: Tensor) -> int:
        mask = None
        if self.constraint is not None:
            only = self.constraint.forced()
            if only is not None:
                return only
            mask = self.constraint.mask()
            logits = logits if mask is None else logits[: len(mask)]
        noise = None
        if not self._greedy:
            if self._generator is None:
                self._generator = torch.Generator().manual_seed(self._seed)
            noise = torch.rand(logits.shape, generator=self._generator).clamp(1e-20, 1 - 1e-7)[None].to(logits.device)
        allowed = None if mask is None else mask[None].to(logits.device)
        token = int(sample_masked(logits[None], allowed, self.request.temperature, self.request.top_p, noise))
        return token if math.isfinite(logits[token]) else NOT_FINITE

    def _append(self, token: int) -> None:
        if token == NOT_FINITE:
            raise NemotronInputError("model: the logits of a text are not finite, expected finite weights")
        if self.constraint is not None and token not in self._eos and not self.constraint.advance(token):
            raise NemotronInputError(f"request: its constraint allows no token after {len(self.tokens)} of them")
        self.tokens.append(token)
        if token in self._eos:
            self.finish = "eos"
        elif self.constraint is not None and self.constraint.done:
            self.finish = "grammar"
        elif len(self.tokens) >= self.request.max_tokens:
            self.finish = "length"

    def _forced(self) -> list[int]:
        found: list[int] = []
        while self._jump_ahead and self.constraint is not None and not self.finish:
            token = self.constraint.forced()
            if token is None:
                break
            self._append(token)
            found.append(token)
        self.stats.forced += len(found)
        return found
