"""The cache of a Nemotron model: its state between calls.

- A Mamba-2 block keeps the last inputs of its convolution and one state matrix a head: constant in size.
- An attention block keeps keys and values in slots. There is no positional encoding, so the order of slots and
  holes between them do not matter; ``valid`` marks those that a sequence attends to.
- States are replaced, never written in place, and slots are only appended. A snapshot is therefore a handful of
  references, a fork shares everything until it differs, and a rejected draft is undone exactly: the state is
  rebuilt from the one before the draft and the accepted tokens' rank-one factors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from alpamayo_kernels.ssd import ssd_scan
from alpamayo_vla_model.nemotron.padding import Padding

Rows = int | Sequence[int] | Tensor


@dataclass(frozen=True)
class MambaDraft:
    """The data needed to undo a part of the last tokens.

    Attributes:
        window: Inputs of the convolution, ``[batch, kernel - 1 + time, channels]``.
        time: Tokens of the draft.
        final: The state after all of them.
        replay: Returns the state after the first ``counts`` (``[batch]``) of them, from their rank-one factors.
    """

    window: Tensor
    time: int
    final: Tensor
    replay: Callable[[Tensor], Tensor]


@dataclass
class MambaState:
    """``conv`` is ``[batch, kernel - 1, channels]``, ``ssm`` is ``[batch, heads, head_dim, state]``.

    A float16 ``ssm`` is rounded stochastically with random bits from ``generator``.
    """

    conv: Tensor
    ssm: Tensor
    draft: MambaDraft | None = None
    generator: torch.Generator | None = None

    def rounded(self, ssm: Tensor) -> Tensor:
        """Return a new state in the type in which states are kept."""
        if self.ssm.dtype == torch.float16 and self.generator is not None:
            return stochastic_half(ssm, self.generator)
        return ssm.to(self.ssm.dtype)

    def rows(self, index: Tensor) -> MambaState:
        """Return the chosen sequences."""
        return MambaState(self.conv[index], self.ssm[index], None, self.generator)

    def fork(self, k: int) -> MambaState:
        """Return every sequence k times, without a copy for a single one."""
        return MambaState(_repeat(self.conv, k), _repeat(self.ssm, k), None, self.generator)

    def commit(self, n: int | Tensor) -> None:
        """Keep n of the drafted tokens (one number, or one for each sequence)."""
        draft, self.draft = self.draft, None
        if draft is None or (isinstance(n, int) and n == 0):
            return
        batch, past = self.conv.shape[:2]
        if isinstance(n, int):
            counts = torch.full((batch,), n, device=self.ssm.device)
            self.conv = draft.window[:, n : n + past]
        else:
            counts = n.expand(batch)
            self.conv = window_after(draft.window, counts, past)
        whole = isinstance(n, int) and n == draft.time
        self.ssm = self.rounded(draft.final if whole else draft.replay(counts))


def window_after(window: Tensor, counts: Tensor, past: int) -> Tensor:
    """Return the last ``past`` inputs of a convolution after each sequence's first ``counts`` (``[B]``) tokens.

    Args:
        window: ``past`` earlier inputs, then those of the call, ``[B, past + T, channels]``.
        counts: ``[B]``.
        past: Inputs that a state keeps.
    """
    offsets = counts[:, None] + torch.arange(past, device=counts.device)
    return window.take_along_dim(offsets[..., None], dim=1)


def stochastic_half(x: Tensor, generator: torch.Generator) -> Tensor:
    """Round float32 to float16, up or down at random so that the mean is exact; overflow becomes infinite.

    Args:
        x: Any shape.
        generator: Source of the random bits, on the same device as ``x``.
    """
    x = x.float()
    _, exponent = torch.frexp(x)
    step = torch.ldexp(torch.ones_like(x), exponent.clamp(min=-13) - 11)  # the gap between neighbours
    noise = torch.rand(x.shape, generator=generator, device=x.device)
    return (torch.floor(x / step + noise) * step).half()


def replay(state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, counts: Tensor) -> Tensor:
    """Return the state after each sequence's first ``counts`` tokens, from the rank-one factors ``dt x`` and ``B``."""
    kept = torch.arange(x.shape[1], device=counts.device) < counts[:, None]  # (B, T)
    return ssd_scan(x, dt * kept[..., None], A, B, torch.zeros_like(B), None, state, x.shape[1])[1]


@dataclass
class KeyValueState:
    """``keys`` and ``values`` are ``[batch, kv_heads, capacity, head_dim]``; slots under ``frozen`` are shared."""

    keys: Tensor
    values: Tensor
    frozen: int = 0
    prefix: tuple[Tensor, Tensor] | None = None

    def append(self, k: Tensor, v: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Write ``[batch, kv_heads, time, head_dim]`` from slot ``start`` on and return all up to there."""
        end = start + k.shape[2]
        if torch.is_grad_enabled() and k.requires_grad:
            self.keys = torch.cat([self.keys[:, :, :start], k], dim=2)
            self.values = torch.cat([self.values[:, :, :start], v], dim=2)
            return self.keys, self.values
        self.reserve(start, end)
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reserve(self, start: int, end: int) -> None:
        """Make the slots from ``start`` to ``end`` writable."""
        if end > self.keys.shape[2] or start < self.frozen:
            capacity = max(end, self.keys.shape[2], min(2 * self.keys.shape[2], end + 4096))
            self.keys, self.values = (_grown(m, start, capacity) for m in (self.keys, self.values))
            self.frozen = 0


LayerState = MambaState | KeyValueState | None


@dataclass(frozen=True)
class Snapshot:
    """A point to which a cache can return."""

    layers: tuple[LayerState, ...]
    length: int
    valid: Tensor | None
    epoch: int
    origin: NemotronCache


@dataclass(frozen=True)
class _Speculation:
    """A speculative call that waits for its commit."""

    time: int
    padding: Padding | None


@dataclass
class NemotronCache:
    """The state of a batch of sequences; made by ``NemotronModel.new_cache``.

    Attributes:
        layers: One state a block; None for blocks without a state.
        batch: Number of sequences.
        length: Slots in use, without those of the shared prefix.
        valid: True for slots (prefix first) that a sequence attends to, ``[batch, prefix + length]``; None for all.
        prefix_length: Slots of the prefix that forks share.
    """

    layers: list[LayerState]
    batch: int
    length: int = 0
    valid: Tensor | None = None
    prefix_length: int = 0
    _pending: _Speculation | None = None
    _rewinds: list[int] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Slots in use, the shared prefix included."""
        return self.prefix_length + self.length

    @property
    def nbytes(self) -> int:
        """Bytes that this cache holds by itself (a shared prefix is counted once)."""
        total = 0
        for state in self.layers:
            if isinstance(state, MambaState):
                total += state.conv.nbytes + state.ssm.nbytes
            elif isinstance(state, KeyValueState):
                held = [state.keys, state.values, *(state.prefix or ())]
                total += sum(m.nbytes for m in held)
        return total

    def advance(self, time: int, padding: Padding | None, speculative: bool) -> None:
        """Count the ``time`` new tokens of a call; a speculative call before it that was not committed is given up."""
        if speculative:
            self._pending = _Speculation(time, padding)
            return
        if self._pending is not None:
            self._pending = None
            for state in self.layers:
                if isinstance(state, MambaState):
                    state.draft = None
        self._extend(time, None if padding is None else padding.ordered_mask)

    def commit(self, n: int | Tensor) -> None:
        """Keep the first n columns of the last call, a speculative one.

        Args:
            n: One number, or one for each sequence, ``[B]``; padding among the columns does not count.

        Raises:
            ValueError: The last call was not speculative, or has fewer columns.
        """
        if self._pending is None:
            raise ValueError("there is nothing to commit: the last call was not speculative, or is committed")
        time, padding = self._pending.time, self._pending.padding
        low, most = _checked_counts(n, self.batch, time)
        if padding is not None:
            n = padding.kept(n if isinstance(n, int) else n.expand(self.batch))
            low, most = _bounds(n)
        n = most if low == most else n
        for state in self.layers:
            if isinstance(state, MambaState):
                state.commit(n)
        self._pending = None
        slots = None if isinstance(n, int) else torch.arange(most, device=n.device) < n[:, None]
        self._extend(most, slots)
        self._rewinds.append(self.length)

    def snapshot(self) -> Snapshot:
        """Return a point to which ``restore`` goes back; it holds references, not copies."""
        layers = tuple(None if s is None else replace(s) for s in self.layers)
        return Snapshot(layers, self.length, self.valid, len(self._rewinds), self)

    def restore(self, point: Snapshot) -> None:
        """Return to a snapshot.

        Raises:
            ValueError: The slots of the snapshot were overwritten after an earlier return, or it is of another cache.
        """
        if point.origin is not self:
            raise ValueError("the snapshot is of another cache")
        if min(self._rewinds[point.epoch :], default=point.length) < point.length:
            raise ValueError("the snapshot lies in a branch that was given up")
        for index, saved in enumerate(point.layers):
            state = self.layers[index]
            if isinstance(saved, MambaState):
                self.layers[index] = replace(saved)
            elif isinstance(state, KeyValueState) and isinstance(saved, KeyValueState) and state.prefix is None:
                state.prefix = saved.prefix
        self.length, self.valid, self._pending = point.length, point.valid, None
        self._rewinds.append(point.length)

    def forget(self, latest: int) -> None:
        """Drop all attention slots but the ``latest`` ones, for streams without end; earlier snapshots are void.

        Without positions in the attention, slots can go without anything else changing. The Mamba-2 states, which
        hold all of the stream, stay unchanged.
        """
        if self.prefix_length or self._pending is not None:
            raise ValueError("a cache with a shared prefix or a pending draft cannot forget")
        if latest < 0:
            raise ValueError(f"cannot keep {latest} slots, expected 0 or more")
        drop = self.length - latest
        if drop <= 0:
            return
        for state in self.layers:
            if isinstance(state, KeyValueState):
                state.keys, state.values = (m[:, :, drop : self.length].clone() for m in (state.keys, state.values))
                state.frozen = 0
        self.length, self.valid = latest, None if self.valid is None else self.valid[:, drop:]
        self._rewinds.append(0)

    def fork(self, k: int) -> NemotronCache:
        """Return a cache of k sequences for each one here, side by side; the keys so far are shared."""
        if k < 1:
            raise ValueError(f"cannot fork a cache {k} times, expected 1 or more")
        if self.prefix_length:
            return self._own().fork(k)
        layers: list[LayerState] = []
        for state in self.layers:
            if isinstance(state, MambaState):
                layers.append(state.fork(k))
            elif isinstance(state, KeyValueState):
                layers.append(self._fork_keys(state, k))
            else:
                layers.append(None)
        valid = None if self.valid is None else self.valid.repeat_interleave(k, dim=0)
        return NemotronCache(layers, self.batch * k, 0, valid, self.length)

    def select(self, rows: Rows) -> NemotronCache:
        """Return a cache of the chosen sequences, in the order given, without the slots that none of them needs."""
        listed = [rows] if isinstance(rows, int) else [int(i) for i in rows]
        if not all(0 <= row < self.batch for row in listed):
            raise ValueError(f"there are no sequences {listed}, expected 0 to {self.batch - 1}")
        index = torch.tensor(listed, dtype=torch.long)
        layers: list[LayerState] = []
        for state in self.layers:
            if isinstance(state, MambaState):
                layers.append(state.rows(index.to(state.conv.device)))
            elif isinstance(state, KeyValueState):
                layers.append(self._select_keys(state, index.to(state.keys.device)))
            else:
                layers.append(None)
        valid = None if self.valid is None else self.valid[index.to(self.valid.device)]
        return NemotronCache(layers, len(listed), self.length, valid, self.prefix_length)._compacted()

    @staticmethod
    def stack(caches: Sequence[NemotronCache]) -> NemotronCache:
        """Return one cache of the sequences of several; it has the slots that the longest of them needs."""
        own = [cache._own()._compacted() for cache in caches]
        longest = max(cache.length for cache in own)
        layers: list[LayerState] = []
        for states in zip(*(cache.layers for cache in own), strict=True):
            mamba = [state for state in states if isinstance(state, MambaState)]
            keyed = [state for state in states if isinstance(state, KeyValueState)]
            if mamba:
                conv, ssm = torch.cat([s.conv for s in mamba]), torch.cat([s.ssm for s in mamba])
                layers.append(MambaState(conv, ssm, None, mamba[0].generator))
            elif keyed:
                pairs = [
                    (_grown(s.keys, c.length, longest), _grown(s.values, c.length, longest))
                    for s, c in zip(keyed, own, strict=True)
                ]
                layers.append(KeyValueState(torch.cat([p[0] for p in pairs]), torch.cat([p[1] for p in pairs])))
            else:
                layers.append(None)
        valid = _stacked_valid(own, longest)
        return NemotronCache(layers, sum(cache.batch for cache in own), longest, valid)

    def _compacted(self) -> NemotronCache:
        """Return this cache with each sequence's slots side by side; slots between them would add up in a service."""
        if self.valid is None or self.prefix_length:
            return self
        counts = self.valid.sum(dim=1)
        longest = int(counts.max()) if len(counts) else 0
        if longest == self.length:
            return self
        kept = self.valid.logical_not().long().argsort(dim=1, stable=True)[:, :longest]
        layers: list[LayerState] = []
        for state in self.layers:
            if isinstance(state, KeyValueState):
                slots = kept.to(state.keys.device)[:, None, :, None]
                keys, values = (m.take_along_dim(slots, dim=2) for m in (state.keys, state.values))
                layers.append(KeyValueState(keys, values))
            else:
                layers.append(state)
        used = torch.arange(longest, device=counts.device) < counts[:, None]
        return NemotronCache(layers, self.batch, longest, None if bool(used.all()) else used)

    def _extend(self, time: int, padding_mask: Tensor | None) -> None:
        if padding_mask is not None or self.valid is not None:
            device = padding_mask.device if padding_mask is not None else self.valid.device  # type: ignore[union-attr]
            old = self._all(self.tokens, device) if self.valid is None else self.valid
            self.valid = torch.cat([old, self._all(time, device) if padding_mask is None else padding_mask], dim=1)
        self.length += time

    def _all(self, slots: int, device: torch.device) -> Tensor:
        return torch.ones(self.batch, slots, dtype=torch.bool, device=device)

    def _fork_keys(self, state: KeyValueState, k: int) -> KeyValueState:
        state.frozen = max(state.frozen, self.length)
        prefix = (state.keys[:, :, : self.length], state.values[:, :, : self.length])
        _, heads, _, head_dim = state.keys.shape
        empty = state.keys.new_empty(self.batch * k, heads, 0, head_dim)
        return KeyValueState(empty, empty.clone(), 0, prefix)

    def _select_keys(self, state: KeyValueState, index: Tensor) -> KeyValueState:
        keys, values = (m[:, :, : self.length][index] for m in (state.keys, state.values))
        if state.prefix is None:
            return KeyValueState(keys, values)
        forks = self.batch // state.prefix[0].shape[0]
        groups = index // forks
        first, last = int(groups[0]), int(groups[-1])
        if first == last and bool((groups == first).all()):
            shared = tuple(m[first : first + 1] for m in state.prefix)
        else:
            shared = tuple(m[groups] for m in state.prefix)
        return KeyValueState(keys, values, 0, (shared[0], shared[1]))

    def _own(self) -> NemotronCache:
        """Return this cache with the shared prefix copied into each sequence's own slots."""
        if not self.prefix_length:
            return self
        layers: list[LayerState] = []
        for state in self.layers:
            if isinstance(state, KeyValueState) and state.prefix is not None:
                forks = self.batch // state.prefix[0].shape[0]
                pairs = zip(state.prefix, (state.keys, state.values), strict=True)
                k, v = (torch.cat([_repeat(p, forks), m[:, :, : self.length]], dim=2) for p, m in pairs)
                layers.append(KeyValueState(k, v))
            else:
                layers.append(None if state is None else replace(state))
        return NemotronCache(layers, self.batch, self.tokens, self.valid)


def _checked_counts(n: int | Tensor, batch: int, time: int) -> tuple[int, int]:
    """Return the least and the largest number of tokens to keep; raise ValueError for numbers that cannot be."""
    if isinstance(n, Tensor):
        whole = not (n.is_floating_point() or n.is_complex() or n.dtype == torch.bool)
        if not whole or n.shape not in ((), (1,), (batch,)):
            raise ValueError(f"cannot commit {n.dtype} {list(n.shape)}, expected one whole number or [{batch}] of them")
        low, high = _bounds(n)
    elif isinstance(n, int) and not isinstance(n, bool):
        low = high = n
    else:
        raise ValueError(f"cannot commit {n!r} tokens, expected a whole number")
    if not 0 <= low <= high <= time:
        raise ValueError(f"cannot commit {low if low < 0 else high} of {time} speculative tokens")
    return low, high


def _bounds(counts: Tensor) -> tuple[int, int]:
    """Return the least and the largest of some counts; zeros where there are none."""
    if not counts.numel():
        return 0, 0
    low, high = torch.aminmax(counts)
    return int(low), int(high)


def _repeat(m: Tensor, k: int) -> Tensor:
    return m.expand(k, *m.shape[1:]) if m.shape[0] == 1 else m.repeat_interleave(k, dim=0)


def _grown(m: Tensor, used: int, capacity: int) -> Tensor:
    batch, heads, _, head_dim = m.shape
    bigger = m.new_zeros(batch, heads, capacity, head_dim)
    bigger[:, :, :used] = m[:, :, :used]
    return bigger


def _stacked_valid(caches: Sequence[NemotronCache], longest: int) -> Tensor | None:
    if all(cache.valid is None and cache.length == longest for cache in caches):
        return None
    parts = []
    for cache in caches:
        part = torch.zeros(cache.batch, longest, dtype=torch.bool)
        part[:, : cache.length] = True if cache.valid is None else cache.valid.cpu()
        parts.append(part)
    state = next((s for s in caches[0].layers if s is not None), None)
    device = state.keys.device if isinstance(state, KeyValueState) else getattr(state, "ssm", parts[0]).device
    return torch.cat(parts).to(device)
