# mypy: disable-error-code="untyped-decorator,valid-type"
"""The state of all worlds on the device: every array that changes while worlds run.

Each field is declared once, in the group of its axes. ``State`` is the Warp struct that kernels take; its arrays have
the axes that ``GROUPS`` names.
"""

from typing import Any

from alpamayo_sim.engine.kernels.layout import Features
from alpamayo_sim.warp_runtime import wp


class WorldFields:
    """One value per world."""

    step: wp.int32  # steps since the reset
    next_step: wp.int32  # the step that the launches lead to; ``evaluate_egos`` makes it the present one
    multi_lane_count: wp.int32  # number of agents that are on more than one lane


class EgoFields:
    """One value per world and ego."""

    # motion (``dynamics``)
    acceleration: wp.float32  # m/s², over the last step
    curvature: wp.float32  # 1/m, left positive
    slip: wp.vec2  # lateral velocity (m/s) and yaw rate (rad/s)
    actuators: wp.vec2  # acceleration (m/s²) and steering angle (rad) that the actuators have reached
    # route (``ego_evaluation``)
    progress: wp.float32  # m along the route, never decreasing
    route_s: wp.float32  # m, arc length of the present foot point
    route_segment: wp.int32
    lateral_offset: wp.float32  # m, left positive
    arrived: wp.bool
    # safety (``ego_evaluation``, ``box_contacts``)
    drivable_margin: wp.float32  # m, of the worst corner
    collided: wp.bool
    time_to_collision: wp.float32  # s
    # traffic rules (``ego_rules``)
    ego_lane: wp.int32  # -1: none
    lane_offset: wp.float32  # m, left positive
    lane_elevation: wp.float32  # m, z of the lane; without a lane that of the ego
    speed_limit: wp.float32  # m/s, 0: unknown
    wrong_way: wp.bool
    red_lights: wp.int32  # count since the reset


class HistoryFields:
    """One value per world, ego and past step."""

    history: wp.vec4  # x, y, heading, speed; a ring of ``layout.HISTORY`` steps


class ContactFields:
    """One value per world, ego and agent: contacts of their boxes since the reset."""

    last_contact_step: wp.int32  # -1: no contact
    contact_time: wp.float32  # s, of the first contact; -1: no contact
    contact_pose: wp.vec3  # of the agent at the first contact, as the other three
    contact_velocity: wp.vec2
    contact_ego_pose: wp.vec3
    contact_ego_velocity: wp.vec2


class AgentFields:
    """One value per world and agent; egos are the first agents."""

    # motion
    pose: wp.vec3
    direction: wp.vec2  # cosine and sine of the heading
    velocity: wp.vec2
    valid: wp.bool
    speed: wp.float32
    elevation: wp.float32  # m, z of the ground under it
    previous_pose: wp.vec3  # at the last step
    features: Features  # x, y, cos, sin, speed / 40, length / 20, width / 20, radius; see ``write_features``
    commanded_acceleration: wp.float32
    # paths and manoeuvres (``scripts``, ``pedestrians``, ``replay``)
    path_row: wp.int32  # first row of the present path
    path_points: wp.int32
    path_s: wp.float32
    next_manoeuvre: wp.int32
    manoeuvre_time: wp.float32  # s, start of the last manoeuvre
    phase: wp.int32  # of a walker (``pedestrians.Phase``) or a reactive agent (``replay.Phase``)
    target_speed: wp.float32
    target_rate: wp.float32
    # lateral offset from the path, and the quintic shift to another offset
    lateral: wp.float32
    lateral_rate: wp.float32
    shift_start: wp.float32
    shift_duration: wp.float32
    shift_from: wp.float32
    shift_rate: wp.float32
    shift_to: wp.float32
    # traffic vehicles (``traffic_vehicles``, ``right_of_way``)
    lane: wp.int32
    departed_lane: wp.int32  # the lane that a lane change leaves, -1: none
    previous_lane: wp.int32  # the lane before this one, -1: none
    lane_change_time: wp.float32  # s, start of the last lane change
    waiting_time: wp.float32  # s, from standstill until the vehicle moves again
    stopped_lane: wp.int32  # the lane at whose stop sign the vehicle has stopped
    # lane positions (``lane_positions``)
    lane_indices: wp.vec4i  # the lanes that an agent is on, the lane that it follows first; -1: none
    lane_s: wp.vec4  # arc length on each of them
    lane_half_length: wp.float32  # m, half of the agent's extent along the first lane
    lane_speed: wp.float32  # m/s along the first lane
    order_agent: wp.int32  # all agents, sorted by followed lane and arc length
    order_lane: wp.int32
    order_s: wp.float32
    order_rank: wp.int32  # place of an agent in that order
    multi_lane_agents: wp.int32  # the agents that are on more than one lane
    on_crosswalk: wp.int32  # the crosswalk that a pedestrian is on, -1: none


GROUPS = {  # the axes of the arrays of each group
    WorldFields: ("worlds",),
    EgoFields: ("worlds", "egos"),
    HistoryFields: ("worlds", "egos", "steps"),
    ContactFields: ("worlds", "egos", "agents"),
    AgentFields: ("worlds", "agents"),
}


def state_fields() -> dict[str, tuple[Any, tuple[str, ...]]]:
    """Return the element type and the axes of each array of the state by name."""
    return {name: (dtype, axes) for group, axes in GROUPS.items() for name, dtype in group.__annotations__.items()}


State: Any = wp.struct(
    type("State", (), {"__annotations__": {n: wp.array(dtype=d, ndim=len(a)) for n, (d, a) in state_fields().items()}})
)
