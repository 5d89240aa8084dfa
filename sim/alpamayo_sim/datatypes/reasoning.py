"""Reasoning as a record: closed sets of decisions, their causes, and the record as one sentence."""

import enum
import math
from dataclasses import dataclass

from alpamayo_sim.datatypes.scene import Category


class Longitudinal(enum.IntEnum):
    """The longitudinal driving decision (closed set of arXiv 2511.00088)."""

    NONE = 0
    SET_SPEED_TRACKING = 1
    LEAD_FOLLOWING = 2
    SPEED_ADAPTATION = 3
    GAP_SEARCHING = 4
    PASSING = 5
    YIELD = 6
    STOP_STATIC = 7


class Lateral(enum.IntEnum):
    """The lateral driving decision (closed set of arXiv 2511.00088)."""

    NONE = 0
    LANE_KEEPING = 1
    MERGE_SPLIT = 2
    OUT_OF_LANE_NUDGE = 3
    IN_LANE_NUDGE = 4
    LANE_CHANGE = 5
    PULL_OVER = 6
    TURN = 7
    ABORT = 8


class ComponentKind(enum.IntEnum):
    """Kind of a critical component (open categories of arXiv 2511.00088)."""

    OBJECT = 0
    TRAFFIC_LIGHT = 1
    YIELD_OR_STOP_CONTROL = 2
    ROAD_EVENT = 3
    LANE = 4
    ROUTE = 5
    ODD = 6


class Motion(enum.IntEnum):
    """Motion of a critical object, relative to the ego."""

    UNKNOWN = 0
    STATIC = 1
    SAME_DIRECTION = 2
    ONCOMING = 3
    CROSSING_FROM_LEFT = 4
    CROSSING_FROM_RIGHT = 5


LONGITUDINAL = {
    Longitudinal.NONE: "",
    Longitudinal.SET_SPEED_TRACKING: "keep the set speed",
    Longitudinal.LEAD_FOLLOWING: "follow the lead vehicle",
    Longitudinal.SPEED_ADAPTATION: "adapt the speed",
    Longitudinal.GAP_SEARCHING: "search for a gap",
    Longitudinal.PASSING: "pass",
    Longitudinal.YIELD: "yield",
    Longitudinal.STOP_STATIC: "stop",
}
LATERAL = {
    Lateral.NONE: "",
    Lateral.LANE_KEEPING: "keep the lane",
    Lateral.MERGE_SPLIT: "merge",
    Lateral.OUT_OF_LANE_NUDGE: "nudge out of the lane",
    Lateral.IN_LANE_NUDGE: "nudge within the lane",
    Lateral.LANE_CHANGE: "change the lane",
    Lateral.PULL_OVER: "pull over",
    Lateral.TURN: "turn",
    Lateral.ABORT: "abort the manoeuvre",
}
KIND = {
    ComponentKind.OBJECT: "an object",
    ComponentKind.TRAFFIC_LIGHT: "the traffic light",
    ComponentKind.YIELD_OR_STOP_CONTROL: "the stop control",
    ComponentKind.ROAD_EVENT: "the road event",
    ComponentKind.LANE: "the lane",
    ComponentKind.ROUTE: "the route",
    ComponentKind.ODD: "the conditions",
}
CATEGORY = {
    Category.VEHICLE: "a car",
    Category.TRUCK: "a truck",
    Category.BUS: "a bus",
    Category.MOTORCYCLE: "a motorcycle",
    Category.CYCLIST: "a cyclist",
    Category.PEDESTRIAN: "a pedestrian",
    Category.ANIMAL: "an animal",
    Category.CONE: "cones",
    Category.BARRIER: "a barrier",
    Category.DEBRIS: "debris",
    Category.BUILDING: "a building",
    Category.VEGETATION: "vegetation",
}
MOTION = {
    Motion.UNKNOWN: "",
    Motion.STATIC: "standing",
    Motion.SAME_DIRECTION: "moving the same way",
    Motion.ONCOMING: "oncoming",
    Motion.CROSSING_FROM_LEFT: "crossing from the left",
    Motion.CROSSING_FROM_RIGHT: "crossing from the right",
}


@dataclass(frozen=True)
class Component:
    """A cause of a decision: its kind and its position (m, ego frame at t0: x forward, y left).

    ``id`` is the track, prop or signal, if it is known (the VLA does not know it).
    """

    kind: ComponentKind
    category: Category = Category.UNKNOWN
    position: tuple[float, float] | None = None
    motion: Motion = Motion.UNKNOWN
    id: str | None = None


@dataclass(frozen=True)
class Reasoning:
    """A structured chain of causation: the decisions and their causes."""

    longitudinal: Longitudinal
    lateral: Lateral
    components: tuple[Component, ...] = ()

    @property
    def sentence(self) -> str:
        """Return the record as one English sentence: the two decisions, then the causes with their locations."""
        decisions = [LONGITUDINAL[self.longitudinal], LATERAL[self.lateral]]
        decision = " and ".join(part for part in decisions if part) or "hold the course"
        causes = " and ".join(_component(component) for component in self.components)
        text = f"{decision} because of {causes}" if causes else decision
        return text[0].upper() + text[1:] + "."


def _component(component: Component) -> str:
    if component.kind == ComponentKind.OBJECT:
        what = CATEGORY.get(component.category, "an object")
    else:
        what = KIND[component.kind]
    return " ".join(part for part in (what, MOTION[component.motion], _place(component.position)) if part)


def _place(position: tuple[float, float] | None) -> str:
    if position is None:
        return ""
    x, y = position
    distance = f"{math.hypot(x, y):.0f} m"
    side = "" if abs(y) < 1.0 else f" and {abs(y):.0f} m to the {'left' if y > 0 else 'right'}"
    return f"{distance} {'ahead' if x >= 0 else 'behind'}{side}"
