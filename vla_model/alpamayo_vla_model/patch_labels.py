"""Labels of image patches from the simulator, the head that is trained on them, and its loss.

The labels teach the vision encoder to see before it has to drive. The driver does not need them.
"""

import enum
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional


class PatchClass(enum.IntEnum):
    """The nearest thing that matters in a patch."""

    NOTHING = 0
    VEHICLE = 1
    TRUCK = 2
    BUS = 3
    MOTORCYCLE = 4
    CYCLIST = 5
    PEDESTRIAN = 6
    ANIMAL = 7
    CONE = 8
    BARRIER = 9
    DEBRIS = 10
    RED_LIGHT = 11
    YELLOW_LIGHT = 12
    GREEN_LIGHT = 13


@dataclass(frozen=True, eq=False)
class PatchLabels:
    """Labels of patches; distance (m) and velocity (m/s, ego axes) are those of the thing, where there is one.

    ``road`` is the share of the patch's pixels that show road.
    """

    kind: Int64[Tensor, "b cameras rows columns"]
    distance: Float[Tensor, "b cameras rows columns"]
    velocity: Float[Tensor, "b cameras rows columns 2"]
    road: Float[Tensor, "b cameras rows columns"]

    def rows(self, index: Tensor | slice) -> Self:
        """Return the selected samples."""
        return type(self)(self.kind[index], self.distance[index], self.velocity[index], self.road[index])


class PatchHead(nn.Module):
    """One linear layer: class scores, log of the distance, velocity / 10 m/s, road share."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, len(PatchClass) + 4)

    def forward(
        self, patches: Float[Tensor, "b cameras rows columns width"]
    ) -> Float[Tensor, "b cameras rows columns values"]:
        """Score patches."""
        out: Tensor = self.linear(self.norm(patches))
        return out


def patch_loss(scores: Float[Tensor, "b cameras rows columns values"], labels: PatchLabels) -> Float[Tensor, ""]:
    """Return the cross-entropy of the class (objects weigh ten times as much as none), and the regression losses."""
    scores = scores.float()
    classes, log_distance, velocity, road = torch.split(scores, [len(PatchClass), 1, 2, 1], dim=-1)
    weight = torch.ones(len(PatchClass), device=scores.device)
    weight[PatchClass.NOTHING] = 0.1
    kind = functional.cross_entropy(classes.flatten(0, -2), labels.kind.flatten(), weight=weight)
    there = (labels.kind != PatchClass.NOTHING).float()
    number = there.sum().clamp(min=1.0)
    wanted = torch.log(labels.distance.clamp(min=1.0))
    distance = ((log_distance[..., 0] - wanted).abs() * there).sum() / number
    motion = ((velocity - labels.velocity / 10.0).abs().sum(-1) * there).sum() / number
    return kind + 0.5 * distance + motion + (road[..., 0] - labels.road).abs().mean()
