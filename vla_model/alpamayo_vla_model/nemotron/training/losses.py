"""Training losses and router updates of a Nemotron model, and deterministic mode."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from alpamayo_vla_model.nemotron.model import NemotronModel, Router

IGNORED = -100


@dataclass(frozen=True)
class Routing:
    """The routing of one call of one router: logits ``[tokens, experts]`` and chosen experts ``[tokens, k]``."""

    router: Router
    logits: Tensor
    index: Tensor


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of ``logits[:, t]`` against ``targets[:, t + 1]``; targets of -100 do not count.

    Args:
        logits: ``[batch, time, vocab]``.
        targets: ``[batch, time]``.
    """
    return _cross_entropy(logits[:, :-1], targets[:, 1:])


def mtp_loss(model: NemotronModel, hidden: Tensor, tokens: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return the loss of the multi-token-prediction block, averaged over its steps.

    Step k reads the output of step k - 1 (the model's hidden states for k = 1) and the embedding of the token k
    ahead, and predicts the token k + 1 ahead; all steps share their weights.

    Args:
        model: With an MTP block; ``config.num_nextn_predict_layers`` steps are taken (at least one).
        hidden: Of the model, after the last norm, ``[batch, time, hidden]``.
        tokens: ``[batch, time]``.
        targets: Shaped as ``tokens``, -100 where no loss counts; ``tokens`` when None.
    """
    if model.mtp is None:
        raise ValueError("the model has no multi-token-prediction block")
    targets = tokens if targets is None else targets
    steps = max(1, model.config.num_nextn_predict_layers)
    if tokens.shape[1] < steps + 2:
        raise ValueError(f"{steps} steps need at least {steps + 2} tokens, got {tokens.shape[1]}")
    losses = []
    for step in range(1, steps + 1):
        hidden = model.mtp(hidden[:, :-1], model.embed(tokens[:, step:]))
        losses.append(_cross_entropy(model.logits(hidden[:, :-1]), targets[:, step + 1 :]))
    return torch.stack(losses).mean()


@contextmanager
def record_routing(model: NemotronModel) -> Iterator[list[Routing]]:
    """Collect the routing of every router in the calls made inside; leave before ``backward``.

    With recomputed activations a backward pass inside would be recorded a second time.
    """
    records: list[Routing] = []

    def note(router: Any, _: Any, output: tuple[Tensor, Tensor, Tensor]) -> None:
        records.append(Routing(router, output[2], output[1]))

    handles = [router.register_forward_hook(note) for router in model.routers()]
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()


def expert_load(routing: Routing) -> Tensor:
    """Return the share of choices that went to each expert, ``[experts]``, summing to one."""
    counts = torch.bincount(routing.index.flatten(), minlength=routing.logits.shape[-1])
    return counts / counts.sum()


def load_balancing_loss(records: list[Routing]) -> Tensor:
    """Return the auxiliary loss ``E sum_e f_e P_e``, averaged over routers; one when all is balanced.

    f is the share of choices of an expert, P its mean share of the sigmoid scores (DeepSeek-V3,
    arXiv 2412.19437, equations 17 to 20, over the batch).
    """
    losses = []
    for routing in records:
        scores = routing.logits.sigmoid()
        share = (scores / scores.sum(-1, keepdim=True)).mean(0)
        losses.append(len(share) * (expert_load(routing) * share).sum())
    return torch.stack(losses).mean()


@torch.no_grad()
def update_router_bias(records: list[Routing], rate: float = 1e-3, group: dist.ProcessGroup | None = None) -> None:
    """Raise the choice bias of experts with less than their share of tokens and lower the others' by ``rate``.

    The loss-free balancing of arXiv 2408.15664. Several records of one router count together.

    Args:
        records: Of all calls since the last update.
        rate: Step of the bias.
        group: Processes that train the same model on other tokens; their loads count too.
    """
    loads: dict[Router, Tensor] = {}
    for routing in records:
        loads[routing.router] = loads.get(routing.router, torch.zeros(())) + expert_load(routing)
    for router, load in loads.items():
        if group is not None:
            dist.all_reduce(load, group=group)
        router.e_score_correction_bias.add_(rate * torch.sign(load.mean() - load))


@contextmanager
def deterministic() -> Iterator[None]:
    """Make the same inputs give the same bytes inside, on one machine; an operation without such a version raises.

    The Triton kernels never add atomically. On a GPU this must be entered before cuBLAS is first used.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED)
