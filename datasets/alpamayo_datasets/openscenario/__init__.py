"""OpenSCENARIO XML: storyboards are played, and become the tracks of a Scene."""

from alpamayo_datasets.openscenario.play import Played, play

__all__ = ["Played", "play"]
