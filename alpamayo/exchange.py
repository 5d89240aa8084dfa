"""Scenarios of other formats: import of OpenSCENARIO, export to OpenSCENARIO with OpenDRIVE and to CommonRoad."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, indent

import numpy as np

from alpamayo.motion_replay import MotionReplay, replay_motion, steady_motion
from alpamayo_datasets.commonroad_writer import commonroad_element
from alpamayo_datasets.opendrive.writer import road_element
from alpamayo_datasets.openscenario import play
from alpamayo_datasets.openscenario.writer import DATE, EGO, Motion, scenario_element
from alpamayo_datasets.readers.openscenario import scene_of
from alpamayo_sim.datatypes.scenario import Scenario, scenario_of_log
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.errors import InputError, check_known
from alpamayo_sim.io.files import replacing

FORMATS = ("openscenario", "commonroad")


@dataclass(frozen=True, eq=False)
class Imported:
    """A scenario of another format, and what of its file is not supported: names and lines."""

    scenario: Scenario
    unsupported: tuple[str, ...]


def import_scenario(path: Path) -> Imported:
    """Import an OpenSCENARIO XML 1.x file with its OpenDRIVE roads.

    The storyboard is played once with the file's ego; its actors repeat those motions.

    Raises:
        InputError: The file, its roads or its catalogs cannot be read, or contradict themselves.
    """
    played = play(path)
    return Imported(scenario_of_log(scene_of(played, str(path))), played.unsupported)


def export_scenario(scenario: Scenario, folder: Path, to: str) -> list[Path]:
    """Write a scenario in another format; return the files.

    The actors move as they do while the ego follows its route at its first speed.

    Raises:
        InputError: There is no such format, the scenario has no route, or the folder cannot be written.
    """
    check_known("format", to, FORMATS)
    scene = scenario.scene
    if scene.route is None:
        raise InputError(f"scene {scene.id!r} has no route, which its ego would follow")
    found = replay_motion(scenario, steady_motion(scenario))
    motions = _motions(scenario, found)
    if to == "commonroad":
        document = commonroad_element(scene, motions, scenario.goal.distance, scenario.goal.duration)
        return [_write(document, folder / f"{scene.id}.xml")]
    roads = _write(road_element(scene, DATE), folder / f"{scene.id}.xodr")
    speed, duration = float(np.hypot(*scene.ego.velocity[0])), scenario.steps * scene.dt
    route = scene.route.path[:, :2].astype(np.float64) + scene.origin[:2]
    document = scenario_element(scene, route, speed, motions, roads.name, duration)
    return [roads, _write(document, roads.with_suffix(".xosc"))]


def _motions(scenario: Scenario, found: MotionReplay) -> list[Motion]:
    """Return the ego and all others with their motions in the world's coordinates."""
    scene, shift = scenario.scene, np.append(scenario.scene.origin[:2], 0.0)
    kinds = {track.id: track.category for track in scene.tracks} | {prop.id: prop.category for prop in scene.props}
    steady = steady_motion(scenario)[:, :3].astype(np.float64)
    ego = Motion(EGO, Category.VEHICLE, found.ego_size, steady + shift, np.ones(len(steady), bool))
    others = [
        Motion(name, kinds[name], found.size[k], found.pose[:, k].astype(np.float64) + shift, found.valid[:, k])
        for k, name in enumerate(found.ids)
        if found.valid[:, k].any()
    ]
    return [ego, *others]


def _write(root: Element, path: Path) -> Path:
    indent(root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            ElementTree(root).write(partial, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    return path
