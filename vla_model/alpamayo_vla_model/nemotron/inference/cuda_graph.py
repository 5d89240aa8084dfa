"""Greedy decoding where a whole step is one CUDA graph: embedding, all blocks, the choice of the token.

All tensors of a step have fixed addresses: states are copied back to where they were read, keys go to the slot that a
tensor names, and the attention mask covers the full capacity. Graphs are captured once a batch size (rounded
up to a power of two, the other rows idle) and replayed for every token. On a CPU the same step runs uncaptured.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from alpamayo_vla_model.nemotron.cache import KeyValueState, LayerState, MambaState, NemotronCache
from alpamayo_vla_model.nemotron.context import Context
from alpamayo_vla_model.nemotron.errors import NemotronInputError
from alpamayo_vla_model.nemotron.model import NemotronModel

NOT_FINITE = -1  # in place of a token that follows from no number


def likeliest_tokens(logits: Tensor) -> list[int]:
    """Return the likeliest token of each row of ``[B, V]``; ``NOT_FINITE`` where its logit is not finite."""
    top, index = logits.max(-1)
    found: list[int] = torch.where(torch.isfinite(top), index, NOT_FINITE).tolist()
    return found


class FixedSlots(KeyValueState):
    """Attention slots whose next free index is a tensor ``[1]``."""

    position: Tensor

    def append(self, k: Tensor, v: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Write ``[batch, kv_heads, 1, head_dim]`` to the slot at ``position`` and return all slots."""
        self.keys.index_copy_(2, self.position, k)
        self.values.index_copy_(2, self.position, v)
        return self.keys, self.values


class FixedStep:
    """One greedy step of a batch at fixed addresses.

    Args:
        model: In evaluation mode.
        batch: Rows.
        capacity: Most slots, prompt and new tokens together.

    Attributes:
        tokens: The last tokens, ``[B, 1]``; a step replaces them by the next ones.
        logits: Of the last step, ``[batch, vocab]``; the next one overwrites them.
        length: Slots in use.
    """

    def __init__(self, model: NemotronModel, batch: int, capacity: int) -> None:
        self.model, self.batch, self.capacity, self.length = model, batch, capacity, 0
        device = model.device
        self.tokens = torch.zeros(batch, 1, dtype=torch.long, device=device)
        self.logits = torch.zeros(batch, model.config.vocab_size, device=device)
        self._top = torch.zeros(batch, 1, device=device)
        self._position = torch.zeros(1, dtype=torch.long, device=device)
        self._mask = torch.zeros(batch, 1, 1, capacity, dtype=torch.bool, device=device)
        cache = model.new_cache(batch, capacity=capacity)
        self._states = [_fixed(state, self._position) for state in cache.layers]
        self._graph: torch.cuda.CUDAGraph | None = None

    @torch.no_grad()
    def load(self, caches: Sequence[NemotronCache], tokens: Sequence[int]) -> None:
        """Load prefilled sequences, one a row, each with its next token."""
        whole = NemotronCache.stack(caches)
        rows, length = whole.batch, whole.length
        valid = whole.valid if whole.valid is not None else torch.ones(rows, length, dtype=torch.bool)
        self._mask.zero_()
        self._mask[:rows, 0, 0, :length] = valid.to(self._mask.device)
        self._position.fill_(length)
        self.length = length
        self.tokens.zero_()
        self.tokens[:rows, 0] = torch.tensor(tokens, device=self.tokens.device)
        for fixed, state in zip(self._states, whole.layers, strict=True):
            if isinstance(fixed, MambaState) and isinstance(state, MambaState):
                fixed.conv[:rows], fixed.ssm[:rows] = state.conv, state.ssm
            elif isinstance(fixed, FixedSlots) and isinstance(state, KeyValueState):
                fixed.keys[:rows, :, :length] = state.keys[:, :, :length]
                fixed.values[:rows, :, :length] = state.values[:, :, :length]

    @torch.no_grad()
    def unload(self, rows: int) -> NemotronCache:
        """Return the state of the first rows, in tensors of its own."""
        layers: list[LayerState] = []
        for state in self._states:
            if isinstance(state, MambaState):
                layers.append(MambaState(state.conv[:rows].clone(), state.ssm[:rows].clone()))
            elif isinstance(state, FixedSlots):
                keys, values = (slots[:rows, :, : self.length].clone() for slots in (state.keys, state.values))
                layers.append(KeyValueState(keys, values))
            else:
                layers.append(None)
        return NemotronCache(layers, rows, self.length, self._mask[:rows, 0, 0, : self.length].clone())

    @torch.no_grad()
    def feed(self, tokens: Sequence[int]) -> tuple[list[int], Tensor]:
        """Read one given token a row; return ``likeliest_tokens`` and the logits ``[B, V]``."""
        rows = len(tokens)
        self.tokens[:rows, 0] = torch.tensor(tokens, device=self.tokens.device)
        found = self.run()
        next_tokens = torch.where(torch.isfinite(self._top), found, NOT_FINITE)
        likeliest: list[int] = next_tokens[:rows, 0].tolist()
        return likeliest, self.logits[:rows]

    @torch.no_grad()
    def run(self) -> Tensor:
        """Decode one token a row; return ``tokens``."""
        if self._graph is not None:
            self._graph.replay()
        else:
            self._step()
        self.length += 1
        return self.tokens

    @torch.no_grad()
    def capture(self) -> None:
        """Record the step as a CUDA graph; ``load`` afterwards, since the rehearsal before it moves the states."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        self._graph = graph

    def _step(self) -> None:
        self._mask.index_fill_(3, self._position, True)
        context = Context(self._mask, False, None, 0, False)
        x = self.model.embed(self.tokens)
        for layer, state in zip(self.model.layers, self._states, strict=True):
            before = (state.conv, state.ssm) if isinstance(state, MambaState) else None
            x = layer(x, state, context)
            if isinstance(state, MambaState) and before is not None:
                before[0].copy_(state.conv)
                before[1].copy_(state.ssm)
                state.conv, state.ssm = before
        self.logits.copy_(self.model.logits(self.model.norm_f(x))[:, 0])
        top, index = self.logits.max(-1, keepdim=True)
        self._top.copy_(top)
        self.tokens.copy_(index)
        self._position += 1


class GraphDecoder:
    """Greedy texts of several prompts at once, one graph a batch bucket.

    Args:
        model: In evaluation mode.
        capacity: Most tokens of a prompt and its text together.
    """

    def __init__(self, model: NemotronModel, capacity: int = 4096) -> None:
        limit = model.config.max_position_embeddings
        if not 0 < capacity <= limit:
            raise NemotronInputError(f"graph decoder: the capacity is {capacity}, expected 1 to the context of {limit}")
        self.model, self.capacity = model, capacity
        self._steps: dict[int, FixedStep] = {}

    @torch.no_grad()
    def generate(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[list[int]]:
        """Return the greedy continuations, each up to its end token (included).

        Args:
            prompts: Tokens, at least one each.
            max_tokens: Most tokens of a continuation.

        Raises:
            NemotronInputError: A prompt is empty, or leaves no room.
        """
        longest = max((len(prompt) for prompt in prompts), default=0)
        if not longest or not all(prompts):
            raise NemotronInputError("graph decoder: a prompt is empty, expected at least one token")
        if max_tokens < 1 or longest + max_tokens > self.capacity:
            raise NemotronInputError(
                f"graph decoder: {longest} prompt tokens and {max_tokens} new ones, expected at least one new one "
                f"and at most {self.capacity} together"
            )
        step, first = self._started(prompts)
        found = [first] + [step.run()[: len(prompts), 0].clone() for _ in range(max_tokens - 1)]
        ends = self.model.config.eos_token_ids
        return [_until(row, ends) for row in torch.stack(found, 1).tolist()]

    def _started(self, prompts: Sequence[Sequence[int]]) -> tuple[FixedStep, Tensor]:
        step, caches, tokens = self.step_for(len(prompts)), [], []
        for prompt in prompts:
            cache = self.model.new_cache(1)
            ids = torch.tensor([list(prompt)], device=self.model.device)
            hidden = self.model(ids, cache=cache, return_hidden=True)
            tokens.append(int(self.model.logits(hidden[0, -1:]).argmax()))
            caches.append(cache)
        step.load(caches, tokens)
        return step, torch.tensor(tokens, device=self.model.device)

    def step_for(self, batch: int) -> FixedStep:
        """Return the step of a batch's bucket, captured on first use if it is on a GPU."""
        bucket = 1 << (batch - 1).bit_length()
        if bucket not in self._steps:
            step = FixedStep(self.model, bucket, self.capacity)
            if self.model.device.type == "cuda":
                step.capture()
            self._steps[bucket] = step
        return self._steps[bucket]


def _fixed(state: MambaState | KeyValueState | None, position: Tensor) -> MambaState | FixedSlots | None:
    if not isinstance(state, KeyValueState):
        return state
    slots = FixedSlots(state.keys, state.values)
    slots.position = position
    return slots


def _until(tokens: list[int], ends: tuple[int, ...]) -> list[int]:
    stop = next((index + 1 for index, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[:stop]
