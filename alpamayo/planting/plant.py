"""Plants the event of a family into a recorded scene, at the first time at which its preconditions hold."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from jaxtyping import Int

from alpamayo.motion_replay import replay_motion, steady_motion
from alpamayo.planting.events import Event, in_intersection, nearest
from alpamayo.planting.preconditions import Course, PlantingConfig, why_not
from alpamayo.planting.road_sections import match_lanes
from alpamayo.planting.transfer import Recording, Transfer, scripts_of
from alpamayo_scenarios.families import Family
from alpamayo_scenarios.families.taxonomy import OddTag
from alpamayo_sim.datatypes.scenario import Goal, Scenario
from alpamayo_sim.datatypes.scene import Environment, Provenance, Scene, Signal, Track
from alpamayo_sim.errors import InputError

Array = np.ndarray

START_SPACING_S = 1.0  # between the times of the recording that are tried
DRAWS = 6  # of the family's other parameters, at each of these times
BEYOND_EVENT_M = 20.0  # of the recorded route that must remain after the event
AFTER_EVENT_S = 0.5  # of the recording that must remain


@dataclass(frozen=True, eq=False)
class Planted:
    """A recorded scene with a planted event.

    Attributes:
        scenario: the scenario; ``family`` is empty, since the road and most road users are recorded.
        start_s: the time (s) of the recording at which it begins.
        names: the tracks and props that were planted.
        left_out: those of the family that do not fit, without which the event still happens, and why.
        event_s: the time (s) at which an ego that keeps its speed meets the event.
        clearance_m: how near (m) it comes to a critical actor; negative is a contact.
    """

    scenario: Scenario
    start_s: float
    names: tuple[str, ...]
    left_out: Mapping[str, str]
    event_s: float
    clearance_m: float


class _UnfitError(Exception):
    """A precondition does not hold; the message says which.

    ``stage`` grows with the preconditions that were checked before; ``other_draws`` says whether other parameters of
    the family may help.
    """

    def __init__(self, reason: str, stage: int, other_draws: bool = True) -> None:
        super().__init__(reason)
        self.stage, self.other_draws = stage, other_draws


class _Stage(IntEnum):
    """The preconditions in their order."""

    FAMILY = 0
    SPEED = 1
    PARAMETERS = 2
    RECORDING = 3
    ROAD = 4
    ACTORS = 5
    EVENT = 6


def plant(
    family: Family,
    scene: Scene,
    seed: int = 0,
    *,
    parameters: Mapping[str, float] | None = None,
    start_s: float | None = None,
    config: PlantingConfig | None = None,
) -> Planted:
    """Put the event of a family into a recorded scene.

    The recording is tried from its start on, each second. The ego's speed is the recorded one, the road and its bends
    too; the other parameters are drawn. Actors keep their places and times relative to the ego, and to the lanes.

    Args:
        family: the family.
        scene: the recorded scene.
        seed: of the parameters that are drawn; the following seeds are tried where it does not fit.
        parameters: fixed parameters of the family.
        start_s: the time (s) of the recording to begin at; by default the first that fits.
        config: thresholds of the preconditions.

    Raises:
        InputError: The event fits nowhere; the message says why.
    """
    given = family.checked(parameters or {})
    where = f"{family.name} does not fit into {scene.id!r}"
    if scene.route is None:
        raise InputError(f"{where}: the scene has no route")
    recording = Recording.of(scene)
    furthest = _UnfitError("the ego is not recorded there", -1)
    for first in _starts(scene, start_s, where):
        for draw in range(DRAWS):
            try:
                return _planted(family, recording, first, seed + draw, given, config or PlantingConfig())
            except _UnfitError as error:
                furthest = max(furthest, error, key=lambda each: each.stage)
                if not error.other_draws:
                    break
    raise InputError(f"{where}: {furthest}")


def _starts(scene: Scene, start_s: float | None, where: str) -> list[int]:
    """Return the steps of the recording to begin at, at which the ego is there."""
    if start_s is None:
        steps = range(0, scene.steps - 1, max(round(START_SPACING_S / scene.dt), 1))
    else:
        last = (scene.steps - 2) * scene.dt
        if not 0.0 <= start_s <= last:
            raise InputError(f"{where}: the start is {start_s:g} s, must be in [0, {max(last, 0.0):g}] s")
        steps = range(round(start_s / scene.dt), round(start_s / scene.dt) + 1)
    return [step for step in steps if scene.ego.valid[step]]


def _planted(
    family: Family,
    recording: Recording,
    first: int,
    seed: int,
    given: Mapping[str, float],
    config: PlantingConfig,
) -> Planted:
    """Plant the event at a step of the recording.

    Raises:
        _UnfitError: A precondition does not hold.
    """
    event = _event(family, recording, first, seed, given)
    transfer = _transfer(event, recording, first)
    left_out: dict[str, str] = {}
    for name in event.names:
        if reason := why_not(Course.of(event, name), transfer, first, config):
            if event.needs(name):
                raise _UnfitError(reason, _Stage.ACTORS)
            left_out[name] = reason
    names = tuple(name for name in event.names if name not in left_out)
    scenario = _scenario(event, transfer, first, names)
    motion = steady_motion(scenario)
    step, gap = nearest(replay_motion(scenario, motion), motion[:, :3].astype(np.float64), family)
    if gap > max(event.place[1], 0.0) + config.missed_m:
        raise _UnfitError(f"the event misses an ego that keeps its speed, by {gap:.1f} m", _Stage.EVENT)
    return Planted(scenario, first * recording.scene.dt, names, left_out, step * scenario.scene.dt, gap)


def _event(family: Family, recording: Recording, first: int, seed: int, given: Mapping[str, float]) -> Event:
    """Return the event of a family for the ego's recorded speed, on a straight road."""
    speed = round(float(np.hypot(*recording.scene.ego.velocity[first])), 3)
    axes = {axis.name: axis for axis in family.parameters}
    if "ego_speed" not in given and not axes["ego_speed"].contains(speed):
        needed = f"{axes['ego_speed'].low:g} to {axes['ego_speed'].high:g} m/s"
        raise _UnfitError(f"the ego drives at {speed:.0f} m/s, the family needs {needed}", _Stage.SPEED, False)
    fixed = {"ego_speed": speed} | ({"curvature": 0.0} if "curvature" in axes else {}) | dict(given)
    scenario = family.build(fixed, seed)
    if not family.accepts(scenario.parameters):
        raise _UnfitError(f"no parameters of the family suit {fixed['ego_speed']:.1f} m/s", _Stage.PARAMETERS, False)
    event = Event(family, scenario, mirrored=recording.keeps_left)
    if reason := event.why_bound():
        raise _UnfitError(reason, _Stage.FAMILY, False)
    return event


def _transfer(event: Event, recording: Recording, first: int) -> Transfer:
    """Return the map from the family's road to the recorded one."""
    scene, frame = recording.scene, recording.frame
    ego = scene.ego
    pose = np.array([*ego.position[first, :2], ego.heading[first]], np.float64)
    start = frame.place(pose, None, float(ego.position[first, 2]))[0]
    rest_s = (scene.steps - 1 - first) * scene.dt
    if event.time_s + AFTER_EVENT_S > rest_s:
        raise _UnfitError(
            f"the event is {event.time_s:.1f} s after the start, {rest_s:.1f} s are left", _Stage.RECORDING
        )
    if start + event.distance_m + BEYOND_EVENT_M > frame.route_length:
        raise _UnfitError("the recorded route ends before the event", _Stage.RECORDING)
    if in_intersection(scene.road_map, frame.at(np.array([start + event.distance_m]))[0]) and not event.in_intersection:
        raise _UnfitError("the event would be in an intersection", _Stage.ROAD)
    place = 0.0 if event.in_intersection else event.distance_m  # where the lanes of both roads are compared
    lanes = match_lanes(event.lanes(place), recording.lanes(start + place))
    if isinstance(lanes, str):
        raise _UnfitError(lanes, _Stage.ROAD)
    return Transfer(event, recording, start, lanes)


def _scenario(event: Event, transfer: Transfer, first: int, names: tuple[str, ...]) -> Scenario:
    """Return the recorded scene from a step on, with the named actors, as long as the family's scenario."""
    made, scene = event.scenario, transfer.recording.scene
    duration = made.goal.duration
    steps = round(duration / scene.dt) + 1
    rows = first + np.arange(steps)
    taken = {track.id for track in scene.tracks} | {prop.id for prop in scene.props}
    if clash := taken & set(names):
        raise _UnfitError(f"the recording has road users of the same names: {', '.join(sorted(clash))}", _Stage.ACTORS)
    tracks = tuple(transfer.track(track, steps) for track in made.scene.tracks if track.id in names)
    recorded = tuple(_from(track, rows) for track in scene.tracks)
    name = f"{scene.id}-{event.family.name}-{made.seed}"
    planted = replace(
        scene,
        id=name,
        provenance=Provenance(scene.provenance.source, scene.provenance.licence, name),
        tracks=(*(track for track in recorded if track.valid.any()), *tracks),
        props=(*scene.props, *(transfer.prop(prop) for prop in made.scene.props if prop.id in names)),
        signals=tuple(_signal_from(signal, rows) for signal in scene.signals),
        environment=_environment(event, scene.environment),
    )
    goal = transfer.start + min(made.goal.distance, transfer.recording.frame.route_length - transfer.start)
    return Scenario(
        scene=planted,
        goal=Goal(goal, duration),
        scripts=scripts_of(made.scripts, tracks, transfer),
        parameters=dict(made.parameters),
        seed=made.seed,
        reactive=True,
    )


def _from(track: Track, rows: Int[Array, " n"]) -> Track:
    """Return a recorded track from a step on; it is absent beyond its recording."""
    known = np.minimum(rows, len(track.valid) - 1)
    valid = track.valid[known] & (rows < len(track.valid))

    def kept(values: Array) -> Array:
        mask = valid if values.ndim == 1 else valid[:, None]
        return np.where(mask, values[known], 0.0).astype(values.dtype)

    position, heading, velocity = kept(track.position), kept(track.heading), kept(track.velocity)
    return replace(track, position=position, heading=heading, velocity=velocity, valid=valid)


def _signal_from(signal: Signal, rows: Int[Array, " n"]) -> Signal:
    """Return a traffic light from a step on; it keeps its last state beyond its recording."""
    if not len(signal.states):
        return signal
    return replace(signal, states=signal.states[np.minimum(rows, len(signal.states) - 1)])


def _environment(event: Event, recorded: Environment) -> Environment:
    """Return the recorded weather and light, with the fog or the slippery road of a family that is about them."""
    made, odd = event.scenario.scene.environment, event.family.odd
    if OddTag.FOG in odd:
        recorded = replace(recorded, visibility=made.visibility)
    if OddTag.LOW_FRICTION in odd:
        recorded = replace(recorded, friction=made.friction)
    return recorded
