"""The training of perception: seeded step by step, resumable to the same bytes."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from alpamayo.parallel import Progress
from alpamayo.training.perception.samples import PerceptionSamples, disturbed
from alpamayo.training.state import (
    average,
    optimiser_of,
    read_state,
    resume,
    save_state,
    set_learning_rate,
    weights_digest,
    weights_of,
)
from alpamayo_sim.errors import InputError
from alpamayo_vla_model.perception.losses import perception_losses
from alpamayo_vla_model.perception.network import PerceptionNetwork

STATE_FILE = "perception.pt"
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
    start: PerceptionNetwork | None = None,
    progress: Progress = lambda what, done, total: None,
    log: Callable[[str], None] = lambda line: None,
) -> PerceptionNetwork:
    """Train a network and return it with the averaged weights.

    The state in ``folder`` is written every ``SAVE_EVERY_STEPS`` steps; a training that finds one resumes from it.

    Args:
        folder: folder of the state and of ``perception.jsonl``, the losses.
        samples: what to learn from.
        settings: limits, batch and optimiser.
        start: a network to begin from, instead of random weights; it is trained in place.
        progress: called with ("perception", steps done, steps).
        log: called with a line of text every ``NOTE_EVERY_STEPS`` steps.

    Raises:
        InputError: there are no samples, or the state on disk is damaged or belongs to other settings.
    """
    if not len(samples):
        raise InputError(f"{folder}: there are no samples for perception")
    folder.mkdir(parents=True, exist_ok=True)
    network = start or PerceptionNetwork(seed=settings.seed)
    network.train()
    optimiser = optimiser_of(network, settings.learning_rate, settings.weight_decay)
    ema, inputs = weights_of(network), _inputs(settings, start)
    path, first = folder / STATE_FILE, 0
    if path.exists():
        first = resume(path, read_state(path), inputs, network, optimiser, ema)
    began = time.monotonic()
    for step in range(first, settings.steps):
        losses = _step(network, optimiser, samples, settings, step)
        average(ema, network, settings.ema, step)
        progress("perception", step + 1, settings.steps)
        if (step + 1) % NOTE_EVERY_STEPS == 0:
            row = {"step": step + 1, "s": round(time.monotonic() - began, 1)} | losses
            with (folder / "perception.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            log(" ".join(f"{name} {value:.3f}" for name, value in row.items()))
        if (step + 1) % SAVE_EVERY_STEPS == 0 or step + 1 == settings.steps:
            parts = {"model": network.state_dict(), "ema": ema, "optimiser": optimiser.state_dict()}
            save_state(path, parts | {"inputs": inputs, "step": step + 1})
    network.load_state_dict(ema)
    return network.eval()


def _inputs(settings: PerceptionSettings, start: PerceptionNetwork | None) -> str:
    """Return what decides the result of a training on the same samples, as JSON."""
    first = None if start is None else weights_digest(start)
    return json.dumps(asdict(settings) | {"start": first}, sort_keys=True)


def _step(
    network: PerceptionNetwork,
    optimiser: torch.optim.Optimizer,
    samples: PerceptionSamples,
    settings: PerceptionSettings,
    step: int,
) -> dict[str, float]:
    rng = np.random.default_rng([settings.seed, step])
    used = step / settings.steps
    set_learning_rate(optimiser, settings.learning_rate, step, warm_up=settings.warm_up, used=used)
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
