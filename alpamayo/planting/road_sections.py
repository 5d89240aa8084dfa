"""Cross-sections of the lanes of a map, and which lane of one corresponds to which lane of another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.datatypes.scene import Lane, LaneKind, RoadMap
from alpamayo_sim.geometry import to_frame

Array = np.ndarray

REACH_M = 25.0  # to either side, in which lanes count
OWN_LANE_M = 2.2  # at most, from the ego's path to the middle of its lane
SAME_LANE_M = 1.5  # between the middles of two lanes that count as one
ALONG_COSINE = 0.8  # of the angle to a lane that runs along the road
LANE_KINDS = (LaneKind.DRIVING, LaneKind.BUS)


@dataclass(frozen=True)
class LaneAcross:
    """A lane where it meets a cross-section: offset of its middle (m, left positive), width (m), and direction."""

    offset: float
    width: float
    forward: bool


@dataclass(frozen=True)
class LaneMatch:
    """Where the lanes of one cross-section lie in another.

    Attributes:
        offsets: rising offsets (m) in the first one ...
        matched: ... and the offsets (m) of the same places in the second one.
        missing: the lanes of the first one that the second one has not, and why.
        extra_right: lanes (number) that the second one has beyond those of the first at the right.
        extra_left: the same at the left.
    """

    offsets: Float64[Array, " n"]
    matched: Float64[Array, " n"]
    missing: tuple[tuple[LaneAcross, str], ...]
    extra_right: int
    extra_left: int

    def across(self, offset: Float64[Array, "..."]) -> Float64[Array, "..."]:
        """Return the offsets (m) in the second cross-section; beyond the outer lanes distances stay as they are."""
        inside = np.interp(offset, self.offsets, self.matched)
        beyond = np.minimum(offset - self.offsets[0], 0.0) + np.maximum(offset - self.offsets[-1], 0.0)
        return np.asarray(inside + beyond)

    def roadside(self, offset: float) -> int:
        """Return how many extra lanes lie between the road and its side at an offset (m) beyond the outer lanes."""
        if offset < self.offsets[0]:
            return self.extra_right
        return self.extra_left if offset > self.offsets[-1] else 0


def lanes_across(road_map: RoadMap, pose: Float64[Array, "3"]) -> list[LaneAcross]:
    """Return the lanes along the road at a pose (x, y, heading) on it, from right to left."""
    found = [at for lane in road_map.lanes if lane.kind in LANE_KINDS for at in _crossings(lane, pose)]
    kept: list[LaneAcross] = []
    for lane in sorted(found, key=lambda each: (each.offset, each.forward)):
        repeats = kept and kept[-1].forward is lane.forward and lane.offset - kept[-1].offset < SAME_LANE_M
        if not repeats:
            kept.append(lane)
    return kept


def match_lanes(family: Sequence[LaneAcross], recording: Sequence[LaneAcross]) -> LaneMatch | str:
    """Match the lanes of two cross-sections side by side, from the ego's lane outwards; or say why there is no match.

    A lane matches the next one of the other cross-section at the same side if both have the same direction.
    """
    own, other = _own(family), _own(recording)
    if own is None or other is None:
        return "the ego is not on a lane"
    right, right_missing = _side(family[:own][::-1], recording[:other][::-1], "right")
    left, left_missing = _side(family[own + 1 :], recording[other + 1 :], "left")
    pairs = [*right[::-1], (family[own], recording[other]), *left]
    return LaneMatch(
        offsets=_with_borders([lane for lane, _ in pairs]),
        matched=_with_borders([lane for _, lane in pairs]),
        missing=(*right_missing, *left_missing),
        extra_right=other - len(right),
        extra_left=len(recording) - other - 1 - len(left),
    )


def _with_borders(lanes: Sequence[LaneAcross]) -> Float64[Array, " n"]:
    """Return the offsets (m) of the middles of lanes, and of the outer borders before and after them."""
    right, left = lanes[0].offset - 0.5 * lanes[0].width, lanes[-1].offset + 0.5 * lanes[-1].width
    return np.array([right, *(lane.offset for lane in lanes), left])


def _side(
    family: Sequence[LaneAcross], recording: Sequence[LaneAcross], side: str
) -> tuple[list[tuple[LaneAcross, LaneAcross]], list[tuple[LaneAcross, str]]]:
    """Return the matched lanes of one side from the ego's lane outwards, and the missing ones with the reason."""
    pairs: list[tuple[LaneAcross, LaneAcross]] = []
    for k, lane in enumerate(family):
        if k >= len(recording):
            return pairs, [(each, _lacks(each, side, "none")) for each in family[k:]]
        if recording[k].forward is not lane.forward:
            found = "one of its own direction" if recording[k].forward else "an oncoming one"
            return pairs, [(each, _lacks(each, side, found)) for each in family[k:]]
        pairs.append((lane, recording[k]))
    return pairs, []


def _lacks(lane: LaneAcross, side: str, found: str) -> str:
    wanted = "a lane of its own direction" if lane.forward else "an oncoming lane"
    return f"at its {side} the ego needs {wanted}, there is {found}"


def _own(lanes: Sequence[LaneAcross]) -> int | None:
    """Return the number of the lane that the path at offset 0 is on; None where it is on none of its direction."""
    near = [(abs(lane.offset), k) for k, lane in enumerate(lanes) if lane.forward and abs(lane.offset) < OWN_LANE_M]
    return min(near)[1] if near else None


def _crossings(lane: Lane, pose: Float64[Array, "3"]) -> list[LaneAcross]:
    """Return where a lane meets the normal of a pose, if it runs along the pose's heading there."""
    line = to_frame(lane.centreline[:, :2].astype(np.float64), pose)
    (rows,) = np.nonzero((line[:-1, 0] <= 0.0) != (line[1:, 0] <= 0.0))
    found = []
    for row in rows:
        step = np.asarray(line[row + 1] - line[row])
        share = -line[row, 0] / step[0]
        offset = float(line[row, 1] + share * step[1])
        if abs(step[0]) >= ALONG_COSINE * np.hypot(*step) and abs(offset) < REACH_M:
            width = float(lane.width[row] + share * (lane.width[row + 1] - lane.width[row]))
            found.append(LaneAcross(offset, width, bool(step[0] > 0.0)))
    return found
