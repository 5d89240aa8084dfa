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
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from alpamayo_kernels.cpu_step import native, tables
from alpamayo_kernels.cpu_step.native import available

__all__ = [
    "MOST_LINEAR_ROWS",
    "Memory",
    "available",
    "checksum",
    "linear",
    "processor_features",
    "replay",
    "run",
    "tables",
]

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


class Memory:
    """The memory of some contiguous tensors on the CPU, to find out whether it was written to.

    The tensors must stay where they are.

    Args:
        tensors: Their order counts.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors, self._count = tuple(tensors), len(tensors)
        pieces = (tables.Piece(tables.pointer(tensor), tensor.nbytes) for tensor in tensors)
        self._pieces = (tables.Piece * self._count)(*pieces)

    def checksum(self) -> int:
        """Return a checksum over all bytes."""
        return self._hash(native.CHECKSUM)

    def probe(self) -> int:
        """Return a checksum over 64 bytes of each tensor: it costs next to nothing and sees what writes a whole one."""
        return self._hash(native.PROBE)

    def _hash(self, command: int) -> int:
        result = ctypes.c_ulonglong(0)
        native.entry()(command, ctypes.addressof(self._pieces), self._count, ctypes.addressof(result))
        return result.value


def checksum(tensors: Sequence[Tensor]) -> int:
    """Return a checksum over all bytes of contiguous tensors on the CPU; their order counts."""
    return Memory(tensors).checksum()


@cache
def processor_features() -> tuple[str, ...]:
    """Return which of the vector instructions that change results or speed this processor has, by Linux's names."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    flags = next((line for line in text.splitlines() if line.lower().startswith(("flags", "features"))), "")
    return tuple(sorted(_FEATURES & set(flags.partition(":")[2].split())))


_FEATURES = frozenset(
    {"amx_bf16", "amx_int8", "asimd", "avx", "avx2", "avx512_bf16", "avx512_vnni", "avx512f", "avx_vnni", "f16c", "fma",
     "sse4_2", "sve", "sve2"}
)  # fmt: skip
