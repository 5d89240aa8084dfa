"""Reference drivers of UN Regulation 157 (automated lane keeping): which collisions are preventable.

A collision is "preventable" only relative to one named model. All models follow the route in their lane and only
brake. They know the ground truth, as the models of the regulation do. Sources: UN R157 Annex 4 Appendix 3 (careful and
competent human driver; the performance model), Mattas et al., "Fuzzy surrogate safety metrics for real-time assessment
of rear-end collision risk", 2020 (FSM), as implemented in JRC-FSM and esmini's ALKS controller; RSS as in `rss`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64

from alpamayo.metrics import rss
from alpamayo_sim.constants import GRAVITY_MPS2
from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS, Decision
from alpamayo_sim.datatypes.driver import Needs
from alpamayo_sim.datatypes.observation import GroundTruth, Observation
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal, Reasoning
from alpamayo_sim.datatypes.scene import Category, Scene
from alpamayo_sim.drivers.idm import to_plan
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import box_corners
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.index import index_of

Array = np.ndarray
DEFAULT_SPEED_MPS = 13.9  # where no limit is known
CRUISE_ACCELERATION_MPS2 = 1.0
SENSOR_RANGE_M = 100.0
RANGE_MARGIN_M = 15.0  # for half the length of an agent and curved routes
STANDSTILL_GAP_M = 4.0  # to a leader; within it the ego stops from low speeds
CREEP_SPEED_MPS = 2.0  # below this speed
DEFAULT_LANE_WIDTH_M = 3.5  # where the route follows no lane
ROUTE_LANE_DISTANCE_M = 1.0  # from the route to the lane that it follows
RECENTRING_M = 30.0  # distance within which the ego returns to the route
CONTACT_TOLERANCE_M = 1.0  # overlap along the lane from which an agent no longer counts as ahead
CLOSING_MPS = 1e-3  # least lateral speed of a cut-in
STANDING_MPS = 0.05


@dataclass(frozen=True, eq=False)
class LaneAgents:
    """The agents relative to the ego's lane.

    Attributes:
        gap: the gap (m) along the route between the bumpers; infinite for agents behind the ego.
        side: the lateral gap (m) between the sides; not positive if they overlap.
        speed: the speed (m/s) along the route.
        closing: the rate (m/s) at which ``side`` shrinks.
        inside: the depth (m) to which the agent reaches into the lane; negative outside it.
        walks: whether the agent is a pedestrian or an animal.
        left: whether the agent is to the left of the ego.
    """

    gap: Float64[Array, " n"]
    side: Float64[Array, " n"]
    speed: Float64[Array, " n"]
    closing: Float64[Array, " n"]
    inside: Float64[Array, " n"]
    walks: Bool[Array, " n"]
    left: Bool[Array, " n"]


class LaneKeeper:
    """The base of the four models, which differ only in when and how hard they brake.

    Without a reason to brake the ego approaches the speed limit at 1 m/s², but not within the regulation's following
    distance. Close behind a standing leader it stands too.
    """

    name = "lane-keeper"
    needs = Needs(truth=True)

    def __init__(self) -> None:
        self._frame: RouteFrame | None = None
        self._lane_width: Float64[Array, " n"] = np.zeros(0)  # m, at the knots of the frame
        self._since: float | None = None
        self._braking = 0.0
        self._s: float | None = None

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Prepare the route.

        Raises:
            InputError: the scene has no route.
        """
        if scene.route is None:
            raise InputError(f"scene {scene.id!r} has no route, which the {self.name} driver follows")
        self._frame, self._since, self._braking = RouteFrame.of_route(scene.route), None, 0.0
        self._s = None
        self._lane_width = _lane_width(scene, self._frame)

    def act(self, observation: Observation) -> Decision:
        """Make one plan: along the lane, at the deceleration that the model asks for.

        Raises:
            InputError: the observation has no ground truth, or ``reset`` was not called.
        """
        if observation.truth is None or self._frame is None:
            raise InputError(f"the {self.name} driver needs a call of reset and the truth in its observation")
        here = self._here(observation.truth)
        others = self.others(observation.truth, here)
        risky, wanted = self.judge(others, observation.speed)
        self._since = (observation.time if self._since is None else self._since) if risky.any() else None
        asked = self.brake(others, risky, wanted, observation.speed, observation.time)
        self._braking = asked
        limit = observation.speed_limit or DEFAULT_SPEED_MPS
        acceleration = -asked if asked > 0.0 else self._cruise(others, observation.speed, limit)
        decision = Longitudinal.YIELD if asked > 0.0 else Longitudinal.SET_SPEED_TRACKING
        plan = self._plan(observation.truth, here, acceleration, max(limit, observation.speed))
        return Decision(plan[None], np.ones(1, np.float32), reasoning=Reasoning(decision, Lateral.LANE_KEEPING))

    def _cruise(self, others: LaneAgents, speed: float, limit: float) -> float:
        """Compute the acceleration (m/s²) without a reason to brake; 0 within the following distance."""
        lead = float(others.gap[(others.side <= 0.0) & (others.gap > -CONTACT_TOLERANCE_M)].min(initial=np.inf))
        if lead < STANDSTILL_GAP_M and speed < CREEP_SPEED_MPS:
            return -CRUISE_ACCELERATION_MPS2 if speed > 0.0 else 0.0
        return CRUISE_ACCELERATION_MPS2 * float(speed < limit and lead > following_distance(speed))

    def judge(self, others: LaneAgents, speed: float) -> tuple[Bool[Array, " n"], Float64[Array, " n"]]:
        """Return which agents are a risk, and the deceleration (m/s²) that each asks for."""
        raise NotImplementedError

    def brake(self, others: LaneAgents, risky: Array, wanted: Array, speed: float, time: float) -> float:
        """Compute the deceleration (m/s²) now.

        Args:
            others: the agents.
            risky: whether each is a risk.
            wanted: the deceleration (m/s²) that each asks for.
            speed: the speed (m/s) of the ego.
            time: the time (s), from which the duration of the risk follows.
        """
        return float(wanted[risky].max(initial=0.0))

    def others(self, truth: GroundTruth, here: tuple[float, float]) -> LaneAgents:
        """Describe the agents in range relative to the ego's lane; ``here`` is the ego's s and d (m) on its route."""
        assert self._frame is not None
        agents = truth.agents
        rows = agents.valid & (
            np.linalg.norm(agents.pose[:, :2] - truth.ego_pose[:2], axis=1) < SENSOR_RANGE_M + RANGE_MARGIN_M
        )
        pose, size = agents.pose[rows].astype(np.float64), agents.size[rows, :2].astype(np.float64)
        velocity = agents.velocity[rows].astype(np.float64)
        ego_s, ego_d = here
        points = np.concatenate([box_corners(pose, size), pose[:, None, :2]], axis=1)
        s, d = self._frame.project(points, ego_s)
        (s, centre_s), (d, centre_d) = ((x[:, :4], x[:, 4]) for x in (s, d))
        heading = self._frame.at(centre_s)[1]
        along = velocity[:, 0] * np.cos(heading) + velocity[:, 1] * np.sin(heading)
        across = velocity[:, 1] * np.cos(heading) - velocity[:, 0] * np.sin(heading)
        half = 0.5 * float(truth.ego_size[1])
        left = centre_d > ego_d
        side = np.where(left, d.min(axis=1) - ego_d, ego_d - d.max(axis=1)) - half
        ahead = centre_s > ego_s
        gap = np.where(ahead, s.min(axis=1) - ego_s - 0.5 * float(truth.ego_size[0]), np.inf)
        lane_half = 0.5 * np.interp(centre_s, self._frame.s, self._lane_width)
        inside = lane_half - np.where(left, d.min(axis=1), -d.max(axis=1))
        closing = np.where(left, -across, across)
        walks = (agents.category[rows] == Category.PEDESTRIAN) | (agents.category[rows] == Category.ANIMAL)
        return LaneAgents(gap, side, along, closing, inside, walks, left)

    def _here(self, truth: GroundTruth) -> tuple[float, float]:
        """Return arc length and offset (m) of the ego on its route."""
        assert self._frame is not None
        self._s, d = self._frame.place(truth.ego_pose, self._s, truth.ego_elevation)
        return self._s, d

    def _plan(
        self, truth: GroundTruth, here: tuple[float, float], acceleration: float, top: float
    ) -> Float32[Array, "64 4"]:
        """Make a plan at constant acceleration (m/s²), at most to speed ``top`` (m/s), that returns to the route."""
        assert self._frame is not None
        t = PLAN_DT * np.arange(1, PLAN_STEPS + 1)
        speed = np.clip(truth.ego_speed + acceleration * t, 0.0, top)
        before = np.concatenate([[truth.ego_speed], speed[:-1]])
        s0, d0 = here
        s = s0 + np.cumsum(0.5 * PLAN_DT * (before + speed))
        d = d0 * np.clip(1.0 - (s - s0) / RECENTRING_M, 0.0, 1.0) ** 2
        return to_plan(self._frame, np.stack([s, d, np.zeros_like(s), speed], axis=-1), truth)


class CompetentHuman(LaneKeeper):
    """The careful and competent human driver of Annex 4, Appendix 3.

    A risk begins when an agent ahead is slower and overlaps the ego's path, or moves towards it and is at most 0.375 m
    outside the lane. It lasts until the agent is not slower and the headway is 2 s. After 0.4 s of perception the ego
    coasts at 0.4 m/s². After 0.75 s of reaction it brakes at 0.774 g, built up in 0.6 s, while time to collision or
    headway is below 2 s. It brakes at 0.85 g if the time to collision is below 1.5 s and the agent overlaps the path.
    """

    name = "r157-human"
    perception_s, reaction_s, build_up_s = 0.4, 0.75, 0.6
    walker_perception_s = 0.4
    wandering_m, least_closing_mps = 0.375, 0.05
    critical_s, emergency_s = 2.0, 1.5  # of time to collision, and of headway
    coasting_mps2 = 0.4
    braking_mps2, emergency_braking_mps2 = 0.774 * GRAVITY_MPS2, 0.85 * GRAVITY_MPS2

    def judge(self, others: LaneAgents, speed: float) -> tuple[Bool[Array, " n"], Float64[Array, " n"]]:
        """Ask for full braking where time to collision or headway is critical, else for coasting."""
        near = (others.gap < SENSOR_RANGE_M) & (others.gap > -CONTACT_TOLERANCE_M)
        coming = (others.side <= 0.0) | (
            (others.closing > self.least_closing_mps) & (others.inside > -self.wandering_m)
        )
        closing = speed - others.speed
        ttc = np.where(closing > 0.0, np.maximum(others.gap, 0.0) / np.maximum(closing, 1e-6), np.inf)
        thw = np.maximum(others.gap, 0.0) / max(speed, 1e-6)
        critical = (ttc < self.critical_s) | (thw < self.critical_s)
        lasts = (closing > 0.0) | (thw < self.critical_s) & (self._since is not None)
        risky = near & coming & lasts
        emergency = (ttc < self.emergency_s) & (others.side <= 0.0)
        asked = np.where(critical, self.braking_mps2, self.coasting_mps2)
        return risky, np.where(emergency, self.emergency_braking_mps2, asked)

    def brake(self, others: LaneAgents, risky: Array, wanted: Array, speed: float, time: float) -> float:
        """Do nothing before perception, coast before reaction, then brake as fast as the brake builds up."""
        if self._since is None:
            return 0.0
        perception = self.walker_perception_s if others.walks[risky].any() else self.perception_s
        lasted = time - self._since
        if lasted < perception:
            return 0.0
        if lasted < perception + self.reaction_s:
            return self.coasting_mps2
        asked = float(wanted[risky].max(initial=0.0))
        built_up = self.braking_mps2 / self.build_up_s * (lasted - perception - self.reaction_s + PLAN_DT)
        return min(asked, max(built_up, self.coasting_mps2))


class RegulationModel(LaneKeeper):
    """The regulation's own performance model: brakes at 6 m/s² from 0.35 s after an agent is 0.3 m inside the lane.

    Slower agents within 46 m count. The regulation demands avoidance only if the time to collision is then more than
    v_rel / (2 * 6) + 0.35 s. The model brakes in any case.
    """

    name = "r157-regulation"
    reaction_s, deceleration_mps2, range_m = 0.35, 6.0, 46.0
    cut_in_m = 0.3

    def judge(self, others: LaneAgents, speed: float) -> tuple[Bool[Array, " n"], Float64[Array, " n"]]:
        """Ask for full deceleration for slower agents that are inside the lane and in range."""
        risky = (others.gap < self.range_m) & (others.gap > -CONTACT_TOLERANCE_M)
        risky &= (others.inside > self.cut_in_m) & (others.speed < speed)
        return risky, np.full(len(risky), self.deceleration_mps2)

    def brake(self, others: LaneAgents, risky: Array, wanted: Array, speed: float, time: float) -> float:
        """Brake fully once the reaction time is over."""
        ready = self._since is not None and time - self._since >= self.reaction_s
        return self.deceleration_mps2 if ready and risky.any() else 0.0


class FuzzySafetyModel(LaneKeeper):
    """JRC's fuzzy safety model: proactive (PFS) and critical (CFS) fuzzy surrogate metrics.

    Brakes at 4 + 2 CFS m/s² if CFS > 0, else at 4 PFS m/s², with a jerk of 12.65 m/s³. The reaction time of 0.75 s
    begins when PFS or CFS is above 0 for an agent that comes nearer.
    """

    name = "r157-fsm"
    reaction_s, jerk_mps3 = 0.75, 12.65
    comfortable_mps2, hardest_mps2 = 4.0, 6.0
    lead_deceleration_mps2 = 7.0
    margin_m = 2.0
    cut_in_tolerance_s = 0.1  # the lateral gap may close this much later than the longitudinal one

    def judge(self, others: LaneAgents, speed: float) -> tuple[Bool[Array, " n"], Float64[Array, " n"]]:
        """Ask for the deceleration of PFS and CFS; an agent is a risk if the lateral gap closes first."""
        lead = np.maximum(others.speed, 0.0)
        relative = speed - lead
        time_along = np.where(relative > 0.0, np.maximum(others.gap, 0.0) / np.maximum(relative, 1e-6), np.inf)
        time_across = np.where(
            others.closing > CLOSING_MPS, np.maximum(others.side, 0.0) / np.maximum(others.closing, CLOSING_MPS), np.inf
        )
        lateral = (others.side <= 0.0) | (time_across < time_along + self.cut_in_tolerance_s)
        near = (others.gap < SENSOR_RANGE_M) & (others.gap > -CONTACT_TOLERANCE_M) & lateral & (relative > 0.0)
        cfs = critical_fuzzy(others.gap, speed, lead, -self._braking)
        pfs = proactive_fuzzy(others.gap, speed, lead)
        hard = self.comfortable_mps2 + (self.hardest_mps2 - self.comfortable_mps2) * cfs
        wanted = np.where(cfs > 0.0, hard, self.comfortable_mps2 * pfs)
        return near & (wanted > 0.0), wanted

    def brake(self, others: LaneAgents, risky: Array, wanted: Array, speed: float, time: float) -> float:
        """Brake after the reaction time, and no faster than the jerk allows."""
        if self._since is None or time - self._since < self.reaction_s:
            return 0.0
        return min(float(wanted[risky].max(initial=0.0)), self._braking + self.jerk_mps3 * PLAN_DT)


class RssDriver(LaneKeeper):
    """Brakes as RSS asks: if both safe distances are lost, at ``brake_min`` after its response time."""

    name = "rss"
    standing_lateral_gap_m = 0.25  # the safe lateral distance to standing agents
    final_gap_m, least_gap_m = 1.0, 0.1

    def judge(self, others: LaneAgents, speed: float) -> tuple[Bool[Array, " n"], Float64[Array, " n"]]:
        """Find dangerous situations with agents ahead."""
        own, zero = np.full(len(others.gap), speed), np.zeros(len(others.gap))
        towards = np.where(others.left, others.closing, -others.closing)  # to the right is positive
        is_ahead = np.ones(len(own), bool)
        margins = rss.assess(others.gap, others.side, own, others.speed, zero, towards, is_ahead, ~others.left)
        standing = np.abs(others.speed) + np.abs(others.closing) < STANDING_MPS
        lateral = np.where(standing, others.side - self.standing_lateral_gap_m, margins.lateral)
        margins = rss.RssMargins(margins.longitudinal, lateral)
        return margins.dangerous & np.isfinite(others.gap), np.full(len(own), rss.EGO.brake_min)

    def brake(self, others: LaneAgents, risky: Array, wanted: Array, speed: float, time: float) -> float:
        """Give the proper response after the response time; brake harder if a cut-in has left too small a gap."""
        if self._since is None or time - self._since < rss.EGO.response_time:
            return 0.0
        closing = np.maximum(speed - np.maximum(others.speed, 0.0), 0.0)
        needed = closing**2 / (2.0 * np.maximum(others.gap - self.final_gap_m, self.least_gap_m))
        return float(np.clip(np.maximum(wanted, needed), 0.0, rss.EGO.brake_max)[risky].max(initial=0.0))


def _lane_width(scene: Scene, frame: RouteFrame) -> Float64[Array, " n"]:
    """Return the width (m) of the lane that a route follows, at each knot of its frame."""
    index = index_of(scene.road_map)
    match = index.nearest_lane(frame.xy, frame.heading, ROUTE_LANE_DISTANCE_M, frame.elevation)
    width = index.lane_width(match)
    return np.where(np.isfinite(width), width, DEFAULT_LANE_WIDTH_M)


def following_distance(speed: float) -> float:
    """Compute the minimum following distance (m) of UN R157, 5.2.3.3: speed times headway, at least 2 m.

    The headway (s) is 1 + (v - 2 m/s) / 7.8 up to 10 km/h, as esmini's ALKS controller interpolates it, and
    1 + v / 100 km/h above.
    """
    slow = 3.6 * speed < 10.0
    headway = 1.0 + ((max(2.0, speed) - 2.0) / 7.8 if slow else 3.6 * speed / 100.0)
    return max(speed * headway, 2.0)


def proactive_fuzzy(gap: Array, v: float, v_lead: Array) -> Float64[Array, " n"]:
    """Compute PFS in [0, 1]: 0 if the gap is safe, 1 if it is unsafe even with hard braking.

    Args:
        gap: the gaps (m) to leaders.
        v: the speed (m/s) of the ego.
        v_lead: the speeds (m/s) of the leaders.
    """
    model = FuzzySafetyModel
    distance = np.asarray(gap, np.float64) - model.margin_m
    lead = np.asarray(v_lead, np.float64) ** 2 / (2.0 * model.lead_deceleration_mps2)
    safe = v * model.reaction_s + v**2 / (2.0 * model.comfortable_mps2) - lead + model.margin_m
    unsafe = v * model.reaction_s + v**2 / (2.0 * model.hardest_mps2) - lead
    return _ramp(distance, safe, unsafe)


def critical_fuzzy(gap: Array, v: float, v_lead: Array, acceleration: float) -> Float64[Array, " n"]:
    """Compute CFS in [0, 1]: 0 if comfortable braking avoids a collision, 1 if hard braking does not.

    The leader keeps its speed, and the ego its acceleration for the reaction time.

    Args:
        gap: the gaps (m) to leaders.
        v: the speed (m/s) of the ego.
        v_lead: the speeds (m/s) of the leaders.
        acceleration: the acceleration (m/s²) of the ego.
    """
    model = FuzzySafetyModel
    distance, lead = np.asarray(gap, np.float64), np.asarray(v_lead, np.float64)
    a = max(acceleration, -model.comfortable_mps2)
    after = v + a * model.reaction_s
    covered = (v + 0.5 * a * model.reaction_s - lead) * model.reaction_s
    excess = np.maximum(after - lead, 0.0) ** 2
    safe, unsafe = (covered + excess / (2.0 * limit) for limit in (model.comfortable_mps2, model.hardest_mps2))
    ramp = _ramp(distance, safe, unsafe)
    is_near = (after < lead) * (distance < (v - lead) ** 2 / max(abs(2.0 * a), 1e-9))
    return np.where(v <= lead, 0.0, np.where(after < lead, is_near.astype(np.float64), ramp))


def _ramp(distance: Array, safe: Array, unsafe: Array) -> Float64[Array, " n"]:
    """Return 0 at a safe distance and 1 at an unsafe one, linear in between."""
    return np.clip((distance - safe) / np.minimum(unsafe - safe, -1e-9), 0.0, 1.0)
