"""The thresholds of the expert."""

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
class ExpertConfig:
    """The thresholds of the expert; weights of costs are in `scoring`.

    Attributes:
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
    """

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
