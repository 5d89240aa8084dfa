"""The thresholds of the guard."""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS

PLAN_END_S = PLAN_DT * PLAN_STEPS


@dataclass(frozen=True)
class GuardConfig:
    """The thresholds of the guard; an episode records the ones it was driven with.

    Attributes:
        on_belief: whether the guard takes the road users that the driver believes in for those that are there; else it
            is told the truth.
        imminent_contact_s: a contact or road departure sooner than this is never left to a later decision.
        braking_delay_s: the time for which a plan is driven before the guard would have to brake.
        comfortable_deceleration_mps2: the deceleration of the braking that must remain possible after a candidate.
        late_decelerations_mps2: decelerations, one of which must remain possible after the driver's choice.
        late_front_clearance_m: the gap that such a stop keeps.
        late_yield_mps2: the deceleration that must remain possible for an agent that crosses closer than predicted.
        line_reach_m: the distance from a plan within which lights and stop lines concern it.
        remote_checks: a contact later than ``late_evasion_s`` counts if as many checks in a row have found it.
        late_evasion_s: a contact later than this may be left to a later evasion while it is new.
        late_evasion_clearance_m: the lateral gap that such an evasion must have.
        stand_at_once_mps: an ego that is at most this fast stands at once instead of planning a stop further ahead.
        braking_levels_mps2: the decelerations of the guard's braking plans, gentle ones first.
        greatest_lateral_part: the part of the friction limit that a bend may take from braking.
        friction_tolerance_mps2: the acceleration beyond the friction limit that a noisy plan may ask for.
        speed_jump_mps: the speed by which a plan may begin off the present one; the car then reaches it later.
        feasibility_horizon_s: the first part of a plan, which must respect the friction limit.
        feasibility_window_s: the time over which accelerations of a plan are averaged.
        off_road_tolerance_m: the distance a corner may be outside the drivable area (nuPlan's value).
        off_road_return_m: the distance by which an ego that is further outside may get still further while it returns.
        front_clearance_m: the gap kept in front of the ego where possible, so that it can drive on afterwards.
        least_front_clearance_m: the gap kept in front of a planned stop if ``front_clearance_m`` is impossible.
        path_samples: the number of poses on a path that are tested for being blocked.
        candidate_size_margin_m: the length and width added to agents if several candidates are safe.
        evasion_size_margin_m: the length and width added to agents to keep driving an evasion.
        evasion_clearance_m: the lateral gap beyond which an evasion does not get better.
        crossing_uncertainty_mps2: the acceleration by which a crossing agent may deviate from its prediction.
        crossing_uncertainty_s: the time for which that deviation grows.
        route_lookahead_m: the distance ahead within which road departures of the route itself are tolerated.
        route_offset_limit_m: the distance from the route beyond which the guard does not plan along it.
        route_heading_limit_rad: the heading error beyond which the guard does not plan along the route.
        route_return_least_m: the shortest distance in which the ego returns to its route.
        route_return_s: the time in which the ego returns to its route at higher speeds.
        route_corridor_m: the half width around the route in which the border of the road is looked up.
        prepared_route_m: the length of route along which the map is looked up before the first decision.
        prepared_border_m: the distance from it within which borders of the road are prepared.
        prepared_lanes_m: the distance from it within which lanes are prepared.
        ego_acceleration_mps2: the greatest acceleration that a driver is assumed to plan.
        agent_range_margin_m: the distance added to the reach of the ego and an agent to find relevant agents.
        greatest_deceleration_mps2: the limit of a measured deceleration of an agent.
        least_deceleration_mps2: the deceleration of an agent below which it counts as none.
        held_plan_tolerance_m: the position error plus speed error (1 m/s as 1 m) that discards the previous plan.
        stopped_lookahead_s: the time after a plan in which no agent should run into the stopped ego.
        stopped_lookahead_step_s: the time step of that test.
        jerk_limit_mps3: the greatest jerk of a planned stop (careful and competent driver of UN R157).
        evasion_offsets_m: the lateral offsets of evasions, to either side.
        evasion_decelerations_mps2: the decelerations during evasions.
        evasion_lateral_acceleration_mps2: the greatest lateral acceleration of an evasion.
        evasion_curvature_per_m: the greatest curvature of an evasion.
    """

    on_belief: bool = False
    imminent_contact_s: float = 0.8
    braking_delay_s: float = 0.3
    comfortable_deceleration_mps2: float = 4.0
    late_decelerations_mps2: tuple[float, ...] = (3.0, 4.0, 4.5)
    late_front_clearance_m: float = 1.2
    late_yield_mps2: float = 2.5
    line_reach_m: float = 12.0
    remote_checks: int = 3
    late_evasion_s: float = 2.5
    late_evasion_clearance_m: float = 0.5
    stand_at_once_mps: float = 1.5
    braking_levels_mps2: tuple[float, ...] = (2.0, 4.0, 6.0, 8.0)
    greatest_lateral_part: float = 0.8
    friction_tolerance_mps2: float = 1.0
    speed_jump_mps: float = 4.0
    feasibility_horizon_s: float = 2.0
    feasibility_window_s: float = 0.3
    off_road_tolerance_m: float = 0.3
    off_road_return_m: float = 0.05
    front_clearance_m: float = 2.0
    least_front_clearance_m: float = 0.3
    path_samples: int = 48
    candidate_size_margin_m: tuple[float, float] = (2.0, 0.6)
    evasion_size_margin_m: tuple[float, float] = (0.0, 0.4)
    evasion_clearance_m: float = 1.0
    crossing_uncertainty_mps2: float = 1.5
    crossing_uncertainty_s: float = 2.5
    route_lookahead_m: float = 60.0
    route_offset_limit_m: float = 6.0
    route_heading_limit_rad: float = 1.0
    route_return_least_m: float = 10.0
    route_return_s: float = 2.5
    route_corridor_m: float = 16.0
    prepared_route_m: float = 200.0
    prepared_border_m: float = 40.0
    prepared_lanes_m: float = 100.0
    ego_acceleration_mps2: float = 3.0
    agent_range_margin_m: float = 10.0
    greatest_deceleration_mps2: float = 9.0
    least_deceleration_mps2: float = 0.5
    held_plan_tolerance_m: float = 1.0
    stopped_lookahead_s: float = 10.0
    stopped_lookahead_step_s: float = 0.4
    jerk_limit_mps3: float = 12.65
    evasion_offsets_m: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0)
    evasion_decelerations_mps2: tuple[float, ...] = (1.0, 3.0, 5.0)
    evasion_lateral_acceleration_mps2: float = 3.0
    evasion_curvature_per_m: float = 0.16

    def record(self) -> dict[str, tuple[float, ...]]:
        """Return all thresholds by name as the record of an episode holds them, each as one or more numbers."""
        return {name: value if isinstance(value, tuple) else (float(value),) for name, value in asdict(self).items()}

    @property
    def stopped_times(self) -> Float64[np.ndarray, " t"]:
        """Times (s) from now at which a stopped ego is tested for being run into."""
        count = round(self.stopped_lookahead_s / self.stopped_lookahead_step_s) + 1
        return PLAN_END_S + self.stopped_lookahead_step_s * np.arange(count)
