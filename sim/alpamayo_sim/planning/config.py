"""The thresholds of the planner, and the weights of its costs."""

from dataclasses import dataclass

from alpamayo_sim.prediction.idm import IdmParameters

EXPERT_FOLLOWING = IdmParameters(
    acceleration_mps2=1.6,
    deceleration_mps2=2.0,
    headway_s=1.3,
    standstill_gap_m=0.0,
    free_term_floor=-1.2,
    least_desired_speed_mps=0.3,
)


@dataclass(frozen=True)
class CostConfig:
    """The weights and thresholds of the costs of candidates.

    A ``_cost`` is added once, a ``_weight`` multiplies an integral over time or a quantity in SI units, and a
    ``_factor`` multiplies another cost.

    Attributes:
        collision_cost: a collision now at moderate speed.
        near_collision_cost: each tested sample that leads into a collision if nothing is done.
        stop_line_cost: passing a stop line.
        off_road_cost: each metre outside the drivable area.
        infeasible_cost: the excess over the friction limit as a fraction of it, and each 0.2/m of excess curvature.
        clearance_weight: small gaps to agents.
        headway_weight: short or closing gaps to agents ahead.
        border_weight: gaps of less than 0.3 m to the border of the drivable area.
        opposite_lane_weight: time in lanes of the other direction.
        route_offset_weight: the distance from the route.
        lane_offset_weight: the distance from the centre of the lane.
        progress_weight: each metre behind the desired speed.
        speeding_weight: the squared excess over the allowed speed.
        acceleration_weight: the squared longitudinal acceleration; half of it for positive ones.
        lateral_acceleration_weight: the squared lateral acceleration.
        hard_braking_weight: each m/s² of deceleration beyond ``hard_braking_mps2``.
        late_braking_weight: each m/s² of deceleration beyond ``easy_braking_mps2`` to stop at a stop line.
        jerk_weight: the squared change of acceleration within the first second.
        change_weight: each metre of distance from the previous plan.
        obstacle_approach_weight: each metre that the ego stops nearer to an obstacle than it takes to swing out.
        rear_side_collision_factor: for collisions with agents that come from next to the ego's rear half.
        margin_collision_factor: for collisions of safety margins alone.
        pedestrian_gap_m: the desired gap to pedestrians.
        cyclist_gap_m: the desired gap to cyclists.
        motorcycle_gap_m: the desired gap to motorcycles.
        animal_gap_m: the desired gap to animals.
        static_gap_m: the desired gap to cones, barriers, debris and buildings.
        other_gap_m: the desired gap to all others.
        agent_gap_range_m: the gap beyond which agents cost nothing.
        safety_gap_m: the gap below which there is a collision.
        safety_gap_growth_mps: the growth of that gap over time for agents that move.
        crossing_time_error: the error of the time at which an agent crosses, per second of prediction.
        border_gap_m: the gap kept to the border of the drivable area.
        outside_offset_m: the distance from a lane's centre that a place outside all lanes counts as.
        opposite_offset_m: the distance from a lane's centre that a lane of the other direction counts as.
        allowed_excess_mps: the excess over the allowed speed that costs nothing.
        hard_braking_mps2: the greatest comfortable deceleration.
        easy_braking_mps2: the deceleration that always suffices before a stop line, if braking begins in time.
        late_braking_limit_mps2: the bound of the excess over it.
        usable_friction_fraction: the fraction of the friction limit that costs nothing.
        curvature_limit_per_m: the greatest curvature that the ego can drive.
        short_headway_s: the headway below which a gap is too short.
        followers_brake: whether agents behind the ego in its way are expected to brake for it.
    """

    collision_cost: float = 1000.0
    near_collision_cost: float = 4.0
    stop_line_cost: float = 800.0
    off_road_cost: float = 500.0
    infeasible_cost: float = 300.0
    clearance_weight: float = 5.0
    headway_weight: float = 3.0
    border_weight: float = 2.0
    opposite_lane_weight: float = 1.0
    route_offset_weight: float = 0.35
    lane_offset_weight: float = 0.5
    progress_weight: float = 0.45
    speeding_weight: float = 2.0
    acceleration_weight: float = 0.25
    lateral_acceleration_weight: float = 0.25
    hard_braking_weight: float = 4.0
    late_braking_weight: float = 5.0
    jerk_weight: float = 0.02
    change_weight: float = 0.6
    obstacle_approach_weight: float = 2.0
    rear_side_collision_factor: float = 0.3
    margin_collision_factor: float = 0.45
    pedestrian_gap_m: float = 1.4
    cyclist_gap_m: float = 1.3
    motorcycle_gap_m: float = 1.2
    animal_gap_m: float = 1.2
    static_gap_m: float = 0.55
    other_gap_m: float = 0.9
    agent_gap_range_m: float = 2.2
    safety_gap_m: float = 0.15
    safety_gap_growth_mps: float = 0.06
    crossing_time_error: float = 0.15
    border_gap_m: float = 0.1
    outside_offset_m: float = 6.0
    opposite_offset_m: float = 0.6
    allowed_excess_mps: float = 0.2
    hard_braking_mps2: float = 4.0
    easy_braking_mps2: float = 1.8
    late_braking_limit_mps2: float = 5.0
    usable_friction_fraction: float = 0.95
    curvature_limit_per_m: float = 0.18
    short_headway_s: float = 0.8
    followers_brake: bool = True


@dataclass(frozen=True)
class ReasoningConfig:
    """The thresholds of the reasoning.

    Attributes:
        decisive_cost: the cost that a cause must add to the plan that the ego would drive without it.
        second_cause_fraction: the fraction of the first cause's cost that a second cause must add.
        cause_count: the greatest number of causes.
        acceptable_excess_cost: the cost above that of the best candidate up to which another manoeuvre may be chosen.
        slowing_mps: the loss of speed within 3 s from which the ego slows down.
        in_lane_m: the distance from a lane's centre within which the ego drives in that lane.
        lane_change_m: the distance from which the ego changes or leaves its lane.
        turn_rad: the angle of the route over the next 30 m from which it is a turn.
    """

    decisive_cost: float = 4.0
    second_cause_fraction: float = 0.25
    cause_count: int = 2
    acceptable_excess_cost: float = 4.0
    slowing_mps: float = 0.8
    in_lane_m: float = 0.35
    lane_change_m: float = 1.15
    turn_rad: float = 0.6


@dataclass(frozen=True)
class PlannerConfig:
    """The thresholds of the planner.

    Attributes:
        costs: the weights and thresholds of the costs of candidates.
        reasoning: the thresholds of the reasoning.
        following: the parameters of the Intelligent Driver Model for following.
        default_speed_mps: the desired speed where no limit is known.
        agent_range_m: the distance from the ego within which agents matter.
        greatest_deceleration_mps2: the greatest acceleration that is used on dry roads.
        used_friction: the fraction of friction that is used.
        waiting_speed_mps: the speed below which the ego counts as waiting before an obstacle.
        plan_count: the number of plans that are offered.
        plan_distance_m: the least distance, at some time, between offered plans.
        bend_acceleration_mps2: the greatest lateral acceleration in bends.
        approach_deceleration_mps2: the deceleration towards a lower allowed speed.
        sight_deceleration_mps2: the deceleration to stop within three quarters of the visibility.
        hiding_height_m: the height from which a parked vehicle may hide a child.
        parked_range_m: the lateral gap to parked vehicles within which the ego slows down.
        parked_speed_mps: the allowed speed at a gap of 0.5 m.
        parked_speed_slope_mps_per_m: its increase for each metre of gap.
        walker_range_m: the lateral gap to standing walkers within which the ego slows down.
        walker_speed_mps: the allowed speed there.
        passing_excess_mps: the allowed excess over the speed of a vehicle that is held up in the next lane.
        parked_after_s: the time after which a standing agent is expected to stay.
        corridor_margin_m: the width added to either side of the ego to find obstacles.
        obstacle_range_m: the distance ahead within which obstacles are passed.
        queue_m: the distance before a red light in which standing vehicles wait for it.
        moving_gap_m: the gap to agents that move or wait.
        obstacle_gap_m: the gap to obstacles that are to be passed.
        farthest_offset_m: the greatest offset from the route of a path around an obstacle.
        obstacle_clearances_m: the lateral gaps of paths around obstacles.
        obstacle_spacing_m: the distance between obstacles that are passed in one go.
        gap_margin_m: the width beyond the ego's own that it needs between two obstacles.
        route_lane_paths: duration (s) and least length (m) of paths to the route's lane.
        other_lane_paths: duration (s) and least length (m) of paths to other lanes.
        nudge_offsets_m: the offsets from the route of nudges.
        nudge_s: the duration of a nudge.
        evasion_offsets_m: the offsets from the ego of evasions.
        evasion_s: the duration of an evasion.
        ramp_accelerations_mps2: the accelerations to the desired speed, or to standstill.
        slowing_ramps: acceleration (m/s²), and the fraction of the present speed at which it ends.
        comfortable_jerk_mps3: the greatest jerk at low accelerations.
        firm_jerk_mps3: the greatest jerk of decelerations from 1.9 m/s² on.
        emergency_jerk_mps3: the greatest jerk of decelerations from 4 m/s² on.
    """

    costs: CostConfig = CostConfig()
    reasoning: ReasoningConfig = ReasoningConfig()
    following: IdmParameters = EXPERT_FOLLOWING
    default_speed_mps: float = 13.9
    agent_range_m: float = 130.0
    greatest_deceleration_mps2: float = 8.5
    used_friction: float = 0.92
    waiting_speed_mps: float = 4.0
    plan_count: int = 6
    plan_distance_m: float = 1.0
    bend_acceleration_mps2: float = 2.2
    approach_deceleration_mps2: float = 1.8
    sight_deceleration_mps2: float = 3.5
    hiding_height_m: float = 0.9
    parked_range_m: float = 3.2
    parked_speed_mps: float = 6.8
    parked_speed_slope_mps_per_m: float = 2.2
    walker_range_m: float = 2.0
    walker_speed_mps: float = 7.0
    passing_excess_mps: float = 4.5
    parked_after_s: float = 3.0
    corridor_margin_m: float = 0.3
    obstacle_range_m: float = 90.0
    queue_m: float = 60.0
    moving_gap_m: float = 2.5
    obstacle_gap_m: float = 9.0
    farthest_offset_m: float = 6.0
    obstacle_clearances_m: tuple[float, ...] = (0.4, 0.8)
    obstacle_spacing_m: float = 18.0
    gap_margin_m: float = 0.4
    route_lane_paths: tuple[tuple[float, float], ...] = ((1.8, 9.0), (2.7, 13.0), (4.2, 20.0))
    other_lane_paths: tuple[tuple[float, float], ...] = ((1.9, 11.0), (2.8, 15.0), (4.2, 22.0))
    nudge_offsets_m: tuple[float, ...] = (-0.7, 0.7)
    nudge_s: float = 2.8
    evasion_offsets_m: tuple[float, ...] = (-2.6, -1.4, 1.4, 2.6)
    evasion_s: float = 1.5
    ramp_accelerations_mps2: tuple[float, ...] = (1.6, 0.8, 0.0, -0.6, -1.2, -2.0, -3.0, -3.9, -5.5, -8.0)
    slowing_ramps: tuple[tuple[float, float], ...] = (
        (-1.5, 0.8),
        (-1.5, 0.6),
        (-2.0, 0.35),
        (-3.0, 0.75),
        (-3.0, 0.5),
        (-3.9, 0.4),
        (-5.5, 0.6),
    )
    comfortable_jerk_mps3: float = 3.5
    firm_jerk_mps3: float = 4.0
    emergency_jerk_mps3: float = 40.0
