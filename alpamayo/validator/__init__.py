"""The safety validator: what is a plan or an episode worth, rule by rule, by how much, since when and why.

``score_plans`` judges plans before they are driven, ``score_episode`` what was driven. Both give a ``Verdict``.
"""

from alpamayo.validator import scores
from alpamayo.validator.judge import CORE_RULES, RULES, judge, score_episode, score_plans
from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.scores import Rated
from alpamayo.validator.verdict import RuleResult, Score, Verdict, verdict_from_json
from alpamayo_sim.prediction.trajectories import AgentTrajectories, constant_velocity, recorded

__all__ = [
    "CORE_RULES",
    "RULES",
    "AgentTrajectories",
    "MotionBatch",
    "Rated",
    "RuleResult",
    "Score",
    "Verdict",
    "constant_velocity",
    "judge",
    "recorded",
    "score_episode",
    "score_plans",
    "scores",
    "verdict_from_json",
]
