"""Ablated drivers: any driver without one of its inputs, or without one of its own parts.

``tiny-without-tele`` is the driver ``tiny`` that sees grey in place of its tele camera. What changes in closed loop
is what the input is worth. A driver may have parts of its own: ``parts`` names them, and ``without(part)`` returns a
driver that lacks one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Driver
from alpamayo_sim.datatypes.observation import ROUTE_POINTS, ROUTE_SPACING, Observation
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError, unknown_name

GREY = 128
TELE = "tele"  # in the name of a camera


def _grey(observation: Observation, camera: str) -> Observation:
    """Return an observation with grey images of the cameras whose name contains a word."""
    frames = observation.cameras
    if frames is None:
        return observation
    chosen = np.array([camera in each.name for each in frames.rig.cameras])
    rgb = np.where(chosen[:, None, None, None, None], np.uint8(GREY), frames.rgb)
    return replace(observation, cameras=replace(frames, rgb=rgb))


def _still(observation: Observation) -> Observation:
    """Return an observation whose frames are all the newest one."""
    frames = observation.cameras
    if frames is None:
        return observation
    rgb = np.repeat(frames.rgb[:, -1:], frames.rgb.shape[1], axis=1)
    return replace(observation, cameras=replace(frames, rgb=rgb))


def _straight(observation: Observation) -> Observation:
    """Return an observation whose route goes straight on."""
    route = np.zeros((ROUTE_POINTS, 2), np.float32)
    route[:, 0] = ROUTE_SPACING * np.arange(ROUTE_POINTS)
    return replace(observation, route=route)


def _without_past(observation: Observation) -> Observation:
    """Return an observation whose history is the present pose alone."""
    history = np.zeros_like(observation.history)
    history[-1] = observation.history[-1]
    return replace(observation, history=history)


INPUTS: dict[str, Callable[[Observation], Observation]] = {
    "cameras": lambda observation: _grey(observation, ""),
    "tele": lambda observation: _grey(observation, TELE),
    "frames": _still,
    "route": _straight,
    "history": _without_past,
    "navigation": lambda observation: replace(observation, navigation=""),
}
"""What can be taken from any driver: all cameras, the tele camera, all frames but the newest, and so on."""


class Ablated:
    """A driver without one of its inputs; everything else is the driver's own."""

    def __init__(self, driver: Driver, what: str, name: str) -> None:
        self.name = name
        self.needs = driver.needs
        self._driver, self._changed = driver, INPUTS[what]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._driver, name)

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Start a new episode."""
        self._driver.reset(scene, rng)

    def act(self, observation: Observation) -> Decision:
        """Decide on what is left of an observation."""
        return self._driver.act(self._changed(observation))


def without(driver: Driver, what: str, name: str) -> Driver:
    """Return a driver of a name that is another one without an input, or without a part of its own.

    Raises:
        InputError: there is no such input or part, or the driver sees no cameras of which one could be taken.
    """
    parts: tuple[str, ...] = getattr(driver, "parts", ())
    if what in parts:
        ablated: Driver = driver.without(what)  # type: ignore[attr-defined]
        ablated.name = name
        return ablated
    if what not in INPUTS:
        raise unknown_name("input or part", what, (*INPUTS, *parts))
    if what in ("cameras", "tele", "frames") and driver.needs.rig is None:
        raise InputError(f"driver {driver.name!r} has no cameras; {what!r} cannot be taken from it")
    if what == "frames" and driver.needs.frames < 2:
        raise InputError(f"driver {driver.name!r} takes one frame a step; its earlier ones cannot be taken from it")
    return Ablated(driver, what, name)
