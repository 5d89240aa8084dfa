"""What is known of every ego of every world, as arrays over [world, ego]."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float32

Array = np.ndarray


class Egos:
    """The egos of all worlds: the scene's own first, then the scenario's ``egos`` in their order.

    Arrays are those of :class:`World`'s properties with an axis more; rows of egos that a world does not have are
    zeros, see ``present``.
    """

    def __init__(self, view: Callable[[str], Array], present: Bool[Array, "worlds egos"]) -> None:
        self._view = view
        self.present = present

    @property
    def count(self) -> int:
        """The number of egos of the world that has most."""
        return self.present.shape[1]

    @property
    def pose(self) -> Float32[Array, "worlds egos 3"]:
        """x, y (m), heading (rad) of the box centres."""
        return self._view("pose")[:, : self.count]

    @property
    def speed(self) -> Float32[Array, "worlds egos"]:
        """Speed (m/s)."""
        return self._view("speed")[:, : self.count]

    @property
    def acceleration(self) -> Float32[Array, "worlds egos"]:
        """Acceleration (m/s²) over the last step."""
        return self._view("acceleration")

    @property
    def curvature(self) -> Float32[Array, "worlds egos"]:
        """Curvature (1/m, left positive) of the last step."""
        return self._view("curvature")

    @property
    def collided(self) -> Bool[Array, "worlds egos"]:
        """Whether the box overlaps any agent's now, that of another ego included."""
        return self._view("collided")

    @property
    def drivable_margin(self) -> Float32[Array, "worlds egos"]:
        """Least distance (m) of the corners to the border of the drivable area, negative outside.

        Clamped to +-4 m; +4 m where no area is known. Exact up to float32: it agrees with ``MapIndex`` to a
        millimetre within the map, and beyond 4 m outside it is the nearest known point's.
        """
        return self._view("margin")

    @property
    def off_road(self) -> Bool[Array, "worlds egos"]:
        """Whether any corner is outside the drivable area; False where none is known."""
        return self.drivable_margin < 0.0

    @property
    def progress(self) -> Float32[Array, "worlds egos"]:
        """Arc length (m) along the route that the ego has come; it never goes back."""
        return self._view("progress")

    @property
    def lateral_offset(self) -> Float32[Array, "worlds egos"]:
        """Signed distance (m, left positive) from the route."""
        return self._view("lateral_offset")

    @property
    def arrived(self) -> Bool[Array, "worlds egos"]:
        """Whether the progress has come to within 0.1 m of the goal's distance."""
        return self._view("arrived")
