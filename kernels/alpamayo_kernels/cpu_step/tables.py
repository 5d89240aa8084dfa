"""The structures of ``step.h`` as Python fills them; ``native`` compares their layout with the compiler's."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

_Pointer = ctypes.c_void_p
_Int = ctypes.c_longlong
_Float = ctypes.c_float
PANEL = 64
KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}


class Weight(ctypes.Structure):
    """A weight matrix ``[rows, cols]``, in place or in panels, with its row scales and bias if it has them."""

    _fields_ = [
        *((name, _Pointer) for name in ("data", "scale", "bias")),
        *((name, _Int) for name in ("rows", "cols", "kind", "panels")),
    ]


class Mamba(ctypes.Structure):
    """A Mamba-2 block."""

    _fields_ = [
        *((name, Weight) for name in ("in_proj", "out_proj")),
        *((name, _Pointer) for name in ("taps", "conv_bias", "A", "D", "dt_bias", "norm")),
        *((name, _Int) for name in ("heads", "head_dim", "groups", "size", "kernel")),
        *((name, _Float) for name in ("dt_min", "dt_max", "eps")),
    ]


class Attention(ctypes.Structure):
    """An attention block."""

    _fields_ = [
        *((name, Weight) for name in ("q", "k", "v", "o")),
        *((name, _Int) for name in ("heads", "kv_heads", "head_dim")),
    ]


class Experts(ctypes.Structure):
    """A mixture of experts; ``up`` and ``down`` are those of the first expert, the others lie behind it."""

    _fields_ = [
        *((name, Weight) for name in ("gate", "fc1", "fc2", "shared_up", "shared_down", "up", "down")),
        ("correction", _Pointer),
        *((name, _Int) for name in ("experts", "top", "groups", "top_groups", "normed")),
        ("scale", _Float),
    ]


class Dense(ctypes.Structure):
    """A dense MLP."""

    _fields_ = [("up", Weight), ("down", Weight)]


class Block(ctypes.Structure):
    """Any block: its pattern letter, its norm, and the fields of its kind."""

    _fields_ = [
        ("kind", _Int),
        ("norm", _Pointer),
        ("mamba", Mamba),
        ("attention", Attention),
        ("experts", Experts),
        ("dense", Dense),
    ]


class State(ctypes.Structure):
    """A block's state: Mamba-2 states before and after, or an attention block's slots; and its output."""

    _fields_ = [
        ("output", _Pointer),
        *((name, _Pointer) for name in ("conv", "ssm")),
        *((name, _Int) for name in ("conv_stride", "ssm_stride")),
        *((name, _Pointer) for name in ("window", "ssm_out", "convolved", "dt", "keys", "values")),
        *((name, _Int) for name in ("capacity", "prefix_capacity", "prefix_forks")),
        *((name, _Pointer) for name in ("prefix_keys", "prefix_values")),
    ]


class Step(ctypes.Structure):
    """One call: a few tokens of a few sequences."""

    _fields_ = [
        *((name, _Pointer) for name in ("blocks", "states")),
        *((name, _Int) for name in ("count", "batch", "time", "hidden")),
        *((name, _Pointer) for name in ("input", "output", "norm")),
        ("eps", _Float),
        *((name, _Int) for name in ("length", "prefix_length")),
        *((name, _Pointer) for name in ("valid", "scratch", "distinct", "joined", "input_norm", "joined_norm")),
        ("join", Weight),
    ]


class Piece(ctypes.Structure):
    """A piece of memory."""

    _fields_ = [("data", _Pointer), ("bytes", _Int)]


STRUCTURES = (Weight, Mamba, Attention, Experts, Dense, Block, State, Step, Piece)


def layout() -> dict[tuple[str, str], tuple[int, int]]:
    """Return offset and size of every field by structure and name; an empty name stands for the whole structure."""
    found = {}
    for structure in STRUCTURES:
        found[structure.__name__, ""] = (0, ctypes.sizeof(structure))
        for name, *_ in structure._fields_:
            field = getattr(structure, name)
            found[structure.__name__, name] = (field.offset, field.size)
    return found


def weight(data: Tensor, bias: Tensor | None = None, scale: Tensor | None = None) -> Weight:
    """Describe a matrix ``[rows, cols]`` in place; the tensors must outlive the description.

    Args:
        data: float32, bfloat16 or int8, contiguous.
        bias: float32, ``[rows]``.
        scale: bfloat16, ``[rows]``; for int8.
    """
    rows, cols = data.shape
    return Weight(pointer(data), pointer(scale), vector(bias), rows, cols, _kind(data), 0)


def in_panels(data: Tensor, panels: list[Tensor], bias: Tensor | None = None, scale: Tensor | None = None) -> Weight:
    """Describe a copy of a matrix ``[rows, cols]``, or of the first of ``[experts, rows, cols]``, in panels.

    A panel holds 64 rows, transposed: ``[rows / 64, cols, 64]``, padded with zeros.

    Args:
        data: As in ``weight``.
        panels: Receives the copy, which must outlive the description, as must the other tensors.
        bias: float32, ``[rows]``.
        scale: bfloat16, ``[rows]`` or ``[experts, rows]``; for int8.
    """
    *experts, rows, cols = data.shape
    padded = functional.pad(data.detach(), (0, 0, 0, -rows % PANEL))
    copy = padded.view(*experts, -1, PANEL, cols).transpose(-1, -2).contiguous()
    panels.append(copy)
    return Weight(pointer(copy), pointer(scale), vector(bias), rows, cols, _kind(data), 1)


def _kind(data: Tensor) -> int:
    if data.dtype not in KINDS:
        raise TypeError(f"expected float32, bfloat16 or int8 weights, got {data.dtype}")
    return KINDS[data.dtype]


def vector(tensor: Tensor | None) -> int | None:
    """Return the address of float32 numbers, or null."""
    if tensor is not None and tensor.dtype != torch.float32:
        raise TypeError(f"expected float32, got {tensor.dtype}")
    return pointer(tensor)


def scratch_floats(blocks: Iterable[Block], rows: int, hidden: int) -> int:
    """Return the numbers of scratch memory that a step over ``rows`` tokens takes at most."""
    return 4 * rows * hidden + max(_inside(block, rows) for block in blocks) + 64 * 16


def _inside(block: Block, rows: int) -> int:
    m, a, e = block.mamba, block.attention, block.experts
    mamba = rows * (m.in_proj.rows + m.heads * m.head_dim + m.heads) + 16 * rows
    attention = rows * (2 * a.heads + 2 * a.kv_heads) * a.head_dim + 6 * rows * a.heads
    experts = rows * (e.experts + 2 * e.top + 2 + e.up.rows + 2 * e.up.cols + e.shared_up.rows) + 3 * e.experts
    return max(mamba, attention, experts, rows * block.dense.up.rows)


def pointer(tensor: Tensor | None) -> int | None:
    """Return a contiguous tensor's address, or null."""
    if tensor is None:
        return None
    if not tensor.is_contiguous():
        raise TypeError(f"expected a contiguous tensor, got strides {tensor.stride()} for {tuple(tensor.shape)}")
    return tensor.data_ptr()
