"""The families of edge cases: one module each in this folder, and one line each in ``FAMILIES``."""

from alpamayo_scenarios.families.construction_bypass import CONSTRUCTION_BYPASS
from alpamayo_scenarios.families.cut_in import CUT_IN
from alpamayo_scenarios.families.debris import DEBRIS
from alpamayo_scenarios.families.family import Family, Parameter
from alpamayo_scenarios.families.occluded_child import OCCLUDED_CHILD
from alpamayo_scenarios.families.red_light_runner import RED_LIGHT_RUNNER
from alpamayo_scenarios.families.wrong_way import WRONG_WAY
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.errors import unknown_name

__all__ = ["FAMILIES", "Family", "Parameter", "family_names", "get_family", "make_scenario"]

FAMILIES: tuple[Family, ...] = (CUT_IN, OCCLUDED_CHILD, DEBRIS, CONSTRUCTION_BYPASS, RED_LIGHT_RUNNER, WRONG_WAY)


def family_names() -> tuple[str, ...]:
    """Return the names of all families, in the order of the table."""
    return tuple(family.name for family in FAMILIES)


def get_family(name: str) -> Family:
    """Return the family of a name.

    Raises:
        InputError: There is no such family; the message offers similar names.
    """
    for family in FAMILIES:
        if family.name == name:
            return family
    raise unknown_name("family", name, family_names())


def make_scenario(family: str, seed: int) -> Scenario:
    """Make a scenario of a family; the seed determines all of it.

    Raises:
        InputError: There is no such family, or the seed is negative.
    """
    return get_family(family).build({}, seed)
