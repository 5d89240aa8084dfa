"""The losses of perception."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from alpamayo_vla_model.perception.network import Cells, Road, cell_rays
from alpamayo_vla_model.perception.objects import CLASS_WEIGHTS, MOVABLE, SIGNALS, Control, ObjectClass
from alpamayo_vla_model.vision import RigTensors

FOCUS = 1.5  # exponent of the focal loss, Lin et al. 2017
MAX_BEARING_CELLS = 8.0
MIN_DISTANCE_M = 1.0
ROAD_WEIGHT, CONTROL_WEIGHT = 1.0, 0.5
FULL_TURN = 2.0 * torch.pi


@dataclass(frozen=True, eq=False)
class PerceptionTargets:
    """The labels of a batch, as in ``ObjectLabels`` and ``RoadLabels``."""

    objects: Float[Tensor, "b 48 10"]
    owner: Int64[Tensor, "b cameras rows columns"]
    ground: Int64[Tensor, "b 16 17"]
    control: Float[Tensor, "b 2"]


@dataclass(frozen=True, eq=False)
class CellTargets:
    """The right answer of each cell, in the units of ``Cells``; ``weight`` is 0 where there is no object."""

    kind: Int64[Tensor, "b cameras rows columns"]
    bearing: Float[Tensor, "b cameras rows columns"]
    log_distance: Float[Tensor, "b cameras rows columns"]
    heading: Float[Tensor, "b cameras rows columns 2"]
    log_size: Float[Tensor, "b cameras rows columns 3"]
    velocity: Float[Tensor, "b cameras rows columns 2"]
    weight: Float[Tensor, "b cameras rows columns"]


def cell_targets(targets: PerceptionTargets, rig: RigTensors) -> CellTargets:
    """Return what each cell should say; the cells of one object share a weight that grows with their number's root."""
    owner = targets.owner
    b, _, rows, columns = owner.shape
    there = owner >= 0
    flat = owner.clamp(min=0).flatten(1)
    own = torch.gather(targets.objects, 1, flat[..., None].expand(-1, -1, 10))
    own = torch.unflatten(own, 1, owner.shape[1:])
    kind, x, y, heading, length, width, height, vx, vy, _ = own.unbind(-1)
    azimuth, span = cell_rays(rig, rows, columns)
    east, north = x - rig.position[..., 0, None, None], y - rig.position[..., 1, None, None]
    bearing = torch.remainder(torch.atan2(north, east) - azimuth + torch.pi, FULL_TURN) - torch.pi
    c, s = torch.cos(azimuth), torch.sin(azimuth)
    count = torch.zeros(b, targets.objects.shape[1], device=x.device).scatter_add(1, flat, there.flatten(1).float())
    shared = torch.unflatten(torch.gather(count, 1, flat), 1, owner.shape[1:]).clamp(min=1.0)
    turned = heading - azimuth
    return CellTargets(
        kind=torch.where(there, kind.long(), 0),
        bearing=(bearing / span).clamp(-MAX_BEARING_CELLS, MAX_BEARING_CELLS),
        log_distance=torch.log(torch.hypot(east, north).clamp(min=MIN_DISTANCE_M)),
        heading=torch.stack([torch.sin(turned), torch.cos(turned)], dim=-1),
        log_size=torch.log(torch.stack([length, width, height], dim=-1).clamp(min=0.1)),
        velocity=torch.stack([c * vx + s * vy, c * vy - s * vx], dim=-1) / 10.0,
        weight=there.float() / shared.sqrt(),
    )


def perception_losses(
    cells: Cells, road: Road, targets: PerceptionTargets, rig: RigTensors
) -> dict[str, Float[Tensor, ""]]:
    """Return the parts of the loss; ``total`` is their sum."""
    wanted = cell_targets(targets, rig)
    parts = _cell_losses(cells, wanted) | _road_losses(road, targets)
    return parts | {"total": torch.stack(list(parts.values())).sum()}


def _cell_losses(cells: Cells, wanted: CellTargets) -> dict[str, Tensor]:
    weights = torch.tensor(CLASS_WEIGHTS, device=cells.kind.device)
    log_share = functional.log_softmax(cells.kind, dim=-1)
    right = torch.gather(log_share, -1, wanted.kind[..., None])[..., 0]
    there = (wanted.weight > 0).float()
    emphasis = torch.where(wanted.weight > 0, 0.5 + 0.5 * wanted.weight, 1.0)
    focal = -weights[wanted.kind] * emphasis * (1.0 - right.exp()) ** FOCUS * right
    number = wanted.weight.sum().clamp(min=1.0)
    moves = wanted.weight * _is(wanted.kind, MOVABLE)
    solid = wanted.weight * (1.0 - _is(wanted.kind, SIGNALS))
    doubt = cells.log_doubt
    return {
        "kind": focal.sum() / there.sum().clamp(min=1.0),
        "bearing": _laplace(cells.bearing - wanted.bearing, doubt[..., 0], wanted.weight) / number,
        "distance": _laplace(cells.log_distance - wanted.log_distance, doubt[..., 1], wanted.weight) / number,
        "velocity": _laplace((cells.velocity - wanted.velocity).abs().sum(-1), doubt[..., 2], moves)
        / moves.sum().clamp(min=1.0),
        "heading": _mean((cells.heading - wanted.heading).square().sum(-1), solid),
        "size": _mean((cells.log_size - wanted.log_size).abs().sum(-1), solid),
    }


def _road_losses(road: Road, targets: PerceptionTargets) -> dict[str, Tensor]:
    controlled = (targets.control[:, 0] > Control.NONE).float()
    log_distance = torch.log(targets.control[:, 1].clamp(min=MIN_DISTANCE_M))
    return {
        "ground": ROAD_WEIGHT * functional.cross_entropy(road.ground.flatten(0, -2), targets.ground.flatten()),
        "control": CONTROL_WEIGHT * functional.cross_entropy(road.control, targets.control[:, 0].long()),
        "line": _mean((road.log_distance - log_distance).abs(), controlled),
    }


def _laplace(error: Tensor, log_doubt: Tensor, weight: Tensor) -> Tensor:
    """Return the negative log-likelihood of errors under Laplace distributions of the given scales."""
    log_scale = log_doubt.clamp(-5.0, 2.0)
    return ((error.abs() * torch.exp(-log_scale) + log_scale) * weight).sum()


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1.0)


def _is(kind: Tensor, classes: tuple[ObjectClass, ...]) -> Tensor:
    return torch.isin(kind, torch.tensor([int(k) for k in classes], device=kind.device)).float()
