"""Finished runs of this project: the folder of a run, or its ``episode.json``. The drive replays as a recording."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from alpamayo_sim.datatypes.episode import Episode
from alpamayo_sim.datatypes.scene import Prop, Provenance, Scene, Signal, Track
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.episode_file import load_episode

Array = np.ndarray

FILE = "episode.json"
KIND = re.compile(rb'"kind"\s*:\s*"Episode"')


def matches(path: Path, head: bytes) -> bool:
    """Return whether this is the folder of a run, or the JSON of an Episode, by its kind."""
    return (path / FILE).is_file() or (path.name == FILE and KIND.search(head) is not None)


def read(path: Path) -> Scene:
    """Return what happened in a run as a Scene.

    Raises:
        InputError: The record is damaged or of another version.
    """
    folder = path if path.is_dir() else path.parent
    return scene_of_episode(load_episode(folder), str(folder / FILE))


def scene_of_episode(episode: Episode, where: str = "episode") -> Scene:
    """Return the scene of an episode with the motions of the drive as its tracks: the ego's, and all road users'.

    Map, route, props and weather are those of the scenario. The lights show what they showed.

    Raises:
        InputError: The record names other road users or lights than its scenario.
    """
    scene, states = episode.scenario.scene, len(episode.ego_pose)
    row = {name: k for k, name in enumerate(episode.agent_ids)}
    missing = [track.id for track in scene.tracks if track.id != scene.ego_id and track.id not in row]
    if missing or episode.signals.shape != (states, len(scene.signals)):
        what = f"road user {missing[0]!r}" if missing else "all lights"
        raise InputError(f"{where}: has no states of {what} of its scenario")
    tracks = [
        _ego(episode) if track.id == scene.ego_id else _track(episode, track, row[track.id]) for track in scene.tracks
    ]
    return replace(
        scene,
        tracks=tuple(tracks),
        props=tuple(_prop(episode, prop, row) for prop in scene.props),
        signals=tuple(_signal(signal, episode.signals[:, k]) for k, signal in enumerate(scene.signals)),
        provenance=Provenance(
            f"a drive by {episode.driver} in {scene.provenance.source}", scene.provenance.licence, scene.provenance.id
        ),
    )


def _ego(episode: Episode) -> Track:
    heading = episode.ego_pose[:, 2]
    velocity = episode.ego_speed[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    known = episode.scenario.scene.ego
    return replace(
        known,
        position=_with_height(episode.ego_pose, episode.ego_elevation),
        heading=heading.astype(np.float32),
        velocity=velocity.astype(np.float32),
        size=episode.ego_size.astype(np.float32),
        valid=np.ones(len(heading), bool),
    )


def _track(episode: Episode, known: Track, k: int) -> Track:
    valid = episode.agent_valid[:, k]
    elevation = None if episode.agent_elevation is None else episode.agent_elevation[:, k]
    position = _with_height(episode.agent_pose[:, k], elevation)
    return replace(
        known,
        position=np.where(valid[:, None], position, np.float32(0.0)),
        heading=np.where(valid, episode.agent_pose[:, k, 2], np.float32(0.0)),
        velocity=np.where(valid[:, None], episode.agent_velocity[:, k], np.float32(0.0)),
        size=episode.agent_size[k],
        valid=valid,
    )


def _prop(episode: Episode, prop: Prop, row: dict[str, int]) -> Prop:
    return prop if prop.id not in row else replace(prop, size=episode.agent_size[row[prop.id]])


def _signal(signal: Signal, states: Array) -> Signal:
    return replace(signal, states=states.astype(np.int8))


def _with_height(pose: Float32[Array, "t 3"], elevation: Float32[Array, " t"] | None) -> Float32[Array, "t 3"]:
    z = np.zeros(len(pose), np.float32) if elevation is None else np.nan_to_num(elevation)
    return np.column_stack([pose[:, :2], z]).astype(np.float32)
