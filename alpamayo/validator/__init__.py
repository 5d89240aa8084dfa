"""The safety validator: what is a plan or an episode worth, rule by rule, by how much, since when and why.

``score_plans`` judges plans before they are driven, ``score_episode`` what was driven. Both give a ``Verdict``.
"""

from alpamayo.validator import comfort, criticality, rss, scores, statistics, stl
from alpamayo.validator.drivable import DrivableField
from alpamayo.validator.judge import CORE_RULES, RULES, judge, score_episode, score_plans
from alpamayo.validator.scores import Rated
from alpamayo.validator.situation import Situation, Traffic, constant_velocity, recorded
from alpamayo.validator.verdict import RuleResult, Score, Verdict, verdict_from_json

__all__ = [
    "CORE_RULES",
    "RULES",
    "DrivableField",
    "Rated",
    "RuleResult",
    "Score",
    "Situation",
    "Traffic",
    "Verdict",
    "comfort",
    "constant_velocity",
    "criticality",
    "judge",
    "recorded",
    "rss",
    "score_episode",
    "score_plans",
    "scores",
    "statistics",
    "stl",
    "verdict_from_json",
]
