"""Conditions of a scenario file, evaluated against the entities as they are now."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from xml.etree.ElementTree import Element

from alpamayo_datasets.openscenario.actions import Stage
from alpamayo_datasets.openscenario.motion import Mover
from alpamayo_datasets.xml_elements import child, number, place, word
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import box_separation

EQUAL = 0.05  # tolerance of the rule equalTo, in SI units
RULES: Mapping[str, Callable[[float, float], bool]] = {
    "greaterThan": lambda value, limit: value > limit,
    "greaterOrEqual": lambda value, limit: value >= limit,
    "lessThan": lambda value, limit: value < limit,
    "lessOrEqual": lambda value, limit: value <= limit,
    "equalTo": lambda value, limit: abs(value - limit) <= EQUAL,
    "notEqualTo": lambda value, limit: abs(value - limit) > EQUAL,
}


@dataclass(frozen=True, eq=False)
class Now:
    """What conditions are evaluated against: the time (s), the entities, and the state of a storyboard element."""

    time: float
    stage: Stage
    has_state: Callable[[str, str], bool]


@dataclass(eq=False)
class Condition:
    """A condition with its edge and its delay; it remembers what it was."""

    element: Element
    where: str
    edge: str
    delay: float
    before: bool | None = None
    fired: list[float] = field(default_factory=list)

    def is_true(self, now: Now) -> bool:
        """Return whether the condition holds now, or held on its edge ``delay`` (s) ago."""
        value = _value(self.element, now, self.where)
        before, self.before = self.before, value
        rises, falls = value and before is False, not value and before is True
        fires = {"none": value, "rising": rises, "falling": falls, "risingOrFalling": rises or falls}[self.edge]
        if self.delay <= 0.0:
            return fires
        if fires:
            self.fired.append(now.time)
        return any(abs(now.time - self.delay - time) < 1e-6 for time in self.fired)


@dataclass(eq=False)
class Trigger:
    """A trigger: groups of conditions, one of which has to hold as a whole. One without groups holds at once."""

    groups: list[list[Condition]]

    def is_true(self, now: Now) -> bool:
        """Return whether a group holds; all conditions are evaluated, since they remember."""
        held = [[condition.is_true(now) for condition in group] for group in self.groups]
        return any(all(group) for group in held) if held else True


def trigger_of(element: Element | None, where: str) -> Trigger:
    """Return a trigger.

    Raises:
        InputError: A condition has an unknown edge.
    """
    groups = [] if element is None else element.findall("ConditionGroup")
    return Trigger([[_condition(item, where) for item in group.findall("Condition")] for group in groups])


def is_supported(condition: Element) -> bool:
    """Return whether a condition is of a supported kind."""
    return _leaf(condition) is not None


def _condition(element: Element, where: str) -> Condition:
    edge = element.get("conditionEdge", "none")
    if edge not in ("none", "rising", "falling", "risingOrFalling"):
        raise InputError(f"{place(element, where)}: conditionEdge is {edge!r}")
    leaf = _leaf(element)
    before = False if leaf is not None and leaf.tag == "SimulationTimeCondition" else None
    return Condition(element, where, edge, number(element, "delay", where, 0.0), before)


def _leaf(condition: Element) -> Element | None:
    return next((element for element in condition.iter() if element.tag in _ENTITY or element.tag in _VALUE), None)


def _value(condition: Element, now: Now, where: str) -> bool:
    """Return what a condition says; one that is not supported never holds."""
    leaf = _leaf(condition)
    if leaf is None:
        return False
    if leaf.tag in _VALUE:
        return _VALUE[leaf.tag](leaf, now, where)
    entities = child(child(condition, "ByEntityCondition", where), "TriggeringEntities", where)
    movers = [now.stage.positions.other(reference) for reference in entities.findall("EntityRef")]
    held = [mover.placed and _ENTITY[leaf.tag](leaf, mover, now, where) for mover in movers]
    return all(held) if entities.get("triggeringEntitiesRule") == "all" else any(held)


def _compared(element: Element, value: float | None, where: str) -> bool:
    rule = element.get("rule", "greaterThan")
    if rule not in RULES:
        raise InputError(f"{place(element, where)}: rule is {rule!r}, must be {', '.join(RULES)}")
    return value is not None and RULES[rule](value, number(element, "value", where))


def _time(element: Element, now: Now, where: str) -> bool:
    """Compare the time; in continuous time it is greater than a value from that value on."""
    limit = number(element, "value", where)
    if element.get("rule", "greaterThan").startswith("greater"):
        return now.time >= limit - 1e-9
    return _compared(element, now.time, where)


def _state(element: Element, now: Now, where: str) -> bool:
    return now.has_state(word(element, "storyboardElementRef", where), word(element, "state", where))


def _headway(element: Element, mover: Mover, now: Now, where: str) -> bool:
    gap = _distance_ahead(element, mover, now)
    return _compared(element, gap / mover.speed if gap is not None and mover.speed > 1e-3 else None, where)


def _time_to_collision(element: Element, mover: Mover, now: Now, where: str) -> bool:
    reference = element.find(".//EntityRef")
    other = now.stage.positions.other(reference if reference is not None else element)
    gap = ahead(mover, other, freespace=element.get("freespace") == "true")
    closing = mover.speed - other.speed * math.cos(float(other.place()[3] - mover.place()[3]))
    return _compared(element, gap / closing if gap >= 0.0 and closing > 1e-3 else None, where)


def _distance_ahead(element: Element, mover: Mover, now: Now) -> float | None:
    """Return the distance (m) to an entity ahead; None if it is behind."""
    gap = ahead(mover, now.stage.positions.other(element), freespace=element.get("freespace") == "true")
    return gap if gap >= 0.0 else None


def ahead(mover: Mover, other: Mover, *, freespace: bool) -> float:
    """Return how far (m) an entity is ahead of another: along the road if they share one, else along its heading.

    With ``freespace`` from bumper to bumper; negative behind.
    """
    if mover.road is not None and mover.road is other.road:
        distance = (other.s - mover.s) * (1.0 if mover.along else -1.0)
    else:
        x, y, _, heading = mover.place()
        to = other.place()
        distance = (float(to[0]) - x) * math.cos(heading) + (float(to[1]) - y) * math.sin(heading)
    if not freespace:
        return distance
    front = 0.5 * mover.entity.size[0] + mover.entity.centre[0]
    rear = 0.5 * other.entity.size[0] - other.entity.centre[0]
    return float(distance - front - rear)


def _relative_distance(element: Element, mover: Mover, now: Now, where: str) -> bool:
    other, kind = now.stage.positions.other(element), element.get("relativeDistanceType", "cartesianDistance")
    freespace = element.get("freespace") == "true"
    if kind == "longitudinal":
        return _compared(element, abs(ahead(mover, other, freespace=freespace)), where)
    one, two = mover.centre(), other.centre()
    if kind == "lateral":
        left = -(two[0] - one[0]) * math.sin(one[3]) + (two[1] - one[1]) * math.cos(one[3])
        wide = 0.5 * (mover.entity.size[1] + other.entity.size[1]) if freespace else 0.0
        return _compared(element, max(abs(float(left)) - wide, 0.0), where)
    apart = _gap(mover, other) if freespace else math.dist(mover.place()[:2], other.place()[:2])
    return _compared(element, apart, where)


def _gap(mover: Mover, other: Mover) -> float:
    """Return the distance (m) of two boxes; negative if they overlap."""
    one, two = mover.centre()[[0, 1, 3]], other.centre()[[0, 1, 3]]
    return float(box_separation(one[None], mover.entity.size[None, :2], two[None], other.entity.size[None, :2])[0])


def _distance(element: Element, mover: Mover, now: Now, where: str) -> bool:
    point = now.stage.positions.pose(child(element, "Position", where))
    return _compared(element, math.dist(mover.place()[:2], point[:2]), where)


def _reaches(element: Element, mover: Mover, now: Now, where: str) -> bool:
    point = now.stage.positions.pose(child(element, "Position", where))
    return math.dist(mover.place()[:2], point[:2]) <= number(element, "tolerance", where)


def _travelled(element: Element, mover: Mover, now: Now, where: str) -> bool:
    return mover.travelled >= number(element, "value", where)


def _speed(element: Element, mover: Mover, now: Now, where: str) -> bool:
    return _compared(element, mover.speed, where)


def _relative_speed(element: Element, mover: Mover, now: Now, where: str) -> bool:
    return _compared(element, mover.speed - now.stage.positions.other(element).speed, where)


def _acceleration(element: Element, mover: Mover, now: Now, where: str) -> bool:
    return _compared(element, mover.acceleration, where)


def _stands(element: Element, mover: Mover, now: Now, where: str) -> bool:
    since = mover.standing_since
    return since is not None and now.time - since >= number(element, "duration", where, 0.0) - 1e-9


def _collides(element: Element, mover: Mover, now: Now, where: str) -> bool:
    other = now.stage.positions.other(child(element, "EntityRef", where))
    return other.placed and other is not mover and _gap(mover, other) <= 0.0


def _at_road_end(element: Element, mover: Mover, now: Now, where: str) -> bool:
    since = mover.stands_at_end
    return since is not None and now.time - since >= number(element, "duration", where, 0.0) - 1e-9


_VALUE: Mapping[str, Callable[[Element, Now, str], bool]] = MappingProxyType(
    {"SimulationTimeCondition": _time, "StoryboardElementStateCondition": _state}
)
_ENTITY: Mapping[str, Callable[[Element, Mover, Now, str], bool]] = MappingProxyType(
    {
        "TimeHeadwayCondition": _headway,
        "TimeToCollisionCondition": _time_to_collision,
        "RelativeDistanceCondition": _relative_distance,
        "DistanceCondition": _distance,
        "ReachPositionCondition": _reaches,
        "TraveledDistanceCondition": _travelled,
        "SpeedCondition": _speed,
        "RelativeSpeedCondition": _relative_speed,
        "AccelerationCondition": _acceleration,
        "StandStillCondition": _stands,
        "CollisionCondition": _collides,
        "EndOfRoadCondition": _at_road_end,
    }
)
