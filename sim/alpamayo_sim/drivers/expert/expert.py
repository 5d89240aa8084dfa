"""The privileged expert: samples paths and speeds along the route and chooses the best."""

import math

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo_sim.constants import GRAVITY_MPS2
from alpamayo_sim.datatypes.decision import PLAN_STEPS, Decision
from alpamayo_sim.datatypes.driver import Needs
from alpamayo_sim.datatypes.observation import GroundTruth, Observation
from alpamayo_sim.datatypes.reasoning import Reasoning
from alpamayo_sim.datatypes.scene import Category, Scene
from alpamayo_sim.drivers.expert.candidates import SAMPLES, Candidates, PlanningContext
from alpamayo_sim.drivers.expert.config import ExpertConfig
from alpamayo_sim.drivers.expert.frenet_agents import FrenetAgents, to_frenet
from alpamayo_sim.drivers.expert.memory import AgentMemory
from alpamayo_sim.drivers.expert.paths import ARC_LENGTHS_M, Paths, Target, interpolate_rows, make_paths
from alpamayo_sim.drivers.expert.reasons import explain
from alpamayo_sim.drivers.expert.rules import find_cautions, speed_cap, stop_position
from alpamayo_sim.drivers.expert.scoring import Costs, score
from alpamayo_sim.drivers.expert.speeds import Leads, following, ramps
from alpamayo_sim.drivers.expert.surroundings import surroundings
from alpamayo_sim.drivers.expert.targets import make_targets, waiting_position
from alpamayo_sim.drivers.stops import StopMemory
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import heights_overlap, to_frame, wrap_angle
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.index import index_of
from alpamayo_sim.map.stop_lines import route_stops
from alpamayo_sim.prediction.lane_changes import STEPS, AgentPredictions, LaneChangePredictor
from alpamayo_sim.prediction.visibility import visible

Array = np.ndarray

SCENERY = (Category.BUILDING, Category.VEGETATION)


class Expert:
    """A sampling planner in the route's Frenet frame that knows the true state of the agents it has seen.

    Paths to lateral targets (lanes, nudges, paths around obstacles) are combined with speed profiles (ramps,
    emergency braking, following). All candidates are scored in one batch against predictions of the agents; see
    `scoring`. The expert does not read scripts, and ignores agents that have never been in line of sight.
    """

    name = "expert"
    needs = Needs(truth=True)

    def __init__(self, config: ExpertConfig | None = None) -> None:
        self.config = config or ExpertConfig()
        self._frame: RouteFrame | None = None

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Prepare the route and its surroundings.

        Raises:
            InputError: the scene has no route.
        """
        if scene.route is None:
            raise InputError(f"scene {scene.id!r} has no route; the {self.name} driver needs one")
        self._frame = RouteFrame.of_route(scene.route)
        index = index_of(scene.road_map)
        self._predictor = LaneChangePredictor(index)
        self._surroundings = surroundings(self._frame, index)
        self._stops = StopMemory(route_stops(scene, self._frame))
        self._memory = AgentMemory()
        self._last: tuple[Array, Array, Target] | None = None
        self._last_plan: Array | None = None
        self._s: float | None = None
        self._waited = 0.0

    def act(self, observation: Observation) -> Decision:
        """Make the best plans and say why.

        Raises:
            InputError: the observation has no ground truth, or ``reset`` was not called.
        """
        if observation.truth is None or self._frame is None:
            raise InputError(f"the {self.name} driver needs a call of reset and the truth in its observation")
        truth, frame, time = observation.truth, self._frame, observation.time
        self._memory.update(truth.agents, time, truth.scene.dt)
        s, *start = self._place(frame, truth, observation.curvature)
        self._stops.update(truth, s)
        agents = self._predict(truth)
        view = to_frenet(truth, agents, frame, (s, start[0]), self._memory, self._stops.stops, time, self.config)
        waits = bool(view.blockers.any()) and view.ego_speed < self.config.waiting_speed_mps
        self._waited = self._waited + truth.scene.dt if waits else 0.0
        cautions = find_cautions(truth, view, self._memory, self.config)
        desired = observation.speed_limit or self.config.default_speed_mps
        stop_at, stop_line = stop_position(truth, self._stops, s)
        context = PlanningContext(
            config=self.config,
            view=view,
            pose=truth.ego_pose.astype(np.float64),
            surroundings=self._surroundings,
            cap=speed_cap(frame, s, desired, truth.scene.environment, cautions, self.config),
            desired=desired,
            stop_at=stop_at,
            friction_limit=min(
                self.config.greatest_deceleration_mps2,
                self.config.used_friction * truth.scene.environment.friction * GRAVITY_MPS2,
            ),
            waited=self._waited,
            wait_at=waiting_position(view, self.config),
            previous=self._shifted(),
        )
        targets = make_targets(view, self._surroundings, self.config)
        paths = make_paths(frame, s, (start[0], start[1], start[2]), targets, self._last)
        candidates = _candidates(paths, context, observation.acceleration)
        costs = score(candidates, context)
        best = _distinct(candidates, costs.total, self.config)
        self._keep(paths, candidates, int(best[0]), s)
        target = paths.targets[int(candidates.path[best[0]])]
        reasoning = explain(truth, frame, candidates, costs, context, int(best[0]), target, cautions, stop_line)
        return _decision(paths, candidates, costs, best, context.pose, reasoning)

    def _place(self, frame: RouteFrame, truth: GroundTruth, curvature: float) -> tuple[float, float, float, float]:
        """Return s, d (m) and the first two derivatives of d by s."""
        s, d = frame.place(truth.ego_pose, self._s, truth.ego_elevation)
        self._s = s
        _, heading, route_bend = frame.at(s)
        turn = float(np.clip(wrap_angle(np.asarray(truth.ego_pose[2] - heading)), -1.0, 1.0))
        scale = max(1.0 - float(route_bend) * d, 0.2)
        bend = float(np.clip(curvature, -0.2, 0.2)) - float(route_bend)
        return s, d, scale * math.tan(turn), bend * scale**2 / math.cos(turn) ** 3

    def _predict(self, truth: GroundTruth) -> AgentPredictions:
        rows, measured = self._seen(truth), self._memory.acceleration
        acceleration = np.array([measured.get(truth.agents.ids[k], 0.0) for k in rows], np.float64)
        return self._predictor.predict(truth.agents, rows, acceleration)

    def _seen(self, truth: GroundTruth) -> Array:
        """Return the rows of agents that are near and have been in sight."""
        agents, seen = truth.agents, self._memory.seen
        near = np.linalg.norm(agents.pose[:, :2] - truth.ego_pose[:2], axis=1) < self.config.agent_range_m
        rows = np.flatnonzero(agents.valid & near & ~np.isin(agents.category, SCENERY))
        rows = rows[self._on_level(truth, rows)]
        unseen = np.array([k for k in rows if agents.ids[k] not in seen], np.int64)
        if unseen.size:
            seen.update(agents.ids[k] for k in unseen[visible(truth, unseen)])
        return np.array([k for k in rows if agents.ids[k] in seen], np.int64)

    def _on_level(self, truth: GroundTruth, rows: Array) -> Bool[Array, " n"]:
        """Return which agents share a height with an ego on the route beside them."""
        agents = truth.agents
        if agents.elevation is None or self._frame is None or self._s is None:
            return np.ones(len(rows), bool)
        elevation, height = agents.elevation[rows].astype(np.float64), agents.size[rows, 2].astype(np.float64)
        s, _ = self._frame.project(agents.pose[rows, :2], self._s, self.config.agent_range_m, elevation)
        return heights_overlap(self._frame.elevation_at(s), float(truth.ego_size[2]), elevation, height)

    def _shifted(self) -> Array | None:
        """Return the last plan at the samples of this step, in world coordinates."""
        if self._last_plan is None:
            return None
        return self._last_plan[np.minimum(SAMPLES + 1, len(self._last_plan) - 1)]

    def _keep(self, paths: Paths, candidates: Candidates, chosen: int, s: float) -> None:
        """Remember the choice, so that the next one stays close to it."""
        path = int(candidates.path[chosen])
        ahead = s + ARC_LENGTHS_M
        self._last = (ahead, np.interp(ahead, paths.s[path], paths.d[path]), paths.targets[path])
        at = paths.at(np.full(candidates.distance.shape[1], path), candidates.distance[chosen])
        self._last_plan = np.stack([interpolate_rows(paths.xy[..., k], at) for k in (0, 1)], axis=-1)


def _candidates(paths: Paths, context: PlanningContext, acceleration: float) -> Candidates:
    """Combine all paths with all ramps and with following."""
    view, cap, limit, config = context.view, context.cap, context.friction_limit, context.config
    speed = view.ego_speed
    allowed = min(context.desired, cap.ahead(view.ego_s, 2.0 * speed) + 0.3)
    positions = (context.stop_at - 0.5 * float(view.ego_size[0]) - 0.4, context.wait_at)
    stops = [position - view.ego_s for position in positions if math.isfinite(position)]
    ramp = ramps(speed, acceleration, max(allowed, 1.0), limit, stops, config)
    follow = following(paths, speed, acceleration, cap, _leads(paths, context), limit, config)
    count = len(paths.s)
    profiles = [
        np.concatenate([np.broadcast_to(r[None], (count, *r.shape)), f[:, None]], axis=1)
        for r, f in zip(ramp, follow, strict=True)
    ]
    return Candidates.of(paths, *profiles)


def _leads(paths: Paths, context: PlanningContext) -> Leads:
    """Collect the leaders on each path: the agents, and the stop line as one more."""
    view = context.view
    rear = view.s - 0.5 * (view.ego_size[0] + view.agents.size[:, :1])
    gap = np.where(view.blockers, context.config.obstacle_gap_m, context.config.moving_gap_m)
    inside = _in_corridor(paths, view)
    if not math.isfinite(context.stop_at):
        return Leads(rear, view.rate, gap, inside)
    stop_line = np.full((1, STEPS), context.stop_at - 0.5 * view.ego_size[0] + 1.0)
    everywhere = np.ones((len(paths.s), 1, STEPS), bool)
    return Leads(
        np.concatenate([rear, stop_line]),
        np.concatenate([view.rate, 0.0 * stop_line]),
        np.append(gap, 1.6),
        np.concatenate([inside, everywhere], axis=1),
    )


def _in_corridor(paths: Paths, view: FrenetAgents) -> Bool[Array, "p n 49"]:
    """Return whether each agent is in the corridor of each path, or will be within 1.2 s."""
    if not len(view.s):
        return np.zeros((len(paths.s), 0, STEPS), bool)
    reach = 0.5 * (view.ego_size[1] + view.agents.size[:, 1]) + 0.25
    offset = np.stack([np.interp(view.s, s, d) for s, d in zip(paths.s, paths.d, strict=True)])
    inside = np.abs(view.d - offset) < reach[:, None]
    soon = inside.copy()
    for shift in range(1, 7):
        soon[:, :, :-shift] |= inside[:, :, shift:]
    return soon


def _distinct(candidates: Candidates, total: Array, config: ExpertConfig) -> Array:
    """Return the best candidates that differ from each other, best first."""
    order = np.argsort(total, kind="stable")[:60]
    early = candidates.pose[:, :24, :2]
    kept = [order[0]]
    for k in order[1:]:
        if len(kept) == config.plan_count:
            break
        if np.all(np.linalg.norm(early[kept] - early[k], axis=-1).max(axis=1) > config.plan_distance_m):
            kept.append(k)
    return np.array(kept)


def _decision(
    paths: Paths, candidates: Candidates, costs: Costs, best: Array, pose: Array, reasoning: Reasoning
) -> Decision:
    """Offer the best candidates as plans, weighted by their costs."""
    plans = np.stack([_plan(paths, candidates, int(k), pose) for k in best]).astype(np.float32)
    weights = np.exp(-np.clip(costs.total[best] - costs.total[best[0]], 0.0, 60.0) / 4.0)
    return Decision(plans, (weights / weights.sum()).astype(np.float32), 0, reasoning)


def _plan(paths: Paths, candidates: Candidates, k: int, pose: Array) -> Float64[Array, "64 4"]:
    """Convert candidate ``k`` to a plan in the ego frame."""
    steps = slice(1, PLAN_STEPS + 1)
    at = paths.at(np.full(PLAN_STEPS, candidates.path[k]), candidates.distance[k, steps])
    x, y, heading = (interpolate_rows(v, at) for v in (paths.xy[..., 0], paths.xy[..., 1], paths.heading))
    xy = to_frame(np.stack([x, y], axis=-1), pose)
    return np.column_stack([xy, wrap_angle(heading - pose[2]), candidates.speed[k, steps]])
