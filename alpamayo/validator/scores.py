"""Scores as functions of the rules' values; each keeps the parts it was made of.

Parts may have the names of the rules (``at_fault_collision``), of NAVSIM's tables (``no_at_fault_collisions``) or of
its abbreviations (``NC``); a rule's ``aliases`` declare them. A part that is missing or NaN is left out of a formula
together with its weight. Without any part the score is NaN: a score is never perfect because nothing was judged. An
unknown name is an ``InputError``. Scores that need more of a record than the rules' values are in
``alpamayo.validator.episode_scores``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from alpamayo.validator.rules import RULES
from alpamayo.validator.verdict import RuleResult, Score, Scores
from alpamayo_sim.errors import InputError, check_known, unknown_name

Array = np.ndarray
Parts = Mapping[str, Float[Array, "..."] | float]

SHORT_RECORDING_M = 5.0
"""AlpaSim gives full marks for a recorded ego that drove less than this."""
PART_NAMES = {alias: rule.name for rule in RULES.values() for alias in (rule.name, *rule.aliases)}
"""Names of score parts -> the rule."""


@dataclass(frozen=True)
class GatedMean:
    """A formula: the product of the gates times the weighted mean of the other parts; all parts are rules."""

    gates: tuple[str, ...]
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        for name in self.parts:
            check_known("rule in a score", name, RULES)

    @property
    def parts(self) -> tuple[str, ...]:
        """The rules that the formula needs."""
        return (*self.gates, *self.weights)

    @property
    def text(self) -> str:
        """The formula in one line."""
        inner = " + ".join(f"{share:g} {name}" for name, share in self.weights.items())
        return f"{' * '.join(self.gates)} * ({inner}) / {sum(self.weights.values()):g}"

    def value(self, parts: Parts) -> Float[Array, "..."]:
        """Compute the score from the parts, by the rules' names; missing and NaN parts are left out."""
        values = {name: np.asarray(parts.get(name, np.nan), np.float64) for name in self.parts}
        shape = np.broadcast_shapes(*(value.shape for value in values.values()))
        product, total, weight = np.ones(shape), np.zeros(shape), np.zeros(shape)
        for name in self.gates:
            product = product * np.where(np.isnan(values[name]), 1.0, values[name])
        for name, share in self.weights.items():
            known = ~np.isnan(values[name])
            total = total + np.where(known, share * values[name], 0.0)
            weight = weight + share * known
        any_gate = np.any([~np.isnan(np.broadcast_to(values[name], shape)) for name in self.gates], axis=0)
        mean = np.divide(total, weight, out=np.ones(shape), where=weight > 0.0)
        return np.where((weight > 0.0) | any_gate, product * mean, np.nan)


PDMS = GatedMean(
    gates=("at_fault_collision", "drivable_area"),
    weights={"progress": 5.0, "time_to_collision": 5.0, "comfort": 2.0},
)
EPDMS = GatedMean(
    gates=("at_fault_collision", "drivable_area", "driving_direction", "red_light"),
    weights={
        "progress": 5.0,
        "time_to_collision": 5.0,
        "lane_keeping": 2.0,
        "comfort": 2.0,
        "extended_comfort": 2.0,
    },
)
NUPLAN = GatedMean(
    gates=("at_fault_collision", "drivable_area_nuplan", "making_progress", "driving_direction_nuplan"),
    weights={"progress": 5.0, "time_to_collision": 5.0, "speed_limit": 4.0, "comfort": 2.0},
)
ALPAMAYO = GatedMean(
    gates=("at_fault_collision", "drivable_area", "red_light", "kinematics"),
    weights={
        "progress": 5.0,
        "time_to_collision": 5.0,
        "rss": 2.0,
        "driving_direction": 2.0,  # no gate: in the long tail the path past an obstacle may be in the oncoming lane
        "lane_keeping": 1.0,
        "speed_limit": 2.0,
        "comfort": 2.0,
        "reasoning": 2.0,
    },
)
FORMULAS: Mapping[str, GatedMean] = {"pdms": PDMS, "epdms": EPDMS, "nuplan_cls": NUPLAN, "alpamayo_score": ALPAMAYO}
"""Scores that are made of the rules' values alone."""
SCORE_MAXIMUM = {"bench2drive": 100.0, "rater_feedback": 10.0}
"""The best value of the scores that are not in [0, 1]."""
TITLES = {
    "pdms": "PDM score",
    "epdms": "EPDM score",
    "epdms_filtered": "EPDM score, human-filtered",
    "nuplan_cls": "nuPlan closed-loop score",
    "alpamayo_score": "alpamayo score",
    "alpasim_scene_score": "AlpaSim scene score",
    "alpasim_corridor_score": "AlpaSim scene score, with corridor",
    "bench2drive": "Bench2Drive driving score",
    "rater_feedback": "rater feedback score",
}
"""The scores' titles in reports."""
BENCH2DRIVE_FACTORS = {
    "collision_pedestrian": 0.5,
    "collision_vehicle": 0.6,
    "collision_static": 0.65,
    "red_light": 0.7,
    "stop_sign": 0.8,
    "scenario_timeout": 0.7,
    "yield_emergency": 0.7,
    "min_speed": 1.0,  # counted, without a penalty
}


def pdms(parts: Parts) -> Float[Array, "..."]:
    """Compute the PDM score of NAVSIM v1: NC * DAC * (5 EP + 5 TTC + 2 C) / 12, parts in [0, 1].

    Source: Dauner et al., "NAVSIM", 2024; navsim's pdm_scorer.py.
    """
    return PDMS.value(named(parts))


def epdms(parts: Parts, human: Parts | None = None) -> Float[Array, "..."]:
    """Compute the extended PDM score of NAVSIM v2: NC * DAC * DDC * TLC * (5 EP + 5 TTC + 2 LK + 2 HC + 2 EC) / 16.

    With ``human``, a part counts as 1 where the human driver of the same scene has exactly 0 in it. The score is made
    of the filtered parts (NAVSIM's product did not follow the filter, issue 151). NAVSIM filters original scenes only,
    not the synthetic second stage. Publish the filtered score together with the unfiltered one.
    """
    values = named(parts)
    return EPDMS.value(values if human is None else filtered(values, named(human)))


def filtered(parts: Parts, human: Parts) -> dict[str, Array]:
    """Return the parts with a 1 wherever the human has exactly 0; a part that does not apply stays NaN."""
    agent, person = named(parts), named(human)
    out = {}
    for name, value in agent.items():
        zero = np.asarray(person.get(name, np.nan)) == 0.0
        out[name] = np.where(zero & ~np.isnan(value), 1.0, value)
    return out


def two_stage(
    first: float,
    followups: Float[Array, " n"] | Sequence[float],
    distances: Float[Array, " n"] | Sequence[float],
    *,
    variance: float = 0.1,
) -> float:
    """Compute NAVSIM v2's aggregate: the first stage's score times the weighted mean of the follow-up scenes' scores.

    Weights are exp(-d² / (2 * variance)), with d (m) the distance from the end of the first stage to the start of the
    follow-up. They are equal where all of them vanish.

    Raises:
        InputError: no follow-ups, or another number of distances.
    """
    scores, far = np.asarray(followups, np.float64), np.asarray(distances, np.float64)
    if scores.ndim != 1 or not len(scores) or scores.shape != far.shape:
        raise InputError(f"two stages: {scores.shape} scores and {far.shape} distances, both must be [n >= 1]")
    weights = np.exp(-(far**2) / (2.0 * variance))
    if weights.sum() < 1e-12:
        weights = np.ones(len(scores))
    return float(first * (weights * scores).sum() / weights.sum())


def nuplan_cls(parts: Parts) -> Float[Array, "..."]:
    """Compute nuPlan's closed-loop score: NC * DAC * MP * DDC * (5 progress + 5 TTC + 4 speed + 2 comfort) / 16.

    DAC and DDC are nuPlan's (``drivable_area_nuplan``, ``driving_direction_nuplan``); without these parts they are
    NAVSIM's.
    """
    values = named(parts)
    for name in ("drivable_area", "driving_direction"):
        if name in values:
            values.setdefault(f"{name}_nuplan", values[name])
    return NUPLAN.value(values)


def alpamayo_score(parts: Parts) -> Float[Array, "..."]:
    """Compute the project's own score: four gates and eight weighted parts, RSS and the reasoning among them."""
    return ALPAMAYO.value(named(parts))


def alpasim_scene_score(
    *,
    collision_at_fault: bool | Array,
    offroad: bool | Array,
    progress: float | Array,
    gt_distance: float | Array,
    left_corridor: bool | Array = False,
) -> Float[Array, "..."]:
    """Compute AlpaSim's score of a scene: 0 after an at-fault collision, off the road or corridor, else by progress.

    It is 1 where the recorded ego drove less than 5 m, else min(progress / 0.8, 1).

    Args:
        collision_at_fault: whether there was a front or side contact.
        offroad: whether the ego left the road.
        progress: the part of the recorded path that was driven.
        gt_distance: the length (m) of the recorded path.
        left_corridor: whether the ego left the corridor of 4 m to each side of the recorded path; only in the score of
            today.

    Raises:
        InputError: progress or distance is NaN, or the distance is negative.
    """
    part, distance = np.asarray(progress, np.float64), np.asarray(gt_distance, np.float64)
    if np.isnan(part).any() or not (distance >= 0.0).all():
        raise InputError(f"AlpaSim's score: progress {progress} must be a number, the distance {gt_distance} m >= 0")
    bad = np.asarray(collision_at_fault, bool) | np.asarray(offroad, bool) | np.asarray(left_corridor, bool)
    far = np.minimum(np.clip(part, 0.0, 1.0) / 0.8, 1.0)
    return np.where(bad, 0.0, np.where(distance < SHORT_RECORDING_M, 1.0, far))


@dataclass(frozen=True, eq=False)
class Rated:
    """Trajectories that people rated at one decision of an episode.

    Attributes:
        trajectories: positions (m) in the ego frame of that step, every 1 / ``frequency`` s, the first at that time,
            for 5 s or more.
        labels: ratings, 0 to 10.
        step: the decision.
        frequency: Hz.
    """

    trajectories: Float[Array, "r t 2"]
    labels: Float[Array, " r"]
    step: int = 0
    frequency: float = 4.0

    def __post_init__(self) -> None:
        shape, labels = np.shape(self.trajectories), np.asarray(self.labels, np.float64)
        least = math.ceil(5.0 * self.frequency) if math.isfinite(self.frequency) and self.frequency > 0.0 else 0
        if not least or len(shape) != 3 or shape[0] < 1 or shape[1] < least or shape[2] != 2:
            raise InputError(f"rated: trajectories {shape} at {self.frequency} Hz, must be [r >= 1, 5 s or more, 2]")
        if labels.shape != shape[:1] or not ((labels >= 0.0) & (labels <= 10.0)).all():
            raise InputError(f"rated: labels {labels.tolist()}, must be {shape[0]} in [0, 10]")
        if not np.isfinite(self.trajectories).all():
            raise InputError("rated: trajectories must be finite")


def rater_feedback(
    prediction: Float[Array, "... steps 2"],
    raters: Float[Array, "r t 2"],
    labels: Float[Array, " r"],
    initial_speed: float,
    *,
    frequency: float = 4.0,
    probabilities: Float[Array, "..."] | None = None,
) -> float:
    """Compute the rater feedback score of WOD-E2E, 0 to 10: how near a prediction is to well-rated trajectories.

    At 3 and 5 s the deviation from each rated trajectory, along and across its direction, is divided by the
    thresholds 4.0 and 1.0 m (3 s), 7.2 and 1.8 m (5 s), times clip(0.5 + 0.5 (v0 - 1.4) / 9.6, 0.5, 1). With q the
    larger quotient, the score is the best label * 0.1^max(q - 1, 0), averaged over both times. It is at least 4 where
    no rated trajectory has q <= 1 at both times. Several predictions count by their probabilities.

    Args:
        prediction: positions in the ego frame at t0, the first at 1 / frequency; or several of them.
        raters: rated trajectories in the same frame and at the same times.
        labels: their scores, 0 to 10.
        initial_speed: of the ego at t0 (m/s).
        frequency: of the positions (Hz).
        probabilities: of several predictions. Default: equal.

    Raises:
        InputError: less than 5 s, shapes that do not fit, no rated trajectory.

    Source: waymo-open-dataset, metrics/python/rater_feedback_utils.py.
    """
    plan, rated = np.asarray(prediction, np.float64), np.asarray(raters, np.float64)
    plan = plan.reshape(-1, *plan.shape[-2:])
    at = np.round(np.array([3.0, 5.0]) * frequency).astype(int) - 1
    if rated.ndim != 3 or not len(rated) or len(labels) != len(rated) or min(plan.shape[1], rated.shape[1]) <= at[1]:
        raise InputError(
            f"rater feedback: prediction {plan.shape}, raters {rated.shape}, {len(labels)} labels; needs 5 s of "
            "positions of both and a label for each rated trajectory"
        )
    ahead = _directions(rated)[:, at]
    off = plan[:, None, at] - rated[None][:, :, at]
    along = np.abs((off * ahead).sum(axis=-1))
    across = np.abs(off[..., 1] * ahead[..., 0] - off[..., 0] * ahead[..., 1])
    limit = np.clip(0.5 + 0.5 * (initial_speed - 1.4) / (11.0 - 1.4), 0.5, 1.0) * np.array([1.0, 1.8])
    q = np.maximum(along / (4.0 * limit), across / limit)
    score = (np.asarray(labels, np.float64)[None, :, None] * 0.1 ** np.maximum(q - 1.0, 0.0)).max(axis=1).mean(axis=-1)
    trusted = (q <= 1.0).all(axis=-1).any(axis=-1)
    score = np.where(trusted, score, np.maximum(score, 4.0))
    weight = np.ones(len(score)) if probabilities is None else np.asarray(probabilities, np.float64).reshape(-1)
    return float((weight * score).sum() / weight.sum())


def bench2drive(route_completion: float, infractions: Mapping[str, int], outside_lane: float = 0.0) -> float:
    """Compute the driving score of the CARLA leaderboard and Bench2Drive, 0 to 100.

    Route completion (per cent), times 0.5 for each collision with a pedestrian, 0.6 with a vehicle, 0.65 with a static
    object, 0.7 for each red light, 0.8 stop sign, 0.7 timeout, 0.7 emergency vehicle, times one minus the part of the
    route outside lanes.

    Raises:
        InputError: an unknown infraction, a negative count, a value outside its range.
    """
    counts = _infractions(infractions)
    if not 0.0 <= route_completion <= 100.0 or not 0.0 <= outside_lane <= 1.0:
        raise InputError(f"route completion {route_completion} must be in [0, 100], outside {outside_lane} in [0, 1]")
    score = route_completion * (1.0 - outside_lane)
    for name, count in counts.items():
        score *= BENCH2DRIVE_FACTORS[name] ** count
    return score


def bench2drive_success(route_completion: float, infractions: Mapping[str, int], outside_lane: float = 0.0) -> bool:
    """Return whether the route is complete without an infraction; a minimum-speed infraction does not count.

    Raises:
        InputError: an unknown infraction, or a negative count.
    """
    counts = _infractions(infractions)
    return route_completion >= 100.0 and outside_lane == 0.0 and not any(counts[x] for x in set(counts) - {"min_speed"})


def _infractions(infractions: Mapping[str, int]) -> Mapping[str, int]:
    for name, count in infractions.items():
        check_known("infraction", name, BENCH2DRIVE_FACTORS)
        if not count >= 0:
            raise InputError(f"infraction {name!r}: {count}, must not be negative")
    return infractions


def named(parts: Parts) -> dict[str, Array]:
    """Return parts by their rules' names.

    Raises:
        InputError: an unknown name, or a value outside [0, 1].
    """
    out: dict[str, Array] = {}
    for key, value in parts.items():
        name = PART_NAMES.get(key.lower())
        if name is None:
            raise unknown_name("part", key.lower(), PART_NAMES)
        array = np.asarray(value, np.float64)
        if np.any((array < 0.0) | (array > 1.0)):
            raise InputError(f"part {key!r} has values outside [0, 1]")
        out[name] = array
    return out


def scores_of(rules: Mapping[str, RuleResult]) -> Scores:
    """Return the scores of all ``FORMULAS``; none if the rules lack a part of the PDM score."""
    complete = set(PDMS.parts) <= set(rules)
    return Scores(tuple(FORMULAS) if complete else (), lambda name: score_of(rules, name, FORMULAS[name]))


def score_of(rules: Mapping[str, RuleResult], name: str, formula: GatedMean) -> Score:
    """Return a gated mean of rules as a ``Score``, with its parts and the missing ones."""
    names = formula.parts
    count = len(next(iter(rules.values())).value)
    unknown = np.full(count, np.nan)
    parts = {part: _value(rules[part]) if part in rules else unknown for part in names}
    absent = np.zeros(count, np.int64)  # a bit for each part
    for i, values in enumerate(parts.values()):
        absent |= np.isnan(values).astype(np.int64) << i
    kinds = absent.tolist()
    absent_names = {kind: tuple(name for i, name in enumerate(names) if kind >> i & 1) for kind in set(kinds)}
    missing = tuple(absent_names[kind] for kind in kinds)
    return Score(name, np.asarray(formula.value(parts)), parts, missing, formula.text)


def _value(rule: RuleResult) -> Float64[Array, " k"]:
    return np.where(rule.valid, rule.value, np.nan)


def _directions(rated: Array) -> Float64[Array, "r t 2"]:
    """Compute the unit direction of each rated trajectory at each time; without motion the last one, first forward."""
    step = np.diff(np.concatenate([np.zeros((len(rated), 1, 2)), rated], axis=1), axis=1)
    length = np.linalg.norm(step, axis=-1)
    out = np.empty_like(step)
    before = np.tile([1.0, 0.0], (len(rated), 1))
    for t in range(step.shape[1]):
        moves = length[:, t] > 0.0
        before = np.where(moves[:, None], step[:, t] / np.where(moves, length[:, t], 1.0)[:, None], before)
        out[:, t] = before
    return out
