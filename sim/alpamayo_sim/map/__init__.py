"""Map queries: nearest lanes, drivable area, and the Frenet frame of a path.

``MapIndex`` is the one object that callers hold. Get it with ``index_of(road_map)``, so that all callers share it.
"""

from alpamayo_sim.map.index import MapIndex, index_of
from alpamayo_sim.map.lane_tree import LaneMatch

__all__ = ["LaneMatch", "MapIndex", "index_of"]
