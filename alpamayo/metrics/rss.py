"""Responsibility-Sensitive Safety: safe distances, dangerous situations and the proper response.

Shalev-Shwartz, Shammah and Shashua, "On a formal model of safe and scalable self-driving cars", 2017; where the paper
leaves a choice, that of Intel's ad-rss-lib 5. All decelerations are given as positive numbers.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from alpamayo_sim.errors import InputError

Array = np.ndarray
Number = Float[Array, "..."] | float


@dataclass(frozen=True)
class Parameters:
    """What RSS takes for granted of a road user; defaults from ad-rss-lib's discussion of its parameters.

    Times in s, accelerations in m/s² (positive), ``fluctuation`` and ``longitudinal_minimum`` in m.
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

    def __post_init__(self) -> None:
        positive = (
            "accel_max",
            "brake_min",
            "brake_max",
            "brake_min_correct",
            "lateral_accel_max",
            "lateral_brake_min",
        )
        for name in positive:
            if not getattr(self, name) > 0.0:
                raise InputError(f"RSS: {name} is {getattr(self, name)}, must be positive")
        if self.response_time < 0.0 or self.fluctuation < 0.0 or self.longitudinal_minimum < 0.0:
            raise InputError("RSS: response time, fluctuation and minimum distance must not be negative")


EGO = Parameters()
OTHER = replace(EGO, response_time=2.0)


def stopping_distance(
    v: Number, *, response_time: Number, accel_max: Number, brake: Number, speed_max: Number = np.inf
) -> Float[Array, "..."]:
    """Way (m) to rest of one who accelerates for the response time, at most to ``speed_max`` (m/s), and then brakes.

    A speed that is above ``speed_max`` already is kept during the response time.
    """
    v = np.asarray(v, np.float64)
    top = np.maximum(np.minimum(v + np.asarray(response_time) * accel_max, np.maximum(speed_max, v)), 0.0)
    rising = np.where(np.asarray(accel_max) > 0.0, (top - v) / np.maximum(accel_max, 1e-12), 0.0)
    way = v * rising + 0.5 * accel_max * rising**2 + top * (response_time - rising)
    return way + top**2 / (2.0 * np.asarray(brake))


def longitudinal_distance(
    v_rear: Number,
    v_front: Number,
    *,
    response_time: Number,
    accel_max: Number,
    brake_min: Number,
    brake_max: Number,
) -> Float[Array, "..."]:
    """Gap (m) that keeps the rear one safe behind a front one who goes the same way (definition 1).

    The rear accelerates at ``accel_max`` for its response time and then brakes at ``brake_min`` at least; the front
    brakes at ``brake_max`` from now on. Speeds in m/s, not negative; never less than 0.
    """
    rear = stopping_distance(v_rear, response_time=response_time, accel_max=accel_max, brake=brake_min)
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
) -> Float[Array, "..."]:
    """Gap (m) between two who drive at each other, of whom 1 is in its correct lane (definition 2).

    Each accelerates for its response time; then 1 brakes at ``brake_min_correct``, 2 at ``brake_min``. ``v_2`` may
    be given with the sign of its direction, only its magnitude counts.
    """
    first = stopping_distance(np.abs(v_1), response_time=response_time_1, accel_max=accel_max, brake=brake_min_correct)
    second = stopping_distance(np.abs(v_2), response_time=response_time_2, accel_max=accel_max, brake=brake_min)
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
) -> Float[Array, "..."]:
    """Gap (m) between two side by side, of whom the first is at the left (definition 6).

    Lateral speeds (m/s) are positive to the right. Both accelerate towards each other for the response time and
    then brake at ``brake_min``; ``fluctuation`` (m) is what either sways. ``response_time_right`` is of the right one
    where it differs.
    """
    other = response_time if response_time_right is None else response_time_right
    left = _towards(np.asarray(v_left, np.float64), response_time, accel_max, brake_min)
    right = _towards(-np.asarray(v_right, np.float64), other, accel_max, brake_min)
    return np.maximum(left + right + fluctuation, 0.0)


def _towards(v: Array, response_time: Number, accel_max: Number, brake_min: Number) -> Float[Array, "..."]:
    """Way (m) towards the other until nobody moves that way any more."""
    fastest = v + np.asarray(response_time) * accel_max
    way = v * response_time + 0.5 * np.asarray(accel_max) * np.asarray(response_time) ** 2
    return way + np.where(fastest > 0.0, fastest**2 / (2.0 * np.asarray(brake_min)), 0.0)


def time_to_cover(
    v: Number, distance: Number, *, response_time: Number, before: Number, after: Number
) -> Float[Array, "..."]:
    """Time (s) to cover a distance (m): acceleration ``before`` in the response time, ``after`` from then on.

    Infinite where it comes to rest first. Speeds do not become negative.
    """
    first, v_then, covered = _phase(np.asarray(v, np.float64), np.asarray(before), distance, np.asarray(response_time))
    left = np.asarray(distance, np.float64) - covered
    second, _, _ = _phase(v_then, np.asarray(after), left, np.asarray(np.inf))
    return np.where(np.isfinite(first), first, response_time + second)


def _phase(v: Array, a: Array, distance: Number, lasts: Array) -> tuple[Array, Array, Array]:
    """Time to the distance within a phase (infinite if not), and the speed and way at its end."""
    root = v * v + 2.0 * a * np.asarray(distance)
    when = np.where(
        np.abs(a) < 1e-12,
        np.divide(distance, v, out=np.full(np.broadcast(distance, v).shape, np.inf), where=v > 0.0),
        (np.sqrt(np.maximum(root, 0.0)) - v) / np.where(np.abs(a) < 1e-12, 1.0, a),
    )
    when = np.where((root < 0.0) | (np.asarray(distance) > 0.0) & (v <= 0.0) & (a <= 0.0), np.inf, when)
    when = np.where(np.asarray(distance) <= 0.0, 0.0, when)
    rest = np.where(a < 0.0, -v / np.where(a < 0.0, a, -1.0), np.inf)
    end = np.minimum(np.where(np.isfinite(lasts), lasts, 0.0), rest)
    return np.where(when <= lasts, when, np.inf), np.maximum(v + a * end, 0.0), v * end + 0.5 * a * end**2


def stops_before(v: Number, distance: Number, parameters: Parameters) -> Bool[Array, "..."]:
    """Whether one can stop before something ``distance`` (m) ahead."""
    p = parameters
    way = stopping_distance(v, response_time=p.response_time, accel_max=p.accel_max, brake=p.brake_min)
    return way + p.longitudinal_minimum < np.asarray(distance)


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
) -> Bool[Array, "..."]:
    """Whether two who cross each other's way are safe (definition 17 and ad-rss-lib's conditions).

    Safe is: one without priority (or either, where ``priority_1`` is None) can stop before the crossing; or the one
    ahead has left the other a safe longitudinal distance; or nobody can be there while the other is.

    Args:
        v_1: speed (m/s) of the first; ``v_2`` of the second.
        v_2: speed (m/s).
        enter_1: distance (m) of the first to the crossing; negative when it is in it.
        leave_1: distance (m) until it has left it.
        enter_2: as ``enter_1``.
        leave_2: as ``leave_1``.
        priority_1: whether the first has priority; None when neither has.
        parameters_1: what is taken for granted of the first.
        parameters_2: and of the second.
    """
    stop_1, stop_2 = stops_before(v_1, enter_1, parameters_1), stops_before(v_2, enter_2, parameters_2)
    stops = stop_1 | stop_2 if priority_1 is None else stop_2 if priority_1 else stop_1
    ahead = _in_front(v_1, v_2, leave_1, enter_2, parameters_2) | _in_front(v_2, v_1, leave_2, enter_1, parameters_1)
    soonest_1, last_1 = _occupation(v_1, enter_1, leave_1, parameters_1)
    soonest_2, last_2 = _occupation(v_2, enter_2, leave_2, parameters_2)
    return stops | ahead | (last_1 < soonest_2) | (last_2 < soonest_1)


def _in_front(v_front: Number, v_rear: Number, leave: Number, enter: Number, rear: Parameters) -> Bool[Array, "..."]:
    """Whether one is through before the other gets there, with a safe longitudinal distance between them."""
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


def _occupation(v: Number, enter: Number, leave: Number, p: Parameters) -> tuple[Array, Array]:
    """The soonest that one may enter (accelerating), and the latest that it may leave (braking for its life)."""
    soonest = time_to_cover(
        v, np.maximum(enter, 0.0), response_time=p.response_time, before=p.accel_max, after=p.accel_max
    )
    latest = time_to_cover(v, leave, response_time=p.response_time, before=-p.brake_max, after=-p.brake_min)
    return soonest, latest


@dataclass(frozen=True, eq=False)
class RssMargins:
    """Margins (m) of the gaps over their safe distances at each time, and whether both are gone: dangerous."""

    longitudinal: Float[Array, "... t"]
    lateral: Float[Array, "... t"]

    @property
    def dangerous(self) -> Bool[Array, "... t"]:
        """Both margins are gone (definition 8)."""
        return (self.longitudinal <= 0.0) & (self.lateral <= 0.0)

    @property
    def margin(self) -> Float[Array, "... t"]:
        """The larger of both: positive is safe."""
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
    """RSS margins of the ego with another on one road.

    ``gap`` and ``side_gap`` (m) are between the boxes, not more than 0 where they overlap in that direction. Speeds
    (m/s) along the road are positive the ego's way, lateral ones to the right. A negative ``v_other`` is opposite
    traffic, and the ego then is the one in its correct lane.
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
    facing = (v_other < 0.0) & ego_behind
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
    return RssMargins(gap - np.where(facing, opposite, same) - least, side_gap - side)


@dataclass(frozen=True, eq=False)
class Response:
    """What RSS asks of the ego at each time: bounds (m/s²) of its acceleration along and across.

    ``lateral_right`` bounds the acceleration to the right, ``lateral_left`` that to the left. NaN-free: where nothing
    is asked, they are the parameters' own maxima.
    """

    longitudinal_max: Float[Array, "... t"]
    longitudinal_min: Float[Array, "... t"]
    lateral_left_max: Float[Array, "... t"]
    lateral_right_max: Float[Array, "... t"]


def proper_response(
    danger: RssMargins,
    *,
    ego_left: Bool[Array, "... t"],
    facing: Bool[Array, "... t"] | None = None,
    ego_behind: Bool[Array, "... t"] | None = None,
    ego: Parameters = EGO,
) -> Response:
    """The proper response (definition 10): brake in the direction in which it became unsafe last.

    If the longitudinal distance was lost last, at most -``brake_min`` along (-``brake_min_correct`` against opposite
    traffic in the ego's own lane), unless the ego is the one in front; if the lateral one, at most
    -``lateral_brake_min`` towards the other. At the first time, where both may be lost already, both.
    """
    dangerous = danger.dangerous
    shape = dangerous.shape
    lost_along, lost_across = _since(danger.longitudinal <= 0.0), _since(danger.lateral <= 0.0)
    along, across = dangerous & (lost_along >= lost_across), dangerous & (lost_across >= lost_along)
    if ego_behind is not None:
        along = along & ego_behind
    brake = np.full(shape, ego.brake_min) if facing is None else np.where(facing, ego.brake_min_correct, ego.brake_min)
    return Response(
        longitudinal_max=np.where(along, -brake, ego.accel_max),
        longitudinal_min=np.full(shape, -ego.brake_max),
        lateral_left_max=np.where(across & ~ego_left, -ego.lateral_brake_min, ego.lateral_accel_max),
        lateral_right_max=np.where(across & ego_left, -ego.lateral_brake_min, ego.lateral_accel_max),
    )


def combined(response: Response, axis: int = 0) -> Response:
    """The response to several others at once: what all of them allow."""
    return Response(
        longitudinal_max=response.longitudinal_max.min(axis=axis),
        longitudinal_min=response.longitudinal_min.max(axis=axis),
        lateral_left_max=response.lateral_left_max.min(axis=axis),
        lateral_right_max=response.lateral_right_max.min(axis=axis),
    )


def _since(lost: Bool[Array, "... t"]) -> Array:
    """Step at which the present loss began, -1 where nothing is lost."""
    steps = np.arange(lost.shape[-1])
    kept_last = np.maximum.accumulate(np.where(lost, -1, steps), axis=-1)
    return np.where(lost, kept_last + 1, -1)
