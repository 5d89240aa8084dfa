"""OpenSCENARIO XML 1.0 to 1.3 with roads of OpenDRIVE.

The storyboard is played once with the ego of the file; the Scene holds the tracks, as a recording does. The ego is the
entity named ``Ego`` or ``Hero`` in any spelling, else the first vehicle.
"""

import logging
from pathlib import Path

import numpy as np

from alpamayo_datasets.assemble import RawSignal, RawTrack, assemble
from alpamayo_datasets.opendrive import raw_map, scene_signals
from alpamayo_datasets.openscenario import Played, play
from alpamayo_datasets.openscenario.play import STEP_S
from alpamayo_sim.datatypes.scene import STATIC, Category, Provenance, Scene, SignalState
from alpamayo_sim.errors import InputError

Array = np.ndarray

LICENCE = "as the file says"
EGO_NAMES = ("ego", "hero", "egovehicle", "ego_vehicle", "host")
STATES = {"red": SignalState.RED, "yellow": SignalState.YELLOW, "amber": SignalState.YELLOW, "green": SignalState.GREEN}

_log = logging.getLogger(__name__)


def matches(path: Path, head: bytes) -> bool:
    """Return whether the file is an OpenSCENARIO XML."""
    return b"<OpenSCENARIO" in head or path.suffix == ".xosc"


def read(path: Path) -> Scene:
    """Play the scenario of a file and return it as a Scene; what is not supported is logged with its line.

    Raises:
        InputError: The file, its roads or its catalogs cannot be read, or contradict themselves.
    """
    played = play(path)
    for line in played.unsupported:
        _log.warning("%s: not supported: %s", path, line)
    return scene_of(played, str(path))


def scene_of(played: Played, where: str) -> Scene:
    """Return a played scenario as a Scene.

    Raises:
        InputError: It has no vehicle that can be the ego, or the ego has no place.
    """
    tracks = [_track(played, k) for k in range(len(played.entities))]
    signals = [_with_states(signal, played) for signal in scene_signals(played.network, len(played.pose))]
    return assemble(
        where,
        played.name,
        Provenance(f"OpenSCENARIO, {played.author}".rstrip(": ,"), LICENCE, played.name),
        [track for track in tracks if track.valid.any()],
        _ego(played, where),
        raw_map(played.network),
        signals,
        STEP_S,
        played.environment,
    )


def _ego(played: Played, where: str) -> str:
    there = {name: entity for k, (name, entity) in enumerate(played.entities.items()) if played.valid[:, k].any()}
    for name in there:
        if name.lower() in EGO_NAMES:
            return name
    for name, entity in there.items():
        if entity.category not in STATIC and entity.category is not Category.PEDESTRIAN:
            return name
    raise InputError(f"{where}: has no vehicle with a place, which could be the ego")


def _track(played: Played, k: int) -> RawTrack:
    entity = list(played.entities.values())[k]
    pose, valid = played.pose[:, k], played.valid[:, k]
    return RawTrack(
        id=entity.name,
        category=entity.category,
        position=pose[:, :3],
        heading=pose[:, 3],
        velocity=played.speed[:, k, None] * np.stack([np.cos(pose[:, 3]), np.sin(pose[:, 3])], axis=-1),
        size=entity.size,
        valid=valid,
    )


def _with_states(signal: RawSignal, played: Played) -> RawSignal:
    """Return a traffic light with the states that the storyboard gives it."""
    states = signal.states.copy()
    for time, word in played.signals.get(signal.id, []):
        lit = [STATES[part] for part in STATES if part in word.lower()]
        states[round(time / STEP_S) :] = lit[0] if lit else SignalState.OFF
    return RawSignal(signal.id, signal.position, states, signal.lane_ids)
