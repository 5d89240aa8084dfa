"""The first steps of a scene, for tests of what takes long for a whole one."""

from dataclasses import replace

from alpamayo_sim.datatypes.scene import Scene


def first_steps(scene: Scene, steps: int) -> Scene:
    """Return the first steps of a scene."""
    names = ("position", "heading", "velocity", "valid")
    tracks = tuple(replace(track, **{n: getattr(track, n)[:steps] for n in names}) for track in scene.tracks)
    signals = tuple(replace(signal, states=signal.states[:steps]) for signal in scene.signals)
    return replace(scene, tracks=tracks, signals=signals)
