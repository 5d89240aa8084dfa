"""Long-tail families and the roads that they happen on."""

from alpamayo_scenarios.families import FAMILIES, Family, Parameter, family_names, get_family, make_scenario

__all__ = ["FAMILIES", "Family", "Parameter", "family_names", "get_family", "make_scenario"]
