"""The computations of the compiled loops in plain numpy, over all motions, times and agents: slow and easy to read."""

import numpy as np

from alpamayo.metrics import rss
from alpamayo.validator.contacts import CLEARANCE_LIMIT_M, REAR_AXLE
from alpamayo.validator.contacts import STOPPED_MPS as RSS_STOPPED_MPS
from alpamayo.validator.rules.rss import RSS_MARGIN_LIMIT_M, lateral_travel
from alpamayo.validator.rules.time_to_collision import HORIZON_S, SAMPLE_SPACING_S, STOPPED_MPS
from alpamayo_sim.constants import FROM_BEHIND_RAD
from alpamayo_sim.geometry import box_distance, box_separation


def ego_and_agents(motions):
    """Return ego poses [k, 1, t, 3], and the agents' poses [a, t, 3], sizes [a, 1, 2] and validity [a, t]."""
    steps, traffic = len(motions.times), motions.traffic
    return motions.pose[:, None], traffic.pose[:, :steps], traffic.size[:, None], traffic.valid[:, :steps]


def between(poses, part):
    """Return boxes part of the way from the step before: straight motion, and the mean of both directions."""
    mixed = poses[..., :-1, :2] + part * np.diff(poses[..., :2], axis=-2)
    ends = [np.stack([np.cos(h), np.sin(h)], axis=-1) for h in (poses[..., :-1, 2], poses[..., 1:, 2])]
    direction = ends[0] + part * (ends[1] - ends[0])
    opposed = np.hypot(direction[..., 0], direction[..., 1]) < 0.5
    direction = np.where(opposed[..., None], ends[int(part >= 0.5)], direction)
    mixed = np.where(
        opposed[..., None], poses[..., int(part >= 0.5) : poses.shape[-2] - 1 + int(part >= 0.5), :2], mixed
    )
    return np.concatenate([mixed, np.arctan2(direction[..., 1], direction[..., 0])[..., None]], axis=-1)


def least_gaps(motions, parts):
    """Compute the least gap [k, a, t] since the step before, at parts of the step; infinite where a box is absent."""
    ego, others, sizes, valid = ego_and_agents(motions)
    gap = np.where(valid, box_separation(ego, motions.size, others, sizes), np.inf)
    both = valid[:, 1:] & valid[:, :-1]
    for part in parts:
        inner = box_separation(between(ego, part), motions.size, between(others, part), sizes)
        gap[..., 1:] = np.where(both, np.minimum(gap[..., 1:], inner), gap[..., 1:])
    return gap


def clearance(motions, ignored):
    """Compute the least distance [k, t] since the step before, also at its quarters."""
    ego, others, sizes, valid = ego_and_agents(motions)
    distance = np.where(valid, box_distance(ego, motions.size, others, sizes), CLEARANCE_LIMIT_M)
    both = valid[:, 1:] & valid[:, :-1]
    for part in (0.25, 0.5, 0.75):
        inner = box_distance(between(ego, part), motions.size, between(others, part), sizes)
        distance[..., 1:] = np.where(both, np.minimum(distance[..., 1:], inner), distance[..., 1:])
    distance = np.where(~ignored[..., None], distance, CLEARANCE_LIMIT_M)
    return np.minimum(distance.min(axis=1, initial=CLEARANCE_LIMIT_M), CLEARANCE_LIMIT_M)


def sweep(motions, acceleration, until):
    """Find the times to the first collision [k, t] with agents ahead and to the side; pairs count before ``until``."""
    dt, (count, steps) = motions.dt, motions.pose.shape[:2]
    spacing = round(SAMPLE_SPACING_S / dt)
    offsets = spacing * np.arange(round(HORIZON_S / (spacing * dt)) + 1)
    traffic = motions.traffic.extended(steps + int(offsets[-1]), dt)
    pose, speed = motions.pose, motions.speed
    c, s = np.cos(pose[..., 2]), np.sin(pose[..., 2])
    axle = pose[..., :2] - REAR_AXLE * motions.size[0] * np.stack([c, s], axis=-1)
    ahead, lateral_time = np.full((count, steps), np.inf), np.full((count, steps), np.inf)
    for a in range(len(traffic.ids)):

        def angle(xy, c=c, s=s):
            off = xy - axle
            return np.abs(np.arctan2(c * off[..., 1] - s * off[..., 0], c * off[..., 0] + s * off[..., 1]))

        now = np.arange(steps)
        counts = (now < until[:, a, None]) & (np.abs(speed) >= STOPPED_MPS)
        counts &= ~((angle(traffic.pose[a, :steps, :2]) > FROM_BEHIND_RAD) & traffic.valid[a, :steps])
        met = np.full((count, steps), np.inf)
        turned = np.full((count, steps), np.pi)
        for n in offsets[::-1]:
            duration = n * dt * np.ones_like(speed)
            stops = (acceleration < 0) & (np.abs(speed) < -acceleration * n * dt)
            duration[stops] = np.abs(speed[stops]) / -acceleration[stops]
            travelled = np.sign(speed) * (np.abs(speed) * duration + 0.5 * acceleration * duration**2)
            moved = np.stack([pose[..., 0] + travelled * c, pose[..., 1] + travelled * s, pose[..., 2]], axis=-1)
            then = traffic.pose[a, now + n]
            hit = (box_separation(moved, motions.size, then, traffic.size[a]) < 0.0) & traffic.valid[a, now + n]
            met = np.where(hit, n * dt, met)
            turned = np.where(hit, angle(then[:, :2]), turned)
        ahead = np.where(counts & (turned < np.deg2rad(30.0)), np.minimum(ahead, met), ahead)
        side = counts & (turned >= np.deg2rad(30.0)) & (turned <= FROM_BEHIND_RAD)
        lateral_time = np.where(side, np.minimum(lateral_time, met), lateral_time)
    return ahead, lateral_time


def gaps_and_response(motions):
    """Compute RSS with the public functions, all agents at all times."""
    ego, others, sizes, valid = ego_and_agents(motions)
    velocity = motions.traffic.velocity[:, : len(motions.times)]
    c, s = np.cos(ego[..., 2]), np.sin(ego[..., 2])
    dx, dy = others[..., 0] - ego[..., 0], others[..., 1] - ego[..., 1]
    ahead, left = c * dx + s * dy, c * dy - s * dx
    v_along, v_right = c * velocity[..., 0] + s * velocity[..., 1], s * velocity[..., 0] - c * velocity[..., 1]
    turn = others[..., 2] - ego[..., 2]
    ct, st = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    gap = np.abs(ahead) - 0.5 * (motions.size[0] + sizes[..., 0] * ct + sizes[..., 1] * st)
    side_gap = np.abs(left) - 0.5 * (motions.size[1] + sizes[..., 0] * st + sizes[..., 1] * ct)
    speed = np.broadcast_to(np.abs(motions.speed)[:, None], gap.shape)
    ego_behind, ego_left = ahead > 0.0, left < 0.0
    each = rss.assess(gap, side_gap, speed, v_along, np.zeros_like(gap), v_right, ego_behind, ego_left)
    stopped = np.hypot(velocity[..., 0], velocity[..., 1]) <= RSS_STOPPED_MPS
    still = lateral_travel(rss.EGO) + rss.EGO.fluctuation
    lateral = np.where(stopped, side_gap - still, each.lateral)
    each = rss.RssMargins(np.where(valid, each.longitudinal, np.inf), np.where(valid, lateral, np.inf))
    facing = rss.facing_part(v_along) * ego_behind
    asked = rss.proper_response(each, ego_left=ego_left, facing=facing, ego_behind=ego_behind).longitudinal_max
    margins = np.minimum(each.margin.min(axis=1, initial=RSS_MARGIN_LIMIT_M), RSS_MARGIN_LIMIT_M)
    return margins, asked.min(axis=1, initial=rss.EGO.accel_max)
