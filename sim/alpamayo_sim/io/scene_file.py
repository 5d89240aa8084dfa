"""Scenes and scenarios on disk: ``NAME.json`` and ``NAME.npz``, versioned and without loss."""

from pathlib import Path

from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.io.document import load_document, save_document
from alpamayo_sim.io.limits import check_scenario, check_scene

SCENE_VERSION = 1
SCENARIO_VERSION = 1


def save_scene(scene: Scene, path: Path | str) -> None:
    """Write ``path``.json and ``path``.npz. Raises ``InputError`` where that is not possible."""
    save_document(scene, Path(path), SCENE_VERSION)


def load_scene(path: Path | str) -> Scene:
    """Read a scene. Raises ``InputError`` for a file that is missing, damaged or of another version."""
    scene = load_document(Scene, Path(path), SCENE_VERSION)
    check_scene(scene, str(path))
    return scene


def save_scenario(scenario: Scenario, path: Path | str) -> None:
    """Write ``path``.json and ``path``.npz. Raises ``InputError`` where that is not possible."""
    save_document(scenario, Path(path), SCENARIO_VERSION)


def load_scenario(path: Path | str) -> Scenario:
    """Read a scenario. Raises ``InputError`` for a file that is missing, damaged or of another version."""
    scenario = load_document(Scenario, Path(path), SCENARIO_VERSION)
    check_scenario(scenario, str(path))
    return scenario
