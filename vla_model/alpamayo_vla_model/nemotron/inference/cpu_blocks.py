"""The weights and states of a stack of blocks as tables of addresses, and the compiled call that reads them."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from alpamayo_kernels import cpu_step
from alpamayo_kernels.cpu_step import tables
from alpamayo_vla_model.nemotron.cache import KeyValueState, MambaDraft, MambaState, NemotronCache
from alpamayo_vla_model.nemotron.config import NemotronConfig


@dataclass(frozen=True)
class MtpInput:
    """The modules in front of a multi-token-prediction block: two norms and the projection of what they return."""

    embedding_norm: Any
    hidden_norm: Any
    projection: Any


class BlockStack:
    """The weights of a stack of blocks in the layout of the compiled step; read-only once it is made.

    Args:
        config: The model's shape.
        pattern: One letter a block.
        layers: The blocks.
        norm: The norm after the last block.
        mtp_input: The modules in front of a multi-token-prediction block.

    Raises:
        TypeError: A weight has a dtype that the compiled step does not read.
    """

    def __init__(
        self, config: NemotronConfig, pattern: str, layers: Any, norm: Any, mtp_input: MtpInput | None = None
    ) -> None:
        self._config, self._pattern = config, pattern
        self._panels: list[Tensor] = []  # copies of the weights that the tables point to
        self._blocks = (tables.Block * len(pattern))()
        for block, letter, layer in zip(self._blocks, pattern, layers, strict=True):
            _fill(block, letter, layer, config, self._panels)
        self._norm = tables.vector(norm.weight)
        self._mtp_input = None if mtp_input is None else _mtp_input(mtp_input, self._panels)

    def run(
        self,
        x: Tensor,
        cache: NemotronCache,
        speculative: bool,
        *,
        hidden: Tensor | None = None,
        outputs: Mapping[int, Tensor] | None = None,
    ) -> tuple[Tensor, int]:
        """Run all blocks; the cache's states are replaced, its length is left to the caller.

        Args:
            x: Embeddings, ``[B, T, D]``.
            cache: Of the same batch.
            speculative: Leave the Mamba-2 states unchanged and keep what ``NemotronCache.commit`` needs.
            hidden: Hidden states that a multi-token-prediction block reads beside the embeddings, ``[B, T, D]``.
            outputs: Filled with the outputs of the named blocks, ``[B, T, D]`` each.

        Returns:
            The hidden states after the last norm, ``[B, T, D]``, and how many experts' weights were read, counted
            once a block.
        """
        batch, time, width = x.shape
        x = x.contiguous()
        out = torch.empty_like(x)
        states = _CallStates(self._config, self._pattern, cache, time)
        for index, tensor in (outputs or {}).items():
            states.table[index].output = tensor.data_ptr()
        scratch = torch.empty(tables.scratch_floats(self._blocks, batch * time, width))
        distinct, valid = ctypes.c_longlong(0), None if cache.valid is None else cache.valid.contiguous()
        step = tables.Step(
            ctypes.addressof(self._blocks), ctypes.addressof(states.table), len(self._blocks), batch, time, width,
            x.data_ptr(), out.data_ptr(), self._norm, self._config.norm_eps,
            cache.length, cache.prefix_length, tables.pointer(valid), scratch.data_ptr(), ctypes.addressof(distinct),
        )  # fmt: skip
        if hidden is not None and self._mtp_input is not None:
            hidden = hidden.contiguous()
            step.joined, (step.input_norm, step.joined_norm, step.join) = hidden.data_ptr(), self._mtp_input
        cpu_step.run(step)
        states.write_back(self._blocks, speculative)
        return out, distinct.value


class _CallStates:
    """The states of one call: memory for the new ones, and the table of where old and new ones are."""

    def __init__(self, c: NemotronConfig, pattern: str, cache: NemotronCache, time: int) -> None:
        self.table = (tables.State * len(pattern))()
        self._cache, self._time, count, batch = cache, time, pattern.count("M"), cache.batch
        if count:
            shape = (count, batch, c.mamba_num_heads, c.mamba_head_dim, c.ssm_state_size)
            self._ssm = torch.empty(shape).unbind(0)
            self._windows = torch.empty(count, batch, c.conv_kernel - 1 + time, c.conv_dim).unbind(0)
            self._convolved = torch.empty(count, batch, time, c.conv_dim)
            self._dt = torch.empty(count, batch, time, c.mamba_num_heads)
        index = 0
        for entry, state in zip(self.table, cache.layers, strict=True):
            if isinstance(state, MambaState):
                self._describe_mamba(entry, state, index)
                index += 1
            elif isinstance(state, KeyValueState):
                self._describe_slots(entry, state)

    def _describe_mamba(self, entry: tables.State, state: MambaState, index: int) -> None:
        conv, ssm = _contiguous_rows(state.conv), _contiguous_rows(state.ssm)
        entry.conv, entry.ssm = conv.data_ptr(), ssm.data_ptr()
        entry.conv_stride, entry.ssm_stride = conv.stride(0), ssm.stride(0)
        entry.window, entry.ssm_out = self._windows[index].data_ptr(), self._ssm[index].data_ptr()
        entry.convolved = self._convolved.data_ptr() + index * self._convolved.stride(0) * 4
        entry.dt = self._dt.data_ptr() + index * self._dt.stride(0) * 4
        state.conv, state.ssm = conv, ssm

    def _describe_slots(self, entry: tables.State, state: KeyValueState) -> None:
        state.reserve(self._cache.length, self._cache.length + self._time)
        entry.keys, entry.values, entry.capacity = state.keys.data_ptr(), state.values.data_ptr(), state.keys.shape[2]
        if state.prefix is not None:
            keys, values = state.prefix
            entry.prefix_keys, entry.prefix_values = keys.data_ptr(), values.data_ptr()
            entry.prefix_capacity = keys.stride(1) // keys.shape[3]
            entry.prefix_forks = self._cache.batch // keys.shape[0]

    def write_back(self, blocks: ctypes.Array[tables.Block], speculative: bool) -> None:
        """Give the new Mamba-2 states to the cache, or what a commit of a part of the tokens needs."""
        index = 0
        for number, state in enumerate(self._cache.layers):
            if not isinstance(state, MambaState):
                continue
            window, ssm = self._windows[index], self._ssm[index]
            if speculative:
                replay = _Replay(self, blocks[number].mamba, self.table[number], self._time, state.ssm)
                state.draft = MambaDraft(window, self._time, ssm, replay)
            else:
                state.conv, state.ssm = window[:, self._time :], ssm
            index += 1


@dataclass(frozen=True)
class _Replay:
    """Computes one block's state after a part of the tokens of a call, whose memory it keeps alive."""

    states: _CallStates
    block: tables.Mamba
    entry: tables.State
    time: int
    before: Tensor

    def __call__(self, counts: Tensor) -> Tensor:
        """Return the state after each sequence's first ``counts`` tokens, ``[B, H, P, N]``."""
        out = torch.empty(self.before.shape)
        cpu_step.replay(self.block, self.entry, self.time, counts.contiguous(), out)
        return out


def _contiguous_rows(m: Tensor) -> Tensor:
    """Return a tensor whose every row is contiguous; the same one where that holds."""
    return m if m[0].is_contiguous() else m.contiguous()


def _weight(module: Any, panels: list[Tensor]) -> tables.Weight:
    return tables.in_panels(module.weight, panels, module.bias, getattr(module, "scale", None))


def _mtp_input(modules: MtpInput, panels: list[Tensor]) -> tuple[int | None, int | None, tables.Weight]:
    norms = (tables.vector(norm.weight) for norm in (modules.embedding_norm, modules.hidden_norm))
    return (*norms, _weight(modules.projection, panels))  # type: ignore[return-value]


def _fill(block: tables.Block, letter: str, layer: nn.Module, c: NemotronConfig, panels: list[Tensor]) -> None:
    """Write one block's entry; copies of its weights are appended to ``panels``."""
    mixer: Any = layer.mixer
    block.kind, block.norm = ord(letter), tables.vector(layer.norm.weight)  # type: ignore[arg-type,union-attr]
    if letter == "M":
        block.mamba = _mamba(mixer, c, panels)
    elif letter == "*":
        weights = (_weight(m, panels) for m in (mixer.q_proj, mixer.k_proj, mixer.v_proj, mixer.o_proj))
        block.attention = tables.Attention(*weights, c.num_attention_heads, c.num_key_value_heads, c.head_dim)
    elif letter == "E":
        block.experts = _experts(mixer, c, panels)
    else:
        block.dense = tables.Dense(_weight(mixer.up_proj, panels), _weight(mixer.down_proj, panels))


def _mamba(mixer: Any, c: NemotronConfig, panels: list[Tensor]) -> tables.Mamba:
    with torch.no_grad():
        taps, A = mixer.conv1d.weight[:, 0].T.contiguous(), mixer.decay_rates()
    panels += [taps, A]
    vectors = (taps, mixer.conv1d.bias, A, mixer.D, mixer.dt_bias, mixer.norm.weight)
    shape = (c.mamba_num_heads, c.mamba_head_dim, c.n_groups, c.ssm_state_size, c.conv_kernel)
    pointers = (tables.vector(vector) for vector in vectors)
    projections = (_weight(mixer.in_proj, panels), _weight(mixer.out_proj, panels))
    return tables.Mamba(*projections, *pointers, *shape, *c.time_step_limit, c.norm_eps)


def _experts(mixer: Any, c: NemotronConfig, panels: list[Tensor]) -> tables.Experts:
    latent = (mixer.fc1_latent_proj, mixer.fc2_latent_proj)
    shared, routed = mixer.shared_experts, mixer.experts
    stored = ((getattr(routed, f"{n}_proj"), getattr(routed, f"{n}_scale", None)) for n in ("up", "down"))
    return tables.Experts(
        tables.in_panels(mixer.gate.weight, panels),
        *(tables.Weight() if m is None else _weight(m, panels) for m in latent),
        _weight(shared.up_proj, panels),
        _weight(shared.down_proj, panels),
        *(tables.in_panels(weights, panels, None, scale) for weights, scale in stored),
        tables.vector(mixer.gate.e_score_correction_bias),
        *(c.n_routed_experts, c.num_experts_per_tok, c.n_group, c.topk_group, int(c.norm_topk_prob)),
        c.routed_scaling_factor,
    )
