"""Drivable area: the whole box stays on the road."""

import numpy as np
from jaxtyping import Float64

from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.packed import ego_boxes
from alpamayo.validator.verdict import Reasons, RuleResult, first_time, not_applicable

Array = np.ndarray
FURTHEST = 5.0  # m; more room than this is not told apart


def drivable_area(motions: MotionBatch, *, allowed: float = 0.0, name: str = "drivable_area") -> RuleResult:
    """Every corner of the box is in the drivable area at all times (NAVSIM's DAC): 1, else 0.

    The margin is the least distance (m) of a corner to the border, positive inside. ``allowed`` (m) is how far
    a corner may be outside; nuPlan's DAC allows 0.3 m.
    """
    if not motions.map_index.drivable_area.is_defined:
        return not_applicable(name, "m", motions.count, "the map has no drivable area")
    margins = motions.cached(corner_margins) + allowed
    margin = margins.min(axis=1)
    when = first_time(margins < 0.0, motions.times)
    reasons = Reasons(motions.count, lambda k: _reason(float(when[k]), float(margin[k]), allowed))
    value = (margin >= 0.0).astype(np.float64)
    return RuleResult(name, "m", value, margin, np.ones(motions.count, bool), when, reasons, margins)


def drivable_area_tolerant(motions: MotionBatch) -> RuleResult:
    """The drivable area as nuPlan has it: a corner may be up to 0.3 m outside."""
    return drivable_area(motions, allowed=0.3, name="drivable_area_nuplan")


def drivable_area_value(motions: MotionBatch) -> Float64[Array, " k"]:
    """The value of ``drivable_area``, NaN where there is none."""
    if not motions.map_index.drivable_area.is_defined:
        return np.full(motions.count, np.nan)
    return (motions.cached(corner_margins).min(axis=1) >= 0.0).astype(np.float64)


def corner_margins(motions: MotionBatch) -> Float64[Array, "k t"]:
    """Distance (m) of the outermost corner of the ego's box to the border, positive inside, at most ``FURTHEST``."""
    area = motions.map_index.drivable_area
    return area.box_margin(motions.cached(ego_boxes), motions.size, FURTHEST)


def _reason(at: float, margin: float, allowed: float) -> str:
    least = margin - allowed
    if margin < 0.0:
        more = f", first by more than {allowed:g} m" if allowed else ""
        return f"leaves the drivable area{more} at {at:.1f} s, by up to {-least:.2f} m"
    if least < 0.0:
        return f"up to {-least:.2f} m outside of the drivable area, {allowed:g} m are allowed"
    if least >= FURTHEST:
        return f"at least {FURTHEST:.0f} m to the edge of the drivable area"
    return f"{least:.2f} m to the edge of the drivable area"
