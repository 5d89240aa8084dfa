"""The planner: samples paths and speeds along the route, scores all of them, and chooses the best."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64

from alpamayo_sim.constants import GRAVITY_MPS2
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.observation import GroundTruth, Observation
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import wrap_angle
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.planning.candidates import SAMPLES, Candidates, PlanningContext
from alpamayo_sim.planning.config import PlannerConfig
from alpamayo_sim.planning.frenet_agents import FrenetAgents, to_frenet
from alpamayo_sim.planning.memory import AgentMemory
from alpamayo_sim.planning.paths import ARC_LENGTHS_M, Paths, Target, interpolate_rows, make_paths
from alpamayo_sim.planning.proposals import Proposals
from alpamayo_sim.planning.reasons import Explainer
from alpamayo_sim.planning.rules import find_cautions, speed_cap, stop_position
from alpamayo_sim.planning.scoring import score
from alpamayo_sim.planning.speeds import Leads, following, ramps
from alpamayo_sim.planning.stops import StopMemory
from alpamayo_sim.planning.surroundings import Surroundings
from alpamayo_sim.planning.targets import make_targets, waiting_position
from alpamayo_sim.prediction.lane_changes import STEPS, AgentPredictions, LaneChangePredictor

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class PlanningWorld:
    """The world of one step, true or believed.

    Attributes:
        state: the ego, the agents and the signals.
        rows: the agents that matter, by their rows in ``state.agents``.
        frame: the route.
        surroundings: the borders and lanes along it.
        stops: its stop lines, and those that the ego has obeyed.
        predictor: predicts agents on the map.
    """

    state: GroundTruth
    rows: Int64[Array, " n"]
    frame: RouteFrame
    surroundings: Surroundings
    stops: StopMemory
    predictor: LaneChangePredictor


class SamplingPlanner:
    """A sampling planner in the route's Frenet frame.

    Paths to lateral targets (lanes, nudges, paths around obstacles) are combined with speed profiles (ramps,
    emergency braking, following). All candidates are scored in one batch against predictions of the agents; see
    `scoring`. It plans in the world that it is given: the expert gives it the true one, the driver its belief.
    """

    def __init__(self, config: PlannerConfig | None = None) -> None:
        self.config = config or PlannerConfig()
        self._memory = AgentMemory()
        self._last: tuple[Array, Array, Target] | None = None
        self._last_plan: Array | None = None
        self._last_time: float | None = None
        self._steps = 1  # since the last plan
        self._waited = 0.0
        self._d = 0.0
        self.s: float | None = None

    def locate(self, frame: RouteFrame, state: GroundTruth) -> float:
        """Return the ego's arc length (m), found from the last one on; ``plan`` does this first."""
        self.s, self._d = frame.place(state.ego_pose, self.s, state.ego_elevation)
        return self.s

    def plan(self, observation: Observation, world: PlanningWorld) -> Decision:
        """Make the best plans and say why; the ego must have been located in this world."""
        proposals = self.propose(observation, world)
        return self.commit(proposals, proposals.best)

    def propose(self, observation: Observation, world: PlanningWorld) -> Proposals:
        """Score all candidates; ``commit`` drives one of them. The ego must have been located in this world.

        Raises:
            InputError: the ego was not located.
        """
        state, (s, start) = world.state, self._start(world.frame, world.state, observation.curvature)
        elapsed = self._elapsed(observation.time, state.scene.dt)
        self._memory.update(state.agents, observation.time, elapsed)
        world.stops.update(state, s)
        view = self._view(observation, world, (s, start[0]))
        waits = bool(view.blockers.any()) and view.ego_speed < self.config.waiting_speed_mps
        self._waited = self._waited + elapsed if waits else 0.0
        return self._proposals(observation, world, view, start)

    def propose_without(
        self, observation: Observation, world: PlanningWorld, removed: Int64[Array, " m"], stops: bool = True
    ) -> Proposals:
        """Score the candidates of a world that lacks some agents, or all stop lines; nothing is remembered of it.

        Args:
            observation: that of the last ``propose``.
            world: that of the last ``propose``.
            removed: the rows of the agents that are not there.
            stops: whether the stop lines are there.
        """
        rest = replace(world, rows=np.setdiff1d(world.rows, removed), stops=world.stops if stops else StopMemory(()))
        s, start = self._start(world.frame, world.state, observation.curvature)
        return self._proposals(observation, rest, self._view(observation, rest, (s, start[0])), start)

    def commit(self, proposals: Proposals, chosen: int) -> Decision:
        """Offer a candidate as the chosen plan, the best others beside it; later plans stay close to it."""
        costs, config = proposals.costs, self.config
        best = _distinct(proposals.candidates, costs.total, chosen, config)
        self._keep(proposals, chosen)
        plans = np.stack([proposals.plan(int(k)) for k in best]).astype(np.float32)
        weights = np.exp(-np.clip(costs.total[best] - costs.total[chosen], 0.0, 60.0) / 4.0)
        return Decision(plans, (weights / weights.sum()).astype(np.float32), 0, Explainer(proposals).explain(chosen))

    def _proposals(
        self, observation: Observation, world: PlanningWorld, view: FrenetAgents, start: tuple[float, float, float]
    ) -> Proposals:
        state, frame, config, s = world.state, world.frame, self.config, view.ego_s
        cautions = find_cautions(state, view, self._memory, config)
        desired = observation.speed_limit or config.default_speed_mps
        stop_at, stop_line = stop_position(state, world.stops, s)
        context = PlanningContext(
            config=config,
            view=view,
            pose=state.ego_pose.astype(np.float64),
            surroundings=world.surroundings,
            cap=speed_cap(frame, s, desired, state.scene.environment, cautions, config),
            desired=desired,
            stop_at=stop_at,
            friction_limit=min(
                config.greatest_deceleration_mps2,
                config.used_friction * state.scene.environment.friction * GRAVITY_MPS2,
            ),
            waited=self._waited,
            wait_at=waiting_position(view, config),
            previous=self._shifted(),
        )
        paths = make_paths(frame, s, start, make_targets(view, world.surroundings, config), self._last)
        candidates = _candidates(paths, context, observation.acceleration)
        costs = score(candidates, context)
        return Proposals(state, frame, context, tuple(cautions), stop_line, paths, candidates, costs)

    def _view(self, observation: Observation, world: PlanningWorld, ego: tuple[float, float]) -> FrenetAgents:
        agents, time = self._predict(world), observation.time
        return to_frenet(world.state, agents, world.frame, ego, self._memory, world.stops.stops, time, self.config)

    def _elapsed(self, time: float, dt: float) -> float:
        """Return the time (s) since the last step, a whole number of steps."""
        if self._last_time is not None:
            self._steps = max(round((time - self._last_time) / dt), 1)
        self._last_time = time
        return self._steps * dt

    def _start(
        self, frame: RouteFrame, state: GroundTruth, curvature: float
    ) -> tuple[float, tuple[float, float, float]]:
        """Return s (m), and d (m) with its first two derivatives by s."""
        if self.s is None:
            raise InputError("planner: the ego must be located before a plan is made")
        s, d = self.s, self._d
        _, heading, route_bend = frame.at(s)
        turn = float(np.clip(wrap_angle(np.asarray(state.ego_pose[2] - heading)), -1.0, 1.0))
        scale = max(1.0 - float(route_bend) * d, 0.2)
        bend = float(np.clip(curvature, -0.2, 0.2)) - float(route_bend)
        return s, (d, scale * math.tan(turn), bend * scale**2 / math.cos(turn) ** 3)

    def _predict(self, world: PlanningWorld) -> AgentPredictions:
        rows, measured, agents = world.rows, self._memory.acceleration, world.state.agents
        acceleration = np.array([measured.get(agents.ids[k], 0.0) for k in rows], np.float64)
        return world.predictor.predict(agents, rows, acceleration)

    def _shifted(self) -> Array | None:
        """Return the last plan at the samples of this step, in world coordinates."""
        if self._last_plan is None:
            return None
        return self._last_plan[np.minimum(SAMPLES + self._steps, len(self._last_plan) - 1)]

    def _keep(self, proposals: Proposals, chosen: int) -> None:
        """Remember the choice, so that the next one stays close to it."""
        paths, candidates = proposals.paths, proposals.candidates
        path = int(candidates.path[chosen])
        ahead = proposals.context.s + ARC_LENGTHS_M
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


def _distinct(candidates: Candidates, total: Array, chosen: int, config: PlannerConfig) -> Array:
    """Return the chosen candidate, and the best ones that differ from it and from each other, best first."""
    order = np.argsort(total, kind="stable")[:60]
    early = candidates.pose[:, :24, :2]
    kept = [chosen]
    for k in order[order != chosen]:
        if len(kept) == config.plan_count:
            break
        if np.all(np.linalg.norm(early[kept] - early[k], axis=-1).max(axis=1) > config.plan_distance_m):
            kept.append(k)
    return np.array(kept)
