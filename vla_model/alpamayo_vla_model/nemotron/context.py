"""The attention context of one call: causal and padding masks, and where the cache continues."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alpamayo_kernels.attention import MASK_NUMBERS
from alpamayo_vla_model.nemotron.cache import NemotronCache
from alpamayo_vla_model.nemotron.padding import Padding


@dataclass(frozen=True)
class Context:
    """Arguments that all blocks of one call share.

    Attributes:
        mask: True where a query attends, ``[B or 1, 1, T, S]``; None for every slot.
        causal: The queries are the last of the keys' tokens, and each attends to itself and earlier ones.
        padding: Which columns are tokens; None without padding.
        start: First free slot of the cache.
        speculative: Leave the Mamba-2 states unchanged and keep what ``NemotronCache.commit`` needs.
    """

    mask: Tensor | None
    causal: bool
    padding: Padding | None
    start: int
    speculative: bool


def make_context(
    time: int, cache: NemotronCache | None, padding: Padding | None, device: torch.device, speculative: bool
) -> Context:
    """Return the context of a call with ``time`` tokens that continues ``cache``.

    Args:
        time: Tokens of the call, T.
        cache: The cache that the call continues; None for a call without one.
        padding: Of the call.
        device: Device of the masks.
        speculative: As in ``NemotronModel.forward``; without effect when there is no cache.
    """
    start = 0 if cache is None else cache.length
    past = 0 if cache is None else cache.tokens
    speculative = speculative and cache is not None
    if padding is None and (cache is None or cache.valid is None):
        if past == 0:
            return Context(None, True, None, start, speculative)
        if time == 1:
            return Context(None, False, None, start, speculative)
        large = device.type == "cuda" or time * (past + time) > MASK_NUMBERS
        if large and cache is not None and not cache.prefix_length:
            return Context(None, True, None, start, speculative)
        mask = torch.ones(time, past + time, dtype=torch.bool, device=device).tril(past)  # (T, S)
        return Context(mask[None, None], False, None, start, speculative)
    mask = _padded_mask(time, past, cache, padding, device)
    return Context(mask, False, padding, start, speculative)


def _padded_mask(
    time: int, past: int, cache: NemotronCache | None, padding: Padding | None, device: torch.device
) -> Tensor:
    """Return where a query attends, ``[B, 1, T, S]``; every query attends at least to itself."""
    batch = cache.batch if cache is not None else len(padding.mask)  # type: ignore[union-attr]
    ones = torch.ones(batch, time, dtype=torch.bool, device=device)
    old = ones.new_ones(batch, past) if cache is None or cache.valid is None else cache.valid
    valid = torch.cat([old, ones if padding is None else padding.ordered_mask], dim=1)  # (B, S)
    causal = torch.ones(time, past + time, dtype=torch.bool, device=device).tril(past)  # (T, S)
    diagonal = torch.eye(time, dtype=torch.bool, device=device)
    mask = valid[:, None, :] & causal  # (B, T, S)
    mask[..., past:] |= diagonal
    return mask[:, None]
