"""Figures of the guard in one run, judged by the recorded motions of the other agents."""

from typing import Any

import numpy as np

from alpamayo.episode import Episode
from alpamayo.validator.judge import episode_motions, judge
from alpamayo.validator.motions import MotionBatch, mirrored_history, plans_in_world
from alpamayo.validator.recorded_states import decision_rows
from alpamayo.validator.rules import RULES
from alpamayo.validator.verdict import Verdict

INTERVENTION_LEAD_S = 2.0  # a guard should intervene within this time before a collision
PLAN_STATES = 41  # 4 s
MIN_PLAN_STATES = 5  # shorter rests of a recording cannot show a false alarm


def guard_figures(episode: Episode, verdict: Verdict) -> dict[str, Any]:
    """Count interventions, false alarms and missed collisions, judged by the recorded motions of the others.

    An intervention is a false alarm if the driver's choice, among the recorded motions of the other agents, would
    have had no at-fault collision and would have stayed on the road for 4 s. A missed collision is an at-fault
    collision with no intervention in the 2 s before it. Both are estimates: the others might have moved differently.
    Progress lost (m) is how much further the driver's choices would have gone, summed over the intervention steps.
    """
    steps = np.flatnonzero(episode.intervened)
    whole = episode_motions(episode) if len(steps) else None
    alarms = sum(whole is not None and not _would_fail(episode, whole, int(t)) for t in steps)
    collision = verdict.rules["at_fault_collision"].violation_time[0]
    recent = None
    if np.isfinite(collision):
        recent = episode.intervened[max(0, round((collision - INTERVENTION_LEAD_S) / episode.dt)) :]
    latency = 1e3 * episode.timings["guard"] if "guard" in episode.timings else None
    return {
        "interventions": len(steps),
        "false_alarms": alarms,
        "progress_lost_m": progress_lost(episode),
        "missed": bool(recent is not None and not recent.any()),
        "latency_ms": None if latency is None else {str(p): float(np.percentile(latency, p)) for p in (50, 99)},
    }


def progress_lost(episode: Episode) -> float:
    """Sum the distance (m) by which the driver's choices go further than the guard's in their first step."""
    steps = np.flatnonzero(episode.intervened)
    chosen = episode.plans[steps, episode.chosen[steps], 0, 0].astype(np.float64)
    return float((chosen - episode.executed[steps, 0, 0]).sum())


def _would_fail(episode: Episode, whole: MotionBatch, step: int) -> bool:
    """Return whether the driver's choice would have failed among the recorded motions of the others."""
    row = int(decision_rows(episode)[step])
    last = min(row + PLAN_STATES, len(whole.times))
    if last - row < MIN_PLAN_STATES:
        return True
    plan = episode.plans[step, episode.chosen[step]][None].astype(np.float64)
    pose, speed = plans_in_world(plan, whole.pose[0, row], float(whole.speed[0, row]))
    count = last - row
    traffic = whole.traffic
    cut = {name: getattr(traffic, name)[:, row:last] for name in ("pose", "velocity", "valid")}
    others = type(traffic)(ids=traffic.ids, category=traffic.category, size=traffic.size, **cut)
    motions = MotionBatch(
        scene=whole.scene,
        map_index=whole.map_index,
        times=whole.times[:count],
        pose=pose[:, :count],
        speed=speed[:, :count],
        size=whole.size,
        traffic=others,
        history=mirrored_history(pose, speed[:, 0], whole.dt),
    )
    found = judge(motions, {name: RULES[name] for name in ("at_fault_collision", "drivable_area")})
    return any(bool(rule.violated[0]) for rule in found.rules.values())
