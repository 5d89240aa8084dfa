"""The driver ``end-to-end``: ``EndToEndDriver`` and ``load_driver``."""

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
    from alpamayo_vla_model.end_to_end.model import AlpamayoModel
    from alpamayo_vla_model.nemotron.inference.cpu_compiled import LanguageModel

Array = np.ndarray

PLANS = 6
LEAST_KERNEL_WIDTH_M = 0.1  # of the density that weighs plans


class EndToEndDriver:
    """Drives with an ``AlpamayoModel``: one greedy reasoning and ``plans`` samples of the action expert from it.

    A plan's weight is the density of the samples around it, and the densest is the driver's choice: a vote among
    the samples, which leaves outliers out. The same generator and observations give the same decisions. The last
    reasoning serves as a draft of the next one, which makes decoding faster and does not change its result.

    On a CPU the backbone is compiled when an episode begins; change its weights only between episodes.

    Args:
        model: A trained model; it is put into evaluation mode.
        plans: K, the number of candidates.
        needs: Sensors to drive with; when None, the default rig at the image size of the model.
    """

    name = "end-to-end"
    weights_digest = ""  # SHA-256 of the weights file

    def __init__(self, model: "AlpamayoModel", *, plans: int = PLANS, needs: Needs | None = None) -> None:
        if plans < 1:
            raise InputError(f"driver: plans is {plans}, must be at least 1")
        self.model = model.eval()
        self.plans = plans
        self.needs = needs or Needs(rig=model.config.rig, frames=model.config.frames)
        self._rng = np.random.default_rng(0)
        self._last_reasoning: list[int] = []
        self._backbone = _inference_backbone(self.model)

    @property
    def execution(self) -> str:
        """How the reasoning is computed here: path, stored weights, processor and PyTorch; kept in records."""
        from alpamayo_vla_model.nemotron.inference.execution import execution_text

        return execution_text(self._backbone)

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Start a new episode; the noise that plans are sampled from comes from ``rng``."""
        self._rng = rng
        self._last_reasoning = []
        self._backbone = _inference_backbone(self.model)

    def act(self, observation: Observation) -> Decision:
        """Read the images, decode the reasoning and sample plans.

        ``timings`` has the seconds of ``look_and_reason`` and of ``plan``.

        Raises:
            InputError: The observation has no cameras.
        """
        import torch

        from alpamayo_vla_model.inputs import Inputs

        noise = self._rng.standard_normal((self.plans, PLAN_STEPS, 2), dtype=np.float32)
        start = time.perf_counter()
        with torch.inference_mode():
            inputs = Inputs.of([observation])
            earlier = [self._last_reasoning] if self._last_reasoning else ()
            state = self.model.reason(inputs, earlier=earlier, backbone=self._backbone)
            self._last_reasoning = state.decoded.tokens
            reasoned = time.perf_counter()
            plans, _ = self.model.plan(state, inputs.state[0, 0], torch.from_numpy(noise))
        candidates = plans.numpy()
        weights = density_weights(candidates)
        return Decision(
            plans=candidates,
            weights=weights,
            chosen=int(np.argmax(weights)),
            reasoning=parse(state.decoded.tokens),
            timings={"look_and_reason": reasoned - start, "plan": time.perf_counter() - reasoned},
        )


def _inference_backbone(model: "AlpamayoModel") -> "LanguageModel":
    """Return the backbone compiled for the CPU where that is possible, else the backbone itself."""
    from alpamayo_vla_model.nemotron.inference.cpu_compiled import can_compile, compile_for_cpu

    return compile_for_cpu(model.backbone) if can_compile(model.backbone) else model.backbone


def density_weights(plans: Float32[Array, "k 64 4"]) -> Float32[Array, " k"]:
    """Return the kernel density of each plan among the others, normalised to a sum of one.

    The distance of two plans is the mean distance of their positions; the kernel's width is the median distance.
    """
    apart = np.linalg.norm(plans[:, None, :, :2] - plans[None, :, :, :2], axis=-1).mean(-1)
    between = apart[np.triu_indices(len(plans), 1)]
    width = max(float(np.median(between)) if between.size else 0.0, LEAST_KERNEL_WIDTH_M)
    density = np.exp(-0.5 * (apart / width) ** 2).sum(axis=1)
    return (density / density.sum()).astype(np.float32)


def load_driver(checkpoint: Path | None = None) -> Driver:
    """Return the driver ``end-to-end`` with the weights of ``checkpoint``, or those that ship with the package.

    Raises:
        InputError: There is no such file, or this version does not read it.
    """
    from alpamayo_vla_model.end_to_end.checkpoint import SHIPPED, load

    weights = SHIPPED if checkpoint is None else checkpoint
    driver = EndToEndDriver(load(weights))
    driver.weights_digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return driver
