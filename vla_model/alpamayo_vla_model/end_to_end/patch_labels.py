"""Labels of image patches from the simulator, the head that is trained on them, and its loss.

The labels teach the vision encoder to see before it has to drive. The driver does not need them.
"""

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from alpamayo_vla_model.perception.objects import ObjectClass

PATCH_CLASSES = len(ObjectClass) - 1  # unlit lights count as green ones


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
        self.linear = nn.Linear(width, PATCH_CLASSES + 4)

    def forward(
        self, patches: Float[Tensor, "b cameras rows columns width"]
    ) -> Float[Tensor, "b cameras rows columns values"]:
        """Score patches."""
        out: Tensor = self.linear(self.norm(patches))
        return out


def patch_loss(scores: Float[Tensor, "b cameras rows columns values"], labels: PatchLabels) -> Float[Tensor, ""]:
    """Return the cross-entropy of the class (objects weigh ten times as much as none), and the regression losses."""
    scores = scores.float()
    classes, log_distance, velocity, road = torch.split(scores, [PATCH_CLASSES, 1, 2, 1], dim=-1)
    weight = torch.ones(PATCH_CLASSES, device=scores.device)
    weight[ObjectClass.NOTHING] = 0.1
    kind = functional.cross_entropy(classes.flatten(0, -2), labels.kind.flatten(), weight=weight)
    there = (labels.kind != ObjectClass.NOTHING).float()
    number = there.sum().clamp(min=1.0)
    wanted = torch.log(labels.distance.clamp(min=1.0))
    distance = ((log_distance[..., 0] - wanted).abs() * there).sum() / number
    motion = ((velocity - labels.velocity / 10.0).abs().sum(-1) * there).sum() / number
    return kind + 0.5 * distance + motion + (road[..., 0] - labels.road).abs().mean()
