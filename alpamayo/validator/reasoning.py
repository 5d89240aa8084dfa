"""Consistency of a reasoning with the plan and with the scene.

The decisions of a reasoning are compared with the meta-actions of the plan. Its components are compared with the
scene: each has to exist, to be at the stated position, to move as stated, and to be visible past the other boxes at
that time. In a recorded drive it also has to be decisive, and what is urgent must not go unmentioned (``causes``).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from alpamayo.validator.along_route import places_along
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.reasoning import Component, ComponentKind, Lateral, Longitudinal, Motion, Reasoning
from alpamayo_sim.datatypes.rig import Camera, Rig
from alpamayo_sim.datatypes.scene import Category, Route, SignalState
from alpamayo_sim.geometry import from_frame, rotate, to_frame
from alpamayo_sim.prediction.visibility import occluding_rows, outline_points, unobstructed

Array = np.ndarray
ACCELERATION_STEPS, PLAN_STEP_S = 30, 0.1
"""The mean acceleration of a plan is taken over these steps."""
POSITION_TOLERANCE_M, POSITION_TOLERANCE_PART = 3.0, 0.15
"""A component may be this far from its stated position: metres plus a part of its distance."""
INCONSISTENT_MARGIN = 1e-3
"""Minus this is the margin of a reasoning with consistent decisions and a component that does not fit."""
ANY_MARGIN = 3.0
"""Margin of a decision that fits every plan."""
MAX_BRAKING_WHILE_TRACKING_MPS2 = 1.5
MAX_ACCELERATION_WHILE_FOLLOWING_MPS2 = 1.5
MAX_ACCELERATION_WHILE_YIELDING_MPS2 = 0.5
MAX_ACCELERATION_WHILE_ADAPTING_MPS2 = 2.0
MIN_BRAKING_TO_STOP_MPS2 = 0.3
STOPPED_AT_END_MPS, STOPPED_AT_END_PART = 1.0, 0.5
"""A plan stops where its last speed is below the first, or below this part of its present speed."""
MAX_SHIFT_LANE_KEEPING_M = 1.2
MAX_SHIFT_IN_LANE_NUDGE_M = 1.8
MIN_SHIFT_OUT_OF_LANE_NUDGE_M = 0.5
MIN_SHIFT_LANE_CHANGE_M = 1.5
MIN_SHIFT_PULL_OVER_M = 0.5
TURN_M_PER_RAD, MIN_TURN_M = 5.0, 0.5
MAX_STANDING_MPS, MIN_MOVING_MPS = 1.0, 0.1
"""What stands may be this fast, and what moves this slow."""
DIRECTION_TOLERANCE_RAD = math.radians(65.0)
"""What is oncoming or crosses may move this far off that direction: a quarter of the circle each, and 20 degrees."""
DIRECTIONS_RAD = {
    Motion.SAME_DIRECTION: 0.0,
    Motion.ONCOMING: math.pi,
    Motion.CROSSING_FROM_LEFT: -0.5 * math.pi,
    Motion.CROSSING_FROM_RIGHT: 0.5 * math.pi,
}
OCCLUDER_HEIGHT_M = 1.2
"""Boxes that are not higher hide nothing."""


@dataclass(frozen=True)
class MetaActions:
    """The actions of a plan.

    Attributes:
        acceleration: mean over the first 3 s (m/s²).
        speed: present speed (m/s).
        last_speed: speed at the end (m/s).
        shift: largest change of the offset from the route (m, left positive); without a route, from straight on.
        turn: the whole change of heading (rad).
    """

    acceleration: float
    speed: float
    last_speed: float
    shift: float
    turn: float

    @property
    def stops(self) -> bool:
        """Whether the plan comes to a stop, or nearly."""
        return self.last_speed < max(STOPPED_AT_END_MPS, STOPPED_AT_END_PART * self.speed)


@dataclass(frozen=True)
class ComponentCheck:
    """The comparison of one component with the scene.

    Attributes:
        exists: whether the scene has the component.
        position_error: distance (m) of the stated position from its position; None without a stated position.
        placed: whether the position error is within the tolerance.
        visible: whether the component is visible; None for components without a box.
        moves: whether it moves as the text says.
        decisive: whether it is in the way of an ego that takes no account of it; None where that is not known.
    """

    exists: bool
    position_error: float | None
    placed: bool
    visible: bool | None
    moves: bool = True
    decisive: bool | None = None

    @property
    def complaint(self) -> str:
        """What does not fit; empty if all does."""
        if not self.exists:
            return "does not exist"
        if not self.placed:
            return "is elsewhere"
        if self.visible is False:
            return "is not visible"
        if not self.moves:
            return "moves otherwise"
        return "is not in the way" if self.decisive is False else ""

    @property
    def fits(self) -> bool:
        """Whether it exists, is where the text says, moves so, is not hidden, and is decisive where that is known."""
        return not self.complaint


@dataclass(frozen=True)
class Consistency:
    """Margins of both decisions (m/s² and m, positive is consistent) and the checks of the components.

    ``missing`` is the id of something urgent where the reasoning names nothing that is decisive; else empty.
    """

    longitudinal: float
    lateral: float
    components: tuple[ComponentCheck, ...]
    missing: str = ""

    @property
    def margin(self) -> float:
        """The smaller of both margins; negative also where only a component does not fit."""
        least = min(self.longitudinal, self.lateral)
        return least if self.consistent else min(least, -INCONSISTENT_MARGIN)

    @property
    def plan_fits(self) -> bool:
        """Whether both decisions fit the plan."""
        return self.longitudinal >= 0.0 and self.lateral >= 0.0

    @property
    def consistent(self) -> bool:
        """Whether both decisions fit the plan, all components fit the scene, and none is missing."""
        return self.plan_fits and all(check.fits for check in self.components) and not self.missing

    @property
    def complaint(self) -> str:
        """What is wrong first; empty if nothing is."""
        if self.longitudinal < 0.0:
            return "the plan contradicts the longitudinal decision"
        if self.lateral < 0.0:
            return "the plan contradicts the lateral decision"
        for component in self.components:
            if component.complaint:
                return f"a named component {component.complaint}"
        return f"{self.missing!r} is in the way and no cause is named that is" if self.missing else ""


def meta_actions(
    plans: Float[Array, "n 64 4"], speeds: Float[Array, " n"], route: Route | None, poses: Float64[Array, "n 3"]
) -> list[MetaActions]:
    """Compute the actions of plans; each is in the ego frame at its pose, with its present speed (m/s)."""
    plans, speeds = np.asarray(plans, np.float64), np.asarray(speeds, np.float64)
    heading = np.concatenate([np.zeros((len(plans), 1)), plans[..., 2]], axis=1)
    if route is None:
        shift = np.concatenate([np.zeros((len(plans), 1)), plans[..., 1]], axis=1)
    else:
        xy = np.concatenate([poses[:, None, :2], from_frame(plans[..., :2], poses[:, None])], axis=1)
        shift = places_along(route, np.concatenate([xy, (heading + poses[:, 2:])[..., None]], axis=-1)).offset
    change = shift - shift[:, :1]
    furthest = np.take_along_axis(change, np.argmax(np.abs(change), axis=1)[:, None], axis=1)[:, 0]
    acceleration = (plans[:, ACCELERATION_STEPS - 1, 3] - speeds) / (PLAN_STEP_S * ACCELERATION_STEPS)
    turn = np.unwrap(heading, axis=1)[:, -1]
    return [
        MetaActions(*map(float, row)) for row in zip(acceleration, speeds, plans[:, -1, 3], furthest, turn, strict=True)
    ]


def longitudinal_margin(decision: Longitudinal, actions: MetaActions) -> float:
    """Compute by how much (m/s²) a plan fits a longitudinal decision; negative is a contradiction."""
    a = actions.acceleration
    if decision in (Longitudinal.SET_SPEED_TRACKING, Longitudinal.PASSING):
        return min(-0.1, a) if actions.stops else a + MAX_BRAKING_WHILE_TRACKING_MPS2
    if decision in (Longitudinal.LEAD_FOLLOWING, Longitudinal.GAP_SEARCHING):
        return MAX_ACCELERATION_WHILE_FOLLOWING_MPS2 - a
    if decision == Longitudinal.YIELD:
        return MAX_ACCELERATION_WHILE_YIELDING_MPS2 - a
    if decision == Longitudinal.SPEED_ADAPTATION:
        return MAX_ACCELERATION_WHILE_ADAPTING_MPS2 - a
    if decision == Longitudinal.STOP_STATIC:
        return max(0.5, 0.5 - a) if actions.stops else min(-0.1, -a - MIN_BRAKING_TO_STOP_MPS2)
    return ANY_MARGIN


def lateral_margin(decision: Lateral, actions: MetaActions) -> float:
    """Compute by how much (m) a plan fits a lateral decision; negative is a contradiction."""
    shift = abs(actions.shift)
    if decision == Lateral.LANE_KEEPING:
        return MAX_SHIFT_LANE_KEEPING_M - shift
    if decision == Lateral.IN_LANE_NUDGE:
        return MAX_SHIFT_IN_LANE_NUDGE_M - shift
    if decision == Lateral.OUT_OF_LANE_NUDGE:
        return shift - MIN_SHIFT_OUT_OF_LANE_NUDGE_M
    if decision == Lateral.LANE_CHANGE:
        return shift - MIN_SHIFT_LANE_CHANGE_M
    if decision == Lateral.PULL_OVER:
        return -actions.shift - MIN_SHIFT_PULL_OVER_M
    if decision == Lateral.TURN:
        return abs(actions.turn) * TURN_M_PER_RAD - MIN_TURN_M
    return ANY_MARGIN


def check(reasoning: Reasoning, plan: Float[Array, "64 4"], truth: GroundTruth, rig: Rig | None = None) -> Consistency:
    """Compare a reasoning with its plan and with the scene at that time."""
    pose, speed = np.asarray(truth.ego_pose, np.float64)[None], np.array([truth.ego_speed])
    return check_consistency(reasoning, meta_actions(plan[None], speed, truth.scene.route, pose)[0], truth, rig)


def check_consistency(reasoning: Reasoning, actions: MetaActions, truth: GroundTruth, rig: Rig | None) -> Consistency:
    """Compare a reasoning with the actions of its plan and with the scene at that time."""
    return Consistency(
        longitudinal=longitudinal_margin(reasoning.longitudinal, actions),
        lateral=lateral_margin(reasoning.lateral, actions),
        components=tuple(check_component(component, truth, rig) for component in reasoning.components),
    )


def check_component(component: Component, truth: GroundTruth, rig: Rig | None = None) -> ComponentCheck:
    """Compare one component with the scene.

    A component with an id is the agent of that id. Without an id it is the nearest agent of its category. Components
    without a box, such as lanes and routes, are taken to exist.
    """
    if component.kind == ComponentKind.TRAFFIC_LIGHT:
        return _check_light(component, truth)
    if component.kind != ComponentKind.OBJECT:
        return ComponentCheck(True, None, True, None)
    row = object_row(component, truth)
    if row is None:
        return ComponentCheck(False, None, False, None)
    here = np.asarray(truth.ego_pose, np.float64)
    position = to_frame(np.asarray(truth.agents.pose[row, :2], np.float64), here)
    error = None if component.position is None else float(np.hypot(*(position - np.array(component.position))))
    allowed = POSITION_TOLERANCE_M + POSITION_TOLERANCE_PART * float(np.hypot(*position))
    is_visible = bool(visible(truth, np.array([row]), rig)[0])
    return ComponentCheck(True, error, error is None or error <= allowed, is_visible, _moves_so(component, truth, row))


def visible(truth: GroundTruth, rows: Int[Array, " m"], rig: Rig | None = None) -> Bool[Array, " m"]:
    """Return which agents are visible: a corner or the centre is not occluded and within the weather's range.

    With a rig, this point is in the image of a camera, and the line from that camera to it is free in the plane.
    Without a rig, the line starts at the ego's centre. Boxes up to 1.2 m high occlude nothing.
    """
    agents, here = truth.agents, np.asarray(truth.ego_pose, np.float64)
    points, occluders = outline_points(agents, rows), occluding_rows(agents, OCCLUDER_HEIGHT_M)
    if rig is None:
        seen = unobstructed(here[:2], points, rows, agents, occluders)
    else:
        seen = np.zeros(points.shape[:2], bool)
        for camera in rig.cameras:
            shown = _in_image(to_frame(points, here), 0.5 * agents.size[rows, 2], camera)
            if shown.any():
                position = from_frame(camera.position[:2].astype(np.float64), here)
                seen |= shown & unobstructed(position, points, rows, agents, occluders)
    reach = truth.scene.environment.visibility
    if reach is not None:
        seen &= np.linalg.norm(points - here[:2], axis=-1) <= reach
    return seen.any(axis=1) & agents.valid[rows]


def _in_image(points: Float64[Array, "m 5 2"], height: Float[Array, " m"], camera: Camera) -> Bool[Array, "m 5"]:
    """Return which points of the ego frame, at a height (m) above the ground, are in the image of a camera."""
    tall = np.broadcast_to(height[:, None, None], (*points.shape[:2], 1)).astype(np.float64)
    return camera.project(np.concatenate([points, tall], axis=-1).reshape(-1, 3))[1].reshape(points.shape[:2])


def object_row(component: Component, truth: GroundTruth) -> int | None:
    """Return the row of the agent that a component names, None where there is none."""
    agents = truth.agents
    if component.id is not None:
        rows = [i for i, name in enumerate(agents.ids) if name == component.id and agents.valid[i]]
        return rows[0] if rows else None
    alike = agents.valid & ((agents.category == component.category) | (component.category == Category.UNKNOWN))
    rows = np.flatnonzero(alike).tolist()
    if not rows or component.position is None:
        return rows[0] if rows else None
    position = to_frame(agents.pose[rows, :2].astype(np.float64), np.asarray(truth.ego_pose, np.float64))
    return int(rows[int(np.argmin(np.hypot(*(position - np.array(component.position)).T)))])


def _moves_so(component: Component, truth: GroundTruth, row: int) -> bool:
    """Return whether an agent moves as a component says; one that says nothing of it is right."""
    velocity = rotate(truth.agents.velocity[row].astype(np.float64), -float(truth.ego_pose[2]))
    speed = float(np.hypot(*velocity))
    if component.motion == Motion.STATIC:
        return speed <= MAX_STANDING_MPS
    if component.motion not in DIRECTIONS_RAD:
        return True
    off = math.remainder(math.atan2(velocity[1], velocity[0]) - DIRECTIONS_RAD[component.motion], 2.0 * math.pi)
    return speed >= MIN_MOVING_MPS and abs(off) <= DIRECTION_TOLERANCE_RAD


def _check_light(component: Component, truth: GroundTruth) -> ComponentCheck:
    signals = truth.scene.signals
    named = [s for s in signals if component.id is None or s.id == component.id]
    if not named:
        return ComponentCheck(False, None, False, None)
    states = [truth.signals[k] for k, signal in enumerate(signals) if signal in named]
    return ComponentCheck(True, None, True, None, decisive=any(state != SignalState.GREEN for state in states))
