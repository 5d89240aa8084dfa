"""The grounds of several scenes on a device; each scene's texture is drawn and uploaded once."""

from collections.abc import Sequence

import numpy as np

from alpamayo_sim.byte_cache import byte_cache
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.sensors.ground import TEXEL, ground_texture
from alpamayo_sim.sensors.kernels.ground import Ground
from alpamayo_sim.warp_runtime import wp

GROUND_BYTES = 48 << 20  # kept at most


class GroundTable:
    """The grounds of the different scenes among ``scenes``, in the order that ``ground_numbers`` counts them.

    ``array`` holds pointers into the grounds, so that this object keeps them alive.
    """

    def __init__(self, device: str, scenes: Sequence[Scene]) -> None:
        self._kept = [ground_on(device, scene) for scene in _unique(scenes)]
        self.array = wp.array(self._kept, dtype=Ground, device=device)


def ground_numbers(scenes: Sequence[Scene]) -> list[int]:
    """Return the number of each scene among the different scenes."""
    order = {id(scene): k for k, scene in enumerate(_unique(scenes))}
    return [order[id(scene)] for scene in scenes]


@byte_cache(GROUND_BYTES)
def ground_on(device: str, scene: Scene) -> Ground:
    """Return a scene's ground texture on a device."""
    texture = ground_texture(scene)
    ground = Ground()
    ground.pages = wp.array(texture.pages.ravel(), dtype=wp.uint32, device=device)
    ground.table = wp.array(texture.table, dtype=wp.int32, device=device)
    levels = np.stack([texture.offset, texture.columns, texture.rows], axis=-1)
    ground.levels = wp.array(levels, dtype=wp.vec3i, device=device)
    ground.corner = wp.vec2(*(float(x) for x in texture.corner))
    ground.texel = TEXEL
    return ground


def _unique(scenes: Sequence[Scene]) -> list[Scene]:
    return list({id(scene): scene for scene in scenes}.values())
