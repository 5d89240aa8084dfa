"""Chains of lanes that agents follow, and the thresholds that decide which agents follow a lane."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alpamayo_sim.datatypes.scene import RoadMap


@dataclass(frozen=True)
class LaneFollowingConfig:
    """Thresholds of lane following.

    Attributes:
        aligned_angle_rad: the greatest angle between the motion of an agent and the lane that it follows, in either
            direction.
        moving_mps: the speed above which an agent counts as moving.
        path_length_m: the length of the lanes that are followed beyond the agent's own.
    """

    aligned_angle_rad: float
    moving_mps: float
    path_length_m: float


GUARD_LANE_FOLLOWING = LaneFollowingConfig(float(np.deg2rad(30.0)), 0.5, 300.0)
EXPERT_LANE_FOLLOWING = LaneFollowingConfig(float(np.deg2rad(50.0)), 0.3, 200.0)


class LaneGraph:
    """The successors and predecessors of each lane of a map, by the numbers of the lanes."""

    def __init__(self, road_map: RoadMap) -> None:
        number = {lane.id: i for i, lane in enumerate(road_map.lanes)}
        self._successors = [[number[name] for name in lane.successors if name in number] for lane in road_map.lanes]
        self._predecessors: list[list[int]] = [[] for _ in road_map.lanes]
        for i, following in enumerate(self._successors):
            for j in following:
                self._predecessors[j].append(i)

    def chain(
        self,
        lane: int,
        against: bool,
        lengths: tuple[float, float],
        length_of: Callable[[int], float],
        turn_of: Callable[[int, int], float],
    ) -> list[int]:
        """Return the straightest continuation of a lane.

        Args:
            lane: the number of the lane.
            against: follow predecessors instead of successors.
            lengths: the length (m) at the beginning of the chain, and the length to reach.
            length_of: the length (m) of a lane.
            turn_of: the cost of going from one lane to the next; the least is taken.
        """
        following = self._predecessors if against else self._successors
        (length, end), visited, chain = lengths, {lane}, []
        while length < end:
            options = [option for option in following[lane] if option not in visited]
            if not options:
                break
            lane = min(options, key=lambda option, current=lane: turn_of(current, option))  # type: ignore[misc]
            visited.add(lane)
            chain.append(lane)
            length += length_of(lane)
        return chain
