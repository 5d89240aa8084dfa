"""The next stop of a reference driver: a line with a red or late yellow light, or a stop sign not yet obeyed."""

import math
from dataclasses import dataclass

from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.map.stop_lines import STOP_GAP_M, STOP_ZONE_M, RouteStop, must_stop

STOPPED_MPS = 0.4  # a stop at a sign is slower than this; the validator asks for 0.5 m/s


@dataclass(frozen=True, eq=False)
class DueStop:
    """A stop that is due: its line, and the distance (m) from the ego's front to ``STOP_GAP_M`` before it."""

    line: RouteStop
    distance: float


class StopMemory:
    """The stop lines of a route, and which of its stop signs the ego has obeyed since it left the line before."""

    def __init__(self, stops: tuple[RouteStop, ...]) -> None:
        self.stops = stops
        self._obeyed: set[int] = set()

    def update(self, truth: GroundTruth, s: float) -> None:
        """Remember the sign at which the ego stands now; ``s`` (m) is its arc length."""
        front = s + 0.5 * float(truth.ego_size[0])
        if truth.ego_speed < STOPPED_MPS:
            ahead = ((k, stop.s - front) for k, stop in enumerate(self.stops) if stop.signal is None)
            self._obeyed.update(k for k, distance in ahead if 0.0 <= distance < STOP_ZONE_M)

    def next(self, truth: GroundTruth, s: float, passed_m: float, sight_m: float = math.inf) -> DueStop | None:
        """Return the first stop that is due at arc length ``s`` (m); lines passed by up to ``passed_m`` still count."""
        front = s + 0.5 * float(truth.ego_size[0])
        for k, stop in enumerate(self.stops):
            distance = stop.s - STOP_GAP_M - front
            if -passed_m < distance < sight_m and self._is_due(k, truth, distance):
                return DueStop(stop, distance)
        return None

    def _is_due(self, k: int, truth: GroundTruth, distance: float) -> bool:
        signal = self.stops[k].signal
        if signal is None:
            return k not in self._obeyed and distance + STOP_GAP_M >= 0.0
        return must_stop(int(truth.signals[signal]), distance, float(truth.ego_speed))
