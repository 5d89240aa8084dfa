"""Drivable area: the whole box stays on the road."""

import numpy as np
from jaxtyping import Float64

from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.packed import ego_boxes
from alpamayo.validator.rule import Rule
from alpamayo.validator.verdict import Reasons, RuleResult, first_time, not_applicable

Array = np.ndarray
ROAD_MARGIN_LIMIT_M = 5.0
"""Distances to the road's edge are computed up to this."""
NUPLAN_TOLERANCE_M = 0.3
"""A corner may be this far outside in nuPlan's definition."""


def drivable_area(motions: MotionBatch, *, tolerance_m: float = 0.0) -> RuleResult:
    """Judge whether every corner of the box is in the drivable area at all times: 1, else 0.

    The margin is the least distance (m) of a corner to the edge, positive inside, plus ``tolerance_m``: the distance
    that a corner may be outside.
    """
    if not motions.map_index.drivable_area.is_defined:
        return not_applicable(motions.count, "the map has no drivable area")
    margins = motions.cached(corner_margins) + tolerance_m
    margin = margins.min(axis=1)
    when = first_time(margins < 0.0, motions.times)
    reasons = Reasons(motions.count, lambda k: _reason(float(when[k]), float(margin[k]), tolerance_m))
    value = (margin >= 0.0).astype(np.float64)
    return RuleResult(value, margin, np.ones(motions.count, bool), when, reasons, margins)


def drivable_area_nuplan(motions: MotionBatch) -> RuleResult:
    """Judge the drivable area as nuPlan does: a corner may be up to 0.3 m outside."""
    return drivable_area(motions, tolerance_m=NUPLAN_TOLERANCE_M)


def drivable_area_value(motions: MotionBatch) -> Float64[Array, " k"]:
    """Return the value of ``drivable_area``, NaN where the map has none."""
    if not motions.map_index.drivable_area.is_defined:
        return np.full(motions.count, np.nan)
    return (motions.cached(corner_margins).min(axis=1) >= 0.0).astype(np.float64)


def corner_margins(motions: MotionBatch) -> Float64[Array, "k t"]:
    """Compute the distance (m) of the outermost corner to the edge: positive inside, at most the limit."""
    area = motions.map_index.drivable_area
    return area.box_margin(motions.cached(ego_boxes), motions.size, ROAD_MARGIN_LIMIT_M, motions.ground)


def _reason(at: float, margin: float, tolerance_m: float) -> str:
    least = margin - tolerance_m
    if margin < 0.0:
        more = f", first by more than {tolerance_m:g} m" if tolerance_m else ""
        return f"leaves the drivable area{more} at {at:.1f} s, by up to {-least:.2f} m"
    if least < 0.0:
        return f"up to {-least:.2f} m outside the drivable area, {tolerance_m:g} m are allowed"
    if least >= ROAD_MARGIN_LIMIT_M:
        return f"at least {ROAD_MARGIN_LIMIT_M:.0f} m to the edge of the drivable area"
    return f"{least:.2f} m to the edge of the drivable area"


RULES = (
    Rule(
        name="drivable_area",
        unit="m",
        summary="All four corners of the ego stay in the drivable area.",
        source="NAVSIM DAC",
        evaluate=drivable_area,
        hard=True,
        aliases=("dac", "drivable_area_compliance"),
    ),
    Rule(
        name="drivable_area_nuplan",
        unit="m",
        summary="No corner of the ego is more than 0.3 m outside the drivable area.",
        source="nuPlan",
        evaluate=drivable_area_nuplan,
    ),
)
