"""The guard: lets the driver's choice pass, takes a safer candidate, yields, stops, brakes or evades."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64

from alpamayo.guard.assessment import Assessment
from alpamayo.guard.belief import believed_truth
from alpamayo.guard.choice import FALLBACK, Choice, Request, choose
from alpamayo.guard.config import GuardConfig
from alpamayo.guard.minimal_risk import StopPlanner
from alpamayo.guard.outcomes import TIMES, arc_lengths, corner_margins
from alpamayo.guard.route import RoutePath
from alpamayo.validator.along_route import rise_along
from alpamayo.validator.levels import on_the_level
from alpamayo.validator.verdict import Verdict
from alpamayo_sim.constants import GRAVITY_MPS2
from alpamayo_sim.datatypes.decision import PLAN_DT, Decision
from alpamayo_sim.datatypes.observation import Agents, GroundTruth
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import to_frame
from alpamayo_sim.map.index import index_of, route_index
from alpamayo_sim.map.stop_lines import sign_lines, signal_lines
from alpamayo_sim.prediction.lane_following import LaneFollowingPredictor
from alpamayo_sim.prediction.trajectories import AgentTrajectories
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
OUTSIDE_TOLERANCE_M = 1e-3  # a plan that does not take the ego further outside is clean
PREPARED_EVERY = 20  # poses of the route between those around which lanes are looked up


@dataclass(frozen=True, eq=False)
class GuardResult:
    """The plan to drive, and why.

    Attributes:
        plan: the plan in the ego frame.
        index: the candidate; -1 for a plan of the guard's own.
        intervened: whether this is not the driver's choice.
        reason: why; empty if the driver's choice passes.
        judge: computes the validator's verdict of the driver's K candidates on the guard's prediction.
    """

    plan: Float32[Array, "64 4"]
    index: int
    intervened: bool
    reason: str
    judge: Callable[[], Verdict]

    @cached_property
    def verdict(self) -> Verdict:
        """The validator's verdict of the K candidates, computed on first use."""
        return self.judge()


@dataclass(frozen=True, eq=False)
class _LastSpeeds:
    """The agents at a step: their rows by id, speeds (m/s) and decelerations (m/s²)."""

    step: int
    row: dict[str, int]
    speed: Float64[Array, " n"]
    deceleration: Float64[Array, " n"]


class Guard:
    """Supervises the decisions of one drive through ``scene``.

    The driver's choice passes if it is safe. A plan is safe if friction allows it and it has, on the prediction of
    ``LaneFollowingPredictor``, no contact and no road departure within its 6.4 s. It is also safe if it has none
    within the next 1.5 s and leaves time to brake: driven for 0.3 s and then braked at 4 m/s² along its own path, the
    ego stops without contact and with a gap of 2 m in front. So remote risks do not stop the ego, imminent ones do.

    Every contact counts except those from behind: standing still does not make a collision the other agent's fault.
    Road departures count from 0.3 m on, or from where the route itself leaves the road.

    If the choice is not safe, the guard takes the first of these that exists: the previous intervention while it
    stays clean, so that decisions do not alternate; of the clean candidates after which the ego could still brake,
    the one of the best PDM score, preferably with more clearance; the previous plan; a stop on the driver's path or
    on the route, as gentle as possible and preferably with 2 m clearance (``minimal_risk``); braking at 2 to 8 m/s²;
    any clean candidate; an evasion, which is kept until the driver's choice has clearance; and finally the least
    severe outcome. Evasions come before stops if an agent would run into the stopped ego, as a wrong-way driver
    does. If an agent may cross the driver's choice closer than predicted, the guard brakes gently for it.

    All state between steps is here: the guard learns decelerations and lateral speeds of agents from one ``check``
    to the next. The choice itself is ``choice.choose``, a pure function.

    Args:
        scene: the scene that is driven.
        config: the thresholds; None takes the defaults.
    """

    def __init__(self, scene: Scene, config: GuardConfig | None = None) -> None:
        self.scene, self.config = scene, config or GuardConfig()
        self.map_index = index_of(scene.road_map)
        self._predictor = LaneFollowingPredictor(self.map_index)
        friction_limit = scene.environment.friction * GRAVITY_MPS2
        self._deceleration_limit = min(self.config.braking_levels_mps2[-1], friction_limit)
        self._stops = StopPlanner(self._deceleration_limit, self.config.jerk_limit_mps3, self.config.stand_at_once_mps)
        self._last_ego_speed: tuple[int, float] = (-2, 0.0)
        self._last_speeds = _LastSpeeds(-2, {}, np.zeros(0), np.zeros(0))
        self._last_choice: tuple[int, Choice] | None = None
        self._outside_at_start = np.inf  # m; never grows in a drive
        self._least_beyond = np.inf  # m, the least distance outside since the ego went beyond the limit
        self._risks: list[str] | None = None  # agents that the last choices of the driver would have met
        self._route_step = -1
        self._route_place: float | None = None  # m, arc length of the ego on the route
        self._route: RoutePath | None = None
        self._lines = _line_points(scene)
        if scene.route is not None:
            area, size = self.map_index.drivable_area, scene.ego.size[:2].astype(np.float64)
            self._route = RoutePath.of(scene.route, area, size, self.config)
        self._prepare()

    def check(self, decision: Decision, truth: GroundTruth) -> GuardResult:
        """Decide which plan to drive.

        Raises:
            InputError: the truth is of another scene.
            DriverError: the guard is one on belief, and the decision does not tell what the driver believes.
        """
        if truth.scene.id != self.scene.id:
            raise InputError(f"the guard of scene {self.scene.id!r} was given the truth of {truth.scene.id!r}")
        truth = believed_truth(truth, decision) if self.config.on_belief else truth
        assessment = self._assessment(decision, truth)
        outcomes = assessment.candidates()
        self._risks = [*(self._risks or ()), outcomes.risk][-self.config.remote_checks :]
        while isinstance(choice := choose(outcomes, self.config), Request):
            outcomes = assessment.add(outcomes, choice)
        self._last_choice = truth.step, choice
        is_own = choice.index == FALLBACK
        plan = _in_ego_frame(choice.pose, choice.speed, truth) if is_own else decision.plans[choice.index]
        intervened = choice.index != decision.chosen
        return GuardResult(plan, choice.index, intervened, choice.reason, lambda: assessment.verdict)

    def off_road_tolerance(self, truth: GroundTruth) -> float:
        """Return the distance (m) outside the drivable area from which a corner counts as off the road.

        It is that of the config, plus the distance by which the ego was outside at the start of the drive, or by which
        its route is outside. What the ego has won back since the start it may not lose again, so a slow drift ends at
        the limit. An ego that is beyond the limit may not get further away than it was at its nearest since then, but
        for the room that it needs to return.
        """
        area = self.map_index.drivable_area
        if not area.is_defined:
            return np.inf
        size = truth.ego_size[:2].astype(np.float64)
        ground = None if truth.ego_elevation is None else np.array([truth.ego_elevation], np.float64)
        outside = max(0.0, -float(corner_margins(area, truth.ego_pose[None].astype(np.float64), size, ground)[0]))
        self._outside_at_start = min(self._outside_at_start, outside)
        allowed = self._outside_at_start
        if self._route is not None:
            here = self._place_on_route(self._route, truth)
            allowed = max(allowed, -self._route.least_margin(here, self.config.route_lookahead_m))
        limit = self.config.off_road_tolerance_m + allowed
        self._least_beyond = min(self._least_beyond, outside) if outside > limit else np.inf
        return_room = self._least_beyond + self.config.off_road_return_m if outside > limit else 0.0
        return max(limit, return_room, outside + OUTSIDE_TOLERANCE_M)

    def _place_on_route(self, route: RoutePath, truth: GroundTruth) -> float:
        """Return the arc length (m) of the ego on the route, searched from that of the last check on."""
        if self._route_step != truth.step or self._route_place is None:
            self._route_step, self._route_place = truth.step, route.place_of(truth, self._route_place)
        return self._route_place

    def _assessment(self, decision: Decision, truth: GroundTruth) -> Assessment:
        """Update the state, predict the agents, and collect all inputs of the check."""
        step, speed = self._last_ego_speed
        acceleration = (truth.ego_speed - speed) / self.scene.dt if truth.step == step + 1 else 0.0
        self._last_ego_speed = truth.step, truth.ego_speed
        off_road_tolerance = self.off_road_tolerance(truth)
        return Assessment(
            self.config,
            decision,
            truth,
            prediction=self._on_the_level(truth, self._predict(truth)),
            predict_at=lambda times: self._on_the_level(truth, self._predictor.predict_at(times)),
            map_index=self.map_index,
            ground_under=self._ground_under(truth),
            off_road_tolerance=off_road_tolerance,
            path_along_route=self._path_along_route(truth),
            stops=self._stops,
            deceleration_limit=self._deceleration_limit,
            acceleration=acceleration,
            previous=self._previous_plan(truth),
            risks=self._risks,
            line_points=self._lines,
            is_evading=self._last_choice is not None and self._last_choice[1].is_evasive,
        )

    def _path_along_route(self, truth: GroundTruth) -> Float64[Array, "65 3"] | None:
        if self._route is None:
            return None
        return self._route.path_from(truth, self._place_on_route(self._route, truth), self.config)

    def _previous_plan(self, truth: GroundTruth) -> Choice | None:
        """Return the rest of the last choice if it was made one step before and the ego is near it."""
        if self._last_choice is None or truth.step != self._last_choice[0] + 1:
            return None
        last = self._last_choice[1]
        passed = round(self.scene.dt / PLAN_DT)
        if passed < 1:
            return None
        gap = np.linalg.norm(last.pose[passed, :2] - truth.ego_pose[:2]) + abs(last.speed[passed] - truth.ego_speed)
        if gap > self.config.held_plan_tolerance_m:
            return None
        beyond = np.zeros((passed, 3))
        beyond[:, :2] = np.arange(1, passed + 1)[:, None] * (last.pose[-1, :2] - last.pose[-2, :2])
        pose = np.concatenate([last.pose[passed:], last.pose[-1] + beyond])
        speed = np.concatenate([last.speed[passed:], np.repeat(last.speed[-1:], passed)])
        return replace(last, index=FALLBACK, pose=pose, speed=speed)

    def _predict(self, truth: GroundTruth) -> AgentTrajectories:
        """Predict the agents that can come near the ego within the time of a plan."""
        agents, config, horizon = truth.agents, self.config, TIMES[-1]
        deceleration = self._update_decelerations(truth)
        distance = np.linalg.norm(agents.pose[:, :2] - truth.ego_pose[:2], axis=1)
        speed = truth.ego_speed + np.hypot(agents.velocity[:, 0], agents.velocity[:, 1])
        reach = speed * horizon + 0.5 * config.ego_acceleration_mps2 * horizon**2
        is_near = agents.valid & (distance < reach + 0.5 * agents.size[:, 0] + config.agent_range_margin_m)
        is_next_step = self._last_choice is not None and self._last_choice[0] + 1 == truth.step
        since = self.scene.dt if is_next_step else None
        return self._predictor.predict(_select(agents, is_near), deceleration[is_near], since=since)

    def _on_the_level(self, truth: GroundTruth, prediction: AgentTrajectories) -> AgentTrajectories:
        """Return the agents that may share a height with the ego, which rises and falls with its route."""
        if truth.ego_elevation is None:
            return prediction
        elevation = np.full((1, len(TIMES)), truth.ego_elevation)
        if self._route is not None and self._route_place is not None:
            s = self._route_place + np.array([[0.0], [truth.ego_speed]]) * TIMES
            elevation = elevation + rise_along(self._route.route, s)
        return on_the_level(prediction, elevation, float(truth.ego_size[2]))

    def _ground_under(self, truth: GroundTruth) -> Callable[[Array], Array] | None:
        """Return a function that gives the z (m) of the ground under motions; None on a map without levels.

        The ground rises and falls with the route.
        """
        here, route, place = truth.ego_elevation, self._route, self._route_place
        if here is None or not self.map_index.has_levels:
            return None
        if route is None or place is None:
            return lambda pose: np.full(pose.shape[:2], here)
        return lambda pose: here + rise_along(route.route, place + arc_lengths(pose))

    def _update_decelerations(self, truth: GroundTruth) -> Float64[Array, " n"]:
        """Measure the decelerations (m/s²) of the agents since the last check, smoothed by half."""
        agents, last, config = truth.agents, self._last_speeds, self.config
        deceleration = np.zeros(len(agents.ids))
        speed = np.hypot(agents.velocity[:, 0], agents.velocity[:, 1]).astype(np.float64)
        if last.step == truth.step - 1:
            row = np.array([last.row.get(name, -1) for name in agents.ids], np.int64)
            known = np.flatnonzero(agents.valid & (speed > 0.0) & (row >= 0))
            row = row[known]
            measured = (last.speed[row] - speed[known]) / self.scene.dt
            measured = np.clip(measured, 0.0, config.greatest_deceleration_mps2)
            deceleration[known] = 0.5 * (measured + last.deceleration[row])
        deceleration[deceleration < config.least_deceleration_mps2] = 0.0
        present = np.flatnonzero(agents.valid)
        rows = {agents.ids[i]: n for n, i in enumerate(present)}
        self._last_speeds = _LastSpeeds(truth.step, rows, speed[present], deceleration[present])
        return deceleration

    def _prepare(self) -> None:
        """Load compiled kernels and look up the map, so that the first decisions do not wait for it."""
        from alpamayo.guard import kernels as guard_kernels
        from alpamayo.validator.kernels import boxes, time_to_collision
        from alpamayo_sim.map import kernels as map_kernels
        from alpamayo_sim.prediction import kernels as prediction_kernels

        for module in (boxes, guard_kernels, prediction_kernels, map_kernels, time_to_collision):
            wp.load_module(module=module, device="cpu")
        points = self.scene.ego.position[self.scene.ego.valid][:1, :2].astype(np.float64)
        if self._route is not None and self.scene.route is not None:
            ahead = self._route.frame.xy[: int(self.config.prepared_route_m) : PREPARED_EVERY]
            points = np.concatenate([points, ahead])
            route_index(self.scene.route).prepare_lanes(points, self.config.prepared_border_m)
        if self.scene.road_map.lanes:
            self.map_index.prepare_lanes(points, self.config.prepared_lanes_m)
            self._predictor.prepare(points, self.config.prepared_lanes_m)


def _line_points(scene: Scene) -> Float64[Array, "n 2"]:
    """Return the middle (m) of each line at which a light or a sign may ask for a stop."""
    lines = [*(line for found in signal_lines(scene) for line in found), *sign_lines(scene)]
    return np.array([line.ends.mean(axis=0) for line in lines], np.float64).reshape(-1, 2)


def _select(agents: Agents, rows: Bool[Array, " n"]) -> Agents:
    """Select some of the agents."""
    ids = tuple(name for name, kept in zip(agents.ids, rows, strict=True) if kept)
    fields = ["category", "pose", "velocity", "size", "valid"] + ["elevation"] * (agents.elevation is not None)
    return Agents(ids=ids, **{name: np.asarray(getattr(agents, name))[rows] for name in fields})


def _in_ego_frame(
    pose: Float64[Array, "65 3"], speed: Float64[Array, "65"], truth: GroundTruth
) -> Float32[Array, "64 4"]:
    """Express a motion in world coordinates as a plan."""
    here = truth.ego_pose.astype(np.float64)
    xy = to_frame(pose[1:, :2], here)
    return np.column_stack([xy, pose[1:, 2] - here[2], speed[1:]]).astype(np.float32)
