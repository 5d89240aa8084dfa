"""Reference drivers of UN Regulation 157 (automated lane keeping): which collisions are preventable.

A collision is "preventable" only relative to one named model. All follow the route in their lane and only brake;
they know the ground truth, as the models of the regulation do. Sources: UN R157 Annex 4 Appendix 3 (careful and
competent human driver; the performance model), Mattas et al., "Fuzzy surrogate safety metrics for real-time assessment
of rear-end collision risk", 2020 (FSM), as implemented in JRC-FSM and esmini's ALKS controller; RSS as in `rss`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

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

Array = np.ndarray
SET_SPEED = 13.9  # m/s, where no limit is known
GENTLE = 1.0  # m/s²
SIGHT = 100.0  # m
STANDSTILL_GAP = 4.0  # m
CREEP = 2.0  # m/s


@dataclass(frozen=True, eq=False)
class LaneAgents:
    """The agents relative to the ego's lane, along and across its route (m, m/s).

    ``gap`` is between bumpers, ``side`` between the sides (not more than 0 where they overlap across), ``speed`` is
    along the route and ``closing`` how fast ``side`` shrinks. ``inside`` (m) is how far each reaches into the lane.
    """

    gap: Float64[Array, " n"]
    side: Float64[Array, " n"]
    speed: Float64[Array, " n"]
    closing: Float64[Array, " n"]
    inside: Float64[Array, " n"]
    walks: Array
    left: Array


class LaneKeeper:
    """What the four models have in common; each only says how hard it brakes now.

    Without a reason to brake the speed limit is approached at 1 m/s², but not within the regulation's following
    distance; close behind someone who stands they stand too.
    """

    name = "lane-keeper"
    needs = Needs(truth=True)

    def __init__(self) -> None:
        self._frame: RouteFrame | None = None
        self._since: float | None = None
        self._braking = 0.0

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Prepare the route.

        Raises:
            InputError: the scene has no route.
        """
        if scene.route is None:
            raise InputError(f"scene {scene.id!r} has no route, which the {self.name} driver follows")
        self._frame, self._since, self._braking = RouteFrame.of_route(scene.route), None, 0.0

    def act(self, observation: Observation) -> Decision:
        """One plan: along the lane, at the deceleration that the model asks for.

        Raises:
            InputError: there is no truth in the observation, or ``reset`` was not called.
        """
        if observation.truth is None or self._frame is None:
            raise InputError(f"the {self.name} driver needs reset and the truth in its observation")
        here = self._here(observation.truth)
        others = self.others(observation.truth, here)
        risky, wanted = self.judge(others, observation.speed)
        self._since = (observation.time if self._since is None else self._since) if risky.any() else None
        asked = self.brake(others, risky, wanted, observation.speed, observation.time)
        self._braking = asked
        limit = observation.speed_limit or SET_SPEED
        acceleration = -asked if asked > 0.0 else self._cruise(others, observation.speed, limit)
        decision = Longitudinal.YIELD if asked > 0.0 else Longitudinal.SET_SPEED_TRACKING
        plan = self._plan(observation.truth, here, acceleration, max(limit, observation.speed))
        return Decision(plan[None], np.ones(1, np.float32), reasoning=Reasoning(decision, Lateral.LANE_KEEPING))

    def _cruise(self, others: LaneAgents, speed: float, limit: float) -> float:
        """Acceleration (m/s²) without a reason to brake: none within the following distance, and none to a stand."""
        lead = float(others.gap[(others.side <= 0.0) & (others.gap > -1.0)].min(initial=np.inf))
        if lead < STANDSTILL_GAP and speed < CREEP:
            return -GENTLE if speed > 0.0 else 0.0
        return GENTLE * float(speed < limit and lead > following_distance(speed))

    def judge(self, others: LaneAgents, speed: float) -> tuple[Array, Array]:
        """Which of the others are a risk, and how hard (m/s²) each asks the model to brake."""
        raise NotImplementedError

    def brake(self, others: LaneAgents, risky: Array, wanted: Array, speed: float, time: float) -> float:
        """Deceleration (m/s²) now, from what is wanted and how long the risk has lasted."""
        return float(wanted[risky].max(initial=0.0))

    def others(self, truth: GroundTruth, here: tuple[float, float]) -> LaneAgents:
        """The agents that are valid, seen from the ego's lane; ``here`` is where along and across it the ego is."""
        assert self._frame is not None
        agents = truth.agents
        rows = agents.valid & (np.linalg.norm(agents.pose[:, :2] - truth.ego_pose[:2], axis=1) < SIGHT + 15.0)
        pose, size = agents.pose[rows].astype(np.float64), agents.size[rows, :2].astype(np.float64)
        velocity = agents.velocity[rows].astype(np.float64)
        ego_s, ego_d = here
        points = np.concatenate([box_corners(pose, size), pose[:, None, :2]], axis=1)
        s, d = self._frame.project(points, ego_s)
        (s, middle), (d, offset) = ((x[:, :4], x[:, 4]) for x in (s, d))
        heading = self._frame.at(middle)[1]
        along = velocity[:, 0] * np.cos(heading) + velocity[:, 1] * np.sin(heading)
        across = velocity[:, 1] * np.cos(heading) - velocity[:, 0] * np.sin(heading)
        half = 0.5 * float(truth.ego_size[1])
        left = offset > ego_d
        side = np.where(left, d.min(axis=1) - ego_d, ego_d - d.max(axis=1)) - half
        ahead = middle > ego_s
        gap = np.where(ahead, s.min(axis=1) - ego_s - 0.5 * float(truth.ego_size[0]), np.inf)
        inside = LANE_HALF - np.where(left, d.min(axis=1), -d.max(axis=1))
        closing = np.where(left, -across, across)
        walks = (agents.category[rows] == Category.PEDESTRIAN) | (agents.category[rows] == Category.ANIMAL)
        return LaneAgents(gap, side, along, closing, inside, walks, left)

    def _here(self, truth: GroundTruth) -> tuple[float, float]:
        assert self._frame is not None
        s, d = self._frame.project(truth.ego_pose[None, :2])
        return float(s[0]), float(d[0])

    def _plan(
        self, truth: GroundTruth, here: tuple[float, float], acceleration: float, top: float
    ) -> Float32[Array, "64 4"]:
        assert self._frame is not None
        t = PLAN_DT * np.arange(1, PLAN_STEPS + 1)
        speed = np.clip(truth.ego_speed + acceleration * t, 0.0, top)
        before = np.concatenate([[truth.ego_speed], speed[:-1]])
        s0, d0 = here
        s = s0 + np.cumsum(0.5 * PLAN_DT * (before + speed))
        d = d0 * np.clip(1.0 - (s - s0) / 30.0, 0.0, 1.0) ** 2
        return to_plan(self._frame, np.stack([s, d, np.zeros_like(s), speed], axis=-1), truth)


LANE_HALF = 1.75  # m


class CompetentHuman(LaneKeeper):
    """The careful and competent human driver of Annex 4, Appendix 3.

    A risk begins when someone has wandered 0.375 m towards the lane or walks on it. After 0.4 s of perception and
    0.75 s of reaction it brakes with 0.774 g, built up in 0.6 s, while time to collision or headway are under 2 s;
    it takes its foot off (0.4 m/s²) from perception on. Emergency braking of 0.85 g from a time to collision of
    1.5 s with full overlap.
    """

    name = "r157-human"
    perception, reaction, build_up = 0.4, 0.75, 0.6

    def judge(self, others: LaneAgents, speed: float) -> tuple[Array, Array]:
        """Risks, and full braking where time to collision or headway are critical."""
        near = (others.gap < SIGHT) & (others.gap > -1.0)
        coming = (others.side <= 0.0) | ((others.closing > 0.05) & (others.inside > -0.375))
        closing = speed - others.speed
        ttc = np.where(closing > 0.0, np.maximum(others.gap, 0.0) / np.maximum(closing, 1e-6), np.inf)
        thw = np.maximum(others.gap, 0.0) / max(speed, 1e-6)
        critical = (ttc < 2.0) | ((thw < 2.0) & (closing > 0.0))
        risky = near & coming & (closing > 0.0)
        emergency = (ttc < 1.5) & (others.side <= 0.0)
        return risky, np.where(emergency, 0.85 * GRAVITY_MPS2, np.where(critical, 0.774 * GRAVITY_MPS2, 0.4))

    def brake(self, others: LaneAgents, risky: Array, wanted: Array, speed: float, time: float) -> float:
        """Nothing before perception, the foot off before reaction, then the brake as fast as it builds up."""
        if self._since is None:
            return 0.0
        risk_time = 0.4 if others.walks[risky].any() else self.perception
        lasted = time - self._since
        if lasted < risk_time:
            return 0.0
        if lasted < risk_time + self.reaction:
            return 0.4
        wants = float(wanted[risky].max(initial=0.0))
        built = 0.774 * GRAVITY_MPS2 / self.build_up * (lasted - risk_time - self.reaction + PLAN_DT)
        return min(wants, max(built, 0.4))


class RegulationModel(LaneKeeper):
    """The regulation's own performance model: 0.35 s after someone is 0.3 m inside the lane it brakes at 6 m/s².

    Avoidance is asked for where the time to collision then is more than v_rel / (2 * 6) + 0.35 s; it brakes anyway.
    """

    name = "r157-regulation"
    reaction, deceleration, reach = 0.35, 6.0, 46.0

    def judge(self, others: LaneAgents, speed: float) -> tuple[Array, Array]:
        """Who is inside the lane, slower and in range."""
        risky = (others.gap < self.reach) & (others.gap > -1.0) & (others.inside > 0.3) & (others.speed < speed)
        closing = np.maximum(speed - others.speed, 0.0)
        room = np.maximum(others.gap - 2.0, 0.1)
        needed = closing**2 / (2.0 * room)
        return risky & (needed > 0.5), np.full(len(risky), self.deceleration)

    def brake(self, others: LaneAgents, risky: Array, wanted: Array, speed: float, time: float) -> float:
        """Full deceleration once the reaction time is over."""
        ready = self._since is not None and time - self._since >= self.reaction
        return self.deceleration if ready and risky.any() else 0.0


class FuzzySafetyModel(LaneKeeper):
    """JRC's fuzzy safety model: proactive (PFS) and critical (CFS) fuzzy surrogate metrics.

    Brakes with 4 + 2 CFS m/s² where CFS > 0, else with 4 PFS m/s²; jerk 12.65 m/s³. The reaction time of 0.75 s begins
    when one of both is above 0 for someone who comes nearer.
    """

    name = "r157-fsm"
    reaction, comfortable, hardest, lead_brake, margin, jerk = 0.75, 4.0, 6.0, 7.0, 2.0, 12.65

    def judge(self, others: LaneAgents, speed: float) -> tuple[Array, Array]:
        """The wish is PFS and CFS; risks ask for any, and may close the lateral gap before the longitudinal one."""
        lead = np.maximum(others.speed, 0.0)
        relative = speed - lead
        time_along = np.where(relative > 0.0, np.maximum(others.gap, 0.0) / np.maximum(relative, 1e-6), np.inf)
        time_across = np.where(
            others.closing > 1e-3, np.maximum(others.side, 0.0) / np.maximum(others.closing, 1e-3), np.inf
        )
        lateral = (others.side <= 0.0) | (time_across < time_along + 0.1)
        near = (others.gap < SIGHT) & (others.gap > -1.0) & lateral & (relative > 0.0)
        cfs = critical_fuzzy(others.gap, speed, lead, -self._braking)
        pfs = proactive_fuzzy(others.gap, speed, lead)
        hard = self.comfortable + (self.hardest - self.comfortable) * cfs
        wanted = np.where(cfs > 0.0, hard, self.comfortable * pfs)
        return near & (wanted > 0.0), wanted

    def brake(self, others: LaneAgents, risky: Array, wanted: Array, speed: float, time: float) -> float:
        """After the reaction time, and no faster than the jerk allows."""
        if self._since is None or time - self._since < self.reaction:
            return 0.0
        return min(float(wanted[risky].max(initial=0.0)), self._braking + self.jerk * PLAN_DT)


class RssDriver(LaneKeeper):
    """Brakes as RSS asks: where both distances are lost, at ``brake_min`` after its response time."""

    name = "rss"

    def judge(self, others: LaneAgents, speed: float) -> tuple[Array, Array]:
        """Dangerous situations with those ahead."""
        own, none = np.full(len(others.gap), speed), np.zeros(len(others.gap))
        towards = np.where(others.left, others.closing, -others.closing)  # to the right is positive
        true = np.ones(len(own), bool)
        danger = rss.assess(others.gap, others.side, own, others.speed, none, towards, true, ~others.left)
        still = np.abs(others.speed) + np.abs(others.closing) < 0.05
        danger = rss.RssMargins(danger.longitudinal, np.where(still, others.side - 0.25, danger.lateral))
        return danger.dangerous & np.isfinite(others.gap), np.full(len(own), rss.EGO.brake_min)

    def brake(self, others: LaneAgents, risky: Array, wanted: Array, speed: float, time: float) -> float:
        """The proper response, once the response time is over; harder where someone's cut-in has left less room."""
        if self._since is None or time - self._since < rss.EGO.response_time:
            return 0.0
        closing = np.maximum(speed - np.maximum(others.speed, 0.0), 0.0)
        needed = closing**2 / (2.0 * np.maximum(others.gap - 1.0, 0.1))
        return float(np.clip(np.maximum(wanted, needed), 0.0, rss.EGO.brake_max)[risky].max(initial=0.0))


def following_distance(speed: float) -> float:
    """Minimum following distance (m) of UN R157, 5.2.3.3: speed times a headway of 1 s and more, at least 2 m.

    The time is 1 + (v - 2 m/s) / 7.8 up to 10 km/h, as esmini's ALKS controller interpolates it, then
    1 + v / 100 km/h.
    """
    slow = 3.6 * speed < 10.0
    headway = 1.0 + ((max(2.0, speed) - 2.0) / 7.8 if slow else 3.6 * speed / 100.0)
    return max(speed * headway, 2.0)


def proactive_fuzzy(gap: Array, v: float, v_lead: Array) -> Float64[Array, " n"]:
    """PFS in [0, 1]: 0 where the gap is safe, 1 where it is not even with hard braking."""
    model = FuzzySafetyModel
    way = np.asarray(gap, np.float64) - model.margin
    lead = np.asarray(v_lead, np.float64) ** 2 / (2.0 * model.lead_brake)
    safe = v * model.reaction + v**2 / (2.0 * model.comfortable) - lead + model.margin
    unsafe = v * model.reaction + v**2 / (2.0 * model.hardest) - lead
    return _ramp(way, safe, unsafe)


def critical_fuzzy(gap: Array, v: float, v_lead: Array, acceleration: float) -> Float64[Array, " n"]:
    """CFS in [0, 1]: how critical it is if the lead keeps its speed and the ego's acceleration lasts the reaction."""
    model = FuzzySafetyModel
    way, lead = np.asarray(gap, np.float64), np.asarray(v_lead, np.float64)
    a = max(acceleration, -model.comfortable)
    then = v + a * model.reaction
    reach = (v + 0.5 * a * model.reaction - lead) * model.reaction
    excess = np.maximum(then - lead, 0.0) ** 2
    ramp = _ramp(way, reach + excess / (2.0 * model.comfortable), reach + excess / (2.0 * model.hardest))
    slows = (then < lead) * (way < (v - lead) ** 2 / max(abs(2.0 * a), 1e-9))
    return np.where(v <= lead, 0.0, np.where(then < lead, slows.astype(np.float64), ramp))


def _ramp(way: Array, safe: Array, unsafe: Array) -> Float64[Array, " n"]:
    return np.clip((way - safe) / np.minimum(unsafe - safe, -1e-9), 0.0, 1.0)
