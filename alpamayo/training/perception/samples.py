"""Samples of perception in memory: batches, sampling weights, and disturbed images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from alpamayo.training.perception.shards import PerceptionShard
from alpamayo_vla_model.perception.losses import PerceptionTargets
from alpamayo_vla_model.perception.objects import ObjectClass
from alpamayo_vla_model.vision import RigTensors

Array = np.ndarray

RARE_WEIGHT = 3.0  # weight of samples that show a rare class; others have 1
RARE = (
    ObjectClass.MOTORCYCLE,
    ObjectClass.CYCLIST,
    ObjectClass.PEDESTRIAN,
    ObjectClass.ANIMAL,
    ObjectClass.DEBRIS,
    ObjectClass.RED_LIGHT,
    ObjectClass.YELLOW_LIGHT,
)


@dataclass(frozen=True, eq=False)
class PerceptionBatch:
    """Inputs and labels; ``images`` are those of half a second before and of now."""

    images: UInt8[Tensor, "b 2 cameras height width 3"]
    rig: RigTensors
    motion: Float[Tensor, "b 3"]
    state: Float[Tensor, "b 4"]
    route: Float[Tensor, "b 32 2"]
    targets: PerceptionTargets


@dataclass(frozen=True, eq=False)
class PerceptionSamples:
    """Episodes, and their samples as rows (episode, sample) with their sampling probabilities."""

    shards: tuple[PerceptionShard, ...]
    index: Int64[Array, "n 2"]
    chance: Float64[Array, " n"]

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def load(cls, paths: Sequence[Path]) -> "PerceptionSamples":
        """Read the episodes of ``paths``."""
        shards = tuple(PerceptionShard.load(path) for path in paths)
        index = [(e, t) for e, shard in enumerate(shards) for t in range(len(shard))]
        rare = [np.isin(shard.objects[:, :, 0], RARE).any(axis=1) for shard in shards]
        weight = np.where(np.concatenate(rare), RARE_WEIGHT, 1.0) if rare else np.zeros(0)
        return cls(shards, np.array(index, np.int64).reshape(-1, 2), weight / max(weight.sum(), 1.0))

    def draw(self, size: int, rng: np.random.Generator) -> Int64[Array, " size"]:
        """Draw the rows of a random batch."""
        return rng.choice(len(self.index), size, p=self.chance)

    def batch(self, rows: Int64[Array, " size"]) -> PerceptionBatch:
        """Return the samples of ``rows`` as tensors."""
        picked = [(self.shards[e], int(t)) for e, t in self.index[rows]]

        def stacked(name: str) -> Tensor:
            return torch.from_numpy(np.stack([getattr(shard, name)[t] for shard, t in picked]))

        def rig(name: str) -> Tensor:
            return torch.from_numpy(np.stack([getattr(shard, name) for shard, _ in picked]))

        return PerceptionBatch(
            images=torch.from_numpy(np.stack([shard.pair(t) for shard, t in picked])),
            rig=RigTensors(rig("lens"), rig("position"), rig("rotation")),
            motion=stacked("motion"),
            state=stacked("state"),
            route=stacked("route"),
            targets=PerceptionTargets(
                stacked("objects"), stacked("owner").long(), stacked("ground").long(), stacked("control")
            ),
        )


def disturbed(
    images: UInt8[Tensor, "b 2 cameras height width 3"], rng: np.random.Generator
) -> UInt8[Tensor, "b 2 cameras height width 3"]:
    """Change colour, light, sharpness and noise of whole samples, and cover parts of some images."""
    out = images.float() / 255.0
    for sample in out:
        if rng.random() < 0.2:
            continue
        gain = torch.from_numpy(rng.uniform(0.6, 1.45) * rng.uniform(0.8, 1.2, 3).astype(np.float32))
        sample.mul_(gain).clamp_(0.0, 1.0).pow_(float(rng.uniform(0.7, 1.5)))
        grey = sample.mean(dim=-1, keepdim=True)
        sample.lerp_(grey.expand_as(sample), float(rng.uniform(0.0, 0.8) ** 2))
        if rng.random() < 0.3:
            _blur(sample)
        if rng.random() < 0.5:
            noise = rng.standard_normal(sample.shape, np.float32) * rng.uniform(0.0, 0.06)
            sample.add_(torch.from_numpy(noise))
        if rng.random() < 0.3:
            _cover(sample, rng)
    return out.clamp_(0.0, 1.0).mul_(255.0).to(torch.uint8)


def _blur(sample: Float[Tensor, "2 cameras height width 3"]) -> None:
    flat = sample.flatten(0, 1).permute(0, 3, 1, 2)
    smooth = functional.avg_pool2d(functional.pad(flat, (1, 1, 1, 1), mode="replicate"), 3, 1)
    sample.copy_(torch.unflatten(smooth.permute(0, 2, 3, 1), 0, sample.shape[:2]))


def _cover(sample: Float[Tensor, "2 cameras height width 3"], rng: np.random.Generator) -> None:
    camera = int(rng.integers(sample.shape[1]))
    height, width = (int(n) for n in sample.shape[2:4])
    top, left = int(rng.integers(height - 8)), int(rng.integers(width - 8))
    sample[:, camera, top : top + int(rng.integers(4, 20)), left : left + int(rng.integers(4, 28))] = float(
        rng.random()
    )
