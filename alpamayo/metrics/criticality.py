"""Criticality metrics: how near was it, in seconds, metres, m/s² and m/s. Floats or arrays, SI units.

One-dimensional metrics take the gap between bumpers (m), not between centres, and signed speeds and accelerations
along the lane; a braking lead has a negative one. What is not known (NaN) makes a metric NaN, never safe. Definitions
after Westhoff et al., "Criticality metrics for automated driving", 2021, and the sources named there;
docs/validator/differences.md says where ours differ from those of commonroad-crime.
"""

import numpy as np
from jaxtyping import Float, Float64
from scipy import stats

from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import box_distance, box_separation

Array = np.ndarray
Number = Float[Array, "..."] | float
BRAKE = 11.5  # m/s², commonroad-crime's
LATERAL = 8.0  # m/s²
KICKDOWN = 5.0  # m/s²


def ttc(gap: Number, v_ego: Number, v_lead: Number, a_ego: Number = 0.0, a_lead: Number = 0.0) -> Float[Array, "..."]:
    """Time to collision (s) with constant accelerations: first time that the gap is closed; infinite if never.

    gap + (v_lead - v_ego) t + (a_lead - a_ego) t² / 2 = 0 (Hayward, 1972; with acceleration, van der Horst, 1990).
    """
    d, dv, da = np.broadcast_arrays(
        *(np.asarray(x, np.float64) for x in (gap, _minus(v_lead, v_ego), _minus(a_lead, a_ego)))
    )
    root = dv * dv - 2.0 * d * da
    below = np.sqrt(np.maximum(root, 0.0)) - dv
    with np.errstate(over="ignore"):  # closing ever so slowly takes for ever
        time = np.divide(2.0 * d, below, out=np.full(d.shape, np.inf), where=~((root < 0.0) | (below <= 0.0)))
    return np.where(d <= 0.0, 0.0, time)


def thw(gap: Number, v_ego: Number) -> Float[Array, "..."]:
    """Time headway (s): until the ego's front is where the lead's rear is now; infinite for an ego that stands."""
    return _ratio(np.maximum(gap, 0.0), np.asarray(v_ego, np.float64), np.asarray(v_ego) > 0.0)


def drac(gap: Number, v_ego: Number, v_lead: Number) -> Float[Array, "..."]:
    """Deceleration rate to avoid a crash (m/s², positive): (v_ego - v_lead)² / (2 gap) while closing, else 0.

    Source: Almqvist et al., 1991. Infinite where the gap is gone.
    """
    closing = np.maximum(_minus(v_ego, v_lead), 0.0)
    needed = _ratio(closing**2, 2.0 * np.asarray(gap, np.float64), np.asarray(gap) > 0.0)
    return np.where(closing <= 0.0, 0.0, needed)


def longitudinal_acceleration_required(
    gap: Number, v_ego: Number, v_lead: Number, a_lead: Number = 0.0
) -> Float[Array, "..."]:
    """Acceleration (m/s², not positive) that just avoids the lead: min(a_lead - DRAC, 0)."""
    return np.minimum(np.asarray(a_lead) - drac(gap, v_ego, v_lead), 0.0)


def lateral_acceleration_required(
    time: Number, offset: Number, width_ego: Number, width_other: Number, v_side: Number = 0.0
) -> Float[Array, "..."]:
    """Lateral acceleration (m/s², positive) that clears the other's width by the time to collision.

    ``offset`` (m) is of the other's centre from the ego's, left positive; ``v_side`` (m/s) the other's lateral speed
    relative to the ego. The easier of left and right: 2 (way needed - offset - v_side t) / t². None is needed where
    the boxes will not meet sideways, or ``time`` is infinite.
    """
    t = np.asarray(time, np.float64)
    there = np.asarray(offset) + np.asarray(v_side) * np.where(np.isfinite(t), t, 0.0)
    need = 0.5 * (np.asarray(width_ego, np.float64) + width_other) - np.abs(there)
    return np.where(np.isinf(t) | (need <= 0.0), 0.0, _ratio(2.0 * need, t**2, t > 0.0))


def btn(gap: Number, v_ego: Number, v_lead: Number, a_lead: Number = 0.0, *, brake: float = BRAKE) -> Array:
    """Brake threat number: the longitudinal acceleration required as a part of what the brakes can do."""
    return -longitudinal_acceleration_required(gap, v_ego, v_lead, a_lead) / brake


def stn(
    time: Number,
    offset: Number,
    width_ego: Number,
    width_other: Number,
    v_side: Number = 0.0,
    *,
    lateral: float = LATERAL,
) -> Array:
    """Steer threat number: the lateral acceleration required as a part of what the tyres can do."""
    return lateral_acceleration_required(time, offset, width_ego, width_other, v_side) / lateral


def dst(gap: Number, v_ego: Number, v_lead: Number, *, safety_time: float = 2.0) -> Float[Array, "..."]:
    """Deceleration to safety time (m/s²): 3 (v_ego - v_lead)² / (2 (gap - v_lead t)), 0 while not closing.

    Source: Hupfer, 1997. Infinite where the lead is nearer than its safety time already.
    """
    closing = np.maximum(_minus(v_ego, v_lead), 0.0)
    room = np.asarray(gap, np.float64) - np.asarray(v_lead) * safety_time
    return np.where(closing <= 0.0, 0.0, _ratio(3.0 * closing**2, 2.0 * room, room > 0.0))


def msd(v_ego: Number, *, brake: float = BRAKE) -> Float[Array, "..."]:
    """Minimal stopping distance (m): v² / (2 brake)."""
    return np.asarray(v_ego, np.float64) ** 2 / (2.0 * brake)


def psd(remaining: Number, v_ego: Number, *, brake: float = BRAKE) -> Float[Array, "..."]:
    """Proportion of stopping distance: remaining distance to the conflict over the minimal stopping distance."""
    need = msd(v_ego, brake=brake)
    return _ratio(np.asarray(remaining, np.float64), need, need > 0.0)


def delta_v(mass_ego: Number, mass_other: Number, v_ego: Number, v_other: Number, angle: Number) -> Float[Array, "..."]:
    """Change of the ego's velocity (m/s) in a perfectly plastic crash; ``angle`` (rad) is between the velocities.

    m_other / (m_ego + m_other) * |v_ego - v_other| (Shelby, 2011).
    """
    ego, other = np.asarray(v_ego, np.float64), np.asarray(v_other, np.float64)
    relative = np.sqrt(np.maximum(ego**2 + other**2 - 2.0 * ego * other * np.cos(angle), 0.0))
    return np.asarray(mass_other) / (np.asarray(mass_ego, np.float64) + mass_other) * relative


def tet(times: Float[Array, "... t"], dt: float, *, threshold: float = 2.0) -> Float[Array, "..."]:
    """Time exposed to a time to collision of at most ``threshold`` (s) (Minderhoud and Bovy, 2001)."""
    known = np.asarray(times, np.float64)
    return dt * np.where(np.isnan(known), np.nan, known <= threshold).sum(axis=-1)


def tit(times: Float[Array, "... t"], dt: float, *, threshold: float = 2.0) -> Float[Array, "..."]:
    """Time-integrated time to collision (s²): how far below ``threshold`` and for how long."""
    return dt * np.maximum(threshold - np.asarray(times, np.float64), 0.0).sum(axis=-1)


def et(enter: Number, leave: Number) -> Float[Array, "..."]:
    """Encroachment time (s): how long somebody is in the conflict area."""
    return _minus(leave, enter)


def pet(leave_first: Number, enter_second: Number) -> Float[Array, "..."]:
    """Post-encroachment time (s): from the first leaving the conflict area to the second entering it.

    Negative where both are in it at once (Allen, Shin and Cooper, 1978).
    """
    return _minus(enter_second, leave_first)


def occupation(
    pose: Float[Array, "t 3"], size: Float[Array, "2"], area: Float[Array, "3"], area_size: Float[Array, "2"], dt: float
) -> tuple[float, float]:
    """When (s) a box enters and leaves a conflict area, itself a box; infinite where it never does."""
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
    a_ego: Number = BRAKE,
    a_other: Number = BRAKE,
) -> Float[Array, "..."]:
    """Worst time to collision (s): circles that move on while both accelerate towards each other as they can.

    |apart + velocity t| = radius + (a_ego + a_other) t² / 2, first t (Wachenfeld et al., 2016).

    Args:
        apart: position of the other less the ego's (m).
        velocity: the same of the velocities (m/s).
        radius: sum of both circles' radii (m).
        a_ego: the most that the ego can accelerate in any direction (m/s²).
        a_other: and the other.
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
) -> Float[Array, "..."]:
    """Distance of closest encounter (m) of two moving boxes; negative is their depth of overlap (Eggert, 2014)."""
    return box_distance(pose_ego, np.asarray(size_ego), pose_other, np.asarray(size_other)).min(axis=-1)


def ttce(
    pose_ego: Float[Array, "... t 3"],
    size_ego: Array,
    pose_other: Float[Array, "... t 3"],
    size_other: Array,
    dt: float,
) -> Float[Array, "..."]:
    """Time to the closest encounter (s) of two moving boxes; to the first contact where they touch."""
    distance = box_distance(pose_ego, np.asarray(size_ego), pose_other, np.asarray(size_other))
    touching = distance < 0.0
    step = np.where(touching.any(axis=-1), np.argmax(touching, axis=-1), np.argmin(distance, axis=-1))
    return np.where(np.isnan(distance).any(axis=-1), np.nan, dt * step)


def cpi(required: Float[Array, "... t"], dt: float) -> Float[Array, "..."]:
    """Crash potential index: part of the time weighted by P(the brakes are worse than the deceleration required).

    The brakes' limit is normal with mean 8.45 and deviation 1.40 m/s², cut off at 4.23 and 12.68 (Cunto, 2008).
    """
    del dt  # the part of equal steps does not depend on their length
    low, high = (4.23 - 8.45) / 1.40, (12.68 - 8.45) / 1.40
    return stats.truncnorm.cdf(np.asarray(required, np.float64), low, high, loc=8.45, scale=1.40).mean(axis=-1)


def ttb(
    pose: Float[Array, "t 3"],
    speed: Float[Array, " t"],
    size: Array,
    others: Float[Array, "a t 3"],
    sizes: Float[Array, "a 2"],
    dt: float,
    *,
    brake: float = BRAKE,
) -> float:
    """Time to brake (s): latest time at which full braking along the path still avoids all others (Hillenbrand, 2006).

    Infinite where nothing is met anyway, negative infinite where it is too late already.
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
    kickdown: float = KICKDOWN,
) -> float:
    """Time to kickdown (s): latest time at which full throttle along the path still avoids all others."""
    return _latest(_along(pose, speed, dt, kickdown), pose, size, others, sizes, dt)


def tts(
    pose: Float[Array, "t 3"],
    speed: Float[Array, " t"],
    size: Array,
    others: Float[Array, "a t 3"],
    sizes: Float[Array, "a 2"],
    dt: float,
    *,
    lateral: float = LATERAL,
) -> float:
    """Time to steer (s): latest time at which swerving left or right, at the same speed, still avoids all others."""
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
    brake: float = BRAKE,
    lateral: float = LATERAL,
    kickdown: float = KICKDOWN,
) -> float:
    """Time to react (s): the latest of time to brake, to steer and to kickdown."""
    where = (pose, speed, size, others, sizes, dt)
    times = ttb(*where, brake=brake), tts(*where, lateral=lateral), ttk(*where, kickdown=kickdown)
    return float(np.max(times))


def _latest(
    manoeuvres: Float64[Array, "s t 3"], pose: Array, size: Array, others: Array, sizes: Array, dt: float
) -> float:
    """Latest start of a manoeuvre (row s starts at step s) that meets nobody, before the motion itself does."""
    own, box = np.asarray(pose, np.float64), np.asarray(size, np.float64)
    if any(np.isnan(known).any() for known in (own, manoeuvres, others)):
        return np.nan
    meets = (box_separation(own[None], box, others, sizes[:, None]) < 0.0).any(axis=0)
    if not meets.any():
        return np.inf
    until = int(np.argmax(meets))
    hit = (box_separation(manoeuvres[:, None], box, others[None], sizes[None, :, None]) < 0.0).any(axis=(1, 2))
    free = np.flatnonzero(~hit[: until + 1])
    return float(free[-1] * dt) if len(free) else -np.inf


def _along(pose: Array, speed: Array, dt: float, acceleration: float) -> Float64[Array, "t t 3"]:
    """The path driven as it was up to step s and from then on with an acceleration (m/s²), straight on at its end."""
    pose, speed = np.asarray(pose, np.float64), np.asarray(speed, np.float64)
    steps = np.arange(len(pose))
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(pose[:, :2], axis=0), axis=1))])
    t = np.maximum(steps[None] - steps[:, None], 0) * dt
    if acceleration < 0.0:
        t = np.minimum(t, speed[:, None] / -acceleration)
    s = way[:, None] + speed[:, None] * t + 0.5 * acceleration * t**2
    s = np.where(steps[None] <= steps[:, None], way[None], s)
    heading = np.unwrap(pose[:, 2])
    knots = way + 1e-9 * steps
    x, y, h = (np.interp(s, knots, values) for values in (pose[:, 0], pose[:, 1], heading))
    over = np.maximum(s - knots[-1], 0.0)
    return np.stack([x + over * np.cos(heading[-1]), y + over * np.sin(heading[-1]), h], axis=-1)


def _swerves(pose: Array, speed: Array, dt: float, lateral: float) -> Float64[Array, "t t 3"]:
    """The motion up to step s and from then on an arc of that lateral acceleration (m/s², left positive)."""
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


def _minus(a: Number, b: Number) -> Array:
    return np.asarray(a, np.float64) - np.asarray(b, np.float64)


def _ratio(top: Array, bottom: Array, where: Array) -> Float64[Array, "..."]:
    """Top / bottom where that is allowed, else infinite; NaN where one of them is."""
    top, bottom, where = np.broadcast_arrays(np.asarray(top, np.float64), np.asarray(bottom, np.float64), where)
    with np.errstate(over="ignore"):
        return np.divide(top, bottom, out=np.full(top.shape, np.inf), where=where | np.isnan(top) | np.isnan(bottom))
