"""The Intelligent Driver Model along the route, a model of adaptive cruise control.

The path is followed by pure pursuit (Coulter, CMU-RI-TR-92-01).
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
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import box_corners, heights_overlap, to_frame, wrap_angle
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.stop_lines import route_stops
from alpamayo_sim.planning.causes import object_component, stop_component
from alpamayo_sim.planning.stops import StopMemory
from alpamayo_sim.prediction.idm import IdmParameters, Numbers, idm_acceleration

Array = np.ndarray
FOLLOWING = IdmParameters(
    acceleration_mps2=1.5,
    deceleration_mps2=2.0,
    headway_s=1.5,
    standstill_gap_m=2.0,
    free_term_floor=-1.0,
    greatest_deceleration_mps2=8.0,
)


@dataclass(frozen=True)
class IdmConfig:
    """The thresholds of the IDM driver.

    Attributes:
        model: the parameters of the Intelligent Driver Model.
        default_speed_mps: the desired speed where no limit is known.
        sight_m: the distance along the route within which leaders and signals matter.
        corridor_margin_m: the width added to either side of the ego to find leaders.
        lateral_acceleration_mps2: the greatest lateral acceleration in bends.
        least_preview_m: the shortest preview distance of pure pursuit.
        preview_s: the preview time of pure pursuit at higher speeds.
        curvature_limit_per_m: the greatest curvature of pure pursuit.
        passed_line_m: the distance behind a stop line at which it still counts.
        binding_mps2: the deceleration due to a leader from which it is named as the cause.
        moving_mps: the speed from which a leader counts as moving.
    """

    model: IdmParameters = FOLLOWING
    default_speed_mps: float = 13.9
    sight_m: float = 100.0
    corridor_margin_m: float = 0.2
    lateral_acceleration_mps2: float = 3.0
    least_preview_m: float = 4.0
    preview_s: float = 1.2
    curvature_limit_per_m: float = 0.15
    passed_line_m: float = 3.0
    binding_mps2: float = 0.5
    moving_mps: float = 0.5


@dataclass(frozen=True)
class Lead:
    """A leader: the gap to it (m), its speed along the route (m/s), and what it is."""

    gap: float
    speed: float
    cause: Component | None


class IdmLaneFollower:
    """Follows the route's path and keeps its distance to the leader in its lane.

    It does not predict and does not evade. It stops at the stop signs and red lights of its route.
    """

    name = "idm"
    needs = Needs(truth=True)

    def __init__(self, config: IdmConfig | None = None) -> None:
        self.config = config or IdmConfig()
        self._frame: RouteFrame | None = None
        self._stops = StopMemory(())
        self._s: float | None = None

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Prepare the route.

        Raises:
            InputError: the scene has no route.
        """
        if scene.route is None:
            raise InputError(f"scene {scene.id!r} has no route; the {self.name} driver needs one")
        self._frame = RouteFrame.of_route(scene.route)
        self._stops, self._s = StopMemory(route_stops(scene, self._frame)), None

    def act(self, observation: Observation) -> Decision:
        """Make one plan.

        Raises:
            InputError: the observation has no ground truth, or ``reset`` was not called.
        """
        if observation.truth is None or self._frame is None:
            raise InputError(f"the {self.name} driver needs a call of reset and the truth in its observation")
        truth = observation.truth
        self._s, ego_d = self._frame.place(truth.ego_pose, self._s, truth.ego_elevation)
        self._stops.update(truth, self._s)
        here = self._s, ego_d
        leads = [lead for lead in (self._agent_ahead(truth, self._s), self._stop(truth, self._s)) if lead is not None]
        desired = observation.speed_limit or self.config.default_speed_mps
        plan = self._roll_out(truth, here, desired, leads)
        reasoning = self._reasoning(truth, desired, leads)
        return Decision(plans=plan[None], weights=np.ones(1, np.float32), reasoning=reasoning)

    def _acceleration(self, speed: Numbers, desired: Numbers, gap: Numbers, leader_speed: Numbers) -> float:
        return float(idm_acceleration(speed, desired, gap, leader_speed, self.config.model))

    def _agent_ahead(self, truth: GroundTruth, ego_s: float) -> Lead | None:
        """Return the nearest agent with a corner in the ego's corridor along the route, or a box that spans it."""
        assert self._frame is not None
        agents, sight = truth.agents, self.config.sight_m
        near = np.flatnonzero(
            agents.valid & (np.linalg.norm(agents.pose[:, :2] - truth.ego_pose[:2], axis=1) < sight + 15.0)
        )
        if not near.size:
            return None
        elevation = None if agents.elevation is None else agents.elevation[near].astype(np.float64)
        corners = box_corners(agents.pose[near].astype(np.float64), agents.size[near, :2].astype(np.float64))
        level = None if elevation is None else elevation[:, None]
        s, d = self._frame.project(corners, ego_s, sight + 25.0, level)
        half = 0.5 * float(truth.ego_size[1]) + self.config.corridor_margin_m
        inside = (d.min(axis=1) < half) & (d.max(axis=1) > -half)
        centre_s = self._frame.project(agents.pose[near, :2], ego_s, sight + 25.0, elevation)[0]
        ahead = centre_s > ego_s
        if elevation is not None:
            ground, height = self._frame.elevation_at(centre_s), float(truth.ego_size[2])
            ahead &= heights_overlap(ground, height, elevation, agents.size[near, 2].astype(np.float64))
        gap = s.min(axis=1) - ego_s - 0.5 * float(truth.ego_size[0])
        gap = np.where(inside & ahead, gap, np.inf)
        first = int(np.argmin(gap))
        if not gap[first] < sight:
            return None
        k = int(near[first])
        heading = float(self._frame.at(s[first].min())[1])
        speed = float(agents.velocity[k] @ np.array([math.cos(heading), math.sin(heading)]))
        return Lead(max(float(gap[first]), 0.0), max(speed, 0.0), object_component(truth, k))

    def _stop(self, truth: GroundTruth, ego_s: float) -> Lead | None:
        """Return the stop line at which the ego has to stop next as a standing leader."""
        config = self.config
        due = self._stops.next(truth, ego_s, config.passed_line_m, config.sight_m)
        if due is None:
            return None
        gap = max(due.distance + config.model.standstill_gap_m, 0.0)
        return Lead(gap, 0.0, stop_component(truth, due.line.signal))

    def _roll_out(
        self, truth: GroundTruth, here: tuple[float, float], desired: float, leads: list[Lead]
    ) -> Float32[Array, "64 4"]:
        """Roll out pure pursuit and IDM, with all leaders at constant speed."""
        assert self._frame is not None
        frame, config = self._frame, self.config
        ego_s, ego_d = here
        _, route_heading, _ = frame.at(ego_s)
        heading = float(wrap_angle(np.asarray(truth.ego_pose[2] - route_heading)))
        s, d, speed = ego_s, ego_d, float(truth.ego_speed)
        rows = np.empty((PLAN_STEPS, 4))
        for k in range(PLAN_STEPS):
            bend = frame.curvature_at(s + speed)
            wanted = min(desired, math.sqrt(config.lateral_acceleration_mps2 / max(abs(bend), 1e-4)))
            acceleration = self._acceleration(speed, wanted, np.inf, 0.0)
            for lead in leads:
                gap = lead.gap + lead.speed * PLAN_DT * k - (s - ego_s)
                acceleration = min(acceleration, self._acceleration(speed, wanted, gap, lead.speed))
            before, speed = speed, max(speed + acceleration * PLAN_DT, 0.0)
            distance = 0.5 * (before + speed) * PLAN_DT
            preview = max(config.least_preview_m, config.preview_s * speed)
            limit = config.curvature_limit_per_m
            pursuit = 2.0 * math.sin(math.atan2(-d, preview) - heading) / preview
            curvature = min(max(pursuit, -limit), limit)
            mean_heading = heading + 0.5 * curvature * distance
            route_curvature = frame.curvature_at(s)
            s += distance * math.cos(mean_heading) / max(1.0 - route_curvature * d, 0.2)
            d += distance * math.sin(mean_heading)
            heading += curvature * distance
            rows[k] = s, d, heading, speed
        return to_plan(frame, rows, truth)

    def _reasoning(self, truth: GroundTruth, desired: float, leads: list[Lead]) -> Reasoning:
        """Name the leader or signal that makes the ego slower, if any."""
        speed = truth.ego_speed
        free = self._acceleration(speed, desired, np.inf, 0.0) - self.config.binding_mps2
        binding = [lead for lead in leads if self._acceleration(speed, desired, lead.gap, lead.speed) < free]
        if not binding:
            return Reasoning(Longitudinal.SET_SPEED_TRACKING, Lateral.LANE_KEEPING)
        lead = min(binding, key=lambda each: each.gap)
        moves = lead.speed > self.config.moving_mps
        decision = Longitudinal.LEAD_FOLLOWING if moves else Longitudinal.STOP_STATIC
        return Reasoning(decision, Lateral.LANE_KEEPING, (lead.cause,) if lead.cause else ())


def to_plan(frame: RouteFrame, rows: Float[Array, "64 4"], truth: GroundTruth) -> Float32[Array, "64 4"]:
    """Convert s, d (m), heading relative to the route (rad) and speed (m/s) to a plan in the ego frame."""
    xy, route_heading = frame.to_world(rows[:, 0], rows[:, 1])
    pose = truth.ego_pose.astype(np.float64)
    heading = wrap_angle(route_heading + rows[:, 2] - pose[2])
    return np.column_stack([to_frame(xy, pose), heading, rows[:, 3]]).astype(np.float32)
