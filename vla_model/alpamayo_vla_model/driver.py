"""The trained driver as a ``Driver``: looks, reasons, and offers K plans."""

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from alpamayo_sim.datatypes.decision import PLAN_STEPS, Decision
from alpamayo_sim.datatypes.driver import Driver, Needs
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_vla_model.reasoning_text import parse

if TYPE_CHECKING:
    from alpamayo_vla_model.model import AlpamayoModel

Array = np.ndarray

PLANS = 6
NEAREST_WIDTH = 0.1  # m; least width of the kernel that plans are weighted with


class TinyDriver:
    """Drives with an ``AlpamayoModel``: one greedy reasoning and ``plans`` samples of the action expert from it.

    A plan's weight is the density of the samples around it, and the densest is the driver's choice: a vote among
    the samples, which leaves stray ones out. The same generator and observations give the same decisions. What was
    said a moment ago is offered to the model as a guess, which makes the reasoning quicker and changes nothing in it.

    Args:
        model: a trained model; it is put into evaluation mode.
        plans: K, the number of candidates.
        needs: what to look through; the default rig at the size that the model was made for when None.
    """

    name = "tiny"
    weights_digest = ""  # SHA-256 of the file that the weights are from

    def __init__(self, model: "AlpamayoModel", *, plans: int = PLANS, needs: Needs | None = None) -> None:
        if plans < 1:
            raise InputError(f"driver: plans is {plans}, must be at least 1")
        self.model = model.eval()
        self.plans = plans
        self.needs = needs or Needs(rig=model.config.rig, frames=model.config.frames)
        self._rng = np.random.default_rng(0)
        self._said: list[int] = []

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Start a new episode; the noise that plans are sampled from comes from ``rng``."""
        self._rng = rng
        self._said = []

    def act(self, observation: Observation) -> Decision:
        """Look, reason, and sample plans; ``timings`` has the seconds of ``look_and_reason`` and ``plan``.

        Raises:
            InputError: the observation has no cameras.
        """
        import torch

        from alpamayo_vla_model.inputs import Inputs

        noise = self._rng.standard_normal((self.plans, PLAN_STEPS, 2), dtype=np.float32)
        start = time.perf_counter()
        with torch.inference_mode():
            inputs = Inputs.of([observation])
            thought = self.model.think(inputs, earlier=[self._said] if self._said else ())
            self._said = thought.decoded.tokens
            reasoned = time.perf_counter()
            plans, _ = self.model.plan(thought, inputs.state[0, 0], torch.from_numpy(noise))
        candidates = plans.numpy()
        weights = density_weights(candidates)
        return Decision(
            plans=candidates,
            weights=weights,
            chosen=int(np.argmax(weights)),
            reasoning=parse(thought.decoded.tokens),
            timings={"look_and_reason": reasoned - start, "plan": time.perf_counter() - reasoned},
        )


def density_weights(plans: Float32[Array, "k 64 4"]) -> Float32[Array, " k"]:
    """Kernel density of each plan among the others, normalised to one.

    The distance of two plans is the mean distance of their positions; the kernel's width is the median distance.
    """
    apart = np.linalg.norm(plans[:, None, :, :2] - plans[None, :, :, :2], axis=-1).mean(-1)
    between = apart[np.triu_indices(len(plans), 1)]
    width = max(float(np.median(between)) if between.size else 0.0, NEAREST_WIDTH)
    density = np.exp(-0.5 * (apart / width) ** 2).sum(axis=1)
    return (density / density.sum()).astype(np.float32)


def load_driver(checkpoint: Path | None = None) -> Driver:
    """The driver ``tiny`` with the weights that ship with the package, or with those of ``checkpoint``.

    Raises:
        InputError: no such file, or none that this version reads.
    """
    from alpamayo_vla_model.checkpoint import SHIPPED, load

    weights = SHIPPED if checkpoint is None else checkpoint
    driver = TinyDriver(load(weights))
    driver.weights_digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return driver
