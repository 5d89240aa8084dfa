"""Training data in memory: the steps of all episodes, their sampling weights, and batches of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64

from alpamayo.training.end_to_end.shards import FRAMES, Shard
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_vla_model.end_to_end.model import Targets
from alpamayo_vla_model.end_to_end.patch_labels import PatchLabels
from alpamayo_vla_model.inputs import Inputs
from alpamayo_vla_model.reasoning_text import LATERAL_WORDS, LONGITUDINAL_WORDS, PAD, TOKEN
from alpamayo_vla_model.vision import RigTensors

Array = np.ndarray

HELD_OUT_EVERY = 10  # every tenth episode is for validation
EVENTFUL_WEIGHT = 3.0  # weight of steps in which the expert does not only keep speed and lane; others have 1
EVENTFUL_ACCELERATION_MPS2 = 2.0  # a plan with more acceleration or braking within 2 s is eventful too
STANDSTILL_MPS = 0.5  # the ego is at standstill below this speed
STOPPED_PLAN_M = 1.0  # a plan that ends within this distance stays stopped
WAIT_DECISIONS = 10  # later decisions of a wait are not drawn
_CALM = [
    TOKEN[LONGITUDINAL_WORDS[Longitudinal.SET_SPEED_TRACKING]],
    TOKEN[LATERAL_WORDS[Lateral.LANE_KEEPING]],
]


@dataclass(frozen=True, eq=False)
class Samples:
    """Episodes, and their steps as rows (episode, step) with their sampling probabilities."""

    shards: tuple[Shard, ...]
    index: Int64[Array, "n 2"]
    chance: Float64[Array, " n"]

    def __len__(self) -> int:
        return len(self.index)

    def draw(self, size: int, rng: np.random.Generator) -> Int64[Array, " size"]:
        """Draw the rows of a random batch."""
        return rng.choice(len(self.index), size, p=self.chance)

    def batch(self, rows: Int64[Array, " size"]) -> tuple[Inputs, Targets]:
        """Return the samples of ``rows`` as tensors."""
        picked = [(self.shards[e], int(t)) for e, t in self.index[rows]]
        reasoning = _stack(picked, "reasoning").long()
        longest = int((reasoning != TOKEN[PAD]).sum(dim=1).max())
        inputs = Inputs(
            images=torch.from_numpy(np.stack([shard.frames(t, FRAMES) for shard, t in picked])),
            rig=RigTensors(*(_rig(picked, name) for name in ("lens", "position", "rotation"))),
            history=_stack(picked, "history"),
            route=_stack(picked, "route"),
            state=_stack(picked, "state"),
            navigation=_stack(picked, "navigation").long(),
        )
        patches = PatchLabels(
            kind=_stack(picked, "patch_kind").long(),
            distance=_stack(picked, "patch_distance").float(),
            velocity=_stack(picked, "patch_velocity").float(),
            road=_stack(picked, "patch_road").float() / 255.0,
        )
        return inputs, Targets(reasoning[:, :longest], _stack(picked, "actions"), _stack(picked, "plan"), patches)


def load_samples(paths: Sequence[Path], *, held_out: bool = False) -> Samples:
    """Read the training episodes of ``paths``, or those held out for validation."""
    chosen = [path for i, path in enumerate(paths) if (i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1) == held_out]
    shards = tuple(Shard.load(path) for path in chosen)
    index = np.array([(e, t) for e, shard in enumerate(shards) for t in range(shard.rows)], np.int64).reshape(-1, 2)
    weight = np.concatenate([_weights(shard) for shard in shards]) if shards else np.zeros(0)
    return Samples(shards, index, weight / max(weight.sum(), 1.0))


def _weights(shard: Shard) -> Float64[Array, " rows"]:
    strong = np.abs(shard.actions[:, :20, 0]).max(axis=1) > EVENTFUL_ACCELERATION_MPS2
    eventful = (shard.reasoning[:, :2] != _CALM).any(axis=1) | strong
    return np.where(_waited(shard) > WAIT_DECISIONS, 0.0, np.where(eventful, EVENTFUL_WEIGHT, 1.0))


def _waited(shard: Shard) -> Int64[Array, " rows"]:
    """Count the decisions since the ego and the plan of the expert stopped; these samples are nearly equal."""
    distance = np.linalg.norm(shard.plan[:, -1, :2], axis=-1)
    stays = (shard.state[:, 0] < STANDSTILL_MPS) & (distance < STOPPED_PLAN_M)
    count = np.cumsum(stays)
    return count - np.maximum.accumulate(np.where(stays, 0, count))


def _stack(picked: list[tuple[Shard, int]], name: str) -> torch.Tensor:
    return torch.from_numpy(np.stack([getattr(shard, name)[t] for shard, t in picked]))


def _rig(picked: list[tuple[Shard, int]], name: str) -> torch.Tensor:
    return torch.from_numpy(np.stack([getattr(shard, name) for shard, _ in picked]))
