"""The whole stage of the reasoner: data, training, evaluation, weights; every part resumes where it stopped."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from alpamayo.parallel import Progress, Workers
from alpamayo.training.end_to_end.collection import TRAINING_SEEDS
from alpamayo.training.reasoner.collection import collect_reasoner
from alpamayo.training.reasoner.evaluation import ReasonerScores, evaluate_reasoner, usual_manoeuvres
from alpamayo.training.reasoner.loop import ReasonerSettings, train_reasoner
from alpamayo.training.reasoner.samples import ReasonerSamples
from alpamayo_scenarios.families import training_family_names
from alpamayo_sim.errors import InputError
from alpamayo_vla_model.reasoner.checkpoint import save_reasoner
from alpamayo_vla_model.reasoner.model import ReasonerConfig

WEIGHTS_FILE = "reasoner.safetensors"
UNSEEN_FAMILIES = ("jaywalker", "lane-closure")  # held out of all training
UNSEEN_SEEDS_FROM = 9000  # the seeds of training come before


@dataclass(frozen=True)
class StageConfig:
    """How much data the stage makes.

    Attributes:
        scenarios: scenarios to learn from.
        unseen_scenarios: scenarios of the same families, for evaluation.
        unseen_family_scenarios: scenarios of ``UNSEEN_FAMILIES``.
    """

    scenarios: int = 300
    unseen_scenarios: int = 24
    unseen_family_scenarios: int = 12


def make_reasoner(
    folder: Path,
    stage: StageConfig,
    settings: ReasonerSettings,
    *,
    families: Sequence[str] | None = None,
    config: ReasonerConfig | None = None,
    workers: Workers = None,
    progress: Progress = lambda what, done, total: None,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, ReasonerScores]:
    """Make ``folder/reasoner.safetensors`` and return its scores on unseen seeds and on unseen families.

    Args:
        folder: data, state and weights.
        stage: how much data.
        settings: of the training.
        families: to learn from; all training families when None.
        config: the shape of the reasoner.
        workers: processes that collect; one for each core, at most 8, when None.
        progress: called with the name of the part, the number done and the number of all.
        log: called with a line of text now and then.

    Raises:
        InputError: too many scenarios for the seeds of training, or a folder that cannot be written.
    """
    if stage.scenarios > UNSEEN_SEEDS_FROM:
        raise InputError(f"reasoner: {stage.scenarios} scenarios, training has {UNSEEN_SEEDS_FROM} seeds")
    if stage.unseen_scenarios + stage.unseen_family_scenarios > TRAINING_SEEDS - UNSEEN_SEEDS_FROM:
        raise InputError(f"reasoner: evaluation has {TRAINING_SEEDS - UNSEEN_SEEDS_FROM} seeds, fewer than asked for")
    known = tuple(families or training_family_names())
    unseen = UNSEEN_SEEDS_FROM + stage.unseen_scenarios
    parts = {
        "train": (known, stage.scenarios, 0),
        "unseen seeds": (known, stage.unseen_scenarios, UNSEEN_SEEDS_FROM),
        "unseen families": (UNSEEN_FAMILIES, stage.unseen_family_scenarios, unseen),
    }
    files = {
        name: collect_reasoner(
            folder / name.replace(" ", "-"), which, count, seed=seed, workers=workers, progress=progress
        )
        for name, (which, count, seed) in parts.items()
    }
    samples = ReasonerSamples.load(files["train"])
    log(f"{len(samples)} samples of {len(files['train'])} episodes")
    reasoner = train_reasoner(folder, samples, settings, config=config, progress=progress, log=log)
    usual = usual_manoeuvres(samples)
    scores = {
        name: evaluate_reasoner(reasoner, ReasonerSamples.load(paths), usual, progress)
        for name, paths in files.items()
        if name != "train" and paths
    }
    note = asdict(settings) | asdict(stage) | {name: asdict(each) for name, each in scores.items()}
    save_reasoner(reasoner, folder / WEIGHTS_FILE, note | {"samples": len(samples), "families": list(known)})
    return scores
