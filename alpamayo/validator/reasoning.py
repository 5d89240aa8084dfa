"""Does the text say what the plan does, and is what it names there to be seen?

The decisions that a reasoning names are held against the meta-actions that the plan performs, and its components
against the scene: each exists, is where the text says, and could be seen past the other boxes at that time.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.verdict import RuleResult, not_applicable
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.reasoning import Component, ComponentKind, Lateral, Longitudinal, Reasoning
from alpamayo_sim.datatypes.rig import Camera, Rig
from alpamayo_sim.datatypes.scene import Category, Route
from alpamayo_sim.geometry import box_corners, from_frame, segment_gap, to_frame
from alpamayo_sim.map.index import route_index

if TYPE_CHECKING:
    from alpamayo.episode import Episode

Array = np.ndarray
SOON = 30  # steps: what a plan does in 3 s
PLACE = 3.0  # m
PLACE_PART = 0.15  # of the distance
SEE_OVER = 1.2  # m; lower things hide nothing
UNIT = "m/s² or m"  # along, across
INSET = 0.9  # of a box: its corners are looked at a little inside


@dataclass(frozen=True)
class MetaActions:
    """What a plan does: accelerations (m/s²), speeds (m/s), shift from its route (m, left positive), turn (rad).

    ``acceleration`` is the mean of the first 3 s, ``shift`` the largest change of the offset from the route over
    the plan (from straight on without a route), ``turn`` the whole change of heading.
    """

    acceleration: float
    speed: float
    last_speed: float
    shift: float
    turn: float


@dataclass(frozen=True)
class ComponentCheck:
    """What the scene says of one component: whether it exists, how far off its place is (m), and is it visible."""

    exists: bool
    off: float | None
    placed: bool
    visible: bool | None


@dataclass(frozen=True)
class Consistency:
    """Margins of both decisions (m/s² and m, positive is consistent) and the checks of the components."""

    longitudinal: float
    lateral: float
    components: tuple[ComponentCheck, ...]

    @property
    def margin(self) -> float:
        """The lesser of both margins; negative too where a component is the reason."""
        least = min(self.longitudinal, self.lateral)
        return least if self.consistent else min(least, -1e-3)

    @property
    def consistent(self) -> bool:
        """Both decisions fit the plan, and all components are there, placed and visible (or not to be judged)."""
        fine = all(check.exists and check.placed and check.visible is not False for check in self.components)
        return self.longitudinal >= 0.0 and self.lateral >= 0.0 and fine


def meta_actions(
    plans: Float[Array, "n 64 4"], speeds: Float[Array, " n"], route: Route | None, poses: Float64[Array, "n 3"]
) -> list[MetaActions]:
    """What plans do, each of the ego frame at its pose, from its present speed (m/s) on."""
    plans, speeds = np.asarray(plans, np.float64), np.asarray(speeds, np.float64)
    heading = np.concatenate([np.zeros((len(plans), 1)), plans[..., 2]], axis=1)
    if route is None:
        shift = np.concatenate([np.zeros((len(plans), 1)), plans[..., 1]], axis=1)
    else:
        xy = np.concatenate([poses[:, None, :2], from_frame(plans[..., :2], poses[:, None])], axis=1)
        headings = (heading + poses[:, 2:]).ravel()
        shift = route_index(route).match_lanes(xy.reshape(-1, 2), headings).offset.reshape(heading.shape)
    change = shift - shift[:, :1]
    furthest = np.take_along_axis(change, np.argmax(np.abs(change), axis=1)[:, None], axis=1)[:, 0]
    acceleration = (plans[:, SOON - 1, 3] - speeds) / (0.1 * SOON)
    turn = np.unwrap(heading, axis=1)[:, -1]
    return [
        MetaActions(*map(float, row)) for row in zip(acceleration, speeds, plans[:, -1, 3], furthest, turn, strict=True)
    ]


def longitudinal_margin(decision: Longitudinal, does: MetaActions) -> float:
    """By how much (m/s²) a plan does what a longitudinal decision says; negative is a contradiction."""
    a, comes_to_rest = does.acceleration, does.last_speed < max(1.0, 0.5 * does.speed)
    if decision in (Longitudinal.SET_SPEED_TRACKING, Longitudinal.PASSING):
        return a + 1.5
    if decision in (Longitudinal.LEAD_FOLLOWING, Longitudinal.GAP_SEARCHING):
        return 1.5 - a
    if decision == Longitudinal.YIELD:
        return 0.5 - a
    if decision == Longitudinal.STOP_STATIC:
        return max(0.5, 0.5 - a) if comes_to_rest else min(-0.1, -a - 0.3)
    return 3.0


def lateral_margin(decision: Lateral, does: MetaActions) -> float:
    """By how much (m) a plan does what a lateral decision says; negative is a contradiction."""
    shift = abs(does.shift)
    if decision == Lateral.LANE_KEEPING:
        return 1.2 - shift
    if decision == Lateral.IN_LANE_NUDGE:
        return 1.8 - shift
    if decision == Lateral.OUT_OF_LANE_NUDGE:
        return shift - 0.5
    if decision == Lateral.LANE_CHANGE:
        return shift - 1.5
    if decision == Lateral.PULL_OVER:
        return -does.shift - 0.5
    if decision == Lateral.TURN:
        return abs(does.turn) * 5.0 - 0.5
    return 3.0


def check(reasoning: Reasoning, plan: Float[Array, "64 4"], truth: GroundTruth, rig: Rig | None = None) -> Consistency:
    """Hold a reasoning against the plan that it is for and the scene at that time."""
    pose, speed = np.asarray(truth.ego_pose, np.float64)[None], np.array([truth.ego_speed])
    return _consistency(reasoning, meta_actions(plan[None], speed, truth.scene.route, pose)[0], truth, rig)


def _consistency(reasoning: Reasoning, does: MetaActions, truth: GroundTruth, rig: Rig | None) -> Consistency:
    return Consistency(
        longitudinal=longitudinal_margin(reasoning.longitudinal, does),
        lateral=lateral_margin(reasoning.lateral, does),
        components=tuple(check_component(component, truth, rig) for component in reasoning.components),
    )


def check_component(component: Component, truth: GroundTruth, rig: Rig | None = None) -> ComponentCheck:
    """Hold one component against the scene.

    With an id that is what it has to be; without one it is the nearest of its category. Lanes, routes and the like
    have no box, and only count as existing.
    """
    if component.kind == ComponentKind.TRAFFIC_LIGHT:
        return _check_light(component, truth)
    if component.kind != ComponentKind.OBJECT:
        return ComponentCheck(True, None, True, None)
    row = _object(component, truth)
    if row is None:
        return ComponentCheck(False, None, False, None)
    here = np.asarray(truth.ego_pose, np.float64)
    place = to_frame(np.asarray(truth.agents.pose[row, :2], np.float64), here)
    off = None if component.position is None else float(np.hypot(*(place - np.array(component.position))))
    allowed = PLACE + PLACE_PART * float(np.hypot(*place))
    return ComponentCheck(True, off, off is None or off <= allowed, bool(visible(truth, np.array([row]), rig)[0]))


def visible(truth: GroundTruth, rows: Int[Array, " m"], rig: Rig | None = None) -> Bool[Array, " m"]:
    """Which of some agents could be seen: a corner or the middle past all other boxes, within the weather's range.

    With a rig that has to be in the image of a camera, and free in the plane from where that camera is; without one
    it is looked at from the ego's centre. What is not higher than 1.2 m hides nothing.
    """
    agents, here = truth.agents, np.asarray(truth.ego_pose, np.float64)
    pose, size = agents.pose[rows].astype(np.float64), agents.size[rows, :2].astype(np.float64)
    points = np.concatenate([box_corners(pose, INSET * size), pose[:, None, :2]], axis=1)
    if rig is None:
        seen = _free(here[:2], points, truth, rows)
    else:
        seen = np.zeros(points.shape[:2], bool)
        for camera in rig.cameras:
            shown = _in_image(to_frame(points, here), 0.5 * agents.size[rows, 2], camera)
            if shown.any():
                place = from_frame(camera.position[:2].astype(np.float64), here)
                seen |= shown & _free(place, points, truth, rows)
    reach = truth.scene.environment.visibility
    if reach is not None:
        seen &= np.linalg.norm(points - here[:2], axis=-1) <= reach
    return seen.any(axis=1) & agents.valid[rows]


def _free(
    start: Float64[Array, "2"], points: Float64[Array, "m 5 2"], truth: GroundTruth, rows: Array
) -> Bool[Array, "m 5"]:
    """Which points of agents no other box hides, seen from a place."""
    agents = truth.agents
    hides = np.flatnonzero(agents.valid & (agents.size[:, 2] > SEE_OVER))
    begin = np.broadcast_to(start, points.shape)[:, :, None]
    pose, size = agents.pose[hides].astype(np.float64), agents.size[hides, :2].astype(np.float64)
    cut = segment_gap(begin, points[:, :, None], pose, size) < 0.0
    cut &= hides != rows[:, None, None]
    return np.asarray(~cut.any(axis=2))


def _in_image(points: Float64[Array, "m 5 2"], height: Float[Array, " m"], camera: Camera) -> Bool[Array, "m 5"]:
    """Which points of the ego frame, at a height (m) over the ground, a camera's image shows."""
    tall = np.broadcast_to(height[:, None, None], (*points.shape[:2], 1)).astype(np.float64)
    return camera.project(np.concatenate([points, tall], axis=-1).reshape(-1, 3))[1].reshape(points.shape[:2])


def reasoning_rule(episode: "Episode", motions: MotionBatch) -> RuleResult:
    """Part of the decisions of an episode of which the reasoning fits the plan and the scene at that time.

    The driver's own choice is judged, whatever the guard made of it; what it names has to be visible from its
    cameras. The margin is the least of the decisions' margins, below zero also where a component is what does not
    fit; steps without a reasoning do not count.
    """
    name, said = "reasoning", [t for t, reasoning in enumerate(episode.reasoning) if reasoning is not None]
    if not said:
        return not_applicable(name, UNIT, 1, "the driver gave no reasoning")
    margins = np.full(len(episode.ego_pose), np.nan)
    fine = np.zeros(len(said), bool)
    first = ""
    chosen, route = episode.plans[said, episode.chosen[said]], episode.scenario.scene.route
    does = meta_actions(chosen, episode.ego_speed[said], route, episode.ego_pose[said].astype(np.float64))
    for i, t in enumerate(said):
        reasoning = episode.reasoning[t]
        assert reasoning is not None
        found = _consistency(reasoning, does[i], episode.truth(t), episode.rig)
        margins[t] = found.margin
        fine[i] = found.consistent
        if not fine[i] and not first:
            first = f"{_complaint(found)} at {t * episode.dt:.1f} s: {reasoning.sentence}"
    when = float(said[int(np.argmin(fine))] * episode.dt) if not fine.all() else np.nan
    text = f"{int(fine.sum())} of {len(said)} reasonings fit" + (f"; {first}" if first else "")
    return RuleResult(
        name,
        UNIT,
        np.array([fine.mean()]),
        np.array([np.nanmin(margins)]),
        np.ones(1, bool),
        np.array([when]),
        (text,),
        margins[None],
    )


def _complaint(found: Consistency) -> str:
    if found.longitudinal < 0.0:
        return "the plan does not do the longitudinal decision"
    if found.lateral < 0.0:
        return "the plan does not do the lateral decision"
    bad = next(c for c in found.components if not (c.exists and c.placed and c.visible is not False))
    return "a component " + ("does not exist" if not bad.exists else "is elsewhere" if not bad.placed else "is hidden")


def _object(component: Component, truth: GroundTruth) -> int | None:
    """Row of the agent that is meant."""
    agents = truth.agents
    if component.id is not None:
        rows = [i for i, name in enumerate(agents.ids) if name == component.id and agents.valid[i]]
        return rows[0] if rows else None
    alike = agents.valid & ((agents.category == component.category) | (component.category == Category.UNKNOWN))
    rows = np.flatnonzero(alike).tolist()
    if not rows or component.position is None:
        return rows[0] if rows else None
    place = to_frame(agents.pose[rows, :2].astype(np.float64), np.asarray(truth.ego_pose, np.float64))
    return int(rows[int(np.argmin(np.hypot(*(place - np.array(component.position)).T)))])


def _check_light(component: Component, truth: GroundTruth) -> ComponentCheck:
    signals = truth.scene.signals
    named = [s for s in signals if component.id is None or s.id == component.id]
    if not named:
        return ComponentCheck(False, None, False, None)
    return ComponentCheck(True, None, True, None)
