"""The safety validator: for each rule a value, a margin, the time of the first violation and a reason.

``score_plans`` judges plans before they are driven, ``score_episode`` a driven episode. Both return a ``Verdict``.
"""

from alpamayo.validator import scores
from alpamayo.validator.judge import CORE_RULES, judge, score_episode, score_plans
from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.rule import Rule
from alpamayo.validator.rules import PLAN_RULES, RULES, rule_table
from alpamayo.validator.scores import Rated
from alpamayo.validator.verdict import RuleResult, Score, Verdict, verdict_from_json
from alpamayo_sim.prediction.trajectories import AgentTrajectories, constant_velocity, recorded

__all__ = [
    "CORE_RULES",
    "PLAN_RULES",
    "RULES",
    "AgentTrajectories",
    "MotionBatch",
    "Rated",
    "Rule",
    "RuleResult",
    "Score",
    "Verdict",
    "constant_velocity",
    "judge",
    "recorded",
    "rule_table",
    "score_episode",
    "score_plans",
    "scores",
    "verdict_from_json",
]
