"""Labels of image patches from what the renderer knows of each pixel."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Int8, Int32, UInt8

from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.scene import SignalState
from alpamayo_sim.geometry import rotate
from alpamayo_sim.sensors import CameraImages, Semantic
from alpamayo_vla_model.patch_labels import PatchClass
from alpamayo_vla_model.vision import PATCH

Array = np.ndarray

FEWEST_PIXELS = 2  # of a thing in a patch, for the patch to show it
_CLASS = np.zeros(len(Semantic), np.int8)
for _kind in PatchClass:
    if _kind.name in Semantic.__members__:
        _CLASS[Semantic[_kind.name]] = _kind
_CLASS[Semantic.TRAFFIC_LIGHT] = PatchClass.GREEN_LIGHT  # until its state is known
_ROAD = np.isin(
    np.arange(len(Semantic)), [Semantic.ROAD, Semantic.LANE_MARKING, Semantic.CROSSWALK, Semantic.STOP_LINE]
)
_LIGHT = {SignalState.RED: PatchClass.RED_LIGHT, SignalState.YELLOW: PatchClass.YELLOW_LIGHT}


@dataclass(frozen=True, eq=False)
class PatchTable:
    """Labels of one step, as ``Shard`` keeps them."""

    kind: Int8[Array, "cameras rows columns"]
    distance: Float16[Array, "cameras rows columns"]
    velocity: Float16[Array, "cameras rows columns 2"]
    road: UInt8[Array, "cameras rows columns"]


def label_patches(images: CameraImages, truth: GroundTruth) -> PatchTable:
    """Label each patch with the nearest thing in it that matters; image sides must be multiples of the patch."""
    semantic, instance = _patches(images.semantic), _patches(images.instance)
    things = _CLASS[semantic]
    depth = np.where(things > 0, _patches(images.depth), np.inf)
    nearest = np.argmin(depth, axis=-1)[..., None]
    distance, owner, kind = (np.take_along_axis(a, nearest, -1)[..., 0] for a in (depth, instance, things))
    there = (np.sum(things > 0, axis=-1) >= FEWEST_PIXELS) & np.isfinite(distance)
    kind = _with_signals(kind, owner, truth)
    velocity = _velocities(owner, truth)
    return PatchTable(
        kind=np.where(there, kind, 0).astype(np.int8),
        distance=np.where(there, np.minimum(distance, 500.0), 0.0).astype(np.float16),
        velocity=np.where(there[..., None], velocity, 0.0).astype(np.float16),
        road=np.round(255.0 * _ROAD[semantic].mean(axis=-1)).astype(np.uint8),
    )


def visible_ids(images: CameraImages, truth: GroundTruth, fewest: int = 3) -> set[str]:
    """Ids of the agents that at least ``fewest`` pixels of any camera show."""
    rows, counts = np.unique(images.instance[images.instance >= 0], return_counts=True)
    return {truth.agents.ids[row] for row, count in zip(rows, counts, strict=True) if count >= fewest}


def _patches(image: Array) -> Array:
    cameras, height, width = image.shape
    cut = image.reshape(cameras, height // PATCH, PATCH, width // PATCH, PATCH)
    return cut.transpose(0, 1, 3, 2, 4).reshape(cameras, height // PATCH, width // PATCH, -1)


def _with_signals(kind: Array, owner: Int32[Array, "..."], truth: GroundTruth) -> Array:
    """Traffic lights by what they show."""
    for i, state in enumerate(truth.signals):
        kind = np.where(owner == -2 - i, int(_LIGHT.get(SignalState(state), PatchClass.GREEN_LIGHT)), kind)
    return kind


def _velocities(owner: Int32[Array, "..."], truth: GroundTruth) -> Array:
    """Velocity (m/s, ego axes) of the owner of each patch; zero where that is no agent."""
    table = np.zeros((len(truth.agents.ids) + 1, 2))
    table[:-1] = rotate(truth.agents.velocity.astype(np.float64), -float(truth.ego_pose[2]))
    return table[np.where(owner >= 0, owner, len(table) - 1)]
