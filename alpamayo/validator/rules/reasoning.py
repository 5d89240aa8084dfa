"""Consistency of the reasoning: whether the driver's text fits its plan and the scene."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from alpamayo.episode import Episode
from alpamayo.validator.causes import in_the_way
from alpamayo.validator.motions import MotionBatch, episode_of
from alpamayo.validator.reasoning import (
    INCONSISTENT_MARGIN,
    Consistency,
    MetaActions,
    check_consistency,
    meta_actions,
    object_row,
    visible,
)
from alpamayo.validator.recorded_states import decision_rows
from alpamayo.validator.rule import Rule
from alpamayo.validator.verdict import RuleResult, not_applicable
from alpamayo_sim.datatypes.reasoning import ComponentKind

Array = np.ndarray


def reasoning_rule(motions: MotionBatch) -> RuleResult:
    """Compute the share of an episode's decisions whose reasoning fits the plan and the scene at that time.

    The plan is the driver's own choice, whatever the guard made of it. Named components have to be visible from the
    driver's cameras, to move as stated, and to be in the way of an ego that takes no account of them. A cause has to be
    named where such an ego would soon touch something visible, and where the plan stops before something visible. The
    margin is the least of the decisions' margins, below zero also where a component does not fit or is missing. A step
    without a reasoning counts as one that does not fit, unless the driver gives none at all: then the rule does not
    apply.
    """
    episode = episode_of(motions)
    steps = np.array([t for t, reasoning in enumerate(episode.reasoning) if reasoning is not None], np.int64)
    if not len(steps):
        return not_applicable(1, "the driver gave no reasoning")
    found = _checks(episode, steps)
    margins, rows = np.full(len(motions.times), np.nan), decision_rows(episode)
    fits = np.zeros(episode.steps, bool)
    for t in range(episode.steps):
        check = found.get(t)
        margin = -INCONSISTENT_MARGIN if check is None else check.margin
        margins[rows[t]] = np.fmin(margins[rows[t]], margin)
        fits[t] = check is not None and check.consistent
    text = f"{int(fits.sum())} of {episode.steps} reasonings are consistent"
    when = float(np.argmin(fits) * episode.dt) if not fits.all() else np.nan
    if not fits.all():
        first = int(np.argmin(fits))
        said, check = episode.reasoning[first], found.get(first)
        complaint = "the driver is silent" if check is None else check.complaint
        text += f"; {complaint} at {when:.1f} s" + (f": {said.sentence}" if said else "")
    least = np.array([np.nanmin(margins)])
    return RuleResult(np.array([fits.mean()]), least, np.ones(1, bool), np.array([when]), (text,), margins[None])


def _checks(episode: Episode, steps: Array) -> dict[int, Consistency]:
    """Return the checks of the decisions at some steps."""
    chosen, route = episode.plans[steps, episode.chosen[steps]], episode.scenario.scene.route
    actions = meta_actions(chosen, episode.ego_speed[steps], route, episode.ego_pose[steps].astype(np.float64))
    ways = in_the_way(episode, steps)
    stops = np.array([each.stops for each in actions])
    unnamed = (ways.urgent | (ways.decisive & stops[:, None])) & ~ways.behind
    return {
        int(t): _check(episode, int(t), actions[i], decisive=ways.decisive[i], unnamed=unnamed[i])
        for i, t in enumerate(steps)
    }


def _check(
    episode: Episode, t: int, actions: MetaActions, *, decisive: Bool[Array, " agents"], unnamed: Bool[Array, " agents"]
) -> Consistency:
    """Check one decision, also for causes that change nothing and for one that is missing.

    Args:
        episode: the drive.
        t: the step.
        actions: those of the plan.
        decisive: what is in the way.
        unnamed: what must not stay unnamed, where it is visible.
    """
    reasoning, truth = episode.reasoning[t], episode.truth(t)
    assert reasoning is not None
    found = check_consistency(reasoning, actions, truth, episode.rig)
    checks = []
    for component, check in zip(reasoning.components, found.components, strict=True):
        row = object_row(component, truth) if component.kind == ComponentKind.OBJECT else None
        checks.append(check if row is None else replace(check, decisive=bool(decisive[row])))
    rows = np.flatnonzero(unnamed & truth.agents.valid)
    if any(check.fits for check in checks) or not len(rows):
        return replace(found, components=tuple(checks))
    rows = rows[visible(truth, rows, episode.rig)]
    return replace(found, components=tuple(checks), missing=truth.agents.ids[rows[0]] if len(rows) else "")


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
