"""Parameters that several families have, and the first-order checks that they share."""

from alpamayo_scenarios.behaviours import OvertakingCutIn
from alpamayo_scenarios.families.family import (
    BRAKING_MPS2,
    CURVATURE_SOURCE,
    REACTION_TIME_S,
    Parameter,
    Values,
    posted_limit,
    stopping_distance,
)
from alpamayo_scenarios.stage import EGO_SIZE

NOTICED_DRIFT_M = 0.6  # m of drift after which an attentive driver sees it
BYPASS_SPEED_MPS = 6.0  # past an obstacle
BYPASS_SWING_M = 24.0  # from a stop before an obstacle to the other lane and back
BYPASS_START_S = 2.5  # from the last oncoming car to the start
HALT_BEFORE_M = 8.0  # from the ego's centre to an obstacle that it waits before
LONGEST_STREAM_S = 7.0
STOPPING_MARGIN_M = 1.5  # m that remain after a stop
SIDE_SOURCE = "from the right (0) or the left (1)"


def ego_speed(low: float, high: float, default: float, source: str) -> Parameter:
    """Return the parameter of the ego's initial speed."""
    return Parameter("ego_speed", "m/s", low, high, source, default=default)


def lane_count(low: int, high: int, default: int, source: str = "lanes one way") -> Parameter:
    """Return the parameter of the number of forward lanes."""
    return Parameter("lanes", "1", low, high, source, integer=True, default=default)


def bend(limit: float, straight_share: float = 0.5) -> Parameter:
    """Return the parameter of the road's bend (1/m, left positive), up to ``limit`` to either side; 0 is straight."""
    return Parameter("curvature", "1/m", -limit, limit, CURVATURE_SOURCE, typical_share=straight_share, default=0.0)


def from_left() -> Parameter:
    """Return the parameter of the side of the critical actor."""
    return Parameter("from_left", "1", 0, 1, SIDE_SOURCE, integer=True, default=0.0)


def lateness(limit: float, default: float = 0.0) -> Parameter:
    """Return the parameter of the time from a steady ego to the critical actor at the conflict point."""
    source = "time at the conflict point after a steady ego"
    return Parameter("lateness", "s", -limit, limit, source, default=default)


def oncoming_platoon() -> tuple[Parameter, ...]:
    """Return the parameters of the cars that come the other way past an obstacle."""
    return (
        Parameter("oncoming_cars", "1", 1, 4, "a platoon from the other side", integer=True, default=2.0),
        Parameter("oncoming_speed", "m/s", 7.0, 12.0, "CARLA opposite flow: 8 to 17 m/s, in town", default=9.0),
        Parameter("clear_time", "s", 3.5, 8.5, "when the last oncoming car has passed the obstacle", default=6.0),
    )


def can_stop(ego_speed: float, distance: float) -> bool:
    """Return whether a careful driver at the limit can stop within ``distance`` (m) of the ego's centre."""
    return distance >= stopping_distance(posted_limit(ego_speed)) + 0.5 * EGO_SIZE[0] + STOPPING_MARGIN_M


def slowing_gap(closing: float) -> float:
    """Return the gap (m) that a careful driver needs to reduce the speed by ``closing`` (m/s)."""
    return closing * REACTION_TIME_S + closing**2 / (2.0 * BRAKING_MPS2) + STOPPING_MARGIN_M


def drift_gap(closing: float, lateral_speed: float) -> float:
    """Return the gap (m) of a careful driver that sees drift at ``lateral_speed`` and brakes by ``closing`` (m/s)."""
    return closing * NOTICED_DRIFT_M / lateral_speed + slowing_gap(closing)


def cut_in_accepted(cut_in: OvertakingCutIn, duration: float) -> bool:
    """Return whether braking in time avoids the car, and the episode is long enough to pass the place of contact."""
    arrives = cut_in.ego_speed * cut_in.braking_time + 0.8 * cut_in.slow * (duration - cut_in.braking_time)
    return slowing_gap(cut_in.ego_speed - cut_in.slow) <= cut_in.room and cut_in.contact_distance + 12.0 <= arrives


def follows(closing: float, gap: float, least: float, within: float) -> bool:
    """Return whether braking by ``closing`` (m/s) avoids a slow lead, and a steady ego meets it ``within`` (s)."""
    return closing >= least and slowing_gap(closing) <= gap <= within * closing


def bypass_accepted(p: Values, distance: float, duration: float) -> bool:
    """Return whether there is time to pass an obstacle after the last oncoming car, and not before it.

    ``distance`` (m) is the way from the rear of the obstacle to the goal.
    """
    start = max(p["clear_time"], p["distance_time"]) + BYPASS_START_S
    stops = can_stop(p["ego_speed"], p["ego_speed"] * p["distance_time"] - HALT_BEFORE_M)
    in_time = start + (BYPASS_SWING_M + distance) / BYPASS_SPEED_MPS <= duration
    return stops and in_time and p["clear_time"] >= p["distance_time"]


def crossing_path_length(p: Values, lane_width: float, shoulder: float) -> float:
    """Return the distance (m) from the start of a crossing actor to the middle of the ego's lane of a two-way road."""
    return (1.5 if p["from_left"] else 0.5) * lane_width + shoulder + p["setback"]


def stream() -> tuple[Parameter, ...]:
    """Return the parameters of a stream of cars that the ego's path crosses."""
    return (
        Parameter("flow_speed", "m/s", 7.0, 12.0, "CARLA leaderboard 2.0 flows: 6 to 20 m/s", default=9.0),
        Parameter("gap_time", "s", 1.4, 2.6, "CARLA flows: gaps of 10 to 110 m", default=1.8),
        Parameter("cars", "1", 2, 5, "cars in the stream", integer=True, default=3.0),
        lateness(0.3),
    )


def stream_ends(p: Values) -> bool:
    """Return whether the stream is short enough to wait for its end."""
    return p["cars"] * p["gap_time"] <= LONGEST_STREAM_S


def stream_times(p: Values, time: float) -> list[float]:
    """Return the times (s) of the cars at the crossing with the path of a steady ego, which is there at ``time``."""
    first = -((p["cars"] - 1.0) // 2.0)
    return [time + p["lateness"] + (first + k) * p["gap_time"] for k in range(int(p["cars"]))]
