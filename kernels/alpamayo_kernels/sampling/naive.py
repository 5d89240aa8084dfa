"""Choosing a token under a mask: the reference for the other versions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST_TEMPERATURE = 1e-6  # logits divided by less may overflow


def sample_masked(
    logits: Tensor,
    mask: Tensor | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    uniform: Tensor | None = None,
) -> Tensor:
    """Choose one token a row among those that the mask allows.

    With a temperature the choice is ``argmax(logits / temperature - log(-log u))``, which draws from the softmax
    (the Gumbel trick); the same uniform numbers give the same tokens.

    Args:
        logits: ``[B, V]``, float32.
        mask: True where a token is allowed, ``[B, V]``.
        temperature: Greedy below ``LEAST_TEMPERATURE``.
        top_p: Keep the smallest set of tokens with at least this probability, the likeliest one always; 0 to 1.
        uniform: Numbers in (0, 1), ``[B, V]``; needed with a temperature.

    Returns:
        Token indices ``[rows]``, int64.
    """
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    if is_greedy(temperature, top_p):
        return logits.argmax(-1)
    if uniform is None:
        raise ValueError("sampling with a temperature needs uniform numbers")
    logits = logits / temperature
    if top_p < 1:
        ordered, order = logits.softmax(-1).sort(-1, descending=True)
        dropped = (ordered.cumsum(-1) - ordered) >= top_p
        dropped[..., 0] = False
        logits = logits.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), -torch.inf)
    return (logits - torch.log(-torch.log(uniform))).argmax(-1)


def is_greedy(temperature: float, top_p: float) -> bool:
    """Return whether the likeliest token is taken.

    Raises:
        ValueError: A temperature that is not a finite number from 0, or a ``top_p`` outside 0 to 1.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"the temperature is {temperature}, expected a finite number from 0")
    if not 0 <= top_p <= 1:
        raise ValueError(f"top_p is {top_p}, expected 0 to 1")
    return temperature < LEAST_TEMPERATURE or top_p == 0
