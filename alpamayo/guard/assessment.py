"""One check of the guard: the outcomes of the candidates, evaluated stage by stage."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64

from alpamayo.guard.choice import (
    Choice,
    EvasionOutcomes,
    LimitedPlan,
    MinimalRiskOutcomes,
    Outcomes,
    PlannedStop,
    PreviousPlan,
    Request,
    Stage,
    YieldingOutcomes,
)
from alpamayo.guard.config import GuardConfig
from alpamayo.guard.minimal_risk import BrakingPlans, StopPlanner, braking_plans, evasive_plans, limited_profile
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
from alpamayo.metrics.friction import friction_limit, windowed_slopes
from alpamayo.metrics.one_motion import disagreement
from alpamayo.validator.contacts import box_clearances
from alpamayo.validator.judge import CORE_RULES, judge, plans_motions
from alpamayo.validator.motions import MotionBatch, plans_in_world
from alpamayo.validator.packed import AgentBoxes, pack_boxes
from alpamayo.validator.rules import PLAN_RULES
from alpamayo.validator.verdict import Verdict
from alpamayo_sim.datatypes.decision import PLAN_DT, Decision
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.geometry import from_frame, oriented, to_frame, wrap_angle
from alpamayo_sim.map.index import MapIndex
from alpamayo_sim.prediction.trajectories import AgentTrajectories

Array = np.ndarray
LIGHT_RULES = PLAN_RULES["red_light"], PLAN_RULES["stop_line"]
HARD_RULES = {name: rule for name, rule in PLAN_RULES.items() if rule.hard}
PLACES = ("on the driver's path", "in its lane")  # of planned stops


class Assessment:
    """Evaluates the outcomes of one check.

    Args:
        config: the thresholds.
        decision: the driver's candidates.
        truth: the present state of the world.
        prediction: the predicted agents.
        predict_at: extends the prediction to other times (s).
        map_index: the map.
        ground_under: gives the z (m) of the ground under motions; None on a map without levels.
        off_road_tolerance: the distance (m) outside the drivable area from which a corner is off the road.
        path_along_route: a path that returns to the route; None without a route, or too far from it.
        stops: the planner of stops of this drive.
        deceleration_limit: the greatest deceleration (m/s²) of the guard's own plans.
        acceleration: the present acceleration (m/s²) of the ego.
        previous: the rest of the plan chosen at the step before, if the ego is near it.
        is_evading: whether the plan of the step before is an evasion by the guard.
        risks: the agents that the driver's choices of the steps before would have met, each empty without one; None if
            there was no step before.
        line_points: a point (m) of each line at which lights or signs may ask for a stop.
    """

    def __init__(
        self,
        config: GuardConfig,
        decision: Decision,
        truth: GroundTruth,
        *,
        prediction: AgentTrajectories,
        predict_at: Callable[[Array], AgentTrajectories],
        map_index: MapIndex,
        ground_under: Callable[[Array], Array] | None,
        off_road_tolerance: float,
        path_along_route: Float64[Array, "65 3"] | None,
        stops: StopPlanner,
        deceleration_limit: float,
        acceleration: float,
        previous: Choice | None,
        is_evading: bool,
        risks: Sequence[str] | None,
        line_points: Float64[Array, "n 2"],
    ) -> None:
        self.config, self.decision, self.truth, self.prediction = config, decision, truth, prediction
        self._predict_at, self._map_index, self._along = predict_at, map_index, path_along_route
        self._off_road_tolerance, self._ground_under = off_road_tolerance, ground_under
        self._stops, self._deceleration_limit, self._acceleration = stops, deceleration_limit, acceleration
        self._previous, self._is_evading, self._risks = previous, is_evading, risks
        self._line_points = line_points
        self._boxes = pack_boxes(prediction, len(TIMES))
        self._size = truth.ego_size[:2].astype(np.float64)
        plans, pose = decision.plans.astype(np.float64), truth.ego_pose.astype(np.float64)
        self.pose, self.speed = plans_in_world(plans, pose, truth.ego_speed)

    def candidates(self) -> Outcomes:
        """Evaluate the candidates as they are and braked after a delay, and the choice with uncertain agents."""
        config, count, chosen = self.config, len(self.pose), self.decision.chosen
        late = len(config.late_decelerations_mps2)
        rows = np.concatenate([np.arange(count), np.full(late + 1, chosen)])
        later = (*config.late_decelerations_mps2, config.late_yield_mps2)
        limits = np.array([config.comfortable_deceleration_mps2] * count + list(later))
        deceleration = np.minimum(limits, self._deceleration_limit)
        pose, speed = self.pose[rows], self.speed[rows]
        braked_pose, braked_speed = braked(pose, speed, deceleration, config.braking_delay_s)
        clearances = [0.0, config.front_clearance_m, config.late_front_clearance_m, config.least_front_clearance_m, 0.0]
        motions = CandidateMotions(
            np.concatenate([self.pose, braked_pose, pose[-1:]]),
            np.concatenate([self.speed, braked_speed, speed[-1:]]),
            self._size,
            front_clearance=np.repeat(clearances, [count, count, late, 1, 1]),
            speed_uncertainty=np.repeat([0.0, config.crossing_uncertainty_mps2], [2 * count + late, 2]),
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
            is_feasible=self._is_feasible(self.pose, self.speed),
            can_brake=found.take(slice(count, 2 * count)).is_clean,
            can_brake_late=bool(found.is_clean[2 * count : 2 * count + late].any()),
            can_yield_late=bool(found.is_clean[2 * count + late]),
            is_new_risk=self._is_new_risk(found.agent_index[chosen]),
            crossing_agent=self.prediction.ids[found.agent_index[-1]] if is_crossed else "",
            agent_ids=self.prediction.ids,
            is_evading=self._is_evading,
            has_lights_or_stops=self._has_lines_near(),
        )

    def add(self, outcomes: Outcomes, request: Request) -> Outcomes:
        """Evaluate a requested stage."""
        evaluate: dict[Stage, Any] = {
            Stage.LATE_EVASION: self._late_evasion,
            Stage.LIGHTS: self._obeys_lights,
            Stage.HARD_RULES: self._hard_rules,
            Stage.LIMITED: self._limited_plan,
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
        area, tolerance = self._map_index.drivable_area, self._off_road_tolerance
        ground = None if self._ground_under is None else self._ground_under(motions.pose)
        return motion_outcomes(motions, self.prediction, self._boxes, area, tolerance, ground)

    def _plain_outcomes(self, pose: Float64[Array, "n 65 3"], speed: Float64[Array, "n 65"]) -> MotionOutcomes:
        return self._outcomes_of(CandidateMotions(pose, speed, self._size))

    def _is_feasible(self, pose: Float64[Array, "n 65 3"], speed: Float64[Array, "n 65"]) -> Bool[Array, " n"]:
        friction = self.truth.scene.environment.friction
        return is_feasible(pose, speed, float(self._size[0]), friction, self.config)

    def _is_new_risk(self, agent: int) -> bool:
        """Return whether one of the last checks has not found a contact with an agent."""
        if self._risks is None or agent < 0:
            return False
        before = self._risks[-self.config.remote_checks + 1 :]
        return len(before) < self.config.remote_checks - 1 or set(before) != {self.prediction.ids[agent]}

    def _has_lines_near(self) -> bool:
        """Return whether the driver's choice comes near a line at which lights or signs may ask for a stop."""
        if len(self.pose) == 1 or not len(self._line_points):
            return False
        path = self.pose[self.decision.chosen, :, :2]
        low, high = path.min(axis=0) - self.config.line_reach_m, path.max(axis=0) + self.config.line_reach_m
        return bool(((self._line_points > low) & (self._line_points < high)).all(axis=1).any())

    def _obeys_lights(self) -> bool:
        """Return whether the driver's choice keeps the rules of lights and stop lines on the guard's prediction."""
        choice = self._motions(self.decision.plans[self.decision.chosen][None])
        return not any(rule.judge(choice).violated[0] for rule in LIGHT_RULES)

    def _hard_rules(self) -> Bool[Array, " k"]:
        """Return which candidates keep the validator's hard rules on the guard's prediction."""
        verdict = judge(self._motions(self.decision.plans), HARD_RULES)
        return np.logical_and.reduce([~rule.violated for rule in verdict.rules.values()])

    def _late_evasion(self) -> bool:
        """Return whether an evasion after a short time on the driver's choice is clean and has clearance."""
        config, chosen = self.config, self.decision.chosen
        delay = round(config.braking_delay_s / PLAN_DT)
        speed = float(self.speed[chosen, delay])
        later = evasive_plans(self.pose[chosen], speed, self._deceleration_limit, config, delay)
        return bool((self._clearance(later.pose, later.speed) >= config.late_evasion_clearance_m).any())

    def _limited_plan(self) -> LimitedPlan:
        """Drive the driver's choice as far as friction allows it."""
        config, chosen = self.config, self.decision.chosen
        path = self.pose[chosen : chosen + 1]
        distance = arc_lengths(path)
        limits = config.ego_acceleration_mps2, self._deceleration_limit
        s, speed = limited_profile(distance[0], float(self.truth.ego_speed), limits)
        pose = poses_at(path, distance, s[None])
        later = braked(pose, speed[None], np.array([self._deceleration_limit]), config.braking_delay_s)
        motions = (np.concatenate(both) for both in zip((pose, speed[None]), later, strict=True))
        found = self._plain_outcomes(*motions)
        soonest = min(found.contact_time[0], found.off_road_time[0])
        is_safe = found.is_clean[0] or (soonest > config.imminent_contact_s and found.is_clean[1])
        jump = abs(float(self.speed[chosen, 1]) - float(self.truth.ego_speed))
        is_close = jump <= config.speed_jump_mps and self._is_one_motion(path, self.speed[chosen : chosen + 1])[0]
        can_drive = bool(self._is_feasible(pose, speed[None])[0])
        is_clean = bool(found.is_clean[0])
        return LimitedPlan(pose[0], speed, can_drive and is_clean, can_drive and bool(is_safe), bool(is_close))

    def _is_one_motion(self, pose: Float64[Array, "n 65 3"], speed: Float64[Array, "n 65"]) -> Bool[Array, " n"]:
        window = round(self.config.feasibility_window_s / PLAN_DT)
        return disagreement(pose, speed, float(self._size[0]), window, PLAN_DT).is_one_motion

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
        return EvasionOutcomes(plans, self._clearance(plans.pose, plans.speed))

    def _clearance(self, pose: Float64[Array, "n 65 3"], speed: Float64[Array, "n 65"]) -> Float64[Array, " n"]:
        """Compute the least distance (m) of motions to agents, up to a limit; minus infinity for unclean ones."""
        is_clean = self._plain_outcomes(pose, speed).is_clean
        clearance = np.full(len(is_clean), -np.inf)
        if is_clean.any():
            ignored = np.zeros((len(is_clean), len(self._boxes.boxes)), bool)
            limit = self.config.evasion_clearance_m
            gap = box_clearances(oriented(pose), self._size, self._boxes, ignored, limit).min(axis=1)
            clearance = np.where(is_clean, gap, -np.inf)
        return clearance

    @cached_property
    def _paths(self) -> list[Float64[Array, "65 3"]]:
        """The driver's path, and one along the route if there is one."""
        return [self.pose[self.decision.chosen]] + ([] if self._along is None else [self._along])

    @cached_property
    def _braking_plans(self) -> BrakingPlans:
        speed = float(self.truth.ego_speed)
        limit = friction_limit(self.truth.scene.environment.friction, self.config.friction_tolerance_mps2)
        return braking_plans(np.stack(self._paths), speed, self._deceleration_limit, self.config, limit)

    @cached_property
    def _later_boxes(self) -> AgentBoxes:
        """The agents after the time of a plan."""
        times = self.config.stopped_times
        return pack_boxes(self._predict_at(times), len(times))


def is_feasible(
    pose: Float64[Array, "k 65 3"], speed: Float64[Array, "k 65"], length: float, friction: float, config: GuardConfig
) -> Bool[Array, " k"]:
    """Return whether a car can drive each motion.

    Friction must allow the accelerations at its beginning, averaged over short windows, and the poses and speeds must
    be one motion of a box of a ``length`` (m): speeds agree with distances, and it neither slips nor turns on the spot.
    """
    first, window = round(config.feasibility_horizon_s / PLAN_DT), round(config.feasibility_window_s / PLAN_DT)
    step = np.diff(pose[:, : first + 1], axis=1)
    moved = np.concatenate([speed[:, :1], np.hypot(step[..., 0], step[..., 1]) / PLAN_DT], axis=1)
    longitudinal = windowed_slopes(moved, window, PLAN_DT)
    turned = np.cumsum(wrap_angle(step[..., 2]), axis=1)
    rate = windowed_slopes(turned, window, PLAN_DT)
    lateral = rate * moved[:, 2 : 2 + rate.shape[1]]
    limit = friction_limit(friction, config.friction_tolerance_mps2)
    is_one = disagreement(pose, speed, length, window, PLAN_DT).is_one_motion
    return is_one & (np.abs(longitudinal).max(axis=1) <= limit) & (np.abs(lateral).max(axis=1) <= limit)
