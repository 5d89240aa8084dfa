"""Responsibility-Sensitive Safety: safe distances, dangerous situations and the proper response.

Source: Shalev-Shwartz, Shammah and Shashua, "On a formal model of safe and scalable self-driving cars", 2017. Where
the paper leaves a choice, Intel's ad-rss-lib 5 decides. All decelerations are positive numbers.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from alpamayo_sim.errors import InputError

Array = np.ndarray
Number = Float[Array, "..."] | float
"""An array, or one number: results are one number where all inputs are."""
Boolean = Bool[Array, "..."] | np.bool_
"""An array of truth values, or one."""


@dataclass(frozen=True)
class Parameters:
    """The behaviour that RSS assumes of a road user; defaults from ad-rss-lib's discussion of its parameters.

    Attributes:
        response_time: s.
        accel_max: largest acceleration during the response time (m/s²).
        brake_min: least deceleration after it (m/s²).
        brake_max: largest deceleration (m/s²).
        brake_min_correct: least deceleration of a vehicle in its correct lane against opposite traffic (m/s²).
        lateral_accel_max: largest lateral acceleration (m/s²).
        lateral_brake_min: least lateral deceleration (m/s²).
        fluctuation: lateral sway (m).
        longitudinal_minimum: distance that is kept in any case (m).
        speed_max: the speed (m/s) up to which a road user accelerates during its response time.
    """

    response_time: float = 1.0
    accel_max: float = 3.5
    brake_min: float = 4.0
    brake_max: float = 8.0
    brake_min_correct: float = 3.0
    lateral_accel_max: float = 0.2
    lateral_brake_min: float = 0.8
    fluctuation: float = 0.1
    longitudinal_minimum: float = 0.0
    speed_max: float = math.inf

    def __post_init__(self) -> None:
        positive = (
            "accel_max",
            "brake_min",
            "brake_max",
            "brake_min_correct",
            "speed_max",
            "lateral_accel_max",
            "lateral_brake_min",
        )
        for name in positive:
            if not getattr(self, name) > 0.0:
                raise InputError(f"RSS: {name} is {getattr(self, name)}, must be positive")
        if self.response_time < 0.0 or self.fluctuation < 0.0 or self.longitudinal_minimum < 0.0:
            raise InputError("RSS: response time, fluctuation and minimum distance must not be negative")


FACING_SPEED_MPS = 1.0
"""From this speed towards the ego a road user is opposite traffic; slower ones are so in part.

Without that part the safe distance would jump where a road user that crosses turns over the right angle.
"""
EGO = Parameters()
OTHER = replace(EGO, response_time=2.0)


def stopping_distance(
    v: Number, *, response_time: Number, accel_max: Number, brake: Number, speed_max: Number = np.inf
) -> Number:
    """Compute the stopping distance (m): accelerate for the response time, at most to ``speed_max`` (m/s), then brake.

    A speed above ``speed_max`` is kept during the response time.

    Raises:
        InputError: a negative speed, response time or acceleration, or a brake that is not positive.
    """
    _check_positive(brake=brake)
    _check_not_negative(v=v, response_time=response_time, accel_max=accel_max, speed_max=speed_max)
    v = np.asarray(v, np.float64)
    top = np.maximum(np.minimum(v + np.asarray(response_time) * accel_max, np.maximum(speed_max, v)), 0.0)
    rising = np.where(np.asarray(accel_max) > 0.0, (top - v) / np.maximum(accel_max, 1e-12), 0.0)
    distance = v * rising + 0.5 * accel_max * rising**2 + top * (response_time - rising)
    return distance + top**2 / (2.0 * np.asarray(brake))


def longitudinal_distance(
    v_rear: Number,
    v_front: Number,
    *,
    response_time: Number,
    accel_max: Number,
    brake_min: Number,
    brake_max: Number,
    speed_max: Number = np.inf,
) -> Number:
    """Compute the safe gap (m) of a rear vehicle behind a front one in the same direction (definition 1).

    The rear accelerates at ``accel_max`` for its response time, at most to ``speed_max`` (m/s; ad-rss-lib's
    ``max_speed_on_acceleration``), and then brakes at ``brake_min`` at least; the front brakes at ``brake_max`` from
    now on. The gap is never less than 0.

    Raises:
        InputError: a negative speed, response time or acceleration, or a brake that is not positive.
    """
    _check_positive(brake_max=brake_max)
    _check_not_negative(v_front=v_front)
    rear = stopping_distance(
        v_rear, response_time=response_time, accel_max=accel_max, brake=brake_min, speed_max=speed_max
    )
    front = np.asarray(v_front, np.float64) ** 2 / (2.0 * np.asarray(brake_max))
    return np.maximum(rear - front, 0.0)


def opposite_distance(
    v_1: Number,
    v_2: Number,
    *,
    response_time_1: Number,
    response_time_2: Number,
    accel_max: Number,
    brake_min: Number,
    brake_min_correct: Number,
    speed_max: Number = np.inf,
) -> Number:
    """Compute the safe gap (m) of two vehicles in opposite directions; vehicle 1 is in its correct lane (definition 2).

    Each accelerates for its response time, at most to ``speed_max`` (m/s); then 1 brakes at ``brake_min_correct``, 2 at
    ``brake_min``. Only the magnitudes of the speeds (m/s) count.

    Raises:
        InputError: a negative response time or acceleration, or a brake that is not positive.
    """
    sides = (v_1, response_time_1, brake_min_correct), (v_2, response_time_2, brake_min)
    first, second = (
        stopping_distance(np.abs(v), response_time=rho, accel_max=accel_max, brake=brake, speed_max=speed_max)
        for v, rho, brake in sides
    )
    return first + second


def lateral_distance(
    v_left: Number,
    v_right: Number,
    *,
    response_time: Number,
    accel_max: Number,
    brake_min: Number,
    fluctuation: Number,
    response_time_right: Number | None = None,
) -> Number:
    """Compute the safe lateral gap (m) between two vehicles side by side, the first at the left (definition 6).

    Lateral speeds (m/s) are positive to the right. Both accelerate towards each other for the response time and then
    brake at ``brake_min``. ``fluctuation`` (m) is the sway of either. ``response_time_right`` is the response time of
    the right vehicle, where it differs.

    Raises:
        InputError: a negative response time, acceleration or sway, or a brake that is not positive.
    """
    _check_positive(brake_min=brake_min)
    _check_not_negative(response_time=response_time, accel_max=accel_max, fluctuation=fluctuation)
    other = response_time if response_time_right is None else response_time_right
    left = _towards(np.asarray(v_left, np.float64), response_time, accel_max, brake_min)
    right = _towards(-np.asarray(v_right, np.float64), other, accel_max, brake_min)
    return np.maximum(left + right + fluctuation, 0.0)


def _check_not_negative(**numbers: Number) -> None:
    for name, number in numbers.items():
        if np.any(np.asarray(number) < 0.0):
            raise InputError(f"RSS: {name} is {np.min(number)}, must not be negative")


def _check_positive(**numbers: Number) -> None:
    for name, number in numbers.items():
        if np.any(np.asarray(number) <= 0.0):
            raise InputError(f"RSS: {name} is {np.min(number)}, must be positive")


def _towards(v: Array, response_time: Number, accel_max: Number, brake_min: Number) -> Number:
    """Compute the distance (m) that a road user moves towards the other until its lateral motion ends."""
    fastest = v + np.asarray(response_time) * accel_max
    distance = v * response_time + 0.5 * np.asarray(accel_max) * np.asarray(response_time) ** 2
    return distance + np.where(fastest > 0.0, fastest**2 / (2.0 * np.asarray(brake_min)), 0.0)


def time_to_cover(v: Number, distance: Number, *, response_time: Number, before: Number, after: Number) -> Number:
    """Compute the time (s) to cover a distance (m): acceleration ``before`` in the response time, then ``after``.

    Infinite where the road user stops first. Speeds do not become negative.
    """
    first, v_then, covered = _phase(np.asarray(v, np.float64), np.asarray(before), distance, np.asarray(response_time))
    left = np.asarray(distance, np.float64) - covered
    second, _, _ = _phase(v_then, np.asarray(after), left, np.asarray(np.inf))
    return np.where(np.isfinite(first), first, response_time + second)


def _phase(v: Array, a: Array, distance: Number, duration: Array) -> tuple[Array, Array, Array]:
    """Compute the time to the distance within a phase (infinite if not), and speed and distance at its end."""
    root = v * v + 2.0 * a * np.asarray(distance)
    when = np.where(
        np.abs(a) < 1e-12,
        np.divide(distance, v, out=np.full(np.broadcast(distance, v).shape, np.inf), where=v > 0.0),
        (np.sqrt(np.maximum(root, 0.0)) - v) / np.where(np.abs(a) < 1e-12, 1.0, a),
    )
    when = np.where((root < 0.0) | (np.asarray(distance) > 0.0) & (v <= 0.0) & (a <= 0.0), np.inf, when)
    when = np.where(np.asarray(distance) <= 0.0, 0.0, when)
    rest = np.where(a < 0.0, -v / np.where(a < 0.0, a, -1.0), np.inf)
    end = np.minimum(np.where(np.isfinite(duration), duration, 0.0), rest)
    return np.where(when <= duration, when, np.inf), np.maximum(v + a * end, 0.0), v * end + 0.5 * a * end**2


def stops_before(v: Number, distance: Number, parameters: Parameters) -> Boolean:
    """Return whether a road user can stop before a point ``distance`` (m) ahead."""
    p = parameters
    needed = stopping_distance(v, response_time=p.response_time, accel_max=p.accel_max, brake=p.brake_min)
    return needed + p.longitudinal_minimum < np.asarray(distance)


def intersection_safe(
    v_1: Number,
    v_2: Number,
    *,
    enter_1: Number,
    leave_1: Number,
    enter_2: Number,
    leave_2: Number,
    priority_1: bool | None = None,
    parameters_1: Parameters = EGO,
    parameters_2: Parameters = OTHER,
) -> Boolean:
    """Return whether two road users whose paths cross are safe (definition 17 and ad-rss-lib's conditions).

    They are safe under one of three conditions. The one without priority (either, where ``priority_1`` is None) can
    stop before the crossing. Or one is through before the other arrives, with a safe longitudinal distance. Or their
    times in the crossing cannot overlap.

    Args:
        v_1: speed (m/s) of the first.
        v_2: speed (m/s) of the second.
        enter_1: distance (m) of the first to the crossing; negative inside.
        leave_1: distance (m) until it has left the crossing.
        enter_2: as ``enter_1``.
        leave_2: as ``leave_1``.
        priority_1: whether the first has priority; None: neither has.
        parameters_1: assumptions about the first.
        parameters_2: assumptions about the second.
    """
    stop_1, stop_2 = stops_before(v_1, enter_1, parameters_1), stops_before(v_2, enter_2, parameters_2)
    stops = stop_1 | stop_2 if priority_1 is None else stop_2 if priority_1 else stop_1
    ahead = _in_front(v_1, v_2, leave_1, enter_2, parameters_2) | _in_front(v_2, v_1, leave_2, enter_1, parameters_1)
    soonest_1, last_1 = _occupation(v_1, enter_1, leave_1, parameters_1)
    soonest_2, last_2 = _occupation(v_2, enter_2, leave_2, parameters_2)
    return stops | ahead | (last_1 < soonest_2) | (last_2 < soonest_1)


def _in_front(v_front: Number, v_rear: Number, leave: Number, enter: Number, rear: Parameters) -> Boolean:
    """Return whether the front one is through before the rear one arrives, with a safe longitudinal distance."""
    gap = np.asarray(enter, np.float64) - np.asarray(leave)
    safe = longitudinal_distance(
        v_rear,
        v_front,
        response_time=rear.response_time,
        accel_max=rear.accel_max,
        brake_min=rear.brake_min,
        brake_max=rear.brake_max,
    )
    return gap > safe


def _occupation(v: Number, enter: Number, leave: Number, p: Parameters) -> tuple[Number, Number]:
    """Compute the earliest time of entry (accelerating), and the latest time of leaving (braking hard)."""
    soonest = time_to_cover(
        v, np.maximum(enter, 0.0), response_time=p.response_time, before=p.accel_max, after=p.accel_max
    )
    latest = time_to_cover(v, leave, response_time=p.response_time, before=-p.brake_max, after=-p.brake_min)
    return soonest, latest


@dataclass(frozen=True, eq=False)
class RssMargins:
    """Margins (m) of the longitudinal and the lateral gap over their safe distances at each time."""

    longitudinal: Float[Array, "... t"]
    lateral: Float[Array, "... t"]

    @property
    def dangerous(self) -> Bool[Array, "... t"]:
        """Whether both gaps are unsafe (definition 8)."""
        return (self.longitudinal <= 0.0) & (self.lateral <= 0.0)

    @property
    def margin(self) -> Float[Array, "... t"]:
        """The larger of both margins: positive is safe."""
        return np.maximum(self.longitudinal, self.lateral)


def assess(
    gap: Float[Array, "... t"],
    side_gap: Float[Array, "... t"],
    v_ego: Float[Array, "... t"],
    v_other: Float[Array, "... t"],
    side_ego: Float[Array, "... t"],
    side_other: Float[Array, "... t"],
    ego_behind: Bool[Array, "... t"],
    ego_left: Bool[Array, "... t"],
    *,
    ego: Parameters = EGO,
    other: Parameters = OTHER,
) -> RssMargins:
    """Compute the RSS margins between the ego and another road user on one road.

    ``gap`` and ``side_gap`` (m) are between the boxes, at most 0 where they overlap in that direction. Speeds (m/s)
    along the road are positive in the ego's direction, lateral speeds to the right. A negative ``v_other`` is opposite
    traffic, as far as ``facing_part`` says; the ego is then in its correct lane.
    """
    rear = np.where(ego_behind, v_ego, v_other)
    front = np.where(ego_behind, v_other, v_ego)
    rho = np.where(ego_behind, ego.response_time, other.response_time)
    same = longitudinal_distance(
        np.maximum(rear, 0.0),
        np.maximum(front, 0.0),
        response_time=rho,
        accel_max=np.where(ego_behind, ego.accel_max, other.accel_max),
        brake_min=np.where(ego_behind, ego.brake_min, other.brake_min),
        brake_max=np.where(ego_behind, other.brake_max, ego.brake_max),
        speed_max=np.where(ego_behind, ego.speed_max, other.speed_max),
    )
    opposite = opposite_distance(
        v_ego,
        v_other,
        response_time_1=ego.response_time,
        response_time_2=other.response_time,
        accel_max=np.maximum(ego.accel_max, other.accel_max),
        brake_min=other.brake_min,
        brake_min_correct=ego.brake_min_correct,
    )
    facing = facing_part(v_other) * ego_behind
    least = max(ego.longitudinal_minimum, other.longitudinal_minimum)
    left, right = np.where(ego_left, side_ego, side_other), np.where(ego_left, side_other, side_ego)
    side = lateral_distance(
        left,
        right,
        response_time=np.where(ego_left, ego.response_time, other.response_time),
        response_time_right=np.where(ego_left, other.response_time, ego.response_time),
        accel_max=max(ego.lateral_accel_max, other.lateral_accel_max),
        brake_min=min(ego.lateral_brake_min, other.lateral_brake_min),
        fluctuation=0.5 * (ego.fluctuation + other.fluctuation),
    )
    return RssMargins(gap - (same + facing * (opposite - same)) - least, side_gap - side)


def facing_part(v_other: Number) -> Number:
    """Return the part, 0 to 1, to which a road user counts as opposite traffic by its speed (m/s) along the road."""
    return np.clip(-np.asarray(v_other, np.float64) / FACING_SPEED_MPS, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Response:
    """Bounds (m/s²) that RSS sets to the ego's acceleration at each time.

    Without a demand, the bounds are the maxima of the parameters.

    Attributes:
        longitudinal_max: largest longitudinal acceleration.
        longitudinal_min: least longitudinal acceleration.
        lateral_left_max: largest acceleration to the left.
        lateral_right_max: largest acceleration to the right.
    """

    longitudinal_max: Float[Array, "... t"]
    longitudinal_min: Float[Array, "... t"]
    lateral_left_max: Float[Array, "... t"]
    lateral_right_max: Float[Array, "... t"]


def proper_response(
    margins: RssMargins,
    *,
    ego_left: Bool[Array, "... t"],
    facing: Float[Array, "... t"] | Bool[Array, "... t"] | None = None,
    ego_behind: Bool[Array, "... t"] | None = None,
    ego: Parameters = EGO,
) -> Response:
    """Compute the proper response (definition 10): brake in the direction that became unsafe last.

    If the longitudinal gap was lost last, the longitudinal acceleration is at most -``brake_min``, unless the ego is in
    front. Against opposite traffic in the ego's lane it is at most -``brake_min_correct``; ``facing`` may be a part in
    between. If the lateral gap was lost last, the acceleration towards the other is at most -``lateral_brake_min``. If
    both were lost at once, both bounds hold; so at the first time, where both may be lost already.
    """
    dangerous = margins.dangerous
    shape = dangerous.shape
    lost_along, lost_across = _since(margins.longitudinal <= 0.0), _since(margins.lateral <= 0.0)
    along, across = dangerous & (lost_along >= lost_across), dangerous & (lost_across >= lost_along)
    if ego_behind is not None:
        along = along & ego_behind
    softer = ego.brake_min_correct - ego.brake_min
    brake = np.full(shape, ego.brake_min) + (0.0 if facing is None else facing * softer)
    return Response(
        longitudinal_max=np.where(along, -brake, ego.accel_max),
        longitudinal_min=np.full(shape, -ego.brake_max),
        lateral_left_max=np.where(across & ~ego_left, -ego.lateral_brake_min, ego.lateral_accel_max),
        lateral_right_max=np.where(across & ego_left, -ego.lateral_brake_min, ego.lateral_accel_max),
    )


def combined(response: Response, axis: int = 0) -> Response:
    """Combine the responses to several road users: the bounds that satisfy all of them."""
    return Response(
        longitudinal_max=response.longitudinal_max.min(axis=axis),
        longitudinal_min=response.longitudinal_min.max(axis=axis),
        lateral_left_max=response.lateral_left_max.min(axis=axis),
        lateral_right_max=response.lateral_right_max.min(axis=axis),
    )


def _since(lost: Bool[Array, "... t"]) -> Array:
    """Return the step at which the present loss began, -1 without a loss."""
    steps = np.arange(lost.shape[-1])
    kept_last = np.maximum.accumulate(np.where(lost, -1, steps), axis=-1)
    return np.where(lost, kept_last + 1, -1)
