"""The training of perception: seeded step by step, resumable to the same bytes."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alpamayo.parallel import Progress
from alpamayo.training.perception.samples import PerceptionSamples, disturbed
from alpamayo_sim.errors import InputError
from alpamayo_vla_model.perception.losses import perception_losses
from alpamayo_vla_model.perception.network import PerceptionNetwork

SAVE_EVERY_STEPS = 100
NOTE_EVERY_STEPS = 20


@dataclass(frozen=True)
class PerceptionSettings:
    """Settings of a training.

    The learning rate rises over ``warm_up`` steps and falls as a cosine to the last of ``steps``.
    """

    steps: int = 6000
    batch: int = 16
    learning_rate: float = 1.5e-3
    warm_up: int = 150
    weight_decay: float = 0.02
    clip: float = 5.0
    ema: float = 0.998
    seed: int = 0


def train_perception(
    folder: Path,
    samples: PerceptionSamples,
    settings: PerceptionSettings,
    *,
    progress: Progress = lambda what, done, total: None,
    log: Callable[[str], None] = lambda line: None,
) -> PerceptionNetwork:
    """Train a network and return it with the averaged weights.

    ``folder/perception.pt`` is written every ``SAVE_EVERY_STEPS`` steps; a training that finds one resumes from it.

    Raises:
        InputError: there are no samples, or the state on disk belongs to other settings.
    """
    if not len(samples):
        raise InputError(f"{folder}: there are no samples for perception")
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    network = PerceptionNetwork()
    ema = {name: value.detach().clone() for name, value in network.state_dict().items()}
    decayed = [p for p in network.parameters() if p.ndim >= 2]
    plain = [p for p in network.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), fused=True)
    state, first = folder / "perception.pt", 0
    if state.is_file():
        stored = torch.load(state, weights_only=True)
        if stored["settings"] != asdict(settings):
            raise InputError(f"{state}: is the state of a training with other settings; train into another folder")
        network.load_state_dict(stored["network"])
        optimiser.load_state_dict(stored["optimiser"])
        ema, first = stored["ema"], int(stored["step"])
    began = time.monotonic()
    for step in range(first, settings.steps):
        losses = _step(network, optimiser, samples, settings, step)
        _average(network, ema, min(settings.ema, (1.0 + step) / (10.0 + step)))
        progress("perception", step + 1, settings.steps)
        if (step + 1) % NOTE_EVERY_STEPS == 0:
            row = {"step": step + 1, "s": round(time.monotonic() - began, 1)} | losses
            with (folder / "perception.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            log(" ".join(f"{name} {value:.3f}" for name, value in row.items()))
        if (step + 1) % SAVE_EVERY_STEPS == 0 or step + 1 == settings.steps:
            _save(state, network, ema, optimiser, settings, step + 1)
    network.load_state_dict(ema)
    return network.eval()


def _step(
    network: PerceptionNetwork,
    optimiser: torch.optim.Optimizer,
    samples: PerceptionSamples,
    settings: PerceptionSettings,
    step: int,
) -> dict[str, float]:
    rng = np.random.default_rng([settings.seed, step])
    warm = min((step + 1) / settings.warm_up, 1.0)
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * warm * (0.02 + 0.49 * (1.0 + math.cos(math.pi * step / settings.steps)))
    batch = samples.batch(samples.draw(settings.batch, rng))
    images = disturbed(batch.images, rng)
    now = network.features(images[:, 1], batch.rig)
    with torch.no_grad():  # a third less work; the stem learns from the newest frames alone
        earlier = network.features(images[:, 0], batch.rig)
    cells, road = network(now, earlier, batch.motion, batch.state, batch.route)
    losses = perception_losses(cells, road, batch.targets, batch.rig)
    optimiser.zero_grad(set_to_none=True)
    losses["total"].backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
    if bool(torch.isfinite(norm)):
        optimiser.step()
    return {name: round(float(value.detach()), 4) for name, value in losses.items()}


@torch.no_grad()
def _average(network: PerceptionNetwork, ema: dict[str, Tensor], decay: float) -> None:
    for name, value in network.state_dict().items():
        ema[name].lerp_(value, 1.0 - decay)


def _save(
    path: Path,
    network: PerceptionNetwork,
    ema: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    settings: PerceptionSettings,
    step: int,
) -> None:
    stored = {
        "settings": asdict(settings),
        "network": network.state_dict(),
        "ema": ema,
        "optimiser": optimiser.state_dict(),
        "step": step,
    }
    partial = path.with_name(path.name + ".partial")
    torch.save(stored, partial)
    partial.replace(path)
