"""Extended comfort: do successive plans agree about what they share?"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from scipy.signal import savgol_filter

from alpamayo.metrics.comfort import FEWEST, comfort
from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.verdict import RuleResult, not_applicable
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import from_frame

if TYPE_CHECKING:
    from alpamayo.episode import Episode

Array = np.ndarray
BOUNDS = {"acceleration": 0.7, "jerk": 0.5, "yaw_rate": 0.1, "yaw_acceleration": 0.1}
LONGEST = 0.55  # s; NAVSIM's
WINDOW, ORDER = 5, 2  # of the yaw acceleration's filter; in ``comfort`` the order is 3
FRAME = 5  # steps between the plans that are compared: NAVSIM's 2 Hz


def extended_comfort(
    earlier: Float[Array, "t 3"], later: Float[Array, "t 3"], apart: float, dt: float
) -> dict[str, float]:
    """RMS differences of two plans over the time that they share (NAVSIM's EC), as parts of their bounds.

    Both are poses in one frame, sampled every ``dt`` (s); the later one begins ``apart`` (s) after the earlier. The
    bounds: |a| 0.7 m/s², jerk 0.5 m/s³, yaw rate 0.1 rad/s, yaw acceleration 0.1 rad/s². Up to 1 is comfortable. The
    filters are those of ``comfort``, but for that of the yaw acceleration, whose order is 2 here (NAVSIM's).

    Raises:
        InputError: plans more than 0.55 s apart, not after each other, or too short to share anything.
    """
    shift = round(apart / dt)
    if not 0.0 < apart < LONGEST or shift < 1:
        raise InputError(f"extended comfort: plans are {apart} s apart, must be in (0, {LONGEST})")
    shared = min(len(earlier) - shift, len(later))
    if shared < FEWEST:
        raise InputError(f"extended comfort: plans share {shared} poses, needs {FEWEST}")
    a, b = (_quantities(np.asarray(plan, np.float64), dt) for plan in (earlier, later))
    return {
        name: float(np.sqrt(np.mean((a[name][shift : shift + shared] - b[name][:shared]) ** 2))) / bound
        for name, bound in BOUNDS.items()
    }


def extended_comfort_rule(episode: "Episode", motions: MotionBatch) -> RuleResult:
    """Part of the pairs of driven plans, half a second apart, that agree (NAVSIM's EC of each pair is 0 or 1)."""
    name, plans, times = "extended_comfort", episode.executed, motions.times
    poses, dt = episode.ego_pose[: episode.steps], episode.dt
    if len(plans) <= FRAME or abs(dt - 0.1) > 1e-6:
        return not_applicable(name, "of the bound", 1, "fewer than two plans half a second apart")
    world = [
        np.column_stack([from_frame(plan[:, :2], pose), plan[:, 2] + pose[2]])
        for plan, pose in zip(plans.astype(np.float64), poses.astype(np.float64), strict=True)
    ]
    margins = np.full(len(times), np.nan)
    for t in range(FRAME, len(plans), FRAME):
        worst = max(extended_comfort(world[t - FRAME], world[t], FRAME * dt, dt).values())
        margins[t] = 1.0 - worst
    known = margins[~np.isnan(margins)]
    broken = margins < 0.0
    when = float(times[np.argmax(broken)]) if broken.any() else np.nan
    text = f"{int((known >= 0.0).sum())} of {len(known)} pairs of plans half a second apart agree"
    value = np.array([np.mean(known >= 0.0)])
    one = np.ones(1, bool)
    return RuleResult(
        name, "of the bound", value, np.array([known.min()]), one, np.array([when]), (text,), margins[None]
    )


def _quantities(plan: Array, dt: float) -> dict[str, Array]:
    series = comfort(plan[:, :2], plan[:, 2], dt).series
    heading = np.unwrap(plan[:, 2])
    magnitude = np.hypot(series["longitudinal_acceleration"], series["lateral_acceleration"])
    return {
        "acceleration": magnitude,
        "jerk": series["jerk"],
        "yaw_rate": series["yaw_rate"],
        "yaw_acceleration": savgol_filter(heading, WINDOW, ORDER, deriv=2, delta=dt),
    }
