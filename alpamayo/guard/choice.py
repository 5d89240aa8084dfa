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

    LATE_EVASION = "late_evasion"
    LIGHTS = "obeys_lights"
    HARD_RULES = "hard_rules"
    LIMITED = "limited"
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
class LimitedPlan:
    """The driver's choice as far as friction allows it.

    Attributes:
        pose: poses in world coordinates.
        speed: speeds (m/s).
        is_clean: whether it is feasible and clean.
        is_safe: whether it is feasible, and clean or leaves time to brake.
        is_close: whether the choice is one motion that only begins at another speed: the car then drives this plan
            when it is told to drive the choice.
    """

    pose: Float64[Array, "65 3"]
    speed: Float64[Array, "65"]
    is_clean: bool
    is_safe: bool
    is_close: bool


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
        is_feasible: whether a car can drive them: friction allows them, and poses and speeds are one motion.
        can_brake: whether the ego, after a short time on a candidate, can still brake to a clean stop.
        can_brake_late: whether it can still brake harder, after a short time on the driver's choice, to a clean stop.
        can_yield_late: whether that stop is clean even if agents cross closer than predicted.
        crossing_agent: the agent that may cross the driver's choice closer than predicted; empty if there is none.
        agent_ids: names of the predicted agents.
        is_new_risk: whether the contact of the driver's choice has been predicted for a moment only.
        is_evading: whether the previous plan is an evasion by the guard.
        has_lights_or_stops: whether signals or stop lines are in reach.
        late_evasion: whether an evasion remains possible after a short time on the driver's choice.
        obeys_lights: whether the driver's choice keeps the rules of lights and stop lines.
        hard_rules: which candidates keep all hard rules of the validator.
        limited: the driver's choice as far as friction allows it.
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
    can_brake_late: bool
    can_yield_late: bool
    crossing_agent: str
    agent_ids: tuple[str, ...]
    is_new_risk: bool
    is_evading: bool
    has_lights_or_stops: bool = False
    late_evasion: bool | None = None
    obeys_lights: bool | None = None
    hard_rules: Bool[Array, " k"] | None = None
    limited: LimitedPlan | None = None
    yielding: YieldingOutcomes | None = None
    previous: PreviousPlan | None = None
    has_clearance: Bool[Array, " k"] | None = None
    scores: Float64[Array, " n"] | None = None
    minimal_risk: MinimalRiskOutcomes | None = None
    evasion: EvasionOutcomes | None = None

    @property
    def risk(self) -> str:
        """The agent that the driver's choice would meet; empty without one."""
        agent = int(self.candidates.agent_index[self.chosen])
        return self.agent_ids[agent] if agent >= 0 else ""


def choose(outcomes: Outcomes, config: GuardConfig) -> Choice | Request:
    """Choose the plan to drive, or request the stage that the choice depends on."""
    chosen, passes = outcomes.chosen, _passes(outcomes, config)
    if isinstance(passes, Request):
        return passes
    if passes and not outcomes.is_evading:
        return _pass_or_yield(outcomes)
    if not outcomes.is_feasible[chosen] and not outcomes.is_evading:
        if outcomes.limited is None:
            return Request(Stage.LIMITED)
        if outcomes.limited.is_safe and outcomes.limited.is_close:
            return _candidate(outcomes, chosen, "")
        if outcomes.limited.is_clean:
            reason = f"{_cause(outcomes)}; follows it as far as friction allows"
            return Choice(FALLBACK, outcomes.limited.pose, outcomes.limited.speed, reason)
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


def _passes(outcomes: Outcomes, config: GuardConfig) -> bool | Request:
    """Return whether the driver's choice is feasible and lawful, and clean or leaves time to decide later.

    Time is left as long as braking will still avoid the harm after a short while; or an evasion, if the harm is remote
    and has been predicted for a moment only.
    """
    k, found = outcomes.chosen, outcomes.candidates
    if not outcomes.is_feasible[k]:
        return False
    if outcomes.has_lights_or_stops and len(outcomes.pose) > 1:
        if outcomes.obeys_lights is None:
            return Request(Stage.LIGHTS)
        if not outcomes.obeys_lights and outcomes.hard_rules is None:
            return Request(Stage.HARD_RULES)
        if not outcomes.obeys_lights and _is_lawful(outcomes).any():
            return False
    if found.is_clean[k]:
        return True
    soonest = min(found.contact_time[k], found.off_road_time[k])
    if soonest <= config.imminent_contact_s:
        return False
    if outcomes.can_brake_late or soonest <= config.late_evasion_s or not outcomes.is_new_risk:
        return outcomes.can_brake_late
    return Request(Stage.LATE_EVASION) if outcomes.late_evasion is None else outcomes.late_evasion


def _is_lawful(outcomes: Outcomes) -> Bool[Array, " k"]:
    """Return which candidates are safe and keep all hard rules."""
    assert outcomes.hard_rules is not None
    return outcomes.is_feasible & outcomes.candidates.is_clean & outcomes.can_brake & outcomes.hard_rules


def _pass_or_yield(outcomes: Outcomes) -> Choice | Request:
    """Let the driver's choice pass, or brake gently for an agent that may cross closer than predicted.

    There is no hurry as long as harder braking will still avoid that agent.
    """
    if not outcomes.crossing_agent or outcomes.can_yield_late:
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
    if len(safe) > 1 and outcomes.hard_rules is None:
        return Request(Stage.HARD_RULES)
    if len(safe):
        if outcomes.has_clearance is None:
            return Request(Stage.CLEARANCE)
        kept = safe if outcomes.hard_rules is None else _preferred(safe, outcomes.hard_rules)
        spacious = _preferred(kept, outcomes.has_clearance)
        return _best(outcomes, spacious, f"{cause}; takes another candidate")
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
    if len(clean) > 1 and outcomes.hard_rules is None:
        return Request(Stage.HARD_RULES)
    if len(clean):
        kept = clean if outcomes.hard_rules is None else _preferred(clean, outcomes.hard_rules)
        return _best(outcomes, kept, f"{cause}; braking does not avoid it, takes a candidate that does")
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


def _preferred(rows: Int64[Array, " n"], wanted: Bool[Array, " k"]) -> Int64[Array, " m"]:
    """Return the rows with a wanted property, or all of them if none has it."""
    having = rows[wanted[rows]]
    return having if len(having) else rows


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
    if outcomes.is_feasible[k]:
        return "would break a hard rule that another candidate keeps"
    return "asks for more than the road's friction allows, or is not one motion"
