"""Criticality metrics in seconds, metres, m/s² and m/s; inputs are floats or arrays in SI units.

One-dimensional metrics take the gap between bumpers (m), not between centres, and signed speeds and accelerations
along the lane: a braking lead has a negative acceleration. NaN inputs give NaN, never a safe value. Definitions after
Westhoff et al., "Criticality metrics for automated driving", 2021, and the sources named there.
docs/validator/library.md has examples, docs/validator/differences.md the differences from commonroad-crime.
"""

import numpy as np
from jaxtyping import Float, Float64
from scipy import stats

from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import box_distance, box_separation

Array = np.ndarray
Number = Float[Array, "..."] | float
"""An array, or one number: results are one number where all inputs are."""
BRAKE_MPS2 = 11.5
"""Full braking (commonroad-crime)."""
LATERAL_MPS2 = 8.0
"""Hardest swerve."""
KICKDOWN_MPS2 = 5.0
"""Full throttle."""
BRAKE_LIMIT_MEAN_MPS2, BRAKE_LIMIT_DEVIATION_MPS2 = 8.45, 1.40
BRAKE_LIMIT_RANGE_MPS2 = (4.23, 12.68)
"""The brakes' limit in ``cpi``: a normal distribution, cut off at the range (Cunto, 2008)."""


def ttc(gap: Number, v_ego: Number, v_lead: Number, a_ego: Number = 0.0, a_lead: Number = 0.0) -> Number:
    """Compute the time to collision (s) at constant accelerations: first time at which the gap is 0; infinite if never.

    gap + (v_lead - v_ego) t + (a_lead - a_ego) t² / 2 = 0 (Hayward, 1972; with acceleration, van der Horst, 1990).
    """
    d, dv, da = np.broadcast_arrays(
        *(np.asarray(x, np.float64) for x in (gap, _minus(v_lead, v_ego), _minus(a_lead, a_ego)))
    )
    root = dv * dv - 2.0 * d * da
    below = np.sqrt(np.maximum(root, 0.0)) - dv
    with np.errstate(over="ignore"):  # a closing speed near 0 gives infinity
        time = np.divide(2.0 * d, below, out=np.full(d.shape, np.inf), where=~((root < 0.0) | (below <= 0.0)))
    return np.where(d <= 0.0, 0.0, time)


def thw(gap: Number, v_ego: Number) -> Number:
    """Compute the time headway (s): until the ego's front is at the lead's present rear; infinite for a stopped ego."""
    return _ratio(np.maximum(gap, 0.0), np.asarray(v_ego, np.float64), np.asarray(v_ego) > 0.0)


def drac(gap: Number, v_ego: Number, v_lead: Number) -> Number:
    """Compute the deceleration rate to avoid a crash (m/s², positive): (v_ego - v_lead)² / (2 gap) if closing, else 0.

    Infinite without a gap. Source: Almqvist et al., 1991.
    """
    closing = np.maximum(_minus(v_ego, v_lead), 0.0)
    needed = _ratio(closing**2, 2.0 * np.asarray(gap, np.float64), np.asarray(gap) > 0.0)
    return np.where(closing <= 0.0, 0.0, needed)


def longitudinal_acceleration_required(gap: Number, v_ego: Number, v_lead: Number, a_lead: Number = 0.0) -> Number:
    """Compute the acceleration (m/s², not positive) that just avoids the lead: min(a_lead - DRAC, 0)."""
    return np.minimum(np.asarray(a_lead) - drac(gap, v_ego, v_lead), 0.0)


def lateral_acceleration_required(
    time: Number, offset: Number, width_ego: Number, width_other: Number, v_side: Number = 0.0
) -> Number:
    """Compute the lateral acceleration (m/s², positive) that clears the other's width by the time to collision.

    ``offset`` (m) is that of the other's centre from the ego's, left positive; ``v_side`` (m/s) is the other's lateral
    speed relative to the ego. The easier side counts: 2 (half widths - |offset + v_side t|) / t². It is 0 where the
    boxes will not overlap laterally, or ``time`` is infinite.
    """
    t = np.asarray(time, np.float64)
    final_offset = np.asarray(offset) + np.asarray(v_side) * np.where(np.isfinite(t), t, 0.0)
    need = 0.5 * (np.asarray(width_ego, np.float64) + width_other) - np.abs(final_offset)
    return np.where(np.isinf(t) | (need <= 0.0), 0.0, _ratio(2.0 * need, t**2, t > 0.0))


def btn(gap: Number, v_ego: Number, v_lead: Number, a_lead: Number = 0.0, *, brake: float = BRAKE_MPS2) -> Number:
    """Compute the brake threat number: the longitudinal acceleration required over full braking."""
    return -longitudinal_acceleration_required(gap, v_ego, v_lead, a_lead) / brake


def stn(
    time: Number,
    offset: Number,
    width_ego: Number,
    width_other: Number,
    v_side: Number = 0.0,
    *,
    lateral: float = LATERAL_MPS2,
) -> Number:
    """Compute the steer threat number: the lateral acceleration required over the hardest swerve."""
    return lateral_acceleration_required(time, offset, width_ego, width_other, v_side) / lateral


def dst(gap: Number, v_ego: Number, v_lead: Number, *, safety_time: float = 2.0) -> Number:
    """Compute the deceleration to safety time (m/s²): 3 (v_ego - v_lead)² / (2 (gap - v_lead t)), 0 if not closing.

    Infinite where the gap is already shorter than the safety time. Source: Hupfer, 1997.
    """
    closing = np.maximum(_minus(v_ego, v_lead), 0.0)
    distance = np.asarray(gap, np.float64) - np.asarray(v_lead) * safety_time
    return np.where(closing <= 0.0, 0.0, _ratio(3.0 * closing**2, 2.0 * distance, distance > 0.0))


def msd(v_ego: Number, *, brake: float = BRAKE_MPS2) -> Number:
    """Compute the minimal stopping distance (m): v² / (2 brake)."""
    return np.asarray(v_ego, np.float64) ** 2 / (2.0 * brake)


def psd(remaining: Number, v_ego: Number, *, brake: float = BRAKE_MPS2) -> Number:
    """Compute the proportion of stopping distance: distance to the conflict over the minimal stopping distance."""
    need = np.asarray(msd(v_ego, brake=brake))
    return _ratio(np.asarray(remaining, np.float64), need, need > 0.0)


def delta_v(mass_ego: Number, mass_other: Number, v_ego: Number, v_other: Number, angle: Number) -> Number:
    """Compute the change of the ego's velocity (m/s) in a plastic crash; ``angle`` (rad) is between the velocities.

    m_other / (m_ego + m_other) * |v_ego - v_other| (Shelby, 2011).
    """
    ego, other = np.asarray(v_ego, np.float64), np.asarray(v_other, np.float64)
    relative = np.sqrt(np.maximum(ego**2 + other**2 - 2.0 * ego * other * np.cos(angle), 0.0))
    return np.asarray(mass_other) / (np.asarray(mass_ego, np.float64) + mass_other) * relative


def tet(times: Float[Array, "... t"], dt: float, *, threshold: float = 2.0) -> Number:
    """Compute the time (s) with a time to collision of at most ``threshold`` (s) (Minderhoud and Bovy, 2001)."""
    known = np.asarray(times, np.float64)
    return dt * np.where(np.isnan(known), np.nan, known <= threshold).sum(axis=-1)


def tit(times: Float[Array, "... t"], dt: float, *, threshold: float = 2.0) -> Number:
    """Compute the time-integrated time to collision (s²): the integral of ``threshold`` - TTC where it is positive."""
    return dt * np.maximum(threshold - np.asarray(times, np.float64), 0.0).sum(axis=-1)


def et(enter: Number, leave: Number) -> Number:
    """Compute the encroachment time (s): the duration of a road user in the conflict area.

    Raises:
        InputError: a road user that is never in the area (both times are infinite), or leaves it before it enters.
    """
    duration = _duration("et", enter, leave)
    if np.any(np.asarray(duration) < 0.0):
        raise InputError("et: a road user leaves the area before it enters")
    return duration


def pet(leave_first: Number, enter_second: Number) -> Number:
    """Compute the post-encroachment time (s): from the first leaving the conflict area to the second entering it.

    Negative where both are in it together (Allen, Shin and Cooper, 1978).

    Raises:
        InputError: neither road user is ever in the area (both times are infinite).
    """
    return _duration("pet", leave_first, enter_second)


def ttz(distance: Number, v_ego: Number) -> Number:
    """Compute the time to a zebra crossing (s): distance (m) over speed; infinite at rest (Varhelyi, 1998)."""
    return _ratio(np.maximum(distance, 0.0), np.asarray(v_ego, np.float64), np.asarray(v_ego) > 0.0)


def conflict_index(delta_energy: Number, post_encroachment: Number, *, alpha: float = 1.0, beta: float = 1.0) -> Number:
    """Compute the conflict index (CI): alpha * change of kinetic energy (J) / exp(beta * PET).

    ``alpha`` (the part of the energy that reaches the occupants) and ``beta`` (1/s) are calibrated; there are no common
    values. Source: Alhajyaseen, "The integration of conflict probability and severity", 2015.
    """
    return alpha * np.abs(np.asarray(delta_energy, np.float64)) / np.exp(beta * np.asarray(post_encroachment))


def soi(
    pose_ego: Float[Array, "t 3"], space_ego: Array, poses: Float[Array, "a t 3"], spaces: Float[Array, "a 2"]
) -> float:
    """Compute the space occupancy index (SOI): how often a personal space is entered, over all others and times.

    A personal space is a box about a road user: its length and width (m) with the distances that it keeps. Source:
    Tsukaguchi and Mori, 1987; Ogawa, "An analysis on traffic conflict points", 2007.
    """
    own, others = np.asarray(pose_ego, np.float64), np.asarray(poses, np.float64)
    inside = box_separation(own[None], np.asarray(space_ego), others, np.asarray(spaces)[:, None]) < 0.0
    return float(inside.sum())


def longitudinal_jerk(acceleration: Float[Array, "... t"], dt: float) -> Number:
    """Compute LongJ (m/s³): the greatest change of the longitudinal acceleration (m/s²) per time (s)."""
    return np.abs(np.gradient(np.asarray(acceleration, np.float64), dt, axis=-1)).max(axis=-1)


def lateral_jerk(acceleration: Float[Array, "... t"], dt: float) -> Number:
    """Compute LatJ (m/s³): the greatest change of the lateral acceleration (m/s²) per time (s)."""
    return longitudinal_jerk(acceleration, dt)


def occupation(
    pose: Float[Array, "t 3"], size: Float[Array, "2"], area: Float[Array, "3"], area_size: Float[Array, "2"], dt: float
) -> tuple[float, float]:
    """Compute when (s) a box enters and leaves a conflict area, which is a box; infinite where it never does."""
    inside = box_separation(np.asarray(pose, np.float64), np.asarray(size, np.float64), area, area_size) < 0.0
    if np.isnan(pose).any():
        return np.nan, np.nan
    steps = np.flatnonzero(inside)
    return (float(steps[0] * dt), float((steps[-1] + 1) * dt)) if len(steps) else (np.inf, np.inf)


def wttc(
    apart: Float[Array, "... 2"],
    velocity: Float[Array, "... 2"],
    radius: Number,
    *,
    a_ego: Number = BRAKE_MPS2,
    a_other: Number = BRAKE_MPS2,
) -> Number:
    """Compute the worst time to collision (s): of circles that accelerate towards each other as hard as they can.

    |apart + velocity t| = radius + (a_ego + a_other) t² / 2, first t (Wachenfeld et al., 2016).

    Args:
        apart: position of the other less that of the ego (m).
        velocity: velocity of the other less that of the ego (m/s).
        radius: sum of both radii (m).
        a_ego: largest acceleration of the ego in any direction (m/s²).
        a_other: largest acceleration of the other (m/s²).
    """
    p, v = np.asarray(apart, np.float64), np.asarray(velocity, np.float64)
    shape = np.broadcast_shapes(p.shape[:-1], v.shape[:-1], np.shape(radius))
    reach = np.broadcast_to(np.asarray(radius, np.float64), shape)
    half = np.broadcast_to(0.5 * (np.asarray(a_ego, np.float64) + a_other), shape)
    if np.any(half <= 0.0):
        raise InputError("wttc: the accelerations must be positive")
    pp, pv, vv = (np.broadcast_to((x * y).sum(axis=-1), shape) for x, y in ((p, p), (p, v), (v, v)))
    # half² t⁴ + (2 half radius - vv) t² - 2 pv t + radius² - pp = 0
    companion = np.zeros((*shape, 4, 4))
    companion[..., [1, 2, 3], [0, 1, 2]] = 1.0
    lead = half**2
    companion[..., 0, 3] = -(reach**2 - pp) / lead
    companion[..., 1, 3] = 2.0 * pv / lead
    companion[..., 2, 3] = -(2.0 * half * reach - vv) / lead
    unknown = np.isnan(companion).any(axis=(-2, -1))
    roots = np.linalg.eigvals(np.where(unknown[..., None, None], 0.0, companion))
    real = np.where((np.abs(roots.imag) < 1e-6 * (1.0 + np.abs(roots))) & (roots.real > 0.0), roots.real, np.inf)
    return np.where(unknown, np.nan, np.where(pp <= reach**2, 0.0, real.min(axis=-1)))


def dce(
    pose_ego: Float[Array, "... t 3"], size_ego: Array, pose_other: Float[Array, "... t 3"], size_other: Array
) -> Number:
    """Compute the distance of closest encounter (m) of two moving boxes; negative is the overlap (Eggert, 2014)."""
    return box_distance(pose_ego, np.asarray(size_ego), pose_other, np.asarray(size_other)).min(axis=-1)


def ttce(
    pose_ego: Float[Array, "... t 3"],
    size_ego: Array,
    pose_other: Float[Array, "... t 3"],
    size_other: Array,
    dt: float,
) -> Number:
    """Compute the time to the closest encounter (s) of two moving boxes; to the first contact where they touch."""
    distance = box_distance(pose_ego, np.asarray(size_ego), pose_other, np.asarray(size_other))
    touching = distance < 0.0
    step = np.where(touching.any(axis=-1), np.argmax(touching, axis=-1), np.argmin(distance, axis=-1))
    return np.where(np.isnan(distance).any(axis=-1), np.nan, dt * step)


def cpi(required: Float[Array, "... t"], dt: float) -> Number:
    """Compute the crash potential index: the mean probability that the brakes cannot give the required deceleration.

    The brakes' limit is normal with mean 8.45 and deviation 1.40 m/s², cut off at 4.23 and 12.68 (Cunto, 2008).
    """
    del dt  # the mean over equal steps does not depend on their length
    mean, deviation = BRAKE_LIMIT_MEAN_MPS2, BRAKE_LIMIT_DEVIATION_MPS2
    low, high = ((limit - mean) / deviation for limit in BRAKE_LIMIT_RANGE_MPS2)
    return stats.truncnorm.cdf(np.asarray(required, np.float64), low, high, loc=mean, scale=deviation).mean(axis=-1)


def ttb(
    pose: Float[Array, "t 3"],
    speed: Float[Array, " t"],
    size: Array,
    others: Float[Array, "a t 3"],
    sizes: Float[Array, "a 2"],
    dt: float,
    *,
    brake: float = BRAKE_MPS2,
) -> float:
    """Compute the time to brake (s): latest start of full braking along the path that avoids all others.

    Infinite without a collision, minus infinity where it is too late (Hillenbrand, 2006).
    """
    return _latest(_along(pose, speed, dt, -brake), pose, size, others, sizes, dt)


def ttk(
    pose: Float[Array, "t 3"],
    speed: Float[Array, " t"],
    size: Array,
    others: Float[Array, "a t 3"],
    sizes: Float[Array, "a 2"],
    dt: float,
    *,
    kickdown: float = KICKDOWN_MPS2,
) -> float:
    """Compute the time to kickdown (s): latest start of full throttle along the path that avoids all others."""
    return _latest(_along(pose, speed, dt, kickdown), pose, size, others, sizes, dt)


def tts(
    pose: Float[Array, "t 3"],
    speed: Float[Array, " t"],
    size: Array,
    others: Float[Array, "a t 3"],
    sizes: Float[Array, "a 2"],
    dt: float,
    *,
    lateral: float = LATERAL_MPS2,
) -> float:
    """Compute the time to steer (s): latest start of a swerve to either side that avoids all others."""
    left, right = (_swerves(pose, speed, dt, side * lateral) for side in (1.0, -1.0))
    return float(np.max([_latest(swerves, pose, size, others, sizes, dt) for swerves in (left, right)]))


def ttr(
    pose: Float[Array, "t 3"],
    speed: Float[Array, " t"],
    size: Array,
    others: Float[Array, "a t 3"],
    sizes: Float[Array, "a 2"],
    dt: float,
    *,
    brake: float = BRAKE_MPS2,
    lateral: float = LATERAL_MPS2,
    kickdown: float = KICKDOWN_MPS2,
) -> float:
    """Compute the time to react (s): the latest of time to brake, time to steer and time to kickdown."""
    motion = (pose, speed, size, others, sizes, dt)
    times = ttb(*motion, brake=brake), tts(*motion, lateral=lateral), ttk(*motion, kickdown=kickdown)
    return float(np.max(times))


def _latest(
    manoeuvres: Float64[Array, "s t 3"], pose: Array, size: Array, others: Array, sizes: Array, dt: float
) -> float:
    """Find the latest start of a manoeuvre (row s starts at step s) without a collision, before that of the motion."""
    own, box = np.asarray(pose, np.float64), np.asarray(size, np.float64)
    if any(np.isnan(known).any() for known in (own, manoeuvres, others)):
        return np.nan
    collides = (box_separation(own[None], box, others, sizes[:, None]) < 0.0).any(axis=0)
    if not collides.any():
        return np.inf
    until = int(np.argmax(collides))
    manoeuvres = manoeuvres[: until + 1]
    hit = (box_separation(manoeuvres[:, None], box, others[None], sizes[None, :, None]) < 0.0).any(axis=(1, 2))
    free = np.flatnonzero(~hit)
    return float(free[-1] * dt) if len(free) else -np.inf


def _along(pose: Array, speed: Array, dt: float, acceleration: float) -> Float64[Array, "t t 3"]:
    """Return motions along the path, from step s on with an acceleration (m/s²); straight on after its end."""
    pose, speed = np.asarray(pose, np.float64), np.asarray(speed, np.float64)
    steps = np.arange(len(pose))
    arc_length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(pose[:, :2], axis=0), axis=1))])
    t = np.maximum(steps[None] - steps[:, None], 0) * dt
    if acceleration < 0.0:
        t = np.minimum(t, speed[:, None] / -acceleration)
    s = arc_length[:, None] + speed[:, None] * t + 0.5 * acceleration * t**2
    s = np.where(steps[None] <= steps[:, None], arc_length[None], s)
    heading = np.unwrap(pose[:, 2])
    knots = arc_length + 1e-9 * steps
    x, y, h = (np.interp(s, knots, values) for values in (pose[:, 0], pose[:, 1], heading))
    over = np.maximum(s - knots[-1], 0.0)
    return np.stack([x + over * np.cos(heading[-1]), y + over * np.sin(heading[-1]), h], axis=-1)


def _swerves(pose: Array, speed: Array, dt: float, lateral: float) -> Float64[Array, "t t 3"]:
    """Return the motions that turn, from step s on, into an arc of a lateral acceleration (m/s², left positive)."""
    pose, speed = np.asarray(pose, np.float64), np.asarray(speed, np.float64)
    steps = np.arange(len(pose))
    t = np.maximum(steps[None] - steps[:, None], 0) * dt
    rate = (lateral / np.maximum(speed, 1.0))[:, None]
    turned = rate * t
    ahead, left = speed[:, None] * np.sin(turned) / rate, speed[:, None] * (1.0 - np.cos(turned)) / rate
    c, s = np.cos(pose[:, 2])[:, None], np.sin(pose[:, 2])[:, None]
    arc = np.stack(
        [pose[:, :1] + c * ahead - s * left, pose[:, 1:2] + s * ahead + c * left, pose[:, 2:] + turned], axis=-1
    )
    return np.where((steps[None] <= steps[:, None])[..., None], pose[None], arc)


def _duration(what: str, start: Number, end: Number) -> Number:
    """Compute end - start (s), of which one may be infinite."""
    both = np.isinf(np.asarray(start)) & (np.asarray(start) == np.asarray(end))
    if np.any(both):
        raise InputError(f"{what}: both times are infinite: without a conflict there is no such time")
    return _minus(end, start)


def _minus(a: Number, b: Number) -> Array:
    return np.asarray(a, np.float64) - np.asarray(b, np.float64)


def _ratio(top: Array, bottom: Array, where: Array) -> Float64[Array, "..."]:
    """Compute top / bottom where ``where`` is set, else infinity; NaN where one of both is NaN."""
    top, bottom, where = np.broadcast_arrays(np.asarray(top, np.float64), np.asarray(bottom, np.float64), where)
    with np.errstate(over="ignore"):
        return np.divide(top, bottom, out=np.full(top.shape, np.inf), where=where | np.isnan(top) | np.isnan(bottom))
