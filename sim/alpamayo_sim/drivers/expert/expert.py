"""The privileged expert: samples paths and speeds along the route and takes the best one."""

import math
from dataclasses import dataclass

import numpy as np

from alpamayo_sim.driver import PLAN_STEPS, Decision, Needs, Observation, Truth
from alpamayo_sim.drivers.expert.forecast import STEPS, Forecast, Memory, forecast
from alpamayo_sim.drivers.expert.paths import AHEAD, Paths, Target, interpolate_rows, make_paths
from alpamayo_sim.drivers.expert.reasons import explain
from alpamayo_sim.drivers.expert.scoring import SAMPLES, Candidates, Costs, Situation, score
from alpamayo_sim.drivers.expert.sight import visible
from alpamayo_sim.drivers.expert.speeds import GAP_MOVING, GAP_STANDING, following, ramps
from alpamayo_sim.drivers.expert.surroundings import Surroundings, surroundings
from alpamayo_sim.drivers.route_frame import STOP_GAP, RouteFrame, SignalStop, must_stop, signal_stops
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import box_corners, wrap_angle
from alpamayo_sim.map_index import MapIndex
from alpamayo_sim.scene import Category, Scene

Array = np.ndarray

DEFAULT_SPEED = 13.9  # m/s, where no limit is known
RANGE = 130.0  # m around the ego within which road users matter
BEND = 2.2  # m/s² of lateral acceleration in bends
APPROACH = 1.8  # m/s² of braking towards a lower allowed speed
GRAVITY = 9.81
PARKED_AFTER = 3.0  # s of standing after which a vehicle is taken to be parked
HIDES = 0.9  # m of height from which something hides a child
PARKED_REACH = 3.2  # m beside the ego's corridor within which parked cars make it slow down
PASSING_EXCESS = 4.5  # m/s faster than a car of the next lane that is held up
CHAIN = 18.0  # m between obstacles that are passed in one go
PLANS = 6


@dataclass(frozen=True, eq=False)
class Caution:
    """An allowed speed (m/s) on a stretch of the route (m) because of an agent's row; -1 is the road itself."""

    start: float
    end: float
    speed: float
    row: int


class Expert:
    """A sampling planner in the route's Frenet frame that is told the true state of what it could see.

    Paths to lateral targets (lanes, nudges, ways round obstacles) times speed profiles (ramps, emergency braking,
    following) are scored in one batch against forecasts of the road users; see ``scoring``. Scripts are not peeked
    at, and who has never been in line of sight is not reacted to.
    """

    name = "expert"
    needs = Needs(truth=True)

    def __init__(self) -> None:
        self._frame: RouteFrame | None = None

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Prepare the route and its surroundings.

        Raises:
            InputError: the scene has no route.
        """
        if scene.route is None:
            raise InputError(f"scene {scene.id!r} has no route, which the {self.name} driver follows")
        self._frame = RouteFrame.of(scene.route)
        self._index = MapIndex(scene.road_map)
        self._surroundings: Surroundings = surroundings(self._frame, self._index)
        self._stops: tuple[SignalStop, ...] = signal_stops(scene, self._frame)
        self._memory = Memory()
        self._last: tuple[Array, Array, Target] | None = None
        self._last_plan: Array | None = None
        self._s: float | None = None
        self._waited = 0.0

    def act(self, observation: Observation) -> Decision:
        """The best plans and why.

        Raises:
            InputError: there is no truth in the observation, or ``reset`` was not called.
        """
        if observation.truth is None or self._frame is None:
            raise InputError(f"the {self.name} driver needs reset and the truth in its observation")
        truth, frame = observation.truth, self._frame
        time = observation.time
        self._memory.update(truth.agents, time, truth.scene.dt)
        s, d, slope, bend = self._place(truth, observation.curvature)
        rows = self._relevant(truth)
        agents = forecast(truth, rows, self._index, self._memory)
        agent_s, agent_d = frame.project(agents.pose[:, :, :2], s, 260.0)
        size = truth.ego_size[:2].astype(np.float64)
        desired = observation.speed_limit or DEFAULT_SPEED
        grip = min(8.5, 0.92 * truth.scene.environment.friction * GRAVITY)
        blockers = self._blockers(truth, agents, agent_s, agent_d, s, size, time)
        waits = bool(blockers.any()) and truth.ego_speed < 4.0
        self._waited = self._waited + truth.scene.dt if waits else 0.0
        cautions = self._cautions(truth, agents, agent_s, agent_d, s, d, size)
        cap, cap_start = self._cap(truth, s, desired, cautions)
        stop_at, stop_signal = self._stop_at(truth, s, size)
        targets = self._targets(s, d, truth.ego_speed, size, agents, agent_s, agent_d, blockers)
        paths = make_paths(frame, s, (d, slope, bend), targets, self._last)
        candidates = self._candidates(
            paths, truth, observation, desired, cap, cap_start, grip, agents, agent_s, agent_d, blockers, stop_at, size
        )
        situation = Situation(
            size=size,
            pose=truth.ego_pose.astype(np.float64),
            s=s,
            d=d,
            speed=float(truth.ego_speed),
            agents=agents,
            agent_s=agent_s[:, SAMPLES // 2],
            agent_d=agent_d[:, SAMPLES // 2],
            surroundings=self._surroundings,
            cap=cap,
            cap_start=cap_start,
            desired=desired,
            stop_at=stop_at,
            grip=grip,
            waited=self._waited,
            halt_at=self._halt_at(agents, blockers, s, size),
            previous=self._shifted(),
        )
        costs = score(candidates, situation)
        return self._decide(truth, paths, candidates, costs, situation, cautions, stop_signal, blockers)

    # Where the ego is and who matters

    def _place(self, truth: Truth, curvature: float) -> tuple[float, float, float, float]:
        """s, d and the first two derivatives of d by s."""
        assert self._frame is not None
        s_all, d_all = self._frame.project(truth.ego_pose[None, :2], self._s)
        s, d = float(s_all[0]), float(d_all[0])
        self._s = s
        _, heading, route_bend = self._frame.at(s)
        turn = float(np.clip(wrap_angle(np.asarray(truth.ego_pose[2] - heading)), -1.0, 1.0))
        scale = max(1.0 - float(route_bend) * d, 0.2)
        bend = float(np.clip(curvature, -0.2, 0.2)) - float(route_bend)
        return s, d, scale * math.tan(turn), bend * scale**2 / math.cos(turn) ** 3

    def _relevant(self, truth: Truth) -> Array:
        """Rows of who is near and has been in sight."""
        agents = truth.agents
        near = np.linalg.norm(agents.pose[:, :2] - truth.ego_pose[:2], axis=1) < RANGE
        scenery = np.isin(agents.category, (Category.BUILDING, Category.VEGETATION))
        rows = np.flatnonzero(agents.valid & near & ~scenery)
        unseen = np.array([k for k in rows if agents.ids[k] not in self._memory.seen], np.int64)
        if unseen.size:
            found = unseen[visible(truth, unseen)]
            self._memory.seen.update(agents.ids[k] for k in found)
        return np.array([k for k in rows if agents.ids[k] in self._memory.seen], np.int64)

    def _blockers(
        self, truth: Truth, agents: Forecast, agent_s: Array, agent_d: Array, s: float, size: Array, time: float
    ) -> Array:
        """Which agents (of the forecast) stand in the route's own corridor for good, so that they must be passed."""
        names = truth.agents.ids
        stands = np.array([self._memory.stands_for(names[k], time) > PARKED_AFTER for k in agents.rows], bool)
        if not len(agents.rows):
            return np.zeros(0, bool)
        half = 0.5 * size[1] + 0.3
        low, high, s_low, s_high = self._extent(agents)
        inside = (low < half) & (high > -half) & (s_high > s - 3.0) & (s_low < s + 90.0)
        # A queue before a red light is no obstacle.
        queue = np.zeros(len(stands), bool)
        for stop in self._stops:
            red = int(truth.signals[stop.signal]) != 3
            queue |= red & (s_low < stop.s) & (s_low > stop.s - 60.0) & np.isin(agents.category, (1, 2, 3, 4))
        return stands & inside & ~queue

    def _halt_at(self, agents: Forecast, blockers: Array, s: float, size: Array) -> float:
        """Where (m) to wait before what has to be passed, so that there is room to swing out; inf without any."""
        ahead = blockers & (self._extent(agents)[3] > s + 0.5 * size[0]) if blockers.any() else blockers
        if not ahead.any():
            return math.inf
        return float(self._extent(agents)[2][ahead].min()) - GAP_STANDING - 0.5 * float(size[0])

    def _extent(self, agents: Forecast) -> tuple[Array, Array, Array, Array]:
        """Least and greatest d and s (m) of each agent's box now."""
        assert self._frame is not None
        assert self._s is not None
        corners = box_corners(agents.pose[:, 0], agents.size)
        s, d = self._frame.project(corners, self._s, 200.0)
        return d.min(axis=1), d.max(axis=1), s.min(axis=1), s.max(axis=1)

    # Rules for the speed

    def _cautions(
        self, truth: Truth, agents: Forecast, agent_s: Array, agent_d: Array, s: float, d: float, size: Array
    ) -> list[Caution]:
        """Slow down beside parked cars that may hide a child, and beside people near the corridor."""
        found = []
        if not len(agents.rows):
            return found
        low, high, s_low, s_high = self._extent(agents)
        half = 0.5 * size[1]
        beside = np.maximum(np.maximum(low - half, -half - high), 0.0)
        heights = truth.agents.size[agents.rows, 2]
        vehicles = np.isin(agents.category, (Category.VEHICLE, Category.TRUCK, Category.BUS))
        people = np.isin(agents.category, (Category.PEDESTRIAN, Category.ANIMAL))
        for k in np.flatnonzero((s_high > s) & (s_low < s + 70.0) & agents.standing):
            name = truth.agents.ids[agents.rows[k]]
            parked = vehicles[k] and heights[k] > HIDES and self._memory.stands_for(name, 1e2) > 50.0
            if parked and 0.0 < beside[k] < PARKED_REACH:
                allowed = 6.8 + 2.2 * max(beside[k] - 0.5, 0.0)
                found.append(Caution(s_low[k] - 2.0, s_high[k] + 1.0, allowed, int(agents.rows[k])))
            elif people[k] and beside[k] < 2.0:
                found.append(Caution(s_low[k] - 4.0, s_high[k] + 1.0, 7.0, int(agents.rows[k])))
        return found + self._slower_neighbours(agents, agent_s, agent_d, s, d)

    def _slower_neighbours(self, agents: Forecast, agent_s: Array, agent_d: Array, s: float, d: float) -> list[Caution]:
        """Do not rush past a car of the next lane that is held up there: it may pull out."""
        found = []
        gap = np.abs(agent_d[:, 0] - d)
        rate = (agent_s[:, 1] - agent_s[:, 0]) / 0.2
        beside = np.flatnonzero((gap > 2.0) & (gap < 5.0) & (rate > 2.0) & (agent_s[:, 0] > s - 3.0))
        for k in beside[agent_s[beside, 0] < s + 50.0]:
            ahead = agent_s[:, 0] - agent_s[k, 0]
            same = np.abs(agent_d[:, 0] - agent_d[k, 0]) < 1.8
            if np.any(same & (ahead > 3.0) & (ahead < 35.0) & (rate > -1.0) & (rate < rate[k] + 1.0)):
                place = float(agent_s[k, 0])
                found.append(Caution(place - 14.0, place + 4.0, float(rate[k]) + PASSING_EXCESS, int(agents.rows[k])))
        return found

    def _cap(self, truth: Truth, s: float, desired: float, cautions: list[Caution]) -> tuple[Array, float]:
        """Allowed speed every m of the route, with room to brake towards lower ones."""
        assert self._frame is not None
        at = s - 5.0 + np.arange(300.0)
        bend = np.abs(self._frame.at(at)[2])
        grip = min(BEND, 0.4 * truth.scene.environment.friction * GRAVITY)
        cap = np.minimum(desired, np.sqrt(grip / np.maximum(bend, 1e-4)))
        sight = truth.scene.environment.visibility
        if sight is not None:
            cap = np.minimum(cap, math.sqrt(2.0 * 3.5 * max(0.75 * sight, 5.0)))
        for caution in cautions:
            cap = np.where((at >= caution.start) & (at <= caution.end), np.minimum(cap, caution.speed), cap)
        squared = np.minimum.accumulate((cap**2 + 2.0 * APPROACH * at)[::-1])[::-1] - 2.0 * APPROACH * at
        return np.sqrt(np.maximum(squared, 0.0)), float(at[0])

    def _stop_at(self, truth: Truth, s: float, size: Array) -> tuple[float, int | None]:
        """The nearest stop line to respect, and its signal."""
        front = s + 0.5 * size[0]
        for stop in sorted(self._stops, key=lambda each: each.s):
            distance = stop.s - STOP_GAP - front
            if distance > -2.0 and must_stop(int(truth.signals[stop.signal]), distance, truth.ego_speed):
                return max(stop.s - 0.3, front + 0.05), stop.signal
        return math.inf, None

    # Candidates

    def _targets(
        self,
        s: float,
        d: float,
        speed: float,
        size: Array,
        agents: Forecast,
        agent_s: Array,
        agent_d: Array,
        blockers: Array,
    ) -> list[Target]:
        """Lateral targets with their lengths."""
        v = max(float(speed), 3.0)
        targets = [Target(0.0, max(v * t, least)) for t, least in ((1.8, 9.0), (2.7, 13.0), (4.2, 20.0))]
        for offset in self._surroundings.lane_offsets(s + 2.0 * v):
            if abs(offset - d) < 5.5:
                targets += [Target(offset, max(v * t, least)) for t, least in ((1.9, 11.0), (2.8, 15.0), (4.2, 22.0))]
        targets += [Target(offset, max(v * 2.8, 13.0)) for offset in (-0.7, 0.7)]
        half = 0.5 * size[1]
        for offset in (d - 2.6, d - 1.4, d + 1.4, d + 2.6):
            if self._surroundings.fits(offset, half, s + v, s + 3.0 * v):
                targets.append(Target(offset, max(v * 1.5, 8.0)))
        return targets + self._ways_round(s, d, v, size, agents, blockers)

    def _ways_round(self, s: float, d: float, v: float, size: Array, agents: Forecast, blockers: Array) -> list[Target]:
        """Paths that go round the next obstacles in the route's corridor, and back behind them."""
        if not blockers.any():
            return []
        low, high, s_low, s_high = self._extent(agents)
        order = np.flatnonzero(blockers)[np.argsort(s_low[blockers])]
        chain = [order[0]]
        end = s_high[order[0]]
        for k in order[1:]:
            if s_low[k] > end + CHAIN:
                break
            chain.append(k)
            end = max(end, s_high[k])
        begin = min(s_low[k] for k in chain)
        half = 0.5 * size[1]
        left, right = max(high[k] for k in chain), min(low[k] for k in chain)
        for _ in range(3):
            # What stands beside them with no room to pass between belongs to them.
            beside = agents.standing & (s_high > begin - 6.0) & (s_low < end + 8.0)
            beside &= (low < left + size[1] + 0.4) & (high > right - size[1] - 0.4)
            left, right = max(left, high[beside].max(initial=left)), min(right, low[beside].min(initial=right))
            end = max(end, s_high[beside].max(initial=end))
        back_at = float(end + 0.5 * size[0] + 0.5)
        sides = (left + half, right - half)
        room = max(begin - s - 0.5 * size[0] - 1.0, 0.0)
        lengths = {max(9.0, min(v * 3.0, room)), max(12.0, v * 2.0), max(16.0, v * 3.2)}
        found = []
        for side, sign in zip(sides, (1.0, -1.0), strict=True):
            for clearance in (0.4, 0.8):
                offset = float(side + sign * clearance)
                if abs(offset) < 6.0 and self._surroundings.fits(offset, half, max(begin, s), end):
                    found += [Target(offset, length, back_at, max(24.0, 3.0 * v)) for length in sorted(lengths)]
        return found

    def _candidates(
        self,
        paths: Paths,
        truth: Truth,
        observation: Observation,
        desired: float,
        cap: Array,
        cap_start: float,
        grip: float,
        agents: Forecast,
        agent_s: Array,
        agent_d: Array,
        blockers: Array,
        stop_at: float,
        size: Array,
    ) -> Candidates:
        """All paths with all ramps, and with following."""
        speed, acceleration = float(truth.ego_speed), float(observation.acceleration)
        allowed = min(desired, float(cap[5 : 5 + max(int(2.0 * speed), 5)].min()) + 0.3)
        ramp = ramps(speed, acceleration, max(allowed, 1.0), grip)
        lead_s = agent_s - 0.5 * (size[0] + agents.size[:, :1])
        lead_speed = np.gradient(agent_s, axis=1) / 0.2 if len(agents.rows) else np.zeros((0, STEPS))
        lead_gap = np.where(blockers, GAP_STANDING, GAP_MOVING)
        inside = _in_corridor(paths, agents, agent_s, agent_d, size)
        if math.isfinite(stop_at):
            wall = np.full((1, STEPS), stop_at - 0.5 * size[0] + 1.0)
            lead_s, lead_speed = np.concatenate([lead_s, wall]), np.concatenate([lead_speed, 0.0 * wall])
            lead_gap = np.append(lead_gap, 1.6)
            inside = np.concatenate([inside, np.ones((len(paths.s), 1, STEPS), bool)], axis=1)
        follow = following(paths, speed, acceleration, cap, cap_start, lead_s, lead_speed, lead_gap, inside, grip)
        count = len(paths.s)
        way, v, a = (
            np.concatenate([np.broadcast_to(r[None], (count, *r.shape)), f[:, None]], axis=1)
            for r, f in zip(ramp, follow, strict=True)
        )
        return Candidates.of(paths, way, v, a)

    # Choice

    def _shifted(self) -> Array | None:
        """The last plan at the samples of this step, in the world."""
        if self._last_plan is None:
            return None
        rows = np.minimum(SAMPLES + 1, len(self._last_plan) - 1)
        return self._last_plan[rows]

    def _decide(
        self,
        truth: Truth,
        paths: Paths,
        candidates: Candidates,
        costs: Costs,
        situation: Situation,
        cautions: list[Caution],
        stop_signal: int | None,
        blockers: Array,
    ) -> Decision:
        best = _distinct(candidates, costs.total, PLANS)
        plans = np.stack([_plan(paths, candidates, k, situation.pose) for k in best])
        total = costs.total[best]
        weights = np.exp(-np.clip(total - total[0], 0.0, 60.0) / 4.0)
        chosen = int(best[0])
        path = int(candidates.path[chosen])
        self._last = (
            situation.s + AHEAD,
            np.interp(situation.s + AHEAD, paths.s[path], paths.d[path]),
            paths.targets[path],
        )
        at = paths.at(np.full(candidates.way.shape[1], path), candidates.way[chosen])
        self._last_plan = np.stack([interpolate_rows(paths.xy[..., k], at) for k in (0, 1)], axis=-1)
        assert self._frame is not None
        reasoning = explain(
            truth, self._frame, candidates, costs, situation, chosen, paths.targets[path], cautions, stop_signal
        )
        return Decision(
            plans=plans.astype(np.float32),
            weights=(weights / weights.sum()).astype(np.float32),
            chosen=0,
            reasoning=reasoning,
        )


def _in_corridor(paths: Paths, agents: Forecast, agent_s: Array, agent_d: Array, size: Array) -> Array:
    """[p, n, 49] whether an agent is in a path's corridor then, or will be within 1.2 s."""
    if not len(agents.rows):
        return np.zeros((len(paths.s), 0, STEPS), bool)
    width = 0.5 * (size[1] + agents.size[:, 1]) + 0.25
    turn = np.abs(np.sin(agents.pose[:, :, 2] - agents.pose[:, :1, 2]))
    reach = width[:, None] + 0.0 * turn
    inside = np.empty((len(paths.s), len(agents.rows), STEPS), bool)
    for p in range(len(paths.s)):
        d = np.interp(agent_s, paths.s[p], paths.d[p])
        inside[p] = np.abs(agent_d - d) < reach
    soon = inside.copy()
    for shift in range(1, 7):
        soon[:, :, :-shift] |= inside[:, :, shift:]
    return soon


def _distinct(candidates: Candidates, total: Array, count: int) -> Array:
    """The best candidates that differ from each other by 1 m somewhere in the plan."""
    order = np.argsort(total, kind="stable")[:60]
    kept = [order[0]]
    for k in order[1:]:
        if len(kept) == count:
            break
        apart = np.linalg.norm(candidates.pose[kept, :24, :2] - candidates.pose[k, :24, :2], axis=-1)
        if np.all(apart.max(axis=1) > 1.0):
            kept.append(k)
    return np.array(kept)


def _plan(paths: Paths, candidates: Candidates, k: int, pose: Array) -> Array:
    """Candidate ``k`` as a plan in the ego frame [64, 4]."""
    way = candidates.way[k, 1 : PLAN_STEPS + 1]
    at = paths.at(np.full(PLAN_STEPS, candidates.path[k]), way)
    x, y, heading = (interpolate_rows(v, at) for v in (paths.xy[..., 0], paths.xy[..., 1], paths.heading))
    c, s = math.cos(pose[2]), math.sin(pose[2])
    dx, dy = x - pose[0], y - pose[1]
    turn = wrap_angle(heading - pose[2])
    return np.stack([c * dx + s * dy, -s * dx + c * dy, turn, candidates.speed[k, 1 : PLAN_STEPS + 1]], axis=-1)
