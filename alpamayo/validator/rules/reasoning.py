"""Consistency of the reasoning: whether the driver's text fits its plan and the scene."""

import numpy as np

from alpamayo.validator.motions import MotionBatch, episode_of
from alpamayo.validator.reasoning import Consistency, check_consistency, meta_actions
from alpamayo.validator.recorded_states import decision_rows
from alpamayo.validator.rule import Rule
from alpamayo.validator.verdict import RuleResult, not_applicable


def reasoning_rule(motions: MotionBatch) -> RuleResult:
    """Compute the share of an episode's decisions whose reasoning fits the plan and the scene at that time.

    The plan is the driver's own choice, whatever the guard made of it; named components have to be visible from the
    driver's cameras. The margin is the least of the decisions' margins, below zero also where a component does not
    fit. Steps without a reasoning do not count.
    """
    episode = episode_of(motions)
    steps = [t for t, reasoning in enumerate(episode.reasoning) if reasoning is not None]
    if not steps:
        return not_applicable(1, "the driver gave no reasoning")
    margins, rows = np.full(len(motions.times), np.nan), decision_rows(episode)
    consistent = np.zeros(len(steps), bool)
    first = ""
    chosen, route = episode.plans[steps, episode.chosen[steps]], episode.scenario.scene.route
    actions = meta_actions(chosen, episode.ego_speed[steps], route, episode.ego_pose[steps].astype(np.float64))
    for i, t in enumerate(steps):
        reasoning = episode.reasoning[t]
        assert reasoning is not None
        found = check_consistency(reasoning, actions[i], episode.truth(t), episode.rig)
        margins[rows[t]] = np.fmin(margins[rows[t]], found.margin)
        consistent[i] = found.consistent
        if not consistent[i] and not first:
            first = f"{_complaint(found)} at {t * episode.dt:.1f} s: {reasoning.sentence}"
    when = float(steps[int(np.argmin(consistent))] * episode.dt) if not consistent.all() else np.nan
    text = f"{int(consistent.sum())} of {len(steps)} reasonings are consistent" + (f"; {first}" if first else "")
    margin = np.array([np.nanmin(margins)])
    return RuleResult(np.array([consistent.mean()]), margin, np.ones(1, bool), np.array([when]), (text,), margins[None])


def _complaint(found: Consistency) -> str:
    if found.longitudinal < 0.0:
        return "the plan contradicts the longitudinal decision"
    if found.lateral < 0.0:
        return "the plan contradicts the lateral decision"
    bad = next(check for check in found.components if not check.fits)
    fault = "does not exist" if not bad.exists else "is elsewhere" if not bad.placed else "is not visible"
    return f"a named component {fault}"


RULES = (
    Rule(
        name="reasoning",
        unit="m/s² or m",
        summary="The text of every decision fits the plan and the scene.",
        source="ours",
        evaluate=reasoning_rule,
        episode_only=True,
    ),
)
