"""The training loop: seeded, interruptible, limited by steps and by wall time."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from alpamayo.parallel import Progress
from alpamayo.provenance import file_digest
from alpamayo.training.end_to_end.samples import Samples, load_samples
from alpamayo.training.loss_log import LossLog
from alpamayo.training.state import (
    PARTS,
    average,
    damaged,
    descend,
    optimiser_of,
    read_state,
    resume,
    save_state,
    set_learning_rate,
    weights_of,
)
from alpamayo_sim.errors import InputError
from alpamayo_vla_model.end_to_end import checkpoint
from alpamayo_vla_model.end_to_end.config import AlpamayoConfig
from alpamayo_vla_model.end_to_end.model import AlpamayoModel
from alpamayo_vla_model.inputs import Inputs
from alpamayo_vla_model.nemotron.training.losses import Routing, record_routing, update_router_bias

Array = np.ndarray

HIDDEN_HISTORY_SHARE, HIDDEN_STATE_SHARE = 0.3, 0.5  # shares of samples; hiding keeps the model from copying motion
SAVE_EVERY_S = 60.0
STATE_FILE = "training.pt"
STATE_PARTS = PARTS | {"config": str, "elapsed": float}


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training. It ends when ``steps`` or ``minutes`` (wall time) are used up.

    ``threads`` None means one for each core, at most 8.

    The learning rate rises over ``warm_up`` steps and falls as a cosine over the part of the limits that is used.
    """

    minutes: float = 25.0
    steps: int = 1_000_000
    batch: int = 24
    learning_rate: float = 1e-3
    warm_up: int = 100
    weight_decay: float = 0.02
    clip: float = 1.0
    ema: float = 0.998
    seed: int = 0
    threads: int | None = None


@dataclass
class _State:
    """The state from which a training resumes."""

    model: AlpamayoModel
    ema: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    step: int = 0
    elapsed: float = 0.0

    def used(self, settings: TrainingSettings) -> float:
        """Return the used share of the limits."""
        return max(self.step / settings.steps, self.elapsed / (60.0 * settings.minutes))


def train(
    folder: Path,
    data: Sequence[Path],
    settings: TrainingSettings,
    *,
    config: AlpamayoConfig | None = None,
    start: Path | None = None,
    until: float = 1.0,
    progress: Progress | None = None,
    log: Callable[[str], None] | None = None,
) -> Path:
    """Train on the episodes of ``data`` and write ``folder/end_to_end.safetensors`` (the averaged weights).

    ``folder/training.pt`` is written every minute; a training that finds one resumes from it.

    Args:
        folder: folder of checkpoint, state and ``log.jsonl``.
        data: episode files; every tenth is held out for validation.
        settings: limits, batch and optimiser.
        config: shape of the model; the preset ``tiny`` if None.
        start: checkpoint to begin from, instead of random weights; its shape is the model's.
        until: share of the limits at which to pause, for training in rounds.
        progress: called with ("train", per mille of the limits, 1000).
        log: called with a line of text every 100 steps.

    Raises:
        InputError: there is no data, the state on disk is damaged or belongs to another model or to other settings, or
            the folder cannot be written.
    """
    samples = load_samples(data)
    if not len(samples):
        raise InputError(f"{folder}: there is no training data")
    folder.mkdir(parents=True, exist_ok=True)
    model = checkpoint.load(start) if start else (config or AlpamayoConfig.preset("tiny")).create(settings.seed)
    state = _begin(folder, model.train(), settings, start)
    report, write_line = progress or (lambda what, done, total: None), log or (lambda line: None)
    write_line(f"{len(samples)} steps of {len(samples.shards)} episodes")
    saved = time.monotonic()
    with LossLog(folder, "log") as losses_kept:
        for losses in _steps(state, samples, settings, until):
            report("train", round(1000 * min(state.used(settings), 1.0)), 1000)
            if state.step % 20 == 0:
                losses_kept.add(_row(state, losses))
            if state.step % 100 == 0:
                write_line(_line(state, losses))
            if time.monotonic() - saved > SAVE_EVERY_S:
                _save(folder, state, _inputs(settings, start))
                saved = time.monotonic()
    _save(folder, state, _inputs(settings, start))
    return _export(folder, state, settings, samples, start)


def _begin(folder: Path, model: AlpamayoModel, settings: TrainingSettings, start: Path | None) -> _State:
    optimiser = optimiser_of(model, settings.learning_rate, settings.weight_decay)
    state = _State(model, weights_of(model), optimiser)
    path = folder / STATE_FILE
    if path.exists():
        stored = read_state(path, STATE_PARTS)
        if stored["config"] != model.config.to_json():
            raise InputError(f"{path}: is the state of a model with another shape; train into another folder")
        state.step = resume(path, stored, _inputs(settings, start), model, optimiser, state.ema)
        state.elapsed = stored["elapsed"]
        if state.elapsed < 0.0:
            raise damaged(path, ValueError("negative step or time"))
    return state


def _inputs(settings: TrainingSettings, start: Path | None) -> str:
    """Return what decides the result of a training, as JSON; the number of threads does not."""
    values = {name: value for name, value in asdict(settings).items() if name != "threads"}
    return json.dumps(values | {"start": None if start is None else file_digest(start)}, sort_keys=True)


def _steps(state: _State, samples: Samples, settings: TrainingSettings, until: float) -> Iterator[dict[str, float]]:
    """Train step by step; yield the losses of each step."""
    with _Replicas(state.model, settings) as replicas:
        while state.used(settings) < until:
            start = time.monotonic()
            rate = set_learning_rate(
                state.optimiser,
                settings.learning_rate,
                state.step,
                warm_up=settings.warm_up,
                used=min(state.used(settings), 1.0),
            )
            losses = replicas.gradients(samples, state.step)
            norm = descend(state.model, state.optimiser, settings.clip)
            average(state.ema, state.model, settings.ema, state.step)
            state.step += 1
            state.elapsed += time.monotonic() - start
            yield losses | {"norm": norm, "rate": rate}


class _Replicas:
    """Replicas of a model that share its weights, one per thread, each with its part of every batch.

    One thread per replica uses the cores better than operations that are split over threads. The number of threads
    changes the result only through rounding and the split of the batch.
    """

    def __init__(self, model: AlpamayoModel, settings: TrainingSettings) -> None:
        self._model, self._settings = model, settings
        threads = settings.threads or min(os.cpu_count() or 1, 8)
        self._replicas = [model, *(_replica(model) for _ in range(threads - 1))]
        self._pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def gradients(self, samples: Samples, step: int) -> dict[str, float]:
        """Store the gradient of one batch in the model; return the mean losses."""
        settings = self._settings
        rng = np.random.default_rng([settings.seed, step])
        parts = np.array_split(samples.draw(settings.batch, rng), len(self._replicas))
        seeds = [int(seed) for seed in rng.integers(1 << 62, size=len(parts))]
        futures = [
            self._pool.submit(self._one, replica, samples, rows, seed)
            for replica, rows, seed in zip(self._replicas, parts, seeds, strict=True)
        ]
        losses, routing = zip(*(future.result() for future in futures), strict=True)
        self._gather()
        self._balance(routing)
        return {name: sum(part[name] for part in losses) for name in losses[0]}

    def _one(
        self, replica: AlpamayoModel, samples: Samples, rows: Array, seed: int
    ) -> tuple[dict[str, float], list[Routing]]:
        generator = torch.Generator().manual_seed(seed)
        share = len(rows) / self._settings.batch
        inputs, targets = samples.batch(rows)
        with record_routing(replica.backbone) as routing:
            losses = replica.losses(_hide_motion(inputs, generator), targets, generator)
        replica.zero_grad(set_to_none=True)
        (share * losses["total"]).backward()  # type: ignore[no-untyped-call]
        return {name: share * float(loss.detach()) for name, loss in losses.items()}, routing

    def _balance(self, routing: Sequence[list[Routing]]) -> None:
        """Shift the routers' biases, which the replicas share, by the load of the whole batch."""
        own = self._model.backbone.routers()
        parts = [replace(record, router=router) for part in routing for router, record in zip(own, part, strict=True)]
        update_router_bias(parts)

    @torch.no_grad()
    def _gather(self) -> None:
        for own, *others in zip(*(replica.parameters() for replica in self._replicas), strict=True):
            for other in others:
                if other.grad is not None:
                    own.grad = other.grad if own.grad is None else own.grad.add_(other.grad)


def _replica(model: AlpamayoModel) -> AlpamayoModel:
    """Make a model that shares the memory of the weights and has its own gradients."""
    twin = AlpamayoModel(model.config, device="meta").train()
    twin.load_state_dict(model.state_dict(), assign=True)
    return twin


def _hide_motion(inputs: Inputs, generator: torch.Generator) -> Inputs:
    """Hide the history of some samples, and acceleration and curvature of some; the speed always stays."""
    b = len(inputs)
    history, state = inputs.history.clone(), inputs.state.clone()
    history[torch.rand(b, generator=generator) < HIDDEN_HISTORY_SHARE] = 0.0
    hidden = torch.rand(b, generator=generator) < HIDDEN_STATE_SHARE
    state[hidden, 1:3] = 0.0
    return replace(inputs, history=history, state=state)


def _save(folder: Path, state: _State, inputs: str) -> None:
    stored = {
        "config": state.model.config.to_json(),
        "inputs": inputs,
        "model": state.model.state_dict(),
        "ema": state.ema,
        "optimiser": state.optimiser.state_dict(),
        "step": state.step,
        "elapsed": state.elapsed,
    }
    save_state(folder / STATE_FILE, stored)


def _export(folder: Path, state: _State, settings: TrainingSettings, samples: Samples, start: Path | None) -> Path:
    model = AlpamayoModel(state.model.config)
    model.load_state_dict(state.ema)
    note: dict[str, Any] = asdict(settings) | {
        "episodes": len(samples.shards),
        "samples": len(samples),
        "steps": state.step,
        "minutes": round(state.elapsed / 60.0, 1),
        "start": file_digest(start) if start else None,
    }
    path = folder / "end_to_end.safetensors"
    checkpoint.save(model, path, note)
    return path


def _row(state: _State, losses: dict[str, float]) -> dict[str, float]:
    return {"step": state.step, "elapsed": round(state.elapsed, 1), **{k: round(v, 5) for k, v in losses.items()}}


def _line(state: _State, losses: dict[str, float]) -> str:
    parts = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
    return f"step {state.step}, {state.elapsed / 60:.1f} min: {parts}"
