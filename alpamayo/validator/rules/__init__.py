"""The rules. Each module declares its rules as ``RULES``, next to the functions that evaluate them.

A new rule is one module here, one line in ``MODULES``, and one entry in docs/validator/definitions.md.
"""

from collections.abc import Mapping
from types import MappingProxyType

from alpamayo.validator.rule import Rule
from alpamayo.validator.rules import (
    collision,
    comfort,
    drivable_area,
    extended_comfort,
    kinematics,
    lanes,
    progress,
    reasoning,
    rss,
    rss_intersection,
    sensor_staleness,
    signals,
    time_to_collision,
)

MODULES = (
    collision,
    drivable_area,
    time_to_collision,
    progress,
    comfort,
    lanes,
    signals,
    kinematics,
    rss,
    rss_intersection,
    extended_comfort,
    sensor_staleness,
    reasoning,
)
RULES: Mapping[str, Rule] = MappingProxyType({rule.name: rule for module in MODULES for rule in module.RULES})
"""All rules by name."""
PLAN_RULES: Mapping[str, Rule] = MappingProxyType({name: rule for name, rule in RULES.items() if not rule.episode_only})
"""The rules that judge plans before they are driven."""


def rule_table() -> list[dict[str, str | bool]]:
    """Return one row for each rule: name, unit of the margin, whether it is hard, what it asks for, source."""
    return [
        {"rule": rule.name, "unit": rule.unit, "hard": rule.hard, "summary": rule.summary, "source": rule.source}
        for rule in RULES.values()
    ]
