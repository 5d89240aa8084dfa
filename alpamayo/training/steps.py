"""A training by a fixed number of steps: seeded step by step, resumable to the same bytes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from alpamayo.parallel import Progress
from alpamayo.training.loss_log import LossLog
from alpamayo.training.state import (
    average,
    descend,
    optimiser_of,
    read_state,
    resume,
    save_state,
    set_learning_rate,
    weights_of,
)

SAVE_EVERY_STEPS = 100
NOTE_EVERY_STEPS = 20


@dataclass(frozen=True)
class StepSettings:
    """Settings of a training.

    The learning rate rises over ``warm_up`` steps and falls as a cosine to the last of ``steps``.
    """

    steps: int
    batch: int
    learning_rate: float
    warm_up: int
    weight_decay: float
    clip: float
    ema: float
    seed: int = 0


def train_by_steps(
    folder: Path,
    name: str,
    model: nn.Module,
    settings: StepSettings,
    inputs: str,
    losses_of: Callable[[int], dict[str, Tensor]],
    *,
    progress: Progress,
    log: Callable[[str], None],
) -> None:
    """Train a model, and leave it in evaluation mode with the averaged weights.

    The state is written to ``folder/NAME.pt`` every ``SAVE_EVERY_STEPS`` steps; a training that finds one resumes from
    it. The losses of every ``NOTE_EVERY_STEPS`` steps are added to ``folder/NAME.jsonl``, see ``LossLog``.

    Args:
        folder: folder of state and losses.
        name: of the files, and of the training in its progress.
        model: what to train.
        settings: limits and optimiser.
        inputs: what decides the result, as JSON.
        losses_of: returns the losses of a step; ``total`` is the one that falls.
        progress: called with (``name``, steps done, steps).
        log: called with a line of text every ``NOTE_EVERY_STEPS`` steps.

    Raises:
        InputError: the state on disk is damaged or belongs to other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.train()
    optimiser, ema = optimiser_of(model, settings.learning_rate, settings.weight_decay), weights_of(model)
    path, first = folder / f"{name}.pt", 0
    if path.exists():
        first = resume(path, read_state(path), inputs, model, optimiser, ema)
    with LossLog(folder, name) as losses_kept:
        began = time.monotonic()
        for step in range(first, settings.steps):
            used = step / settings.steps
            set_learning_rate(optimiser, settings.learning_rate, step, warm_up=settings.warm_up, used=used)
            losses = losses_of(step)
            optimiser.zero_grad(set_to_none=True)
            losses["total"].backward()  # type: ignore[no-untyped-call]
            descend(model, optimiser, settings.clip)
            average(ema, model, settings.ema, step)
            progress(name, step + 1, settings.steps)
            if (step + 1) % NOTE_EVERY_STEPS == 0:
                values = {part: round(float(value.detach()), 4) for part, value in losses.items()}
                row = {"step": step + 1, "s": round(time.monotonic() - began, 1)} | values
                losses_kept.add(row)
                log(" ".join(f"{part} {value:.3f}" for part, value in row.items()))
            if (step + 1) % SAVE_EVERY_STEPS == 0 or step + 1 == settings.steps:
                parts = {"model": model.state_dict(), "ema": ema, "optimiser": optimiser.state_dict()}
                save_state(path, parts | {"inputs": inputs, "step": step + 1})
    model.load_state_dict(ema)
    model.eval()
