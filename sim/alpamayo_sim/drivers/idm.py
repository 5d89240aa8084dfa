"""The Intelligent Driver Model along the route: what adaptive cruise control would do.

Treiber, Hennecke, Helbing, "Congested traffic states in empirical observations and microscopic simulations",
Physical Review E 62 (2000); the path is followed by pure pursuit (Coulter, CMU-RI-TR-92-01).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS, Decision
from alpamayo_sim.datatypes.driver import Needs
from alpamayo_sim.datatypes.observation import GroundTruth, Observation
from alpamayo_sim.datatypes.reasoning import Component, Lateral, Longitudinal, Reasoning
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.drivers.causes import object_component, signal_component
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import box_corners, wrap_angle
from alpamayo_sim.map.frenet import STOP_GAP, RouteFrame, SignalStop, must_stop, signal_stops

Array = np.ndarray

Numbers = Float[Array, "..."] | float

ACCELERATION, COMFORTABLE, HARDEST = 1.5, 2.0, 8.0  # m/s²
HEADWAY, STANDSTILL_GAP = 1.5, 2.0  # s, m
DEFAULT_SPEED = 13.9  # m/s, where no limit is known
SIGHT = 100.0  # m along the route
CORRIDOR = 0.2  # m beyond the ego's own width on either side
LATERAL_ACCELERATION = 3.0  # m/s² in bends


@dataclass(frozen=True)
class Lead:
    """What to keep a distance from: the gap (m) to it, its speed (m/s) along the route, and what it is."""

    gap: float
    speed: float
    cause: Component | None


def idm_acceleration(speed: Numbers, desired: Numbers, gap: Numbers, lead_speed: Numbers) -> Numbers:
    """Acceleration (m/s²) of the Intelligent Driver Model, not harder than ``HARDEST``."""
    approach = speed * (speed - lead_speed) / (2.0 * math.sqrt(ACCELERATION * COMFORTABLE))
    wanted = STANDSTILL_GAP + np.maximum(speed * HEADWAY + approach, 0.0)
    # Far above the desired speed the exponent of 4 would brake like for an obstacle.
    free = np.maximum(1.0 - (speed / np.maximum(desired, 0.1)) ** 4, -1.0)
    return np.clip(ACCELERATION * (free - (wanted / np.maximum(gap, 0.1)) ** 2), -HARDEST, ACCELERATION)


class IdmLaneFollower:
    """Follows the route's path and keeps its distance to whoever is in its lane now.

    It predicts nothing, evades nobody, and stops for the red lights of its lanes.
    """

    name = "idm"
    needs = Needs(truth=True)

    def __init__(self) -> None:
        self._frame: RouteFrame | None = None
        self._stops: tuple[SignalStop, ...] = ()

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Prepare the route.

        Raises:
            InputError: the scene has no route.
        """
        if scene.route is None:
            raise InputError(f"scene {scene.id!r} has no route, which the {self.name} driver follows")
        self._frame = RouteFrame.of(scene.route)
        self._stops = signal_stops(scene, self._frame)

    def act(self, observation: Observation) -> Decision:
        """One plan.

        Raises:
            InputError: there is no truth in the observation, or ``reset`` was not called.
        """
        if observation.truth is None or self._frame is None:
            raise InputError(f"the {self.name} driver needs reset and the truth in its observation")
        truth = observation.truth
        leads = [lead for lead in (self._agent_ahead(truth), self._red_light(truth)) if lead is not None]
        desired = observation.speed_limit or DEFAULT_SPEED
        plan = self._roll_out(truth, desired, leads)
        reasoning = self._reasoning(truth, desired, leads)
        return Decision(plans=plan[None], weights=np.ones(1, np.float32), reasoning=reasoning)

    def _agent_ahead(self, truth: GroundTruth) -> Lead | None:
        """The nearest agent with a corner in the ego's corridor along the route, or whose box spans it."""
        assert self._frame is not None
        agents = truth.agents
        near = np.flatnonzero(
            agents.valid & (np.linalg.norm(agents.pose[:, :2] - truth.ego_pose[:2], axis=1) < SIGHT + 15.0)
        )
        if not near.size:
            return None
        ego_s = float(self._frame.project(truth.ego_pose[None, :2])[0][0])
        corners = box_corners(agents.pose[near].astype(np.float64), agents.size[near, :2].astype(np.float64))
        s, d = self._frame.project(corners, ego_s, SIGHT + 25.0)
        half = 0.5 * float(truth.ego_size[1]) + CORRIDOR
        inside = (d.min(axis=1) < half) & (d.max(axis=1) > -half)
        ahead = self._frame.project(agents.pose[near, :2], ego_s, SIGHT + 25.0)[0] > ego_s
        gap = s.min(axis=1) - ego_s - 0.5 * float(truth.ego_size[0])
        gap = np.where(inside & ahead, gap, np.inf)
        first = int(np.argmin(gap))
        if not gap[first] < SIGHT:
            return None
        k = int(near[first])
        heading = float(self._frame.at(s[first].min())[1])
        along = float(agents.velocity[k] @ np.array([math.cos(heading), math.sin(heading)]))
        cause = object_component(truth, k)
        return Lead(max(float(gap[first]), 0.0), max(along, 0.0), cause)

    def _red_light(self, truth: GroundTruth) -> Lead | None:
        """The nearest stop line whose signal is red, or yellow and far enough."""
        assert self._frame is not None
        front = float(self._frame.project(truth.ego_pose[None, :2])[0][0]) + 0.5 * float(truth.ego_size[0])
        for stop in sorted(self._stops, key=lambda each: each.s):
            distance = stop.s - STOP_GAP - front
            if -3.0 < distance < SIGHT and must_stop(int(truth.signals[stop.signal]), distance, truth.ego_speed):
                return Lead(max(distance + STANDSTILL_GAP, 0.0), 0.0, signal_component(truth, stop.signal))
        return None

    def _roll_out(self, truth: GroundTruth, desired: float, leads: list[Lead]) -> Float32[Array, "64 4"]:
        """Pure pursuit and IDM, with everybody ahead at constant speed."""
        assert self._frame is not None
        frame = self._frame
        ego_s, ego_d = (float(v[0]) for v in frame.project(truth.ego_pose[None, :2]))
        _, route_heading, _ = frame.at(ego_s)
        heading = float(wrap_angle(np.asarray(truth.ego_pose[2] - route_heading)))
        s, d, speed = ego_s, ego_d, float(truth.ego_speed)
        rows = np.empty((PLAN_STEPS, 4))
        for k in range(PLAN_STEPS):
            bend = float(frame.at(s + speed)[2])
            wanted = min(desired, math.sqrt(LATERAL_ACCELERATION / max(abs(bend), 1e-4)))
            acceleration = float(idm_acceleration(speed, wanted, np.inf, 0.0))
            for lead in leads:
                gap = lead.gap + lead.speed * PLAN_DT * k - (s - ego_s)
                follow = idm_acceleration(speed, wanted, gap, lead.speed)
                acceleration = min(acceleration, float(follow))
            before, speed = speed, max(speed + acceleration * PLAN_DT, 0.0)
            way = 0.5 * (before + speed) * PLAN_DT
            look = max(4.0, 1.2 * speed)
            curvature = float(np.clip(2.0 * math.sin(math.atan2(-d, look) - heading) / look, -0.15, 0.15))
            middle = heading + 0.5 * curvature * way
            own_bend = float(frame.at(s)[2])
            s += way * math.cos(middle) / max(1.0 - own_bend * d, 0.2)
            d += way * math.sin(middle)
            heading += curvature * way
            rows[k] = s, d, heading, speed
        return to_plan(frame, rows, truth)

    def _reasoning(self, truth: GroundTruth, desired: float, leads: list[Lead]) -> Reasoning:
        """The lead or light that holds it back, if any."""
        speed = truth.ego_speed
        binding = [
            lead
            for lead in leads
            if idm_acceleration(speed, desired, lead.gap, lead.speed)
            < idm_acceleration(speed, desired, np.inf, 0.0) - 0.5
        ]
        if not binding:
            return Reasoning(Longitudinal.SET_SPEED_TRACKING, Lateral.LANE_KEEPING)
        lead = min(binding, key=lambda each: each.gap)
        decision = Longitudinal.LEAD_FOLLOWING if lead.speed > 0.5 else Longitudinal.STOP_STATIC
        return Reasoning(decision, Lateral.LANE_KEEPING, (lead.cause,) if lead.cause else ())


def to_plan(frame: RouteFrame, rows: Float[Array, "64 4"], truth: GroundTruth) -> Float32[Array, "64 4"]:
    """Rows of s, d, heading relative to the route, and speed as a plan in the ego frame."""
    xy, route_heading = frame.to_world(rows[:, 0], rows[:, 1])
    pose = truth.ego_pose.astype(np.float64)
    c, s = math.cos(pose[2]), math.sin(pose[2])
    dx, dy = xy[:, 0] - pose[0], xy[:, 1] - pose[1]
    heading = wrap_angle(route_heading + rows[:, 2] - pose[2])
    return np.stack([c * dx + s * dy, -s * dx + c * dy, heading, rows[:, 3]], axis=-1).astype(np.float32)
