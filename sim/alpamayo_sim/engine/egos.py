"""Values of each ego of each world, as arrays over [world, ego]."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float32, Int32

Array = np.ndarray
OFF_ROUTE_M = 4.0  # a lane's width and a margin


class Egos:
    """The egos of all worlds: the scene's own first, then the scenario's ``egos`` in their order.

    Arrays are live views as those of :class:`WorldBatch`; rows of egos that a world does not have are
    zeros (see ``present``).
    """

    def __init__(self, view: Callable[[str], Array], present: Bool[Array, "worlds egos"]) -> None:
        self._view = view
        self.present = present

    @property
    def count(self) -> int:
        """Return the largest number of egos of a world."""
        return self.present.shape[1]

    @property
    def pose(self) -> Float32[Array, "worlds egos 3"]:
        """x, y (m), heading (rad) of the box centres."""
        return self._view("pose")[:, : self.count]

    @property
    def speed(self) -> Float32[Array, "worlds egos"]:
        """Return the speed (m/s)."""
        return self._view("speed")[:, : self.count]

    @property
    def acceleration(self) -> Float32[Array, "worlds egos"]:
        """Return the acceleration (m/s²) over the last step."""
        return self._view("acceleration")

    @property
    def curvature(self) -> Float32[Array, "worlds egos"]:
        """Return the curvature (1/m, left positive) of the last step."""
        return self._view("curvature")

    @property
    def collided(self) -> Bool[Array, "worlds egos"]:
        """Return whether the box overlaps the box of any other agent, other egos included."""
        return self._view("collided")

    @property
    def drivable_margin(self) -> Float32[Array, "worlds egos"]:
        """Return the least distance (m) of the corners to the border of the drivable area, negative outside.

        Clamped to +-4 m; +4 m without a drivable area. Exact up to float32: it agrees with ``MapIndex`` to a
        millimetre within the map; more than 4 m outside the map it is the value of the nearest point of the map.
        """
        return self._view("drivable_margin")

    @property
    def off_road(self) -> Bool[Array, "worlds egos"]:
        """Return whether a corner is outside the drivable area; False without a drivable area."""
        return self.drivable_margin < 0.0

    @property
    def time_to_collision(self) -> Float32[Array, "worlds egos"]:
        """Return the time (s) to the first collision at constant velocity and heading: 0 in a contact, at most 5."""
        return self._view("time_to_collision")

    @property
    def lane(self) -> Int32[Array, "worlds egos"]:
        """Return the index of the lane within 3 m of the centre that ``MapIndex`` chooses; -1: none."""
        return self._view("ego_lane")

    @property
    def lane_offset(self) -> Float32[Array, "worlds egos"]:
        """Return the signed distance (m, left positive) of the centre from the centreline of ``lane``."""
        return self._view("lane_offset")

    @property
    def wrong_way(self) -> Bool[Array, "worlds egos"]:
        """Return whether the centre is on a lane (by its mean width) and the heading differs by more than 90 degrees.

        Where lanes of opposite directions overlap, the lane in the ego's direction counts.
        """
        return self._view("wrong_way")

    @property
    def speed_limit(self) -> Float32[Array, "worlds egos"]:
        """Return the speed limit (m/s) of the lane; 0 if it is unknown or there is no lane."""
        return self._view("speed_limit")

    @property
    def overspeed(self) -> Float32[Array, "worlds egos"]:
        """Return the speed (m/s) above the limit; 0 without a known limit."""
        limit = self.speed_limit
        return np.where(limit > 0.0, np.maximum(self.speed - limit, 0.0), 0.0).astype(np.float32)

    @property
    def red_lights(self) -> Int32[Array, "worlds egos"]:
        """Return how often since the reset the front bumper has crossed the stop line of a red signal.

        A signal's lanes without a stop line have it at their start.
        """
        return self._view("red_lights")

    @property
    def off_route(self) -> Bool[Array, "worlds egos"]:
        """Return whether the centre is more than ``OFF_ROUTE_M`` from the route."""
        return np.abs(self.lateral_offset) > OFF_ROUTE_M

    @property
    def progress(self) -> Float32[Array, "worlds egos"]:
        """Return the largest arc length (m) along the route that the ego has reached; it never decreases."""
        return self._view("progress")

    @property
    def lateral_offset(self) -> Float32[Array, "worlds egos"]:
        """Return the signed distance (m, left positive) from the route."""
        return self._view("lateral_offset")

    @property
    def arrived(self) -> Bool[Array, "worlds egos"]:
        """Return whether the progress is within 0.1 m of the goal's distance, or beyond."""
        return self._view("arrived")
