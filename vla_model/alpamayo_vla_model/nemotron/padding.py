"""The padding of one call: which of its columns are tokens, and the order in which the blocks read them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Padding:
    """Where the padding of a call stands: left, right or between tokens.

    The blocks read each sequence's tokens first and its padding last. So a token never sees padding before it, in no
    block, and the state that is kept is the one after the last token.

    Attributes:
        mask: False at padding, in the caller's order, ``[B, T]``.
        counts: Tokens of each sequence, ``[B]``.
        order: Column of each place in the blocks' order, ``[B, T]``; None where that is the caller's order.
    """

    mask: Tensor
    counts: Tensor
    order: Tensor | None

    @property
    def ordered_mask(self) -> Tensor:
        """False at padding, in the blocks' order, ``[B, T]``."""
        return torch.arange(self.mask.shape[1], device=self.mask.device) < self.counts[:, None]

    def tokens_first(self, x: Tensor) -> Tensor:
        """Return ``[B, T, D]`` in the blocks' order, zero at padding."""
        if self.order is not None:
            x = x.gather(1, self.order[..., None].expand_as(x))
        return x.masked_fill(~self.ordered_mask[..., None], 0)

    def restored(self, x: Tensor) -> Tensor:
        """Return ``[B, T, D]`` in the caller's order."""
        return x if self.order is None else x.gather(1, self.order.argsort(1)[..., None].expand_as(x))

    def kept(self, columns: int | Tensor) -> Tensor:
        """Return how many tokens the first ``columns`` (one number, or ``[B]``) columns hold, ``[B]``."""
        place = torch.arange(self.mask.shape[1], device=self.mask.device)
        limit = columns if isinstance(columns, int) else columns[:, None]
        return (self.mask & (place < limit)).sum(1)


def read_padding(attention_mask: Tensor | None, x: Tensor) -> Padding | None:
    """Return the padding that a mask describes; None where there is none.

    Args:
        attention_mask: True (or 1) at tokens and False (or 0) at padding, ``[B, T]``.
        x: The inputs of the call, ``[B, T, D]``.

    Raises:
        ValueError: The mask has another shape, or other values, such as those that are added to scores.
    """
    if attention_mask is None:
        return None
    if attention_mask.shape != x.shape[:2]:
        raise ValueError(
            f"the attention mask is {list(attention_mask.shape)}, expected one number for each token of this call, "
            f"{list(x.shape[:2])}"
        )
    mask = attention_mask.to(x.device, torch.bool)
    additive = attention_mask.is_floating_point() and mask.numel() > 0 and not mask.any()
    if additive or (attention_mask.dtype != torch.bool and bool((attention_mask.to(x.device) != mask).any())):
        raise ValueError("the attention mask holds other values than 1 at tokens and 0 at padding")
    if mask.all():
        return None
    moved = bool((mask[:, 1:] & ~mask[:, :-1]).any())
    order = mask.int().argsort(dim=1, descending=True, stable=True) if moved else None
    return Padding(mask, mask.sum(1), order)
