"""The training of the reasoner: seeded step by step, resumable to the same bytes."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from alpamayo.parallel import Progress
from alpamayo.training.reasoner.samples import ReasonerSamples
from alpamayo.training.state import average, optimiser_of, read_state, resume, save_state, set_learning_rate, weights_of
from alpamayo_vla_model.reasoner.model import Reasoner, ReasonerConfig

STATE_FILE = "reasoner.pt"
SAVE_EVERY_STEPS = 100
NOTE_EVERY_STEPS = 20


@dataclass(frozen=True)
class ReasonerSettings:
    """Settings of a training.

    The learning rate rises over ``warm_up`` steps and falls as a cosine to the last of ``steps``.
    """

    steps: int = 4000
    batch: int = 32
    learning_rate: float = 1.5e-3
    warm_up: int = 100
    weight_decay: float = 0.03
    clip: float = 2.0
    ema: float = 0.995
    seed: int = 0


def train_reasoner(
    folder: Path,
    samples: ReasonerSamples,
    settings: ReasonerSettings,
    *,
    config: ReasonerConfig | None = None,
    progress: Progress = lambda what, done, total: None,
    log: Callable[[str], None] = lambda line: None,
) -> Reasoner:
    """Train a reasoner and return it with the averaged weights.

    The state in ``folder`` is written every ``SAVE_EVERY_STEPS`` steps; a training that finds one resumes from it.

    Raises:
        InputError: the state on disk is damaged, or belongs to other settings or to another shape.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reasoner = Reasoner(config, seed=settings.seed)
    optimiser = optimiser_of(reasoner, settings.learning_rate, settings.weight_decay)
    ema, chances = weights_of(reasoner), samples.chances()
    inputs = json.dumps(asdict(settings) | {"config": reasoner.config.to_json(), "samples": len(samples)})
    path, first = folder / STATE_FILE, 0
    if path.exists():
        first = resume(path, read_state(path), inputs, reasoner, optimiser, ema)
    began = time.monotonic()
    for step in range(first, settings.steps):
        rng = np.random.default_rng([settings.seed, step])
        rows = torch.from_numpy(rng.choice(len(samples), settings.batch, p=chances))
        losses = _step(reasoner, optimiser, samples.rows(rows).shuffled(rng), settings, step)
        average(ema, reasoner, settings.ema, step)
        progress("reasoner", step + 1, settings.steps)
        if (step + 1) % NOTE_EVERY_STEPS == 0:
            row = {"step": step + 1, "s": round(time.monotonic() - began, 1)} | losses
            with (folder / "reasoner.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            log(" ".join(f"{name} {value:.3f}" for name, value in row.items()))
        if (step + 1) % SAVE_EVERY_STEPS == 0 or step + 1 == settings.steps:
            parts = {"model": reasoner.state_dict(), "ema": ema, "optimiser": optimiser.state_dict()}
            save_state(path, parts | {"inputs": inputs, "step": step + 1})
    reasoner.load_state_dict(ema)
    return reasoner.eval()


def _step(
    reasoner: Reasoner, optimiser: torch.optim.Optimizer, batch: ReasonerSamples, settings: ReasonerSettings, step: int
) -> dict[str, float]:
    used = step / settings.steps
    set_learning_rate(optimiser, settings.learning_rate, step, warm_up=settings.warm_up, used=used)
    losses = reasoner.losses(batch.inputs, batch.words, batch.allowed)
    optimiser.zero_grad(set_to_none=True)
    losses["total"].backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(reasoner.parameters(), settings.clip)
    if bool(torch.isfinite(norm)):
        optimiser.step()
    return {name: round(float(value.detach()), 4) for name, value in losses.items()}
