"""Samples of perception in memory: batches, sampling weights, and disturbed images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor

from alpamayo.training.perception.shards import PerceptionShard
from alpamayo_vla_model.perception.losses import PerceptionTargets
from alpamayo_vla_model.perception.objects import ObjectClass
from alpamayo_vla_model.vision import RigTensors

Array = np.ndarray

UNDISTURBED_SHARE, GREYED_SHARE, BLURRED_SHARE, NOISY_SHARE, COVERED_SHARE = 0.2, 0.5, 0.25, 0.4, 0.3  # of samples
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
    return torch.from_numpy(np.stack([_disturbed(sample, rng) for sample in images.numpy()]))


def _disturbed(sample: UInt8[Array, "2 cameras height width 3"], rng: np.random.Generator) -> Array:
    if rng.random() < UNDISTURBED_SHARE:
        return sample
    out = sample
    if rng.random() < GREYED_SHARE:
        grey = rng.uniform(0.0, 0.7) ** 1.5
        mixed = out.astype(np.float32) @ ((1.0 - grey) * np.eye(3) + grey / 3.0).astype(np.float32)
        out = mixed.astype(np.uint8)
    tone = np.linspace(0.0, 1.0, 256)[:, None] * rng.uniform(0.6, 1.45) * rng.uniform(0.8, 1.2, 3)
    table = (255.0 * np.clip(tone, 0.0, 1.0) ** rng.uniform(0.7, 1.5)).astype(np.uint8)
    out = np.stack([table[:, k][out[..., k]] for k in range(3)], axis=-1)
    if rng.random() < BLURRED_SHARE:
        out = _blurred(out)
    if rng.random() < NOISY_SHARE:
        noise = rng.standard_normal(out.shape, np.float32) * np.float32(255.0 * rng.uniform(0.0, 0.06))
        out = np.clip(out + noise, 0.0, 255.0).astype(np.uint8)
    return _covered(out, rng) if rng.random() < COVERED_SHARE else out


def _blurred(sample: UInt8[Array, "2 cameras height width 3"]) -> UInt8[Array, "2 cameras height width 3"]:
    """Return images whose pixels are means with their neighbours, a quarter each, along both axes."""
    wide = sample.astype(np.uint16)
    for axis in (2, 3):
        before, after = np.roll(wide, 1, axis), np.roll(wide, -1, axis)
        wide = (before + wide + wide + after) // np.uint16(4)
    return wide.astype(np.uint8)


def _covered(sample: UInt8[Array, "2 cameras height width 3"], rng: np.random.Generator) -> Array:
    out, camera = sample.copy(), int(rng.integers(sample.shape[1]))
    height, width = sample.shape[2:4]
    top, left = int(rng.integers(height - 8)), int(rng.integers(width - 8))
    rows, columns = int(rng.integers(4, 20)), int(rng.integers(4, 28))
    out[:, camera, top : top + rows, left : left + columns] = rng.integers(256)
    return out
