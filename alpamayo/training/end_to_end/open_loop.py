"""Open-loop scores: the answers of a trained driver on held-out steps, compared with the expert's."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from alpamayo.training.end_to_end.samples import Samples
from alpamayo_sim.datatypes.reasoning import Reasoning
from alpamayo_vla_model.end_to_end.driver import PLANS, density_weights
from alpamayo_vla_model.end_to_end.model import AlpamayoModel
from alpamayo_vla_model.inputs import Inputs
from alpamayo_vla_model.reasoning_text import PAD, TOKEN, parse

Array = np.ndarray
PLACE_TOLERANCE_M = 2.0  # largest distance between two positions that agree; or, if larger,
PLACE_TOLERANCE_SHARE = 0.1  # this share of the distance from the ego


@dataclass
class _Scores:
    """Values of all steps, by name."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **values: float) -> None:
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        return {name: float(np.mean(values)) for name, values in self.values.items()}


def evaluate_open_loop(
    model: AlpamayoModel,
    samples: Samples,
    *,
    size: int = 256,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, float]:
    """Score ``size`` steps, drawn uniformly (not by their sampling weight).

    Returns:
        ``min_ade_6`` and ``ade`` (of the driver's choice; m, 6.4 s, plane), ``ade_3s``, and shares of steps in which
        the reasoning agrees with the expert's: ``longitudinal``, ``lateral``, ``causes`` (their number), ``category``
        and ``place`` of the first cause (if both name one), ``record`` (all words).
    """
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(samples), min(size, len(samples)), replace=False)
    scores = _Scores()
    model = model.eval()
    for done, row in enumerate(rows, start=1):
        inputs, targets = samples.batch(np.array([row]))
        noise = torch.from_numpy(rng.standard_normal((PLANS, 64, 2), dtype=np.float32))
        plans, reasoning, tokens = _answer(model, inputs, noise)
        _score_plans(scores, plans, targets.plan[0].numpy())
        wanted = [int(token) for token in targets.reasoning[0] if token != TOKEN[PAD]]
        _score_reasoning(scores, reasoning, parse(wanted))
        scores.add(record=float(tokens == wanted))
        if progress:
            progress("open loop", done, len(rows))
    return scores.means()


@torch.inference_mode()
def _answer(model: AlpamayoModel, inputs: Inputs, noise: torch.Tensor) -> tuple[Array, Reasoning, list[int]]:
    state = model.reason(inputs)
    plans, _ = model.plan(state, inputs.state[0, 0], noise)
    return plans.numpy(), parse(state.decoded.tokens), state.decoded.tokens


def _score_plans(scores: _Scores, plans: Float32[Array, "k 64 4"], wanted: Float32[Array, "64 4"]) -> None:
    off = np.linalg.norm(plans[..., :2] - wanted[:, :2], axis=-1)
    chosen = int(np.argmax(density_weights(plans)))
    scores.add(
        min_ade_6=float(off.mean(axis=1).min()),
        ade=float(off[chosen].mean()),
        ade_3s=float(off[chosen, :30].mean()),
        fde=float(off[chosen, -1]),
    )


def _score_reasoning(scores: _Scores, answered: Reasoning, wanted: Reasoning) -> None:
    scores.add(
        longitudinal=float(answered.longitudinal == wanted.longitudinal),
        lateral=float(answered.lateral == wanted.lateral),
        causes=float(len(answered.components) == len(wanted.components)),
    )
    if answered.components and wanted.components:
        own, expert = answered.components[0], wanted.components[0]
        scores.add(category=float((own.kind, own.category) == (expert.kind, expert.category)), place=_near(own, expert))


def _near(one: Any, other: Any) -> float:
    if one.position is None or other.position is None:
        return float(one.position is other.position)
    apart = float(np.hypot(one.position[0] - other.position[0], one.position[1] - other.position[1]))
    return float(apart <= max(PLACE_TOLERANCE_M, PLACE_TOLERANCE_SHARE * float(np.hypot(*other.position))))
