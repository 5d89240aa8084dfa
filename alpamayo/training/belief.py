"""Training of the driver ``tiny``: data and training of perception, then of the reasoner, joined in one file."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from alpamayo.folders import claimed
from alpamayo.parallel import Progress, Workers
from alpamayo.training.end_to_end.collection import TRAINING_SEEDS
from alpamayo_sim.errors import InputError


@dataclass(frozen=True)
class BeliefPlan:
    """How much of each stage; the defaults are those of the shipped weights.

    Attributes:
        driven: scenarios that the expert and IDM drive for perception.
        scattered: scenes for scattered things.
        perception_steps: steps of perception's training.
        believed: scenarios that the belief planner drives for the reasoner, without cameras.
        unseen_believed: more of them, with which the reasoner is evaluated; half as many are of unseen families.
        reasoner_steps: steps of the reasoner's training.
        seed: of the scenarios, the weights and the order of the samples.
        families: the families of the scenarios; all that may be trained on when empty.
    """

    driven: int = 383
    scattered: int = 400
    perception_steps: int = 12000
    believed: int = 300
    unseen_believed: int = 24
    reasoner_steps: int = 4000
    seed: int = 0
    families: Sequence[str] = ()

    def __post_init__(self) -> None:
        needed = self.driven + self.scattered
        last = self.seed + needed
        if min(self.driven, self.scattered, self.believed, self.seed) < 0 or not needed or not self.believed:
            raise InputError("training: needs scenarios for perception and for the reasoner, and a seed of at least 0")
        if last > TRAINING_SEEDS:
            raise InputError(f"training takes seeds 0 to {TRAINING_SEEDS - 1}, asked for {self.seed} to {last - 1}")
        if self.perception_steps < 1 or self.reasoner_steps < 1:
            raise InputError("training: steps must be at least 1")


def train_belief(
    out: Path,
    plan: BeliefPlan,
    *,
    image_size: tuple[int, int] | None = None,
    workers: Workers = None,
    progress: Progress = lambda what, done, total: None,
) -> Path:
    """Run all stages and write ``out/tiny.safetensors``; an interrupted run continues where it stopped.

    Args:
        out: folder of the data, the states, the losses and the weights.
        plan: how much of each stage.
        image_size: height and width (pixels); those of the driver when None.
        workers: processes that collect data; one for each core, at most 8, if None.
        progress: called with (stage, done, total).

    Raises:
        InputError: a folder that cannot be written, or one that holds the state of another training.
    """
    with claimed(out):
        return _trained(out, plan, image_size, workers, progress)


def _trained(
    out: Path, plan: BeliefPlan, image_size: tuple[int, int] | None, workers: Workers, progress: Progress
) -> Path:
    from alpamayo.training.perception.collection import collect_perception
    from alpamayo.training.perception.loop import PerceptionSettings, train_perception
    from alpamayo.training.perception.samples import PerceptionSamples
    from alpamayo.training.reasoner.loop import ReasonerSettings
    from alpamayo.training.reasoner.stage import WEIGHTS_FILE, StageConfig, make_reasoner
    from alpamayo_scenarios.families import training_family_names
    from alpamayo_vla_model.belief_model import BeliefModel, save_belief
    from alpamayo_vla_model.driver import IMAGE_SIZE
    from alpamayo_vla_model.reasoner.checkpoint import load_reasoner

    families, seed = list(plan.families) or list(training_family_names()), plan.seed
    images = collect_perception(
        out / "images",
        families,
        driven=plan.driven,
        scattered=plan.scattered,
        seed=seed,
        image_size=image_size or IMAGE_SIZE,
        workers=workers,
        progress=progress,
    )
    settings = PerceptionSettings(steps=plan.perception_steps, seed=seed)
    perception = train_perception(out, PerceptionSamples.load(images), settings, progress=progress)
    stage = StageConfig(plan.believed, plan.unseen_believed, plan.unseen_believed // 2)
    words = ReasonerSettings(steps=plan.reasoner_steps, seed=seed)
    make_reasoner(out / "words", stage, words, families=families, workers=workers, progress=progress)
    reasoner = load_reasoner(out / "words" / WEIGHTS_FILE)
    path = out / "tiny.safetensors"
    save_belief(BeliefModel.of(perception, reasoner), path, asdict(plan) | {"families": families})
    return path
