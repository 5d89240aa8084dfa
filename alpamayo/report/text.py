"""Names and numbers as text, for pages and for the console."""

from collections.abc import Mapping, Sequence
from typing import Any

NOT_AVAILABLE = "n/a"


def words(name: str) -> str:
    """Return the name of a rule, a score or a parameter with spaces in place of underscores."""
    return name.replace("_", " ").strip()


def number_text(value: float | None, digits: int = 2, unit: str = "") -> str:
    """Return a number with its unit, or "n/a" for None."""
    return NOT_AVAILABLE if value is None else f"{value:.{digits}f} {unit}".rstrip()


def missing_text(score: Mapping[str, Any]) -> str:
    """Return the missing parts of a score, with the number of runs if not all; empty if no part is missing."""
    parts = score["missing"].items()
    names = (words(part) + ("" if count == score["n"] else f" in {count} of {score['n']}") for part, count in parts)
    return f"without {', '.join(names)}" if parts else ""


def single_score_text(score: Mapping[str, Any]) -> str:
    """Return the score of one run with its missing parts."""
    parts = ", ".join(map(words, score["missing"]))
    return number_text(score["value"]) + (f", without {parts}" if parts and score["value"] is not None else "")


def outcome_text(row: Mapping[str, Any]) -> str:
    """Return in a few words how a run ended."""
    if row["at_fault_collision"]:
        return "collision, at fault"
    if row["collision"]:
        return "collision, not at fault"
    if row["off_road"]:
        return "left the road"
    return "reached the goal" if row["arrived"] else "timed out"


RULE_TITLES = {
    "at_fault_collision": "no collision at fault",
    "drivable_area": "stays on the road",
    "drivable_area_nuplan": "stays on the road (nuPlan, 0.3 m)",
    "time_to_collision": "time to collision kept",
    "time_to_collision_accelerated": "time to collision, accelerated",
    "progress": "progress",
    "making_progress": "makes progress",
    "comfort": "comfort of the motion",
    "extended_comfort": "plans agree from step to step",
    "driving_direction": "stays in its lanes' direction",
    "driving_direction_nuplan": "lanes' direction (nuPlan)",
    "lane_keeping": "keeps to the lane's centre",
    "speed_limit": "keeps the speed limit",
    "red_light": "stops at red",
    "stop_line": "stops at stop lines",
    "kinematics": "motion is possible",
    "rss": "responds to danger (RSS)",
    "rss_intersection": "responds to danger at crossings (RSS)",
    "sensor_staleness": "camera images are recent",
    "reasoning": "reasoning fits scene and plan",
}
"""What it means that a rule is kept: a value of 1 is good under such a title."""

INFRACTION_SCORE = "bench2drive"  # its parts are numbers of infractions, apart from these two
PART_NOTES = {"route_completion": "of 100 %", "outside_lane": "share of the distance: 0 is best"}


def rule_title(name: str) -> str:
    """Return in words what it means that a rule is kept."""
    return RULE_TITLES.get(name, words(name))


def part_title(score: str, part: str) -> str:
    """Return a part of a score in words: the title of its rule, or what is counted."""
    return words(part) if score == INFRACTION_SCORE else rule_title(part)


def part_note(score: str, part: str) -> str:
    """Return what the value of a part means where 1 is not the best; else nothing."""
    return PART_NOTES.get(part, "number: 0 is best") if score == INFRACTION_SCORE else ""


GUARD_TEXTS = {"on": "guard on", "off": "guard off", "belief": "guard on belief", None: "guard in some runs"}


def pair_text(drivers: Sequence[str], guard_states: Sequence[str | None]) -> str:
    """Return two compared drivers with the guard of each; settings that differ are said to differ."""
    pairs = zip(drivers, guard_states, strict=True)
    first, second = (f"{name} ({GUARD_TEXTS[state]})" for name, state in pairs)
    differ = guard_states[0] != guard_states[1]
    return f"{first} minus {second}" + (", which differ in the guard, too" if differ else "")
