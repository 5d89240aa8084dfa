"""Outcomes of many motions of the ego: first contact, impact speed, road departure."""

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
TIMES = PLAN_DT * np.arange(PLAN_STEPS + 1)  # s; of the poses of a plan, the first one is now


@dataclass(frozen=True, eq=False)
class CandidateMotions:
    """N motions of the ego in world coordinates, sampled at the times of the agents' boxes.

    Attributes:
        pose: x, y (m) and heading (rad) of the centre of the box.
        speed: speed (m/s).
        size: length and width (m) of the ego.
        front_clearance: the length (m) added to the front of the box of each motion.
        size_margin: the length and width (m) added to the agents for each motion.
        speed_uncertainty: the acceleration (m/s²) by which agents that cross a motion at more than 30 degrees may
            deviate from their prediction; their boxes grow in length accordingly.
        uncertainty_s: the time (s) for which that deviation grows.
    """

    pose: Float64[Array, "n t 3"]
    speed: Float64[Array, "n t"]
    size: Float64[Array, "2"]
    front_clearance: Float64[Array, " n"] | float = 0.0
    size_margin: Float64[Array, "n 2"] | tuple[float, float] = (0.0, 0.0)
    speed_uncertainty: Float64[Array, " n"] | float = 0.0
    uncertainty_s: float = 0.0

    @cached_property
    def boxes(self) -> Float64[Array, "n t 4"]:
        """Centre (m), cosine and sine of the heading."""
        return oriented(self.pose)


@dataclass(frozen=True, eq=False)
class MotionOutcomes:
    """The outcomes of N motions.

    Attributes:
        contact_time: the time (s) of the first contact; infinite without one.
        impact_speed: the relative speed (m/s) at that contact.
        agent_index: the row of the agent in the prediction; -1 without a contact.
        off_road_time: the time (s) at which a corner first leaves the road; infinite if it never does.
    """

    contact_time: Float64[Array, " n"]
    impact_speed: Float64[Array, " n"]
    agent_index: Int32[Array, " n"]
    off_road_time: Float64[Array, " n"]

    @property
    def is_clean(self) -> Bool[Array, " n"]:
        """Whether a motion has no contact and stays on the road."""
        return np.isinf(self.contact_time) & np.isinf(self.off_road_time)

    @property
    def severity(self) -> Float64[Array, " n"]:
        """Rank motions by harm: contacts by impact speed, then road departures; earlier is worse."""
        has_contact = np.isfinite(self.contact_time)
        urgency = np.exp(-np.where(has_contact, self.contact_time, 0.0) / 4.0)
        departs = np.isfinite(self.off_road_time)
        departure = np.where(departs, 1.0 / (1.0 + np.minimum(self.off_road_time, 1e3)), 0.0)
        return np.where(has_contact, 10.0 + self.impact_speed * urgency, 0.0) + departure

    def take(self, rows: slice) -> "MotionOutcomes":
        """Select some of the motions."""
        arrays = self.contact_time, self.impact_speed, self.agent_index, self.off_road_time
        return MotionOutcomes(*(array[rows] for array in arrays))


def motion_outcomes(
    motions: CandidateMotions,
    prediction: AgentTrajectories,
    boxes: AgentBoxes,
    area: DrivableArea,
    off_road_tolerance: float,
    elevation: Float64[Array, "n t"] | None = None,
) -> MotionOutcomes:
    """Compute first contacts that are not from behind, and first road departures.

    An agent that overlaps the ego itself at the start is ignored: that contact can no longer be avoided. An agent
    that is already within the front clearance counts only if it overlaps the ego itself later.

    Args:
        motions: the motions of the ego.
        prediction: the predicted agents.
        boxes: the same agents as boxes.
        area: the drivable area.
        off_road_tolerance: the distance (m) outside the drivable area from which a corner is off the road.
        elevation: the z (m) of the ground under the motions, on a map with levels.
    """
    count = len(motions.pose)
    step, agent = first_contacts(motions, boxes)
    rows = np.flatnonzero(agent >= 0)
    t, a = step[rows], agent[rows]
    contact_time, impact_speed = np.full(count, np.inf), np.zeros(count)
    contact_time[rows] = TIMES[t]
    ego_velocity = motions.speed[rows, t][:, None] * motions.boxes[rows, t, 2:]
    impact_speed[rows] = np.linalg.norm(ego_velocity - prediction.velocity[a, t], axis=-1)
    off_road = _off_road_times(motions, area, off_road_tolerance, elevation)
    return MotionOutcomes(contact_time, impact_speed, agent, off_road)


def first_contacts(motions: CandidateMotions, boxes: AgentBoxes) -> tuple[Int32[Array, " n"], Int32[Array, " n"]]:
    """Find the step and the agent of each motion's first contact; -1 without one."""
    from alpamayo.guard.kernels import first_avoidable_contacts

    count = len(motions.pose)
    margins = np.empty((count, 4))
    margins[:, 0], margins[:, 1:3] = motions.front_clearance, 0.5 * np.asarray(motions.size_margin)
    margins[:, 3] = motions.speed_uncertainty
    found, pair_state = np.full((2, count), -1, np.int32), np.zeros((count, len(boxes.boxes)), np.uint8)
    half, rear = wp.vec2d(*(0.5 * motions.size)), float(REAR_AXLE * motions.size[0])
    inputs = [motions.boxes, half, rear, margins, motions.uncertainty_s, PLAN_DT, *boxes.inputs, pair_state, found]
    wp.launch(first_avoidable_contacts, dim=count, inputs=inputs, device="cpu")
    return found[0], found[1]


def free_distances(
    paths: Float64[Array, "p n 3"],
    s: Float64[Array, "p n"],
    size: Float64[Array, "2"],
    clearances: Sequence[float],
    boxes: AgentBoxes,
) -> Float64[Array, "p r 65"]:
    """Compute how far (m) a box may be along each path at each time before it touches an agent.

    Args:
        paths: poses along each path.
        s: their arc lengths (m).
        size: length and width (m) of the box.
        clearances: the gaps (m) that the box keeps in front and behind, one result for each.
        boxes: the agents. Agents behind the first pose are ignored.

    Returns:
        The distances (m), infinite where no agent is on the path.
    """
    from alpamayo.guard.kernels import first_blocked_poses

    first = np.empty((len(paths), len(clearances), len(TIMES)), np.int32)
    half, rear = wp.vec2d(*(0.5 * size)), float(REAR_AXLE * size[0])
    inputs = [oriented(paths), half, rear, np.array(clearances), *boxes.inputs, first]
    wp.launch(first_blocked_poses, dim=first.shape, inputs=inputs, device="cpu")
    ends = np.concatenate([np.zeros((len(s), 1)), s[:, :-1], np.full((len(s), 1), np.inf)], axis=1)
    return np.take_along_axis(ends[:, None], first, axis=2)


def braked(
    pose: Float64[Array, "n 65 3"], speed: Float64[Array, "n 65"], deceleration: Float64[Array, " n"], delay: float
) -> tuple[Float64[Array, "n 65 3"], Float64[Array, "n 65"]]:
    """Follow motions for ``delay`` (s), then brake along the same paths at ``deceleration`` (m/s²) to standstill."""
    distance = arc_lengths(pose)
    start = round(delay / PLAN_DT)
    initial = speed[:, start : start + 1]
    t = np.maximum(TIMES - TIMES[start], 0.0)
    braking_time = np.minimum(t, initial / deceleration[:, None])
    s = distance[:, start : start + 1] + initial * braking_time - 0.5 * deceleration[:, None] * braking_time**2
    slower = np.maximum(initial - deceleration[:, None] * t, 0.0)
    s[:, : start + 1], slower[:, : start + 1] = distance[:, : start + 1], speed[:, : start + 1]
    beyond_end = s >= distance[:, -1:]
    return poses_at(pose, distance, s), np.where(beyond_end, 0.0, slower)


def arc_lengths(pose: Float64[Array, "n 65 3"]) -> Float64[Array, "n 65"]:
    """Compute the distance (m) that each motion has covered at each time."""
    step = np.diff(pose[..., :2], axis=1)
    distance = np.zeros(pose.shape[:2])
    np.cumsum(np.hypot(step[..., 0], step[..., 1]), axis=1, out=distance[:, 1:])
    return distance


def poses_at(
    pose: Float64[Array, "n m 3"], distance: Float64[Array, "n m"], s: Float64[Array, "n t"]
) -> Float64[Array, "n t 3"]:
    """Interpolate poses at arc lengths ``s`` of paths with poses at ``distance`` (m); clamp at both ends."""
    from alpamayo.guard.kernels import poses_along

    out = np.empty((*s.shape, 3))
    wp.launch(poses_along, dim=len(pose), inputs=[pose, distance, s, out], device="cpu")
    return out


def corner_margins(
    area: DrivableArea,
    pose: Float64[Array, "n 3"],
    size: Float64[Array, "2"],
    elevation: Float64[Array, " n"] | None = None,
) -> Float64[Array, " n"]:
    """Compute the least signed distance (m, positive inside) of box corners to the border, at most 5 m.

    ``elevation`` is the z (m) of the ground under the boxes.
    """
    return area.box_margin(oriented(pose[None])[0], size, ROAD_MARGIN_LIMIT_M, elevation)


def _off_road_times(
    motions: CandidateMotions, area: DrivableArea, tolerance: float, elevation: Float64[Array, "n t"] | None
) -> Float64[Array, " n"]:
    if not area.is_defined:
        return np.full(len(motions.pose), np.inf)
    first = area.first_step_outside(motions.boxes, motions.size, tolerance, elevation)
    return np.where(first >= 0, TIMES[first], np.inf)
