"""Training of ``end-to-end`` in two rounds: data of the expert, training, data of the driver itself, more training."""

from dataclasses import dataclass
from pathlib import Path

from alpamayo.folders import claimed
from alpamayo.parallel import Progress, Workers
from alpamayo.training.end_to_end.collection import TRAINING_SEEDS, collect

OWN_SHARE = 0.4  # share of the episodes that the trained driver drives
FIRST_ROUND_SHARE = 0.5  # share of the training time before these episodes


@dataclass(frozen=True)
class TrainingResult:
    """The trained driver and its scores on held-out steps."""

    checkpoint: Path
    open_loop: dict[str, float]


def train_end_to_end(
    out: Path,
    *,
    episodes: int,
    minutes: float,
    seed: int = 0,
    start: Path | None = None,
    workers: Workers = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Make data, train in two rounds, evaluate in open loop.

    The driver's own episodes are for the second round; a driver that starts trained drives half of them before the
    first round. All results stay in ``out``: an interrupted run continues where it stopped.

    Args:
        out: folder for ``data``, the training's state, ``log.jsonl`` and ``end_to_end.safetensors``.
        episodes: number of scenarios; their seeds are all below 10,000.
        minutes: wall time of the training, without the collection of data.
        seed: seed of the scenarios, the weights and the order of the samples.
        start: checkpoint to start from, instead of random weights.
        workers: processes that collect data, and cores that train; one for each core, at most 8, if None.
        progress: called with (what, done, total).

    Raises:
        InputError: more episodes than training seeds, a folder that cannot be written, or one that holds the state
            of another model.
    """
    with claimed(out):
        return _trained(out, episodes, minutes, seed, start, workers, progress)


def _trained(
    out: Path,
    episodes: int,
    minutes: float,
    seed: int,
    start: Path | None,
    workers: Workers,
    progress: Progress | None,
) -> TrainingResult:
    from alpamayo.training.end_to_end.loop import TrainingSettings, train
    from alpamayo.training.end_to_end.open_loop import evaluate_open_loop
    from alpamayo.training.end_to_end.samples import load_samples
    from alpamayo_vla_model.end_to_end.checkpoint import load

    if start is not None:
        load(start)  # fail before the collection, which takes long
    own = round(OWN_SHARE * episodes)
    early = own // 2 if start else 0
    first = (seed * episodes) % max(TRAINING_SEEDS - episodes, 1)
    settings = TrainingSettings(minutes=minutes, seed=seed, threads=workers if isinstance(workers, int) else None)

    def drive(count: int, offset: int, driver: Path | None, name: str) -> list[Path]:
        return collect(
            out / "data", count, seed=first + offset, checkpoint=driver, name=name, workers=workers, progress=progress
        )

    data = drive(episodes - own, 0, None, "expert")
    if early:
        data += drive(early, episodes - own, start, "own")
    checkpoint = train(out, data, settings, start=start, until=FIRST_ROUND_SHARE, progress=progress)
    if own > early:
        data += drive(own - early, episodes - own + early, checkpoint, "own")
        checkpoint = train(out, data, settings, start=start, progress=progress)
    held_out = load_samples(data, held_out=True)
    scores = evaluate_open_loop(load(checkpoint), held_out, seed=seed, progress=progress) if len(held_out) else {}
    return TrainingResult(checkpoint, scores)
