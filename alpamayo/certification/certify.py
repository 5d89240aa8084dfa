"""Certification of a scenario: reference models and the expert drive it, and an independent check judges the motion."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from jaxtyping import Float32

from alpamayo.certification.checker import MotionLimits, Surroundings, friction_use, is_solved, margins
from alpamayo.certification.criticality import critical_times
from alpamayo.certification.reachability import is_unavoidable
from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import make_driver
from alpamayo.episode import Episode, has_collision
from alpamayo.motion_replay import replay_motion
from alpamayo_sim.datatypes.driver import Driver
from alpamayo_sim.datatypes.scenario import Certificate, Scenario, Solvability
from alpamayo_sim.drivers import Expert
from alpamayo_sim.planning.config import CostConfig, PlannerConfig

Array = np.ndarray

REFERENCES = ("r157-human", "r157-fsm", "rss", "idm")
"""The reference drivers that decide which collisions are preventable, and the difficulty."""

CAREFUL = PlannerConfig(
    CostConfig(pedestrian_gap_m=2.2, cyclist_gap_m=2.0, animal_gap_m=2.0, other_gap_m=1.4, safety_gap_m=0.4),
    obstacle_gap_m=12.0,
)
HASTY = PlannerConfig(CostConfig(clearance_weight=2.0, opposite_lane_weight=0.3, route_offset_weight=0.15))
GIVING_WAY = PlannerConfig(CostConfig(followers_brake=False))
SOLVERS: Mapping[str, PlannerConfig] = MappingProxyType(
    {"expert": PlannerConfig(), "expert-careful": CAREFUL, "expert-hasty": HASTY, "expert-giving-way": GIVING_WAY}
)
"""The settings of the privileged planner that are tried in turn."""


@dataclass
class _Attempts:
    """What was driven so far: how much, which drivers avoided all contacts, and the first motion that is a solution."""

    scenario: Scenario
    limits: MotionLimits
    episodes: int = 0
    steps: int = 0
    avoided: list[str] = field(default_factory=list)
    solver: str = ""
    motion: Float32[Array, "steps 4"] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    margins: dict[str, float] = field(default_factory=dict)

    def drive(self, name: str, driver: Driver) -> None:
        """Drive once, and keep the motion if it is the first solution."""
        episode = drive(self.scenario, driver, seed=self.scenario.seed, guard=False)
        self.episodes += 1
        self.steps += episode.steps
        if not has_collision(episode):
            self.avoided.append(name)
        if not self.solver and episode.arrived:
            motion = motion_of(episode)
            found = margins(motion.astype(np.float64), surroundings(episode), self.limits)
            if is_solved(found):
                self.solver, self.motion, self.margins = name, motion, found


def certify(scenario: Scenario, limits: MotionLimits | None = None) -> Certificate:
    """Certify a scenario.

    The reference models drive it first, then the privileged planner with up to four settings; the first motion that
    the independent check accepts is the certificate. If there is none, reachability may show that a contact is
    unavoidable; else the scenario is unknown.

    Raises:
        InputError: the scene has no route.
    """
    attempts = _Attempts(scenario, limits or MotionLimits())
    for name in REFERENCES:
        attempts.drive(name, make_driver(name))
    avoided = tuple(attempts.avoided)
    for name, config in SOLVERS.items():
        if attempts.solver:
            break
        attempts.drive(name, Expert(config))
    times = critical_times(scenario)
    return Certificate(
        trajectory=attempts.motion,
        margins={name: round(value, 4) for name, value in attempts.margins.items()},
        avoided_by=avoided,
        solvability=_solvability(attempts),
        solver=attempts.solver,
        difficulty=_difficulty(attempts, avoided),
        effort={"episodes": attempts.episodes, "steps": attempts.steps},
        contact_s=times.contact_s,
        critical_s=times.critical_s,
    )


def verify(scenario: Scenario, certificate: Certificate, limits: MotionLimits | None = None) -> dict[str, float]:
    """Replay a certificate's trajectory in its scenario and return the margins of the independent check.

    The world moves with the ego exactly on the trajectory, so that triggered actors act as they did; a motion that
    starts elsewhere than the scenario's ego has a negative ``start_m``.
    """
    motion = certificate.trajectory
    start = scenario.scene.ego
    apart = float(np.hypot(*(motion[0, :2] - start.position[0, :2])))
    found = margins(motion.astype(np.float64), _replayed(scenario, motion), limits)
    return found | {"start_m": 0.01 - apart}


def motion_of(episode: Episode) -> Float32[Array, "steps 4"]:
    """Return the states of an episode's ego: x, y, heading, speed."""
    return np.column_stack([episode.ego_pose, episode.ego_speed]).astype(np.float32)


def surroundings(episode: Episode) -> Surroundings:
    """Return what the motion of an episode is checked against."""
    return _around(episode.scenario, episode.ego_size, episode.agent_pose, episode.agent_size, episode.agent_valid)


def _around(scenario: Scenario, ego_size: Array, pose: Array, size: Array, valid: Array) -> Surroundings:
    scene = scenario.scene
    assert scene.route is not None
    return Surroundings(
        dt=scene.dt,
        friction=scene.environment.friction,
        ego_size=ego_size[:2].astype(np.float64),
        agent_pose=pose.astype(np.float64),
        agent_size=size[:, :2].astype(np.float64),
        agent_valid=valid,
        route=scene.route.path,
        goal_m=scenario.goal.distance,
        areas=scene.road_map.drivable_areas,
    )


def _replayed(scenario: Scenario, motion: Float32[Array, "steps 4"]) -> Surroundings:
    """Return what is around an ego that moves exactly along a motion."""
    found = replay_motion(scenario, motion)
    return _around(scenario, found.ego_size, found.pose, found.size, found.valid)


def _solvability(attempts: _Attempts) -> Solvability:
    if attempts.solver:
        return Solvability.SOLVED
    return Solvability.UNAVOIDABLE if is_unavoidable(attempts.scenario) else Solvability.UNKNOWN


def _difficulty(attempts: _Attempts, avoided: tuple[str, ...]) -> float | None:
    """Compute the mean of the share of reference models that collide and the share of friction that a solution uses."""
    if not attempts.solver:
        return None
    scene = attempts.scenario.scene
    used = friction_use(attempts.motion.astype(np.float64), scene.dt, scene.environment.friction)
    return round(0.5 * (1.0 - len(avoided) / len(REFERENCES)) + 0.5 * min(used, 1.0), 4)
