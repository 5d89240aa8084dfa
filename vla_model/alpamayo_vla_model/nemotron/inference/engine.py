"""Generation of tokens for many requests at once: batching, drafts, forced tokens and shared prefixes.

One call of the model reads, for each sequence, the tokens that are chosen but not yet in the cache (the last one and
those that the grammar forces after it) and the drafter's guesses. The next tokens are then chosen position by
position, as if each had been a call of its own. The first choice that differs from the guess ends the round, and the
cache keeps the correct tokens only. The result does not depend on the drafter, on jump-ahead or on the batch.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from alpamayo_vla_model.nemotron.cache import NemotronCache
from alpamayo_vla_model.nemotron.errors import NemotronInputError
from alpamayo_vla_model.nemotron.inference.cpu_compiled import LanguageModel
from alpamayo_vla_model.nemotron.inference.cuda_graph import FixedStep, GraphDecoder, likeliest_tokens
from alpamayo_vla_model.nemotron.inference.drafting import Drafter, StepOutputs
from alpamayo_vla_model.nemotron.inference.grammar import ModelTokens
from alpamayo_vla_model.nemotron.inference.sequence import Request, Result, Row, Stats
from alpamayo_vla_model.nemotron.model import NemotronModel

__all__ = ["Engine", "Request", "Result", "Row", "Stats", "generate"]


class Engine:
    """Generates for a changing set of requests; a finished one makes room for the next.

    Args:
        model: In evaluation mode; on a CPU, ``compile_for_cpu(model)`` is several times faster.
        drafter: Guesses tokens; None for one token a round.
        jump_ahead: Read tokens that the grammar forces together with the token before them.
        max_batch: Sequences that run at once.
        keep_hidden: Return the hidden states of all generated tokens.
        graph: Decode with ``cuda_graph.FixedStep`` wherever every sequence reads one token a round: without drafter,
            ``keep_hidden`` and forced tokens. None means on a GPU only.
        seed: Of requests without a seed of their own; the same seed and requests give the same texts.
        prefix_bytes: Kept of cached prefixes at most; those that were used last stay, the newest always.

    A request that cannot go on finishes with its error, and the others go on.

    Raises:
        ValueError: ``graph`` is True and the model is compiled for the CPU.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        drafter: Drafter | None = None,
        jump_ahead: bool = True,
        max_batch: int = 8,
        keep_hidden: bool = False,
        graph: bool | None = None,
        seed: int = 0,
        prefix_bytes: int = 1 << 30,
    ) -> None:
        self.model, self._seed = model, seed
        self.rounds = 0
        self._blank = drafter
        self._drafter: Drafter | None = None
        self._jump_ahead = jump_ahead
        self._max_batch = max_batch
        self._keep_hidden = keep_hidden
        self._waiting: deque[tuple[int, Request, Tensor | None]] = deque()
        self._rows: list[tuple[int, Row]] = []
        self._cache: NemotronCache | None = None
        self._prefixes: OrderedDict[tuple[int, ...], NemotronCache] = OrderedDict()
        self._prefix_bytes = prefix_bytes
        self._finished: list[tuple[int, Result]] = []  # finished by their prompts
        self._next = 0
        self._graphs: GraphDecoder | None = None
        if not keep_hidden and drafter is None and (model.device.type == "cuda" if graph is None else graph):
            if not isinstance(model, NemotronModel):
                raise ValueError("graph=True takes a NemotronModel, not one compiled for the CPU")
            self._graphs = GraphDecoder(model, min(_GRAPH_SLOTS, model.config.max_position_embeddings))
        self._fixed: FixedStep | None = None  # replaces ``_cache`` while it holds the running rows

    @property
    def busy(self) -> bool:
        """Whether a request is waiting or running."""
        return bool(self._waiting or self._rows or self._finished)

    def submit(self, request: Request, embeddings: Tensor | None = None) -> int:
        """Queue a request and return its number.

        Args:
            request: What to generate.
            embeddings: The whole prompt, ``[1, T, D]``, where it is not made of tokens alone; drafters then read the
                request's own prompt.

        Raises:
            NemotronInputError: The prompt is empty, holds unknown tokens, or leaves no room in the model's context; the
                temperature, ``top_p`` or the end tokens are impossible, or the constraint is not for this model.
        """
        self._check(request, len(request.prompt) if embeddings is None else embeddings.shape[1])
        self._waiting.append((self._next, request, embeddings))
        self._next += 1
        return self._next - 1

    def _check(self, request: Request, length: int) -> None:
        """Raise an error for a request that cannot be generated; ``length`` is that of its prompt."""
        config, prompt = self.model.config, request.prompt
        if not prompt:
            raise NemotronInputError("request: the prompt is empty, expected at least one token")
        if not all(0 <= token < config.vocab_size for token in prompt):
            raise NemotronInputError(f"request: the prompt holds tokens outside 0 to {config.vocab_size - 1}")
        if request.max_tokens < 1:
            raise NemotronInputError(f"request: max_tokens is {request.max_tokens}, expected at least 1")
        if length + request.max_tokens > config.max_position_embeddings:
            raise NemotronInputError(
                f"request: {length} prompt tokens and {request.max_tokens} new ones exceed the context of "
                f"{config.max_position_embeddings}"
            )
        self._row(request, 0)

    def _row(self, request: Request, number: int) -> Row:
        """Return the sequence of a request, at its start."""
        config = self.model.config
        ends = config.eos_token_ids if request.eos is None else request.eos
        if request.eos is not None and not all(0 <= token < config.vocab_size for token in ends):
            raise NemotronInputError(f"request: end tokens {ends}, expected 0 to {config.vocab_size - 1}")
        seed = request.seed
        if seed is None:
            seed = int(np.random.SeedSequence((self._seed, number)).generate_state(1, np.uint64)[0] >> np.uint64(1))
        tokens = ModelTokens(config.vocab_size, tuple(token for token in ends if token < config.vocab_size))
        try:
            return Row(request, tokens, self._jump_ahead, seed)
        except NemotronInputError:
            raise
        except ValueError as error:
            raise NemotronInputError(f"request: {error}") from error

    @torch.no_grad()
    def step(self) -> list[tuple[int, Result]]:
        """Admit what fits, run one round and return what is finished, with its number."""
        while self._waiting and len(self._rows) < self._max_batch:
            number, request, embeddings = self._waiting.popleft()
            try:
                self._admit(number, request, embeddings)
            except Exception as error:
                self._finished.append((number, Result([], "error", Stats(), error=error)))
        finished, self._finished = self._finished + self._retire(), []
        if self._rows:
            try:
                self._round()
            except Exception as error:  # of the model or a drafter: no row can go on from here
                for _, row in self._rows:
                    row.fail(error)
            finished += self._retire()
        return finished

    def run(self, requests: Sequence[Request]) -> list[Result]:
        """Generate for all requests and return the results in their order; those of others wait for ``step``.

        Raises:
            NemotronInputError: A request is impossible; none is started.
        """
        for request in requests:
            self._check(request, len(request.prompt))
        numbers = [self.submit(request) for request in requests]
        found: list[tuple[int, Result]] = []
        waiting = set(numbers)
        try:
            while waiting:
                latest = self.step()
                found += latest
                waiting.difference_update(number for number, _ in latest)
        finally:  # also where the caller is interrupted: nothing that is finished is lost
            self._finished += [each for each in found if waiting or each[0] not in numbers]
        results = dict(found)
        return [results[number] for number in numbers]

    def abort(self, number: int) -> Result | None:
        """Stop a request and return what there is of it; None where it is not known or was handed out."""
        for index, (waiting, _, _) in enumerate(self._waiting):
            if waiting == number:
                del self._waiting[index]
                return Result([], "abort", Stats())
        for each, row in self._rows:
            if each == number and not row.finish:
                row.finish, row.pending = "abort", []
        self._finished += self._retire()
        result = next((result for each, result in self._finished if each == number), None)
        self._finished = [each for each in self._finished if each[0] != number]
        return result

    def attach(
        self, cache: NemotronCache, hidden: Tensor, requests: Sequence[Request], embeddings: Tensor | None = None
    ) -> list[int]:
        """Start requests on sequences that are already prefilled, for example forks of one (see vla_model/README.md).

        Args:
            cache: One sequence a request.
            hidden: Hidden states of the last prompt tokens (of all, for an MTP drafter), ``[B, T, D]``.
            requests: Their prompts are read by drafters only and may be empty.
            embeddings: Of the same tokens as ``hidden``; needed with an MTP drafter.

        Returns:
            The numbers of the requests.
        """
        numbers = list(range(self._next, self._next + len(requests)))
        rows = [self._row(request, number) for request, number in zip(requests, numbers, strict=True)]
        self._next += len(requests)
        with torch.no_grad():
            for row, scores in zip(rows, self.model.logits(hidden[:, -1:]), strict=True):
                _extend(row, scores, [])
            outputs = None
            if embeddings is not None:
                following = [(row.tokens or [0])[0] for row in rows]
                outputs = StepOutputs(None, embeddings, hidden, [hidden.shape[1]] * len(rows), following)
            drafter = None if self._blank is None else self._blank.fresh()
            self._take_in(list(zip(numbers, rows, strict=True)), cache, drafter, outputs)
        return numbers

    @torch.no_grad()
    def cache_prefix(self, prefix: Sequence[int]) -> None:
        """Read a prefix that many prompts share; such prompts then start from its cache.

        Where all prefixes take more than ``prefix_bytes``, those that were not used for longest are dropped. Nothing
        is shared with ``keep_hidden`` or with a drafter that reads whole prompts itself.
        """
        cache = self.model.new_cache(1)
        self.model(torch.tensor([list(prefix)], device=self.model.device), cache=cache, return_hidden=True)
        self._prefixes[tuple(prefix)] = cache
        self._prefixes.move_to_end(tuple(prefix))
        total = sum(each.nbytes for each in self._prefixes.values())
        while total > self._prefix_bytes and len(self._prefixes) > 1:
            total -= self._prefixes.popitem(last=False)[1].nbytes

    def _prefix_of(self, prompt: Sequence[int], drafter: Drafter | None) -> tuple[int, NemotronCache]:
        """Return how many tokens of a prompt have a cached prefix, and a cache that has read them."""
        if not self._keep_hidden and (drafter is None or not drafter.reads):
            for prefix in sorted(self._prefixes, key=len, reverse=True):
                if len(prefix) < len(prompt) and tuple(prompt[: len(prefix)]) == prefix:
                    self._prefixes.move_to_end(prefix)
                    return len(prefix), self._prefixes[prefix].fork(1)
        return 0, self.model.new_cache(1)

    def _admit(self, number: int, request: Request, embeddings: Tensor | None) -> None:
        """Read a prompt, together with a drafter's first proposal."""
        row = self._row(request, number)
        drafter = None if self._blank is None else self._blank.fresh()
        draft = [] if drafter is None else self._cut(row, drafter.propose_first(row.draft_context))
        known, cache = self._prefix_of(request.prompt if embeddings is None else (), drafter)
        prompt = [] if embeddings is not None else list(request.prompt[known:])
        tokens = torch.tensor([[*prompt, *draft]], dtype=torch.long, device=self.model.device)
        embedded = self.model.embed(tokens)
        if embeddings is not None:
            embedded = torch.cat([embeddings, embedded], dim=1)
        length = embedded.shape[1] - len(draft)
        hidden = self.model(embeddings=embedded, cache=cache, return_hidden=True, speculative=bool(draft))
        logits = self.model.logits(hidden[0, length - 1 :])
        _check_finite(logits[0])
        kept = length + row.extend(logits, draft)
        if self._keep_hidden:
            row.prompt_hidden, row.hidden = hidden[0, :length], [hidden[0, length:kept]]
        if self._over(row):
            self._finished.append((number, _result(row)))
            return
        if draft:
            cache.commit(kept)
        outputs = StepOutputs(
            None if embeddings is not None else tokens, embedded, hidden, [kept], [(row.pending or [0])[0]]
        )
        self._take_in([(number, row)], cache, drafter, outputs)

    def _take_in(
        self, rows: list[tuple[int, Row]], cache: NemotronCache, drafter: Drafter | None, outputs: StepOutputs | None
    ) -> None:
        """Add started rows and their cache to the batch."""
        if drafter is not None and outputs is not None:
            drafter.observe(outputs)
        self._settle()
        whole = cache if self._cache is None else NemotronCache.stack([self._cache, cache])
        if drafter is not None and self._drafter is not None:
            self._drafter.join(drafter)
        self._drafter = self._drafter or drafter
        self._cache = whole
        self._rows += rows

    def _round(self) -> None:
        rows = [row for _, row in self._rows]
        step = self._fixed_step(rows)
        if step is not None:
            self._fixed_round(rows, step)
            return
        assert self._cache is not None
        drafts = self._propose(rows)
        feeds = [[*row.pending, *draft] for row, draft in zip(rows, drafts, strict=True)]
        widths = [len(feed) for feed in feeds]
        width = max(widths)
        padded = [feed + [0] * (width - len(feed)) for feed in feeds]
        tokens = torch.tensor(padded, device=self.model.device)
        certain = min(widths) == width and not any(drafts)
        embedded = self.model.embed(tokens)
        hidden = self.model(embeddings=embedded, cache=self._cache, return_hidden=True, speculative=not certain)
        counts = self._choose(rows, drafts, hidden)
        if not certain:
            self._cache.commit(torch.tensor(counts, device=tokens.device))
        self.rounds += 1
        if self._drafter is not None:
            following = [row.pending[0] if row.pending else 0 for row in rows]
            self._drafter.observe(StepOutputs(tokens, embedded, hidden, counts, following))

    def _fixed_step(self, rows: list[Row]) -> FixedStep | None:
        """Return the fixed step with the rows' states loaded; None where it cannot hold them."""
        if self._graphs is None or (self._jump_ahead and any(row.constraint is not None for row in rows)):
            self._settle()
            return None
        if self._fixed is None and self._cache is not None and self._cache.tokens < self._graphs.capacity:
            self._fixed, cache = self._graphs.step_for(len(rows)), self._cache
            self._fixed.load([cache], [row.pending[0] for row in rows])
            self._cache = None
        elif self._fixed is not None and self._fixed.length == self._fixed.capacity:
            self._settle()
        return self._fixed

    def _fixed_round(self, rows: list[Row], step: FixedStep) -> None:
        likeliest, logits = step.feed([row.pending[0] for row in rows])
        for index, row in enumerate(rows):
            row.stats.rounds += 1
            _extend(row, logits[index : index + 1], [], likeliest[index : index + 1])
        self.rounds += 1

    def _settle(self) -> None:
        """Take the running rows' states back from the fixed step."""
        if self._fixed is not None:
            self._cache, self._fixed = self._fixed.unload(len(self._rows)), None

    def _propose(self, rows: list[Row]) -> list[list[int]]:
        if self._drafter is None:
            return [[] for _ in rows]
        proposed = self._drafter.propose([row.draft_context for row in rows])
        return [self._cut(row, draft) for row, draft in zip(rows, proposed, strict=True)]

    def _cut(self, row: Row, draft: list[int]) -> list[int]:
        """Return the useful part of a draft: the last token of a text is read for its hidden state only."""
        if row.finish:
            return []
        draft = draft[: row.request.max_tokens - len(row.tokens) - 1]
        return draft if self._keep_hidden else row.trim_draft(draft)

    def _choose(self, rows: list[Row], drafts: list[list[int]], hidden: Tensor) -> list[int]:
        """Choose the tokens of every row; return how many of the tokens read are kept."""
        starts = [len(row.pending) - 1 for row in rows]
        spans = [hidden[i, s : s + len(d) + 1] for i, (s, d) in enumerate(zip(starts, drafts, strict=True))]
        logits = self.model.logits(torch.cat(spans))
        likeliest = likeliest_tokens(logits) if any(row.takes_likeliest for row in rows) else []
        counts, offset = [], 0
        for index, (row, start, draft) in enumerate(zip(rows, starts, drafts, strict=True)):
            end = offset + len(draft) + 1
            row.stats.rounds += 1
            if row.finish:
                row.pending, kept = [], start + 1
            else:
                kept = start + 1 + _extend(row, logits[offset:end], draft, likeliest[offset:end])
            counts.append(kept)
            if self._keep_hidden:
                row.hidden.append(hidden[index, :kept])
            offset = end
        return counts

    def _over(self, row: Row) -> bool:
        """Return whether a row is finished and, with ``keep_hidden``, its last tokens are read."""
        return bool(row.finish) and not (self._keep_hidden and row.pending)

    def _retire(self) -> list[tuple[int, Result]]:
        """Take out the finished rows."""
        over = [self._over(row) for _, row in self._rows]
        if not any(over):
            return []
        finished = [(number, _result(row)) for (number, row), gone in zip(self._rows, over, strict=True) if gone]
        stay = [index for index, gone in enumerate(over) if not gone]
        if stay:
            self._settle()
        self._rows = [self._rows[index] for index in stay]
        if not stay:
            self._cache, self._drafter, self._fixed = None, None, None
        elif self._cache is not None:
            self._cache = self._cache.select(stay)
            if self._drafter is not None:
                self._drafter.select(stay)
        return finished


_GRAPH_SLOTS = 4096  # cache slots of a sequence in a fixed step; longer ones take the general path


def generate(
    model: LanguageModel, requests: Sequence[Request], *, drafter: Drafter | None = None, jump_ahead: bool = True
) -> list[Result]:
    """Generate for all requests, in one batch as far as they fit; see ``Engine``.

    Raises:
        Exception: The error of the first request that could not go on; ``Engine.run`` returns the other texts too.
    """
    results = Engine(model, drafter=drafter, jump_ahead=jump_ahead).run(requests)
    for result in results:
        if result.error is not None:
            raise result.error
    return results


def _extend(row: Row, logits: Tensor, draft: Sequence[int], likeliest: Sequence[int] = ()) -> int:
    """Choose a row's tokens; an error ends this row alone. Return the number of correct guesses."""
    try:
        return row.extend(logits, draft, likeliest)
    except Exception as error:
        row.fail(error)
        return 0


def _check_finite(logits: Tensor) -> None:
    """Raise an error where the first logits of a text are not finite; later logits are not checked."""
    if not math.isfinite(logits.sum()):
        raise NemotronInputError("model: the logits of a prompt are not finite, expected finite weights and embeddings")


def _result(row: Row) -> Result:
    hidden = torch.cat(row.hidden)[: len(row.tokens)] if row.hidden else None
    return Result(row.tokens, row.finish, row.stats, hidden, row.prompt_hidden, row.error)
