"""The training of perception: seeded step by step, resumable to the same bytes."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alpamayo.parallel import Progress
from alpamayo.training.perception.samples import PerceptionSamples, disturbed
from alpamayo.training.state import weights_digest
from alpamayo.training.steps import StepSettings, train_by_steps
from alpamayo_sim.errors import InputError
from alpamayo_vla_model.perception.losses import perception_losses
from alpamayo_vla_model.perception.network import PerceptionNetwork


@dataclass(frozen=True)
class PerceptionSettings(StepSettings):
    """Settings of a training of perception."""

    steps: int = 6000
    batch: int = 16
    learning_rate: float = 1.5e-3
    warm_up: int = 150
    weight_decay: float = 0.02
    clip: float = 5.0
    ema: float = 0.998


def train_perception(
    folder: Path,
    samples: PerceptionSamples,
    settings: PerceptionSettings,
    *,
    start: PerceptionNetwork | None = None,
    progress: Progress = lambda what, done, total: None,
    log: Callable[[str], None] = lambda line: None,
) -> PerceptionNetwork:
    """Train a network and return it with the averaged weights; an interrupted training resumes, see ``train_by_steps``.

    Args:
        folder: folder of ``perception.pt``, the state, and of ``perception.jsonl``, the losses.
        samples: what to learn from.
        settings: limits, batch and optimiser.
        start: a network to begin from, instead of random weights; it is trained in place.
        progress: called with ("perception", steps done, steps).
        log: called with a line of text now and then.

    Raises:
        InputError: there are no samples, or the state on disk is damaged or belongs to other settings.
    """
    if not len(samples):
        raise InputError(f"{folder}: there are no samples for perception")
    network = start or PerceptionNetwork(seed=settings.seed)
    train_by_steps(
        folder,
        "perception",
        network,
        settings,
        _inputs(settings, start),
        lambda step: _losses(network, samples, settings, step),
        progress=progress,
        log=log,
    )
    return network


def _inputs(settings: PerceptionSettings, start: PerceptionNetwork | None) -> str:
    """Return what decides the result of a training on the same samples, as JSON."""
    first = None if start is None else weights_digest(start)
    return json.dumps(asdict(settings) | {"start": first}, sort_keys=True)


def _losses(
    network: PerceptionNetwork, samples: PerceptionSamples, settings: PerceptionSettings, step: int
) -> dict[str, Tensor]:
    rng = np.random.default_rng([settings.seed, step])
    batch = samples.batch(samples.draw(settings.batch, rng))
    images = disturbed(batch.images, rng)
    now = network.features(images[:, 1], batch.rig)
    with torch.no_grad():  # a third less work; the stem learns from the newest frames alone
        earlier = network.features(images[:, 0], batch.rig)
    cells, road = network(now, earlier, batch.motion, batch.state, batch.route)
    return perception_losses(cells, road, batch.targets, batch.rig)
