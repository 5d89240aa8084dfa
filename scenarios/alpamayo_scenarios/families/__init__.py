"""The families of edge cases: one module each in this folder, and one line each in ``FAMILIES``."""

from importlib import import_module

from alpamayo_scenarios.families.family import Family, Parameter
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.errors import check_known

__all__ = ["FAMILIES", "Family", "Parameter", "family_names", "get_family", "make_scenario", "training_family_names"]

MODULES = (
    "cut_in",
    "occluded_child",
    "debris",
    "construction_bypass",
    "red_light_runner",
    "wrong_way",
    "stopped_lead",
    "slower_lead",
    "braking_lead",
    "stop_and_go",
    "cut_out_stopped_car",
    "queue_end",
    "partial_block",
    "tailgater",
    "overtaking_cut_in",
    "shoulder_pull_in",
    "parking_pull_out",
    "side_drift",
    "motorcycle_filtering",
    "encroaching_oncoming",
    "accident_scene",
    "accident_two_way",
    "lane_closure",
    "double_parked",
    "double_parked_two_way",
    "door_opening",
    "slow_bicycle",
    "slow_bicycle_two_way",
    "school_bus_stop",
    "animal",
    "blocked_exit",
    "left_turn_across_path",
    "unprotected_left",
    "right_turn_into_flow",
    "stop_sign_violation",
    "crossing_bicycles",
    "occluded_junction",
    "turn_into_pedestrian",
    "cut_out_two_stopped",
    "amber_dilemma",
    "dark_signals",
    "adult_crossing",
    "walking_along",
    "cyclist_crossing",
    "jaywalker",
    "low_friction_braking",
    "fog_queue",
    "lane_drop",
    "slow_merge",
    "ramp_entry",
    "highway_cut_in",
    "swerving_lead",
    "offset_lead",
    "turning_lead",
    "roundabout_entry",
    "straight_crossing",
    "highway_exit",
    "sequential_lane_change",
    "narrow_meeting",
    "emergency_vehicle",
)
"""One module per family; it holds the family under its own name in capitals."""

FAMILIES: tuple[Family, ...] = tuple(
    sorted(
        (getattr(import_module(f"{__name__}.{module}"), module.upper()) for module in MODULES),
        key=lambda family: family.number,
    )
)


def families_by_group() -> dict[str, list[Family]]:
    """Return the families of each group, groups and families in the order of the table."""
    groups: dict[str, list[Family]] = {}
    for family in FAMILIES:
        groups.setdefault(family.group.value, []).append(family)
    return groups


def family_names() -> tuple[str, ...]:
    """Return the names of all families, in the order of the table."""
    return tuple(family.name for family in FAMILIES)


def training_family_names() -> tuple[str, ...]:
    """Return the names of the families that may be trained on: those not held out for evaluation."""
    return tuple(family.name for family in FAMILIES if not family.held_out)


def get_family(name: str) -> Family:
    """Return the family of a name.

    Raises:
        InputError: There is no such family; the message offers similar names.
    """
    check_known("family", name, family_names())
    return next(family for family in FAMILIES if family.name == name)


def make_scenario(family: str, seed: int) -> Scenario:
    """Make a scenario of a family; the seed determines all of it.

    Raises:
        InputError: There is no such family, or the seed is not in [0, 2^63).
    """
    return get_family(family).build({}, seed)
