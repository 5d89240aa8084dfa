"""Labels of image patches from the class, instance and depth of each pixel."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Int8, Int32, UInt8

from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.scene import SignalState
from alpamayo_sim.geometry import rotate
from alpamayo_sim.sensors import CameraImages, Semantic
from alpamayo_vla_model.perception.objects import ObjectClass
from alpamayo_vla_model.vision import PATCH

Array = np.ndarray

MIN_PATCH_PIXELS = 2  # pixels of objects in a patch that is not empty
MIN_OBJECT_PIXELS = 3  # pixels of a visible object in all cameras
MAX_DISTANCE_M = 500.0  # larger distances are labelled with this one
_CLASS = np.zeros(len(Semantic), np.int8)
for _kind in ObjectClass:
    if _kind.name in Semantic.__members__:
        _CLASS[Semantic[_kind.name]] = _kind
_CLASS[Semantic.TRAFFIC_LIGHT] = ObjectClass.GREEN_LIGHT  # until its state is known
_ROAD = np.isin(
    np.arange(len(Semantic)), [Semantic.ROAD, Semantic.LANE_MARKING, Semantic.CROSSWALK, Semantic.STOP_LINE]
)
_LIGHT = {SignalState.RED: ObjectClass.RED_LIGHT, SignalState.YELLOW: ObjectClass.YELLOW_LIGHT}


@dataclass(frozen=True, eq=False)
class PatchTable:
    """Labels of one step, as stored in ``Shard``."""

    kind: Int8[Array, "cameras rows columns"]
    distance: Float16[Array, "cameras rows columns"]
    velocity: Float16[Array, "cameras rows columns 2"]
    road: UInt8[Array, "cameras rows columns"]


def label_patches(images: CameraImages, truth: GroundTruth) -> PatchTable:
    """Label each patch with the nearest labelled object in it; image sides must be multiples of the patch size."""
    semantic, instance = _patches(images.semantic), _patches(images.instance)
    classes = _CLASS[semantic]
    depth = np.where(classes > 0, _patches(images.depth), np.inf)
    nearest = np.argmin(depth, axis=-1)[..., None]
    distance, owner, kind = (np.take_along_axis(a, nearest, -1)[..., 0] for a in (depth, instance, classes))
    present = (np.sum(classes > 0, axis=-1) >= MIN_PATCH_PIXELS) & np.isfinite(distance)
    kind = _with_signals(kind, owner, truth)
    velocity = _velocities(owner, truth)
    return PatchTable(
        kind=np.where(present, kind, 0).astype(np.int8),
        distance=np.where(present, np.minimum(distance, MAX_DISTANCE_M), 0.0).astype(np.float16),
        velocity=np.where(present[..., None], velocity, 0.0).astype(np.float16),
        road=np.round(255.0 * _ROAD[semantic].mean(axis=-1)).astype(np.uint8),
    )


def visible_ids(images: CameraImages, truth: GroundTruth, min_pixels: int = MIN_OBJECT_PIXELS) -> set[str]:
    """Return the ids of the agents with at least ``min_pixels`` pixels in the images."""
    rows, counts = np.unique(images.instance[images.instance >= 0], return_counts=True)
    return {truth.agents.ids[row] for row, count in zip(rows, counts, strict=True) if count >= min_pixels}


def _patches(image: Array) -> Array:
    cameras, height, width = image.shape
    cut = image.reshape(cameras, height // PATCH, PATCH, width // PATCH, PATCH)
    return cut.transpose(0, 1, 3, 2, 4).reshape(cameras, height // PATCH, width // PATCH, -1)


def _with_signals(kind: Array, owner: Int32[Array, "..."], truth: GroundTruth) -> Array:
    """Replace the class of traffic lights by that of their state."""
    for i, state in enumerate(truth.signals):
        kind = np.where(owner == -2 - i, int(_LIGHT.get(SignalState(state), ObjectClass.GREEN_LIGHT)), kind)
    return kind


def _velocities(owner: Int32[Array, "..."], truth: GroundTruth) -> Array:
    """Return the velocity (m/s, ego axes) of the owner of each patch; zero where it is not an agent."""
    table = np.zeros((len(truth.agents.ids) + 1, 2))
    table[:-1] = rotate(truth.agents.velocity.astype(np.float64), -float(truth.ego_pose[2]))
    return table[np.where(owner >= 0, owner, len(table) - 1)]
