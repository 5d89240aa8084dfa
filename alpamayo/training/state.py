"""Parts that trainings share: optimiser, learning rate, averaged weights, and the state from which they resume."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alpamayo_sim.errors import InputError, is_machine_fault, one_line
from alpamayo_sim.io.files import check_regular, replacing

MAX_STATE_BYTES = 16 << 30
PARTS = {"inputs": str, "model": dict, "ema": dict, "optimiser": dict, "step": int}
"""What each stored state holds; ``inputs`` is what decides the result, as JSON."""
LEAST_RATE_SHARE = 0.02  # of the learning rate, at the end of a training


def optimiser_of(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return AdamW; the weights of matrices decay, those of vectors do not."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), fused=True)


def set_learning_rate(
    optimiser: torch.optim.Optimizer, highest: float, step: int, *, warm_up: int, used: float
) -> float:
    """Set and return the rate: it rises over ``warm_up`` steps and falls as a cosine of the ``used`` share."""
    warm = min((step + 1) / warm_up, 1.0)
    fall = 0.5 * (1.0 + math.cos(math.pi * used))
    rate = highest * warm * (LEAST_RATE_SHARE + (1.0 - LEAST_RATE_SHARE) * fall)
    for group in optimiser.param_groups:
        group["lr"] = rate
    return rate


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the weights, for their average to begin with."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def weights_digest(model: nn.Module) -> str:
    """Return a digest of the names and values of a model's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def descend(model: nn.Module, optimiser: torch.optim.Optimizer, clip: float) -> float:
    """Take a step along the gradients, clipped to a norm; none where they are not finite. Return their norm."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    if bool(torch.isfinite(norm)):
        optimiser.step()
    return float(norm)


@torch.no_grad()
def average(ema: dict[str, Tensor], model: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the model's; the first steps count more."""
    decay = min(decay, (1.0 + step) / (10.0 + step))
    for name, value in model.state_dict().items():
        ema[name].lerp_(value, 1.0 - decay)


def save_state(path: Path, stored: Mapping[str, Any]) -> None:
    """Write the state of a training; it appears whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    try:
        with replacing(path) as partial:
            torch.save(dict(stored), partial)
    except (OSError, RuntimeError) as error:  # PyTorch raises RuntimeError where it cannot write
        raise InputError(f"cannot write {path}: {one_line(str(error))[:200]}") from error


def read_state(path: Path, parts: Mapping[str, type] = PARTS) -> dict[str, Any]:
    """Read the state of an interrupted training, which is data only.

    Raises:
        InputError: it is damaged.
    """
    try:
        check_regular(path, MAX_STATE_BYTES)
        stored = torch.load(path, weights_only=True)
        if not isinstance(stored, dict) or not all(isinstance(stored.get(name), kind) for name, kind in parts.items()):
            raise ValueError("its parts are not those of a training")
    except Exception as error:  # a damaged file can raise nearly anything
        if is_machine_fault(error):
            raise
        raise damaged(path, error) from error
    return stored


def resume(
    path: Path,
    stored: Mapping[str, Any],
    inputs: str,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    ema: dict[str, Tensor],
) -> int:
    """Take over a stored state and return its step.

    Raises:
        InputError: it belongs to other settings, or its parts do not fit the model.
    """
    if stored["inputs"] != inputs:
        raise InputError(
            f"{path}: is the state of a training with other settings: {stored['inputs'][:300]}; train into another "
            "folder, or delete the file to start again"
        )
    try:
        model.load_state_dict(stored["model"])
        optimiser.load_state_dict(stored["optimiser"])
        for name, value in ema.items():
            value.copy_(stored["ema"][name])
    except Exception as error:
        if is_machine_fault(error):
            raise
        raise damaged(path, error) from error
    if stored["step"] < 0:
        raise damaged(path, ValueError("negative step or time"))
    return int(stored["step"])


def damaged(path: Path, error: Exception) -> InputError:
    """Return the error of a state that cannot be read."""
    return InputError(f"{path}: damaged ({one_line(str(error))[:200]}); delete it to train from the start")
