"""The choice between versions of an operator, and gradients for kernels without a backward pass."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor


@cache
def has_triton() -> bool:
    """Return whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def on_gpu(x: Tensor) -> bool:
    """Return whether the Triton version of an operator takes this tensor."""
    return x.is_cuda and x.dtype != torch.float64 and has_triton()


def needs_gradient(*arguments: Any) -> bool:
    """Return whether autograd needs the gradient of any argument."""
    return torch.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in arguments)


def with_reference_gradient(kernel: Callable[..., Any], reference: Callable[..., Any], *arguments: Any) -> Any:
    """Run a kernel forward; backward recomputes the reference and differentiates it.

    Args:
        kernel: Called with all arguments.
        reference: The same function in differentiable operations.
        arguments: Tensors and plain values.
    """
    if not needs_gradient(*arguments):
        return kernel(*arguments)
    return _Recomputed.apply(kernel, reference, *arguments)  # type: ignore[no-untyped-call]


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Callable[..., Any], reference: Callable[..., Any], *arguments: Any) -> Any:
        ctx.reference = reference
        ctx.plain = [None if isinstance(a, Tensor) else a for a in arguments]
        ctx.positions = [i for i, a in enumerate(arguments) if isinstance(a, Tensor)]
        ctx.save_for_backward(*(arguments[i] for i in ctx.positions))
        return kernel(*arguments)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        arguments = list(ctx.plain)
        for position, tensor, wanted in zip(
            ctx.positions, ctx.saved_tensors, [ctx.needs_input_grad[i + 2] for i in ctx.positions], strict=True
        ):
            arguments[position] = tensor.detach().requires_grad_(wanted)
        with torch.enable_grad():
            outputs = ctx.reference(*arguments)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [(o, g) for o, g in zip(outputs, gradients, strict=True) if g is not None and o.requires_grad]
        inputs = [a for a in arguments if isinstance(a, Tensor) and a.requires_grad]
        found = iter(torch.autograd.grad([o for o, _ in pairs], inputs, [g for _, g in pairs], allow_unused=True))
        return (None, None, *(next(found) if isinstance(a, Tensor) and a.requires_grad else None for a in arguments))
