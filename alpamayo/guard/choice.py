"""The choice of the guard: a pure function of the outcomes of the candidates."""

import enum
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from alpamayo.guard.config import GuardConfig
from alpamayo.guard.minimal_risk import BrakingPlans, EvasivePlans
from alpamayo.guard.outcomes import MotionOutcomes

Array = np.ndarray
FALLBACK = -1  # index of a plan of the guard's own


class Stage(enum.Enum):
    """Outcomes that are evaluated only if a choice depends on them; values are names of fields of ``Outcomes``."""

    YIELDING = "yielding"
    PREVIOUS = "previous"
    CLEARANCE = "has_clearance"
    SCORES = "scores"
    MINIMAL_RISK = "minimal_risk"
    EVASION = "evasion"


@dataclass(frozen=True, eq=False)
class Choice:
    """The plan to drive.

    Attributes:
        index: the candidate; ``FALLBACK`` for a plan of the guard's own.
        pose: poses in world coordinates; the first is the present one.
        speed: speeds (m/s).
        reason: why this is not the driver's choice; empty if it is.
        is_evasive: whether this is an evasion by the guard.
    """

    index: int
    pose: Float64[Array, "65 3"]
    speed: Float64[Array, "65"]
    reason: str
    is_evasive: bool = False


@dataclass(frozen=True, eq=False)
class Request:
    """A stage that must be evaluated before there is a choice; ``rows`` are the candidates concerned."""

    stage: Stage
    rows: Int64[Array, " n"] = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class PreviousPlan:
    """The rest of the plan chosen at the step before; None if there is none that is still clean and near the ego."""

    plan: Choice | None


@dataclass(frozen=True, eq=False)
class YieldingOutcomes:
    """Braking plans, and which of them are clean and out of the path of an uncertain crossing agent."""

    plans: BrakingPlans
    is_clear: Bool[Array, " n"]


@dataclass(frozen=True, eq=False)
class PlannedStop:
    """A planned stop without contacts.

    Attributes:
        pose: poses in world coordinates.
        speed: speeds (m/s).
        greatest_deceleration: its greatest deceleration (m/s²).
        place: where it stops, in words.
        is_struck: whether an agent runs into the stopped ego later.
    """

    pose: Float64[Array, "65 3"]
    speed: Float64[Array, "65"]
    greatest_deceleration: float
    place: str
    is_struck: bool


@dataclass(frozen=True, eq=False)
class MinimalRiskOutcomes:
    """A planned stop, if any is clean, and braking plans; ``is_struck``: an agent runs into the stopped ego later."""

    stop: PlannedStop | None
    plans: BrakingPlans
    outcomes: MotionOutcomes
    is_struck: Bool[Array, " n"]


@dataclass(frozen=True, eq=False)
class EvasionOutcomes:
    """Evasive plans and their least distances (m) to agents; minus infinity for plans that are not clean."""

    plans: EvasivePlans
    clearance: Float64[Array, " n"]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """All that a choice depends on.

    The fields with default None belong to a ``Stage``: they are None until that stage has been evaluated.

    Attributes:
        chosen: the driver's choice among its K candidates.
        weights: the driver's weights of them.
        pose: their poses in world coordinates.
        speed: their speeds (m/s).
        candidates: their outcomes.
        is_feasible: whether friction allows them.
        can_brake: whether the ego, after a short time on a candidate, can still brake to a clean stop.
        crossing_agent: the agent that may cross the driver's choice closer than predicted; empty if there is none.
        agent_ids: names of the predicted agents.
        is_evading: whether the previous plan is an evasion by the guard.
        yielding: braking plans that let the crossing agent pass.
        previous: the previous plan.
        has_clearance: whether a candidate stays clean if agents are longer and wider.
        scores: PDM scores of the candidates that were requested.
        minimal_risk: planned stop and braking plans.
        evasion: evasive plans.
    """

    chosen: int
    weights: Float32[Array, " k"]
    pose: Float64[Array, "k 65 3"]
    speed: Float64[Array, "k 65"]
    candidates: MotionOutcomes
    is_feasible: Bool[Array, " k"]
    can_brake: Bool[Array, " k"]
    crossing_agent: str
    agent_ids: tuple[str, ...]
    is_evading: bool
    yielding: YieldingOutcomes | None = None
    previous: PreviousPlan | None = None
    has_clearance: Bool[Array, " k"] | None = None
    scores: Float64[Array, " n"] | None = None
    minimal_risk: MinimalRiskOutcomes | None = None
    evasion: EvasionOutcomes | None = None


def choose(outcomes: Outcomes, config: GuardConfig) -> Choice | Request:
    """Choose the plan to drive, or request the stage that the choice depends on."""
    chosen, passes = outcomes.chosen, _passes(outcomes, config)
    if passes and not outcomes.is_evading:
        return _pass_or_yield(outcomes)
    if outcomes.previous is None:
        return Request(Stage.PREVIOUS)
    previous = outcomes.previous.plan
    if passes and previous is not None:
        if outcomes.has_clearance is None:
            return Request(Stage.CLEARANCE)
        passes = bool(outcomes.has_clearance[chosen])
        cause = "has little clearance"
    else:
        cause = _cause(outcomes)
    if passes:
        return _candidate(outcomes, chosen, "")
    if previous is not None and previous.reason:
        return replace(previous, reason=f"{cause}; keeps the previous plan")
    return _choose_other(outcomes, cause)


def _passes(outcomes: Outcomes, config: GuardConfig) -> bool:
    """Return whether the driver's choice is feasible and clean, or leaves time to decide later."""
    k, found = outcomes.chosen, outcomes.candidates
    if not outcomes.is_feasible[k]:
        return False
    soonest = min(found.contact_time[k], found.off_road_time[k])
    return bool(found.is_clean[k] or (soonest > config.imminent_contact_s and outcomes.can_brake[k]))


def _pass_or_yield(outcomes: Outcomes) -> Choice | Request:
    """Let the driver's choice pass, or brake gently for an agent that may cross closer than predicted."""
    if not outcomes.crossing_agent:
        return _candidate(outcomes, outcomes.chosen, "")
    if outcomes.yielding is None:
        return Request(Stage.YIELDING)
    plans, is_clear = outcomes.yielding.plans, outcomes.yielding.is_clear
    if not is_clear.any():
        return _candidate(outcomes, outcomes.chosen, "")
    k = int(np.argmax(is_clear))
    reason = f"may be crossed by {outcomes.crossing_agent!r}; yields, {_braking_text(plans, k)}"
    return _own_plan(plans, k, reason)


def _choose_other(outcomes: Outcomes, cause: str) -> Choice | Request:
    """Choose another candidate, the previous plan, or a fallback."""
    is_clean = outcomes.is_feasible & outcomes.candidates.is_clean
    safe = np.flatnonzero(is_clean & outcomes.can_brake)
    if len(safe):
        if outcomes.has_clearance is None:
            return Request(Stage.CLEARANCE)
        spacious = safe[outcomes.has_clearance[safe]]
        return _best(outcomes, spacious if len(spacious) else safe, f"{cause}; takes another candidate")
    if outcomes.previous is not None and outcomes.previous.plan is not None:
        return replace(outcomes.previous.plan, reason=f"{cause}; keeps the previous plan")
    return _choose_fallback(outcomes, np.flatnonzero(is_clean), cause)


def _choose_fallback(outcomes: Outcomes, clean: Int64[Array, " n"], cause: str) -> Choice | Request:
    """Choose a stop, braking, a ``clean`` candidate, an evasion, or the least severe outcome.

    If an agent would run into the stopped ego, as a wrong-way driver does, evasions come before stops.
    """
    if outcomes.minimal_risk is None:
        return Request(Stage.MINIMAL_RISK)
    stop, plans = outcomes.minimal_risk.stop, outcomes.minimal_risk.plans
    if stop is not None and not stop.is_struck:
        return _stop(stop, cause)
    lasting = outcomes.minimal_risk.outcomes.is_clean & ~outcomes.minimal_risk.is_struck
    if lasting.any():
        k = int(np.argmax(lasting))
        return _own_plan(plans, k, f"{cause}; {_braking_text(plans, k)}")
    if len(clean):
        return _best(outcomes, clean, f"{cause}; braking does not avoid it, takes a candidate that does")
    if outcomes.evasion is None:
        return Request(Stage.EVASION)
    if np.isfinite(outcomes.evasion.clearance).any():
        return _evade(outcomes.evasion, cause)
    return _stop(stop, cause) if stop is not None else _least_severe(outcomes, outcomes.minimal_risk, cause)


def _evade(evasion: EvasionOutcomes, cause: str) -> Choice:
    """Choose the clean evasion of the greatest clearance, and of these the mildest."""
    k = int(np.argmax(evasion.clearance))
    offset = evasion.plans.offset[k]
    side = "left" if offset > 0.0 else "right"
    reason = f"{cause}; braking does not avoid it, evades {abs(offset):.0f} m to the {side}"
    return replace(_own_plan(evasion.plans, k, reason), is_evasive=True)


def _least_severe(outcomes: Outcomes, risk: MinimalRiskOutcomes, cause: str) -> Choice:
    """Choose the least severe outcome; braking if a candidate is not better."""
    severity = outcomes.candidates.severity
    k, other = int(np.argmin(risk.outcomes.severity)), int(np.argmin(severity + 1e3 * ~outcomes.is_feasible))
    if severity[other] < risk.outcomes.severity[k] and outcomes.is_feasible[other]:
        return _candidate(outcomes, other, f"{cause}; takes the least severe outcome")
    suffix = "" if risk.outcomes.is_clean[k] else ", which does not avoid it"
    return _own_plan(risk.plans, k, f"{cause}; {_braking_text(risk.plans, k)}{suffix}")


def _best(outcomes: Outcomes, rows: Int64[Array, " n"], reason: str) -> Choice | Request:
    """Choose the candidate of the best PDM score, then of the greatest weight."""
    if len(rows) == 1:
        return _candidate(outcomes, int(rows[0]), reason)
    if outcomes.scores is None:
        return Request(Stage.SCORES, rows)
    score = np.nan_to_num(outcomes.scores)
    return _candidate(outcomes, int(rows[np.lexsort((-outcomes.weights[rows], -score))[0]]), reason)


def _candidate(outcomes: Outcomes, k: int, reason: str) -> Choice:
    return Choice(k, outcomes.pose[k], outcomes.speed[k], f"{reason} ({k})" if reason else "")


def _own_plan(plans: BrakingPlans, k: int, reason: str) -> Choice:
    return Choice(FALLBACK, plans.pose[k], plans.speed[k], reason)


def _stop(stop: PlannedStop, cause: str) -> Choice:
    reason = f"{cause}; stops {stop.place}, at most {stop.greatest_deceleration:.1f} m/s²"
    return Choice(FALLBACK, stop.pose, stop.speed, reason)


def _braking_text(plans: BrakingPlans, k: int) -> str:
    return f"brakes at {plans.deceleration[k]:.1f} m/s²"


def _cause(outcomes: Outcomes) -> str:
    """Say why the driver's choice is not driven."""
    k, found = outcomes.chosen, outcomes.candidates
    if np.isfinite(found.contact_time[k]):
        agent = outcomes.agent_ids[found.agent_index[k]]
        return f"would collide with {agent!r} in {found.contact_time[k]:.1f} s at {found.impact_speed[k]:.1f} m/s"
    if np.isfinite(found.off_road_time[k]):
        return f"would leave the road in {found.off_road_time[k]:.1f} s"
    return "asks for more than the road's friction allows"
