"""The model's way into the fused step: tokens through all blocks in one call, on the CPU.

It serves inference (decoding, verifying drafts, appending forced tokens, prefill) where everything is float32 but the
weights, which may be bfloat16 or int8. Elsewhere, and where it cannot be compiled, the general path runs.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from alpamayo_kernels import cpu_step as fused_step
from alpamayo_kernels.cpu_step import tables
from alpamayo_vla_model.nemotron.cache import KeyValueState, MambaDraft, MambaState, NemotronCache

if TYPE_CHECKING:
    from alpamayo_vla_model.nemotron.config import NemotronConfig

_known: weakref.WeakKeyDictionary[nn.Module, FusedBlocks] = weakref.WeakKeyDictionary()


@dataclass
class Joint:
    """What stands in front of a multi-token-prediction block: two norms and the projection that joins them."""

    enorm: Any
    hnorm: Any
    projection: Any


PIECE = 512  # tokens of a sequence that go through the blocks at once


def applies(x: Tensor, cache: NemotronCache | None, keep: Tensor | None) -> bool:
    """Whether a call is unpadded, and in float32 on a CPU without gradients."""
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and keep is None
        and x.numel() > 0
        and not torch.is_grad_enabled()
        and (cache is None or all(_plain(state) for state in cache.layers))
        and fused_step.available()
    )


def _plain(state: Any) -> bool:
    """Whether a state is float32 throughout."""
    if isinstance(state, MambaState):
        return state.ssm.dtype == torch.float32 and state.conv.dtype == torch.float32
    return not isinstance(state, KeyValueState) or state.keys.dtype == torch.float32


def blocks_of(
    owner: nn.Module, config: NemotronConfig, pattern: str, layers: Any, norm: Any, joint: Joint | None = None
) -> FusedBlocks | None:
    """Return the tables of a stack of blocks, made on first use and again when a weight has moved.

    Args:
        owner: The tables are kept as long as it lives.
        config: Of the model.
        pattern: A letter a block.
        layers: The blocks.
        norm: The last norm.
        joint: In front of a multi-token-prediction block.

    Returns:
        None where a weight is of a kind that the fused step does not read, or a module inside has a hook.
    """
    found = _known.get(owner)
    if found is None or not found.current():
        read = 0 if found is None else found.distinct
        found = FusedBlocks(config, pattern, layers, norm, joint)
        found.distinct = read
        _known[owner] = found
    return found if found.readable and not found.hooked() else None


def experts_read(owner: nn.Module) -> int:
    """Return how many experts' weights were read for a model so far, counted once a block and call."""
    found = _known.get(owner)
    return 0 if found is None else found.distinct


class FusedBlocks:
    """Tables of the weights of a stack of blocks, and calls with them.

    Attributes:
        readable: Whether all weights are of kinds that the step reads.
        distinct: Experts that were read so far, counted once a block and call.
    """

    def __init__(self, config: NemotronConfig, pattern: str, layers: Any, norm: Any, joint: Joint | None) -> None:
        self.config, self.distinct = config, 0
        self._pattern = pattern
        self._places = [(m._parameters, n) for layer in layers for m in layer.modules() for n in m._parameters]
        self._places += [(m._buffers, n) for layer in layers for m in layer.modules() for n in m._buffers]
        self._places += [(norm._parameters, "weight")]
        self._places = [(owner, name) for owner, name in self._places if owner[name] is not None]
        modules = [module for layer in layers for module in layer.modules()]
        self._hooks = [hooks for m in modules for hooks in (m._forward_hooks, m._forward_pre_hooks)]
        self._tensors = [owner[name] for owner, name in self._places]
        self._marks = self._state()
        self._panels: list[Tensor] = []
        self._blocks = (tables.Block * len(pattern))()
        plain = (Tensor, nn.Parameter)  # and not sharded ones, for example
        self.readable = all(tensor.device.type == "cpu" and type(tensor) in plain for tensor in self._tensors)
        try:
            if not self.readable:
                raise TypeError("weights are not at hand")
            for block, letter, layer in zip(self._blocks, pattern, layers, strict=True):
                _fill(block, letter, layer, config, self._panels)
            self._last_norm = tables.vector(norm.weight)
            self._join = None if joint is None else _join(joint, self._panels)
        except TypeError:
            self.readable = False
        pairs = zip(self._blocks, pattern, strict=True)
        self._mambas = [block.mamba if letter == "M" else None for block, letter in pairs]

    def current(self) -> bool:
        """Whether all weights are where and what they were."""
        same = all(owner[name] is tensor for (owner, name), tensor in zip(self._places, self._tensors, strict=True))
        return same and self._state() == self._marks

    def _state(self) -> list[int]:
        versions = [0 if tensor.is_inference() else tensor._version for tensor in self._tensors]
        return [*versions, *(tensor.data_ptr() for tensor in self._tensors)]

    def hooked(self) -> bool:
        """Whether somebody listens to a module inside, which the step would not call."""
        return any(self._hooks)

    def run(
        self,
        x: Tensor,
        cache: NemotronCache,
        tentative: bool,
        joined: Tensor | None = None,
        outputs: Mapping[int, Tensor] | None = None,
    ) -> Tensor:
        """Return the hidden states after the last norm; the cache's states go on, its length is left to the caller.

        Args:
            x: Embeddings, `[batch, time, hidden]`.
            cache: Of the same batch.
            tentative: Leave the Mamba-2 states as they are and remember how to go on.
            joined: The hidden states that a multi-token-prediction block joins with the embeddings.
            outputs: Filled with what the named blocks put out, `[batch, time, hidden]` each.
        """
        batch, time, hidden = x.shape
        x = x.contiguous()
        out = torch.empty_like(x)
        memory = _Memory(self.config, self._pattern, cache, time)
        for index, tensor in (outputs or {}).items():
            memory.states[index].output = tensor.data_ptr()
        scratch = torch.empty(tables.scratch_floats(self._blocks, batch * time, hidden))
        distinct, valid = ctypes.c_longlong(0), None if cache.valid is None else cache.valid.contiguous()
        step = tables.Step(
            ctypes.addressof(self._blocks), ctypes.addressof(memory.states), len(self._blocks), batch, time, hidden,
            x.data_ptr(), out.data_ptr(), self._last_norm, self.config.norm_eps,
            cache.length, cache.prefix_length, tables.pointer(valid), scratch.data_ptr(), ctypes.addressof(distinct),
        )  # fmt: skip
        if joined is not None and self._join is not None:
            joined = joined.contiguous()
            step.joined, (step.input_norm, step.joined_norm, step.join) = joined.data_ptr(), self._join
        fused_step.run(step)
        self.distinct += distinct.value
        memory.keep(self._mambas, tentative)
        return out


class _Memory:
    """States of a call: room for what comes out, and the table that says where all of it is."""

    def __init__(self, c: NemotronConfig, pattern: str, cache: NemotronCache, time: int) -> None:
        self.states = (tables.State * len(pattern))()
        self._cache, self._time, count, batch = cache, time, pattern.count("M"), cache.batch
        if count:
            shape = (count, batch, c.mamba_num_heads, c.mamba_head_dim, c.ssm_state_size)
            self._ssm = torch.empty(shape).unbind(0)
            self._windows = torch.empty(count, batch, c.conv_kernel - 1 + time, c.conv_dim).unbind(0)
            self._convolved = torch.empty(count, batch, time, c.conv_dim)
            self._dt = torch.empty(count, batch, time, c.mamba_num_heads)
        index = 0
        for table, state in zip(self.states, cache.layers, strict=True):
            if isinstance(state, MambaState):
                self._describe_mamba(table, state, index)
                index += 1
            elif isinstance(state, KeyValueState):
                self._describe_slots(table, state)

    def _describe_mamba(self, table: tables.State, state: MambaState, index: int) -> None:
        conv, ssm = _rows(state.conv), _rows(state.ssm)
        table.conv, table.ssm = conv.data_ptr(), ssm.data_ptr()
        table.conv_stride, table.ssm_stride = conv.stride(0), ssm.stride(0)
        table.window, table.ssm_out = self._windows[index].data_ptr(), self._ssm[index].data_ptr()
        table.convolved = self._convolved.data_ptr() + index * self._convolved.stride(0) * 4
        table.dt = self._dt.data_ptr() + index * self._dt.stride(0) * 4
        state.conv, state.ssm = conv, ssm

    def _describe_slots(self, table: tables.State, state: KeyValueState) -> None:
        state.reserve(self._cache.length, self._cache.length + self._time)
        table.keys, table.values, table.capacity = state.keys.data_ptr(), state.values.data_ptr(), state.keys.shape[2]
        if state.prefix is not None:
            keys, values = state.prefix
            table.prefix_keys, table.prefix_values = keys.data_ptr(), values.data_ptr()
            table.prefix_capacity = keys.stride(1) // keys.shape[3]
            table.prefix_forks = self._cache.batch // keys.shape[0]

    def keep(self, mambas: Sequence[tables.Mamba | None], tentative: bool) -> None:
        """Give the new states to the cache, or what is needed to go on by a part of the tokens."""
        index = 0
        for number, state in enumerate(self._cache.layers):
            if not isinstance(state, MambaState):
                continue
            window, ssm = self._windows[index], self._ssm[index]
            if tentative:
                state.draft = MambaDraft(window, self._time, ssm, _Replay(self, number, mambas[number], state.ssm))
            else:
                state.conv, state.ssm = window[:, self._time :], ssm
            index += 1

    def replay(self, number: int, block: Any, before: Tensor, counts: Tensor) -> Tensor:
        """Return one block's state after the first `counts` tokens of each sequence."""
        out = torch.empty(before.shape)
        fused_step.replay(block, self.states[number], self._time, counts.contiguous(), out)
        return out


@dataclass(frozen=True)
class _Replay:
    memory: _Memory
    number: int
    block: Any
    before: Tensor

    def __call__(self, counts: Tensor) -> Tensor:
        return self.memory.replay(self.number, self.block, self.before, counts)


def _rows(m: Tensor) -> Tensor:
    """Return a tensor whose every row is contiguous; the same one if it is so."""
    return m if m[0].is_contiguous() else m.contiguous()


def _weight(module: Any, keep: list[Tensor]) -> tables.Weight:
    return tables.in_panels(module.weight, keep, module.bias, getattr(module, "scale", None))


def _join(joint: Joint, keep: list[Tensor]) -> tuple[int | None, int | None, tables.Weight]:
    return tables.vector(joint.enorm.weight), tables.vector(joint.hnorm.weight), _weight(joint.projection, keep)


def _fill(block: tables.Block, letter: str, layer: Any, c: NemotronConfig, keep: list[Tensor]) -> None:
    block.kind, block.norm = ord(letter), tables.vector(layer.norm.weight)
    mixer = layer.mixer
    if letter == "M":
        block.mamba = _mamba(mixer, c, keep)
    elif letter == "*":
        weights = (_weight(m, keep) for m in (mixer.q_proj, mixer.k_proj, mixer.v_proj, mixer.o_proj))
        block.attention = tables.Attention(*weights, c.num_attention_heads, c.num_key_value_heads, c.head_dim)
    elif letter == "E":
        block.experts = _experts(mixer, c, keep)
    else:
        block.dense = tables.Dense(_weight(mixer.up_proj, keep), _weight(mixer.down_proj, keep))


def _mamba(mixer: Any, c: NemotronConfig, keep: list[Tensor]) -> tables.Mamba:
    with torch.no_grad():
        taps, A = mixer.conv1d.weight[:, 0].T.contiguous(), -torch.exp(mixer.A_log)
    keep += [taps, A]
    vectors = (taps, mixer.conv1d.bias, A, mixer.D, mixer.dt_bias, mixer.norm.weight)
    shape = (c.mamba_num_heads, c.mamba_head_dim, c.n_groups, c.ssm_state_size, c.conv_kernel)
    pointers = (tables.vector(vector) for vector in vectors)
    return tables.Mamba(
        _weight(mixer.in_proj, keep), _weight(mixer.out_proj, keep), *pointers, *shape, *c.time_step_limit, c.norm_eps
    )


def _experts(mixer: Any, c: NemotronConfig, keep: list[Tensor]) -> tables.Experts:
    latent = (mixer.fc1_latent_proj, mixer.fc2_latent_proj)
    shared, routed = mixer.shared_experts, mixer.experts
    stored = ((getattr(routed, f"{n}_proj"), getattr(routed, f"{n}_scale", None)) for n in ("up", "down"))
    return tables.Experts(
        tables.in_panels(mixer.gate.weight, keep),
        *(tables.Weight() if m is None else _weight(m, keep) for m in latent),
        _weight(shared.up_proj, keep),
        _weight(shared.down_proj, keep),
        *(tables.in_panels(weights, keep, None, scale) for weights, scale in stored),
        tables.vector(mixer.gate.e_score_correction_bias),
        *(c.n_routed_experts, c.num_experts_per_tok, c.n_group, c.topk_group, int(c.norm_topk_prob)),
        c.routed_scaling_factor,
    )
