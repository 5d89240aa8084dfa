"""Extended comfort: whether successive plans agree over the time that they share."""

import numpy as np
from jaxtyping import Float
from scipy.signal import savgol_filter

from alpamayo.metrics.comfort import MIN_SAMPLES, comfort
from alpamayo.validator.motions import MotionBatch, episode_of
from alpamayo.validator.recorded_states import TIME_STEP_TOLERANCE_S, decision_rows
from alpamayo.validator.rule import Rule
from alpamayo.validator.verdict import RuleResult, not_applicable
from alpamayo_sim.datatypes.decision import PLAN_DT
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import from_frame

Array = np.ndarray
BOUNDS = {"acceleration": 0.7, "jerk": 0.5, "yaw_rate": 0.1, "yaw_acceleration": 0.1}
"""RMS differences: m/s², m/s³, rad/s, rad/s² (NAVSIM)."""
MAX_INTERVAL_S = 0.55
"""Two plans that start further apart than this are not compared (NAVSIM)."""
YAW_FILTER_WINDOW, YAW_FILTER_ORDER = 5, 2
"""Filter of the yaw acceleration; in ``comfort`` the order is 3."""
PLAN_INTERVAL_S = 0.5
"""Between compared plans: NAVSIM's 2 Hz."""


def extended_comfort(
    earlier: Float[Array, "n 3"], later: Float[Array, "m 3"], interval: float, dt: float
) -> dict[str, float]:
    """Compute RMS differences of two plans over their common time, as parts of the bounds (NAVSIM's EC).

    Up to 1 is comfortable. The bounds: acceleration 0.7 m/s², jerk 0.5 m/s³, yaw rate 0.1 rad/s, yaw acceleration
    0.1 rad/s². The filters are those of ``comfort``; but the order of the yaw acceleration's is 2, as in NAVSIM.

    Args:
        earlier: poses of the first plan, every ``dt``.
        later: poses of the second plan, in the same frame.
        interval: time (s) from the start of the first plan to the start of the second.
        dt: s.

    Raises:
        InputError: plans more than 0.55 s apart, not after each other, or with too short a common time.
    """
    shift = round(interval / dt)
    if not 0.0 < interval < MAX_INTERVAL_S or shift < 1:
        raise InputError(f"extended comfort: plans are {interval} s apart, must be in (0, {MAX_INTERVAL_S})")
    common = min(len(earlier) - shift, len(later))
    if common < MIN_SAMPLES:
        raise InputError(f"extended comfort: plans have {common} common poses, need {MIN_SAMPLES}")
    a, b = (_quantities(np.asarray(plan, np.float64), dt) for plan in (earlier, later))
    return {
        name: float(np.sqrt(np.mean((a[name][shift : shift + common] - b[name][:common]) ** 2))) / bound
        for name, bound in BOUNDS.items()
    }


def extended_comfort_rule(motions: MotionBatch) -> RuleResult:
    """Compute the share of pairs of executed plans, half a second apart, that agree (NAVSIM: 0 or 1 for each pair)."""
    episode = episode_of(motions)
    plans, times = episode.executed, motions.times
    poses, rows = episode.ego_pose[: episode.steps], decision_rows(episode)
    stride = round(PLAN_INTERVAL_S / episode.dt)
    if len(plans) <= stride or abs(stride * episode.dt - PLAN_INTERVAL_S) > TIME_STEP_TOLERANCE_S:
        return not_applicable(1, "fewer than two plans half a second apart")
    world = [
        np.column_stack([from_frame(plan[:, :2], pose), plan[:, 2] + pose[2]])
        for plan, pose in zip(plans.astype(np.float64), poses.astype(np.float64), strict=True)
    ]
    margins = np.full(len(times), np.nan)
    for t in range(stride, len(plans), stride):
        worst = max(extended_comfort(world[t - stride], world[t], PLAN_INTERVAL_S, PLAN_DT).values())
        margins[rows[t]] = 1.0 - worst
    known = margins[~np.isnan(margins)]
    broken = margins < 0.0
    when = float(times[np.argmax(broken)]) if broken.any() else np.nan
    text = f"{int((known >= 0.0).sum())} of {len(known)} pairs of plans half a second apart agree"
    value = np.array([np.mean(known >= 0.0)])
    return RuleResult(value, np.array([known.min()]), np.ones(1, bool), np.array([when]), (text,), margins[None])


def _quantities(plan: Array, dt: float) -> dict[str, Array]:
    series = comfort(plan[:, :2], plan[:, 2], dt).series
    heading = np.unwrap(plan[:, 2])
    magnitude = np.hypot(series["longitudinal_acceleration"], series["lateral_acceleration"])
    return {
        "acceleration": magnitude,
        "jerk": series["jerk"],
        "yaw_rate": series["yaw_rate"],
        "yaw_acceleration": savgol_filter(heading, YAW_FILTER_WINDOW, YAW_FILTER_ORDER, deriv=2, delta=dt),
    }


RULES = (
    Rule(
        name="extended_comfort",
        unit="of the bound",
        summary="Successive plans, half a second apart, agree over their common time.",
        source="NAVSIM EC",
        evaluate=extended_comfort_rule,
        aliases=("ec", "two_frame_extended_comfort"),
        episode_only=True,
    ),
)
