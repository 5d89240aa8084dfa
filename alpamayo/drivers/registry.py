"""Drivers by name: the table of built-in drivers, drivers of installed packages, and classes of the user's own.

A package adds a driver by an entry point in the group ``alpamayo.drivers``::

    [project.entry-points."alpamayo.drivers"]
    my-driver = "my_package.driver:MyDriver"

The entry point names either a class (or function) that makes the driver, or a ``DriverEntry``. A plug-in that cannot
be loaded is reported by ``alpamayo drivers list`` and disturbs no other driver.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from alpamayo.provenance import PACKAGES, module_digest
from alpamayo_sim.errors import InputError, check_known

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from alpamayo_sim.datatypes.driver import Driver, Needs

GROUP = "alpamayo.drivers"
JOINT = "-without-"  # between a driver and what is taken from it
OWN = ""  # the package of a user's own class
REMOTE = "grpc://"  # begins the name of a driver that another process or machine serves
GROUND_TRUTH, CAMERAS, OWN_STATE = "ground truth", "cameras", "own state"


@dataclass(frozen=True)
class DriverEntry:
    """A driver that can be made by name. Nothing is imported before it is made.

    Attributes:
        name: the name that ``--driver`` takes.
        title: one line for lists.
        factory: ``module:attribute`` of the function or class that makes the driver. It is called with the arguments of
            ``--driver-args``, or, for a driver with weights, with ``checkpoint`` (a path, or None for the shipped
            weights).
        needs: the inputs in addition to its own state and the route, in words.
        guarded: whether the guard supervises it by default, on the command line and in Python. Drivers are measured as
            they are, unless their entry says otherwise.
        weights: ``module:attribute`` of the path of the shipped weights; None for a driver without weights.
        recordings_note: what to know before its shipped weights drive a recording.
        replays_recording: whether it repeats the recorded drive, so that it needs a log.
        r157_reference: whether it is one of the models that decide if a collision was preventable.
        package: the distribution that provides it.
    """

    name: str
    title: str
    factory: str
    needs: str
    guarded: bool = False
    weights: str | None = None
    recordings_note: str = ""
    replays_recording: bool = False
    r157_reference: bool = False
    package: str = "alpamayo"

    @property
    def built_in(self) -> bool:
        """Whether it is part of this project."""
        return self.package == "alpamayo"


SEEN_GENERATED_ROADS = "the shipped {} has seen generated roads only, never a recorded one; compare with --driver idm"
_r157 = partial(DriverEntry, needs=GROUND_TRUTH, r157_reference=True)

BUILT_IN: MappingProxyType[str, DriverEntry] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            DriverEntry(
                "tiny",
                "sees, remembers, plans in what it believes; its words decide",
                "alpamayo_vla_model.driver:load_driver",
                CAMERAS,
                guarded=True,
                weights="alpamayo_vla_model.belief_model:SHIPPED",
                recordings_note=SEEN_GENERATED_ROADS.format("tiny"),
            ),
            DriverEntry(
                "end-to-end",
                "one network from cameras to reasoning and plans",
                "alpamayo_vla_model.end_to_end.driver:load_driver",
                CAMERAS,
                guarded=True,
                weights="alpamayo_vla_model.end_to_end.checkpoint:SHIPPED",
                recordings_note=SEEN_GENERATED_ROADS.format("end-to-end"),
            ),
            DriverEntry("expert", "planner that gives its reasons", "alpamayo_sim.drivers:Expert", GROUND_TRUTH),
            DriverEntry("idm", "Intelligent Driver Model", "alpamayo_sim.drivers:IdmLaneFollower", GROUND_TRUTH),
            DriverEntry(
                "constant-velocity", "keeps speed and heading", "alpamayo_sim.drivers:ConstantVelocity", OWN_STATE
            ),
            _r157("r157-fsm", "UN R157: fuzzy safety model", "alpamayo.drivers.r157:FuzzySafetyModel"),
            _r157("r157-human", "UN R157: competent and careful human", "alpamayo.drivers.r157:CompetentHuman"),
            _r157("r157-regulation", "UN R157: performance model", "alpamayo.drivers.r157:RegulationModel"),
            _r157("rss", "brakes as RSS requires", "alpamayo.drivers.r157:RssDriver"),
            DriverEntry(
                "log",
                "repeats the recording (replay only)",
                "alpamayo.drivers.log:LogDriver",
                GROUND_TRUTH,
                replays_recording=True,
            ),
        )
    }
)
R157_DRIVERS = tuple(entry.name for entry in BUILT_IN.values() if entry.r157_reference)


def make_driver(name: str, checkpoint: str | Path | None = None, arguments: Mapping[str, Any] | None = None) -> Driver:
    """Make a driver by its name, or a user's own as ``module:Class``.

    Args:
        name: the name of the driver.
        checkpoint: the weights to use instead of the shipped ones.
        arguments: arguments of the constructor of a user's own driver or of a plug-in.

    Raises:
        InputError: unknown name (similar names are offered), module or class; a bad checkpoint, or one for a driver
            without weights; an input that the driver does not have; arguments for a driver that takes none; a class
            that raises (its line is named).
    """
    from alpamayo_sim.settings import path_of

    entry = get_entry(name)
    weights = None if checkpoint is None else path_of(checkpoint, f"driver {name!r}: the checkpoint")
    base, joint, what = name.partition(JOINT)
    if joint:
        from alpamayo.drivers.ablation import without

        return without(make_driver(base, weights, arguments), what, name)
    if checkpoint is not None and entry.weights is None:
        raise InputError(f"driver {name!r} has no checkpoint; drivers with weights: {', '.join(_with_weights())}")
    if not entry.built_in:
        from alpamayo.drivers.own import make_own

        given: dict[str, Any] = {} if entry.weights is None else {"checkpoint": weights}
        if name.startswith(REMOTE):
            given["address"] = name
        return make_own(name, entry.factory, {**given, **(arguments or {})})
    if arguments:
        raise InputError(f"driver {name!r} takes no arguments; they are for drivers of your own")
    factory = _load(entry.factory)
    return cast("Driver", factory() if entry.weights is None else factory(weights))


def get_entry(name: str) -> DriverEntry:
    """Return the entry of a name; make one for ``module:Class``, ``grpc://HOST:PORT`` and ``NAME-without-PART``.

    Raises:
        InputError: unknown name (similar names are offered), or a plug-in that cannot be loaded.
    """
    from alpamayo_sim.settings import instance_of  # it loads numpy, which the list of drivers does not need

    instance_of(name, str, "the name of a driver")
    base, joint, what = name.partition(JOINT)
    if joint:
        return replace(get_entry(base), name=name, title=f"{base} without {what}", guarded=False)
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name.startswith(REMOTE):
        place = "alpamayo.egodriver.client:RemoteDriver"
        return DriverEntry(name, "served by another process or machine", place, CAMERAS, package=REMOTE)
    if ":" in name:
        return DriverEntry(name, "a class of your own", name, "as its class says", package=OWN)
    plugins, broken = plugin_entries()
    if name in broken:
        raise InputError(f"driver {name!r}: its plug-in cannot be loaded: {broken[name]}")
    check_known("driver", name, (*BUILT_IN, *plugins))
    return plugins[name]


def file_name_of(name: str) -> str:
    """Return the name of a driver as part of a file's name."""
    return name.replace("://", "-").replace(":", ".")


def check_name(name: str, *, recorded: bool = True) -> None:
    """Fail at once for an unknown driver, before anything large is loaded.

    Raises:
        InputError: unknown name, module or class; a driver that replays a recording where there is none (``recorded``
            is False).
    """
    entry = get_entry(name)
    if not entry.built_in:
        from alpamayo.drivers.own import load_own

        load_own(name, entry.factory)
    if entry.replays_recording and not recorded:
        raise InputError(f"driver {name!r} repeats a recording, and a generated scenario has none; use it with replay")


def takes_checkpoint(name: str) -> bool:
    """Return whether a driver has weights that a checkpoint can replace."""
    return get_entry(name).weights is not None


def shipped_checkpoint(name: str) -> Path | None:
    """Return the path of the weights that ship with a driver; None for a driver without weights."""
    weights = get_entry(name).weights
    return None if weights is None else Path(_load(weights))


def guarded_by_default(driver: str | Driver) -> bool:
    """Return whether the guard supervises a driver by default: the declaration of its entry.

    A driver that is not given by its name, but as an object, has the entry of its name if its class is part of this
    project; else it is a driver of the user's own.
    """
    if isinstance(driver, str):
        return get_entry(driver).guarded
    ours = type(driver).__module__.partition(".")[0] in PACKAGES
    return driver.name in BUILT_IN and ours and BUILT_IN[driver.name].guarded


def code_of(name: str) -> str:
    """Return the digest of the sources of a driver that is not part of this project, whose code version has the rest.

    Raises:
        InputError: unknown name, or a module that cannot be imported.
    """
    entry = get_entry(name)
    if entry.built_in:
        return ""
    from alpamayo.drivers.own import load_own

    load_own(name, entry.factory)
    return module_digest(entry.factory.partition(":")[0])


def plugin_entries() -> tuple[dict[str, DriverEntry], dict[str, str]]:
    """Find the drivers of installed packages.

    Returns:
        The entries by name, and for each plug-in that cannot be loaded the reason.
    """
    from importlib.metadata import entry_points

    found: dict[str, DriverEntry] = {}
    broken: dict[str, str] = {}
    for point in entry_points(group=GROUP):
        try:
            if point.name in BUILT_IN or point.name in found or ":" in point.name:
                raise ValueError(f"the name {point.name!r} is taken or has a colon")
            found[point.name] = _plugin_entry(point)
        except Exception as error:  # code of plug-ins may raise anything
            broken[point.name] = f"{type(error).__name__}: {error} ({point.value}, package {_package(point)})"
    return found, broken


def needs_text(needs: Needs | None) -> str:
    """Describe the needs of a driver in words."""
    if needs is None:
        return "as its class says"
    named = [text for text, wanted in ((GROUND_TRUTH, needs.truth), (CAMERAS, needs.rig is not None)) if wanted]
    return ", ".join(named) or OWN_STATE


def _plugin_entry(point: EntryPoint) -> DriverEntry:
    target = point.load()
    if isinstance(target, DriverEntry):
        return replace(target, name=point.name, package=_package(point))
    if not callable(target):
        raise TypeError("must be a class, a function or a DriverEntry")
    title = (inspect.getdoc(target) or point.value).partition("\n")[0]
    needs = getattr(target, "needs", None)
    replays = bool(getattr(needs, "replays_recording", False))
    return DriverEntry(
        point.name, title, point.value, needs_text(needs), replays_recording=replays, package=_package(point)
    )


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown"


def _with_weights() -> list[str]:
    return [name for name, entry in {**BUILT_IN, **plugin_entries()[0]}.items() if entry.weights]


def _load(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)
