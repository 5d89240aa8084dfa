"""Long-tail scenarios: families, the roads that they happen on, and suites to evaluate on."""

from alpamayo_scenarios.families import FAMILIES, Family, Parameter, family_names, get_family, make_scenario
from alpamayo_scenarios.suites import Suite, get_suite, suite_names

__all__ = [
    "FAMILIES",
    "Family",
    "Parameter",
    "Suite",
    "family_names",
    "get_family",
    "get_suite",
    "make_scenario",
    "suite_names",
]
