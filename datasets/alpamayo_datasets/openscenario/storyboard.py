"""The storyboard: stories, acts, manoeuvre groups, manoeuvres and events, and their states.

States and transitions: ASAM OpenSCENARIO XML 1.2, chapter 8.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from alpamayo_datasets.openscenario.actions import IsDone, Stage, start_global, start_private
from alpamayo_datasets.openscenario.conditions import Now, Trigger, trigger_of
from alpamayo_datasets.xml_elements import whole, word

STANDBY, RUNNING, COMPLETE = "standbyState", "runningState", "completeState"
START, END, STOP, SKIP = "startTransition", "endTransition", "stopTransition", "skipTransition"


@dataclass(eq=False)
class Node:
    """A storyboard element: its name, its state, and the times (s) of its last transitions."""

    name: str
    state: str = STANDBY
    transitions: dict[str, float] = field(default_factory=dict)

    def go(self, state: str, transition: str, time: float) -> None:
        """Change the state."""
        self.state = state
        self.transitions[transition] = time


@dataclass(eq=False)
class Action(Node):
    """An action: what starts it for the actors, and when that is done."""

    start: Callable[[float], list[IsDone]] = field(default=lambda time: [])
    parts: list[IsDone] = field(default_factory=list)


@dataclass(eq=False)
class Event(Node):
    """An event with its trigger, its priority, and how often it may happen."""

    trigger: Trigger = field(default_factory=lambda: Trigger([]))
    priority: str = "parallel"
    most: int = 1
    actions: list[Action] = field(default_factory=list)
    times: int = 0


@dataclass(eq=False)
class Manoeuvre(Node):
    """A manoeuvre: its events."""

    events: list[Event] = field(default_factory=list)


@dataclass(eq=False)
class Group(Node):
    """A manoeuvre group: its manoeuvres."""

    manoeuvres: list[Manoeuvre] = field(default_factory=list)


@dataclass(eq=False)
class Act(Node):
    """An act with its triggers: its groups."""

    start: Trigger = field(default_factory=lambda: Trigger([]))
    stop: Trigger | None = None
    groups: list[Group] = field(default_factory=list)


@dataclass(eq=False)
class Storyboard:
    """The acts of all stories, and the trigger that ends all."""

    acts: list[Act]
    stop: Trigger | None
    stage: Stage
    nodes: dict[str, list[Node]]
    dt: float

    def advance(self, time: float) -> bool:
        """Let elements start and end at a time (s); return whether the storyboard goes on."""
        now = Now(time, self.stage, self._has_state(time))
        for act in self.acts:
            _advance_act(act, now)
        return not (self.stop is not None and self.stop.is_true(now))

    @property
    def is_complete(self) -> bool:
        """Whether there are acts and all are complete."""
        return bool(self.acts) and all(act.state == COMPLETE for act in self.acts)

    def _has_state(self, time: float) -> Callable[[str, str], bool]:
        """Return the function that tells whether an element has a state, or had a transition now or a step ago."""

        def has_state(name: str, state: str) -> bool:
            nodes = self.nodes.get(name.rsplit("::", 1)[-1], [])
            if state.endswith("State"):
                return any(node.state == state for node in nodes)
            return any(time - node.transitions.get(state, -1e9) <= 1.5 * self.dt for node in nodes)

        return has_state


def read_storyboard(root: Element, stage: Stage, dt: float) -> Storyboard:
    """Return the storyboard of a file, whose steps have a length (s).

    Raises:
        InputError: An element lacks what it needs, or an actor is not there.
    """
    board = root.find("Storyboard")
    where, nodes = stage.where, dict[str, list[Node]]()
    acts = [
        _act(element, story, stage, nodes)
        for story in ([] if board is None else board.findall("Story"))
        for element in story.findall("Act")
    ]
    ends = None if board is None else board.find("StopTrigger")
    stop = trigger_of(ends, where) if ends is not None and len(ends) else None
    return Storyboard(acts, stop, stage, nodes, dt)


def _act(element: Element, story: Element, stage: Stage, nodes: dict[str, list[Node]]) -> Act:
    where, stop = stage.where, element.find("StopTrigger")
    act = Act(
        word(element, "name", where),
        start=trigger_of(element.find("StartTrigger"), where),
        stop=trigger_of(stop, where) if stop is not None and len(stop) else None,
        groups=[_group(group, stage, nodes) for group in element.findall("ManeuverGroup")],
    )
    nodes.setdefault(act.name, []).append(act)
    nodes.setdefault(str(story.get("name")), []).append(act)
    return act


def _group(element: Element, stage: Stage, nodes: dict[str, list[Node]]) -> Group:
    actors = [word(reference, "entityRef", stage.where) for reference in element.findall("Actors/EntityRef")]
    for reference in element.findall("Actors/EntityRef"):
        if not element.findall("Maneuver//PrivateAction"):
            break
        stage.positions.other(reference)
    group = Group(
        word(element, "name", stage.where),
        manoeuvres=[_manoeuvre(item, actors, stage, nodes) for item in element.findall("Maneuver")],
    )
    nodes.setdefault(group.name, []).append(group)
    return group


def _manoeuvre(element: Element, actors: list[str], stage: Stage, nodes: dict[str, list[Node]]) -> Manoeuvre:
    events = [_event(item, actors, stage, nodes) for item in element.findall("Event")]
    manoeuvre = Manoeuvre(word(element, "name", stage.where), events=events)
    nodes.setdefault(manoeuvre.name, []).append(manoeuvre)
    return manoeuvre


def _event(element: Element, actors: list[str], stage: Stage, nodes: dict[str, list[Node]]) -> Event:
    where = stage.where
    event = Event(
        word(element, "name", where),
        trigger=trigger_of(element.find("StartTrigger"), where),
        priority=element.get("priority", "parallel"),
        most=whole(element, "maximumExecutionCount", where, 1),
        actions=[_action(item, actors, stage, nodes) for item in element.findall("Action")],
    )
    nodes.setdefault(event.name, []).append(event)
    return event


def _action(element: Element, actors: list[str], stage: Stage, nodes: dict[str, list[Node]]) -> Action:
    def start(time: float) -> list[IsDone]:
        if (common := element.find("GlobalAction")) is not None:
            return [start_global(stage, common, time)]
        movers = [stage.positions.movers[name] for name in actors]
        return [start_private(stage, mover, element, time) for mover in movers]

    action = Action(word(element, "name", stage.where), start=start)
    nodes.setdefault(action.name, []).append(action)
    return action


def _advance_act(act: Act, now: Now) -> None:
    if act.state == STANDBY and act.start.is_true(now):
        act.go(RUNNING, START, now.time)
        for group in act.groups:
            group.go(RUNNING, START, now.time)
            for manoeuvre in group.manoeuvres:
                manoeuvre.go(RUNNING, START, now.time)
    if act.state != RUNNING:
        return
    if act.stop is not None and act.stop.is_true(now):
        _stop_act(act, now.time)
        return
    for group in act.groups:
        for manoeuvre in group.manoeuvres:
            _advance_manoeuvre(manoeuvre, now)
        _complete(group, [manoeuvre.state for manoeuvre in group.manoeuvres], now.time)
    _complete(act, [group.state for group in act.groups], now.time)


def _complete(node: Node, states: list[str], time: float) -> None:
    if node.state == RUNNING and all(state == COMPLETE for state in states):
        node.go(COMPLETE, END, time)


def _advance_manoeuvre(manoeuvre: Manoeuvre, now: Now) -> None:
    if manoeuvre.state != RUNNING:
        return
    for event in manoeuvre.events:
        if event.state == RUNNING:
            _end_if_done(event, now.time)
        if event.state == STANDBY and event.trigger.is_true(now):
            _start_event(event, manoeuvre, now.time)
    _complete(manoeuvre, [event.state for event in manoeuvre.events], now.time)


def _start_event(event: Event, manoeuvre: Manoeuvre, time: float) -> None:
    others = [other for other in manoeuvre.events if other is not event and other.state == RUNNING]
    if event.priority == "skip" and others:
        event.transitions[SKIP] = time
        return
    if event.priority in ("overwrite", "override"):
        for other in others:
            other.go(COMPLETE, STOP, time)
    event.go(RUNNING, START, time)
    event.times += 1
    for action in event.actions:
        action.go(RUNNING, START, time)
        action.parts = action.start(time)


def _end_if_done(event: Event, time: float) -> None:
    for action in event.actions:
        if action.state == RUNNING and all(part(time) for part in action.parts):
            action.go(COMPLETE, END, time)
    if all(action.state == COMPLETE for action in event.actions):
        event.go(STANDBY if event.times < event.most else COMPLETE, END, time)


def _stop_act(act: Act, time: float) -> None:
    act.go(COMPLETE, STOP, time)
    for group in act.groups:
        for node in (group, *group.manoeuvres, *(event for each in group.manoeuvres for event in each.events)):
            if node.state != COMPLETE:
                node.go(COMPLETE, STOP, time)
