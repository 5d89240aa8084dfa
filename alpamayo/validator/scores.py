"""Scores made of the rules' values, from one record; each keeps the parts that it was made of.

Parts may be named as the rules are (``at_fault_collision``), as NAVSIM's tables do (``no_at_fault_collisions``) or by
its letters (``NC``). A part that is missing or NaN is left out of a formula with its weight, and where no part is
left the score is NaN: nothing is ever perfect because it was not looked at. An unknown name is an ``InputError``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from alpamayo.validator.verdict import RuleResult, Score, Scores
from alpamayo_sim.errors import InputError, unknown_name

Array = np.ndarray
Parts = Mapping[str, Float[Array, "..."] | float]

ALIASES: dict[str, tuple[str, ...]] = {
    "at_fault_collision": ("nc", "no_at_fault_collision", "no_at_fault_collisions"),
    "drivable_area": ("dac", "drivable_area_compliance"),
    "driving_direction": ("ddc", "driving_direction_compliance"),
    "red_light": ("tlc", "traffic_light_compliance"),
    "progress": ("ep", "ego_progress"),
    "time_to_collision": ("ttc", "time_to_collision_within_bound"),
    "lane_keeping": ("lk",),
    "comfort": ("c", "hc", "history_comfort"),
    "extended_comfort": ("ec", "two_frame_extended_comfort"),
    "making_progress": ("mp", "ego_is_making_progress"),
    "speed_limit": ("sc", "speed_limit_compliance"),
    "drivable_area_nuplan": (),
    "stop_line": (),
    "kinematics": (),
    "rss": (),
    "reasoning": (),
}
NAMES = {alias: name for name, aliases in ALIASES.items() for alias in (name, *aliases)}

PDMS_GATES = ("at_fault_collision", "drivable_area")
PDMS_WEIGHTS = {"progress": 5.0, "time_to_collision": 5.0, "comfort": 2.0}
EPDMS_GATES = ("at_fault_collision", "drivable_area", "driving_direction", "red_light")
EPDMS_WEIGHTS = {
    "progress": 5.0,
    "time_to_collision": 5.0,
    "lane_keeping": 2.0,
    "comfort": 2.0,
    "extended_comfort": 2.0,
}
NUPLAN_GATES = ("at_fault_collision", "drivable_area_nuplan", "making_progress", "driving_direction")
NUPLAN_WEIGHTS = {"progress": 5.0, "time_to_collision": 5.0, "speed_limit": 4.0, "comfort": 2.0}
ALPAMAYO_GATES = ("at_fault_collision", "drivable_area", "red_light", "kinematics")
ALPAMAYO_WEIGHTS = {
    "progress": 5.0,
    "time_to_collision": 5.0,
    "rss": 2.0,
    "driving_direction": 2.0,  # no gate: in the long tail the way past an obstacle may be the oncoming lane
    "lane_keeping": 1.0,
    "speed_limit": 2.0,
    "comfort": 2.0,
    "reasoning": 2.0,
}
FORMULAS: dict[str, tuple[tuple[str, ...], dict[str, float]]] = {
    "pdms": (PDMS_GATES, PDMS_WEIGHTS),
    "epdms": (EPDMS_GATES, EPDMS_WEIGHTS),
    "nuplan_cls": (NUPLAN_GATES, NUPLAN_WEIGHTS),
    "alpamayo_score": (ALPAMAYO_GATES, ALPAMAYO_WEIGHTS),
}
OF_ONE_RECORD = ("epdms_filtered", "alpasim_scene_score", "bench2drive", "rater_feedback")
"""Scores that need more than the rules' values; see ``alpamayo.validator.episode_scores``."""
BEST = {"bench2drive": 100.0, "rater_feedback": 10.0}
"""The best value of the scores that are not in [0, 1]."""
TITLES = {
    "pdms": "PDM score",
    "epdms": "EPDM score",
    "epdms_filtered": "EPDM score, human-filtered",
    "nuplan_cls": "nuPlan closed-loop score",
    "alpamayo_score": "alpamayo score",
    "alpasim_scene_score": "AlpaSim scene score",
    "bench2drive": "Bench2Drive driving score",
    "rater_feedback": "rater feedback score",
}
"""The scores' names for people."""
BENCH2DRIVE_FACTORS = {
    "collision_pedestrian": 0.5,
    "collision_vehicle": 0.6,
    "collision_static": 0.65,
    "red_light": 0.7,
    "stop_sign": 0.8,
    "scenario_timeout": 0.7,
    "yield_emergency": 0.7,
    "min_speed": 1.0,  # is counted and costs nothing
}


def pdms(parts: Parts) -> Float[Array, "..."]:
    """PDM score of NAVSIM v1: NC * DAC * (5 EP + 5 TTC + 2 C) / 12, parts in [0, 1].

    Source: Dauner et al., "NAVSIM", 2024; navsim's pdm_scorer.py.
    """
    return gated_mean(named(parts), PDMS_GATES, PDMS_WEIGHTS)


def epdms(parts: Parts, human: Parts | None = None) -> Float[Array, "..."]:
    """Extended PDM score of NAVSIM v2: NC * DAC * DDC * TLC * (5 EP + 5 TTC + 2 LK + 2 HC + 2 EC) / 16.

    With ``human`` a part counts as 1 where the human driver of the same scene has exactly 0 in it, and the score is
    made of the parts after that (NAVSIM's product went stale there, issue 151). NAVSIM filters original scenes
    only, not the synthetic second stage. Publish it together with the unfiltered one.
    """
    values = named(parts)
    return gated_mean(values if human is None else filtered(values, named(human)), EPDMS_GATES, EPDMS_WEIGHTS)


def filtered(parts: Parts, human: Parts) -> dict[str, Array]:
    """Parts with a 1 wherever the human has exactly 0; a part that did not apply stays so."""
    agent, person = named(parts), named(human)
    out = {}
    for name, value in agent.items():
        zero = np.asarray(person.get(name, np.nan)) == 0.0
        out[name] = np.where(zero & ~np.isnan(value), 1.0, value)
    return out


def two_stage(
    first: float, followups: Float[Array, " n"], distances: Float[Array, " n"], *, variance: float = 0.1
) -> float:
    """NAVSIM v2's aggregation: the first stage's score times the weighted mean of the follow-up scenes'.

    Weights are exp(-d² / (2 * 0.1)), d (m) from where the first stage ended to where the follow-up starts; equal
    where all of them vanish.

    Raises:
        InputError: no follow-ups, or not as many distances.
    """
    scores, away = np.asarray(followups, np.float64), np.asarray(distances, np.float64)
    if scores.ndim != 1 or not len(scores) or scores.shape != away.shape:
        raise InputError(f"two stages: {scores.shape} scores and {away.shape} distances, must be [n >= 1] both")
    weights = np.exp(-(away**2) / (2.0 * variance))
    if weights.sum() < 1e-12:
        weights = np.ones(len(scores))
    return float(first * (weights * scores).sum() / weights.sum())


def nuplan_cls(parts: Parts) -> Float[Array, "..."]:
    """NuPlan's closed-loop score: NC * DAC * MP * DDC * (5 progress + 5 TTC + 4 speed + 2 comfort) / 16.

    DAC is nuPlan's, which lets a corner be 0.3 m outside (``drivable_area_nuplan``); the strict one where that is not
    among the parts.
    """
    values = named(parts)
    if "drivable_area" in values:
        values.setdefault("drivable_area_nuplan", values["drivable_area"])
    return gated_mean(values, NUPLAN_GATES, NUPLAN_WEIGHTS)


def alpamayo_score(parts: Parts) -> Float[Array, "..."]:
    """The project's own score: four gates and eight weighted parts, among them RSS and the reasoning's truth."""
    return gated_mean(named(parts), ALPAMAYO_GATES, ALPAMAYO_WEIGHTS)


def alpasim_scene_score(
    *,
    collision_at_fault: bool | Array,
    offroad: bool | Array,
    progress: float | Array,
    dist_to_gt_location: float | Array,
) -> Float[Array, "..."]:
    """AlpaSim's score of a scene: 0 after an at-fault collision or off the road, else by progress.

    1 where the ego never was 5 m or more from where the recorded one was, else min(progress / 0.8, 1).
    """
    bad = np.asarray(collision_at_fault, bool) | np.asarray(offroad, bool)
    far = np.minimum(np.clip(np.asarray(progress, np.float64), 0.0, 1.0) / 0.8, 1.0)
    return np.where(bad, 0.0, np.where(np.asarray(dist_to_gt_location) < 5.0, 1.0, far))


@dataclass(frozen=True, eq=False)
class Rated:
    """What people rated at one decision of an episode: trajectories, in the ego frame of that ``step``, and labels.

    Positions (m) are every 1 / ``frequency`` s, the first at that time, for 5 s or more; labels are 0 to 10.
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
    prediction: Float[Array, "... t 2"],
    raters: Float[Array, "r t 2"],
    labels: Float[Array, " r"],
    initial_speed: float,
    *,
    frequency: float = 4.0,
    probabilities: Float[Array, "..."] | None = None,
) -> float:
    """Rater feedback score of WOD-E2E, 0 to 10: how near a prediction comes to what people rated well.

    At 3 and 5 s the deviation from each rated trajectory, along and across its direction, is divided by the
    thresholds 4.0 and 1.0 m (3 s), 7.2 and 1.8 m (5 s), times clip(0.5 + 0.5 (v0 - 1.4) / 9.6, 0.5, 1). With q the
    larger of both the score is the best label * 0.1^max(q - 1, 0), the mean of both times; at least 4 where no
    rated trajectory has q <= 1 at both times. Several predictions count by their probabilities.

    Args:
        prediction: positions in the ego frame at t0, the first at 1 / frequency; or several of them.
        raters: rated trajectories in the same frame and at the same times.
        labels: their scores, 0 to 10.
        initial_speed: of the ego at t0 (m/s).
        frequency: of the positions (Hz).
        probabilities: of several predictions; equal unless given.

    Raises:
        InputError: fewer than 5 s, shapes that do not fit, no rated trajectory.

    Source: waymo-open-dataset, metrics/python/rater_feedback_utils.py; NAVSIM-like averages are not a part of it.
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
    """Driving score of the CARLA leaderboard and Bench2Drive, 0 to 100.

    Route completion (per cent) times the product of 0.5 for each pedestrian hit, 0.6 vehicle, 0.65 static, 0.7 red
    light, 0.8 stop sign, 0.7 timeout, 0.7 emergency vehicle, and one minus the part of the route outside of lanes.

    Raises:
        InputError: an unknown infraction, a negative count, a part outside of its range.
    """
    counts = _infractions(infractions)
    if not 0.0 <= route_completion <= 100.0 or not 0.0 <= outside_lane <= 1.0:
        raise InputError(f"route completion {route_completion} must be in [0, 100], outside {outside_lane} in [0, 1]")
    score = route_completion * (1.0 - outside_lane)
    for name, count in counts.items():
        score *= BENCH2DRIVE_FACTORS[name] ** count
    return score


def bench2drive_success(route_completion: float, infractions: Mapping[str, int], outside_lane: float = 0.0) -> bool:
    """Success: the whole route and no infraction; a minimum-speed infraction does not count.

    Raises:
        InputError: an unknown infraction, or a negative count.
    """
    counts = _infractions(infractions)
    return route_completion >= 100.0 and outside_lane == 0.0 and not any(counts[x] for x in set(counts) - {"min_speed"})


def _infractions(infractions: Mapping[str, int]) -> Mapping[str, int]:
    for name, count in infractions.items():
        if name not in BENCH2DRIVE_FACTORS:
            raise unknown_name("infraction", name, BENCH2DRIVE_FACTORS)
        if not count >= 0:
            raise InputError(f"infraction {name!r}: {count}, must not be negative")
    return infractions


def named(parts: Parts) -> dict[str, Array]:
    """Parts by their rules' names.

    Raises:
        InputError: an unknown name, or a value outside of [0, 1].
    """
    out: dict[str, Array] = {}
    for key, value in parts.items():
        name = NAMES.get(key.lower())
        if name is None:
            raise unknown_name("part", key.lower(), NAMES)
        array = np.asarray(value, np.float64)
        if np.any((array < 0.0) | (array > 1.0)):
            raise InputError(f"part {key!r} has values outside of [0, 1]")
        out[name] = array
    return out


def gated_mean(parts: Parts, gates: tuple[str, ...], weights: Mapping[str, float]) -> Float[Array, "..."]:
    """Product of the gates times the weighted mean of the rest, over the parts that are there and not NaN."""
    values = {name: np.asarray(parts.get(name, np.nan), np.float64) for name in (*gates, *weights)}
    shape = np.broadcast_shapes(*(value.shape for value in values.values()))
    product, total, weight = np.ones(shape), np.zeros(shape), np.zeros(shape)
    for name in gates:
        product = product * np.where(np.isnan(values[name]), 1.0, values[name])
    for name, share in weights.items():
        there = ~np.isnan(values[name])
        total = total + np.where(there, share * values[name], 0.0)
        weight = weight + share * there
    any_gate = np.any([~np.isnan(np.broadcast_to(values[name], shape)) for name in gates], axis=0)
    mean = np.divide(total, weight, out=np.ones(shape), where=weight > 0.0)
    return np.where((weight > 0.0) | any_gate, product * mean, np.nan)


def scores_of(rules: Mapping[str, RuleResult]) -> Scores:
    """All formulas, if at least the collision and the progress parts were looked at."""
    known = set(PDMS_GATES) | set(PDMS_WEIGHTS) <= set(rules)
    return Scores(tuple(FORMULAS) if known else (), lambda name: score_of(rules, name, *FORMULAS[name]))


def score_of(rules: Mapping[str, RuleResult], name: str, gates: tuple[str, ...], weights: Mapping[str, float]) -> Score:
    """A gated mean of rules as a ``Score``, with its parts and what was missing of them."""
    names = (*gates, *weights)
    count = len(next(iter(rules.values())).value)
    nothing = np.full(count, np.nan)
    parts = {part: _value(rules[part]) if part in rules else nothing for part in names}
    absent = np.zeros(count, np.int64)  # a bit for each part
    for i, values in enumerate(parts.values()):
        absent |= np.isnan(values).astype(np.int64) << i
    kinds = absent.tolist()
    said = {kind: tuple(name for i, name in enumerate(names) if kind >> i & 1) for kind in set(kinds)}
    missing = tuple(said[kind] for kind in kinds)
    return Score(name, np.asarray(gated_mean(parts, gates, weights)), parts, missing, formula(gates, weights))


def formula(gates: tuple[str, ...], weights: Mapping[str, float]) -> str:
    """The formula of a gated mean in one line."""
    inner = " + ".join(f"{share:g} {name}" for name, share in weights.items())
    return f"{' * '.join(gates)} * ({inner}) / {sum(weights.values()):g}"


def _value(rule: RuleResult) -> Float64[Array, " k"]:
    return np.where(rule.valid, rule.value, np.nan)


def _directions(rated: Array) -> Float64[Array, "r t 2"]:
    """Unit direction of each rated trajectory at each time; that before where it stands, forward at the start."""
    step = np.diff(np.concatenate([np.zeros((len(rated), 1, 2)), rated], axis=1), axis=1)
    length = np.linalg.norm(step, axis=-1)
    out = np.empty_like(step)
    before = np.tile([1.0, 0.0], (len(rated), 1))
    for t in range(step.shape[1]):
        moves = length[:, t] > 0.0
        before = np.where(moves[:, None], step[:, t] / np.where(moves, length[:, t], 1.0)[:, None], before)
        out[:, t] = before
    return out
