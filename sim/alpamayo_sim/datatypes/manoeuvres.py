"""The usual manoeuvres of scripted actors by name: each gives the plain ``Manoeuvre`` records that make it up."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from alpamayo_sim.datatypes.scenario import Manoeuvre, Script, Trigger, TriggerKind
from alpamayo_sim.datatypes.scene import Category, Track
from alpamayo_sim.errors import InputError

DOOR = (0.12, 0.9, 1.2)  # m: how thick an open door is, how far it reaches out, how high it is
DOOR_PLACE = 0.08  # share of a car's length by which the front door's hinge is ahead of the middle
OPENING = 1.0  # s

Manoeuvres = tuple[Manoeuvre, ...]


def after(seconds: float) -> Trigger:
    """Return a trigger that fires a time (s) after the start of the previous manoeuvre."""
    return Trigger(TriggerKind.AFTER, seconds)


def speed_profile(trigger: Trigger, times: Sequence[float], speeds: Sequence[float], start: float) -> Manoeuvres:
    """Return manoeuvres that reach speeds (m/s) at times (s after the trigger), linearly from the speed ``start``.

    Raises:
        InputError: the times do not rise from above 0, or there are not as many speeds.
    """
    if len(times) != len(speeds) or not times or not np.all(np.diff([0.0, *times]) > 0.0):
        raise InputError(f"speed_profile: needs rising times with a speed each, found {list(times)} and {list(speeds)}")
    made, waits, now, speed = [], trigger, 0.0, start
    for time, target in zip(times, speeds, strict=True):
        rate = max(abs(target - speed) / (time - now), 1e-3)
        made.append(Manoeuvre(waits, speed=target, acceleration=rate))
        waits, now, speed = after(time - now), time, target
    return tuple(made)


def brake(trigger: Trigger, deceleration: float, to: float = 0.0) -> Manoeuvres:
    """Brake at a rate (m/s²) down to a speed (m/s)."""
    return (Manoeuvre(trigger, speed=to, acceleration=deceleration),)


def stop(trigger: Trigger, deceleration: float, hold: float, speed: float, acceleration: float = 2.0) -> Manoeuvres:
    """Brake to a standstill and go on at ``speed`` (m/s) ``hold`` seconds after the braking began."""
    return (
        Manoeuvre(trigger, speed=0.0, acceleration=deceleration),
        Manoeuvre(after(hold), speed=speed, acceleration=acceleration),
    )


def change_lane(trigger: Trigger, offset: float, duration: float = 3.0) -> Manoeuvres:
    """Move over to a lateral offset (m, left positive) and stay there."""
    return (Manoeuvre(trigger, lateral_offset=offset, duration=duration),)


def swerve(trigger: Trigger, offset: float, duration: float, back_to: float = 0.0) -> Manoeuvres:
    """Return a shift to a lateral offset (m) and a shift back, each over ``duration`` seconds."""
    return (
        Manoeuvre(trigger, lateral_offset=offset, duration=duration),
        Manoeuvre(after(duration), lateral_offset=back_to, duration=duration),
    )


def door(car: Track, left: bool, trigger: Trigger) -> tuple[Track, Script]:
    """Return an opening front door of a standing car: an actor of its own, which slides out of the car's side.

    Until the trigger it lies within the car's box.
    """
    (x, y, z), heading = car.position[0], float(car.heading[0])
    along = np.array([np.cos(heading), np.sin(heading), 0.0])
    aside = (1.0 if left else -1.0) * np.array([-np.sin(heading), np.cos(heading), 0.0])
    thick, reach, height = DOOR
    place = np.array([x, y, z]) + DOOR_PLACE * float(car.size[0]) * along
    place = (place + aside * 0.5 * (float(car.size[1]) - reach)).astype(np.float32)
    track = dataclasses.replace(
        car,
        id=f"{car.id}-door",
        category=Category.UNKNOWN,
        position=np.tile(place, (len(car.valid), 1)),
        velocity=np.zeros_like(car.velocity),
        size=np.array([thick, reach, height], np.float32),
    )
    path = np.stack([place, place + along.astype(np.float32)])
    opening = Manoeuvre(trigger, lateral_offset=reach if left else -reach, duration=OPENING)
    return track, Script(track.id, path, 0.0, manoeuvres=(opening,))
