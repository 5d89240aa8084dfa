"""What is known of every ego of every world, as arrays over [world, ego]."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float32, Int32

Array = np.ndarray
OFF_ROUTE = 4.0  # m


class Egos:
    """The egos of all worlds: the scene's own first, then the scenario's ``egos`` in their order.

    Arrays are those of :class:`WorldBatch`'s properties with an axis more; rows of egos that a world does not have are
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
        return self._view("drivable_margin")

    @property
    def off_road(self) -> Bool[Array, "worlds egos"]:
        """Whether any corner is outside the drivable area; False where none is known."""
        return self.drivable_margin < 0.0

    @property
    def time_to_collision(self) -> Float32[Array, "worlds egos"]:
        """Time (s) to the first collision if all keep velocity and heading: 0 in a contact, 5 where none is in 5 s."""
        return self._view("time_to_collision")

    @property
    def lane(self) -> Int32[Array, "worlds egos"]:
        """Index of the lane that the centre is on or within 3 m of, as ``MapIndex.nearest_lane`` chooses; -1: none."""
        return self._view("ego_lane")

    @property
    def lane_offset(self) -> Float32[Array, "worlds egos"]:
        """Signed distance (m, left positive) of the centre from that lane's centreline."""
        return self._view("lane_offset")

    @property
    def wrong_way(self) -> Bool[Array, "worlds egos"]:
        """Whether the centre is on a lane (by its mean width) and the heading is more than 90 degrees off the lane's.

        Where lanes of both ways overlap, the one that goes the ego's way counts.
        """
        return self._view("wrong_way")

    @property
    def speed_limit(self) -> Float32[Array, "worlds egos"]:
        """Speed limit (m/s) of the lane; 0 where there is none or it is not known."""
        return self._view("speed_limit")

    @property
    def overspeed(self) -> Float32[Array, "worlds egos"]:
        """Speed (m/s) over the limit; 0 where no limit is known."""
        limit = self.speed_limit
        return np.where(limit > 0.0, np.maximum(self.speed - limit, 0.0), 0.0).astype(np.float32)

    @property
    def red_lights(self) -> Int32[Array, "worlds egos"]:
        """How many times since the reset the front bumper came over the stop line of a signal that was red then.

        Lanes of a signal without a stop line have theirs at their start.
        """
        return self._view("red_lights")

    @property
    def off_route(self) -> Bool[Array, "worlds egos"]:
        """Whether the centre is more than 4 m, a lane's width and a little, from the route."""
        return np.abs(self.lateral_offset) > OFF_ROUTE

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
