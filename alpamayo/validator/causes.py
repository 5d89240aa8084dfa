"""What is in the way: road users and things that an ego would meet which takes no account of them.

A cause is decisive if the ego would do something else without it. What it would do without any cause is known well
enough to tell: it follows its route, at its present offset from it, at its present speed or faster. Two such courses
are compared with the recorded motions of all others: one at the present speed, and one that speeds up to the highest
speed of the drive or of the road. What neither course comes near changes nothing.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int

from alpamayo.episode import Episode
from alpamayo.validator.along_route import places_along, rise_along, route_frame
from alpamayo_sim.constants import FROM_BEHIND_RAD
from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS
from alpamayo_sim.datatypes.scene import Category, Route
from alpamayo_sim.geometry import box_distance, heights_overlap, to_frame

Array = np.ndarray
SAMPLES_S = 0.2 * np.arange(round(PLAN_DT * PLAN_STEPS / 0.2) + 1)
"""Times from a decision on at which the courses are compared with the others."""
SPEED_UP_MPS2 = 1.5
NEAR_M = 1.5
"""Distance of boxes below which something is in the way: a driver keeps more."""
CONTACT_M = 0.3
URGENT_S = 3.0
"""A contact sooner than this has to be named, if nothing else that is decisive is."""
SCENERY = (Category.BUILDING, Category.VEGETATION)


@dataclass(frozen=True, eq=False)
class InTheWay:
    """What is in the way of the undisturbed ego, for each decision and each road user or thing.

    Attributes:
        decisive: one of the courses comes nearer to it than ``NEAR_M``.
        urgent: the ego at its present speed touches it within ``URGENT_S``.
        behind: it is behind the ego, whose decision it need not explain.
    """

    decisive: Bool[Array, "steps agents"]
    urgent: Bool[Array, "steps agents"]
    behind: Bool[Array, "steps agents"]


def in_the_way(episode: Episode, steps: Int[Array, " steps"]) -> InTheWay:
    """Find what is in the way at some decisions of an episode."""
    shape = len(steps), len(episode.agent_ids)
    if not shape[0] or not shape[1]:
        return InTheWay(*(np.zeros(shape, bool) for _ in range(3)))
    pose, there = _recorded(episode, steps)
    steady, faster = _courses(episode, steps)
    counts = there & ~np.isin(episode.agent_category, SCENERY) & _on_the_level(episode, steps)
    gap = _gaps(steady, pose, counts, episode)
    decisive = (gap < NEAR_M).any(axis=1) | (_gaps(faster, pose, counts, episode) < NEAR_M).any(axis=1)
    soon = (gap[:, SAMPLES_S <= URGENT_S] < CONTACT_M).any(axis=1)
    return InTheWay(decisive, soon, _is_behind(episode, steps))


def _recorded(
    episode: Episode, steps: Int[Array, " steps"]
) -> tuple[Float64[Array, "steps samples agents 3"], Bool[Array, "steps samples agents"]]:
    """Return the recorded poses after each decision; beyond the end of the record the others move steadily."""
    last = episode.steps
    ahead = np.rint(SAMPLES_S / episode.dt).astype(np.int64)
    row = steps[:, None] + ahead
    known = np.minimum(row, last)
    pose = episode.agent_pose[known].astype(np.float64)
    pose[..., :2] += (episode.dt * (row - known))[..., None, None] * episode.agent_velocity[known]
    return pose, episode.agent_valid[known]


def _on_the_level(episode: Episode, steps: Int[Array, " steps"]) -> Bool[Array, "steps 1 agents"]:
    """Return which agents are not above or below the road at their place: all where levels are not known."""
    shape = len(steps), 1, len(episode.agent_ids)
    if episode.agent_elevation is None or episode.ego_elevation is None:
        return np.ones(shape, bool)
    own = episode.ego_elevation[steps].astype(np.float64)[:, None]
    route = episode.scenario.scene.route
    if route is not None:
        frame = route_frame(route)
        place = places_along(route, episode.ego_pose[steps].astype(np.float64)[:, None]).s
        theirs = frame.project(episode.agent_pose[steps, :, :2].reshape(-1, 2).astype(np.float64))[0]
        own = own + rise_along(route, np.concatenate([place, theirs.reshape(len(steps), -1)], axis=1))[:, 1:]
    height = episode.agent_size[:, 2]
    return heights_overlap(own, float(episode.ego_size[2]), episode.agent_elevation[steps], height).reshape(shape)


def _courses(
    episode: Episode, steps: Int[Array, " steps"]
) -> tuple[Float64[Array, "steps samples 3"], Float64[Array, "steps samples 3"]]:
    """Return the poses of the ego that keeps its speed, and of the one that speeds up."""
    speed = episode.ego_speed[steps].astype(np.float64)[:, None]
    limits = [lane.speed_limit for lane in episode.scenario.scene.road_map.lanes if lane.speed_limit is not None]
    highest = max(float(episode.ego_speed.max()), max(limits, default=0.0))
    rising = np.clip((highest - speed) / SPEED_UP_MPS2, 0.0, SAMPLES_S)
    steady = speed * SAMPLES_S
    faster = steady + 0.5 * SPEED_UP_MPS2 * rising**2 + SPEED_UP_MPS2 * rising * (SAMPLES_S - rising)
    here = episode.ego_pose[steps].astype(np.float64)
    both = _along(episode.scenario.scene.route, here, np.concatenate([steady, faster], axis=1))
    return both[:, : len(SAMPLES_S)], both[:, len(SAMPLES_S) :]


def _along(
    route: Route | None, here: Float64[Array, "steps 3"], distance: Float64[Array, "steps samples"]
) -> Float64[Array, "steps samples 3"]:
    """Return the poses at distances along the route, at the present offset from it; without a route, straight on."""
    if route is None:
        direction = np.stack([np.cos(here[:, 2]), np.sin(here[:, 2])], axis=-1)
        xy = here[:, None, :2] + distance[..., None] * direction[:, None]
        return np.concatenate([xy, np.broadcast_to(here[:, None, 2:], (*distance.shape, 1))], axis=-1)
    places, frame = places_along(route, here[:, None]), route_frame(route)
    s = places.s + distance
    return np.concatenate([frame.position(s, places.offset), frame.heading_at(s)[..., None]], axis=-1)


def _gaps(
    course: Float64[Array, "steps samples 3"],
    pose: Float64[Array, "steps samples agents 3"],
    counts: Bool[Array, "steps samples agents"],
    episode: Episode,
) -> Float64[Array, "steps samples agents"]:
    """Return the distances (m) of the ego's box from those of the others; infinite where these are far or absent."""
    size, ego = episode.agent_size[:, :2].astype(np.float64), episode.ego_size[:2].astype(np.float64)
    reach = 0.5 * (np.hypot(*size.T) + np.hypot(*ego)) + NEAR_M
    offset = pose[..., :2] - course[:, :, None, :2]
    near = counts & (np.hypot(offset[..., 0], offset[..., 1]) < reach)
    gaps = np.full(counts.shape, np.inf)
    step, sample, agent = np.nonzero(near)
    gaps[near] = box_distance(course[step, sample], ego, pose[near], size[agent])
    return gaps


def _is_behind(episode: Episode, steps: Int[Array, " steps"]) -> Bool[Array, "steps agents"]:
    """Return which agents are behind the ego."""
    here = episode.ego_pose[steps].astype(np.float64)[:, None]
    offset = to_frame(episode.agent_pose[steps, :, :2].astype(np.float64), here)
    return np.abs(np.arctan2(offset[..., 1], offset[..., 0])) > FROM_BEHIND_RAD
