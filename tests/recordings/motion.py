"""The motion that all small recordings have: a car on a bend to the left; and the replay of a recording."""

import numpy as np

from alpamayo.closed_loop import drive
from alpamayo.drivers import make_driver
from alpamayo_sim.datatypes.scenario import scenario_of_log
from alpamayo_sim.datatypes.scene import Scene, Track
from alpamayo_sim.geometry import wrap_angle

STEPS = 21
DT = 0.1
TIMES = DT * np.arange(STEPS)
Array = np.ndarray


def replay_errors(scene: Scene) -> tuple[float, float]:
    """Return how far (m, rad) the replay by the log driver is from the recording, over all of its valid steps."""
    episode = drive(scenario_of_log(scene), make_driver("log"), guard=False)
    count = min(len(episode.ego_pose), scene.steps)
    assert count == scene.steps
    valid = scene.ego.valid[:count]
    pose = episode.ego_pose[:count][valid]
    off = np.linalg.norm(pose[:, :2] - scene.ego.position[:count][valid, :2], axis=1)
    turned = wrap_angle(pose[:, 2] - scene.ego.heading[:count][valid])
    return float(off.max()), float(np.abs(turned).max())


def placed(scene: Scene, track_id: str) -> Array:
    """Return the positions of a track in the file's own coordinates (float64)."""
    track = next(track for track in scene.tracks if track.id == track_id)
    return track.position.astype(np.float64) + scene.origin


def curve(start: float = 0.0, speed: float = 5.0, radius: float = 60.0) -> tuple[Array, Array, Array]:
    """Return x, y (m), headings (rad) and velocities (m/s) of a car on a bend to the left, ``start`` m along it."""
    angle = (start + speed * TIMES) / radius
    xy = radius * np.stack([np.sin(angle), 1.0 - np.cos(angle)], axis=1)
    return xy, angle, speed * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def bend(first: float, last: float, offset: float = 0.0, radius: float = 60.0, spacing: float = 1.0) -> Array:
    """Return x, y of a line along the same bend, ``offset`` m to its left."""
    angle = np.arange(first, last + 1e-6, spacing) / radius
    return np.stack([np.sin(angle) * (radius - offset), radius - np.cos(angle) * (radius - offset)], axis=1)


def on_bend(s: float, radius: float = 60.0) -> tuple[Array, float, Array]:
    angle = s / radius
    xy = radius * np.array([np.sin(angle), 1.0 - np.cos(angle)])
    return xy, angle, np.array([np.cos(angle), np.sin(angle)])


def same_tracks(back: Scene, scene: Scene, atol: float) -> list[tuple[Track, Track]]:
    """Check that a scene that was read back has the tracks of another, its ego as "ego"; return them in pairs.

    Origins may differ; ``atol`` (m) is of positions.
    """
    assert {track.id for track in back.tracks} == {*(t.id for t in scene.tracks if t is not scene.ego), "ego"}
    pairs = []
    for track in back.tracks:
        known = scene.ego if track.id == "ego" else next(each for each in scene.tracks if each.id == track.id)
        assert track.category == known.category
        np.testing.assert_array_equal(track.valid, known.valid)
        there = track.position[track.valid].astype(float) + back.origin
        np.testing.assert_allclose(there, known.position[known.valid] + scene.origin, atol=atol)
        assert np.abs(wrap_angle(track.heading - known.heading)[track.valid]).max(initial=0.0) < 1e-5
        pairs.append((track, known))
    return pairs
