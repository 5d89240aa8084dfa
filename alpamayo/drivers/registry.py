"""Drivers by name: the shipped VLA, the reference drivers, the recording, or a user's own."""

import importlib
from pathlib import Path

import numpy as np

from alpamayo_sim.datatypes.decision import PLAN_STEPS, Decision
from alpamayo_sim.datatypes.driver import Driver, Needs
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError, unknown_name
from alpamayo_sim.geometry import to_frame, wrap_angle

PREVENTERS = ("r157-fsm", "r157-human", "r157-regulation", "rss")  # whom "preventable" may be said of
REFERENCE = ("constant-velocity", "expert", "idm", *PREVENTERS)
NAMES = (*REFERENCE, "tiny")


class LogDriver:
    """Repeats the recording: its plan is what the ego did. The loop moves the ego along its track exactly."""

    name = "log"
    needs = Needs(truth=True)

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Nothing to prepare."""

    def act(self, observation: Observation) -> Decision:
        """The recorded future of the ego, in its frame; past the end of the recording the last pose is held."""
        truth = observation.truth
        if truth is None:
            raise InputError("the log driver needs the truth")
        track = truth.scene.ego
        rows = np.minimum(truth.step + 1 + np.arange(PLAN_STEPS), len(track.valid) - 1)
        plan = np.empty((PLAN_STEPS, 4), np.float32)
        plan[:, :2] = to_frame(track.position[rows, :2], truth.ego_pose)
        plan[:, 2] = wrap_angle(track.heading[rows] - truth.ego_pose[2])
        plan[:, 3] = np.linalg.norm(track.velocity[rows], axis=1)
        return Decision(plans=plan[None], weights=np.ones(1, np.float32))


def make_driver(name: str, checkpoint: Path | None = None) -> Driver:
    """A driver by its name, or a user's own as ``module:Class`` (called without arguments).

    ``checkpoint`` takes the place of the one that ships with ``tiny``.

    Raises:
        InputError: unknown name (the near ones are offered), module or class; a bad checkpoint.
    """
    if name == "log":
        return LogDriver()
    if name == "tiny":
        from alpamayo_vla_model.driver import load_driver

        return load_driver(checkpoint)
    check_name(name)
    if checkpoint is not None:
        raise InputError(f"driver {name!r} has no checkpoint; only 'tiny' takes one")
    if ":" in name:
        return _own_driver(name)
    if name in PREVENTERS:
        from alpamayo.drivers.r157 import R157_DRIVERS

        return R157_DRIVERS[name]()
    from alpamayo_sim.drivers import REFERENCE_DRIVERS

    return REFERENCE_DRIVERS[name]()


def check_name(name: str, *, recorded: bool = True) -> None:
    """Fail at once for a name that no driver has, before anything large is loaded.

    Raises:
        InputError: unknown name; ``log`` where there is no recording to repeat (``recorded`` is False).
    """
    if name == "log" and not recorded:
        raise InputError("driver 'log' repeats a recording, and a generated scenario has none; use it with replay")
    if name not in (*NAMES, "log") and ":" not in name:
        raise unknown_name("driver", name, (*NAMES, "log"))


def shipped_checkpoint(name: str) -> Path | None:
    """The weights that ship with a driver, None for one without."""
    if name != "tiny":
        return None
    from alpamayo_vla_model.checkpoint import SHIPPED

    return SHIPPED


def guarded_by_default(name: str) -> bool:
    """Whether the guard watches this driver unless told otherwise: reference drivers are measured as they are."""
    return name not in (*REFERENCE, "log")


def _own_driver(name: str) -> Driver:
    module_name, _, class_name = name.partition(":")
    try:
        driver = getattr(importlib.import_module(module_name), class_name)()
    except ModuleNotFoundError as error:
        raise InputError(f"driver {name!r}: no module {error.name!r} on the path") from error
    except AttributeError as error:
        raise InputError(f"driver {name!r}: module {module_name!r} has no {class_name!r}") from error
    if not isinstance(driver, Driver):
        raise InputError(f"driver {name!r}: must have name, needs, reset(scene, rng) and act(observation)")
    return driver
