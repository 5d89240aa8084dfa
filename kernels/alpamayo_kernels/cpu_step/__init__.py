"""A few tokens through all blocks of a hybrid model in one call, on one core of a processor.

PyTorch spends as long on starting operators as on reading the weights of a small model. Here the whole step is one
function (`step.h`), compiled by Warp's own compiler for the machine at hand, which reads every weight once, in one
stream: for that the weights are copied into panels on first use. Weights are float32, bfloat16 or int8; activations
and states float32. What one token gets is the same to the last bit whichever other tokens are in the call.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from alpamayo_kernels.cpu_step import native, tables
from alpamayo_kernels.cpu_step.native import available

__all__ = ["FEW_ROWS", "available", "linear", "replay", "run", "tables"]

FEW_ROWS = 32  # of `linear`; beyond, oneDNN is the faster one


def run(step: tables.Step) -> None:
    """Run a step; its tables and the tensors behind them must be alive, and nothing in it is checked."""
    native.entry()(native.RUN, ctypes.addressof(step))


def replay(block: tables.Mamba, state: tables.State, time: int, counts: Tensor, out: Tensor) -> None:
    """Write to `out` the state after each sequence's first tokens of a step, by the rank-one factors it left.

    Args:
        block: Of the step.
        state: Of the step: `ssm` before it, `convolved` and `dt` from it.
        time: Tokens of the step.
        counts: Tokens to keep, `[batch]`, int64.
        out: `[batch, heads, head_dim, state]`, float32.
    """
    state.ssm_out = tables.pointer(out)
    scratch = torch.empty(time * block.heads)
    arguments = (ctypes.addressof(block), ctypes.addressof(state), len(counts), time)
    native.entry()(native.REPLAY, *arguments, counts.data_ptr(), scratch.data_ptr())


def linear(x: Tensor, weight: tables.Weight) -> Tensor:
    """Return ``x W^T + b`` for `[rows, in]` float32."""
    x = x.contiguous()
    y = torch.empty(x.shape[0], weight.rows)
    native.entry()(native.MULTIPLY, ctypes.addressof(weight), x.data_ptr(), y.data_ptr(), x.shape[0])
    return y
