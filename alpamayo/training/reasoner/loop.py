"""The training of the reasoner: seeded step by step, resumable to the same bytes."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alpamayo.parallel import Progress
from alpamayo.training.reasoner.samples import ReasonerSamples
from alpamayo.training.steps import StepSettings, train_by_steps
from alpamayo_vla_model.reasoner.model import Reasoner, ReasonerConfig


@dataclass(frozen=True)
class ReasonerSettings(StepSettings):
    """Settings of a training of the reasoner."""

    steps: int = 4000
    batch: int = 32
    learning_rate: float = 1.5e-3
    warm_up: int = 100
    weight_decay: float = 0.03
    clip: float = 2.0
    ema: float = 0.995


def train_reasoner(
    folder: Path,
    samples: ReasonerSamples,
    settings: ReasonerSettings,
    *,
    config: ReasonerConfig | None = None,
    progress: Progress = lambda what, done, total: None,
    log: Callable[[str], None] = lambda line: None,
) -> Reasoner:
    """Train a reasoner and return it with the averaged weights; an interrupted training resumes (``train_by_steps``).

    ``folder`` gets ``reasoner.pt``, the state, and ``reasoner.jsonl``, the losses.

    Raises:
        InputError: the state on disk is damaged, or belongs to other settings or to another shape.
    """
    reasoner, chances = Reasoner(config, seed=settings.seed), samples.chances()

    def losses(step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([settings.seed, step])
        rows = torch.from_numpy(rng.choice(len(samples), settings.batch, p=chances))
        batch = samples.rows(rows).shuffled(rng)
        return reasoner.losses(batch.inputs, batch.words, batch.allowed)

    inputs = json.dumps(asdict(settings) | {"config": reasoner.config.to_json(), "samples": len(samples)})
    train_by_steps(folder, "reasoner", reasoner, settings, inputs, losses, progress=progress, log=log)
    return reasoner
