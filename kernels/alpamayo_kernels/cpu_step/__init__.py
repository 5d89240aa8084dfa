"""A few tokens through all blocks of a hybrid model in one call, on one core of a processor.

PyTorch spends as long on starting operators as on reading the weights of a small model. Here the whole step is one
function (``step.h``), compiled by Warp's own compiler for this machine, which reads every weight once, in one stream:
for that the weights are copied into panels first. Weights are float32, bfloat16 or int8; activations
and states float32. A token's result does not depend, to the last bit, on the other tokens of the call.
All functions may be called from several threads at once.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from alpamayo_kernels.cpu_step import native, tables
from alpamayo_kernels.cpu_step.native import available

__all__ = ["MOST_LINEAR_ROWS", "available", "checksum", "linear", "replay", "run", "tables"]

MOST_LINEAR_ROWS = 32  # up to here ``linear`` is faster than oneDNN


def run(step: tables.Step) -> None:
    """Run a step; its tables and the tensors behind them must be alive, and nothing in it is checked."""
    native.entry()(native.RUN, ctypes.addressof(step))


def replay(block: tables.Mamba, state: tables.State, time: int, counts: Tensor, out: Tensor) -> None:
    """Write to ``out`` the state after each sequence's first tokens of a step, by the rank-one factors it left.

    Args:
        block: Of the step.
        state: Of the step: ``ssm`` before it, ``convolved`` and ``dt`` from it.
        time: Tokens of the step.
        counts: Tokens to keep, ``[batch]``, int64.
        out: ``[batch, heads, head_dim, state]``, float32.
    """
    state = tables.State.from_buffer_copy(state)  # other threads may read the step's own
    state.ssm_out = tables.pointer(out)
    scratch = torch.empty(time * block.heads)
    arguments = (ctypes.addressof(block), ctypes.addressof(state), len(counts), time)
    native.entry()(native.REPLAY, *arguments, counts.data_ptr(), scratch.data_ptr())


def linear(x: Tensor, weight: tables.Weight) -> Tensor:
    """Return ``x W^T + b`` for ``[rows, in]`` float32."""
    x = x.contiguous()
    y = torch.empty(x.shape[0], weight.rows)
    native.entry()(native.MULTIPLY, ctypes.addressof(weight), x.data_ptr(), y.data_ptr(), x.shape[0])
    return y


def checksum(tensors: Sequence[Tensor]) -> int:
    """Return a checksum over all bytes of contiguous tensors on the CPU; their order counts."""
    pieces = (tables.Piece * len(tensors))(*(tables.Piece(tables.pointer(tensor), tensor.nbytes) for tensor in tensors))
    result = ctypes.c_ulonglong(0)
    native.entry()(native.CHECKSUM, ctypes.addressof(pieces), len(tensors), ctypes.addressof(result))
    return result.value
