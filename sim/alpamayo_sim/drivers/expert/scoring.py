"""What each candidate costs: collisions, clearance, ground, comfort, progress, rules and steadiness."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.drivers.expert.config import ExpertConfig
from alpamayo_sim.drivers.expert.frenet_agents import FrenetAgents
from alpamayo_sim.drivers.expert.paths import Paths, interpolate_rows
from alpamayo_sim.drivers.expert.rules import SpeedCap
from alpamayo_sim.drivers.expert.surroundings import Surroundings
from alpamayo_sim.geometry import box_separation
from alpamayo_sim.prediction.lane_changes import AgentPredictions

Array = np.ndarray

SAMPLES = np.concatenate([np.arange(2, 33, 2), np.arange(36, 65, 4), np.arange(72, 97, 8)])
TIMES = 0.1 * SAMPLES
WEIGHT_DT = np.diff(np.concatenate([[0.0], TIMES]))
PLAN = TIMES <= 6.45

COLLISION, OFF_ROAD, RED_LIGHT, INFEASIBLE = 1000.0, 500.0, 800.0, 300.0
CLEARANCE, HEADWAY, OPPOSITE, LATERAL, OFF_CENTRE = 5.0, 3.0, 1.0, 0.35, 0.5
PROGRESS, TOO_FAST, EFFORT, SIDEWAYS, JERK, CHANGE = 0.45, 2.0, 0.25, 0.25, 0.02, 0.6
SOFT_GAP = {Category.PEDESTRIAN: 1.4, Category.CYCLIST: 1.3, Category.MOTORCYCLE: 1.2, Category.ANIMAL: 1.2}
SOFT_GAP_OTHERS, SOFT_GAP_THINGS = 0.9, 0.55  # m
HARD_GAP, HARD_GAP_GROWTH = 0.15, 0.06  # m, m/s
SEE_GAP = 2.2  # m, beyond which nothing is looked at
HARD = 4.0  # cost of each m/s² of braking beyond what is comfortable (4 m/s²)
EASY_BRAKING, LATE = 1.8, 5.0  # m/s², cost of each m/s² that a stop line asks for beyond that
BESIDE = 0.3  # share of a collision with who comes from beside the ego's rear half
TOO_NEAR = 2.0  # cost of each m nearer to an obstacle than it takes to swing out
SHOULDER = 6.0  # m off the lane's centre that a place beside all lanes counts as
ABOUT_TO = 4.0  # cost of each sample that leads into a collision when nothing is done
CROSSING_DOUBT = 0.15  # s of doubt per s about when somebody crosses
EDGE = 0.1  # m that are kept to the border of the drivable ground
EGO_REACTION = 0.8  # s of headway that is felt as too near


Where = tuple[Array, Array, Array]
"""Indices of candidates, samples and agents."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """All candidates: path of each, and at ``SAMPLES`` its pose, route coordinates, speed and accelerations."""

    path: Array  # [k]
    way: Array  # [k, 97]
    speed: Array  # [k, 97]
    acceleration: Array  # [k, 97]
    pose: Array  # [k, t, 3]
    s: Array  # [k, t]
    d: Array
    v: Array
    a: Array
    lateral: Array  # m/s²
    curvature: Array

    @classmethod
    def of(cls, paths: Paths, way: Array, speed: Array, acceleration: Array) -> "Candidates":
        """From profiles [p, m, 97]; candidate k is path k // m."""
        p, m, n = way.shape
        path = np.repeat(np.arange(p), m)
        way, speed, acceleration = (x.reshape(p * m, n) for x in (way, speed, acceleration))
        at = paths.at(path[:, None], way[:, SAMPLES])
        columns = (paths.xy[..., 0], paths.xy[..., 1], paths.heading)
        pose = np.stack([interpolate_rows(x, at) for x in columns], axis=-1)
        curvature = interpolate_rows(paths.curvature, at)
        v = speed[:, SAMPLES]
        return cls(
            path,
            way,
            speed,
            acceleration,
            pose,
            interpolate_rows(paths.s, at),
            interpolate_rows(paths.d, at),
            v,
            acceleration[:, SAMPLES],
            v**2 * curvature,
            curvature,
        )


@dataclass(frozen=True, eq=False)
class PlanningContext:
    """What the candidates are judged against."""

    config: ExpertConfig
    view: FrenetAgents
    pose: Array  # ego x, y, heading
    surroundings: Surroundings
    cap: SpeedCap
    desired: float  # m/s
    stop_at: float  # m, what the ego's front must not pass; inf where all is free
    grip: float  # m/s²
    waited: float  # s that the ego has waited before something that stays there
    halt_at: float  # m, where to wait before that
    previous: Array | None  # x, y of the last plan at SAMPLES

    @property
    def agents(self) -> AgentPredictions:
        """The road users and props."""
        return self.view.agents

    @property
    def size(self) -> Array:
        """Length and width (m) of the ego."""
        return self.view.ego_size

    @property
    def s(self) -> float:
        """Arc length (m) of the ego."""
        return self.view.ego_s

    @property
    def d(self) -> float:
        """Offset (m) of the ego."""
        return self.view.ego_d

    @cached_property
    def agent_s(self) -> Array:
        """Arc length (m) of the agents at the samples."""
        return self.view.s[:, SAMPLES // 2]

    @cached_property
    def agent_d(self) -> Array:
        """Offset (m) of the agents at the samples."""
        return self.view.d[:, SAMPLES // 2]


@dataclass(frozen=True, eq=False)
class Costs:
    """Cost of each candidate without road users and signals, from each agent, from the signal; and the sum."""

    own: Array  # [k]
    agents: Array  # [k, n]
    signal: Array  # [k]
    total: Array  # [k]
    hit: Array  # [k] s, time of the first collision, inf where there is none


def score(candidates: Candidates, context: PlanningContext) -> Costs:
    """All costs; lower is better."""
    own = _ground(candidates, context) + _rules(candidates, context) + _comfort(candidates, context)
    agents, hit = _road_users(candidates, context)
    agents += _headway(candidates, context) + _about_to_collide(candidates, context)
    signal = _stop_line(candidates, context)
    total = own + agents.sum(axis=1) + signal
    return Costs(own, agents, signal, total, hit)


def _stop_line(c: Candidates, x: PlanningContext) -> Array:
    """Passing the line, or coming so fast that it takes more than easy braking to stop there."""
    left = x.stop_at - (c.s + 0.5 * x.size[0])
    over = np.maximum(-left.min(axis=1), 0.0)
    needed = np.where(c.v > 0.5, c.v**2 / (2.0 * np.maximum(left, 0.5)), 0.0).max(axis=1)
    late = np.maximum(needed - max(EASY_BRAKING, float(needed.min())), 0.0)
    return np.where(over > 0.0, RED_LIGHT + 20.0 * over, LATE * np.minimum(late, 5.0))


def _ground(c: Candidates, x: PlanningContext) -> Array:
    """Leaving the drivable ground, the lane's middle, the own side of the road."""
    table, half_length, half_width = x.surroundings, 0.5 * x.size[0], 0.5 * x.size[1]
    row = table.row(c.s)
    turn = np.gradient(c.d, axis=1) / np.maximum(np.gradient(c.s, axis=1), 0.3)
    turn = np.clip(turn, -0.6, 0.6)
    reach = half_width + half_length * np.abs(turn)
    room = np.minimum(table.left[row] - (c.d + reach), (c.d - reach) - table.right[row])
    # An ego that is outside already must only not go further out.
    beyond = np.maximum(np.minimum(room[:, :1], EDGE) - room, 0.0)
    when = np.where(TIMES < 5.0, 1.0, 0.3)
    cost = OFF_ROAD * np.max(np.where(beyond > 0.0, when * (0.4 + beyond), 0.0), axis=1)
    cost += 2.0 * np.sum(np.clip(0.3 - room, 0.0, 0.5) * WEIGHT_DT, axis=1)
    against = (
        table.opposite[row, table.column(c.d + half_width - 0.2)]
        | table.opposite[row, table.column(c.d - half_width + 0.2)]
    )
    borrowed = np.sum(against * WEIGHT_DT * PLAN, axis=1) + 2.0 * against[:, PLAN][:, -1]
    cost += OPPOSITE * borrowed / (1.0 + x.waited)
    centre = table.centre[row, table.column(c.d)]
    nowhere = np.where(against, 0.6, SHOULDER * (np.abs(c.d) > 0.5))
    astray = np.where(np.isfinite(centre), np.abs(c.d - centre), nowhere)
    edges = [table.centre[row, table.column(c.d + side * (half_width - 0.15))] for side in (-1.0, 1.0)]
    out = (np.isnan(edges[0]) | np.isnan(edges[1])) & np.isfinite(centre) & ~against
    astray = astray + 0.4 * SHOULDER * out
    off = LATERAL * np.minimum(np.abs(c.d), 2.0) + OFF_CENTRE * astray
    return cost + np.sum(off * WEIGHT_DT * PLAN, axis=1)


def _rules(c: Candidates, x: PlanningContext) -> Array:
    """Progress and allowed speeds."""
    excess = np.maximum(c.v - x.cap.at(c.s) - 0.2, 0.0)
    cost = TOO_FAST * np.sum(excess**2 * WEIGHT_DT * PLAN, axis=1) / 3.0
    missing = x.desired * 6.4 - (c.s[:, PLAN][:, -1] - x.s)
    # In the own lane, wait where there is room to go round what stands there.
    near = np.maximum(c.s[:, PLAN][:, -1] - max(x.halt_at, x.s), 0.0) * (np.abs(c.d[:, PLAN][:, -1]) < 1.0)
    stuck = near * (c.v[:, PLAN][:, -1] < 1.0)
    return cost + PROGRESS * np.maximum(missing, 0.0) + TOO_NEAR * np.minimum(stuck, 10.0)


def _comfort(c: Candidates, x: PlanningContext) -> Array:
    """Accelerations, the friction circle, the smallest turn, and staying with the last plan."""
    weight = WEIGHT_DT * PLAN
    effort = EFFORT * c.a**2 * np.where(c.a > 0.0, 0.5, 1.0)
    cost = np.sum((effort + SIDEWAYS * c.lateral**2) * weight, axis=1)
    cost += HARD * np.maximum(-c.a[:, TIMES < 4.0].min(axis=1) - 4.0, 0.0)
    cost += JERK * (c.acceleration[:, 10] - c.acceleration[:, 0]) ** 2 * 10.0
    used = np.hypot(c.a, c.lateral) / x.grip
    cost += INFEASIBLE * np.max(np.maximum(used - 0.95, 0.0) * (TIMES < 4.0), axis=1)
    cost += INFEASIBLE * 5.0 * np.max(np.maximum(np.abs(c.curvature) - 0.18, 0.0) * (c.v > 0.2), axis=1)
    if x.previous is not None:
        apart = np.hypot(*(c.pose[:, :, :2] - x.previous).transpose(2, 0, 1))
        near = (TIMES > 0.9) & (TIMES < 3.3)
        cost += CHANGE * np.minimum(apart[:, near].mean(axis=1), 4.0)
    return cost


def _road_users(c: Candidates, x: PlanningContext) -> tuple[Array, Array]:
    """Collisions and too little clearance, for each candidate and agent, and the time of the first collision."""
    n, f = len(x.agents.rows), x.agents
    cost = np.zeros((len(c.path), n))
    hit = np.full(len(c.path), np.inf)
    if not n:
        return cost, hit
    other = f.pose[:, SAMPLES // 2]  # [n, t, 3]
    k, t, a = _near(c.pose, x, other, SEE_GAP)
    if not len(k):
        return cost, hit
    size = np.broadcast_to(x.size, (len(k), 2))
    doubt = _uncertain_sizes(c, x, k, t, a, other)
    gap = box_separation(c.pose[k, t], size, other[a, t], doubt)
    gap = np.where(_comes_from_behind(c, x, k, t, a), SEE_GAP, gap)
    standing = f.standing[a]
    # Agents that are near from the start need no greater gap than now.
    hard = HARD_GAP + np.where(standing, 0.0, HARD_GAP_GROWTH * np.minimum(TIMES[t], 4.0))
    hard = np.minimum(hard, np.maximum(_first_gaps(x)[a] - 0.05, 0.02))
    touching = np.flatnonzero(gap < hard)
    if touching.size:
        where = k[touching], t[touching], a[touching]
        ego, them = c.pose[where[0], where[1]], other[where[2], where[1]]
        true_gap = box_separation(ego, size[touching], them, f.size[where[2]])
        _collide(cost, hit, c, x, where, true_gap < hard[touching] - 0.12)
    soft = _soft_gaps(f)[a]
    lack = np.clip((soft - gap) / np.maximum(soft - hard, 0.05), 0.0, 1.0)
    pace = 0.3 + c.v[k, t] / 7.0
    fade = np.where(standing, 1.0, np.clip(1.2 - TIMES[t] / 5.0, 0.1, 1.0))
    np.add.at(cost, (k, a), CLEARANCE * lack**2 * pace * fade * WEIGHT_DT[t])
    return cost, hit


def _about_to_collide(c: Candidates, x: PlanningContext) -> Array:
    """Where going straight on for 0.5 and 0.9 s would end in a collision (as in NAVSIM's time to collision)."""
    cost = np.zeros((len(c.path), len(x.agents.rows)))
    if not len(x.agents.rows):
        return cost
    soon = np.flatnonzero(TIMES < 4.5)[1::2]
    now = x.agents.pose[:, SAMPLES[soon] // 2]
    speed = x.agents.speed[:, SAMPLES[soon] // 2]
    for after in (0.5, 0.9):
        pose = _moved(c.pose[:, soon], c.v[:, soon], after)
        other = _moved(now, speed, after)
        k, t, a = _near(pose, x, other, 0.1)
        if len(k):
            size = np.broadcast_to(x.size, (len(k), 2))
            hit = box_separation(pose[k, t], size, other[a, t], x.agents.size[a]) < 0.1
            hit &= ~_comes_from_behind(c, x, k, soon[t], a) & (c.v[k, soon[t]] > 0.5)
            fade = np.clip(1.2 - TIMES[soon[t]] / 5.0, 0.2, 1.0)
            np.add.at(cost, (k[hit], a[hit]), ABOUT_TO * fade[hit])
    return cost


def _moved(pose: Array, speed: Array, time: float) -> Array:
    """Poses after ``time`` (s) straight on."""
    way = speed * time
    step = np.stack([way * np.cos(pose[..., 2]), way * np.sin(pose[..., 2]), 0.0 * way], axis=-1)
    return pose + step


def _near(pose: Array, x: PlanningContext, other: Array, slack: float) -> tuple[Array, Array, Array]:
    """Candidate, sample and agent wherever circles around the boxes are within ``slack`` (m) of each other."""
    reach = 0.5 * np.hypot(*x.size) + 0.5 * np.hypot(x.agents.size[:, 0], x.agents.size[:, 1]) + slack
    low = pose[:, :, :2].min(axis=0)
    high = pose[:, :, :2].max(axis=0)
    gap = np.maximum(np.maximum(low[None] - other[..., :2], other[..., :2] - high[None]), 0.0)
    possible = np.any(np.hypot(gap[..., 0], gap[..., 1]) < reach[:, None], axis=1)
    rows = np.flatnonzero(possible)
    if not rows.size:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty
    ego = pose[:, :, :2].astype(np.float32)
    them = other[rows, :, :2].astype(np.float32)
    squared = (ego[:, :, None, 0] - them[None, :, :, 0].transpose(0, 2, 1)) ** 2
    squared += (ego[:, :, None, 1] - them[None, :, :, 1].transpose(0, 2, 1)) ** 2
    k, t, a = np.nonzero(squared < (reach[rows] ** 2).astype(np.float32))
    return k, t, rows[a]


def _uncertain_sizes(c: Candidates, x: PlanningContext, k: Array, t: Array, a: Array, other: Array) -> Array:
    """Boxes of the agents, longer the later it is for those who cross: they may be earlier or later."""
    size = x.agents.size[a].copy()
    across = np.abs(np.sin(other[a, t, 2] - c.pose[k, t, 2])) > 0.5
    speed = x.agents.speed[a, SAMPLES[t] // 2]
    size[:, 0] += np.where(across, np.minimum(CROSSING_DOUBT * speed * np.minimum(TIMES[t], 3.0), 4.0), 0.0)
    return size


def _comes_from_behind(c: Candidates, x: PlanningContext, k: Array, t: Array, a: Array) -> Array:
    """Whether an agent that started behind the ego would run into an ego that kept to its place across."""
    rear = x.agent_s[:, 0] + 0.5 * x.agents.size[:, 0] < x.s - 0.5 * x.size[0] + 0.5
    same = np.abs(x.agent_d[:, 0] - x.d) < 0.5 * (x.size[1] + x.agents.size[:, 1])
    moved = np.abs(c.d[k, t] - x.d) > 1.0
    return rear[a] & (same[a] | ~moved)


def _first_gaps(x: PlanningContext) -> Array:
    """Gap (m) between the ego and each agent now."""
    now = x.agents.pose[:, 0]
    ego = np.broadcast_to(x.pose, (len(now), 3))
    return box_separation(ego, np.broadcast_to(x.size, (len(now), 2)), now, x.agents.size)


def _soft_gaps(f: AgentPredictions) -> Array:
    """Gap (m) that is wished for, by category."""
    things = np.isin(f.category, (Category.CONE, Category.BARRIER, Category.DEBRIS, Category.BUILDING))
    wished = np.where(things, SOFT_GAP_THINGS, SOFT_GAP_OTHERS)
    for category, gap in SOFT_GAP.items():
        wished = np.where(f.category == category, gap, wished)
    return wished


def _collide(cost: Array, hit: Array, c: Candidates, x: PlanningContext, where: Where, deep: Array) -> None:
    """Enter the worst contact of each candidate with each agent: the sooner and the harder, the worse.

    ``deep`` is false for a touch of the safety gap, or of the doubt about who crosses, alone.
    """
    k, t, a = where
    f = x.agents
    heading = c.pose[k, t, 2]
    speed, course = f.speed[a, SAMPLES[t] // 2], f.pose[a, SAMPLES[t] // 2, 2]
    dx = c.v[k, t] * np.cos(heading) - speed * np.cos(course)
    dy = c.v[k, t] * np.sin(heading) - speed * np.sin(course)
    # The ego's own speed counts twice: it is what braking can still lower.
    severity = 0.3 + np.hypot(dx, dy) / 15.0 + c.v[k, t] / 12.0
    stays, moves = np.clip(1.25 - TIMES[t] / 9.0, 0.2, 1.0), np.clip(1.3 - TIMES[t] / 6.0, 0.05, 1.0)
    certain = np.where(f.standing[a], stays, moves) * np.where(deep, 1.0, 0.45)
    # Agents next to the ego's rear half are expected to yield.
    beside = (x.agent_s[a, 0] + 0.5 * f.size[a, 0] < x.s) & (np.abs(c.d[k, t] - x.d) < 1.0)
    np.maximum.at(cost, (k, a), COLLISION * severity * certain * np.where(beside, BESIDE, 1.0))
    np.minimum.at(hit, k, TIMES[t])


def _headway(c: Candidates, x: PlanningContext) -> Array:
    """Compute the cost of short gaps to agents ahead in the candidate's corridor, and of closing in on them."""
    n = len(x.agents.rows)
    cost = np.zeros((len(c.path), n))
    pick = np.arange(2, len(TIMES) - 6, 3)
    width = 0.5 * (x.size[1] + x.agents.size[:, 1]) + 0.15
    ahead = np.flatnonzero((x.agent_s[:, 0] > x.s) & ~x.agents.standing)
    for a in ahead:
        s, d = x.agent_s[a, pick], x.agent_d[a, pick]
        gap = s - c.s[:, pick] - 0.5 * (x.size[0] + x.agents.size[a, 0])
        inside = (np.abs(c.d[:, pick] - d) < width[a]) & (gap > -1.0) & (gap < 40.0)
        if not inside.any():
            continue
        rate = np.gradient(x.agent_s[a])[pick] / np.gradient(TIMES)[pick]
        closing = np.maximum(c.v[:, pick] - rate, 0.0)
        short = np.clip((EGO_REACTION * c.v[:, pick] + 1.5 - gap) / (EGO_REACTION * c.v[:, pick] + 1.5), 0.0, 1.0)
        urgent = np.clip(closing / np.maximum(gap, 0.5) - 0.4, 0.0, 1.5)
        felt = (short**2 + urgent**2) * inside * np.clip(1.2 - TIMES[pick] / 6.0, 0.1, 1.0)
        cost[:, a] = HEADWAY * felt.sum(axis=1) * 0.6
    return cost
