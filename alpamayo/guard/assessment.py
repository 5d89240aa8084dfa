"""One check of the guard: the outcomes of the candidates, evaluated stage by stage."""

import math
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64

from alpamayo.guard.choice import (
    Choice,
    EvasionOutcomes,
    MinimalRiskOutcomes,
    Outcomes,
    PlannedStop,
    PreviousPlan,
    Request,
    Stage,
    YieldingOutcomes,
)
from alpamayo.guard.config import GuardConfig
from alpamayo.guard.minimal_risk import BrakingPlans, StopPlanner, braking_plans, evasive_plans
from alpamayo.guard.outcomes import (
    TIMES,
    CandidateMotions,
    MotionOutcomes,
    arc_lengths,
    braked,
    first_contacts,
    free_distances,
    motion_outcomes,
    poses_at,
)
from alpamayo.guard.pdm import pdm_score
from alpamayo.guard.route import RoutePath
from alpamayo.metrics.friction import friction_limit, windowed_slopes
from alpamayo.validator.contacts import box_clearances
from alpamayo.validator.judge import CORE_RULES, judge, plans_motions
from alpamayo.validator.motions import MotionBatch, plans_in_world
from alpamayo.validator.packed import AgentBoxes, pack_boxes
from alpamayo.validator.verdict import Verdict
from alpamayo_sim.datatypes.decision import PLAN_DT, Decision
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.geometry import from_frame, oriented, to_frame, wrap_angle
from alpamayo_sim.map.index import MapIndex
from alpamayo_sim.prediction.lane_following import LaneFollowingPredictor
from alpamayo_sim.prediction.trajectories import AgentTrajectories

Array = np.ndarray
PLACES = ("on the driver's path", "in its lane")  # of planned stops


class Assessment:
    """Evaluates the outcomes of one check.

    Args:
        config: the thresholds.
        decision: the driver's candidates.
        truth: the present state of the world.
        prediction: the predicted agents.
        predictor: made the prediction, and can extend it.
        map_index: the map.
        off_road_tolerance: the distance (m) outside the drivable area from which a corner is off the road.
        route: the route; None without one.
        stops: the planner of stops of this drive.
        deceleration_limit: the greatest deceleration (m/s²) of the guard's own plans.
        acceleration: the present acceleration (m/s²) of the ego.
        previous: the rest of the plan chosen at the step before, if the ego is near it.
        is_evading: whether the plan of the step before is an evasion by the guard.
    """

    def __init__(
        self,
        config: GuardConfig,
        decision: Decision,
        truth: GroundTruth,
        *,
        prediction: AgentTrajectories,
        predictor: LaneFollowingPredictor,
        map_index: MapIndex,
        off_road_tolerance: float,
        route: RoutePath | None,
        stops: StopPlanner,
        deceleration_limit: float,
        acceleration: float,
        previous: Choice | None,
        is_evading: bool,
    ) -> None:
        self.config, self.decision, self.truth, self.prediction = config, decision, truth, prediction
        self._predictor, self._map_index, self._route = predictor, map_index, route
        self._off_road_tolerance = off_road_tolerance
        self._stops, self._deceleration_limit, self._acceleration = stops, deceleration_limit, acceleration
        self._previous, self._is_evading = previous, is_evading
        self._boxes = pack_boxes(prediction, len(TIMES))
        self._size = truth.ego_size[:2].astype(np.float64)
        plans, pose = decision.plans.astype(np.float64), truth.ego_pose.astype(np.float64)
        self.pose, self.speed = plans_in_world(plans, pose, truth.ego_speed)

    def candidates(self) -> Outcomes:
        """Evaluate the candidates as they are and braked after a delay, and the choice with uncertain agents."""
        config, count, chosen = self.config, len(self.pose), self.decision.chosen
        deceleration = np.full(count, min(config.comfortable_deceleration_mps2, self._deceleration_limit))
        braked_pose, braked_speed = braked(self.pose, self.speed, deceleration, config.braking_delay_s)
        motions = CandidateMotions(
            np.concatenate([self.pose, braked_pose, self.pose[chosen : chosen + 1]]),
            np.concatenate([self.speed, braked_speed, self.speed[chosen : chosen + 1]]),
            self._size,
            front_clearance=np.repeat([0.0, config.front_clearance_m, 0.0], [count, count, 1]),
            speed_uncertainty=np.repeat([0.0, config.crossing_uncertainty_mps2], [2 * count, 1]),
            uncertainty_s=config.crossing_uncertainty_s,
        )
        found = self._outcomes_of(motions)
        crossed = found.contact_time[-1]
        is_crossed = crossed <= config.crossing_uncertainty_s and crossed < found.contact_time[chosen]
        return Outcomes(
            chosen=chosen,
            weights=self.decision.weights,
            pose=self.pose,
            speed=self.speed,
            candidates=found.take(slice(count)),
            is_feasible=is_feasible(self.pose, self.speed, self.truth.scene.environment.friction, config),
            can_brake=found.take(slice(count, 2 * count)).is_clean,
            crossing_agent=self.prediction.ids[found.agent_index[-1]] if is_crossed else "",
            agent_ids=self.prediction.ids,
            is_evading=self._is_evading,
        )

    def add(self, outcomes: Outcomes, request: Request) -> Outcomes:
        """Evaluate a requested stage."""
        evaluate: dict[Stage, Any] = {
            Stage.YIELDING: self._yielding,
            Stage.PREVIOUS: self._previous_plan,
            Stage.CLEARANCE: lambda: self._has_clearance() & outcomes.candidates.is_clean,
            Stage.SCORES: lambda: pdm_score(self._motions(self.decision.plans[request.rows])),
            Stage.MINIMAL_RISK: self._minimal_risk,
            Stage.EVASION: self._evasion,
        }
        return replace(outcomes, **{request.stage.value: evaluate[request.stage]()})

    @cached_property
    def verdict(self) -> Verdict:
        """The validator's verdict of the K candidates on this prediction."""
        return judge(self._motions(self.decision.plans), CORE_RULES)

    def _motions(self, plans: Float32[Array, "k 64 4"]) -> MotionBatch:
        scene = self.truth.scene
        now = self.truth.step * scene.dt
        return plans_motions(scene, plans, now, truth=self.truth, forecast=self.prediction, map_index=self._map_index)

    def _outcomes_of(self, motions: CandidateMotions) -> MotionOutcomes:
        area = self._map_index.drivable_area
        return motion_outcomes(motions, self.prediction, self._boxes, area, self._off_road_tolerance)

    def _plain_outcomes(self, pose: Float64[Array, "n 65 3"], speed: Float64[Array, "n 65"]) -> MotionOutcomes:
        return self._outcomes_of(CandidateMotions(pose, speed, self._size))

    def _yielding(self) -> YieldingOutcomes:
        """Brake for an agent that may cross closer than predicted."""
        config, plans = self.config, self._braking_plans
        uncertain = CandidateMotions(
            plans.pose,
            plans.speed,
            self._size,
            speed_uncertainty=config.crossing_uncertainty_mps2,
            uncertainty_s=config.crossing_uncertainty_s,
        )
        step, agent = first_contacts(uncertain, self._boxes)
        is_clear = (agent < 0) | (TIMES[step] > config.crossing_uncertainty_s)
        return YieldingOutcomes(plans, self._plain_outcomes(plans.pose, plans.speed).is_clean & is_clear)

    def _previous_plan(self) -> PreviousPlan:
        """Test the previous plan as it will be driven if the ego keeps its present deviation from it."""
        previous = self._previous
        if previous is None:
            return PreviousPlan(None)
        here = self.truth.ego_pose.astype(np.float64)
        xy = from_frame(to_frame(previous.pose[:, :2], previous.pose[0]), here)
        turn = math.remainder(here[2] - previous.pose[0, 2], math.tau)
        pose = np.column_stack([xy, previous.pose[:, 2] + turn])
        margin = self.config.evasion_size_margin_m if previous.is_evasive else (0.0, 0.0)
        motion = CandidateMotions(pose[None], previous.speed[None], self._size, size_margin=margin)
        return PreviousPlan(previous if self._outcomes_of(motion).is_clean[0] else None)

    def _has_clearance(self) -> Bool[Array, " k"]:
        """Find the candidates without a contact even if agents are longer and wider."""
        margin = self.config.candidate_size_margin_m
        motions = CandidateMotions(self.pose, self.speed, self._size, size_margin=margin)
        return first_contacts(motions, self._boxes)[1] < 0

    def _minimal_risk(self) -> MinimalRiskOutcomes:
        """Evaluate braking plans, a planned stop, and whether an agent runs into the stopped ego."""
        plans = self._braking_plans
        outcomes = self._plain_outcomes(plans.pose, plans.speed)
        can_stop = outcomes.is_clean[-len(self._paths) :].any()  # no stop is shorter than the hardest braking
        stop = self._planned_stop() if can_stop else None
        is_struck, clean = np.zeros(len(plans.pose), bool), np.flatnonzero(outcomes.is_clean)
        if len(clean):
            is_struck[clean] = self._is_struck(plans.pose[clean, -1])
        return MinimalRiskOutcomes(stop, plans, outcomes, is_struck)

    def _planned_stop(self) -> PlannedStop | None:
        """Plan the first stop that is clean: on the driver's path, then on the route, with clearance if possible."""
        config, speed, paths = self.config, float(self.truth.ego_speed), np.stack(self._paths)
        distance = arc_lengths(paths)
        s = np.linspace(0.0, distance[:, -1], config.path_samples, axis=-1)
        clearances = (config.front_clearance_m, config.least_front_clearance_m)
        free = free_distances(poses_at(paths, distance, s), s, self._size, clearances, self._boxes)
        for path, place in enumerate(PLACES[: len(paths)]):
            for limit in np.minimum(free[path], distance[path, -1]):
                stop = self._stops.plan(speed, self._acceleration, limit)
                if stop is None:
                    continue
                pose = poses_at(paths[path : path + 1], distance[path : path + 1], stop.distance[None])
                if self._plain_outcomes(pose, stop.speed[None]).is_clean[0]:
                    is_struck = bool(self._is_struck(pose[:, -1])[0])
                    return PlannedStop(pose[0], stop.speed, stop.greatest_deceleration, place, is_struck)
                break
        return None

    def _is_struck(self, end: Float64[Array, "n 3"]) -> Bool[Array, " n"]:
        """Return whether an agent runs into an ego that stands at a pose after the plan, not from behind."""
        pose = np.repeat(end[:, None], len(self.config.stopped_times), axis=1)
        margin = (0.0, self.config.candidate_size_margin_m[1])
        motions = CandidateMotions(pose, np.zeros(pose.shape[:2]), self._size, size_margin=margin)
        return first_contacts(motions, self._later_boxes)[1] >= 0

    def _evasion(self) -> EvasionOutcomes:
        """Evaluate evasions from the route, or from the driver's path without one."""
        plans = evasive_plans(self._paths[-1], float(self.truth.ego_speed), self._deceleration_limit, self.config)
        is_clean = self._plain_outcomes(plans.pose, plans.speed).is_clean
        clearance = np.full(len(is_clean), -np.inf)
        if is_clean.any():
            ignored = np.zeros((len(is_clean), len(self._boxes.boxes)), bool)
            limit = self.config.evasion_clearance_m
            gap = box_clearances(oriented(plans.pose), self._size, self._boxes, ignored, limit).min(axis=1)
            clearance = np.where(is_clean, gap, -np.inf)
        return EvasionOutcomes(plans, clearance)

    @cached_property
    def _paths(self) -> list[Float64[Array, "65 3"]]:
        """The driver's path, and one along the route if there is one."""
        along = None if self._route is None else self._route.path_from(self.truth, self.config)
        return [self.pose[self.decision.chosen]] + ([] if along is None else [along])

    @cached_property
    def _braking_plans(self) -> BrakingPlans:
        speed = float(self.truth.ego_speed)
        return braking_plans(np.stack(self._paths), speed, self._deceleration_limit, self.config)

    @cached_property
    def _later_boxes(self) -> AgentBoxes:
        """The agents after the time of a plan."""
        times = self.config.stopped_times
        return pack_boxes(self._predictor.predict_at(times), len(times))


def is_feasible(
    pose: Float64[Array, "k 65 3"], speed: Float64[Array, "k 65"], friction: float, config: GuardConfig
) -> Bool[Array, " k"]:
    """Return whether friction allows the accelerations of each motion at its beginning, averaged over short windows."""
    first, window = round(config.feasibility_horizon_s / PLAN_DT), round(config.feasibility_window_s / PLAN_DT)
    step = np.diff(pose[:, : first + 1], axis=1)
    moved = np.concatenate([speed[:, :1], np.hypot(step[..., 0], step[..., 1]) / PLAN_DT], axis=1)
    longitudinal = windowed_slopes(moved, window, PLAN_DT)
    turned = np.cumsum(wrap_angle(step[..., 2]), axis=1)
    rate = windowed_slopes(turned, window, PLAN_DT)
    lateral = rate * moved[:, 2 : 2 + rate.shape[1]]
    limit = friction_limit(friction, config.friction_tolerance_mps2)
    return (np.abs(longitudinal).max(axis=1) <= limit) & (np.abs(lateral).max(axis=1) <= limit)
