"""The quick question that a guard asks: whom does each of many motions meet first, and when does it leave the road?"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int32

from alpamayo.validator.contacts import REAR_AXLE
from alpamayo.validator.packed import AgentBoxes
from alpamayo.validator.rules.drivable_area import ROAD_MARGIN_LIMIT_M
from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS
from alpamayo_sim.geometry import oriented
from alpamayo_sim.map.drivable_area import DrivableArea
from alpamayo_sim.prediction.trajectories import AgentTrajectories
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
HASTE_TIME = 2.5  # s
TIMES = PLAN_DT * np.arange(PLAN_STEPS + 1)


@dataclass(frozen=True, eq=False)
class Motions:
    """N motions of the ego over the 65 times of a plan, in the world.

    The box of each is ``size`` (length, width), longer by its ``standoff`` (m) in front; to it the others are longer
    and wider by its ``doubt`` (m), and those who cross its way (at more than 30 degrees) may have come further or less
    far than they should, as if they sped up or braked at its ``haste`` (m/s²) for up to 2.5 s.
    """

    pose: Float64[Array, "n 65 3"]
    speed: Float64[Array, "n 65"]
    size: Float64[Array, "2"]
    standoff: Float64[Array, " n"] | float = 0.0
    doubt: Float64[Array, "n 2"] | tuple[float, float] = (0.0, 0.0)
    haste: Float64[Array, " n"] | float = 0.0

    @cached_property
    def boxes(self) -> Float64[Array, "n 65 4"]:
        """Centre, cosine and sine of the heading."""
        return oriented(self.pose)


@dataclass(frozen=True, eq=False)
class Danger:
    """What would become of N motions.

    First contact (s, inf is none), the relative speed then (m/s), with whom (row of the traffic, -1 is nobody),
    and the first time that a corner is off the road (s, inf is never).
    """

    contact: Float64[Array, " n"]
    impact: Float64[Array, " n"]
    whom: Array
    off_road: Float64[Array, " n"]

    @property
    def clean(self) -> Bool[Array, " n"]:
        """No contact and no leaving of the road at all."""
        return np.isinf(self.contact) & np.isinf(self.off_road)

    @property
    def severity(self) -> Float64[Array, " n"]:
        """How badly each ends: contacts by their speed, then leaving the road; the sooner the worse."""
        met = np.isfinite(self.contact)
        soon = np.exp(-np.where(met, self.contact, 0.0) / 4.0)
        off = np.where(np.isfinite(self.off_road), 1.0 / (1.0 + np.minimum(self.off_road, 1e3)), 0.0)
        return np.where(met, 10.0 + self.impact * soon, 0.0) + off

    def take(self, rows: slice) -> "Danger":
        """Of some of the motions."""
        return Danger(self.contact[rows], self.impact[rows], self.whom[rows], self.off_road[rows])


def danger(motions: Motions, traffic: AgentTrajectories, there: AgentBoxes, area: DrivableArea, floor: float) -> Danger:
    """First contact that does not come from behind, and first time further off the road than ``floor`` (m, negative).

    Whoever overlaps the box without its standoff from the start is not looked at: that contact cannot be avoided
    any more. Someone who is in the standoff from the start does count only once it comes nearer than that.
    ``there`` are the boxes of the ``traffic``.
    """
    count = len(motions.pose)
    when, whom = first_meetings(motions, there)
    met = np.flatnonzero(whom >= 0)
    t, a = when[met], whom[met]
    contact, impact = np.full(count, np.inf), np.zeros(count)
    contact[met] = TIMES[t]
    own = motions.speed[met, t][:, None] * motions.boxes[met, t, 2:]
    impact[met] = np.linalg.norm(own - traffic.velocity[a, t], axis=-1)
    return Danger(contact, impact, whom, _off_road(motions, area, floor))


def first_meetings(motions: Motions, there: AgentBoxes) -> tuple[Int32[Array, " n"], Int32[Array, " n"]]:
    """Step of the first contact of each motion that ``danger`` tells of, and with whom; -1 where there is none."""
    from alpamayo.guard.kernels import meetings_to_avoid

    count = len(motions.pose)
    sizes = np.empty((count, 4))
    sizes[:, 0], sizes[:, 1:3], sizes[:, 3] = motions.standoff, 0.5 * np.asarray(motions.doubt), motions.haste
    met, known = np.full((2, count), -1, np.int32), np.zeros((count, len(there.boxes)), np.uint8)
    half, rear = wp.vec2d(*(0.5 * motions.size)), float(REAR_AXLE * motions.size[0])
    inputs = [motions.boxes, half, rear, sizes, HASTE_TIME, PLAN_DT, *there.inputs, known, met]
    wp.launch(meetings_to_avoid, dim=count, inputs=inputs, device="cpu")
    return met[0], met[1]


def braked(
    pose: Float64[Array, "n 65 3"], speed: Float64[Array, "n 65"], rate: Float64[Array, " n"], delay: float
) -> tuple[Float64[Array, "n 65 3"], Float64[Array, "n 65"]]:
    """The same paths, driven as given for ``delay`` (s), then braked at ``rate`` (m/s²) to rest; held at their end."""
    way = arc_lengths(pose)
    held = round(delay / PLAN_DT)
    first = speed[:, held : held + 1]
    t = np.maximum(TIMES - TIMES[held], 0.0)
    lasting = np.minimum(t, first / rate[:, None])
    s = way[:, held : held + 1] + first * lasting - 0.5 * rate[:, None] * lasting**2
    slow = np.maximum(first - rate[:, None] * t, 0.0)
    s[:, : held + 1], slow[:, : held + 1] = way[:, : held + 1], speed[:, : held + 1]
    beyond = s >= way[:, -1:]
    return along(pose, way, s), np.where(beyond, 0.0, slow)


def arc_lengths(pose: Float64[Array, "n 65 3"]) -> Float64[Array, "n 65"]:
    """Way (m) that each motion has come at each time."""
    step = np.diff(pose[..., :2], axis=1)
    way = np.zeros(pose.shape[:2])
    np.cumsum(np.hypot(step[..., 0], step[..., 1]), axis=1, out=way[:, 1:])
    return way


def free_ways(
    paths: Float64[Array, "p n 3"],
    s: Float64[Array, "p n"],
    size: Float64[Array, "2"],
    rooms: Sequence[float],
    there: AgentBoxes,
) -> Float64[Array, "p r 65"]:
    """How far (m) along paths a box may be at each time before it meets someone; infinite where it meets nobody.

    ``paths`` are the poses at the arc lengths ``s``; who is behind the first of them does not count. The box keeps
    each of the ``rooms`` (m) before and behind it.
    """
    from alpamayo.guard.kernels import first_blocked

    first = np.empty((len(paths), len(rooms), len(TIMES)), np.int32)
    half, rear = wp.vec2d(*(0.5 * size)), float(REAR_AXLE * size[0])
    inputs = [oriented(paths), half, rear, np.array(rooms), *there.inputs, first]
    wp.launch(first_blocked, dim=first.shape, inputs=inputs, device="cpu")
    ends = np.concatenate([np.zeros((len(s), 1)), s[:, :-1], np.full((len(s), 1), np.inf)], axis=1)
    return np.take_along_axis(ends[:, None], first, axis=2)


def corner_margins(area: DrivableArea, pose: Array, size: Array) -> Float64[Array, "..."]:
    """Least distance (m) of the corners of boxes to the border of the road, positive inside, at most 5 m."""
    return area.box_margin(oriented(pose.reshape(1, -1, 3)), size, ROAD_MARGIN_LIMIT_M).reshape(pose.shape[:-1])


def _off_road(motions: Motions, area: DrivableArea, floor: float) -> Float64[Array, " n"]:
    if not area.is_defined:
        return np.full(len(motions.pose), np.inf)
    first = area.first_step_outside(motions.boxes, motions.size, -floor)
    return np.where(first >= 0, TIMES[first], np.inf)


def along(
    pose: Float64[Array, "n m 3"], way: Float64[Array, "n m"], s: Float64[Array, "n t"]
) -> Float64[Array, "n t 3"]:
    """Poses at the arc lengths ``s`` of each path with the arc lengths ``way``, held at both ends."""
    from alpamayo.guard.kernels import poses_along

    out = np.empty((*s.shape, 3))
    wp.launch(poses_along, dim=len(pose), inputs=[pose, way, s, out], device="cpu")
    return out
